//! The retry budget of a model: repeats are a fraction of requests, so that an outage never multiplies load.

use provider::Time;

/// Repeats that each request earns.
const PER_REQUEST: f64 = 0.2;
/// Repeats that time alone earns, so that a quiet service can retry at all.
const PER_SECOND: f64 = 3.0;
const MOST: f64 = 30.0;

/// A bucket of repeats.
#[derive(Debug, Default, Clone)]
pub(crate) struct Budget {
    spent: f64,
    at: Option<Time>,
}

impl Budget {
    /// A request arrives.
    pub(crate) fn deposit(&mut self) {
        self.spent = (self.spent - PER_REQUEST).max(0.0);
    }

    /// Takes one repeat out, if there is one.
    pub(crate) fn withdraw(&mut self, now: Time) -> bool {
        let elapsed = (now - self.at.unwrap_or(now)).as_secs_f64();
        self.at = Some(now);
        self.spent = (self.spent - elapsed * PER_SECOND).max(0.0);
        if self.spent + 1.0 > MOST {
            return false;
        }
        self.spent += 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_outage_cannot_multiply_load() {
        let mut now = Time::ZERO;
        let mut budget = Budget::default();
        let mut repeats = 0;
        for _ in 0..10_000 {
            budget.deposit();
            repeats += (0..3).filter(|_| budget.withdraw(now)).count();
            now += Duration::from_millis(1);
        }
        // 10 s at 1,000 requests/s: a fifth of them, three a second, and what the bucket held.
        assert!((2_000..=2_061).contains(&repeats), "{repeats}");
    }

    #[test]
    fn a_quiet_service_may_retry() {
        assert!(Budget::default().withdraw(Time::ZERO));
    }
}

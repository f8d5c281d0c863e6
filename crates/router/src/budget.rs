//! The retry budget: repeats are a fraction of requests, so that an outage never multiplies load.
//!
//! Each request adds a part of a repeat to the budget of its group (the models that share upstreams). In addition, the
//! whole process gets a few repeats with time: a service with few requests can then retry at all, and in an outage many
//! models have no more of them than one.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use provider::Time;

/// Repeats that each request adds.
const PER_REQUEST: f64 = 0.2;
/// Most repeats that requests can save up.
const MOST: f64 = 30.0;
/// After this time the process gets one more repeat: three a second.
const EACH_NS: u64 = 1_000_000_000 / 3;
/// Most repeats that the process can save up.
const MOST_SPARE: u64 = 30;

/// Repeats that the process gets with time, shared by all its engines.
#[derive(Debug, Default)]
pub struct SpareRepeats {
    /// The moment at which all repeats taken so far are earned back, in nanoseconds.
    earned_by_ns: AtomicU64,
}

impl SpareRepeats {
    /// Takes one out, if there is one.
    fn withdraw(&self, now: Time) -> bool {
        let now_ns = now.as_nanos();
        let latest_ns = now_ns.saturating_add(EACH_NS * MOST_SPARE);
        let taken = |earned_by_ns: u64| Some(earned_by_ns.max(now_ns) + EACH_NS).filter(|ns| *ns <= latest_ns);
        self.earned_by_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }
}

/// The repeats of a group of models.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    earned: f64,
    spare: Arc<SpareRepeats>,
}

impl Budget {
    /// An empty budget, which may draw on the process' repeats as well.
    pub(crate) fn new(spare: Arc<SpareRepeats>) -> Self {
        Self { earned: 0.0, spare }
    }

    /// A request arrives.
    pub(crate) fn deposit(&mut self) {
        self.add(PER_REQUEST);
    }

    /// Adds the repeats of another budget.
    pub(crate) fn absorb(&mut self, other: &Self) {
        self.add(other.earned);
    }

    /// Takes one repeat out, if there is one.
    pub(crate) fn withdraw(&mut self, now: Time) -> bool {
        if self.earned < 1.0 {
            return self.spare.withdraw(now);
        }
        self.earned -= 1.0;
        true
    }

    fn add(&mut self, repeats: f64) {
        self.earned = (self.earned + repeats).min(MOST);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_outage_cannot_multiply_load_however_many_groups_there_are() {
        for groups in [1, 100] {
            let spare = Arc::new(SpareRepeats::default());
            let mut budgets: Vec<_> = (0..groups).map(|_| Budget::new(spare.clone())).collect();
            let mut now = Time::ZERO;
            let mut repeats = 0;
            for request in 0..10_000 {
                let budget = &mut budgets[request % groups];
                budget.deposit();
                repeats += (0..3).filter(|_| budget.withdraw(now)).count();
                now += Duration::from_millis(1);
            }
            // 10 s at 1,000 requests/s: a fifth of them, three a second, and what there was.
            assert!((2_000..=2_061).contains(&repeats), "{repeats} of {groups}");
        }
    }

    #[test]
    fn a_quiet_service_may_retry() {
        assert!(Budget::default().withdraw(Time::ZERO));
    }
}

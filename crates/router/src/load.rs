//! How fast an upstream answers: peak-EWMA of the time to the first token.
//!
//! A sample above the estimate is believed at once, one below it only slowly; an estimate that is not fed fades, so that an
//! upstream that was slow is tried again. Failures are fed as slow answers: an upstream that fails fast must not look fast.
//! Streamed and whole answers are kept apart, since the first byte of a whole answer is also its last.

use std::time::Duration;

use provider::Time;

const TAU_S: f64 = 10.0;
/// What a failure counts as, at least.
const PENALTY: Duration = Duration::from_secs(5);

/// A peak-sensitive moving average of durations.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct PeakEwma {
    last: Option<(f64, Time)>,
}

impl PeakEwma {
    /// The estimate at `now`; `None` before the first sample.
    pub(crate) fn get(&self, now: Time) -> Option<Duration> {
        let (estimate, at) = self.last?;
        Some(Duration::from_secs_f64(estimate * decay(at, now)))
    }

    /// Takes a sample in.
    pub(crate) fn record(&mut self, sample: Duration, now: Time) {
        let sample = sample.as_secs_f64();
        let estimate = match self.last {
            Some((estimate, at)) if sample < estimate => {
                let weight = decay(at, now);
                estimate * weight + sample * (1.0 - weight)
            }
            _ => sample,
        };
        self.last = Some((estimate, now));
    }

    /// Takes a failure in as a slow answer.
    pub(crate) fn penalise(&mut self, now: Time) {
        let doubled = self.get(now).unwrap_or_default() * 2;
        self.record(doubled.clamp(PENALTY, PENALTY * 4), now);
    }
}

fn decay(since: Time, now: Time) -> f64 {
    (-(now - since).as_secs_f64() / TAU_S).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn peaks_count_at_once_and_fade() {
        let now = Time::ZERO;
        let mut load = PeakEwma::default();
        assert_eq!(load.get(now), None);
        load.record(100 * MS, now);
        load.record(900 * MS, now);
        assert_eq!(load.get(now), Some(900 * MS));
        load.record(100 * MS, now + Duration::from_secs(1));
        let estimate = load.get(now + Duration::from_secs(1)).expect("fed");
        assert!(estimate > 700 * MS && estimate < 900 * MS, "{estimate:?}");
        assert!(load.get(now + Duration::from_mins(1)).expect("fed") < 10 * MS);
    }

    #[test]
    fn failing_fast_looks_slow() {
        let now = Time::ZERO;
        let mut load = PeakEwma::default();
        load.record(10 * MS, now);
        load.penalise(now);
        assert_eq!(load.get(now), Some(PENALTY));
    }
}

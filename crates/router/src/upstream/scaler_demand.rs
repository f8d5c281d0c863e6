//! Shows an upstream's own autoscaler the full demand from time to time.
//!
//! The router sends no more than an upstream can answer in time, which keeps the upstream's queue short. A scaler that
//! counts the queue then never adds a worker. So while many requests would be late, all of them are sent there for some
//! seconds. If that adds no worker, the upstream has none to add, and the pause before the next time doubles.

use std::time::Duration;

use provider::Time;

/// The part of the requests that must be late for the demand to be shown.
const LATE: f64 = 0.10;
/// The weight of a new request.
const STEP: f64 = 0.02;
const LASTS: Duration = Duration::from_secs(6);
const FIRST_PAUSE: Duration = Duration::from_secs(20);
const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// When the demand is shown to an upstream's scaler.
#[derive(Debug, Default)]
pub(super) struct ScalerDemand {
    late: f64,
    since: Option<Time>,
    pause: Duration,
    /// Workers that were ready when it was shown last.
    ready_before: u32,
}

impl ScalerDemand {
    /// Whether the demand is shown now.
    pub(super) fn is_on(&self, now: Time) -> bool {
        self.since.is_some_and(|since| now - since < LASTS)
    }

    /// A request came that would be late, or not; `workers` are ready, and on their way.
    pub(super) fn passed(&mut self, is_late: bool, workers: Option<(u32, u32)>, now: Time) {
        let late = if is_late { 1.0 } else { 0.0 };
        self.late += STEP * (late - self.late);
        let Some((ready, coming)) = workers else { return };
        // A cold upstream has no queue to show, and workers on their way were added for demand that was seen already.
        if self.late < LATE || ready == 0 || coming > 0 {
            return;
        }
        let is_due = self.since.is_none_or(|since| now - since >= self.pause);
        if !is_due {
            return;
        }
        let is_fruitless = self.since.is_some() && ready <= self.ready_before;
        self.pause = if is_fruitless { (self.pause * 2).min(LONGEST_PAUSE) } else { FIRST_PAUSE };
        (self.since, self.ready_before, self.late) = (Some(now), ready, 0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many times it is on in so many seconds, with ten late requests in each, where each time brings a worker up to `most`.
    fn times(seconds: u64, most: u32) -> u32 {
        let (mut scaler_demand, mut ready, mut times, mut was_on) = (ScalerDemand::default(), 1, 0, false);
        for tenth in 0..seconds * 10 {
            let now = Time::ZERO + Duration::from_millis(tenth * 100);
            scaler_demand.passed(true, Some((ready, 0)), now);
            let is_on = scaler_demand.is_on(now);
            if is_on && !was_on {
                times += 1;
                ready = (ready + 1).min(most);
            }
            was_on = is_on;
        }
        times
    }

    #[test]
    fn demand_is_shown_again_while_it_adds_workers_and_then_less_and_less_often() {
        assert_eq!(times(80, 9), 4, "every twenty seconds");
        assert!((4..=6).contains(&times(600, 1)), "{}", times(600, 1));
    }

    #[test]
    fn nothing_is_shown_where_few_are_late_or_workers_are_on_their_way() {
        for (every, workers) in [(20, Some((1, 0))), (1, Some((1, 1))), (1, Some((0, 0))), (1, None)] {
            let mut scaler_demand = ScalerDemand::default();
            for request in 0..1_000 {
                let now = Time::ZERO + Duration::from_millis(request * 100);
                scaler_demand.passed(request % every == 0, workers, now);
                assert!(!scaler_demand.is_on(now), "{every} {workers:?}");
            }
        }
    }
}

//! How often something happens: a count over the last seconds, ten of them unless a user asks for more.
//!
//! Exact counts per second in a fixed ring, not a moving average: an average that is updated by events does not fall
//! while nothing happens, and one that fades by time alone has no unit. A ring that has counted for less than its
//! length divides by the time that it has counted, so that the rate is not understated after a pause; [`Rate::lasting`] does not.

use std::time::Duration;

use provider::Time;

const SECOND_NS: u64 = 1_000_000_000;
/// A rate is judged over at least this long.
const LEAST_SPAN_S: f64 = 1.0;

/// Events of the last seconds, by the second.
#[derive(Debug, Clone)]
pub(crate) struct Rate<const SECONDS: usize = 10> {
    /// When counting began, after so many seconds or more without an event.
    since: Option<Time>,
    /// The second of the latest event, counted from the origin.
    latest: u64,
    counts: [f64; SECONDS],
    /// The sum of the counts of the seconds before the latest one: a count is asked for with every request.
    before: f64,
}

fn second(at: Time) -> u64 {
    at.as_nanos() / SECOND_NS
}

impl<const SECONDS: usize> Default for Rate<SECONDS> {
    fn default() -> Self {
        Self { since: None, latest: 0, counts: [0.0; SECONDS], before: 0.0 }
    }
}

impl<const SECONDS: usize> Rate<SECONDS> {
    /// The index of a second in the ring.
    fn place(second: u64) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "a remainder below the length of the ring")]
        let place = (second % SECONDS as u64) as usize;
        place
    }

    /// Something happened, or a part of something.
    pub(crate) fn record(&mut self, part: f64, now: Time) {
        let at = second(now).max(self.latest);
        let passed = at - self.latest;
        if self.since.is_none() || passed >= SECONDS as u64 {
            (self.since, self.counts, self.before) = (Some(now), [0.0; SECONDS], 0.0);
        } else if passed > 0 {
            (1..=passed).for_each(|step| self.counts[Self::place(self.latest + step)] = 0.0);
            self.before = self.counts.iter().sum();
        }
        self.latest = at;
        self.counts[Self::place(at)] += part;
    }

    /// How many events the last seconds held.
    pub(crate) fn count(&self, now: Time) -> f64 {
        let now = second(now).max(self.latest);
        if now == self.latest {
            return self.before + self.counts[Self::place(now)];
        }
        let oldest = (now + 1).saturating_sub(SECONDS as u64);
        let first = oldest.max((self.latest + 1).saturating_sub(SECONDS as u64));
        (first..=self.latest).map(|second| self.counts[Self::place(second)]).sum()
    }

    /// Events per second as far as they have lasted: what began a moment ago counts as little as it would if it ended now.
    pub(crate) fn lasting(&self, now: Time) -> f64 {
        self.count(now) / f64::from(u32::try_from(SECONDS).unwrap_or(u32::MAX))
    }

    /// Events per second over the last seconds; zero before the first one.
    pub(crate) fn per_second(&self, now: Time) -> f64 {
        let Some(since) = self.since else { return 0.0 };
        // The oldest second that is counted is whole, the present one is not.
        let part = Duration::from_nanos(now.as_nanos() % SECOND_NS).as_secs_f64();
        let longest = part + f64::from(u32::try_from(SECONDS - 1).unwrap_or(u32::MAX));
        let span = (now - since).as_secs_f64().min(longest).max(LEAST_SPAN_S);
        self.count(now) / span
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Time {
        Time::from_nanos(0) + Duration::from_secs_f64(seconds)
    }

    fn fed(rate: f64, from: f64, to: f64) -> Rate {
        let mut counted: Rate = Rate::default();
        let mut now = from;
        while now < to {
            counted.record(1.0, at(now));
            now += 1.0 / rate;
        }
        counted
    }

    #[test]
    fn a_steady_rate_is_read_at_any_moment() {
        let rate = fed(20.0, 3.3, 60.0);
        assert!((rate.per_second(at(60.0)) - 20.0).abs() < 1.5, "{}", rate.per_second(at(60.0)));
        let young = fed(20.0, 100.4, 103.4);
        assert!((young.per_second(at(103.4)) - 20.0).abs() < 1.0, "{}", young.per_second(at(103.4)));
    }

    #[test]
    fn it_falls_while_nothing_happens_and_is_zero_after_ten_seconds() {
        let rate = fed(20.0, 0.0, 30.0);
        let later: Vec<f64> = [30.0, 32.0, 35.0, 38.0].map(|now| rate.per_second(at(now))).into();
        assert!(later.windows(2).all(|pair| pair[1] < pair[0]), "{later:?}");
        assert!(rate.count(at(40.0)) + rate.count(at(1e6)) < 1e-9);
    }

    #[test]
    fn a_pause_is_not_averaged_into_what_comes_after_it() {
        let mut rate = fed(20.0, 0.0, 30.0);
        for step in 0..60_u32 {
            rate.record(1.0, at(500.0 + f64::from(step) / 20.0));
        }
        assert!((rate.per_second(at(503.0)) - 20.0).abs() < 1.0, "{}", rate.per_second(at(503.0)));
    }

    #[test]
    fn what_has_not_lasted_counts_little() {
        let mut rate: Rate<60> = Rate::default();
        for step in 0..120_u32 {
            rate.record(1.0, at(500.0 + f64::from(step) / 20.0));
        }
        assert!((rate.per_second(at(506.0)) - 20.0).abs() < 1.0 && (rate.lasting(at(506.0)) - 2.0).abs() < 0.1);
        assert!(rate.lasting(at(566.0)).abs() < 1e-9);
    }

    #[test]
    fn a_moment_that_comes_late_is_counted_with_the_latest() {
        let mut rate = fed(1.0, 0.0, 30.5);
        rate.record(1.0, at(2.0));
        assert!((rate.count(at(30.5)) - 11.0).abs() < 1e-9);
    }
}

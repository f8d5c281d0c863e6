//! How long an upstream without a ready worker will still take to answer.
//!
//! The last eight starts are remembered, and since when the one under way has lasted. What remains is conditional on
//! that: a start that usually takes 14 s and has lasted 13 s ends at any moment; one that has lasted 60 s has another
//! cause, and another length.
//!
//! Eight samples are too few for their quantiles: beyond the longest one nothing would be known, and each would be a
//! step. So the probability that a start lasts longer than `t` is a mixture: a lognormal kernel around each sample
//! (Silverman, Density Estimation, 1986), a wide one around what RunPod's starts usually take, and a small share with a
//! Pareto tail. The last one decides once a start has lasted longer than all the others: what has lasted long lasts
//! about as long again.

use std::time::Duration;

use provider::Time;

use crate::knowledge::{capacity::LONGEST_START, duration, normal};

/// Starts that are remembered.
const HISTORY: usize = 8;
/// Spread of the kernel around a sample, of its logarithm.
const KERNEL: f64 = 0.25;
/// What is expected before the first start: its median, spread and weight in samples.
const PRIOR_S: f64 = 15.0;
const PRIOR_SPREAD: f64 = 0.6;
const PRIOR_WEIGHT: f64 = 0.5;
/// The weight of the Pareto tail: starts that last longer than any before.
const TAIL_WEIGHT: f64 = 0.05;
/// Halvings of the interval in which a quantile lies: a thousandth of its logarithm.
const HALVINGS: u32 = 16;
/// The shortest start; a shorter one counts as this long.
const LEAST_S: f64 = 0.1;

/// The cold starts of an upstream.
#[derive(Debug, Clone, Default)]
pub(crate) struct ColdStarts {
    /// Logarithms of the last starts, in seconds.
    logs: [f64; HISTORY],
    /// How many starts were seen.
    seen: usize,
    begun: Option<Time>,
}

impl ColdStarts {
    /// A call goes to the upstream while no worker is ready: it sets off a start, unless one is under way.
    pub(crate) fn called(&mut self, now: Time) {
        self.begun.get_or_insert(now);
    }

    /// The workers were polled: so many are ready, and so many are on their way, the first of them for `age`.
    pub(crate) fn polled(&mut self, ready: u32, on_their_way: u32, age: Duration, now: Time) {
        if ready > 0 {
            self.ended(now);
            return;
        }
        if on_their_way > 0 {
            let began = now - age;
            self.begun = Some(self.begun.map_or(began, |begun| begun.min(began)));
        }
        // Given up: what comes next is another start.
        self.begun = self.begun.filter(|begun| now - *begun < LONGEST_START);
    }

    /// A first token came: a start that was under way is over.
    pub(crate) fn answered(&mut self, now: Time) {
        self.ended(now);
    }

    /// For how long the start under way has lasted; `None` if none is.
    pub(crate) fn elapsed(&self, now: Time) -> Option<Duration> {
        self.begun.map(|begun| now - begun)
    }

    /// How many starts were seen, at most eight of which are remembered.
    #[cfg(test)]
    pub(crate) fn seen(&self) -> usize {
        self.seen
    }

    /// The probability that a call to the cold upstream waits longer than `limit` for a worker.
    pub(crate) fn late(&self, limit: Duration, now: Time) -> f64 {
        let elapsed = self.elapsed_s(now);
        self.survival(elapsed + limit.as_secs_f64()) / self.survival(elapsed)
    }

    /// How long a call waits for a worker at most, with probability `share`: 0.5 is the median.
    ///
    /// A bisection of some hundred exponentials: for a decision use [`Self::late`].
    pub(crate) fn remaining(&self, share: f64, now: Time) -> Duration {
        let elapsed = self.elapsed_s(now);
        let beyond = (1.0 - share.clamp(0.0, 1.0)) * self.survival(elapsed);
        let (mut least, mut most) = (LEAST_S.ln(), LONGEST_START.as_secs_f64().ln());
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(least, most);
            if self.survival(elapsed + middle.exp()) > beyond {
                least = middle;
            } else {
                most = middle;
            }
        }
        duration(most.exp())
    }

    fn elapsed_s(&self, now: Time) -> f64 {
        self.elapsed(now).unwrap_or_default().as_secs_f64()
    }

    /// The probability that a start lasts longer than `seconds`, times the sum of the weights. Never zero.
    fn survival(&self, seconds: f64) -> f64 {
        let log = seconds.max(f64::MIN_POSITIVE).ln();
        let samples: f64 =
            self.logs[..self.seen.min(HISTORY)].iter().map(|sample| normal::tail((log - sample) / KERNEL)).sum();
        let prior = PRIOR_WEIGHT * normal::tail((log - PRIOR_S.ln()) / PRIOR_SPREAD);
        samples + prior + TAIL_WEIGHT / (1.0 + seconds / PRIOR_S)
    }

    fn ended(&mut self, now: Time) {
        let Some(begun) = self.begun.take() else { return };
        self.logs[self.seen % HISTORY] = (now - begun).as_secs_f64().max(LEAST_S).ln();
        self.seen += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: f64) -> Time {
        Time::from_nanos(0) + Duration::from_secs_f64(seconds)
    }

    /// After starts of these lengths, an hour apart.
    fn after(starts: &[f64]) -> (ColdStarts, f64) {
        let (mut known, mut now) = (ColdStarts::default(), 0.0);
        for start in starts {
            known.called(at(now));
            known.answered(at(now + start));
            now += 3_600.0;
        }
        (known, now)
    }

    fn median(known: &ColdStarts, now: f64) -> f64 {
        known.remaining(0.5, at(now)).as_secs_f64()
    }

    #[test]
    fn what_remains_shrinks_as_a_start_goes_on() {
        let (mut known, now) = after(&[13.0, 14.0, 15.0, 14.0, 16.0, 12.0]);
        assert!((median(&known, now) - 14.0).abs() < 1.0, "{}", median(&known, now));
        known.called(at(now));
        let remaining = [0.0, 5.0, 10.0, 13.0].map(|elapsed| median(&known, now + elapsed));
        assert!((remaining[1] - 9.0).abs() < 1.0 && remaining[3] < 4.0, "{remaining:?}");
        assert!(remaining.windows(2).all(|pair| pair[1] < pair[0]), "{remaining:?}");
        let late = |elapsed| known.late(2 * SECOND, at(now + elapsed));
        assert!(late(0.0) > 0.99 && late(13.0) < 0.75, "{} {}", late(0.0), late(13.0));
    }

    #[test]
    fn a_start_that_lasts_longer_than_any_before_is_of_another_kind() {
        let (mut known, now) = after(&[14.0; 8]);
        known.called(at(now));
        assert!(median(&known, now + 60.0) > 20.0, "{}", median(&known, now + 60.0));
        assert!(known.late(2 * SECOND, at(now + 200.0)) > 0.9);
    }

    #[test]
    fn before_the_first_start_the_usual_one_is_expected() {
        let known = ColdStarts::default();
        assert!((median(&known, 0.0) - 15.0).abs() < 1.5, "{}", median(&known, 0.0));
        let quantiles = [0.1, 0.5, 0.9].map(|share| known.remaining(share, at(0.0)));
        assert!(quantiles[0] < quantiles[1] && quantiles[1] < quantiles[2], "{quantiles:?}");
    }

    #[test]
    fn only_the_last_eight_count() {
        let (known, now) = after(&[[90.0; 8], [5.0; 8]].concat());
        assert!((median(&known, now) - 5.0).abs() < 0.5, "{}", median(&known, now));
        assert_eq!(known.seen(), 16);
    }

    #[test]
    fn polls_show_starts_that_others_set_off_and_their_age() {
        let mut known = ColdStarts::default();
        known.polled(0, 0, Duration::ZERO, at(100.0));
        assert_eq!(known.elapsed(at(100.0)), None);
        known.polled(0, 1, 3 * SECOND, at(100.0));
        assert_eq!(known.elapsed(at(102.0)), Some(5 * SECOND));
        known.polled(0, 2, 5 * SECOND, at(102.0));
        known.polled(1, 1, 9 * SECOND, at(106.0));
        assert_eq!((known.elapsed(at(106.0)), known.seen()), (None, 1));
        assert!((known.logs[0].exp() - 9.0).abs() < 1e-9);
    }

    #[test]
    fn a_start_began_with_the_first_call_or_worker_whichever_was_earlier() {
        let mut known = ColdStarts::default();
        known.called(at(100.0));
        known.called(at(103.0));
        known.polled(0, 1, SECOND, at(104.0));
        assert_eq!(known.elapsed(at(104.0)), Some(4 * SECOND));
        known.polled(0, 1, 8 * SECOND, at(104.0));
        assert_eq!(known.elapsed(at(104.0)), Some(8 * SECOND));
    }

    #[test]
    fn a_warm_upstream_that_answers_has_started_nothing() {
        let mut known = ColdStarts::default();
        known.polled(2, 0, Duration::ZERO, at(0.0));
        known.answered(at(1.0));
        assert_eq!((known.seen(), known.elapsed(at(1.0))), (0, None));
    }

    #[test]
    fn a_start_that_was_given_up_is_no_sample_of_one() {
        let mut known = ColdStarts::default();
        known.called(at(0.0));
        known.polled(0, 0, Duration::ZERO, at(421.0));
        known.called(at(430.0));
        known.answered(at(440.0));
        assert!((known.logs[0].exp() - 10.0).abs() < 1e-9);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn probabilities_and_quantiles_are_in_order(starts in vec(0.0_f64..500.0, 0..12), elapsed in 0.0_f64..500.0) {
            let (mut known, now) = after(&starts);
            known.called(at(now));
            let now = at(now + elapsed);
            let late = [0.0, 1.0, 5.0, 30.0, 300.0].map(|limit| known.late(Duration::from_secs_f64(limit), now));
            prop_assert!((late[0] - 1.0).abs() < 1e-9 && late.iter().all(|late| (0.0..=1.0).contains(late)), "{:?}", late);
            prop_assert!(late.windows(2).all(|pair| pair[1] <= pair[0]), "{:?}", late);
            let remaining = [0.1, 0.5, 0.9].map(|share| known.remaining(share, now));
            prop_assert!(remaining.windows(2).all(|pair| pair[0] <= pair[1]), "{:?}", remaining);
            prop_assert!(remaining[2] <= LONGEST_START + SECOND);
        }
    }
}

//! A provider's token bucket, mirrored: an estimate of what is left of a limit per minute.
//!
//! Providers refill continuously (Cerebras documents it), so the mirror does too; a count per calendar minute would
//! allow twice the limit around its turn. The limit is configured, reported in headers, or learned from refusals.
//!
//! A refusal that reports what is left sets the level. One that does not, from a provider whose answers do, changes
//! nothing here: it may have had another cause, it parks the upstream, and the next answer reports the level. Where no
//! answer reports what is left, a refusal shows that the mirror holds too much: others use the same key, or the limit
//! was cut. Then the refill is scaled by 0.7, at most once for the calls that were under way together, down to 0.05;
//! each success gives 3 % back. That is additive-increase, multiplicative-decrease (Jacobson, 1988) on the rate.
//!
//! A limit that is neither configured nor reported is **learned** with care, since a refusal may have had another
//! cause: never below what was taken in the window before it, or the same rate since the first call if that was later;
//! no part of it is kept in reserve, and it doubles every ten seconds while calls are taken. All that was learned from
//! refusals is forgotten after a window without one.

use std::time::Duration;

use provider::Time;

use crate::knowledge::{duration, recent::Recent};

const CUT: f64 = 0.7;
const LEAST_SCALE: f64 = 0.05;
const REGAIN: f64 = 1.03;
/// A learned limit doubles in this time while calls are taken, so that one that was too low soon stops limiting.
const DOUBLES_S: f64 = 10.0;
/// The least that must have been taken for a limit to be learned, in units of the refused amount.
const LEAST_TAKEN: f64 = 10.0;

/// When something has room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fit {
    /// At once.
    Now,
    /// Then, if no other call takes it.
    At(Time),
    /// Never: it is more than the whole limit, or than what the reserve leaves of it.
    Never,
}

/// The limit of one window, and what is left of it.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    window_s: f64,
    limit: Option<f64>,
    source: Source,
    level: f64,
    at: Time,
    scale: f64,
    /// When something was learned from a refusal last.
    learned_at: Option<Time>,
    /// When the provider last reported what is left.
    said_at: Option<Time>,
    /// When the first call was taken.
    first_at: Option<Time>,
    /// When a learned limit grew last.
    grown_at: Time,
    /// What was taken within the last window.
    taken: Recent,
}

/// Where a limit comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The configuration, or a header that names it.
    Known,
    /// Headers that say only what is left: it is at least that.
    Left,
    /// Refusals.
    Learned,
}

impl Bucket {
    /// A full bucket of `limit` per `window`; an unknown limit is none until one is learned.
    pub(crate) fn new(window: Duration, limit: Option<f64>, now: Time) -> Self {
        let level = limit.unwrap_or(0.0);
        let window_s = window.as_secs_f64();
        Self {
            window_s,
            limit,
            source: Source::Known,
            level,
            at: now,
            scale: 1.0,
            learned_at: None,
            said_at: None,
            first_at: None,
            grown_at: now,
            taken: Recent::new(window),
        }
    }

    /// The limit, if there is one as far as is known.
    pub(crate) fn limit(&self, now: Time) -> Option<f64> {
        self.limit.filter(|_| self.source != Source::Learned || !self.is_forgotten(now))
    }

    /// What is left; `None` without a limit. Below zero if more was sent than there was.
    pub(crate) fn level(&self, now: Time) -> Option<f64> {
        let limit = self.limit(now)?;
        Some((self.level + self.per_second(now) * (now - self.at).as_secs_f64()).min(limit))
    }

    /// The part of the limit that is left; 1 without a limit.
    pub(crate) fn part(&self, now: Time) -> f64 {
        self.level(now).zip(self.limit).map_or(1.0, |(level, limit)| level / limit.max(f64::MIN_POSITIVE))
    }

    /// When `amount` has room beside a `reserve`, a part of the limit.
    pub(crate) fn fits(&self, amount: f64, reserve: f64, now: Time) -> Fit {
        let Some((level, limit)) = self.level(now).zip(self.limit) else { return Fit::Now };
        let needed = match self.source {
            Source::Known => amount + reserve * limit,
            // A call that exceeds a learned limit waits until the bucket is full, and is then tried.
            Source::Left => (amount + reserve * limit).min(limit),
            Source::Learned => amount.min(limit),
        };
        if level >= needed {
            return Fit::Now;
        }
        if needed > limit || self.per_second(now) <= 0.0 {
            return Fit::Never;
        }
        Fit::At(now + duration((needed - level) / self.per_second(now)))
    }

    /// A call that costs `amount` is sent.
    pub(crate) fn debit(&mut self, amount: f64, now: Time) {
        self.refill(now);
        self.level = (self.level - amount).max(-self.limit.unwrap_or(f64::MAX));
    }

    /// A call that was debited cost nothing after all.
    pub(crate) fn credit(&mut self, amount: f64, now: Time) {
        self.refill(now);
        self.level += amount;
    }

    /// Calls of other replicas cost so much, less than nothing if more was given back, and so much of what they cost was taken.
    pub(crate) fn learn(&mut self, cost: f64, taken: f64, now: Time) {
        if cost > 0.0 {
            self.debit(cost, now);
        } else if cost < 0.0 {
            self.credit(-cost, now);
        }
        if taken > 0.0 {
            self.taken.record(taken, now);
            self.first_at = self.first_at.or(Some(now));
        }
    }

    /// No more is left than this.
    pub(crate) fn lower(&mut self, left: f64, now: Time) {
        self.refill(now);
        self.level = self.level.min(left);
    }

    /// The limit is known to be another one. What is left stays, as far as there is room for it.
    pub(crate) fn set_limit(&mut self, limit: Option<f64>, now: Time) {
        self.refill(now);
        let most = limit.unwrap_or(0.0);
        self.level = if self.limit.is_some() { self.level.min(most) } else { most };
        (self.limit, self.source) = (limit, Source::Known);
    }

    /// The provider reported what is left, of which calls under way may have taken `outstanding` since. Unless
    /// `is_latest`, the level is only lowered to it: the report of a call that began earlier is old.
    pub(crate) fn correct(&mut self, left: f64, outstanding: f64, is_latest: bool, now: Time) {
        self.refill(now);
        self.said_at = Some(now);
        let Some(limit) = self.limit.filter(|_| self.source != Source::Learned) else {
            // Nothing left of an unknown limit still shows that it is at least what was taken.
            let guess = (left + outstanding).max(self.taken.sum(now));
            (self.limit, self.source, self.level) = ((guess > 0.0).then_some(guess), Source::Left, left);
            return;
        };
        if self.source == Source::Left && left > limit {
            self.limit = Some(left);
        }
        let least = if is_latest { left - outstanding } else { f64::NEG_INFINITY };
        self.level = self.level.min(left).max(least);
    }

    /// A call that began at `began` and would have cost `amount` was refused for this limit, of which `left` is left,
    /// if reported.
    pub(crate) fn refused(&mut self, amount: f64, left: Option<f64>, began: Time, now: Time) {
        if left.is_none() && self.said_at.is_some_and(|at| (now - at).as_secs_f64() < self.window_s) {
            return;
        }
        self.refill(now);
        // It was less than the amount: half of it, as far as is known.
        let level = left.unwrap_or_else(|| self.level.min(amount / 2.0));
        // Calls that were under way at the last refusal count with it, and change nothing more.
        if self.learned_at.is_some_and(|at| began < at) {
            self.level = level;
            return;
        }
        self.learned_at = Some(now);
        if self.limit.is_none() || self.source == Source::Learned {
            let taken = self.taken.sum(now);
            self.limit =
                (left.is_none() && taken >= LEAST_TAKEN * amount).then_some(taken * self.windows_per_history(now));
            (self.source, self.grown_at) = (Source::Learned, now);
        } else {
            self.scale = (CUT * self.scale).max(LEAST_SCALE);
        }
        self.level = level;
    }

    /// A call that cost `amount` was taken.
    pub(crate) fn succeeded(&mut self, amount: f64, now: Time) {
        self.refill(now);
        self.taken.record(amount, now);
        self.first_at = self.first_at.or(Some(now));
        if self.source == Source::Learned {
            let grows = ((now - self.grown_at).as_secs_f64() / DOUBLES_S).min(1.0).exp2();
            (self.limit, self.grown_at) = (self.limit.map(|limit| limit * grows), now.max(self.grown_at));
        }
        self.scale = (self.scale * REGAIN).min(1.0);
    }

    /// How many times as long as the time since the first call a window is: 1 from a window on, and 10 at most.
    fn windows_per_history(&self, now: Time) -> f64 {
        const MOST: f64 = 10.0;
        let known_s = self.first_at.map_or(0.0, |at| (now - at).as_secs_f64());
        (self.window_s / known_s.max(self.window_s / MOST)).max(1.0)
    }

    fn per_second(&self, now: Time) -> f64 {
        let scale = if self.is_forgotten(now) { 1.0 } else { self.scale };
        self.limit.unwrap_or(0.0) * scale / self.window_s
    }

    /// Whether nothing was learned from a refusal for a window.
    fn is_forgotten(&self, now: Time) -> bool {
        self.learned_at.is_none_or(|at| (now - at).as_secs_f64() >= self.window_s)
    }

    fn refill(&mut self, now: Time) {
        self.level = self.level(now).unwrap_or(0.0);
        self.at = self.at.max(now);
        if self.is_forgotten(now) {
            self.scale = 1.0;
            (self.limit, self.source) = match self.source {
                Source::Learned => (None, Source::Known),
                Source::Known | Source::Left => (self.limit, self.source),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn at(seconds: f64) -> Time {
        Time::from_nanos(0) + Duration::from_secs_f64(seconds)
    }

    fn bucket(limit: f64) -> Bucket {
        Bucket::new(MINUTE, Some(limit), at(0.0))
    }

    fn level(bucket: &Bucket, seconds: f64) -> f64 {
        bucket.level(at(seconds)).expect("a limit")
    }

    #[test]
    fn what_is_used_comes_back_within_the_window() {
        let mut bucket = bucket(600.0);
        bucket.debit(600.0, at(0.0));
        assert!((level(&bucket, 6.0) - 60.0).abs() < 1e-6 && (level(&bucket, 600.0) - 600.0).abs() < 1e-6);
        assert_eq!(bucket.fits(60.0, 0.0, at(6.0)), Fit::Now);
        assert_eq!(bucket.fits(120.0, 0.0, at(6.0)), Fit::At(at(12.0)));
        assert_eq!(bucket.fits(60.0, 0.1, at(6.0)), Fit::At(at(12.0)), "a reserve is left alone");
        assert_eq!((bucket.fits(601.0, 0.0, at(6.0)), bucket.fits(400.0, 0.4, at(6.0))), (Fit::Never, Fit::Never));
    }

    #[test]
    fn headers_lower_the_level_at_once_and_raise_it_only_by_what_is_not_under_way() {
        let mut bucket = bucket(600.0);
        bucket.debit(100.0, at(0.0));
        bucket.correct(200.0, 0.0, false, at(0.0));
        assert!((level(&bucket, 0.0) - 200.0).abs() < 1e-6);
        bucket.correct(550.0, 30.0, false, at(0.0));
        assert!((level(&bucket, 0.0) - 200.0).abs() < 1e-6, "what an earlier call said is old");
        bucket.correct(550.0, 30.0, true, at(0.0));
        assert!((level(&bucket, 0.0) - 520.0).abs() < 1e-6);
    }

    #[test]
    fn a_refusal_slows_the_refill_once_for_calls_under_way_together() {
        let mut bucket = bucket(600.0);
        for call in 0..20 {
            bucket.refused(10.0, Some(0.0), at(0.0), at(1.0 + f64::from(call) / 100.0));
        }
        let gained = level(&bucket, 2.19) - level(&bucket, 1.19);
        assert!((gained - 7.0).abs() < 1e-6, "0.7 of ten a second: {gained}");
        (0..20).for_each(|call| bucket.refused(10.0, None, at(10.0 + f64::from(call)), at(10.5 + f64::from(call))));
        let gained = level(&bucket, 41.0) - level(&bucket, 40.0);
        assert!((gained - 0.5).abs() < 1e-6, "never below a twentieth: {gained}");
        let mut forgets = bucket.clone();
        (0..200).for_each(|_| bucket.succeeded(1.0, at(50.0)));
        assert!((level(&bucket, 51.0) - level(&bucket, 50.0) - 10.0).abs() < 1e-6);
        forgets.debit(600.0, at(95.0));
        assert!((level(&forgets, 96.0) - level(&forgets, 95.0) - 10.0).abs() < 1e-6, "a minute later it is forgotten");
    }

    /// A bucket without a limit of which five a second were taken for four minutes.
    fn served() -> Bucket {
        let mut bucket = Bucket::new(MINUTE, None, at(0.0));
        for call in 0..1_200 {
            bucket.debit(1.0, at(f64::from(call) / 5.0));
            bucket.succeeded(1.0, at(f64::from(call) / 5.0));
        }
        bucket
    }

    #[test]
    fn an_unknown_limit_is_learned_from_what_was_taken_before_the_first_refusal() {
        let mut bucket = served();
        assert_eq!((bucket.limit(at(240.0)), bucket.fits(1e9, 0.4, at(240.0))), (None, Fit::Now));
        (0..100).for_each(|_| bucket.debit(1.0, at(240.0)));
        for call in 0..100 {
            bucket.credit(1.0, at(240.0 + f64::from(call) / 1e3));
            bucket.refused(1.0, None, at(240.0), at(240.0 + f64::from(call) / 1e3));
        }
        let limit = bucket.limit(at(240.0)).expect("learned");
        assert!((300.0..360.0).contains(&limit), "a storm is one lesson, of what was served: {limit}");
        let Fit::At(then) = bucket.fits(1.0, 0.4, at(240.1)) else { panic!("nothing is left") };
        assert!(then - at(240.1) < Duration::from_millis(210), "no reserve of what may be no limit: {then:?}");
    }

    #[test]
    fn a_learned_limit_grows_while_calls_are_taken_and_is_forgotten_after_a_minute() {
        let mut bucket = served();
        bucket.refused(1.0, None, at(240.0), at(240.0));
        let limit = bucket.limit(at(240.0)).expect("learned");
        (0..50).for_each(|call| bucket.succeeded(1.0, at(240.0 + f64::from(call) / 5.0)));
        let grown = bucket.limit(at(250.0)).expect("learned");
        assert!((1.9..2.0).contains(&(grown / limit)), "{limit} to {grown} in ten seconds");
        assert!(bucket.limit(at(299.0)).is_some());
        assert_eq!((bucket.limit(at(300.0)), bucket.fits(1e9, 0.0, at(300.0))), (None, Fit::Now));
    }

    #[test]
    fn a_limit_that_is_learned_in_the_first_seconds_is_a_rate() {
        let mut bucket = Bucket::new(MINUTE, None, at(0.0));
        (0..60).for_each(|call| bucket.succeeded(1.0, at(f64::from(call) / 5.0)));
        bucket.refused(1.0, None, at(12.0), at(12.0));
        let limit = bucket.limit(at(12.0)).expect("learned");
        assert!((290.0..310.0).contains(&limit), "five a second: {limit}");
    }

    #[test]
    fn a_refusal_without_a_number_changes_nothing_where_answers_say_what_is_left() {
        for limit in [None, Some(600.0)] {
            let mut bucket = Bucket::new(MINUTE, limit, at(0.0));
            bucket.correct(590.0, 0.0, true, at(0.0));
            bucket.refused(1.0, None, at(0.0), at(1.0));
            assert_eq!(bucket.fits(1.0, 0.4, at(1.0)), Fit::Now, "{limit:?}");
            bucket.refused(1.0, Some(0.0), at(1.0), at(1.0));
            assert_ne!(bucket.fits(1.0, 0.0, at(1.0)), Fit::Now, "{limit:?}: a number is believed");
        }
    }

    #[test]
    fn what_served_nothing_has_shown_no_limit() {
        let mut bucket = Bucket::new(MINUTE, None, at(0.0));
        (0..200).for_each(|_| bucket.debit(1.0, at(0.0)));
        (0..200).for_each(|_| bucket.refused(1.0, None, at(0.0), at(0.1)));
        assert_eq!((bucket.limit(at(0.1)), bucket.fits(1.0, 0.4, at(0.1))), (None, Fit::Now));
    }

    #[test]
    fn a_limit_reported_in_headers_is_used() {
        let mut bucket = Bucket::new(MINUTE, None, at(0.0));
        bucket.correct(400.0, 20.0, true, at(0.0));
        assert_eq!((bucket.limit(at(0.0)), bucket.level(at(0.0))), (Some(420.0), Some(400.0)));
        assert_eq!(bucket.fits(1_000.0, 0.0, at(0.0)), Fit::At(at(60.0 * 20.0 / 420.0)), "it may be a wrong guess");
        bucket.set_limit(Some(250.0), at(0.0));
        assert_eq!((bucket.limit(at(0.0)), bucket.level(at(0.0))), (Some(250.0), Some(250.0)));
    }

    #[test]
    fn nothing_left_of_an_unknown_limit_is_not_for_ever() {
        let mut bucket = Bucket::new(MINUTE, None, at(0.0));
        bucket.correct(0.0, 0.0, true, at(0.0));
        assert_eq!(
            (bucket.limit(at(0.0)), bucket.fits(1.0, 0.0, at(0.0))),
            (None, Fit::Now),
            "the limit stays unknown"
        );
        (0..30).for_each(|_| bucket.succeeded(1.0, at(0.0)));
        bucket.correct(0.0, 0.0, true, at(0.0));
        assert_eq!(bucket.fits(1.0, 0.0, at(0.0)), Fit::At(at(2.0)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// After any sequence of events, a call that waits until the time that was given has room then, if no other
        /// call came.
        #[test]
        fn the_moment_that_is_named_is_the_right_one(
            steps in vec((0_u8..6, 0.0_f64..900.0, 0.0_f64..40.0), 1..80), amount in 1.0_f64..600.0, reserve in 0.0_f64..0.4,
        ) {
            let (mut bucket, mut now) = (bucket(600.0), 0.0);
            for (what, amount, pause) in steps {
                now += pause;
                match what {
                    0..2 => bucket.debit(amount, at(now)),
                    2 => bucket.credit(amount, at(now)),
                    3 => bucket.correct(amount, pause, true, at(now)),
                    4 => bucket.refused(amount, None, at(now - pause), at(now)),
                    _ => bucket.succeeded(amount, at(now)),
                }
                let level = level(&bucket, now);
                prop_assert!((-601.0..=600.0).contains(&level), "{}", level);
            }
            if let Fit::At(then) = bucket.fits(amount, reserve, at(now)) {
                prop_assert!(then > at(now));
                prop_assert_eq!(bucket.fits(amount, reserve, then + Duration::from_micros(1)), Fit::Now);
            }
        }
    }
}

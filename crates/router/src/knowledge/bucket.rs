//! A provider's token bucket, mirrored: what is left of a limit per minute, as far as can be told from here.
//!
//! Providers refill continuously (Cerebras documents it), so the mirror does too; a count per calendar minute would
//! allow twice the limit around its turn. The limit is configured, said by headers, or learned from the use at which
//! the first refusal came.
//!
//! A refusal shows that the mirror holds too much: others use the same key, or the limit was cut. Then the level is
//! what the error says, and the refill is scaled by 0.7, at most once for the calls that were under way together, down
//! to 0.05; each success gives 3 % back. That is additive-increase, multiplicative-decrease (Jacobson, 1988) on the
//! rate.

use std::time::Duration;

use provider::Time;

use crate::knowledge::duration;

const CUT: f64 = 0.7;
const LEAST_SCALE: f64 = 0.05;
const REGAIN: f64 = 1.03;
/// How fast a limit that was guessed grows with each success, so that a guess that was too low is no lasting one.
const GROWTH: f64 = 1.002;
/// The least use that a limit is guessed from, in units of the refused amount: one refused call tells no limit.
const LEAST_USE: f64 = 10.0;

/// When something has room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fit {
    /// At once.
    Now,
    /// Then, if nobody else takes it.
    At(Time),
    /// Never: it is more than the whole limit, or than what the reserve leaves of it.
    Never,
}

/// The limit of one window, and what is left of it.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    window_s: f64,
    limit: Option<f64>,
    /// Whether the limit was guessed: from a refusal, or from what was left.
    is_guess: bool,
    /// Whether the provider says what is left. Then a limit that was guessed too low shows by itself.
    is_told: bool,
    level: f64,
    at: Time,
    scale: f64,
    /// When the scale was cut last.
    cut_at: Option<Time>,
    /// What was used within a window, roughly: a sum that decays with the window as its time constant.
    used: f64,
}

impl Bucket {
    /// A full bucket of `limit` per `window`; an unknown limit is none until one is learned.
    pub(crate) fn new(window: Duration, limit: Option<f64>, now: Time) -> Self {
        let level = limit.unwrap_or(0.0);
        let window_s = window.as_secs_f64();
        Self { window_s, limit, is_guess: false, is_told: false, level, at: now, scale: 1.0, cut_at: None, used: 0.0 }
    }

    /// The limit, if there is one as far as is known.
    pub(crate) fn limit(&self) -> Option<f64> {
        self.limit
    }

    /// What is left; `None` without a limit. Below zero if more was sent than there was.
    pub(crate) fn level(&self, now: Time) -> Option<f64> {
        let limit = self.limit?;
        Some((self.level + self.per_second() * (now - self.at).as_secs_f64()).min(limit))
    }

    /// The part of the limit that is left; 1 without a limit.
    pub(crate) fn part(&self, now: Time) -> f64 {
        self.level(now).zip(self.limit).map_or(1.0, |(level, limit)| level / limit.max(f64::MIN_POSITIVE))
    }

    /// When `amount` has room beside a `reserve`, a part of the limit.
    pub(crate) fn fits(&self, amount: f64, reserve: f64, now: Time) -> Fit {
        let Some((level, limit)) = self.level(now).zip(self.limit) else { return Fit::Now };
        // What is more than a limit that was only guessed waits until it is full: then it shows.
        let needed = if self.is_guess { (amount + reserve * limit).min(limit) } else { amount + reserve * limit };
        if level >= needed {
            return Fit::Now;
        }
        if needed > limit || self.per_second() <= 0.0 {
            return Fit::Never;
        }
        Fit::At(now + duration((needed - level) / self.per_second()))
    }

    /// A call that costs `amount` is sent.
    pub(crate) fn debit(&mut self, amount: f64, now: Time) {
        self.refill(now);
        self.used += amount;
        self.level = (self.level - amount).max(-self.limit.unwrap_or(f64::MAX));
    }

    /// A call that was debited cost nothing after all.
    pub(crate) fn credit(&mut self, amount: f64, now: Time) {
        self.refill(now);
        self.used = (self.used - amount).max(0.0);
        self.level += amount;
    }

    /// The provider said what its limit is.
    pub(crate) fn set_limit(&mut self, limit: f64, now: Time) {
        self.refill(now);
        self.level = if self.limit.is_some() { self.level.min(limit) } else { limit };
        (self.limit, self.is_guess) = (Some(limit), false);
    }

    /// The provider said what is left, `outstanding` of which calls under way may have taken since. Never believed to
    /// be more than that unless `is_latest`, since what a call said that began earlier is old.
    pub(crate) fn correct(&mut self, left: f64, outstanding: f64, is_latest: bool, now: Time) {
        self.refill(now);
        self.is_told = true;
        let Some(limit) = self.limit else {
            // Nothing left of an unknown limit still shows that it is at least what was used.
            let guess = (left + outstanding).max(self.used);
            (self.limit, self.is_guess, self.level) = ((guess > 0.0).then_some(guess), true, left);
            return;
        };
        if self.is_guess && left > limit {
            self.limit = Some(left);
        }
        let least = if is_latest { left - outstanding } else { f64::NEG_INFINITY };
        self.level = self.level.min(left).max(least);
    }

    /// A call that began at `began` and would have cost `amount` was refused for this limit, of which `left` is left if
    /// that was said.
    pub(crate) fn refused(&mut self, amount: f64, left: Option<f64>, began: Time, now: Time) {
        self.refill(now);
        if self.limit.is_none() && left.is_none() && self.used >= LEAST_USE * amount {
            (self.limit, self.is_guess) = (Some(self.used), true);
        }
        // It was less than the amount: half of it, as far as is known.
        self.level = left.unwrap_or_else(|| self.level.min(amount / 2.0));
        if self.cut_at.is_none_or(|cut| began >= cut) {
            self.scale = (CUT * self.scale).max(LEAST_SCALE);
            self.cut_at = Some(now);
        }
    }

    /// A call was taken.
    pub(crate) fn succeeded(&mut self, now: Time) {
        self.refill(now);
        if self.is_guess && !self.is_told && self.scale >= 1.0 {
            self.limit = self.limit.map(|limit| limit * GROWTH);
        }
        self.scale = (self.scale * REGAIN).min(1.0);
    }

    fn per_second(&self) -> f64 {
        self.limit.unwrap_or(0.0) * self.scale / self.window_s
    }

    fn refill(&mut self, now: Time) {
        self.level = self.level(now).unwrap_or(0.0);
        self.used *= (-(now - self.at).as_secs_f64() / self.window_s).exp();
        self.at = self.at.max(now);
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
        (0..200).for_each(|_| bucket.succeeded(at(50.0)));
        assert!((level(&bucket, 51.0) - level(&bucket, 50.0) - 10.0).abs() < 1e-6);
    }

    #[test]
    fn an_unknown_limit_is_learned_from_the_use_at_the_first_refusal() {
        let mut bucket = Bucket::new(MINUTE, None, at(0.0));
        (0..1_200).for_each(|call| bucket.debit(1.0, at(f64::from(call) / 5.0)));
        assert_eq!((bucket.limit(), bucket.fits(1e9, 0.4, at(240.0))), (None, Fit::Now));
        bucket.refused(1.0, None, at(240.0), at(240.0));
        let limit = bucket.limit().expect("learned");
        assert!((limit - 300.0).abs() < 15.0, "{limit}");
        (0..500).for_each(|_| bucket.succeeded(at(240.0)));
        assert!(bucket.limit().expect("learned") > 1.5 * limit, "and is no lasting one");
        let mut fresh = Bucket::new(MINUTE, None, at(0.0));
        fresh.debit(1.0, at(0.0));
        fresh.refused(1.0, None, at(0.0), at(0.0));
        assert_eq!(fresh.limit(), None, "one refused call tells no limit");
    }

    #[test]
    fn a_limit_that_headers_tell_of_is_believed() {
        let mut bucket = Bucket::new(MINUTE, None, at(0.0));
        bucket.correct(400.0, 20.0, true, at(0.0));
        assert_eq!((bucket.limit(), bucket.level(at(0.0))), (Some(420.0), Some(400.0)));
        assert_eq!(bucket.fits(1_000.0, 0.0, at(0.0)), Fit::At(at(60.0 * 20.0 / 420.0)), "it may be a wrong guess");
        bucket.set_limit(250.0, at(0.0));
        assert_eq!((bucket.limit(), bucket.level(at(0.0))), (Some(250.0), Some(250.0)));
    }

    #[test]
    fn nothing_left_of_an_unknown_limit_is_not_for_ever() {
        let mut bucket = Bucket::new(MINUTE, None, at(0.0));
        bucket.correct(0.0, 0.0, true, at(0.0));
        assert_eq!((bucket.limit(), bucket.fits(1.0, 0.0, at(0.0))), (None, Fit::Now), "nothing tells the limit");
        (0..30).for_each(|_| bucket.debit(1.0, at(0.0)));
        bucket.correct(0.0, 0.0, true, at(0.0));
        assert_eq!(bucket.fits(1.0, 0.0, at(0.0)), Fit::At(at(2.0)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever is debited, refused and said: who waits until the moment that was named has room then, if nobody
        /// else came.
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
                    _ => bucket.succeeded(at(now)),
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

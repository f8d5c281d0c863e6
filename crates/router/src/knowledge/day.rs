//! A provider's limit per day, paced so that the day's end has something left.
//!
//! The rule: no more than `limit · ((part of the day)^0.8 + slack)` may be used by then. The exponent lets the morning
//! use more than its part, since what is saved for the evening cannot be used twice. The slack depends on why a call
//! comes: traffic that only keeps a share stops first, what others failed to serve is held by the limit alone.

use std::time::Duration;

use provider::Time;

use crate::knowledge::{bucket::Fit, duration};

const DAY: Duration = Duration::from_hours(24);
const EXPONENT: f64 = 0.8;

/// What is used of a day's limit.
#[derive(Debug, Clone)]
pub(crate) struct Day {
    limit: Option<f64>,
    used: f64,
    /// When the day ends that `used` counts.
    ends: Time,
}

impl Day {
    /// A day that begins now; without a limit nothing is paced.
    pub(crate) fn new(limit: Option<f64>, now: Time) -> Self {
        Self { limit, used: 0.0, ends: now + DAY }
    }

    /// Records the provider's own figures: what is left, its limit, and when the day ends.
    pub(crate) fn correct(&mut self, left: f64, limit: Option<f64>, ends_in: Option<Duration>, now: Time) {
        self.turn(now);
        self.limit = limit.or(self.limit).map(|limit| limit.max(left));
        self.ends = ends_in.map_or(self.ends, |ends_in| now + ends_in.min(DAY));
        if let Some(limit) = self.limit {
            self.used = self.used.max(limit - left);
        }
    }

    /// A call that costs `amount` is sent.
    pub(crate) fn debit(&mut self, amount: f64, now: Time) {
        self.turn(now);
        self.used += amount;
    }

    /// A call that was debited cost nothing after all.
    pub(crate) fn credit(&mut self, amount: f64, now: Time) {
        self.turn(now);
        self.used = (self.used - amount).max(0.0);
    }

    /// When `amount` has room, with so much `slack` over the pace; a slack of 1 leaves the limit alone.
    pub(crate) fn fits(&self, amount: f64, slack: f64, now: Time) -> Fit {
        let Some(limit) = self.limit else { return Fit::Now };
        if amount > limit {
            return Fit::Never;
        }
        let used = if now < self.ends { self.used } else { 0.0 };
        let part = (used + amount) / limit;
        let left = (self.ends - now).as_secs_f64();
        let elapsed = (1.0 - left / DAY.as_secs_f64()).clamp(0.0, 1.0);
        if part <= (elapsed.powf(EXPONENT) + slack).min(1.0) {
            return Fit::Now;
        }
        if part > 1.0 {
            return Fit::At(self.ends);
        }
        let needed = (part - slack).max(0.0).powf(EXPONENT.recip());
        Fit::At(now + duration((needed - elapsed) * DAY.as_secs_f64()).min(self.ends - now))
    }

    /// Begins the next day if this one is over.
    fn turn(&mut self, now: Time) {
        if now < self.ends {
            return;
        }
        let days = (now - self.ends).as_secs() / DAY.as_secs() + 1;
        self.used = 0.0;
        self.ends += DAY * u32::try_from(days).unwrap_or(u32::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: f64 = 0.1;
    const FAILOVER: f64 = 1.0;

    fn at(hours: u64) -> Time {
        Time::from_nanos(0) + Duration::from_hours(hours)
    }

    #[test]
    fn shares_stop_at_the_pace_and_failovers_at_the_limit() {
        let mut day = Day::new(Some(1_000.0), at(0));
        day.debit(100.0, at(0));
        let Fit::At(then) = day.fits(50.0, SHARE, at(0)) else { panic!("more than a tenth at the beginning") };
        assert!(then > at(0) && then < at(2), "{then:?}");
        assert_eq!(day.fits(50.0, SHARE, then + Duration::from_millis(1)), Fit::Now);
        assert_eq!(day.fits(50.0, SHARE, at(0) + (then - at(0)).mul_f64(0.99)), Fit::At(then));
        assert_eq!(day.fits(900.0, FAILOVER, at(0)), Fit::Now);
        assert_eq!(day.fits(901.0, FAILOVER, at(0)), Fit::At(at(24)), "the next day");
        assert_eq!(day.fits(1_001.0, FAILOVER, at(0)), Fit::Never);
    }

    /// A share that would use twice the limit leaves a tenth of the day's pace unused at no hour, and is never over it.
    #[test]
    fn a_greedy_share_is_spread_over_the_day() {
        let mut day = Day::new(Some(2_400.0), at(0));
        for hour in 0..24_u32 {
            for _ in 0..200 {
                if day.fits(1.0, SHARE, at(u64::from(hour))) == Fit::Now {
                    day.debit(1.0, at(u64::from(hour)));
                }
            }
            let pace = (f64::from(hour) / 24.0).powf(0.8) + 0.1;
            assert!(day.used <= 2_400.0 * pace + 1.0 && day.used <= 2_400.0, "{hour}: {}", day.used);
            assert!(day.used >= 2_400.0 * pace.min(1.0) - 240.0, "{hour}: {}", day.used);
        }
        assert_eq!(day.fits(100.0, SHARE, at(25)), Fit::Now, "the next day is another one");
        day.debit(100.0, at(75));
        assert_eq!((day.fits(2_300.0, FAILOVER, at(75)), day.ends), (Fit::Now, at(96)));
    }

    #[test]
    fn headers_say_what_others_used_and_when_the_day_ends() {
        let mut day = Day::new(None, at(0));
        assert_eq!(day.fits(1e9, 0.0, at(0)), Fit::Now);
        day.correct(100.0, Some(1_000.0), Some(Duration::from_hours(1)), at(0));
        assert_eq!(day.fits(101.0, FAILOVER, at(0)), Fit::At(at(1)));
        day.credit(50.0, at(0));
        assert_eq!(day.fits(150.0, FAILOVER, at(0)), Fit::Now);
        assert_eq!(day.fits(1_000.0, FAILOVER, at(1)), Fit::Now);
    }
}

//! A token bucket that holds one minute's worth and refills all the time.

use crate::time::{Nanos, from_seconds, seconds};

/// What is left of a limit.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    per_minute: f64,
    /// Which part of the limit is granted.
    factor: f64,
    level: f64,
    at: Nanos,
}

impl Bucket {
    /// A full bucket.
    pub(super) const fn new(per_minute: f64) -> Self {
        Self { per_minute, factor: 1.0, level: per_minute, at: 0 }
    }

    fn full(&self) -> f64 {
        self.per_minute * self.factor
    }

    /// What is in it.
    pub(super) fn level(&mut self, now: Nanos) -> f64 {
        let gained = seconds(now - self.at) / 60.0 * self.full();
        self.level = (self.level + gained).min(self.full());
        self.at = now;
        self.level
    }

    /// How full it is, from 0 to 1.
    pub(super) fn fullness(&mut self, now: Nanos) -> f64 {
        self.level(now) / self.full()
    }

    /// Takes `amount` out; the caller has looked at the level.
    pub(super) fn take(&mut self, amount: f64) {
        self.level -= amount;
    }

    /// When `amount` will be in it, at the earliest.
    pub(super) fn wait_for(&self, amount: f64) -> Nanos {
        from_seconds((amount - self.level).max(0.0) / self.full() * 60.0)
    }

    /// Grants another part of the limit from now on.
    pub(super) fn grant(&mut self, factor: f64, now: Nanos) {
        self.level(now);
        self.factor = factor;
        self.level = self.level.min(self.full());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND;

    #[test]
    fn a_bucket_refills_by_the_second_and_holds_a_minute() {
        let mut bucket = Bucket::new(120.0);
        bucket.take(120.0);
        assert!(bucket.level(0).abs() < 1e-9);
        assert_eq!(bucket.wait_for(3.0), 3 * SECOND / 2);
        assert!((bucket.level(10 * SECOND) - 20.0).abs() < 1e-9);
        assert!((bucket.level(500 * SECOND) - 120.0).abs() < 1e-9, "no more than a minute's worth");
        assert_eq!(bucket.wait_for(1.0), 0);
    }

    #[test]
    fn a_part_of_the_limit_refills_and_holds_that_part() {
        let mut bucket = Bucket::new(600.0);
        bucket.grant(0.1, SECOND);
        assert!((bucket.level(SECOND) - 60.0).abs() < 1e-9);
        bucket.take(60.0);
        assert!((bucket.level(11 * SECOND) - 10.0).abs() < 1e-9);
        bucket.grant(1.0, 11 * SECOND);
        assert!((bucket.level(12 * SECOND) - 20.0).abs() < 1e-9);
    }
}

//! A moment in nanoseconds since an arbitrary origin.
//!
//! Not an `Instant` of the standard library or of tokio: those can only be read from a clock, and the simulator and the
//! tests have none.

use std::{
    ops::{Add, AddAssign, Sub},
    time::Duration,
};

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The moment that many nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }
}

/// A moment beyond the last one (after 584 years) is the last one.
impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, after: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, after: Duration) {
        *self = *self + after;
    }
}

/// The time from `earlier` to `self`; zero if `earlier` is in fact later.
impl Sub for Time {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_end_of_time_is_overrun() {
        let (start, later) = (Time::from_nanos(5), Time::from_nanos(9));
        assert_eq!((later - start, start - later), (Duration::from_nanos(4), Duration::ZERO));
        assert_eq!(start + Duration::MAX, Time::from_nanos(u64::MAX));
    }
}

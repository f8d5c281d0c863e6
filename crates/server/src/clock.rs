//! Wall-clock time, for logs and seeds alone: everything that decides uses the monotonic clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970, to the millisecond.
pub(crate) fn unix_seconds() -> f64 {
    (since_1970().as_secs_f64() * 1e3).round() / 1e3
}

/// Milliseconds since 1970.
pub(crate) fn unix_millis() -> u64 {
    u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX)
}

/// The same as a signed number, for calendars.
pub(crate) fn now_ms() -> i64 {
    unix_millis().cast_signed()
}

/// A number that differs from start to start.
pub(crate) fn seed() -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "the low bits are the ones that differ")]
    let nanos = since_1970().as_nanos() as u64;
    nanos ^ (u64::from(std::process::id()) << 40)
}

fn since_1970() -> std::time::Duration {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}

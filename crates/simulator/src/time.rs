//! Virtual time: whole nanoseconds since the start of a run, so that no result depends on the order of additions.

/// A point in virtual time or a length of it, in nanoseconds.
pub type Nanos = u64;

/// One second.
pub const SECOND: Nanos = 1_000_000_000;

/// One millisecond.
pub const MILLISECOND: Nanos = 1_000_000;

/// Later than everything that happens.
pub const NEVER: Nanos = Nanos::MAX;

/// Whole nanoseconds of a number of seconds; negative numbers are zero.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates at both ends")]
pub fn from_seconds(seconds: f64) -> Nanos {
    (seconds * 1e9).round() as Nanos
}

/// Seconds, for formulas and people.
#[expect(clippy::cast_precision_loss, reason = "exact to a microsecond for 250 years")]
pub fn seconds(nanos: Nanos) -> f64 {
    nanos as f64 / 1e9
}

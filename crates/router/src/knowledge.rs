//! What is learned about an upstream at run time, and what is predicted from it.
//!
//! Each part is a pure state machine: the time comes in as an argument, nothing awaits, locks or draws a number by
//! itself, and nothing is allocated once a part has seen its usual load. An update or a query takes constant time.
//! Inside, times are `f64` seconds and sizes are `f64` tokens; at the borders they are [`std::time::Duration`] and
//! counts.

pub(crate) mod breaker;
pub(crate) mod bucket;
pub(crate) mod capacity;
pub(crate) mod cold_start;
pub(crate) mod conversations;
pub(crate) mod decode;
pub(crate) mod first_token;
pub(crate) mod idle_tail;
pub(crate) mod length;
pub(crate) mod mean;
pub(crate) mod normal;
pub(crate) mod park;
pub(crate) mod quota;
pub(crate) mod ramp;
pub(crate) mod rate;
pub(crate) mod recent;
pub(crate) mod regression;
pub(crate) mod score;
pub(crate) mod waiting;

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, and estimates beyond")]
pub(crate) fn real(count: u64) -> f64 {
    count as f64
}

/// Seconds as a duration: what is negative or not a number is none, what is too long is the longest.
pub(crate) fn duration(seconds: f64) -> std::time::Duration {
    const LONGEST_S: f64 = 1e9;
    std::time::Duration::from_secs_f64(if seconds > 0.0 { seconds.min(LONGEST_S) } else { 0.0 })
}

//! An upstream's capacity and rate limits as it reports them. Every field is optional: an unknown value is never zero.

use std::time::Duration;

/// Workers and queue of an upstream at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Workers that are up: starting, executing or in their idle tail. They are billed.
    pub running: Option<u32>,
    /// Workers that are scaled down with their image at hand. Not billed, and not known to be warm.
    pub idle: Option<u32>,
    /// Workers that fetch their image or model.
    pub initializing: Option<u32>,
    /// Workers that wait for a host with room.
    pub throttled: Option<u32>,
    /// Workers that crashed.
    pub unhealthy: Option<u32>,
    /// Jobs that wait for a worker.
    pub queued: Option<u32>,
}

impl Capacity {
    /// Whether a worker can take a request now; `None` if unknown.
    pub fn is_ready(&self) -> Option<bool> {
        self.running.map(|running| running > 0)
    }
}

/// What an upstream's headers say is left of our allowance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// Requests left in the tightest window.
    pub requests: Option<u64>,
    /// Tokens left in the tightest window.
    pub tokens: Option<u64>,
    /// The requests of the minute, if they are reported.
    pub minute_requests: Option<Window>,
    /// The tokens of the minute, if they are reported.
    pub minute_tokens: Option<Window>,
    /// Time until every exhausted window has room again; `None` if none is exhausted.
    pub exhausted_for: Option<Duration>,
}

/// What headers say of one window of an allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// What is left of it.
    pub left: u64,
    /// All of it; `None` if only the rest is reported.
    pub limit: Option<u64>,
}

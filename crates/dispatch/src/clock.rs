//! Between the clock of the runtime and the time of the engine.

use std::time::Duration;

use provider::Time;
use tokio::time::Instant;

/// A clock whose origin is the start of the router.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    pub(crate) fn now(self) -> Time {
        self.time(Instant::now())
    }

    /// A moment in the engine's time. What was before the start counts as the start.
    pub(crate) fn time(self, at: Instant) -> Time {
        Time::ZERO + at.saturating_duration_since(self.origin)
    }

    /// A moment of the engine for the runtime's timers.
    pub(crate) fn instant(self, at: Time) -> Instant {
        self.origin + Duration::from_nanos(at.as_nanos())
    }
}

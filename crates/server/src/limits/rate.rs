//! Calls a minute, counted by `governor`: one comes back after each sixtieth of a minute over the limit, and as many as the
//! burst may be made at once. So any 60 seconds see at most the limit and the burst together.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, Reference},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed, StateStore},
};

use super::Refused;

const MINUTE: Duration = Duration::from_mins(1);

/// The state of a key's rate limit, for `x-ratelimit-*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateLimitStatus {
    /// Calls a minute.
    pub(crate) limit: u32,
    /// Calls that could be made at once now.
    pub(crate) remaining: u32,
    /// Time until the whole burst is available again.
    pub(crate) reset: Duration,
}

impl RateLimitStatus {
    /// The response headers for it, by OpenAI's names.
    pub(crate) fn headers(&self) -> [(&'static str, String); 3] {
        [
            ("x-ratelimit-limit-requests", self.limit.to_string()),
            ("x-ratelimit-remaining-requests", self.remaining.to_string()),
            ("x-ratelimit-reset-requests", format!("{}ms", self.reset.as_millis())),
        ]
    }
}

/// The calls that a key makes a minute.
pub(super) struct Rate<C: Clock> {
    limiter: RateLimiter<NotKeyed, State, C, NoOpMiddleware<C::Instant>>,
    state: State,
    /// Read before the limiter reads its own start, so that nothing here looks further away than it is.
    start: C::Instant,
    limit: NonZeroU32,
    burst: NonZeroU32,
    interval: Duration,
}

impl<C: Clock> Rate<C> {
    pub(super) fn new(limit: NonZeroU32, burst: NonZeroU32, clock: C) -> Self {
        // Rounded up: with `Quota::per_minute`, which rounds down, a large limit is exceeded by one.
        let interval = Duration::from_nanos(nanos(MINUTE).div_ceil(u64::from(limit.get())));
        let quota = Quota::with_period(interval).unwrap_or_else(|| Quota::per_minute(limit)).allow_burst(burst);
        let (state, start) = (State::default(), clock.now());
        Self { limiter: RateLimiter::new(quota, state.clone(), clock), state, start, limit, burst, interval }
    }

    /// Whether one call could be made now. Counts nothing.
    pub(super) fn look(&self) -> Result<(), Refused> {
        let missing = self.missing();
        if missing + self.interval <= self.capacity() { Ok(()) } else { Err(self.refused(missing, NonZeroU32::MIN)) }
    }

    /// Counts `calls`, all of them or none; there are no more than the burst.
    pub(super) fn take(&self, calls: NonZeroU32) -> Result<RateLimitStatus, Refused> {
        match self.limiter.check_n(calls) {
            Ok(Ok(())) => Ok(self.status()),
            Ok(Err(_)) | Err(_) => Err(self.refused(self.missing(), calls)),
        }
    }

    pub(super) fn status(&self) -> RateLimitStatus {
        self.status_where(self.missing())
    }

    fn status_where(&self, missing: Duration) -> RateLimitStatus {
        let there = nanos(self.capacity().saturating_sub(missing)) / nanos(self.interval);
        let remaining = u32::try_from(there).unwrap_or(u32::MAX);
        RateLimitStatus { limit: self.limit.get(), remaining, reset: missing }
    }

    fn refused(&self, missing: Duration, calls: NonZeroU32) -> Refused {
        let wait = (missing + self.interval * calls.get()).saturating_sub(self.capacity());
        Refused::Rate { status: self.status_where(missing), wait }
    }

    /// The time in which the whole burst comes back.
    fn capacity(&self) -> Duration {
        self.interval * self.burst.get()
    }

    /// The time until the whole burst is available.
    fn missing(&self) -> Duration {
        let now = self.limiter.clock().now().duration_since(self.start);
        self.state.full_at().saturating_sub(now).into()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The limiter's state, shared so that it can be read without counting a call.
#[derive(Clone, Default)]
struct State(Arc<InMemoryState>);

impl State {
    /// When the whole burst is available again, since the limiter's start.
    fn full_at(&self) -> Nanos {
        // A measurement that fails leaves the state as it is.
        let read = self.0.measure_and_replace(&NotKeyed::NonKey, Err::<((), Nanos), Option<Nanos>>);
        read.err().flatten().unwrap_or_default()
    }
}

impl StateStore for State {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, key: &Self::Key, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.measure_and_replace(key, f)
    }
}

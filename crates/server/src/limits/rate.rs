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
use jiff::Timestamp;

use super::ReachedLimit;

const MINUTE: Duration = Duration::from_mins(1);

/// What a rate limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Calls.
    Requests,
    /// Tokens of prompts and answers.
    Tokens,
}

/// The state of a rate limit, for `x-ratelimit-*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateLimitStatus {
    pub(crate) unit: Unit,
    /// Calls, or tokens, a minute.
    pub(crate) limit: u32,
    /// Those that could be used at once now.
    pub(crate) remaining: u32,
    /// Time until the whole burst is available again.
    pub(crate) reset: Duration,
}

impl RateLimitStatus {
    /// The response headers for it, by OpenAI's names.
    pub(crate) fn headers(&self) -> [(&'static str, String); 3] {
        let names = match self.unit {
            Unit::Requests => {
                ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"]
            }
            Unit::Tokens => ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"],
        };
        let [limit, remaining, reset] = names;
        [
            (limit, self.limit.to_string()),
            (remaining, self.remaining.to_string()),
            (reset, format!("{}ms", self.reset.as_millis())),
        ]
    }

    /// The same by Anthropic's names, where the reset is a moment (RFC 3339, whole seconds, rounded up): `now_ms` are the
    /// milliseconds since 1970.
    /// Source: <https://docs.anthropic.com/en/api/rate-limits#response-headers>.
    pub(crate) fn anthropic_headers(&self, now_ms: i64) -> [(&'static str, String); 3] {
        let [limit, remaining, reset] = match self.unit {
            Unit::Requests => [
                "anthropic-ratelimit-requests-limit",
                "anthropic-ratelimit-requests-remaining",
                "anthropic-ratelimit-requests-reset",
            ],
            Unit::Tokens => [
                "anthropic-ratelimit-tokens-limit",
                "anthropic-ratelimit-tokens-remaining",
                "anthropic-ratelimit-tokens-reset",
            ],
        };
        let wait_ms = i64::try_from(self.reset.as_millis()).unwrap_or(i64::MAX);
        let second = now_ms.saturating_add(wait_ms).saturating_add(999).div_euclid(1000);
        // Beyond the calendar's end, the end.
        let at = Timestamp::from_second(second).unwrap_or(Timestamp::MAX);
        [(limit, self.limit.to_string()), (remaining, self.remaining.to_string()), (reset, at.to_string())]
    }
}

/// The calls that are made a minute.
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

    /// Whether so many calls could be made now. Counts nothing.
    pub(super) fn look(&self, calls: NonZeroU32) -> Result<(), ReachedLimit> {
        let missing = self.missing();
        let has_room = missing + self.interval * calls.get() <= self.capacity();
        if has_room { Ok(()) } else { Err(self.refused(missing, calls)) }
    }

    /// Counts `calls`, all of them or none; there are no more than the burst.
    pub(super) fn take(&self, calls: NonZeroU32) -> Result<RateLimitStatus, ReachedLimit> {
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
        RateLimitStatus { unit: Unit::Requests, limit: self.limit.get(), remaining, reset: missing }
    }

    fn refused(&self, missing: Duration, calls: NonZeroU32) -> ReachedLimit {
        let wait = (missing + self.interval * calls.get()).saturating_sub(self.capacity());
        ReachedLimit::Rate { status: self.status_where(missing), wait }
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

//! Tokens a minute: a bucket that fills evenly and may go below zero. A request is let in while anything is in it, takes what it
//! may need, and its calls are settled by what they did use: an answer that was longer than estimated is paid for by those
//! that come after it.

use std::{num::NonZeroU32, time::Duration};

use parking_lot::Mutex;

use super::{RateLimitStatus, Unit};

/// A token, in the unit of the bucket: the nanoseconds of a minute, so that it gains its limit in each of them.
const TOKEN: i128 = 60_000_000_000;

/// The tokens that may be used a minute. `now` is always the time since the same moment.
pub(super) struct TokenBucket {
    limit: NonZeroU32,
    burst: NonZeroU32,
    level: Mutex<Level>,
}

struct Level {
    /// What is in it, in parts of a token.
    content: i128,
    /// When that was so.
    at: Duration,
}

impl TokenBucket {
    /// A full one.
    pub(super) fn new(limit: NonZeroU32, burst: NonZeroU32) -> Self {
        let content = i128::from(burst.get()) * TOKEN;
        Self { limit, burst, level: Mutex::new(Level { content, at: Duration::ZERO }) }
    }

    /// Takes so many tokens if anything is in it, or says how long it takes until that is so.
    pub(super) fn admit(&self, tokens: u64, now: Duration) -> Result<RateLimitStatus, (RateLimitStatus, Duration)> {
        self.with(now, |content| {
            if *content < TOKEN {
                return Err((self.status_of(*content), self.time(TOKEN - *content)));
            }
            *content -= i128::from(tokens) * TOKEN;
            Ok(self.status_of(*content))
        })
    }

    /// Whether a request would be let in.
    pub(super) fn look(&self, now: Duration) -> Result<(), (RateLimitStatus, Duration)> {
        self.admit(0, now).map(drop)
    }

    /// So many tokens were used, whatever is in it.
    pub(super) fn take(&self, tokens: u64, now: Duration) {
        self.with(now, |content| *content -= i128::from(tokens) * TOKEN);
    }

    /// So many tokens that were taken are not needed.
    pub(super) fn give_back(&self, tokens: u64, now: Duration) {
        self.with(now, |content| *content = (*content + i128::from(tokens) * TOKEN).min(self.full()));
    }

    fn with<T>(&self, now: Duration, work: impl FnOnce(&mut i128) -> T) -> T {
        let mut level = self.level.lock();
        // Threads may come in another order than their readings of the clock.
        let passed = i128::try_from(now.saturating_sub(level.at).as_nanos()).unwrap_or(i128::MAX);
        let gained = passed.saturating_mul(i128::from(self.limit.get()));
        level.content = level.content.saturating_add(gained).min(self.full());
        level.at = level.at.max(now);
        work(&mut level.content)
    }

    fn status_of(&self, content: i128) -> RateLimitStatus {
        RateLimitStatus {
            unit: Unit::Tokens,
            limit: self.limit.get(),
            remaining: u32::try_from(content.max(0) / TOKEN).unwrap_or(u32::MAX),
            reset: self.time(self.full() - content),
        }
    }

    /// The time in which so much flows in, rounded up.
    fn time(&self, missing: i128) -> Duration {
        let limit = i128::from(self.limit.get());
        let nanos = (missing.max(0) + limit - 1) / limit;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn full(&self) -> i128 {
        i128::from(self.burst.get()) * TOKEN
    }
}

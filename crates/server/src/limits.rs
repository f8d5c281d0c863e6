//! What keys, teams and models may use in a minute and at a time. What a request takes of them is a [`Grant`], which travels
//! with its answer and gives back what was only reserved.
//!
//! Requests are counted in calls: one counts as all calls that it leads to. Their number is known once the body is read, so a
//! request passes twice: [`Grant::enter`] before the body, which uses nothing up, and [`Grant::count`] after it. Tokens are
//! reserved by estimate with the second step and settled when a call ends, by [`Limits`].

mod grant;
mod rate;
mod registry;
mod shared;
mod tokens;

use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

use governor::clock::{Clock, DefaultClock, Reference};
use settings::{Allowance, LimitsWhenAway};
use tokio::{sync::Semaphore, time::sleep};

pub(crate) use grant::{Demand, Grant, Permits, RequestPermits, count_refused};
pub(crate) use rate::{RateLimitStatus, Unit};
pub(crate) use registry::{Limiters, Limits};
pub(crate) use shared::Sharing;

use crate::permits::{Permit, PermitPool};
use rate::Rate;
use shared::SharedLimits;
use tokens::TokenBucket;

/// How long a request waits for this replica's part of a limit before it looks whether the server that counts it is back.
const LONGEST_WAIT_ALONE: Duration = Duration::from_secs(1);

/// Whose limits they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The key of the request.
    Key,
    /// All keys of a team.
    Team(Arc<str>),
    /// All callers of a model.
    Model(Arc<str>),
}

impl Owner {
    fn kind(&self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Team(_) => "team",
            Self::Model(_) => "model",
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => f.write_str("this key"),
            Self::Team(name) => write!(f, "the keys of the team {name:?} together"),
            Self::Model(name) => write!(f, "the callers of the model {name:?} together"),
        }
    }
}

/// The limits of a key, a team or a model, and how far they are used. Where replicas share them, what is counted here is this
/// replica's part of them, and counts only while the server that they share is away.
pub(crate) struct Limiter<C: Clock = DefaultClock> {
    owner: Owner,
    allowance: Allowance,
    shared: Option<SharedLimits>,
    rate: Option<Rate<C>>,
    tokens: Option<TokenBucket>,
    permits: Option<Arc<PermitPool>>,
    /// Orders the requests that wait for the limits of a minute.
    turn: Semaphore,
    clock: C,
    start: C::Instant,
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Whose limit it is.
    pub(crate) owner: Owner,
    /// Which one.
    pub(crate) limit: ReachedLimit,
}

/// A limit that leaves no room for a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ReachedLimit {
    /// Too many calls, or tokens, a minute.
    Rate { status: RateLimitStatus, wait: Duration },
    /// Too many calls at a time.
    Concurrency { limit: u32, status: Option<RateLimitStatus> },
    /// More calls than may ever be made at once.
    Never { calls: u32, most: u32, setting: &'static str },
    /// Nobody knows: the server that counts them is away, and the configuration says that nothing is let in then.
    Unknown,
}

impl Limiter {
    /// The limits of `owner`; with `sharing`, those of it that all replicas have in common.
    pub(crate) fn new(owner: Owner, id: &str, allowance: Allowance, sharing: Option<&Arc<Sharing>>) -> Self {
        let limiter = Self::with_clock(owner, allowance, DefaultClock::default());
        let Some(sharing) = sharing else { return limiter };
        let name = format!("{}:{id}", limiter.owner.kind());
        let Some(shared) = SharedLimits::new(name.into(), &allowance, sharing) else { return limiter };
        let own = Self::with_clock(limiter.owner, allowance.divided(sharing.replicas), DefaultClock::default());
        Self { allowance, shared: Some(shared), ..own }
    }
}

impl<C: Clock> Limiter<C> {
    fn with_clock(owner: Owner, allowance: Allowance, clock: C) -> Self
    where
        C: Clone,
    {
        let rate = allowance.requests_per_minute;
        let rate = rate.map(|limit| Rate::new(limit, allowance.burst_of(limit), clock.clone()));
        let tokens = allowance.tokens_per_minute;
        let tokens = tokens.map(|limit| TokenBucket::new(limit, allowance.token_burst_of(limit)));
        let pool = |most: NonZeroU32| PermitPool::new(usize::try_from(most.get()).unwrap_or(usize::MAX));
        let permits = allowance.concurrent.map(pool);
        let start = clock.now();
        Self { owner, allowance, shared: None, rate, tokens, permits, turn: Semaphore::new(1), clock, start }
    }

    /// Whether this replica counts for itself, with its part of the calls at a time, or has all of them beside the others.
    fn set_alone(&self, is_alone: bool) {
        let (Some(pool), Some(most), Some(shared)) = (&self.permits, self.allowance.concurrent, &self.shared) else {
            return;
        };
        let part =
            if is_alone { self.allowance.divided(shared.sharing.replicas).concurrent.unwrap_or(most) } else { most };
        pool.resize(usize::try_from(part.get()).unwrap_or(usize::MAX));
    }

    fn has(&self, allowance: Allowance) -> bool {
        self.allowance == allowance
    }

    /// Whether more calls could be made now. Counts nothing.
    fn look(&self, calls: u32) -> Result<(), Refused> {
        if let Some(shared) = self.is_counted_there() {
            return self.look_at_refusal(shared);
        }
        self.may_count_here()?;
        let calls = NonZeroU32::new(calls).unwrap_or(NonZeroU32::MIN);
        self.rate.as_ref().map_or(Ok(()), |rate| rate.look(calls)).map_err(|limit| self.refused(limit))?;
        let Some(tokens) = &self.tokens else { return Ok(()) };
        tokens.look(self.now()).map_err(|(status, wait)| self.refused(ReachedLimit::Rate { status, wait }))
    }

    /// Whether calls may be counted without the server that replicas share.
    fn may_count_here(&self) -> Result<(), Refused> {
        match self.shared.as_ref().map(|shared| shared.sharing.when_away) {
            Some(LimitsWhenAway::Refuse) => Err(self.refused(ReachedLimit::Unknown)),
            Some(LimitsWhenAway::Divide) | None => Ok(()),
        }
    }

    /// Counts calls, if there are any, and reserves tokens for them: all of it or nothing.
    fn take(&self, calls: u32, tokens: u64) -> Result<Vec<RateLimitStatus>, Refused> {
        self.may_count_here()?;
        let mut statuses = Vec::new();
        if let Some(bucket) = &self.tokens {
            let admitted = bucket.admit(tokens, self.now());
            statuses.push(admitted.map_err(|(status, wait)| self.refused(ReachedLimit::Rate { status, wait }))?);
        }
        let Some((rate, calls)) = self.rate.as_ref().zip(NonZeroU32::new(calls)) else { return Ok(statuses) };
        match rate.take(calls) {
            Ok(status) => statuses.push(status),
            Err(limit) => {
                self.give_back(tokens);
                return Err(self.refused(limit));
            }
        }
        Ok(statuses)
    }

    fn counts_tokens(&self) -> bool {
        self.tokens.is_some() || self.shared.as_ref().is_some_and(SharedLimits::counts_tokens)
    }

    /// So many tokens were used.
    fn use_tokens(&self, tokens: u64) {
        if let Some(shared) = &self.shared {
            shared.use_tokens(tokens);
        }
        if let Some(bucket) = self.tokens.as_ref().filter(|_| self.is_counted_there().is_none()) {
            bucket.take(tokens, self.now());
        }
    }

    /// So many tokens that were reserved are settled, or were not needed.
    fn give_back(&self, tokens: u64) {
        if let Some(bucket) = &self.tokens {
            bucket.give_back(tokens, self.now());
        }
    }

    /// Waits until so many more calls may be made, counts them, and reserves tokens for them, in the order of arrival. Returns whether it
    /// did: not if the server that replicas share is back, which counts from then on.
    ///
    /// # Errors
    /// If so many calls may never be made at once.
    async fn wait(&self, calls: u32, tokens: u64) -> Result<bool, Refused> {
        self.fits(calls)?;
        if self.rate.is_none() && self.tokens.is_none() {
            return Ok(true);
        }
        // An error would mean that the semaphore was closed, which it never is.
        let _turn = self.turn.acquire().await.ok();
        loop {
            let wait = match self.take(calls, tokens) {
                Ok(_) => return Ok(true),
                Err(Refused { limit: ReachedLimit::Rate { wait, .. }, .. }) => wait,
                Err(Refused { limit: ReachedLimit::Unknown, .. }) => LONGEST_WAIT_ALONE,
                Err(refused) => return Err(refused),
            };
            let wait = if self.shared.is_some() { wait.min(LONGEST_WAIT_ALONE) } else { wait };
            sleep(wait).await;
            if self.is_counted_there().is_some() {
                return Ok(false);
            }
        }
    }

    /// Waits for a permit for so many calls, where those under way are limited.
    async fn permits(&self, calls: u32) -> Option<Permit> {
        Some(self.permits.as_ref()?.take(calls).await)
    }

    /// A permit for one call, where those under way are limited.
    fn permit(&self) -> Result<Option<Permit>, Refused> {
        let Some(permits) = &self.permits else { return Ok(None) };
        permits.try_take().map(Some).ok_or_else(|| self.too_many_at_once())
    }

    /// Whether so many calls could be made at once if no others were.
    fn fits(&self, calls: u32) -> Result<(), Refused> {
        let allowance = &self.allowance;
        let burst = allowance.requests_per_minute.map(|limit| allowance.burst_of(limit));
        for (most, setting) in [(allowance.concurrent, "concurrent"), (burst, "burst")] {
            if let Some(most) = most.map(NonZeroU32::get).filter(|most| calls > *most) {
                return Err(self.refused(ReachedLimit::Never { calls, most, setting }));
            }
        }
        Ok(())
    }

    fn too_many_at_once(&self) -> Refused {
        let limit = self.allowance.concurrent.map_or(u32::MAX, NonZeroU32::get);
        self.refused(ReachedLimit::Concurrency { limit, status: self.rate.as_ref().map(Rate::status) })
    }

    fn refused(&self, limit: ReachedLimit) -> Refused {
        Refused { owner: self.owner.clone(), limit }
    }

    /// The time since the limiter was made.
    fn now(&self) -> Duration {
        self.clock.now().duration_since(self.start).into()
    }
}

#[cfg(test)]
mod tests;

//! What a key may use, and how many requests the router takes at once. Permits are guards that travel with the answer's body.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::{InMemoryState, NotKeyed},
};

use crate::{config::KeyLimits, error::ApiError};

type Limiter = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

/// The limits of one key and how far they are used.
#[derive(Default)]
pub(crate) struct KeyLimiter {
    limits: KeyLimits,
    rate: Option<Limiter>,
    in_flight: Arc<AtomicU32>,
}

/// A key's status after a request was let through, for `x-ratelimit-*`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RateLimitStatus {
    /// Requests per minute.
    pub(crate) limit: u32,
    /// Requests that could be made at once now.
    pub(crate) remaining: u32,
}

impl RateLimitStatus {
    /// Time until the whole allowance is there again.
    pub(crate) fn reset(self) -> Duration {
        Duration::from_mins(1).mul_f64(f64::from(self.limit - self.remaining.min(self.limit)) / f64::from(self.limit))
    }
}

/// Why a key's request may not come in now.
pub(crate) enum Refused {
    /// Too many requests a minute.
    Rate { limit: u32, wait: Duration },
    /// Too many at a time.
    Concurrency { limit: u32 },
}

impl KeyLimiter {
    pub(crate) fn new(limits: KeyLimits) -> Self {
        let rate = limits
            .requests_per_minute
            .map(|limit| DefaultDirectRateLimiter::direct(Quota::per_minute(limit)).with_middleware());
        Self { limits, rate, in_flight: Arc::default() }
    }

    pub(crate) fn has_limits(&self, limits: KeyLimits) -> bool {
        self.limits == limits
    }

    /// Lets a request through, or says why not and when it may come again. A request that is refused uses nothing up.
    pub(crate) fn admit(&self) -> Result<(Option<Permit>, Option<RateLimitStatus>), ApiError> {
        self.try_admit().map_err(|refused| match refused {
            Refused::Rate { limit, wait } => ApiError::rate_limited(limit, wait),
            Refused::Concurrency { limit } => ApiError::too_many_at_once(limit),
        })
    }

    /// As [`Self::admit`], for those who wait.
    pub(crate) fn try_admit(&self) -> Result<(Option<Permit>, Option<RateLimitStatus>), Refused> {
        let permit = match self.limits.concurrent {
            None => None,
            Some(most) => {
                let permit = Permit::take(&self.in_flight, most.get());
                Some(permit.ok_or(Refused::Concurrency { limit: most.get() })?)
            }
        };
        let (Some(rate), Some(limit)) = (&self.rate, self.limits.requests_per_minute) else {
            return Ok((permit, None));
        };
        match rate.check() {
            Ok(state) => {
                Ok((permit, Some(RateLimitStatus { limit: limit.get(), remaining: state.remaining_burst_capacity() })))
            }
            Err(until) => {
                let wait = until.wait_time_from(DefaultClock::default().now());
                Err(Refused::Rate { limit: limit.get(), wait })
            }
        }
    }
}

/// Permission for one request to be under way; given back when dropped.
pub(crate) struct Permit {
    taken: Arc<AtomicU32>,
}

impl Permit {
    /// Takes a permit unless `most` of them are taken.
    pub(crate) fn take(taken: &Arc<AtomicU32>, most: u32) -> Option<Self> {
        let add = |now: u32| (now < most).then_some(now + 1);
        taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).ok()?;
        Some(Self { taken: taken.clone() })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn concurrent_places_are_given_back() {
        let limits = KeyLimits { requests_per_minute: None, concurrent: NonZeroU32::new(2) };
        let limiter = KeyLimiter::new(limits);
        let first = limiter.admit().expect("free");
        let _second = limiter.admit().expect("free");
        assert!(limiter.admit().is_err());
        drop(first);
        assert!(limiter.admit().is_ok());
    }

    #[test]
    fn a_refused_request_uses_no_allowance_up() {
        let limits = KeyLimits { requests_per_minute: NonZeroU32::new(3), concurrent: NonZeroU32::new(1) };
        let limiter = KeyLimiter::new(limits);
        let held = limiter.admit().expect("free");
        for _ in 0..10 {
            assert!(limiter.admit().is_err(), "the one permit is taken");
        }
        drop(held);
        assert_eq!(limiter.admit().expect("free").1.map(|status| status.remaining), Some(1));
    }
}

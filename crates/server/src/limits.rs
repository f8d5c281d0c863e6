//! What a key may use. Permits are guards that travel with the answer's body.

use std::{sync::Arc, time::Duration};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::{InMemoryState, NotKeyed},
};

use tokio::time::sleep;

use crate::{
    config::KeyLimits,
    error::ApiError,
    permits::{Permit, PermitPool},
};

type Limiter = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

/// The limits of one key and how far they are used.
#[derive(Default)]
pub(crate) struct KeyLimiter {
    limits: KeyLimits,
    rate: Option<Limiter>,
    permits: Option<Arc<PermitPool>>,
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
enum Refused {
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
        let permits = limits.concurrent.map(|most| PermitPool::new(usize::try_from(most.get()).unwrap_or(usize::MAX)));
        Self { limits, rate, permits }
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

    fn try_admit(&self) -> Result<(Option<Permit>, Option<RateLimitStatus>), Refused> {
        let permit = match (&self.permits, self.limits.concurrent) {
            (Some(permits), Some(most)) => Some(permits.try_take().ok_or(Refused::Concurrency { limit: most.get() })?),
            _ => None,
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

    /// Waits for a permit, where their number is limited.
    pub(crate) async fn permit(&self) -> Option<Permit> {
        match &self.permits {
            Some(permits) => Some(permits.take().await),
            None => None,
        }
    }

    /// Waits until one more request may come in, and counts it.
    pub(crate) async fn allowance(&self) {
        while let Some(Err(until)) = self.rate.as_ref().map(RateLimiter::check) {
            sleep(until.wait_time_from(DefaultClock::default().now())).await;
        }
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

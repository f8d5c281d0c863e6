//! What a key may use. Permits are guards that travel with the answer's body.
//!
//! The unit is the call: a request counts as all calls that it leads to. Their number is known once the body is read,
//! so a request passes twice: [`KeyLimiter::enter`] before the body, which uses nothing up, and [`KeyLimiter::count`]
//! after it.

mod rate;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use governor::clock::{Clock, DefaultClock};

use settings::KeyLimits;
use tokio::{sync::Semaphore, time::sleep};

pub(crate) use rate::RateLimitStatus;

use crate::permits::{Permit, PermitPool};
use rate::Rate;

/// The limits of one key and how far they are used.
pub(crate) struct KeyLimiter<C: Clock = DefaultClock> {
    limits: KeyLimits,
    rate: Option<Rate<C>>,
    permits: Option<Arc<PermitPool>>,
    /// Orders the requests that wait for the rate limit.
    turn: Semaphore,
}

/// Why a key's request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Too many calls a minute.
    Rate { status: RateLimitStatus, wait: Duration },
    /// Too many calls at a time.
    Concurrency { limit: u32, status: Option<RateLimitStatus> },
    /// More calls than the key may ever make at once.
    Never { calls: u32, most: u32, setting: &'static str },
}

impl Default for KeyLimiter {
    /// Without limits.
    fn default() -> Self {
        Self::new(KeyLimits::default())
    }
}

impl KeyLimiter {
    pub(crate) fn new(limits: KeyLimits) -> Self {
        Self::with_clock(limits, DefaultClock::default())
    }
}

impl<C: Clock> KeyLimiter<C> {
    fn with_clock(limits: KeyLimits, clock: C) -> Self {
        let rate = limits.requests_per_minute.map(|limit| Rate::new(limit, limits.burst_of(limit), clock));
        let permits = limits.concurrent.map(|most| PermitPool::new(usize::try_from(most.get()).unwrap_or(usize::MAX)));
        Self { limits, rate, permits, turn: Semaphore::new(1) }
    }

    pub(crate) fn has_limits(&self, limits: KeyLimits) -> bool {
        self.limits == limits
    }

    /// Lets in a request that leads to one call at least, with a permit for that one, or says why not. It is not counted yet.
    pub(crate) fn enter(&self) -> Result<Option<Permit>, Refused> {
        let permit = self.permit()?;
        self.rate.as_ref().map_or(Ok(()), Rate::look)?;
        Ok(permit)
    }

    /// Counts an admitted request as `calls` calls and extends `permit` to all of them, or says why not. A refused request
    /// counts for nothing and keeps its permit unchanged.
    pub(crate) fn count(&self, permit: &mut Option<Permit>, calls: u32) -> Result<Option<RateLimitStatus>, Refused> {
        self.fits(calls)?;
        let Some(calls) = NonZeroU32::new(calls) else { return Ok(self.status()) };
        let more = calls.get() - 1;
        if let (Some(most), Some(permit)) = (self.limits.concurrent, &mut *permit)
            && !permit.extend(more)
        {
            return Err(self.too_many_at_once(most));
        }
        let Some(rate) = &self.rate else { return Ok(None) };
        match rate.take(calls) {
            Ok(status) => Ok(Some(status)),
            Err(refused) => {
                if let Some(permit) = permit {
                    permit.shrink(more);
                }
                Err(refused)
            }
        }
    }

    /// Waits for a permit for so many calls, where those under way are limited.
    ///
    /// # Errors
    /// If the key may never make so many calls at once.
    pub(crate) async fn permits(&self, calls: u32) -> Result<Option<Permit>, Refused> {
        self.fits(calls)?;
        match &self.permits {
            Some(permits) => Ok(Some(permits.take(calls).await)),
            None => Ok(None),
        }
    }

    /// Waits until so many more calls may be made, and counts them, in the order of arrival.
    ///
    /// # Errors
    /// If the key may never make so many calls at once.
    pub(crate) async fn allowance(&self, calls: u32) -> Result<(), Refused> {
        self.fits(calls)?;
        let (Some(rate), Some(calls)) = (&self.rate, NonZeroU32::new(calls)) else { return Ok(()) };
        // An error would mean that the semaphore was closed, which it never is.
        let _turn = self.turn.acquire().await.ok();
        loop {
            match rate.take(calls) {
                Err(Refused::Rate { wait, .. }) => sleep(wait).await,
                counted => return counted.map(drop),
            }
        }
    }

    /// A permit for one call, where those under way are limited.
    fn permit(&self) -> Result<Option<Permit>, Refused> {
        let (Some(permits), Some(most)) = (&self.permits, self.limits.concurrent) else { return Ok(None) };
        permits.try_take().map(Some).ok_or_else(|| self.too_many_at_once(most))
    }

    /// Whether the key could make so many calls at once if it made no others.
    fn fits(&self, calls: u32) -> Result<(), Refused> {
        let limits = &self.limits;
        let burst = limits.requests_per_minute.map(|limit| limits.burst_of(limit));
        for (most, setting) in [(limits.concurrent, "concurrent"), (burst, "burst")] {
            if let Some(most) = most.map(NonZeroU32::get).filter(|most| calls > *most) {
                return Err(Refused::Never { calls, most, setting });
            }
        }
        Ok(())
    }

    /// What is left of the calls a minute, if they are limited.
    fn status(&self) -> Option<RateLimitStatus> {
        self.rate.as_ref().map(Rate::status)
    }

    fn too_many_at_once(&self, most: NonZeroU32) -> Refused {
        Refused::Concurrency { limit: most.get(), status: self.status() }
    }
}

#[cfg(test)]
mod tests;

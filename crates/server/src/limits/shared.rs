//! Limits that all replicas count together, through the shared server. While it is away each replica counts its part of them.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use governor::clock::Clock;
use parking_lot::Mutex;
use settings::{Allowance, LimitsWhenAway};
use shared::{Rate, Reached, Shared, State, Verdict};
use tokio::time::sleep;

use super::{Limiter, RateLimitStatus, ReachedLimit, Refused, Unit, grant::tightest};

/// Between two looks for room that another replica may give back.
const LOOKS: Duration = Duration::from_millis(100);
/// How long a refusal for tokens is believed: what was only reserved comes back when calls end.
const TOKENS_ARE_OUT: Duration = Duration::from_millis(250);

/// The server that counts, and what is done without it.
pub(crate) struct Sharing {
    pub(crate) server: Arc<Shared>,
    pub(crate) replicas: NonZeroU32,
    pub(crate) when_away: LimitsWhenAway,
}

/// The limits of one owner there.
pub(super) struct SharedLimits {
    pub(super) sharing: Arc<Sharing>,
    /// Names the owner to the server.
    owner: Arc<str>,
    limits: shared::Limits,
    /// Until when another call is refused for certain, on the limiter's clock, and by which of its limits.
    refused_until: Mutex<Option<(Duration, Unit)>>,
}

impl SharedLimits {
    /// None if the owner has no limit that replicas have in common.
    pub(super) fn new(owner: Arc<str>, allowance: &Allowance, sharing: &Arc<Sharing>) -> Option<Self> {
        let rate = |limit: NonZeroU32, burst: NonZeroU32| Rate { per_minute: limit.get(), burst: burst.get() };
        let calls = allowance.requests_per_minute.map(|limit| rate(limit, allowance.burst_of(limit)));
        let tokens = allowance.tokens_per_minute.map(|limit| rate(limit, allowance.token_burst_of(limit)));
        let concurrent = allowance.concurrent.filter(|_| !allowance.is_concurrent_default).map(NonZeroU32::get);
        let limits = shared::Limits { calls, tokens, concurrent };
        let (sharing, refused_until) = (sharing.clone(), Mutex::default());
        (limits != shared::Limits::default()).then_some(Self { sharing, owner, limits, refused_until })
    }

    fn demand(&self, Needs { calls, begins, tokens }: Needs) -> shared::Demand {
        shared::Demand { owner: self.owner.clone(), limits: self.limits, calls, begins, tokens }
    }

    /// So many tokens were used.
    pub(super) fn use_tokens(&self, tokens: u64) {
        self.ended(0, i64::try_from(tokens).unwrap_or(i64::MAX));
    }

    /// Calls of a granted request are under way no more, and its tokens were only reserved.
    pub(super) fn give_back(&self, calls: u32, tokens: u64) {
        self.ended(calls, i64::try_from(tokens).unwrap_or(i64::MAX).saturating_neg());
    }

    fn ended(&self, calls: u32, tokens: i64) {
        let is_counted =
            (calls > 0 && self.limits.concurrent.is_some()) || (tokens != 0 && self.limits.tokens.is_some());
        if is_counted {
            self.sharing.server.ended(&self.owner, &self.limits, calls, tokens);
        }
    }

    pub(super) fn counts_tokens(&self) -> bool {
        self.limits.tokens.is_some()
    }

    fn statuses(&self, state: &State) -> Vec<RateLimitStatus> {
        [self.calls_status(state), self.tokens_status(state)].into_iter().flatten().collect()
    }

    fn calls_status(&self, state: &State) -> Option<RateLimitStatus> {
        let Rate { per_minute, burst } = self.limits.calls?;
        let used = state.missing.as_micros() * u128::from(per_minute);
        // A call that is not quite there is none.
        let remaining = u128::from(burst).saturating_sub(used.div_ceil(60_000_000));
        let remaining = u32::try_from(remaining).unwrap_or(u32::MAX);
        Some(RateLimitStatus { unit: Unit::Requests, limit: per_minute, remaining, reset: state.missing })
    }

    fn tokens_status(&self, state: &State) -> Option<RateLimitStatus> {
        let Rate { per_minute, burst } = self.limits.tokens?;
        let missing = u64::try_from(i64::from(burst) - state.tokens).unwrap_or(0);
        let reset = Duration::from_micros(missing.saturating_mul(60_000_000) / u64::from(per_minute));
        let remaining = u32::try_from(state.tokens.max(0)).unwrap_or(u32::MAX);
        Some(RateLimitStatus { unit: Unit::Tokens, limit: per_minute, remaining, reset })
    }

    /// Time until so many calls may be made.
    fn wait_for(&self, calls: u32, state: &State) -> Duration {
        let Some(Rate { per_minute, burst }) = self.limits.calls else { return Duration::ZERO };
        let interval = Duration::from_mins(1) / per_minute;
        (state.missing + interval * calls).saturating_sub(interval * burst)
    }
}

/// What a request needs of one owner's limits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needs {
    /// Calls that count.
    pub(super) calls: u32,
    /// Calls that are under way from now on.
    pub(super) begins: u32,
    pub(super) tokens: u64,
}

/// What the server said of a request.
pub(super) enum Counted {
    /// It is counted; what is left of what limits each unit most.
    Granted(Vec<RateLimitStatus>),
    Refused(Refused),
    /// The limits have to be counted here.
    Here,
}

/// Counts a request against those limits of `limiters` that are shared, each with what it needs of it.
pub(super) async fn count<C: Clock>(limiters: &[(&Arc<Limiter<C>>, Needs)]) -> Counted {
    let shared: Vec<_> =
        limiters.iter().filter_map(|(limiter, needs)| Some((*limiter, limiter.shared.as_ref()?, *needs))).collect();
    let Some((_, first, _)) = shared.first() else { return Counted::Here };
    let demands = shared.iter().map(|(_, shared, needs)| shared.demand(*needs)).collect();
    match first.sharing.server.count(demands).await {
        Verdict::Granted(states) => {
            let each = shared.iter().zip(&states);
            Counted::Granted(tightest(each.flat_map(|((_, shared, _), state)| shared.statuses(state))))
        }
        Verdict::Refused { demand, reached, states } => match (shared.get(demand), states.get(demand)) {
            (Some((limiter, shared, needs)), Some(state)) => {
                Counted::Refused(limiter.refused_by(shared, needs.calls, reached, state))
            }
            _ => Counted::Here,
        },
        Verdict::Away => Counted::Here,
    }
}

impl<C: Clock> Limiter<C> {
    fn refused_by(&self, shared: &SharedLimits, calls: u32, reached: Reached, state: &State) -> Refused {
        let limit = match (reached, shared.calls_status(state), shared.tokens_status(state)) {
            (Reached::Calls, Some(status), _) => {
                self.refuse_for(shared, shared.wait_for(1, state), Unit::Requests);
                ReachedLimit::Rate { status, wait: shared.wait_for(calls, state) }
            }
            (Reached::Tokens, _, Some(status)) => {
                self.refuse_for(shared, state.token_wait.min(TOKENS_ARE_OUT), Unit::Tokens);
                ReachedLimit::Rate { status, wait: state.token_wait }
            }
            (_, status, _) => ReachedLimit::Concurrency { limit: shared.limits.concurrent.unwrap_or(0), status },
        };
        self.refused(limit)
    }

    /// Until then nobody needs to ask the server.
    fn refuse_for(&self, shared: &SharedLimits, wait: Duration, unit: Unit) {
        *shared.refused_until.lock() = Some((self.now() + wait, unit));
    }

    /// Refuses what the server would refuse for certain, so that nobody sends a body for nothing.
    pub(super) fn look_at_refusal(&self, shared: &SharedLimits) -> Result<(), Refused> {
        let Some((until, unit)) = *shared.refused_until.lock() else { return Ok(()) };
        let wait = until.saturating_sub(self.now());
        let rate = match unit {
            Unit::Requests => shared.limits.calls,
            Unit::Tokens => shared.limits.tokens,
        };
        let Some(rate) = rate.filter(|_| !wait.is_zero()) else { return Ok(()) };
        let reset = wait + Duration::from_mins(1) * rate.burst.saturating_sub(1) / rate.per_minute;
        let status = RateLimitStatus { unit, limit: rate.per_minute, remaining: 0, reset };
        Err(self.refused(ReachedLimit::Rate { status, wait }))
    }

    /// Whether the server counts this limiter's limits at this moment.
    pub(super) fn is_counted_there(&self) -> Option<&SharedLimits> {
        self.shared.as_ref().filter(|shared| !shared.sharing.server.is_away())
    }
}

/// Waits until the server has room for a request, in the order of arrival at this replica; among replicas there is no order. Returns
/// whether it was counted there.
///
/// # Errors
/// If it never has.
pub(super) async fn wait<C: Clock>(limiters: &[(&Arc<Limiter<C>>, Needs)]) -> Result<bool, Refused> {
    let shared: Vec<_> = limiters.iter().filter(|(limiter, _)| limiter.shared.is_some()).copied().collect();
    if shared.is_empty() {
        return Ok(false);
    }
    let mut turns = Vec::with_capacity(shared.len());
    for (limiter, _) in &shared {
        // An error would mean that the semaphore was closed, which it never is.
        turns.push(limiter.turn.acquire().await.ok());
    }
    loop {
        match count(&shared).await {
            Counted::Granted(_) => return Ok(true),
            Counted::Here => return Ok(false),
            Counted::Refused(Refused { limit: ReachedLimit::Rate { wait, .. }, .. }) => sleep(wait).await,
            Counted::Refused(Refused { limit: ReachedLimit::Concurrency { .. }, .. }) => sleep(LOOKS).await,
            Counted::Refused(refused) => return Err(refused),
        }
    }
}

#[cfg(test)]
mod tests;

//! What the limits have granted a request.

use std::sync::Arc;

use governor::clock::{Clock, DefaultClock};

use provider::Request;
use smallvec::SmallVec;

use super::{
    Limiter, RateLimitStatus, Refused,
    shared::{self, Counted, Needs},
};
use crate::permits::Permit;

/// Tokens that are reserved for an answer whose request sets no limit. What it did use is settled when it ends.
const RESERVED_TOKENS: u64 = 512;
/// And at most for one that does: a client that sets a limit beyond reason must not take a minute's tokens from its team.
const MOST_RESERVED_TOKENS: u64 = 4096;
/// As the router estimates prompts by their size.
const BYTES_PER_TOKEN: u64 = 4;

/// What a request takes of the limits that count it; what is only lent is given back when this is dropped: permits, and
/// tokens that were reserved by estimate.
pub(crate) struct Grant<C: Clock = DefaultClock> {
    taken: Vec<Taken<C>>,
}

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Demand {
    /// All calls that it leads to.
    pub(crate) calls: u32,
    /// What they may use, as estimated.
    pub(crate) tokens: u64,
}

/// What a request takes of one limiter.
struct Taken<C: Clock> {
    limiter: Arc<Limiter<C>>,
    permit: Option<Permit>,
    tokens: u64,
    /// Calls that the server which replicas share has counted; `None` if they were counted here.
    shared: Option<u32>,
}

/// What a request holds until its body has ended. What is done for it on another thread holds a copy.
#[derive(Default)]
pub(crate) struct RequestPermits {
    /// What the limits have granted it.
    pub(crate) grant: Grant,
    /// Its permit of the router.
    _own: Option<Permit>,
}

impl RequestPermits {
    pub(crate) fn new(grant: Grant, own: Permit) -> Self {
        Self { grant, _own: Some(own) }
    }
}

/// The same, shared.
pub(crate) type Permits = Arc<RequestPermits>;

impl Demand {
    /// One call that uses no tokens.
    pub(crate) const ONE: Self = Self { calls: 1, tokens: 0 };

    /// What a prompt of so many bytes needs that leads to so many calls.
    pub(crate) fn of_text(bytes: usize, calls: u32) -> Self {
        let prompt = bytes as u64 / BYTES_PER_TOKEN + 1;
        Self { calls, tokens: prompt.saturating_add(RESERVED_TOKENS).saturating_mul(u64::from(calls)) }
    }

    /// What a request needs that leads to so many calls.
    pub(crate) fn new(request: &Request, calls: u32) -> Self {
        let head = &request.head;
        // The choices of one call share its prompt.
        let prompts = u64::from(calls) / head.computed_choices().max(1);
        let answer = match head.max_tokens {
            _ if !request.operation.generates() => 0,
            Some(most) => most.min(MOST_RESERVED_TOKENS),
            None => RESERVED_TOKENS,
        };
        let answers = answer.saturating_mul(u64::from(calls));
        let prompt = request.estimated_prompt_tokens().saturating_mul(prompts.max(1));
        Self { calls, tokens: prompt.saturating_add(answers) }
    }
}

impl<C: Clock> Default for Grant<C> {
    fn default() -> Self {
        Self { taken: Vec::new() }
    }
}

impl<C: Clock> Drop for Taken<C> {
    fn drop(&mut self) {
        match (self.shared, &self.limiter.shared) {
            (Some(calls), Some(shared)) => shared.give_back(calls, self.tokens),
            _ if self.tokens > 0 => self.limiter.give_back(self.tokens),
            _ => {}
        }
    }
}

impl<C: Clock> Taken<C> {
    /// A permit for one call, where they are limited.
    fn new(limiter: &Arc<Limiter<C>>) -> Result<Self, Refused> {
        Ok(Self { permit: limiter.permit()?, limiter: limiter.clone(), tokens: 0, shared: None })
    }

    /// Without anything yet.
    fn later(limiter: &Arc<Limiter<C>>) -> Self {
        Self { limiter: limiter.clone(), permit: None, tokens: 0, shared: None }
    }

    fn extend(&mut self, more: u32) -> Result<(), Refused> {
        let is_extended = self.permit.as_mut().is_none_or(|permit| permit.extend(more));
        if is_extended { Ok(()) } else { Err(self.limiter.too_many_at_once()) }
    }
}

impl<C: Clock> Grant<C> {
    /// Lets in a request that leads to one call at least, with a permit for that one, or says why not. It is not counted yet.
    pub(crate) fn enter(limiters: &[Arc<Limiter<C>>]) -> Result<Self, Refused> {
        let taken = limiters.iter().map(Taken::new).collect::<Result<Vec<_>, _>>()?;
        limiters.iter().try_for_each(|limiter| limiter.look(1))?;
        Ok(Self { taken })
    }

    /// Counts an admitted request, whose calls `model` counts as well, and extends its permits to all of them. Returns what is
    /// left of what limits each unit most.
    ///
    /// # Errors
    /// With the limit that has no room for it: the request counts for nothing then, and its permits are unchanged.
    pub(crate) async fn count(
        &mut self,
        model: Option<&Arc<Limiter<C>>>,
        demand: Demand,
    ) -> Result<Vec<RateLimitStatus>, Refused> {
        let before = self.taken.len();
        let counted = match self.take_permits(model, demand.calls) {
            Ok(()) => self.take_or_shrink(demand).await,
            Err(refused) => Err(refused),
        };
        if counted.is_err() {
            self.taken.truncate(before);
        }
        counted
    }

    async fn take_or_shrink(&mut self, demand: Demand) -> Result<Vec<RateLimitStatus>, Refused> {
        let Demand { calls, tokens } = demand;
        let needs = Needs { calls, begins: calls, tokens };
        let counted = {
            let all: SmallVec<[_; 3]> = self.taken.iter().map(|taken| (&taken.limiter, needs)).collect();
            shared::count(&all).await
        };
        let counted = match counted {
            Counted::Granted(statuses) => {
                self.granted_there(needs);
                Ok(statuses)
            }
            Counted::Refused(refused) => Err(refused),
            Counted::Here => self.take(calls, tokens),
        };
        counted.inspect_err(|_| self.shrink(self.taken.len(), calls.saturating_sub(1)))
    }

    /// The server that replicas share has counted those limits that it knows.
    fn granted_there(&mut self, needs: Needs) {
        for taken in self.taken.iter_mut().filter(|taken| taken.limiter.shared.is_some()) {
            (taken.shared, taken.tokens) = (Some(needs.begins), needs.tokens);
        }
    }

    /// Takes permits for all calls of each limiter, that of the model included.
    fn take_permits(&mut self, model: Option<&Arc<Limiter<C>>>, calls: u32) -> Result<(), Refused> {
        let all = self.taken.iter().map(|taken| &taken.limiter).chain(model);
        all.clone().try_for_each(|limiter| limiter.fits(calls))?;
        self.taken.extend(model.map(Taken::new).transpose()?);
        let more = calls.saturating_sub(1);
        for nth in 0..self.taken.len() {
            if let Err(refused) = self.taken[nth].extend(more) {
                self.shrink(nth, more);
                return Err(refused);
            }
        }
        Ok(())
    }

    /// Takes calls and tokens of every limiter, or nothing.
    fn take(&mut self, calls: u32, tokens: u64) -> Result<Vec<RateLimitStatus>, Refused> {
        // None of them is used up by a request that another one refuses.
        if self.taken.len() > 1 {
            self.taken.iter().try_for_each(|taken| taken.limiter.look(calls))?;
        }
        let mut statuses = Vec::new();
        for nth in 0..self.taken.len() {
            match self.taken[nth].limiter.take(calls, tokens) {
                Ok(left) => {
                    self.taken[nth].tokens = tokens;
                    statuses = if statuses.is_empty() { left } else { tightest(statuses.into_iter().chain(left)) };
                }
                // Another request came in between: calls that were taken of the others stay counted.
                Err(refused) => {
                    for taken in &mut self.taken[..nth] {
                        taken.limiter.give_back(std::mem::take(&mut taken.tokens));
                    }
                    return Err(refused);
                }
            }
        }
        Ok(statuses)
    }

    /// Waits until every limiter has room, as they are counted here; `None` if the server that replicas share is back meanwhile.
    async fn wait_here(all: &[(&Arc<Limiter<C>>, Needs)]) -> Result<Option<Self>, Refused> {
        let mut grant = Self::default();
        for (limiter, needs) in all {
            if !limiter.wait(needs.calls, needs.tokens).await? {
                return Ok(None);
            }
            let mut taken = Taken::later(limiter);
            taken.tokens = needs.tokens;
            grant.taken.push(taken);
        }
        Ok(Some(grant))
    }

    /// Reduces the first `number` permits by `fewer` calls.
    fn shrink(&mut self, number: usize, fewer: u32) {
        self.taken[..number]
            .iter_mut()
            .filter_map(|taken| taken.permit.as_mut())
            .for_each(|permit| permit.shrink(fewer));
    }

    /// Waits until every limiter has room: first for what each allows a minute, because who waits for that may wait for long and
    /// must hold no permit meanwhile, and then for permits, all of a limiter's at once and always in the same order of
    /// limiters, so that no two requests wait for each other. Of the calls, `counted` are counted already by all but `model`.
    ///
    /// # Errors
    /// If so many calls may never be made at once.
    pub(crate) async fn wait(
        limiters: &[Arc<Limiter<C>>],
        model: Option<&Arc<Limiter<C>>>,
        Demand { calls, tokens }: Demand,
        counted: u32,
    ) -> Result<Self, Refused> {
        let counted = limiters.iter().map(|limiter| (limiter, counted)).chain(model.map(|limiter| (limiter, 0)));
        counted.clone().try_for_each(|(limiter, _)| limiter.fits(calls))?;
        let needs = |counted| Needs { calls: calls.saturating_sub(counted), begins: calls, tokens };
        let all: SmallVec<[_; 3]> = counted.map(|(limiter, counted)| (limiter, needs(counted))).collect();
        let mut grant = loop {
            if shared::wait(&all).await? {
                let mut grant = Self { taken: limiters.iter().chain(model).map(Taken::later).collect() };
                grant.granted_there(needs(0));
                break grant;
            }
            if let Some(grant) = Self::wait_here(&all).await? {
                break grant;
            }
        };
        for taken in &mut grant.taken {
            taken.permit = taken.limiter.permits(calls).await;
        }
        Ok(grant)
    }
}

/// Counts a request that was refused when it had been read, as one call.
pub(crate) async fn count_refused(limiters: &[Arc<Limiter>]) -> Result<Vec<RateLimitStatus>, Refused> {
    let needs = Needs { calls: 1, begins: 0, tokens: 0 };
    let all: SmallVec<[_; 3]> = limiters.iter().map(|limiter| (limiter, needs)).collect();
    match shared::count(&all).await {
        Counted::Granted(statuses) => return Ok(statuses),
        Counted::Refused(refused) => return Err(refused),
        Counted::Here => {}
    }
    limiters.iter().try_for_each(|limiter| limiter.look(1))?;
    let counted = limiters.iter().map(|limiter| limiter.take(1, 0)).collect::<Result<Vec<_>, _>>()?;
    Ok(tightest(counted.into_iter().flatten()))
}

/// Of each unit, the status with the least left.
pub(super) fn tightest(statuses: impl IntoIterator<Item = RateLimitStatus>) -> Vec<RateLimitStatus> {
    let mut kept: Vec<RateLimitStatus> = Vec::new();
    for status in statuses {
        match kept.iter_mut().find(|other| other.unit == status.unit) {
            Some(other) if status.remaining < other.remaining => *other = status,
            Some(_) => {}
            None => kept.push(status),
        }
    }
    kept
}

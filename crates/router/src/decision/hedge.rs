//! The second call of a stream: when it begins, and where it goes.

use std::time::Duration;

use super::Decision;
use crate::{
    candidate::{Candidate, LATE, Situation, USUAL_SLO},
    engine::ModelState,
    facts::Wishes,
    key::States,
    knowledge::{bucket::Fit, quota::Claim},
    upstream::{BreakerState, State},
};

/// The first call is given at least this time, unless a sooner moment is configured.
pub(crate) const LEAST: Duration = Duration::from_millis(300);
/// Nine first tokens out of ten, and nineteen out of twenty, come within the median times e to so many standard deviations
/// of the logarithm.
const NINE_OF_TEN: f64 = 1.28;
const NINETEEN_OF_TWENTY: f64 = 1.64;

/// From the request's arrival to its second call if the first of `candidates` is called first; `None` if there is to be none. A
/// request that names its upstream has none, nor one that may ask no other or that has a highest price: two calls may cost more than that.
/// Nor has a whole answer, whose first byte is its last: it may be nearly complete; nor a
/// call that starts a worker, or shows whether an upstream is back: it runs its course.
///
/// Where the moment is learned, it is the last one at which another target is likely to be in time. A first call that is
/// thought to be in time has at least as long as such a call usually takes: a long prompt is no reason for a second call.
pub(super) fn after(
    situation: &Situation<'_>,
    candidates: &[Candidate],
    upstreams: &mut States<State>,
) -> Option<Duration> {
    let Situation { model, facts, history, now, arrived, .. } = *situation;
    let hedge = model.spec.hedge.as_ref()?;
    let Wishes { max_cost, no_fallback, .. } = facts.wishes;
    let is_for_one = history.named().is_some() || no_fallback || max_cost.is_some();
    if !facts.stream || is_for_one || history.attempts() > 0 || !situation.strategy().looks_ahead() {
        return None;
    }
    let (first, others) = candidates.split_first()?;
    let shows_something = first.is_cold() || first.is_late() || first.breaker != BreakerState::Closed;
    // One that takes no call at this moment may take one by then.
    let any_other = situation.others(first.target).next();
    if shows_something || any_other.is_none() {
        return None;
    }
    if hedge.after.is_some() {
        return hedge.after;
    }
    let mut within = |target: usize, deviations: f64| {
        let upstream = &model.targets()[target];
        let state = upstreams.of(&upstream.key, || State::new(&upstream.spec));
        state.outlook(state.load(&upstream.spec, now), &situation.needs(target), None, now).prediction.at(deviations)
    };
    let others = others.iter().map(|other| other.target).chain(any_other.filter(|_| others.is_empty()));
    let soonest = others.map(|other| within(other, NINE_OF_TEN)).min()?;
    let slo = model.spec.slo_first_token.unwrap_or(USUAL_SLO);
    let usual =
        if first.miss < LATE { now - arrived + within(first.target, NINETEEN_OF_TWENTY) } else { Duration::ZERO };
    Some(slo.saturating_sub(soonest).max(usual).max(LEAST))
}

impl Decision {
    /// The target of a second call: the best one by the strategy that was not asked yet, is likely to be in time, has
    /// room beside every reserve, and costs no more than the budget covers; `None` if there is none.
    pub(crate) fn second(
        &mut self,
        situation: &Situation<'_>,
        known: &ModelState,
        upstreams: &mut States<State>,
    ) -> Option<Candidate> {
        self.rank(situation, known, upstreams).ok()?;
        let Situation { model, arrived, now, .. } = *situation;
        let slo = model.spec.slo_first_token.unwrap_or(USUAL_SLO);
        // What is late already may take as long again.
        let limit = Some(slo.saturating_sub(now - arrived)).filter(|left| !left.is_zero()).unwrap_or(slo);
        let mut is_soon_and_has_room = |target: usize| {
            let upstream = &model.targets()[target];
            let state = upstreams.of(&upstream.key, || State::new(&upstream.spec));
            let needs = situation.needs(target);
            state.outlook(state.load(&upstream.spec, now), &needs, Some(limit), now).miss < LATE
                && matches!(state.supply().fits(needs.limited_tokens, Claim::Share, now), Fit::Now)
        };
        let is_worth_it = |candidate: &&Candidate| {
            !candidate.is_too_long
                && candidate.breaker == BreakerState::Closed
                && candidate.cost().is_some_and(|cost| known.hedges.covers(cost))
                && is_soon_and_has_room(candidate.target)
        };
        self.candidates.iter().find(is_worth_it).copied()
    }
}

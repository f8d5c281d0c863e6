//! A decision: the targets of a model as they were looked at for one request, in the order in which they are asked, and why.
//!
//! The same type serves the call, the explanation and the record: what is explained is what would be done.

mod hedge;

use std::time::Duration;

pub(crate) use hedge::LEAST as LEAST_BEFORE_HEDGE;
use provider::Time;

use crate::{
    candidate::{Candidate, Excluded, Hold, NoCandidate, Situation, UNLIKELY, Unfit},
    engine::ModelState,
    key::States,
    knowledge::quota::Claim,
    share::{Accrual, Deficits, Quantum},
    strategy::StrategyName,
    table::Model,
    upstream::{Blocked, State},
};

/// Why an upstream was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Its deficit was the largest.
    Share,
    /// The one with the largest deficit could not take the request.
    Spill,
    /// It holds the prompt cache of the conversation; without that, another one would have been asked.
    Stay,
    /// The request was held, and this one had room first.
    Hold,
    /// It is the cheapest that is fast enough.
    Cheapest,
    /// It is the fastest.
    Fastest,
    /// Another upstream failed first.
    Fallback,
    /// The client named it.
    Direct,
    /// It was cold: a call of the router's own starts a worker.
    WarmUp,
    /// The first call was late to begin, and this one was likely to be in time.
    Hedge,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 10] = [
        Self::Share,
        Self::Spill,
        Self::Stay,
        Self::Hold,
        Self::Cheapest,
        Self::Fastest,
        Self::Fallback,
        Self::Direct,
        Self::WarmUp,
        Self::Hedge,
    ];

    /// The name used in headers, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Share => "share",
            Self::Spill => "spill",
            Self::Stay => "stay",
            Self::Hold => "hold",
            Self::Cheapest => "cheapest",
            Self::Fastest => "fastest",
            Self::Fallback => "fallback",
            Self::Direct => "direct",
            Self::WarmUp => "warm_up",
            Self::Hedge => "hedge",
        }
    }
}

/// What an attempt is among those of its request, or that it belongs to none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The first.
    Primary,
    /// Another one on an upstream that was asked already.
    Retry,
    /// One on another upstream after a failure.
    Fallback,
    /// A call of the router's own that starts a worker. It serves no request.
    WarmUp,
    /// A second one beside the first, which was late to begin.
    Hedge,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Primary, Self::Retry, Self::Fallback, Self::WarmUp, Self::Hedge];

    /// The name used in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Retry => "retry",
            Self::Fallback => "fallback",
            Self::WarmUp => "warm_up",
            Self::Hedge => "hedge",
        }
    }
}

/// What was decided for one request at one moment. Targets are named by their indexes among those of the model.
#[derive(Debug, Clone, Default)]
pub struct Decision {
    /// When.
    pub at: Time,
    /// How the candidates were ordered.
    pub strategy: StrategyName,
    /// How long the answer is thought to be, in tokens.
    pub expected_completion: f64,
    /// Those that could serve it, in the order in which they are asked.
    pub candidates: Vec<Candidate>,
    /// Those that could not, and why.
    pub excluded: Vec<(usize, Excluded)>,
    /// Why the first candidate is the first; `None` if there is none.
    pub reason: Option<Reason>,
    /// From the request's arrival to a second call, if the first one has not begun to answer by then; `None` for none.
    pub hedge_after: Option<Duration>,
}

impl Decision {
    /// Whether a target was too dear for the client.
    pub(crate) fn leaves_out_by_price(&self) -> bool {
        self.excluded.iter().any(|(_, why)| *why == Excluded::Unfit(Unfit::Price))
    }

    /// Whether a target does not serve this kind of call.
    pub(crate) fn leaves_out_by_operation(&self) -> bool {
        self.excluded.iter().any(|(_, why)| *why == Excluded::Unfit(Unfit::Operation))
    }

    /// Makes a new decision. Returns the target that is asked first, and the reason. No target is debited, and nothing
    /// is allocated once the lists have been this long before.
    pub(crate) fn make(
        &mut self,
        situation: &Situation<'_>,
        known: &ModelState,
        upstreams: &mut States<State>,
    ) -> Result<(usize, Reason), NoCandidate> {
        self.rank(situation, known, upstreams)?;
        let history = situation.history;
        if self.strategy.looks_ahead() && history.named().is_none() {
            self.look_ahead(situation)?;
        }
        // The one that the client named goes first, then those that can hold the prompt, in the strategy's own order.
        let named = history.named();
        self.candidates.sort_by_key(|candidate| (named != Some(candidate.target), candidate.is_too_long));
        let first = self.candidates.first().ok_or(NoCandidate::Exhausted)?;
        let target = first.target;
        self.hedge_after = hedge::after(situation, &self.candidates, upstreams);
        let reason = self.reason_for(situation, known.deficits(), target);
        self.reason = Some(reason);
        Ok((target, reason))
    }

    /// Looks at the targets and orders those that could serve the request as the strategy does; fails if there are none.
    fn rank(
        &mut self,
        situation: &Situation<'_>,
        known: &ModelState,
        upstreams: &mut States<State>,
    ) -> Result<(), NoCandidate> {
        let deficits = known.deficits();
        let Situation { model, history, now, .. } = *situation;
        (self.at, self.strategy, self.reason, self.hedge_after) = (now, situation.strategy(), None, None);
        self.expected_completion = situation.expected.length.mean;
        self.look(situation, upstreams)?;
        // Repeats take turns: only the targets with the fewest attempts remain.
        let attempts = |candidate: &Candidate| history.attempts_at(candidate.target);
        if history.attempts() > 0
            && let Some(least) = self.candidates.iter().map(attempts).min()
        {
            self.candidates.retain(|candidate| attempts(candidate) == least);
        }
        let quantum = self.quantum(model);
        for candidate in &mut self.candidates {
            candidate.usual_cost = known.usual_cost(candidate.target);
            candidate.due = match history.debit() {
                // The targets earned their shares of this request when it was first debited. Its repeats take turns.
                Some(debit) => {
                    let is = |target: usize| f64::from(u8::from(target == candidate.target));
                    deficits.current(candidate.target) + is(debit.first) - is(debit.last)
                }
                None => deficits.next_deficit(candidate.target, quantum),
            };
            candidate.deficit = candidate.due + deficits.deferred(candidate.target);
        }
        let scale = known.scale(&self.candidates);
        self.strategy.strategy().rank(&mut self.candidates, &scale);
        Ok(())
    }

    /// Sorts the targets into candidates and those that are none; fails if there is no candidate.
    fn look(&mut self, situation: &Situation<'_>, upstreams: &mut States<State>) -> Result<(), NoCandidate> {
        self.candidates.clear();
        self.excluded.clear();
        let mut none = NoCandidate::Exhausted;
        let mut unfit = None;
        for (target, upstream) in situation.model.targets().iter().enumerate() {
            if !situation.history.allows(target) {
                continue;
            }
            let state = upstreams.of(&upstream.key, || State::new(&upstream.spec));
            let why = match situation.examine(target, state) {
                Ok(candidate) => {
                    self.candidates.push(candidate);
                    continue;
                }
                Err(why) => why,
            };
            self.excluded.push((target, why));
            match why {
                Excluded::Unfit(why) => unfit = unfit.max(Some(why)),
                Excluded::Blocked(blocked) => none = none.or(blocked, situation.now),
                Excluded::Yields => none = none.or(Blocked::Full, situation.now),
                Excluded::Asked => none = NoCandidate::Repeatable,
                Excluded::RuledOut => {}
            }
        }
        none = self.check_limits(situation, upstreams, none);
        if !self.candidates.is_empty() {
            return Ok(());
        }
        let is_unfit = |(_, why): &(usize, Excluded)| matches!(why, Excluded::Unfit(_));
        match unfit.filter(|_| self.excluded.iter().all(is_unfit)) {
            Some(unfit) => Err(situation.refusal(unfit)),
            None => Err(none),
        }
    }

    /// Drops the candidates whose limits have no room for the request: those that have none at all, then those where what is
    /// left is reserved. A target without room is no alternative that would keep the request from a reserve.
    fn check_limits(
        &mut self,
        situation: &Situation<'_>,
        upstreams: &mut States<State>,
        mut none: NoCandidate,
    ) -> NoCandidate {
        for beside_reserves in [false, true] {
            let mut at = 0;
            let mut least = TwoLeast::of(&self.candidates);
            while let Some(candidate) = self.candidates.get(at) {
                let target = candidate.target;
                let claim = if beside_reserves { situation.claim(least.but(target)) } else { Claim::Failover };
                let upstream = &situation.model.targets()[target];
                let state = upstreams.of(&upstream.key, || State::new(&upstream.spec));
                let Err(blocked) = situation.fits(candidate, state, claim) else {
                    at += 1;
                    continue;
                };
                self.candidates.remove(at);
                least = TwoLeast::of(&self.candidates);
                self.excluded.push((target, Excluded::Blocked(blocked)));
                none = none.or(blocked, situation.now);
            }
        }
        none
    }

    /// Puts a target first that needs a call to show its demand or to probe it, or fails if the best one is not worth a
    /// call now.
    fn look_ahead(&mut self, situation: &Situation<'_>) -> Result<(), NoCandidate> {
        let Some(best) = self.candidates.first().copied() else { return Ok(()) };
        // A target whose scaler must see the demand goes first.
        if let Some(position) = self.candidates.iter().position(|other| other.if_late.shows_demand) {
            self.candidates[..=position].rotate_right(1);
            return Ok(());
        }
        let is_first = situation.history.attempts() == 0 && situation.is_fresh();
        // A target that would be the best if it were in time, and that no call is probing. A warm-up call spares the user that.
        let is_better = |other: &Candidate| {
            other.is_late()
                && other.if_late.may_probe
                && !other.is_warmed_up
                && other.score_in_time < best.score_in_time
        };
        if is_first && let Some(position) = self.candidates.iter().skip(1).position(is_better) {
            self.candidates[..=position + 1].rotate_right(1);
            return Ok(());
        }
        let is_likely_in_time = |candidate: &Candidate| situation.is_fresh() && candidate.miss < UNLIKELY;
        let is_worth_a_call = best.if_late.begins_soon || best.if_late.may_probe || situation.is_alone(best.target);
        if is_worth_a_call || is_likely_in_time(&best) {
            return Ok(());
        }
        // Another one that is likely to be in time is called, rather than waiting for the best one.
        let position = self.candidates.iter().position(is_likely_in_time).ok_or(NoCandidate::Late)?;
        self.candidates[..=position].rotate_right(1);
        Ok(())
    }

    /// Whether the request goes elsewhere, or waits, only because no worker of this candidate is ready. `chosen` is the target that it
    /// goes to.
    pub(crate) fn wants(&self, candidate: &Candidate, chosen: Option<usize>) -> bool {
        if !candidate.is_warmed_up || chosen == Some(candidate.target) {
            return false;
        }
        let Some(own) = self.candidates.iter().find(|own| chosen == Some(own.target)) else { return true };
        // What a cold target is behind is deferred, and no part of its score.
        let is_behind = self.strategy.has_shares() && candidate.deficit > own.deficit;
        candidate.score_in_time < own.score_in_time || is_behind
    }

    /// What the targets earn with this request.
    pub(crate) fn quantum<'a>(&self, model: &'a Model) -> Quantum<'a> {
        let available = self.candidates.iter().map(|candidate| model.shares()[candidate.target]).sum();
        Quantum::new(model.shares(), self.strategy.accrual(), available)
    }

    /// Why `target` is asked now, which is one of the candidates.
    fn reason_for(&self, situation: &Situation<'_>, deficits: &Deficits, target: usize) -> Reason {
        let Situation { model, history, .. } = *situation;
        match (history.attempts(), self.strategy.strategy().reason()) {
            _ if history.named() == Some(target) => Reason::Direct,
            (1.., _) => Reason::Fallback,
            (0, _) if situation.hold != Hold::None => Reason::Hold,
            (0, _) if stays(target, &self.candidates) => Reason::Stay,
            (0, Reason::Share) if self.is_spill(model, deficits, target) => Reason::Spill,
            (0, reason) => reason,
        }
    }

    /// Whether another target would have been asked, could it have taken the first call of a request, and in time. Each
    /// is either a candidate or excluded.
    fn is_spill(&self, model: &Model, deficits: &Deficits, chosen: usize) -> bool {
        let quantum = Quantum::new(model.shares(), Accrual::Held, 1.0);
        let deficit = |target: usize| deficits.next_deficit(target, quantum) + deficits.deferred(target);
        let least = deficit(chosen) + 1e-9;
        // What one that is away or late is behind is deferred.
        let is_behind = |target: usize| deficit(target) > least;
        let Some(own) = self.candidates.iter().find(|own| own.target == chosen) else { return false };
        let mut others = self.candidates.iter().filter(|other| other.target != chosen);
        others.any(|other| other.score_in_time < own.score_in_time - 1e-9 || other.is_late() && is_behind(other.target))
            || self.excluded.iter().any(|(target, _)| is_behind(*target))
    }
}

/// The two candidates that miss the SLO with the least probability.
#[derive(Clone, Copy)]
struct TwoLeast([Option<(usize, f64)>; 2]);

impl TwoLeast {
    fn of(candidates: &[Candidate]) -> Self {
        let mut two: [Option<(usize, f64)>; 2] = [None; 2];
        for Candidate { target, miss, .. } in candidates {
            let is_less = |known: Option<(usize, f64)>| known.is_none_or(|(_, known)| *miss < known);
            if is_less(two[0]) {
                two = [Some((*target, *miss)), two[0]];
            } else if is_less(two[1]) {
                two[1] = Some((*target, *miss));
            }
        }
        Self(two)
    }

    /// The least probability of those that are not `target`; `None` if there is no other.
    fn but(self, target: usize) -> Option<f64> {
        self.0.into_iter().flatten().find(|(other, _)| *other != target).map(|(_, miss)| miss)
    }
}

/// Whether `chosen` is the best only because it holds the prompt cache.
fn stays(chosen: usize, candidates: &[Candidate]) -> bool {
    let Some(own) = candidates.iter().find(|candidate| candidate.target == chosen) else { return false };
    let mut others = candidates.iter().filter(|other| other.target != chosen).map(|other| other.score);
    own.stays > 0.0
        && others.clone().all(|other| own.score <= other)
        && others.any(|other| other < own.score + own.stays)
}

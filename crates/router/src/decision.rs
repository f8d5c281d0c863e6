//! A decision: the targets of a model as they were looked at for one request, in the order in which they are asked, and why.
//!
//! The same type serves the call, the explanation and the record: what is explained is what would be done.

use provider::Time;
use rand::Rng;

use crate::{
    candidate::{Candidate, Excluded, NoCandidate, Situation},
    key::States,
    share::{Accrual, Deficits, Quantum},
    strategy::StrategyName,
    table::Model,
    upstream::State,
};

/// Why an upstream was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Its deficit was the largest.
    Share,
    /// The one with the largest deficit could not take the request.
    Spill,
    /// It is the cheapest that is fast enough.
    Cheapest,
    /// It is the fastest.
    Fastest,
    /// Another upstream failed first.
    Fallback,
    /// The client named it.
    Direct,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 6] = [Self::Share, Self::Spill, Self::Cheapest, Self::Fastest, Self::Fallback, Self::Direct];

    /// The name used in headers, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Share => "share",
            Self::Spill => "spill",
            Self::Cheapest => "cheapest",
            Self::Fastest => "fastest",
            Self::Fallback => "fallback",
            Self::Direct => "direct",
        }
    }
}

/// What an attempt is among those of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The first.
    Primary,
    /// Another one on an upstream that was asked already.
    Retry,
    /// One on another upstream after a failure.
    Fallback,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Primary, Self::Retry, Self::Fallback];

    /// The name used in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Retry => "retry",
            Self::Fallback => "fallback",
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
    /// Those that could serve it, in the order in which they are asked.
    pub candidates: Vec<Candidate>,
    /// Those that could not, and why.
    pub excluded: Vec<(usize, Excluded)>,
    /// Why the first candidate is the first; `None` if there is none.
    pub reason: Option<Reason>,
}

impl Decision {
    /// Decides anew. Returns the target that is asked first, and why. Nobody is debited, and nothing is allocated once the
    /// lists have been as long before.
    pub(crate) fn make(
        &mut self,
        situation: &Situation<'_>,
        deficits: &Deficits,
        upstreams: &mut States<State>,
        rng: &mut dyn Rng,
    ) -> Result<(usize, Reason), NoCandidate> {
        let Situation { model, history, now, .. } = *situation;
        (self.at, self.strategy, self.reason) = (now, model.spec.strategy, None);
        self.look(situation, upstreams)?;
        // Repeats go round: whoever was asked least is asked next.
        if let Some(least) = self.candidates.iter().map(|candidate| history.attempts_at(candidate.target)).min() {
            self.candidates.retain(|candidate| history.attempts_at(candidate.target) == least);
        }
        let quantum = self.quantum(model);
        for candidate in &mut self.candidates {
            candidate.deficit = match history.debit() {
                // The shares of this request were added when it was debited first.
                Some(_) => deficits.of(candidate.target),
                None => deficits.next_deficit(candidate.target, quantum),
            };
        }
        model.spec.strategy.strategy().rank(&mut self.candidates, rng);
        // The one that the client named goes first, then those that can hold the prompt, in the strategy's own order.
        let named = history.named();
        self.candidates.sort_by_key(|candidate| (named != Some(candidate.target), candidate.is_too_long));
        let target = self.candidates.first().map(|candidate| candidate.target).ok_or(NoCandidate::Exhausted)?;
        let reason = reason(situation, deficits, target);
        self.reason = Some(reason);
        Ok((target, reason))
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
            let why = match situation.examine(target, upstreams.of(&upstream.key, State::default)) {
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
                Excluded::Asked => none = NoCandidate::Repeatable,
                Excluded::Barred => {}
            }
        }
        if !self.candidates.is_empty() {
            return Ok(());
        }
        let is_unfit = |(_, why): &(usize, Excluded)| matches!(why, Excluded::Unfit(_));
        match unfit.filter(|_| self.excluded.iter().all(is_unfit)) {
            Some(unfit) => Err(situation.refusal(unfit)),
            None => Err(none),
        }
    }

    /// What the targets earn with this request.
    pub(crate) fn quantum<'a>(&self, model: &'a Model) -> Quantum<'a> {
        let available = self.candidates.iter().map(|candidate| model.shares()[candidate.target]).sum();
        Quantum::new(model.shares(), model.spec.strategy.accrual(), available)
    }
}

/// Why `target` is asked now.
fn reason(situation: &Situation<'_>, deficits: &Deficits, target: usize) -> Reason {
    let Situation { model, history, .. } = *situation;
    match (history.attempts(), model.spec.strategy.strategy().reason()) {
        _ if history.named() == Some(target) => Reason::Direct,
        (1.., _) => Reason::Fallback,
        (0, Reason::Share) if is_spill(model, deficits, target) => Reason::Spill,
        (0, reason) => reason,
    }
}

/// Whether the deficit of another target was larger than that of `chosen`, could it have taken the request.
fn is_spill(model: &Model, deficits: &Deficits, chosen: usize) -> bool {
    let quantum = Quantum::new(model.shares(), Accrual::Held, 1.0);
    let deficit = |target| deficits.next_deficit(target, quantum);
    (0..model.targets().len()).any(|target| target != chosen && deficit(target) > deficit(chosen) + 1e-9)
}

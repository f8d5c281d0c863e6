//! The engine: all that is known of a group of models and upstreams, and what is done about a request after each event.
//!
//! It waits for nothing, reads no clock and draws no random number by itself. So the same code runs in the server in
//! real time, in the simulator in virtual time, and in tests step by step. A driver owns it, passes the time and a
//! generator in, carries out each [`Action`], and reports the result as the next event. Events of one request come in
//! this order:
//!
//! 1. [`arrived`](Engine::arrived), once;
//! 2. after [`Action::Wait`]: [`timer`](Engine::timer); after [`Action::Start`]: [`failed`](Engine::failed), or
//!    [`first_token`](Engine::first_token) and then [`served`](Engine::served) or [`broke`](Engine::broke); or, at any
//!    time, [`left`](Engine::left), if the client left.
//!
//! Where a [`Start`](crate::Start) has a moment for a second call, and there is no content by then,
//! [`hedge`](Engine::hedge) may begin one. While two calls are under way, [`one_failed`](Engine::one_failed) takes the
//! place of `failed`, and [`won`](Engine::won) comes before `first_token`.
//!
//! After any event, other requests that wait may have to be woken: [`take_woken`](Engine::take_woken) names them.

mod fallback;
mod health;
mod hedge;
mod held;
mod hold;
mod model;
mod replicas;
mod warm_up;

use std::sync::Arc;

pub(crate) use held::{Usable, Waiter};
pub(crate) use model::ModelState;
use provider::{Capacity, Time};
pub use warm_up::WarmUp;

use crate::{
    budget::{Budget, SpareRepeats},
    candidate::{Candidate, Excluded, Hold, NoCandidate, Situation},
    decision::{Decision, Reason, Role},
    facts::{Facts, Named},
    history::History,
    key::States,
    request::{Attempt, RequestState},
    share::{Accrual, Deficits, Quantum},
    table::{Model, ModelSpec},
    upstream::{self, Call, RequestNeeds, Snapshot, Status, Upstream},
};

/// What is known of a group of models and upstreams.
#[derive(Debug, Default)]
pub struct Engine {
    upstreams: States<upstream::State>,
    models: States<ModelState>,
    budget: Budget,
    /// The latest decision, whose lists are used again.
    decision: Decision,
    /// Whether the latest event made it, and it was not taken.
    has_decided: bool,
    /// How many requests are held, whatever their model.
    held: usize,
    /// The numbers of those that are to be woken.
    woken: Vec<u64>,
}

/// A target's part of its model's requests.
#[derive(Debug)]
pub struct Weight<'a> {
    /// The model.
    pub model: &'a ModelSpec,
    /// The target.
    pub upstream: &'a Upstream,
    /// As its model's configuration sets it, 0 to 1.
    pub configured: f64,
    /// Its part at this moment, while some targets take no calls, 0 to 1.
    pub effective: f64,
}

impl Engine {
    /// An engine without any state. All engines of a process share `spare`.
    pub fn new(spare: Arc<SpareRepeats>) -> Self {
        Self { budget: Budget::new(spare), ..Self::default() }
    }

    /// The decision that would be made for a request at this moment. No target is debited.
    pub fn explain(&mut self, model: &Model, facts: &Facts, named: Option<Named>, now: Time) -> &Decision {
        let history = History::new(model.targets().len(), named, facts.wishes.no_fallback);
        let Self { upstreams, models, decision, .. } = self;
        let known = models.of(&model.key, || ModelState::new(model));
        let expected = known.expected(facts, now);
        let situation = Situation {
            model,
            facts,
            history: &history,
            repeats: false,
            expected,
            arrived: now,
            another_was_denied: false,
            hold: Hold::None,
            now,
        };
        // Why there is no candidate is in the decision: all are excluded.
        let _none = decision.make(&situation, known, upstreams);
        decision
    }

    /// If the latest event made a decision, exchanges it for `decision`, whose lists are used for the next one. So a
    /// decision is recorded without a copy while the engine is locked.
    pub fn swap_decision(&mut self, decision: &mut Decision) {
        if std::mem::take(&mut self.has_decided) {
            std::mem::swap(&mut self.decision, decision);
        }
    }

    /// Decides, debits the target and lets the call in.
    fn decide(&mut self, request: &mut RequestState, repeats: bool, now: Time) -> Result<Attempt, NoCandidate> {
        let Self { upstreams, models, decision, .. } = self;
        let waiter = request.waiter();
        let RequestState { model, facts, history, arrived, held_since, number, .. } = request;
        let known = models.of(&model.key, || ModelState::new(model));
        let hold = match held_since {
            Some(_) if known.held.has_offer(waiter) => Hold::Offered,
            Some(_) => Hold::Held,
            None => Hold::None,
        };
        let expected = known.expected(facts, now);
        let situation = Situation {
            model,
            facts,
            history,
            repeats,
            expected,
            arrived: *arrived,
            another_was_denied: known.another_was_denied(*number, now),
            hold,
            now,
        };
        let made = decision.make(&situation, known, upstreams);
        self.has_decided = true;
        let chosen = made.ok().map(|(target, _)| target);
        for candidate in &decision.candidates {
            let upstream = &model.targets()[candidate.target];
            let state = upstreams.of(&upstream.key, || upstream::State::new(&upstream.spec));
            let is_chosen = chosen == Some(candidate.target);
            state.passed(candidate.is_late(), is_chosen);
            if hold == Hold::None {
                state.asks(&upstream.spec, candidate.is_late(), now);
            }
            if decision.wants(candidate, chosen) && history.named().is_none() {
                state.wanted(now);
            }
        }
        // A request that no target can serve, that names its upstream, or that wants only some, is no evidence about waiting requests.
        let is_denied = matches!(made, Err(NoCandidate::Late | NoCandidate::Full | NoCandidate::Blocked(_)));
        let is_narrow = history.named().is_some() || facts.wishes.leaves_targets_out();
        if is_denied && !is_narrow && !situation.is_stale() {
            known.denied(*number, now);
        }
        let (target, reason) = made?;
        let needs = situation.needs(target);
        known.decided(&decision.candidates, expected.tokens_of(facts));
        known.held.served(facts.team, expected.size_of(facts));
        hedge::deposit(known, model, history, decision);
        debit(model, &mut known.deficits, history, decision, target);
        let role = match (history.attempts(), history.is_fresh(target)) {
            (0, _) => Role::Primary,
            (1.., true) => Role::Fallback,
            (1.., false) => Role::Retry,
        };
        Ok(self.begin(request, target, (role, reason), &needs, now))
    }

    /// A call to `target` begins, which is not blocked. It is the only one of the request.
    fn begin(
        &mut self,
        request: &mut RequestState,
        target: usize,
        why: (Role, Reason),
        needs: &RequestNeeds,
        now: Time,
    ) -> Attempt {
        let (attempt, call) = self.call(request, target, why, needs, now);
        (request.attempt, request.call) = (Some(attempt), Some(call));
        request.held_since = None;
        attempt
    }

    /// A call to `target` begins, which is not blocked.
    fn call(
        &mut self,
        request: &mut RequestState,
        target: usize,
        (role, reason): (Role, Reason),
        needs: &RequestNeeds,
        now: Time,
    ) -> (Attempt, Call) {
        let upstream = &request.model.targets()[target];
        let call = self.state(upstream).begin(&upstream.spec, needs, now);
        request.history.attempted(target);
        (Attempt { target, started: now, role, reason, needs: *needs }, call)
    }

    /// What is known of an upstream.
    fn state(&mut self, upstream: &Upstream) -> &mut upstream::State {
        self.upstreams.of(&upstream.key, || upstream::State::new(&upstream.spec))
    }

    /// An upstream at this moment, as a decision sees it. `stream` chooses between the times of streamed and whole answers.
    pub fn snapshot(&mut self, upstream: &Upstream, stream: bool, now: Time) -> Snapshot {
        let needs = RequestNeeds::new(0, None, 0.0, 1);
        self.state(upstream).snapshot(&upstream.spec, stream, &needs, now)
    }

    /// An upstream at this moment, as operators see it.
    pub fn status(&mut self, upstream: &Upstream, now: Time) -> Status {
        self.state(upstream).status(&upstream.spec, now)
    }

    /// Every target's part of the requests to `model` at this moment.
    pub fn weights<'a>(&mut self, model: &'a Model, now: Time) -> Vec<Weight<'a>> {
        let takes_calls = |upstream: &Upstream| self.state(upstream).takes_calls(now);
        let takes_calls: Vec<bool> = model.targets().iter().map(|upstream| &**upstream).map(takes_calls).collect();
        let shares = model.shares();
        let available: f64 = shares.iter().zip(&takes_calls).filter(|(_, takes)| **takes).map(|(share, _)| share).sum();
        let targets = model.targets().iter().zip(shares).zip(takes_calls);
        let weight = |((upstream, share), takes): ((&'a Arc<Upstream>, &f64), bool)| Weight {
            model: &model.spec,
            upstream,
            configured: *share,
            effective: if takes && available > 0.0 { share / available } else { 0.0 },
        };
        targets.map(weight).collect()
    }

    /// Whether it is time to ask an upstream for its capacity; if so, it counts as asked.
    pub fn is_capacity_due(&mut self, upstream: &Upstream, now: Time) -> bool {
        self.state(upstream).is_capacity_due(&upstream.spec, now)
    }

    /// Records the workers that an upstream reported.
    pub fn record_capacity(&mut self, upstream: &Upstream, capacity: Capacity, now: Time) {
        self.state(upstream).record_capacity(&upstream.spec, capacity, now);
        self.offer_room(upstream, now);
    }

    /// The configuration of an upstream may have changed.
    pub fn configure(&mut self, upstream: &Upstream, now: Time) {
        self.state(upstream).configure(&upstream.spec, now);
        self.offer_room(upstream, now);
    }

    /// `model` replaces `old`. The deficits of its targets go on, unless shares or strategy have changed: a deficit of the old
    /// shares would keep the new ones from being held. What requests cost is learned anew where a price has changed.
    pub fn carry_over(&mut self, model: &Model, old: &Model) {
        let has_other_shares = model.has_other_shares_than(old);
        let known = self.models.of(&old.key, || ModelState::new(old));
        if model.key == old.key {
            if has_other_shares {
                known.deficits.restart();
            }
            if model.has_other_prices_than(old) {
                known.forget_costs();
            }
            return;
        }
        let index = |target: &Arc<Upstream>| old.target(target.spec.id.as_str()).filter(|_| !has_other_shares);
        let deficits = known.deficits.carried_over(model.targets().iter().map(index));
        let state = ModelState::with(deficits);
        *self.models.of(&model.key, || ModelState::new(model)) = state;
    }

    /// Takes over the state of another engine. The two have no upstream and no model in common.
    pub fn absorb(&mut self, other: Self) {
        self.upstreams.absorb(other.upstreams);
        self.models.absorb(other.models);
        self.budget.absorb(&other.budget);
        self.held += other.held;
        self.woken.extend(other.woken);
    }

    /// Forgets what belongs to no table and no request any more.
    pub fn forget_unused(&mut self) {
        self.upstreams.forget_unused();
        self.models.forget_unused();
    }
}

/// Debits `target` for the request, in place of the target that was debited before, if any.
fn debit(model: &Model, deficits: &mut Deficits, history: &mut History, decision: &Decision, target: usize) {
    // Deficits are of the requests that shares decide about: one that names its upstream changes none, nor does one that goes where
    // it is cheapest or fastest, whether its model's strategy or its client wants that.
    if history.named().is_some() || !decision.strategy.has_shares() {
        return;
    }
    if move_debit(model, deficits, history, target) {
        return;
    }
    let held = decision.strategy.accrual();
    // What a target misses because it was too dear for one client would be made up for by the requests of all.
    if held == Accrual::Held && decision.leaves_out_by_price() {
        return;
    }
    // So would what a target misses that does not serve such calls: they are split among those that do.
    let accrual = if decision.leaves_out_by_operation() { Accrual::Available } else { held };
    let is_unfit = |(_, why): &(usize, Excluded)| matches!(why, Excluded::Unfit(_));
    // Where only those that can serve are debited, nothing that another one misses is ever made up for.
    let is_among_all = accrual == Accrual::Held || !decision.excluded.iter().any(is_unfit);
    // What a target misses because it is late is paid back little by little, as after an absence.
    let serves =
        |candidate: &&Candidate| accrual == Accrual::Available || candidate.target == target || !candidate.is_late();
    let available = decision.candidates.iter().filter(serves).map(|candidate| candidate.target);
    let part = available.clone().map(|target| model.shares()[target]).sum();
    let earned = deficits.debit(target, Quantum::new(model.shares(), accrual, part), available);
    history.debited(target, earned, is_among_all);
}

/// If a target is debited for the request, `target` is debited in its place. Returns whether one is.
fn move_debit(model: &Model, deficits: &mut Deficits, history: &mut History, target: usize) -> bool {
    let Some(debit) = history.debit() else { return false };
    deficits.shift((debit.last, target), &debit.earned, model.shares());
    history.debit_moved(target);
    true
}

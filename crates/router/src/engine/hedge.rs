//! Two calls of one request: the second begins where the first is late to answer, and the one that begins to answer first
//! serves the request.
//!
//! Both claim what they need of their upstreams, and each has a limit of its own. Until there is content, only the first
//! is debited. The loser is cancelled, which is no evidence about its upstream. If one fails, it is judged as any
//! failure, and the request goes on with the other one alone.

use provider::{Error, Time};
use rand::Rng;

use super::{Engine, ModelState, fallback::LEAST_TIME, move_debit};
use crate::{
    candidate::{Candidate, Hold, Situation},
    decision::{self, Decision, Reason, Role},
    history::History,
    request::{RequestState, Start},
    table::Model,
};

impl Engine {
    /// The time of [`Start::hedge_at`] has come, and no content has: begins a second call, if another target is likely
    /// to be in time, has room, and costs no more than second calls may. `None` if there is none; the request then goes
    /// on as it is, and this is not to be asked again.
    pub fn hedge(&mut self, request: &mut RequestState, now: Time) -> Option<Start> {
        let is_first = request.attempt.is_some_and(|attempt| attempt.role == Role::Primary) && request.attempts() == 1;
        if !is_first || request.is_committed || request.deadline < now + LEAST_TIME {
            return None;
        }
        self.has_decided = false;
        let Self { upstreams, models, decision, .. } = self;
        let RequestState { model, facts, history, arrived, .. } = &*request;
        let known = models.of(&model.key, || ModelState::new(model));
        let situation = Situation {
            model,
            facts,
            history,
            repeats: false,
            expected: known.expected(facts, now),
            arrived: *arrived,
            another_was_denied: known.another_was_denied(request.number(), now),
            hold: Hold::None,
            now,
        };
        let second = decision.second(&situation, known, upstreams)?;
        known.hedges.withdraw(second.cost()?);
        let needs = situation.needs(second.target);
        let (attempt, call) = self.call(request, second.target, (Role::Hedge, Reason::Hedge), &needs, now);
        request.rival = Some((attempt, call));
        Some(self.start(request, attempt, request.history.has_fresh(), None))
    }

    /// When a second call may begin, if `start` is the first.
    pub(super) fn hedge_at(&self, request: &RequestState, start: &Start) -> Option<Time> {
        let after = self.decision.hedge_after?;
        let soonest = start.attempt.started + after.min(decision::LEAST_BEFORE_HEDGE);
        Some(soonest.max(request.arrived + after)).filter(|at| *at < start.limit)
    }

    /// Of two calls under way, the one to `target` has content first: the other one is cancelled. To be called before
    /// [`Self::first_token`].
    pub fn won(&mut self, request: &mut RequestState, target: usize, now: Time) {
        let calls = [request.attempt(), request.rival()];
        let Some(loser) = calls.into_iter().flatten().map(|attempt| attempt.target).find(|other| *other != target)
        else {
            return;
        };
        let Some(called) = request.take_one(loser) else { return };
        self.give_back(request, called, now);
        self.goes_on_at(request, target);
    }

    /// Of two calls under way, the one to `target` failed before content came. The request goes on with the other one
    /// alone: nothing else is called while that lasts.
    pub fn one_failed(
        &mut self,
        request: &mut RequestState,
        target: usize,
        mut error: Error,
        now: Time,
        rng: &mut dyn Rng,
    ) {
        let Some((attempt, call)) = request.take_one(target) else { return };
        self.judge(request, (attempt, call), &error, now, rng);
        self.offer_room(&request.model.targets()[target], now);
        let may_be_repeated = error.again.take().is_some_and(|adjustment| request.history.adjust(target, &adjustment));
        if !may_be_repeated {
            request.failed_at(target, error.kind);
            request.keep_worst(error);
        }
        if let Some(left) = request.attempt {
            self.goes_on_at(request, left.target);
        }
    }

    /// The only call left is the one to `target`, which is debited from now on, as after a fallback.
    fn goes_on_at(&mut self, request: &mut RequestState, target: usize) {
        let RequestState { model, history, .. } = request;
        move_debit(model, &mut self.model(model).deficits, history, target);
    }
}

/// The first call of a request was decided on: a part of what it is expected to cost is there for second calls.
pub(super) fn deposit(known: &mut ModelState, model: &Model, history: &History, decision: &Decision) {
    let Some(hedge) = model.spec.hedge.as_ref().filter(|_| history.attempts() == 0) else { return };
    if let Some(cost) = decision.candidates.first().and_then(Candidate::cost) {
        known.hedges.deposit(cost, hedge.most_extra_cost);
    }
}

//! Calls of the router's own that start a worker of a cold upstream, so that no user waits for the start while another
//! target serves.

use std::sync::Arc;

use provider::{Error, ErrorKind, Phase, Quota, Time};
use rand::Rng;

use super::Engine;
use crate::{
    decision::{Reason, Role},
    knowledge::capacity::LONGEST_START,
    request::Attempt,
    table::Model,
    upstream::{Call, Origin, RequestNeeds, Upstream},
};

/// The prompt of a warm-up call in tokens, more or less, and the limit on its answer.
const PROMPT_TOKENS: u64 = 20;
const COMPLETION_TOKENS: u64 = 1;

/// A warm-up call from its start to the event that ends it.
#[derive(Debug)]
#[must_use = "a call that is never ended counts as in flight for ever"]
pub struct WarmUp {
    model: Arc<Model>,
    attempt: Attempt,
    call: Call,
}

impl WarmUp {
    /// The model whose requests ask for it.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The upstream that is to be called.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.model.targets()[self.attempt.target]
    }

    /// The call as an attempt.
    pub fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// When to lose patience.
    pub fn limit(&self) -> Time {
        self.attempt.started + LONGEST_START
    }

    /// The error of a call that was cancelled at its limit.
    pub fn overdue() -> Error {
        Error::new(ErrorKind::Timeout(Phase::FirstToken), "the upstream did not start in time")
    }
}

impl Engine {
    /// Begins a call that starts a worker of a cold target of `model`, if one is due. To be asked about once a second.
    pub fn warm_up(&mut self, model: &Arc<Model>, now: Time) -> Option<WarmUp> {
        if !model.spec.strategy.looks_ahead() || !self.model(model).has_arrivals(now) {
            return None;
        }
        let needs = RequestNeeds::new(PROMPT_TOKENS, Some(COMPLETION_TOKENS), 1.0, 1);
        let is_due = |upstream: &Arc<Upstream>| self.state(upstream).is_warm_up_due(&upstream.spec, &needs, now);
        let target = model.targets().iter().position(is_due)?;
        let upstream = &model.targets()[target];
        let call = self.state(upstream).begin_warm_up(&upstream.spec, &needs, now);
        let attempt = Attempt { target, started: now, role: Role::WarmUp, reason: Reason::WarmUp, needs };
        Some(WarmUp { model: model.clone(), attempt, call })
    }

    /// The call was answered in full: a worker is ready.
    pub fn warmed_up(&mut self, warm_up: WarmUp, quota: Quota, now: Time) {
        let WarmUp { model, attempt, mut call } = warm_up;
        let (upstream, origin) = (&model.targets()[attempt.target], origin(&attempt));
        let state = self.state(upstream);
        state.first_token(&upstream.spec, (&mut call, origin), (quota, false), now);
        state.succeeded(&upstream.spec, (&call, origin), (None, false), now);
        self.offer_room(upstream, now);
    }

    /// The call failed. That it took too long is no evidence while no worker is ready.
    pub fn warm_up_failed(&mut self, warm_up: WarmUp, error: &Error, now: Time, rng: &mut dyn Rng) {
        let WarmUp { model, attempt, mut call } = warm_up;
        let upstream = &model.targets()[attempt.target];
        let state = self.state(upstream);
        if matches!(error.kind, ErrorKind::Timeout(_)) && state.is_cold(now) || error.kind.is_ours() {
            state.released(&upstream.spec, &mut call, now);
        } else {
            state.failed(&upstream.spec, (&mut call, origin(&attempt)), error, now, rng);
        }
        self.offer_room(upstream, now);
    }

    /// The call was dropped. That is no evidence about the upstream.
    pub fn warm_up_dropped(&mut self, warm_up: WarmUp, now: Time) {
        let WarmUp { model, attempt, mut call } = warm_up;
        let upstream = &model.targets()[attempt.target];
        let state = self.state(upstream);
        state.released(&upstream.spec, &mut call, now);
        self.offer_room(upstream, now);
    }
}

/// A call that belongs to no request.
fn origin(attempt: &Attempt) -> Origin {
    Origin { by: None, began: attempt.started }
}

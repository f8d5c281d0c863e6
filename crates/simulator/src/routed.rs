//! The router's engine as a policy: the code that serves production, driven in virtual time.

use std::{sync::Arc, time::Duration};

use provider::{Error, ErrorKind, Features, Operation, Time, UpstreamId};
use rand::{SeedableRng, rngs::SmallRng};
use router::{Action, Engine, Facts, Model, RequestState, Start, Table};

use crate::{
    policy::{Actions, AttemptId, Capacity, Event, Failure, Policy, Quota, RequestId, Setup},
    wake::Woken,
};

/// Bytes of a body for each token of its prompt, for what looks at bytes.
const BYTES_PER_TOKEN: u64 = 4;

/// A model of a routing table, served by the router's engine.
#[derive(Debug)]
pub struct Routed {
    engine: Engine,
    model: Arc<Model>,
    /// For each target of the model, the simulated upstream.
    upstreams: Vec<usize>,
    rng: SmallRng,
    /// The state of each request; none once it is over.
    requests: Vec<Option<Box<RequestState>>>,
    attempts: Vec<Attempt>,
}

#[derive(Debug, Clone, Copy)]
struct Attempt {
    request: RequestId,
    /// It has neither ended nor given a first token.
    waits: bool,
}

/// Why a model cannot be simulated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoutedError {
    /// The table has no model of this name.
    #[error("there is no model {0:?} in the configuration")]
    NoModel(String),
    /// One of its targets is not simulated.
    #[error("model {model:?} has the target {target}, which is not among the simulated upstreams {simulated:?}")]
    NotSimulated {
        /// The model.
        model: String,
        /// The target.
        target: UpstreamId,
        /// The ids of what is simulated.
        simulated: Vec<String>,
    },
}

impl Routed {
    /// The model called `name` of `table`, whose targets all are among `simulated`.
    pub fn check(table: &Table, name: &str, simulated: &[String]) -> Result<Arc<Model>, RoutedError> {
        let model = table.model(name).ok_or_else(|| RoutedError::NoModel(name.to_owned()))?;
        let missing = model.targets().iter().find(|target| !simulated.iter().any(|id| id == target.spec.id.as_str()));
        match missing {
            None => Ok(model.clone()),
            Some(target) => Err(RoutedError::NotSimulated {
                model: name.to_owned(),
                target: target.spec.id.clone(),
                simulated: simulated.to_owned(),
            }),
        }
    }

    /// A fresh engine that serves `model`, which was checked.
    pub fn new(model: Arc<Model>, setup: &Setup<'_>) -> Self {
        let place = |id: &UpstreamId| setup.upstreams.iter().position(|upstream| upstream.id == id.as_str());
        let upstreams = model.targets().iter().map(|target| place(&target.spec.id).unwrap_or_default()).collect();
        Self {
            engine: Engine::default(),
            model,
            upstreams,
            rng: SmallRng::seed_from_u64(setup.seed),
            requests: Vec::new(),
            attempts: Vec::new(),
        }
    }

    fn arrived(&mut self, request: RequestId, prompt_tokens: u32, actions: &mut Actions<'_>) {
        let now = Time::from_nanos(actions.now());
        let prompt_tokens = u64::from(prompt_tokens);
        let facts = Facts {
            operation: Operation::Chat,
            stream: true,
            features: Features::default(),
            body_bytes: prompt_tokens * BYTES_PER_TOKEN,
            prompt_tokens,
            max_tokens: None,
            choices: 1,
        };
        let mut state = Box::new(RequestState::new(self.model.clone(), facts, None, now + self.model.spec.deadline));
        state.identify(request.index() as u64);
        let action = self.engine.arrived(&mut state, now, &mut self.rng);
        self.requests.push(Some(state));
        self.carry_out(request, &action, actions);
    }

    fn carry_out(&mut self, request: RequestId, action: &Action, actions: &mut Actions<'_>) {
        match action {
            Action::Start(Start { attempt, limit, .. }) => {
                let started = actions.start(request, self.upstreams[attempt.target]);
                self.attempts.push(Attempt { request, waits: true });
                actions.wake_at(limit.as_nanos(), Woken::FirstToken(started).token());
            }
            Action::Wait { until } => actions.wake_at(until.as_nanos(), Woken::Again(request).token()),
            Action::GiveUp(_) => {
                self.requests[request.index()] = None;
                actions.give_up(request);
            }
        }
    }

    fn first_token(&mut self, attempt: AttemptId, quota: Option<Quota>, now: Time) {
        let Attempt { request, waits } = &mut self.attempts[attempt.index()];
        *waits = false;
        let Some(state) = &mut self.requests[request.index()] else { return };
        self.engine.first_token(state, quota.map(reported).unwrap_or_default(), now, &mut self.rng);
    }

    fn failed(&mut self, attempt: AttemptId, error: Error, committed: bool, actions: &mut Actions<'_>) {
        let now = Time::from_nanos(actions.now());
        let Attempt { request, waits } = &mut self.attempts[attempt.index()];
        *waits = false;
        let request = *request;
        let Some(state) = &mut self.requests[request.index()] else { return };
        if committed {
            self.engine.broke(state, &error, now, &mut self.rng);
            self.requests[request.index()] = None;
            return;
        }
        let action = self.engine.failed(state, error, now, &mut self.rng);
        self.carry_out(request, &action, actions);
    }

    fn woken(&mut self, woken: Woken, actions: &mut Actions<'_>) {
        let now = Time::from_nanos(actions.now());
        match woken {
            Woken::Again(request) => {
                let Some(state) = &mut self.requests[request.index()] else { return };
                let action = self.engine.timer(state, now, &mut self.rng);
                self.carry_out(request, &action, actions);
            }
            Woken::FirstToken(attempt) => {
                let Attempt { request, waits } = self.attempts[attempt.index()];
                let Some(state) = self.requests[request.index()].as_ref().filter(|_| waits) else { return };
                let error = self.engine.overdue(state, now);
                actions.cancel(attempt);
                self.failed(attempt, error, false, actions);
            }
        }
    }

    fn capacity(&mut self, upstream: usize, capacity: Option<Capacity>, now: Time) {
        let Some(target) = self.upstreams.iter().position(|number| *number == upstream) else { return };
        let Some(capacity) = capacity else { return };
        let capacity = provider::Capacity {
            running: Some(capacity.ready),
            initializing: Some(capacity.initializing),
            throttled: Some(capacity.throttled),
            queued: Some(capacity.queued),
            ..provider::Capacity::default()
        };
        self.engine.record_capacity(&self.model.targets()[target], capacity, now);
    }
}

impl Policy for Routed {
    fn on(&mut self, event: Event, actions: &mut Actions<'_>) {
        let now = Time::from_nanos(actions.now());
        match event {
            Event::Arrived { request, prompt_tokens } => self.arrived(request, prompt_tokens, actions),
            Event::FirstToken { attempt, quota } => self.first_token(attempt, quota, now),
            Event::Failed { attempt, failure, committed } => {
                self.failed(attempt, error(failure, committed), committed, actions);
            }
            Event::Ended { attempt, .. } => {
                let request = self.attempts[attempt.index()].request;
                if let Some(mut state) = self.requests[request.index()].take() {
                    self.engine.served(&mut state, now);
                }
            }
            Event::Capacity { upstream, capacity } => self.capacity(upstream, capacity, now),
            Event::Wake { token } => self.woken(Woken::from(token), actions),
        }
    }
}

/// The failure as an adapter would tell it.
fn error(failure: Failure, committed: bool) -> Error {
    match failure {
        Failure::Unavailable if committed => Error::new(ErrorKind::Interrupted, "the simulated stream broke"),
        Failure::Unavailable => {
            let mut error = Error::new(ErrorKind::Unavailable, "the simulated upstream is down");
            error.status = Some(502);
            error
        }
        Failure::RateLimited { retry_after, .. } => {
            let mut error = Error::new(ErrorKind::RateLimited, "the simulated limit is reached");
            error.status = Some(429);
            error.retry_after = Some(Duration::from_nanos(retry_after));
            error
        }
    }
}

/// What headers say is left: nothing less than one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is never below zero")]
fn reported(quota: Quota) -> provider::Quota {
    provider::Quota {
        requests: Some(quota.requests.max(0.0) as u64),
        tokens: Some(quota.tokens.max(0.0) as u64),
        exhausted_for: None,
    }
}

#[cfg(test)]
mod tests;

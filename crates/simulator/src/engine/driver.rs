//! Drives the engine: what `dispatch` does with tokio, in virtual time.

mod hedged;

use std::sync::Arc;

use provider::{Error, ErrorKind, Phase, Quota, Time};
use rand::{SeedableRng, rngs::SmallRng};
use router::{Action, Engine, Model, RequestState, Start, WarmUp};

use super::calls::{self, TargetUpstream};
use crate::{
    policy::{Actions, AttemptId, Event, Policy, RequestId},
    time::{Nanos, SECOND},
};

/// How often the engine is asked for warm-up calls, at most.
const WARM_UP_TICK: Nanos = SECOND;

/// An engine and the requests that it decides about.
#[derive(Debug)]
pub(super) struct Driver {
    engine: Engine,
    model: Arc<Model>,
    /// Of each target.
    upstreams: Arc<[TargetUpstream]>,
    rng: SmallRng,
    requests: Vec<Live>,
    /// The request of each attempt; `None` for a warm-up call.
    attempts: Vec<Option<RequestId>>,
    /// Warm-up calls under way.
    warm_ups: Vec<(AttemptId, WarmUp)>,
    /// When the engine is asked for warm-up calls again.
    warm_up_at: Nanos,
}

/// A request on its way.
#[derive(Debug)]
struct Live {
    /// `None` when it is over.
    state: Option<Box<RequestState>>,
    /// The call under way.
    attempt: Option<AttemptId>,
    /// The second call, while two are under way.
    rival: Option<AttemptId>,
    /// Until when it waits, if it does.
    waits_until: Option<Time>,
}

/// Why a wake-up was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WakeReason {
    /// The wait of a request is over.
    Timer(RequestId),
    /// An attempt must have given its first token by now.
    Limit(AttemptId),
    /// A request must be over by now.
    Deadline(RequestId),
    /// A request may be called a second time now.
    Hedge(RequestId),
}

impl Driver {
    pub(super) fn new(model: Arc<Model>, upstreams: Arc<[TargetUpstream]>, seed: u64) -> Self {
        Self {
            engine: Engine::default(),
            model,
            upstreams,
            rng: SmallRng::seed_from_u64(seed),
            requests: Vec::new(),
            attempts: Vec::new(),
            warm_ups: Vec::new(),
            warm_up_at: 0,
        }
    }

    /// Passes an event of a request that is not over to the engine, and carries out the action that it returns.
    fn notify_engine(
        &mut self,
        request: RequestId,
        actions: &mut Actions<'_>,
        event: impl FnOnce(&mut Engine, &mut RequestState, Time, &mut SmallRng) -> Action,
    ) {
        let now = Time::from_nanos(actions.now());
        let Live { state, waits_until, .. } = &mut self.requests[request.index()];
        let Some(state) = state else { return };
        *waits_until = None;
        match event(&mut self.engine, state, now, &mut self.rng) {
            Action::Start(start) => self.start(request, &start, actions),
            Action::Wait { until } => {
                *waits_until = Some(until);
                actions.wake_at(until.as_nanos(), WakeReason::Timer(request).token());
            }
            Action::GiveUp(_) => {
                self.requests[request.index()].state = None;
                actions.give_up(request);
            }
        }
    }

    fn start(&mut self, request: RequestId, start: &Start, actions: &mut Actions<'_>) {
        let attempt = self.call(request, start, actions);
        self.requests[request.index()].attempt = Some(attempt);
        if let Some(at) = start.hedge_at {
            actions.wake_at(at.as_nanos(), WakeReason::Hedge(request).token());
        }
    }

    fn call(&mut self, request: RequestId, start: &Start, actions: &mut Actions<'_>) -> AttemptId {
        let attempt = actions.start(request, self.upstreams[start.attempt.target].upstream);
        self.attempts.push(Some(request));
        actions.wake_at(start.limit.as_nanos(), WakeReason::Limit(attempt).token());
        attempt
    }

    /// The request whose call `attempt` is, unless that is over.
    fn request_of(&self, attempt: AttemptId) -> Option<RequestId> {
        let request = self.attempts[attempt.index()]?;
        let Live { attempt: first, rival, .. } = self.requests[request.index()];
        [first, rival].contains(&Some(attempt)).then_some(request)
    }

    /// Makes the warm-up calls that are due.
    fn warm_up(&mut self, actions: &mut Actions<'_>) {
        if actions.now() < self.warm_up_at {
            return;
        }
        self.warm_up_at = actions.now() + WARM_UP_TICK;
        let Some(warm_up) = self.engine.warm_up(&self.model, Time::from_nanos(actions.now())) else { return };
        let attempt = actions.warm_up(self.upstreams[warm_up.attempt().target].upstream);
        self.attempts.push(None);
        actions.wake_at(warm_up.limit().as_nanos(), WakeReason::Limit(attempt).token());
        self.warm_ups.push((attempt, warm_up));
    }

    /// The warm-up call that `attempt` is, if it is one and under way. It is over.
    fn warm_up_of(&mut self, attempt: AttemptId) -> Option<WarmUp> {
        let place = self.warm_ups.iter().position(|(of, _)| *of == attempt)?;
        Some(self.warm_ups.swap_remove(place).1)
    }

    fn arrived(&mut self, request: RequestId, prompt_tokens: u32, actions: &mut Actions<'_>) {
        let deadline = Time::from_nanos(actions.now()) + self.model.spec.deadline;
        let mut state = RequestState::new(self.model.clone(), calls::facts(prompt_tokens), None, deadline)
            .numbered(request.index() as u64);
        state.identify(request.index() as u64);
        self.requests.push(Live { state: Some(Box::new(state)), attempt: None, rival: None, waits_until: None });
        self.notify_engine(request, actions, |engine, state, now, rng| engine.arrived(state, now, rng));
    }

    fn failed(&mut self, attempt: AttemptId, error: Error, committed: bool, actions: &mut Actions<'_>) {
        let Some(request) = self.request_of(attempt) else { return };
        if self.requests[request.index()].rival.is_some() {
            self.one_failed(request, attempt, error, Time::from_nanos(actions.now()));
            return;
        }
        let live = &mut self.requests[request.index()];
        live.attempt = None;
        if !committed {
            self.notify_engine(request, actions, |engine, state, now, rng| engine.failed(state, error, now, rng));
            return;
        }
        if let Some(mut state) = live.state.take() {
            self.engine.broke(&mut state, &error, Time::from_nanos(actions.now()), &mut self.rng);
        }
    }

    fn woken(&mut self, reason: WakeReason, actions: &mut Actions<'_>) {
        match reason {
            WakeReason::Timer(request) => {
                // It may have been woken meanwhile.
                if self.requests[request.index()].waits_until.is_none_or(|until| until.as_nanos() > actions.now()) {
                    return;
                }
                self.notify_engine(request, actions, |engine, state, now, rng| engine.timer(state, now, rng));
            }
            WakeReason::Limit(attempt) => {
                if let Some(warm_up) = self.warm_up_of(attempt) {
                    actions.cancel(attempt);
                    let now = Time::from_nanos(actions.now());
                    self.engine.warm_up_failed(warm_up, &WarmUp::overdue(), now, &mut self.rng);
                    return;
                }
                let Some(request) = self.request_of(attempt) else { return };
                let Some(state) = &self.requests[request.index()].state else { return };
                if state.is_committed() {
                    // Most answers are complete before this, and need no wake-up at their deadlines.
                    actions.wake_at(state.deadline().as_nanos(), WakeReason::Deadline(request).token());
                    return;
                }
                let is_second = self.requests[request.index()].rival == Some(attempt);
                let Some(called) = (if is_second { state.rival() } else { state.attempt() }) else { return };
                actions.cancel(attempt);
                let error = self.engine.overdue(state, called, Time::from_nanos(actions.now()));
                self.failed(attempt, error, false, actions);
            }
            WakeReason::Hedge(request) => self.hedge(request, actions),
            WakeReason::Deadline(request) => {
                let live = &self.requests[request.index()];
                let Some(attempt) = live.attempt else { return };
                actions.cancel(attempt);
                let error = Error::new(ErrorKind::Timeout(Phase::Deadline), "not complete by the deadline");
                self.failed(attempt, error, true, actions);
                actions.give_up(request);
            }
        }
    }

    /// Passes an event to the engine.
    fn pass_on(&mut self, event: Event, actions: &mut Actions<'_>) {
        let now = Time::from_nanos(actions.now());
        match event {
            Event::Arrived { request, prompt_tokens } => {
                self.arrived(request, prompt_tokens, actions);
                self.warm_up(actions);
            }
            Event::FirstToken { attempt, quota } => {
                let Some(request) = self.request_of(attempt) else { return };
                self.won(request, attempt, actions);
                let Some(state) = &mut self.requests[request.index()].state else { return };
                self.engine.first_token(state, calls::quota(quota), now, &mut self.rng);
            }
            Event::Failed { attempt, failure, committed } => {
                if let Some(warm_up) = self.warm_up_of(attempt) {
                    self.engine.warm_up_failed(warm_up, &calls::error(failure, false), now, &mut self.rng);
                    return;
                }
                self.failed(attempt, calls::error(failure, committed), committed, actions);
            }
            Event::Ended { attempt, completion_tokens } => {
                if let Some(warm_up) = self.warm_up_of(attempt) {
                    self.engine.warmed_up(warm_up, Quota::default(), now);
                    return;
                }
                let Some(request) = self.request_of(attempt) else { return };
                let live = &mut self.requests[request.index()];
                live.attempt = None;
                if let Some(mut state) = live.state.take() {
                    self.engine.served(&mut state, Some(completion_tokens.into()), now);
                }
            }
            Event::Capacity { upstream, capacity } => {
                let found =
                    self.upstreams.iter().position(|target| target.upstream == upstream && target.reports_capacity);
                let Some(target) = found else { return };
                let target = &self.model.targets()[target];
                if self.engine.is_capacity_due(target, now)
                    && let Some(capacity) = capacity
                {
                    self.engine.record_capacity(target, calls::capacity(capacity), now);
                    self.warm_up(actions);
                }
            }
            Event::Wake { token } => self.woken(WakeReason::from(token), actions),
        }
    }
}

impl Policy for Driver {
    fn on(&mut self, event: Event, actions: &mut Actions<'_>) {
        self.pass_on(event, actions);
        while let Some(number) = self.engine.take_woken() {
            let request = RequestId(u32::try_from(number).unwrap_or(u32::MAX));
            if self.requests[request.index()].waits_until.is_some() {
                self.notify_engine(request, actions, |engine, state, now, rng| engine.timer(state, now, rng));
            }
        }
    }
}

impl WakeReason {
    const fn token(self) -> u64 {
        match self {
            Self::Timer(request) => (request.0 as u64) << 2,
            Self::Limit(attempt) => ((attempt.0 as u64) << 2) | 1,
            Self::Deadline(request) => ((request.0 as u64) << 2) | 2,
            Self::Hedge(request) => ((request.0 as u64) << 2) | 3,
        }
    }
}

impl From<u64> for WakeReason {
    fn from(token: u64) -> Self {
        let number = u32::try_from(token >> 2).unwrap_or(u32::MAX);
        match token & 3 {
            0 => Self::Timer(RequestId(number)),
            1 => Self::Limit(AttemptId(number)),
            2 => Self::Deadline(RequestId(number)),
            _ => Self::Hedge(RequestId(number)),
        }
    }
}

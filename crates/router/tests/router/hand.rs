//! A table, its engine, and a clock that the test moves.

use std::{cell::Cell, sync::Arc, time::Duration};

use provider::{Error, ErrorKind, Features, ModelId, Operation, Phase, Quota, Time, UpstreamId};
use rand::{SeedableRng, rngs::SmallRng};
use router::{
    Action, BreakerState, Engine, Facts, Model, ModelSpec, RequestState, RouterError, Start, StrategyName, Table,
    Timeouts, UpstreamSpec, Wishes,
};

pub(crate) const S: Duration = Duration::from_secs(1);
pub(crate) const MS: Duration = Duration::from_millis(1);

pub(crate) fn upstream(id: &str) -> UpstreamSpec {
    UpstreamSpec {
        id: id.into(),
        account: 0,
        identity: 0,
        provider_name: "fake",
        served_model: format!("served-by-{id}"),
        tariff: None,
        operations: Operation::ALL.to_vec(),
        features: Features { tools: true, images: true, json_schema: true },
        context_tokens: None,
        max_in_flight: 1_000,
        default_max_tokens: None,
        worker_slots: None,
        limits: router::Limits::default(),
        timeouts: Timeouts { first_token: 5 * S, gap: 3 * S },
        capacity_poll: S,
        warm_up_usd_per_hour: provider::NanoUsd(0),
        price_version: None,
    }
}

pub(crate) fn model(name: &str, strategy: StrategyName, targets: &[(&str, f64)]) -> ModelSpec {
    ModelSpec {
        name: ModelId::from(name),
        strategy,
        slo_first_token: None,
        baseline: None,
        deadline: 60 * S,
        early_headers: false,
        reasoning_field: provider::ReasoningField::default(),
        hedge: None,
        targets: targets.iter().map(|(id, share)| (UpstreamId::from(*id), *share)).collect(),
    }
}

/// A streamed chat.
pub(crate) const CHAT: Facts = Facts {
    operation: Operation::Chat,
    stream: true,
    features: Features { tools: false, images: false, json_schema: false },
    body_bytes: 100,
    prompt_tokens: 25,
    audio_ms: 0,
    max_tokens: None,
    choices: 1,
    in_batch: false,
    team: None,
    conversation: None,
    wishes: Wishes::NONE,
};

pub(crate) fn error(kind: ErrorKind) -> Error {
    Error::new(kind, "no")
}

pub(crate) const TIMEOUT: ErrorKind = ErrorKind::Timeout(Phase::FirstToken);

/// A driver of one engine.
pub(crate) struct Hand {
    pub(crate) table: Table,
    pub(crate) engine: Engine,
    pub(crate) now: Time,
    pub(crate) rng: SmallRng,
    /// The number of the next request.
    next: Cell<u64>,
}

impl Hand {
    pub(crate) fn new(upstreams: Vec<UpstreamSpec>, models: Vec<ModelSpec>) -> Self {
        let table = Table::new("test", upstreams, models, None).expect("a table");
        Self { table, engine: Engine::default(), now: Time::ZERO, rng: SmallRng::seed_from_u64(7), next: Cell::new(0) }
    }

    /// A model `m` with the targets `a` at 0.8 and `b` at 0.2.
    pub(crate) fn pair(strategy: StrategyName) -> Self {
        Self::new(vec![upstream("a"), upstream("b")], vec![model("m", strategy, &[("a", 0.8), ("b", 0.2)])])
    }

    /// A model `m` with the one target `a`.
    pub(crate) fn single() -> Self {
        Self::new(vec![upstream("a")], vec![model("m", StrategyName::Balanced, &[("a", 1.0)])])
    }

    pub(crate) fn model(&self, name: &str) -> Arc<Model> {
        self.table.model(name).expect("a model").clone()
    }

    pub(crate) fn request(&self, model: &str) -> RequestState {
        let model = self.model(model);
        let deadline = self.now + model.spec.deadline;
        let number = self.next.replace(self.next.get() + 1);
        RequestState::new(model, CHAT, None, deadline).numbered(number)
    }

    pub(crate) fn arrived(&mut self, request: &mut RequestState) -> Action {
        self.engine.arrived(request, self.now, &mut self.rng)
    }

    /// A request to `m` arrives that is let in.
    pub(crate) fn begin(&mut self) -> (RequestState, Start) {
        let mut request = self.request("m");
        let start = started(self.arrived(&mut request));
        (request, start)
    }

    pub(crate) fn failed(&mut self, request: &mut RequestState, kind: ErrorKind) -> Action {
        self.engine.failed(request, error(kind), self.now, &mut self.rng)
    }

    pub(crate) fn timer(&mut self, request: &mut RequestState) -> Action {
        self.engine.timer(request, self.now, &mut self.rng)
    }

    /// The numbers of those that are to be woken, in order.
    pub(crate) fn woken(&mut self) -> Vec<u64> {
        let mut woken: Vec<_> = std::iter::from_fn(|| self.engine.take_woken()).collect();
        woken.sort_unstable();
        woken
    }

    pub(crate) fn serve(&mut self, mut request: RequestState) {
        self.engine.first_token(&mut request, Quota::default(), self.now, &mut self.rng);
        self.engine.served(&mut request, Some(40), self.now);
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    pub(crate) fn in_flight(&mut self, id: &str) -> u32 {
        let upstream = self.table.upstreams().find(|upstream| upstream.spec.id.as_str() == id).expect("an upstream");
        self.engine.snapshot(upstream, true, self.now).in_flight
    }

    pub(crate) fn breaker(&mut self, id: &str) -> BreakerState {
        let upstream = self.table.upstreams().find(|upstream| upstream.spec.id.as_str() == id).expect("an upstream");
        self.engine.status(upstream, self.now).breaker
    }

    /// `a` reports so many running workers.
    pub(crate) fn has_running(&mut self, running: u32) {
        let upstream = self.table.upstreams().next().expect("an upstream");
        let capacity = provider::Capacity { running: Some(running), ..provider::Capacity::default() };
        self.engine.record_capacity(upstream, capacity, self.now);
    }
}

pub(crate) fn started(action: Action) -> Start {
    match action {
        Action::Start(start) => start,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn waits(action: &Action) -> Time {
    match action {
        Action::Wait { until } => *until,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn gave_up(action: Action) -> RouterError {
    match action {
        Action::GiveUp(error) => error,
        other => panic!("{other:?}"),
    }
}

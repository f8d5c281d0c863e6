//! A router over fake providers, and a listener that checks the recorded events when the test is over.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use dispatch::{
    AttemptBegins, AttemptEnded, Caller, Event, Observer, Recorder, Recording, RequestEnded, Route, Router, Served,
    Table,
};
use futures_util::StreamExt;
use parking_lot::Mutex;
use provider::{
    Error, ErrorKind, Features, FrameKind, Limits, MemoryBudget, ModelId, Operation, PicoUsd, Price, Provider, Request,
    RequestId, Tariff, UpstreamId, Usage,
};
use router::{
    BreakerState, Ensemble, ModelSpec, Reason, Role, RouterError, Snapshot, StrategyName, Timeouts, Upstream,
    UpstreamSpec,
};
use tokio::time::{Instant, sleep};

use crate::fake::{Fake, S, error};

/// Keeps all events. Takes the `beginning` time before a call, and the `settling` time to settle.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) attempts: Mutex<Vec<AttemptEnded>>,
    pub(crate) requests: Mutex<Vec<RequestEnded>>,
    /// The request's number, the number and the reservation of each call, when it began.
    pub(crate) begun: Mutex<Vec<((u64, u32), Usage)>>,
    pub(crate) beginning: Mutex<Option<Duration>>,
    pub(crate) settling: Mutex<Option<Duration>>,
    /// Whether nothing can be put on record.
    pub(crate) fails: Mutex<bool>,
    pub(crate) settled: Arc<AtomicU32>,
}

impl Observer for Log {
    fn on(&self, event: &Event<'_>) {
        match event {
            Event::AttemptEnded(ended) => {
                let id = &ended.info.request_id;
                let is_over = self.requests.lock().iter().any(|request| request.info.request_id == *id);
                assert!(!is_over, "an attempt ended after its request");
                self.attempts.lock().push((*ended).clone());
            }
            Event::RequestEnded(ended) => self.requests.lock().push((*ended).clone()),
        }
    }

    fn begin(&self, begins: &AttemptBegins<'_>) -> Option<Recording> {
        self.begun.lock().push(((begins.info.number, begins.number), begins.reserved));
        let (wait, fails) = ((*self.beginning.lock())?, *self.fails.lock());
        Some(Box::pin(async move {
            sleep(wait).await;
            if fails { Err(error(ErrorKind::Unrecorded)) } else { Ok(()) }
        }))
    }

    fn settle(&self, served: &AttemptEnded, ended: &RequestEnded) -> Option<Recording> {
        assert_eq!(served.info.number, ended.info.number);
        let (wait, settled, fails) = ((*self.settling.lock())?, self.settled.clone(), *self.fails.lock());
        Some(Box::pin(async move {
            sleep(wait).await;
            settled.fetch_add(1, Ordering::Relaxed);
            if fails { Err(error(ErrorKind::Unrecorded)) } else { Ok(()) }
        }))
    }
}

impl Log {
    pub(crate) fn last_request(&self) -> RequestEnded {
        self.requests.lock().last().cloned().expect("a request ended")
    }
}

/// An upstream and its adapter.
pub(crate) type Wired = (UpstreamSpec, Arc<dyn Provider>);

pub(crate) fn upstream(id: &str, fake: &Arc<Fake>) -> Wired {
    let spec = UpstreamSpec {
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
    };
    (spec, fake.clone())
}

/// US dollars per million tokens, in and out.
pub(crate) fn price(input: &str, output: &str) -> Tariff {
    let rate = |usd| PicoUsd::from_usd_per_million(usd).expect("a price");
    Tariff::Tokens(Price::new(rate(input), rate(output)))
}

pub(crate) fn model(strategy: StrategyName, targets: &[(&str, f64)]) -> ModelSpec {
    ModelSpec {
        name: ModelId::from("m"),
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

/// What a client saw of an answer.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) upstream: String,
    pub(crate) attempts: u32,
    pub(crate) reason: Reason,
    pub(crate) frames: Vec<FrameKind>,
    pub(crate) error: Option<Error>,
    /// From the call to the end of the answer.
    pub(crate) took: Duration,
}

pub(crate) struct Rig {
    pub(crate) router: Router,
    pub(crate) log: Arc<Log>,
    pub(crate) fakes: Vec<Arc<Fake>>,
    next_id: AtomicU32,
}

pub(crate) fn table(upstreams: Vec<Wired>, model: ModelSpec) -> Table {
    Table::new("test", upstreams, vec![model], None).expect("a table")
}

impl Rig {
    pub(crate) fn new(table: Table, fakes: &[&Arc<Fake>]) -> Self {
        Self::recorded(table, fakes, None)
    }

    /// The same, with a recorder.
    pub(crate) fn recorded(table: Table, fakes: &[&Arc<Fake>], recorder: Option<Arc<dyn Recorder>>) -> Self {
        Self::started(table, fakes, recorder, 7)
    }

    /// One of several replicas, whose seeds differ.
    pub(crate) fn replica(table: Table, fakes: &[&Arc<Fake>], seed: u64) -> Self {
        Self::started(table, fakes, None, seed)
    }

    fn started(table: Table, fakes: &[&Arc<Fake>], recorder: Option<Arc<dyn Recorder>>, seed: u64) -> Self {
        let log = Arc::new(Log::default());
        let router = Router::recorded(table, log.clone(), recorder, seed);
        Self { router, log, fakes: fakes.iter().copied().cloned().collect(), next_id: AtomicU32::default() }
    }

    /// A model with the targets `a` at 0.8 and `b` at 0.2.
    pub(crate) fn pair(strategy: StrategyName) -> (Self, Arc<Fake>, Arc<Fake>) {
        let (a, b) = (Fake::new(), Fake::new());
        let table = table(vec![upstream("a", &a), upstream("b", &b)], model(strategy, &[("a", 0.8), ("b", 0.2)]));
        (Self::new(table, &[&a, &b]), a, b)
    }

    /// A model with the one target `a`.
    pub(crate) fn single() -> (Self, Arc<Fake>) {
        let a = Fake::new();
        let table = table(vec![upstream("a", &a)], model(StrategyName::Balanced, &[("a", 1.0)]));
        (Self::new(table, &[&a]), a)
    }

    pub(crate) async fn call(&self, request: &Request) -> Result<Served, RouterError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed).to_string();
        self.router.call(request, caller(&id, self.router.table())).await
    }

    /// Calls, with this memory.
    pub(crate) async fn call_in(&self, request: &Request, memory: &MemoryBudget) -> Result<Served, RouterError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed).to_string();
        let caller = Caller { memory: memory.clone(), ..caller(&id, self.router.table()) };
        self.router.call(request, caller).await
    }

    /// Asks an ensemble, which makes `calls` requests of it.
    pub(crate) async fn put(&self, ensemble: &Ensemble, request: &Request, calls: u32) -> Result<Served, RouterError> {
        let id = self.next_id.fetch_add(calls, Ordering::Relaxed).to_string();
        self.router.ask(ensemble, request, caller(&id, self.router.table())).await
    }

    /// Calls, and reads the answer to its end.
    pub(crate) async fn ask(&self, request: &Request) -> Result<Got, RouterError> {
        let start = Instant::now();
        Ok(read(self.call(request).await?, start).await)
    }

    pub(crate) fn upstream(&self, id: &str) -> Arc<Upstream> {
        self.router.table().upstreams().find(|upstream| upstream.spec.id.as_str() == id).cloned().expect("an upstream")
    }

    pub(crate) fn snapshot(&self, id: &str, stream: bool) -> Snapshot {
        self.router.table().snapshot(&self.upstream(id), stream, self.router.now())
    }

    pub(crate) fn breaker(&self, id: &str) -> BreakerState {
        self.router.table().status(&self.upstream(id), self.router.now()).breaker
    }

    pub(crate) fn in_flight(&self, id: &str) -> u32 {
        self.snapshot(id, true).in_flight
    }

    /// Every request and every attempt has ended exactly once, in order, and has returned its permit.
    fn check_events(&self) {
        let mut attempts = HashMap::<RequestId, u32>::new();
        // A warm-up call belongs to no request.
        for ended in self.log.attempts.lock().iter().filter(|ended| ended.role != Role::WarmUp) {
            *attempts.entry(ended.info.request_id.clone()).or_default() += 1;
        }
        // Each was announced under its number, once.
        let mut ended: Vec<_> =
            self.log.attempts.lock().iter().map(|ended| (ended.info.number, ended.number)).collect();
        let mut begun: Vec<_> = self.log.begun.lock().iter().map(|(numbers, _)| *numbers).collect();
        ended.sort_unstable();
        begun.sort_unstable();
        assert_eq!(begun, ended, "calls that began and that ended");
        begun.dedup();
        assert_eq!(begun.len(), ended.len(), "no two calls have the same number");
        let requests = self.log.requests.lock();
        assert_eq!(requests.len(), self.next_id.load(Ordering::Relaxed) as usize, "requests that ended");
        for ended in requests.iter() {
            let made = attempts.remove(&ended.info.request_id).unwrap_or_default();
            assert_eq!(made, ended.attempts, "attempts of request {}", ended.info.request_id);
        }
        assert!(attempts.is_empty(), "attempts of no request");
        for upstream in self.router.table().upstreams() {
            assert_eq!(self.in_flight(upstream.spec.id.as_str()), 0, "in flight at {}", upstream.spec.id);
        }
        assert!(self.fakes.iter().all(|fake| fake.live() == 0), "a call upstream was not cancelled");
    }
}

/// At the end of every test each attempt and each request must have exactly one event.
impl Drop for Rig {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check_events();
        }
    }
}

fn caller(id: &str, table: Arc<Table>) -> Caller {
    Caller {
        request_id: RequestId::from(id),
        key: None,
        team: None,
        tags: None,
        requested: None,
        table,
        arrived: Instant::now(),
        route: Route::Chat,
        model: None,
        falls_back: false,
        wishes: router::Wishes::NONE,
        session: None,
        deadline: None,
        memory: MemoryBudget::default(),
    }
}

pub(crate) async fn read(served: Served, start: Instant) -> Got {
    let (mut frames, mut error) = (Vec::new(), None);
    let mut answer = served.answer;
    while let Some(item) = answer.next().await {
        assert!(error.is_none(), "nothing follows an error");
        match item {
            Ok(frame) => frames.push(frame.kind),
            Err(met) => error = Some(met),
        }
    }
    Got {
        upstream: served.upstream.to_string(),
        attempts: served.attempts,
        reason: served.reason,
        frames,
        error,
        took: start.elapsed(),
    }
}

pub(crate) fn chat(fields: &str) -> Request {
    chat_to("m", fields)
}

pub(crate) fn chat_to(model: &str, fields: &str) -> Request {
    let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}]{fields}}}"#);
    Request::parse(Operation::Chat, body.into(), Limits { max_messages: 10 }).expect("a request")
}

pub(crate) fn streaming() -> Request {
    chat(r#","stream":true"#)
}

pub(crate) fn plain() -> Request {
    chat("")
}

/// A request whose content differs from those of other numbers.
pub(crate) fn numbered(n: u32) -> Request {
    chat(&format!(r#","seed":{n}"#))
}

/// Fakes with a poison habit look for this.
pub(crate) fn poison() -> Request {
    chat(r#","user":"poison""#)
}

pub(crate) fn is_poison(request: &Request) -> bool {
    request.field("user").is_some()
}

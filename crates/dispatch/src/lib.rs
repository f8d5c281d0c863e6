//! Carries out what `router` decides: calls upstreams, keeps the timers, relays answers, and sends events about them.
//!
//! It has no HTTP, no files, no metrics: requests and replies are the types of `provider`. A request crosses into
//! this crate once, at [`Router::call`].

mod addition;
mod answer;
mod attempt;
mod clock;
mod context;
mod ensemble;
mod event;
mod group;
mod hedge;
mod record;
mod replicas;
mod serve;
mod table;
#[cfg(test)]
mod testing;
mod warm_up;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

pub use answer::Answer;
use answer::Relay;
use arc_swap::ArcSwap;
use clock::Clock;
use context::RequestContext;
use event::EventSink;
pub use event::{
    AttemptBegins, AttemptEnded, Booked, Estimate, Event, Failure, Observer, Outcome, Recording, RequestEnded,
    RequestInfo, RequestOutcome, Route, Unreported,
};
use provider::{Call, MemoryBudget, NanoUsd, ReplyHead, Request, RequestId, Time, UpstreamId};
use rand::{SeedableRng, rngs::SmallRng};
use record::RecordSink;
pub use record::{Closed, Record, Recorder, Spare, Tried};
use replicas::Replicas;
use router::{Choice, Decision, Facts, Model, Named, Reason, RequestState, RouterError, Upstream, Wishes};
pub use table::Table;
use tokio::time::{Instant, timeout};

/// The shortest time limit for a report of capacity, however often it is asked for.
const LEAST_PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// Who calls, beyond the request itself.
#[derive(Clone)]
pub struct Caller {
    /// The request's id.
    pub request_id: RequestId,
    /// The client key's id.
    pub key: Option<Arc<str>>,
    /// The client key's team.
    pub team: Option<Arc<str>>,
    /// What the request is for, see [`RequestInfo::tags`].
    pub tags: Option<Arc<str>>,
    /// The name that it was asked for by, see [`RequestInfo::requested`].
    pub requested: Option<Arc<str>>,
    /// The table that the request is served by: the one in force when it came in, whatever comes into force meanwhile.
    pub table: Arc<Table>,
    /// When the whole request was there: what the router itself takes is counted from here.
    pub arrived: Instant,
    /// The call of the API that it came by.
    pub route: Route,
    /// The model or upstream to serve it, as [`router::Table::choose`] reads it, if it is not the model in the
    /// request's body.
    pub model: Option<String>,
    /// Whether others may serve when an upstream that was named fails.
    pub falls_back: bool,
    /// What the client wants for this request alone.
    pub wishes: Wishes,
    /// The conversation that the client says the request is part of.
    pub session: Option<Arc<str>>,
    /// When it is to have ended whatever the model allows, because it is part of something larger: a batch, or an ensemble.
    pub deadline: Option<Instant>,
    /// The memory budget of its bodies and answers.
    pub memory: MemoryBudget,
}

impl Caller {
    /// When the request is to have ended, if that may be before the model's own deadline.
    fn sooner_deadline(&self) -> Option<Instant> {
        let own = self.wishes.deadline.map(|deadline| self.arrived + deadline);
        own.into_iter().chain(self.deadline).min()
    }
}

/// A hash of the conversation that `request` is part of, if it is part of one: the client's own `session`, or what the request
/// says. That of another key is another conversation.
pub fn conversation(request: &Request, session: Option<&str>, key: Option<&str>) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    match session {
        Some(session) => session.hash(&mut hasher),
        None => request.conversation()?.hash(&mut hasher),
    }
    key.hash(&mut hasher);
    Some(hasher.finish())
}

/// A reply that is on its way.
pub struct Served {
    /// The upstream that serves it.
    pub upstream: UpstreamId,
    /// The kind of provider behind it.
    pub provider: &'static str,
    /// How many attempts it took.
    pub attempts: u32,
    /// Why this upstream was chosen.
    pub reason: Reason,
    /// Its list price, where it is known before the body: for whole answers.
    pub cost: Option<NanoUsd>,
    /// What was changed in the request.
    pub head: ReplyHead,
    /// The answer.
    pub answer: Answer,
}

impl Served {
    /// The reply of `upstream`, which was chosen for `reason`.
    fn new(head: ReplyHead, relay: Relay, upstream: &Upstream, reason: Reason) -> Self {
        let (attempts, cost) = (relay.context().state.attempts(), relay.context().cost());
        let answer = Answer::relayed(relay);
        let cost = cost.filter(|_| answer.whole().is_some());
        let (id, provider) = (upstream.spec.id.clone(), upstream.spec.provider_name);
        Self { upstream: id, provider, attempts, reason, cost, head, answer }
    }
}

/// The router.
pub struct Router {
    table: ArcSwap<Table>,
    sink: Arc<EventSink>,
    clock: Clock,
    /// How many requests there were, warm-up calls included.
    requests: AtomicU64,
    /// What the seeds of their random numbers are made of.
    seed: u64,
    replicas: Replicas,
}

impl Router {
    /// A router over `table` that sends its events to `observer`; `seed` makes its random choices repeatable.
    pub fn new(table: Table, observer: Arc<dyn Observer>, seed: u64) -> Self {
        Self::recorded(table, observer, None, seed)
    }

    /// The same; `recorder`, if there is one, is given a record of each request that was decided on.
    pub fn recorded(table: Table, observer: Arc<dyn Observer>, recorder: Option<Arc<dyn Recorder>>, seed: u64) -> Self {
        let sink = Arc::new(EventSink::new(observer, recorder.map(RecordSink::new)));
        let (table, clock, requests) = (ArcSwap::from_pointee(table), Clock::start(), AtomicU64::new(0));
        Self { table, sink, clock, requests, seed, replicas: Replicas::new(seed) }
    }

    /// Serves `request`, from whichever upstream can.
    pub async fn call(&self, request: &Request, caller: Caller) -> Result<Served, RouterError> {
        let sooner = caller.sooner_deadline();
        let name = caller.model.as_deref().unwrap_or(&request.head.model);
        let choice = caller.table.choose(name);
        let info = RequestInfo {
            request_id: caller.request_id.clone(),
            number: self.next_number(),
            route: caller.route,
            stream: request.head.stream,
            model: choice.as_ref().map(|choice| choice.model().clone()),
            key: caller.key,
            team: caller.team,
            tags: caller.tags,
            requested: caller.requested,
        };
        let Some(Choice { model, target }) = choice else {
            let error = RouterError::NoSuchModel(name.to_owned());
            self.refuse(info, &error, caller.arrived, &caller.table);
            return Err(error);
        };
        let now = self.clock.now();
        let deadline = now + model.spec.deadline;
        let sooner = sooner.map(|sooner| self.clock.time(sooner)).filter(|sooner| *sooner < deadline);
        let named = target.map(|target| Named { target, falls_back: caller.falls_back });
        let conversation = conversation(request, caller.session.as_deref(), info.key.as_deref());
        let is_batch = info.route == Route::Batch;
        let facts = serve::facts(request, conversation, is_batch, info.team.as_deref(), caller.wishes);
        let reasoning = model.spec.reasoning_field;
        let state = RequestState::new(model, facts, named, sooner.unwrap_or(deadline)).numbered(info.number);
        let state = if sooner.is_some() { state.hurried() } else { state };
        let number = info.number;
        // On the heap, because it is large and is moved several times: into the answer, and with that through the
        // server.
        let context = Box::new(RequestContext::new(
            Arc::new(info),
            self.sink.clone(),
            self.clock,
            (caller.table, state),
            SmallRng::seed_from_u64(self.seed(number)),
            self.clock.time(caller.arrived),
        ));
        let call = Call { request_id: caller.request_id, adjustment: None, reasoning, memory: caller.memory };
        serve::serve(request, call, context, now).await
    }

    /// The number of another request.
    fn next_number(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The seed of the random numbers of a request.
    fn seed(&self, number: u64) -> u64 {
        self.seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Sends the event for a request that asks for no model of the table.
    fn refuse(&self, info: RequestInfo, error: &RouterError, arrived: Instant, table: &Table) {
        let ended = RequestEnded::refused(info, error.into(), arrived.elapsed(), table.version.clone());
        self.sink.observer.on(&Event::RequestEnded(&ended));
    }

    /// The decision that [`Self::call`] would make for `request` at this moment, and on which facts; no upstream is called, and no
    /// target is debited. `falls_back`: others may serve where the name is that of an upstream; `conversation` as of [`conversation`]; `wishes`
    /// of its client.
    pub fn explain(
        &self,
        table: &Table,
        (request, conversation): (&Request, Option<u64>),
        name: Option<&str>,
        (falls_back, wishes): (bool, Wishes),
    ) -> Result<(Arc<Model>, Facts, Decision), RouterError> {
        let name = name.unwrap_or(&request.head.model);
        let no_such_model = || RouterError::NoSuchModel(name.to_owned());
        let Choice { model, target } = table.choose(name).ok_or_else(no_such_model)?;
        let facts = serve::facts(request, conversation, false, None, wishes);
        let named = target.map(|target| Named { target, falls_back });
        let now = self.clock.now();
        let decision = table.with(model.group, |engine| engine.explain(&model, &facts, named, now).clone());
        Ok((model, facts, decision))
    }

    /// The table in force.
    pub fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// Puts another table in force. Requests under way finish under the old one.
    pub fn replace_table(&self, table: Table) {
        table.configure(self.clock.now());
        self.pass_polls(&table);
        self.table.store(Arc::new(table));
    }

    /// This moment, for questions to a table.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// The router stops: what is dropped from now on was not left by its client.
    pub fn stop(&self) {
        self.sink.stop();
    }

    /// Asks every upstream whose poll is due for its capacity, unless another replica does. To be called about once a second.
    pub async fn poll_capacity(&self) {
        let now = self.clock.now();
        if !self.polls_capacity(now) {
            return;
        }
        let table = self.table.load_full();
        let is_due =
            |upstream: &&Arc<Upstream>| table.with(upstream.group, |engine| engine.is_capacity_due(upstream, now));
        let polls = table.upstreams().filter(is_due).map(|upstream| self.ask_capacity(&table, upstream));
        futures_util::future::join_all(polls).await;
    }

    async fn ask_capacity(&self, table: &Table, upstream: &Upstream) {
        let patience = upstream.spec.capacity_poll.max(LEAST_PATIENCE);
        match timeout(patience, table.provider(upstream).capacity()).await {
            Ok(Ok(capacity)) => {
                let now = self.clock.now();
                table.with(upstream.group, |engine| engine.record_capacity(upstream, capacity, now));
            }
            Ok(Err(error)) => tracing::debug!(upstream = %upstream.spec.id, %error, "capacity is unknown"),
            Err(_) => tracing::debug!(upstream = %upstream.spec.id, "capacity is unknown: no answer in time"),
        }
    }
}

//! Decides which upstream serves a request, and survives when it does not.
//!
//! Knows no HTTP, no files, no metrics: requests and replies come and go in the words of `provider`, and what happens is told
//! as events. A request crosses into this crate once, at [`Router::call`].

mod addition;
mod answer;
mod attempt;
mod breaker;
mod budget;
mod candidate;
mod doubt;
mod ensemble;
mod error;
mod event;
mod explain;
mod fallback;
mod history;
mod journey;
pub mod knowledge;
mod load;
mod policy;
mod share;
mod strategy;
mod table;
mod upstream;
mod workers;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

pub use answer::Answer;
use answer::Relay;
use arc_swap::ArcSwap;
pub use breaker::BreakerState;
pub use candidate::{Candidate, Excluded, Unfit};
pub use ensemble::{Ensemble, Extract, Judge, Pick};
pub use error::RouterError;
use event::EventSink;
pub use event::{
    AttemptEnded, Estimate, Event, Failure, Observer, Outcome, Reason, RequestEnded, RequestOutcome, Role, Route,
    Subject, Unreported,
};
pub use explain::{Explained, Explanation};
use history::Named;
use journey::Journey;
pub use policy::Policy;
use provider::{Call, MemoryBudget, NanoUsd, ReplyHead, Request, RequestId, UpstreamId};
use rand::{SeedableRng, rngs::SmallRng};
pub use strategy::{Strategy, StrategyName};
pub use table::{Choice, ModelSpec, Table, TableError, Weight};
use tokio::time::Instant;
pub use upstream::{Blocked, Snapshot, Status, Timeouts, Upstream, UpstreamSpec};
pub use workers::WorkerTime;

/// Who calls, beyond the request itself.
#[derive(Clone)]
pub struct Caller {
    /// The request's id.
    pub request_id: RequestId,
    /// The client key's id.
    pub key: Option<Arc<str>>,
    /// The client key's team.
    pub team: Option<Arc<str>>,
    /// The table that the request is served by: the one in force when it came in, whatever comes into force meanwhile.
    pub table: Arc<Table>,
    /// When the whole request was there: what the router itself takes is counted from here.
    pub arrived: Instant,
    /// The call of the API that it came by.
    pub route: Route,
    /// What is to serve, as [`Table::choose`] reads it, if that is not what the request's body says.
    pub model: Option<String>,
    /// Whether others may serve when an upstream that was named fails.
    pub falls_back: bool,
    /// When the client's patience ends, if that is before the model's own deadline.
    pub deadline: Option<Instant>,
    /// What its bodies and answers are counted in.
    pub memory: MemoryBudget,
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
    pub(crate) fn new(head: ReplyHead, relay: Relay) -> Self {
        let (attempt, attempts) = (relay.attempt(), relay.attempts());
        let (upstream, provider) = (attempt.upstream.spec.id.clone(), attempt.upstream.spec.provider_name);
        let (reason, cost) = (attempt.reason, attempt.cost());
        let answer = Answer::relayed(relay);
        let cost = cost.filter(|_| answer.whole().is_some());
        Self { upstream, provider, attempts, reason, cost, head, answer }
    }
}

/// The router.
pub struct Router {
    table: ArcSwap<Table>,
    sink: Arc<EventSink>,
    /// The seed of the next request's random numbers.
    seed: AtomicU64,
}

impl Router {
    /// A router over `table` that tells `observer` what happens; `seed` makes its random choices repeatable.
    pub fn new(table: Table, observer: Arc<dyn Observer>, seed: u64) -> Self {
        let sink = Arc::new(EventSink::new(observer));
        Self { table: ArcSwap::from_pointee(table), sink, seed: AtomicU64::new(seed) }
    }

    /// Serves `request`, from whichever upstream can.
    pub async fn call(&self, request: &Request, caller: Caller) -> Result<Served, RouterError> {
        let now = Instant::now();
        let table = caller.table;
        let name = caller.model.as_deref().unwrap_or(&request.head.model);
        let choice = table.choose(name);
        let model = choice.as_ref().map(|choice| choice.model.clone());
        let call_id = caller.request_id.clone();
        let subject = Arc::new(Subject {
            request_id: caller.request_id,
            route: caller.route,
            stream: request.head.stream,
            model: model.as_ref().map(|model| model.spec.name.clone()),
            key: caller.key,
            team: caller.team,
        });
        let rng = SmallRng::seed_from_u64(self.seed.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed));
        let mut journey =
            Journey::new(subject, self.sink.clone(), model.clone(), table.version.clone(), rng, caller.arrived);
        let Some(model) = model else {
            let error = RouterError::NoSuchModel(name.to_owned());
            drop(journey.end(error.outcome(), None, now));
            return Err(error);
        };
        let deadline = now + model.spec.deadline;
        let deadline = caller.deadline.map_or(deadline, |sooner| sooner.min(deadline));
        let call = Call { request_id: call_id, deadline, adjustment: None, memory: caller.memory };
        let target = choice.and_then(|choice| choice.target);
        let named = target.map(|target| Named { target, falls_back: caller.falls_back });
        fallback::serve(&model, request, &call, named, journey).await.map_err(|(error, mut journey)| {
            drop(journey.end(error.outcome(), None, Instant::now()));
            error
        })
    }

    /// Says what would become of `request` at this moment, as [`Self::call`] would decide; nobody is called or charged.
    pub fn explain(
        &self,
        table: &Table,
        request: &Request,
        model: Option<&str>,
        falls_back: bool,
    ) -> Result<Explanation, RouterError> {
        let name = model.unwrap_or(&request.head.model);
        let choice = table.choose(name).ok_or_else(|| RouterError::NoSuchModel(name.to_owned()))?;
        Ok(explain::explain(&choice, request, falls_back, self.seed.load(Ordering::Relaxed)))
    }

    /// The table in force.
    pub fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// Puts another table in force. Requests under way finish under the old one.
    pub fn replace_table(&self, table: Table) {
        self.table.store(Arc::new(table));
    }

    /// The router stops: what is dropped from now on was not left by its client.
    pub fn stop(&self) {
        self.sink.stop();
    }

    /// Asks every upstream for its capacity whose turn it is. To be called about once a second.
    pub async fn poll_capacity(&self) {
        let table = self.table.load_full();
        let now = Instant::now();
        futures_util::future::join_all(table.upstreams().map(|upstream| upstream.poll_capacity(now))).await;
    }
}

//! The events that the router sends. Metrics, ledger and access log each render the same ones.

mod outcome;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
pub use outcome::{Estimate, Outcome, RequestOutcome, Unreported};
use provider::{Error, ErrorKind, ModelId, NanoUsd, Operation, RequestId, UpstreamId, UpstreamIds, Usage};
use router::{Policy, Reason, Role, StrategyName};

use crate::record::RecordSink;

/// The call of the API that a request came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// A chat.
    Chat,
    /// A text completion.
    Completions,
    /// Embeddings.
    Embeddings,
    /// Documents in the order of a query.
    Rerank,
    /// Scores of pairs of texts.
    Score,
    /// The text of a recording.
    Transcriptions,
    /// The tokens of a text.
    Tokenize,
    /// The text of tokens.
    Detokenize,
    /// A message of Anthropic's API.
    Messages,
    /// A response of OpenAI's Responses API.
    Responses,
    /// A prompt in the short form.
    Generate,
    /// One of several prompts that came together.
    Batch,
    /// A member of an ensemble, or its judge.
    Ensemble,
}

impl Route {
    /// Every route.
    pub const ALL: [Self; 13] = [
        Self::Chat,
        Self::Completions,
        Self::Embeddings,
        Self::Rerank,
        Self::Score,
        Self::Transcriptions,
        Self::Tokenize,
        Self::Detokenize,
        Self::Messages,
        Self::Responses,
        Self::Generate,
        Self::Batch,
        Self::Ensemble,
    ];

    /// What upstreams are asked for.
    pub const fn operation(self) -> Operation {
        match self {
            Self::Completions => Operation::Completions,
            Self::Embeddings => Operation::Embeddings,
            Self::Rerank => Operation::Rerank,
            Self::Score => Operation::Score,
            Self::Transcriptions => Operation::Transcriptions,
            Self::Tokenize => Operation::Tokenize,
            Self::Detokenize => Operation::Detokenize,
            Self::Chat | Self::Messages | Self::Responses | Self::Generate | Self::Batch | Self::Ensemble => {
                Operation::Chat
            }
        }
    }

    /// The name used in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Responses => "responses",
            Self::Generate => "generate",
            Self::Batch => "batch",
            Self::Ensemble => "ensemble",
            Self::Chat
            | Self::Completions
            | Self::Embeddings
            | Self::Rerank
            | Self::Score
            | Self::Transcriptions
            | Self::Tokenize
            | Self::Detokenize => self.operation().as_str(),
        }
    }
}

impl From<Operation> for Route {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::Chat => Self::Chat,
            Operation::Completions => Self::Completions,
            Operation::Embeddings => Self::Embeddings,
            Operation::Rerank => Self::Rerank,
            Operation::Score => Self::Score,
            Operation::Transcriptions => Self::Transcriptions,
            Operation::Tokenize => Self::Tokenize,
            Operation::Detokenize => Self::Detokenize,
        }
    }
}

/// Who asked for what.
#[derive(Debug, Clone)]
pub struct RequestInfo {
    /// The request's id. A client may choose it, and choose it twice.
    pub request_id: RequestId,
    /// Its number, which no other request of this process has; 0 if it never reached the router.
    pub number: u64,
    /// The call that it came by.
    pub route: Route,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// The public model, if there is one of that name.
    pub model: Option<ModelId>,
    /// The client key's id.
    pub key: Option<Arc<str>>,
    /// The client key's team.
    pub team: Option<Arc<str>>,
    /// What it is for, as its client or its key says: `name=value` pairs in the order of their names, with commas.
    pub tags: Option<Arc<str>>,
    /// What the client asked for, where that is not the model's own name: an alias, a task, an ensemble, or an upstream and its model. As
    /// long as names in the configuration may be.
    pub requested: Option<Arc<str>>,
}

/// One call to one upstream is about to be made.
#[derive(Debug, Clone, Copy)]
pub struct AttemptBegins<'a> {
    /// The request that it is for.
    pub info: &'a RequestInfo,
    /// Its number among the calls of its request, from 1.
    pub number: u32,
    /// The upstream.
    pub upstream: &'a UpstreamId,
    /// What it is among the attempts of its request.
    pub role: Role,
    /// Why the upstream was chosen.
    pub reason: Reason,
    /// The most that it may use, as estimated.
    pub reserved: Usage,
    /// The list price of that, if there is one.
    pub reserved_cost: Option<NanoUsd>,
    /// Which price that is.
    pub price_version: Option<&'a str>,
}

/// One call to one upstream is over.
#[derive(Debug, Clone)]
pub struct AttemptEnded {
    /// The request that it was for. A warm-up call has an id of its own and neither key nor team.
    pub info: Arc<RequestInfo>,
    /// Its number among the calls of its request, from 1.
    pub number: u32,
    /// The upstream.
    pub upstream: UpstreamId,
    /// What it is among the attempts of its request.
    pub role: Role,
    /// What failed just before it, if anything did.
    pub after: Option<(UpstreamId, ErrorKind)>,
    /// How the upstream was chosen.
    pub strategy: StrategyName,
    /// Why it was chosen.
    pub reason: Reason,
    /// How it ended.
    pub outcome: Outcome,
    /// What the upstream counted, if it did.
    pub usage: Option<Usage>,
    /// The list price of that, if both are known, or of the call itself.
    pub cost: Option<NanoUsd>,
    /// Which price that is.
    pub price_version: Option<Arc<str>>,
    /// Its estimated usage, if the upstream worked and reported none, or not the seconds that its price is for.
    pub estimate: Option<Estimate>,
    /// The upstream's own ids of the call and its worker, if reported.
    pub ids: UpstreamIds,
    /// From sending the request to the first token.
    pub first_token: Option<Duration>,
    /// From sending the request to the end.
    pub duration: Duration,
}

/// An attempt that did not serve its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The upstream.
    pub upstream: UpstreamId,
    /// What went wrong.
    pub kind: ErrorKind,
    /// The status of the upstream's answer, or the one that its error stands for, if any.
    pub status: Option<u16>,
    /// The upstream's own ids of the call and its worker, if reported.
    pub ids: UpstreamIds,
    /// From sending the request to the failure.
    pub duration: Duration,
}

/// One client request is over.
#[derive(Debug, Clone)]
pub struct RequestEnded {
    /// Who asked for what.
    pub info: Arc<RequestInfo>,
    /// How it ended.
    pub outcome: RequestOutcome,
    /// How many attempts were made.
    pub attempts: u32,
    /// Those that failed, in order.
    pub failures: Vec<Failure>,
    /// The upstream that served it, or failed last.
    pub upstream: Option<UpstreamId>,
    /// The own ids of the call and its worker at the upstream that served it, if reported.
    pub ids: UpstreamIds,
    /// How that one was chosen.
    pub strategy: Option<StrategyName>,
    /// Why that one was chosen.
    pub reason: Option<Reason>,
    /// Whether the model's shares decided where it goes, see [`router::RequestState::is_by_share`].
    pub is_by_share: bool,
    /// What the serving upstream counted.
    pub usage: Option<Usage>,
    /// The list price of that, or of the call itself.
    pub cost: Option<NanoUsd>,
    /// The estimated usage at the serving upstream, if it reported none, or not the seconds that its price is for.
    pub estimate: Option<Estimate>,
    /// What the model's tokens would cost under other policies.
    pub policies: Arc<[Policy]>,
    /// From the request's arrival at the router to the first token.
    pub first_token: Option<Duration>,
    /// Time in calls to upstreams.
    pub upstream_time: Duration,
    /// Time spent waiting before repeats.
    pub wait_time: Duration,
    /// From the request's arrival at the router to the end.
    pub duration: Duration,
    /// The configuration that it was served under.
    pub config_version: Arc<str>,
}

/// What a call used and costs, as it goes on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Booked {
    /// Whether the router estimated the cost, or the tokens of a call that has none.
    pub is_estimate: bool,
    /// What it used; `None` where the upstream reported nothing, and its price is for the call itself.
    pub usage: Option<Usage>,
    /// The list price of that, if it is known.
    pub cost: Option<NanoUsd>,
}

impl Booked {
    /// A known cost goes before an estimate; `None` if nothing was used.
    fn new(usage: Option<Usage>, cost: Option<NanoUsd>, estimate: Option<Estimate>) -> Option<Self> {
        match (usage, cost, estimate) {
            (_, None, Some(Estimate { usage, cost, .. })) => Some(Self { is_estimate: true, usage: Some(usage), cost }),
            (None, None, None) => None,
            (usage, cost, _) => Some(Self { is_estimate: false, usage, cost }),
        }
    }

    /// Where it comes from: `reported` by the upstream or `estimated`.
    pub const fn source(&self) -> &'static str {
        if self.is_estimate { "estimated" } else { "reported" }
    }
}

impl AttemptEnded {
    /// What goes on record; `None` if nothing was used.
    pub fn booked(&self) -> Option<Booked> {
        Booked::new(self.usage, self.cost, self.estimate)
    }

    /// Whether a client got its answer in full. A warm-up call serves nobody.
    pub fn has_served(&self) -> bool {
        self.outcome == Outcome::Served && self.role != Role::WarmUp
    }
}

impl RequestEnded {
    /// A request that never reached the router.
    pub fn refused(info: RequestInfo, outcome: RequestOutcome, duration: Duration, config_version: Arc<str>) -> Self {
        Self {
            info: Arc::new(info),
            outcome,
            attempts: 0,
            failures: Vec::new(),
            upstream: None,
            ids: UpstreamIds::default(),
            strategy: None,
            reason: None,
            is_by_share: false,
            usage: None,
            cost: None,
            estimate: None,
            policies: Arc::default(),
            first_token: None,
            upstream_time: Duration::ZERO,
            wait_time: Duration::ZERO,
            duration,
            config_version,
        }
    }

    /// What goes on record; `None` if nothing was used.
    pub fn booked(&self) -> Option<Booked> {
        Booked::new(self.usage, self.cost, self.estimate)
    }

    /// What the served tokens would have cost at the model's configured baseline; unknown unless they were counted.
    pub fn baseline_cost(&self) -> Option<NanoUsd> {
        let configured = self.policies.iter().find(|policy| &*policy.name == Policy::CONFIGURED)?;
        configured.price.cost_of_counted(&self.usage?)
    }

    /// The router's own part of the time.
    pub fn overhead(&self) -> Duration {
        self.duration.saturating_sub(self.upstream_time).saturating_sub(self.wait_time)
    }
}

/// Something happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// One call to one upstream is over.
    AttemptEnded(&'a AttemptEnded),
    /// One client request is over: exactly once each, rejections included.
    RequestEnded(&'a RequestEnded),
}

/// What must be done before a request goes on. If it fails, the request fails with it.
pub type Recording = BoxFuture<'static, Result<(), Error>>;

/// Listens to events. Called on the request's path: must not block.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn on(&self, event: &Event<'_>);

    /// What must be done before a call is made; `None` if nothing must.
    fn begin(&self, _begins: &AttemptBegins<'_>) -> Option<Recording> {
        None
    }

    /// What must be done before the end of a complete answer is released; `None` if nothing must. Both events were sent
    /// before.
    fn settle(&self, _served: &AttemptEnded, _ended: &RequestEnded) -> Option<Recording> {
        None
    }

    /// The service ends: returns once every event is written.
    fn close(&self) {}
}

/// Sends events to the observer. While the router stops, a dropped request counts as stopped, not as left by its
/// client.
pub(crate) struct EventSink {
    pub(crate) observer: Arc<dyn Observer>,
    /// Where decisions are recorded, if they are.
    pub(crate) records: Option<RecordSink>,
    is_stopping: AtomicBool,
}

impl EventSink {
    pub(crate) fn new(observer: Arc<dyn Observer>, records: Option<RecordSink>) -> Self {
        Self { observer, records, is_stopping: AtomicBool::new(false) }
    }

    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// How an attempt ended that was dropped.
    pub(crate) fn dropped_attempt(&self) -> Outcome {
        if self.is_stopping() { Outcome::Stopped } else { Outcome::ClientGone }
    }

    /// How a request ended that was dropped.
    pub(crate) fn dropped_request(&self) -> RequestOutcome {
        if self.is_stopping() { RequestOutcome::Stopped } else { RequestOutcome::ClientGone }
    }
}

//! What the router tells the outside. Metrics, ledger and access log each render the same events.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use provider::{ErrorKind, ModelId, NanoUsd, Operation, RequestId, UpstreamId, Usage};

/// Who asked for what.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The request's id.
    pub request_id: RequestId,
    /// What was asked for.
    pub operation: Operation,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// The public model, if there is one of that name.
    pub model: Option<ModelId>,
    /// The client key's id.
    pub key: Option<Arc<str>>,
    /// The client key's team.
    pub team: Option<Arc<str>>,
}

/// Why an upstream was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It was owed the request.
    Share,
    /// The one that was owed the request could not take it.
    Spill,
    /// It is the cheapest that is fast enough.
    Cheapest,
    /// It is the fastest.
    Fastest,
    /// Another upstream failed first.
    Fallback,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::Share, Self::Spill, Self::Cheapest, Self::Fastest, Self::Fallback];

    /// The name used in headers, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Share => "share",
            Self::Spill => "spill",
            Self::Cheapest => "cheapest",
            Self::Fastest => "fastest",
            Self::Fallback => "fallback",
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The answer was complete.
    Served,
    /// It failed.
    Failed(ErrorKind),
    /// The client left first.
    ClientGone,
    /// The router stopped first.
    Stopped,
}

impl Outcome {
    /// The name used in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Failed(kind) => kind.as_str(),
            Self::ClientGone => "client_gone",
            Self::Stopped => "stopped",
        }
    }
}

/// One call to one upstream is over.
#[derive(Debug, Clone)]
pub struct AttemptEnded {
    /// The request that it was for.
    pub subject: Arc<Subject>,
    /// The upstream.
    pub upstream: UpstreamId,
    /// Why it was chosen.
    pub reason: Reason,
    /// How it ended.
    pub outcome: Outcome,
    /// What the upstream counted, if it did.
    pub usage: Option<Usage>,
    /// Its list price for that, if both are known.
    pub cost: Option<NanoUsd>,
    /// From sending the request to the first token.
    pub first_token: Option<Duration>,
    /// From sending the request to the end.
    pub duration: Duration,
}

/// How a request ended, as the client saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestOutcome {
    /// Answered in full.
    Served,
    /// Refused before any attempt; the text is the error code that the client got.
    Rejected(&'static str),
    /// No upstream could answer; the kind is the one that the client was told of.
    Failed(ErrorKind),
    /// The stream broke after the first token.
    Broken(ErrorKind),
    /// The client left first.
    ClientGone,
    /// The router stopped first.
    Stopped,
}

impl RequestOutcome {
    /// The name used in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Rejected(_) => "rejected",
            Self::Failed(_) => "failed",
            Self::Broken(_) => "broken",
            Self::ClientGone => "client_gone",
            Self::Stopped => "stopped",
        }
    }

    /// What exactly went wrong; empty if nothing did.
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Served | Self::ClientGone | Self::Stopped => "",
            Self::Rejected(code) => code,
            Self::Failed(kind) | Self::Broken(kind) => kind.as_str(),
        }
    }
}

/// One client request is over.
#[derive(Debug, Clone)]
pub struct RequestEnded {
    /// Who asked for what.
    pub subject: Arc<Subject>,
    /// How it ended.
    pub outcome: RequestOutcome,
    /// How many attempts were made.
    pub attempts: u32,
    /// The upstream that served it, or failed last.
    pub upstream: Option<UpstreamId>,
    /// Why that one was chosen.
    pub reason: Option<Reason>,
    /// What the serving upstream counted.
    pub usage: Option<Usage>,
    /// Its list price for that.
    pub cost: Option<NanoUsd>,
    /// What the model's baseline would have cost for the same tokens.
    pub baseline_cost: Option<NanoUsd>,
    /// From the request's arrival at the router to the first token.
    pub first_token: Option<Duration>,
    /// From the request's arrival at the router to the end.
    pub duration: Duration,
}

/// Something happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// One call to one upstream is over.
    AttemptEnded(&'a AttemptEnded),
    /// One client request is over: exactly once each, rejections included.
    RequestEnded(&'a RequestEnded),
}

/// Listens to events. Called on the request's path: must not block.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn on(&self, event: &Event<'_>);

    /// What must be done before the end of a complete answer is released; `None` if nothing must.
    fn settle(&self, ended: &RequestEnded) -> Option<BoxFuture<'static, ()>>;
}

/// The way to the observer. It knows whether the router stops: what is dropped then was not left by its client.
pub(crate) struct Teller {
    pub(crate) observer: Arc<dyn Observer>,
    is_stopping: AtomicBool,
}

impl Teller {
    pub(crate) fn new(observer: Arc<dyn Observer>) -> Self {
        Self { observer, is_stopping: AtomicBool::new(false) }
    }

    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    /// How an attempt ended that was dropped.
    pub(crate) fn dropped_attempt(&self) -> Outcome {
        if self.is_stopping.load(Ordering::Acquire) { Outcome::Stopped } else { Outcome::ClientGone }
    }

    /// How a request ended that was dropped.
    pub(crate) fn dropped_request(&self) -> RequestOutcome {
        if self.is_stopping.load(Ordering::Acquire) { RequestOutcome::Stopped } else { RequestOutcome::ClientGone }
    }
}

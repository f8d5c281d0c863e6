//! How attempts and requests end, and the estimated usage of a call whose upstream reports none.

use provider::{ErrorKind, NanoUsd, Usage};
use router::RouterError;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The answer was complete.
    Served,
    /// It failed.
    Failed(ErrorKind),
    /// The client left first.
    ClientGone,
    /// Another call of the request began to answer first, and this one was cancelled.
    Lost,
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
            Self::Lost => "lost",
            Self::Stopped => "stopped",
        }
    }
}

/// How a request ended, as the client saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestOutcome {
    /// Answered in full.
    Served,
    /// Refused before any attempt, for the client's own fault; the text is the error code that the client got.
    Rejected(&'static str),
    /// Refused before any attempt, for lack of room or of upstreams; the text is the error code that the client got.
    Unavailable(&'static str),
    /// No upstream could answer; the kind is that of the error that the client got.
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
            Self::Unavailable(_) => "unavailable",
            Self::Failed(_) => "failed",
            Self::Broken(_) => "broken",
            Self::ClientGone => "client_gone",
            Self::Stopped => "stopped",
        }
    }

    /// How the request's last attempt ended, if it had one under way.
    pub(crate) const fn of_attempt(self) -> Outcome {
        match self {
            Self::Served => Outcome::Served,
            Self::Failed(kind) | Self::Broken(kind) => Outcome::Failed(kind),
            Self::ClientGone => Outcome::ClientGone,
            Self::Rejected(_) | Self::Unavailable(_) | Self::Stopped => Outcome::Stopped,
        }
    }

    /// What exactly went wrong; empty if nothing did.
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Served | Self::ClientGone | Self::Stopped => "",
            Self::Rejected(code) | Self::Unavailable(code) => code,
            Self::Failed(kind) | Self::Broken(kind) => kind.as_str(),
        }
    }
}

/// How a request ended that was not served.
impl From<&RouterError> for RequestOutcome {
    fn from(error: &RouterError) -> Self {
        match error {
            RouterError::NoSuchModel(_) => Self::Rejected("model_not_found"),
            RouterError::Unsupported { .. } => Self::Rejected("unsupported"),
            RouterError::ContextOverflow { .. } => Self::Rejected("context_length_exceeded"),
            RouterError::TooDear { .. } => Self::Rejected("max_cost_exceeded"),
            RouterError::NoUpstream { .. } => Self::Unavailable("no_upstream"),
            RouterError::Failed { error, .. } => Self::Failed(error.kind),
        }
    }
}

/// Why an upstream reported no usage for an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unreported {
    /// The client left before the end.
    ClientGone,
    /// The answer broke off, took too long, or was cut by the router's stop.
    Broken,
    /// The answer was complete and had no usage.
    Missing,
    /// Another call of the request was faster.
    Lost,
}

impl Unreported {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::ClientGone, Self::Broken, Self::Missing, Self::Lost];

    /// The name used in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientGone => "client_gone",
            Self::Broken => "broken",
            Self::Missing => "missing",
            Self::Lost => "lost",
        }
    }
}

/// The estimated usage of an attempt whose upstream reported none: the prompt by its size, the answer by its pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// Why there is no better figure.
    pub reason: Unreported,
    /// The tokens.
    pub usage: Usage,
    /// Their list price, if the upstream has one.
    pub cost: Option<NanoUsd>,
}

//! The one error of an attempt, and the one place that decides what it means for retries and for health.

use std::{fmt, time::Duration};

use crate::UpstreamIds;

/// Which limit a timed-out attempt ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before the first token.
    FirstToken,
    /// Between two events of a stream.
    Gap,
    /// The request's own deadline.
    Deadline,
}

/// What kind of failure an attempt met. Chosen once, by the adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The client's request is wrong; no upstream will do better.
    InvalidRequest,
    /// The prompt does not fit this upstream's context; a larger one may do.
    ContextOverflow,
    /// This upstream cannot do what was asked (tools, embeddings, …); another may.
    Unsupported,
    /// This upstream refused this one request for a reason that says nothing of its own state (moderation, a firewall, a limit
    /// on the size of one request); another may take it.
    Refused,
    /// Our credentials were refused, or the account has no balance.
    Auth,
    /// The upstream, or the model on it, does not exist.
    NotFound,
    /// Our allowance is used up until it resets.
    RateLimited,
    /// The upstream has no room at this moment: its queue is full or no worker is available.
    Overloaded,
    /// No connection; nothing was sent.
    Connect,
    /// Too slow, in the given phase.
    Timeout(Phase),
    /// A server error (5xx, failed job).
    Unavailable,
    /// The connection broke after the request was sent.
    Interrupted,
    /// The answer does not follow the protocol.
    Protocol,
    /// The router has no memory left for the request or its answer: that is no evidence about the upstream.
    NoMemory,
    /// The ledger cannot take the call, and calls without a record are not allowed: no evidence about the upstream either.
    Unrecorded,
    /// A budget of the client has no room for the call: no evidence about the upstream either.
    OverBudget,
}

impl ErrorKind {
    /// Whether another upstream may succeed where this one failed.
    pub const fn moves_on(self) -> bool {
        match self {
            Self::InvalidRequest
            | Self::Timeout(Phase::Deadline)
            | Self::NoMemory
            | Self::Unrecorded => false,
            Self::ContextOverflow
            | Self::Unsupported
            | Self::Refused
            | Self::Auth
            | Self::NotFound
            | Self::RateLimited
            | Self::Overloaded
            | Self::Connect
            | Self::Timeout(Phase::FirstToken | Phase::Gap)
            | Self::Unavailable
            | Self::Interrupted
            | Self::Protocol
            // A cheaper one may fit into what is left.
            | Self::OverBudget => true,
        }
    }

    /// Whether the same upstream may succeed a little later.
    pub const fn repeats_here(self) -> bool {
        match self {
            Self::InvalidRequest
            | Self::ContextOverflow
            | Self::Unsupported
            | Self::Refused
            | Self::Auth
            | Self::NotFound
            | Self::Timeout(_)
            | Self::NoMemory
            | Self::Unrecorded
            | Self::OverBudget => false,
            Self::RateLimited
            | Self::Overloaded
            | Self::Connect
            | Self::Unavailable
            | Self::Interrupted
            | Self::Protocol => true,
        }
    }

    /// Whether the failure says that the upstream is broken, so that its breaker counts it.
    pub const fn counts_against_health(self) -> bool {
        match self {
            Self::InvalidRequest
            | Self::ContextOverflow
            | Self::Unsupported
            | Self::Refused
            | Self::RateLimited
            | Self::Overloaded
            | Self::Timeout(Phase::Deadline)
            | Self::NoMemory
            | Self::Unrecorded
            | Self::OverBudget => false,
            Self::Auth
            | Self::NotFound
            | Self::Connect
            | Self::Timeout(Phase::FirstToken | Phase::Gap)
            | Self::Unavailable
            | Self::Interrupted
            | Self::Protocol => true,
        }
    }

    /// Whether the router itself ended the call: that says nothing about the upstream.
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::NoMemory | Self::Unrecorded | Self::OverBudget)
    }

    /// Whether the upstream refused the request rather than failed it.
    pub const fn is_refusal(self) -> bool {
        match self {
            Self::InvalidRequest | Self::ContextOverflow | Self::Unsupported | Self::Refused => true,
            Self::Auth
            | Self::NotFound
            | Self::RateLimited
            | Self::Overloaded
            | Self::Connect
            | Self::Timeout(_)
            | Self::Unavailable
            | Self::Interrupted
            | Self::Protocol
            | Self::NoMemory
            | Self::Unrecorded
            | Self::OverBudget => false,
        }
    }

    /// How specific the error is for the client: when several upstreams fail, the error of the highest severity is returned.
    ///
    /// What one upstream cannot do says less than the failure of another, which may serve the same request a little later. So
    /// only bad input outranks failures, and the other refusals are the answer only if every upstream refused.
    pub const fn severity(self) -> u8 {
        match self {
            Self::InvalidRequest => 6,
            Self::RateLimited | Self::Overloaded | Self::NoMemory | Self::Unrecorded | Self::OverBudget => 5,
            Self::Unavailable | Self::Timeout(_) | Self::Interrupted | Self::Protocol => 4,
            Self::Connect | Self::Auth | Self::NotFound => 3,
            Self::ContextOverflow => 2,
            Self::Unsupported => 1,
            Self::Refused => 0,
        }
    }

    /// The name used in metrics, logs and headers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::ContextOverflow => "context_overflow",
            Self::Unsupported => "unsupported",
            Self::Refused => "refused",
            Self::Auth => "auth",
            Self::NotFound => "not_found",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Connect => "connect",
            Self::Timeout(Phase::FirstToken) => "timeout_first_token",
            Self::Timeout(Phase::Gap) => "timeout_gap",
            Self::Timeout(Phase::Deadline) => "deadline",
            Self::Unavailable => "unavailable",
            Self::Interrupted => "interrupted",
            Self::Protocol => "protocol",
            Self::NoMemory => "no_memory",
            Self::Unrecorded => "unrecorded",
            Self::OverBudget => "insufficient_quota",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an attempt failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct Error {
    /// The kind, which decides everything.
    pub kind: ErrorKind,
    /// What the upstream said, fit for the client: no secrets, no addresses.
    pub message: String,
    /// The request field that the upstream blamed.
    pub param: Option<String>,
    /// The upstream's error code, in OpenAI's vocabulary.
    pub code: Option<String>,
    /// The upstream's HTTP status, recovered from the body where a 200 hides it.
    pub status: Option<u16>,
    /// How long the upstream asked us to send no calls.
    pub retry_after: Option<Duration>,
    /// What to change for a second call to the same upstream, at once, if that is worth it.
    pub again: Option<Adjustment>,
    /// What the upstream calls the call and its worker, if it says.
    pub ids: UpstreamIds,
}

/// What an adapter changes in a call that is repeated at once. The router repeats it, so that both calls are recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adjustment {
    /// The kept connection was closed by the upstream as the request came: another one is opened.
    FreshConnection,
    /// The field of that name is left out: a top-level one, or a member of every message, as `messages.NAME`.
    Without(String),
    /// The token limit that the router adds is this one; `None` adds none.
    Limit(Option<u64>),
    /// The token limit that the router adds is this one, so that it fits beside the prompt; `None` adds none.
    Fit(Option<u64>),
}

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            param: None,
            code: None,
            status: None,
            retry_after: None,
            again: None,
            ids: UpstreamIds::default(),
        }
    }

    /// Whether the request itself may have caused an error that looks like an outage of the upstream.
    ///
    /// A real vLLM answers some bad input with 500 (an invalid JSON schema, for one), and some prompts make a model
    /// generate what no client can read. So a 500, an error without a status and an unreadable answer count against an
    /// upstream's health only once a different request has failed there too.
    pub fn may_be_poison(&self) -> bool {
        match self.kind {
            ErrorKind::Unavailable => self.status.is_none_or(|status| status == 500),
            ErrorKind::Protocol => true,
            _ => false,
        }
    }
}

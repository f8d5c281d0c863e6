//! Why a request was not served, in terms of routing; the server maps it to HTTP.

use std::time::Duration;

use provider::{Error, ErrorKind, NanoUsd};

/// Why a request was not served.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RouterError {
    /// No model of that name.
    #[error("the model {0:?} does not exist")]
    NoSuchModel(String),
    /// No upstream of the model can do what was asked.
    #[error("no upstream of this model can do that: {what}")]
    Unsupported {
        /// What none of them can do.
        what: &'static str,
    },
    /// The prompt is beyond every upstream's context, by any count.
    #[error("the prompt is longer than the context of every upstream of this model ({context_tokens} tokens at most)")]
    ContextOverflow {
        /// The largest context in tokens.
        context_tokens: u64,
    },
    /// The request may cost more at every upstream than its client wants.
    #[error("the request may cost more than ${max_cost} at every upstream of this model")]
    TooDear {
        /// What the client wants it to cost at most.
        max_cost: NanoUsd,
        /// What it may cost where that is least; `None` if no upstream that could serve it has a price.
        cheapest: Option<NanoUsd>,
    },
    /// Every upstream is broken, out of quota or full at this moment.
    #[error("no upstream of this model can take the request at the moment")]
    NoUpstream {
        /// When one may be able to.
        retry_after: Duration,
    },
    /// Every attempt failed; the error is the one with the highest severity.
    #[error("{error}")]
    Failed {
        /// The error with the highest severity.
        error: Error,
        /// How many attempts were made.
        attempts: u32,
        /// When it may be worth trying again.
        retry_after: Option<Duration>,
    },
}

impl RouterError {
    /// Errors about the client's own request rank above others, see [`ErrorKind::severity`].
    pub fn severity(&self) -> u8 {
        match self {
            Self::NoSuchModel(_) => 0,
            Self::Unsupported { .. } | Self::TooDear { .. } => ErrorKind::Unsupported.severity(),
            Self::ContextOverflow { .. } => ErrorKind::ContextOverflow.severity(),
            Self::NoUpstream { .. } => ErrorKind::Overloaded.severity(),
            Self::Failed { error, .. } => error.kind.severity(),
        }
    }
}

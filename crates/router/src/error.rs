//! Why a request was not served, in words of routing; the server makes HTTP of it.

use std::time::Duration;

use provider::{Error, ErrorKind};

use crate::event::RequestOutcome;

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
    /// Every upstream is broken, out of quota or full at this moment.
    #[error("no upstream of this model can take the request at the moment")]
    NoUpstream {
        /// When one may be able to.
        retry_after: Duration,
    },
    /// Every attempt failed; the error is the most telling one.
    #[error("{error}")]
    Failed {
        /// The most telling error.
        error: Error,
        /// How many attempts were made.
        attempts: u32,
        /// When it may be worth trying again.
        retry_after: Option<Duration>,
    },
}

impl RouterError {
    /// How much it tells the client about its own request, see [`ErrorKind::tells`].
    pub(crate) fn tells(&self) -> u8 {
        match self {
            Self::NoSuchModel(_) => 0,
            Self::Unsupported { .. } => ErrorKind::Unsupported.tells(),
            Self::ContextOverflow { .. } => ErrorKind::ContextOverflow.tells(),
            Self::NoUpstream { .. } => ErrorKind::Overloaded.tells(),
            Self::Failed { error, .. } => error.kind.tells(),
        }
    }

    /// How the request ended.
    pub(crate) fn outcome(&self) -> RequestOutcome {
        match self {
            Self::NoSuchModel(_) => RequestOutcome::Rejected("model_not_found"),
            Self::Unsupported { .. } => RequestOutcome::Rejected("unsupported"),
            Self::ContextOverflow { .. } => RequestOutcome::Rejected("context_length_exceeded"),
            Self::NoUpstream { .. } => RequestOutcome::Unavailable("no_upstream"),
            Self::Failed { error, .. } => RequestOutcome::Failed(error.kind),
        }
    }
}

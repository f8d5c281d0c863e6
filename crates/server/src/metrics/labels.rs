//! Maps outcomes, kinds and reasons to label values. Every match is exhaustive: a new outcome needs a label here.

use dispatch::{Outcome, RequestOutcome};
use provider::{ErrorKind, Usage};

/// The label of a model that does not exist.
pub(super) const OTHER: &str = "other";
/// The label of an upstream that was not asked.
pub(super) const NONE: &str = "none";

/// How a request ended, for those who watch a service level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestClass {
    Ok,
    Error,
    Timeout,
    Cancelled,
    Rejected,
}

impl RequestClass {
    pub(super) const fn of(outcome: RequestOutcome) -> Self {
        match outcome {
            RequestOutcome::Served => Self::Ok,
            RequestOutcome::Rejected(_) => Self::Rejected,
            RequestOutcome::ClientGone => Self::Cancelled,
            RequestOutcome::Unavailable(_) | RequestOutcome::Stopped => Self::Error,
            RequestOutcome::Failed(kind) | RequestOutcome::Broken(kind) => match kind {
                ErrorKind::InvalidRequest
                | ErrorKind::ContextOverflow
                | ErrorKind::Unsupported
                | ErrorKind::OverBudget => Self::Rejected,
                ErrorKind::Timeout(_) => Self::Timeout,
                // Also what a wrong address brings about: somebody must see it.
                ErrorKind::Refused
                | ErrorKind::Auth
                | ErrorKind::NotFound
                | ErrorKind::RateLimited
                | ErrorKind::Overloaded
                | ErrorKind::Connect
                | ErrorKind::Unavailable
                | ErrorKind::Interrupted
                | ErrorKind::Protocol
                | ErrorKind::NoMemory
                | ErrorKind::Unrecorded => Self::Error,
            },
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
        }
    }
}

/// How an attempt ended, for those who watch an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptClass {
    Ok,
    Error,
    Timeout,
    RateLimited,
    Refused,
    Cancelled,
}

impl AttemptClass {
    pub(super) const ALL: [Self; 6] =
        [Self::Ok, Self::Error, Self::Timeout, Self::RateLimited, Self::Refused, Self::Cancelled];

    pub(super) const fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Served => Self::Ok,
            Outcome::ClientGone | Outcome::Lost | Outcome::Stopped => Self::Cancelled,
            Outcome::Failed(kind) => match kind {
                // The upstream did nothing wrong: the router cancelled the call.
                ErrorKind::NoMemory | ErrorKind::Unrecorded | ErrorKind::OverBudget => Self::Cancelled,
                ErrorKind::InvalidRequest
                | ErrorKind::ContextOverflow
                | ErrorKind::Unsupported
                | ErrorKind::Refused => Self::Refused,
                ErrorKind::RateLimited | ErrorKind::Overloaded => Self::RateLimited,
                ErrorKind::Timeout(_) => Self::Timeout,
                ErrorKind::Auth
                | ErrorKind::NotFound
                | ErrorKind::Connect
                | ErrorKind::Unavailable
                | ErrorKind::Interrupted
                | ErrorKind::Protocol => Self::Error,
            },
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::RateLimited => "rate_limited",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The types of tokens, in the order of [`disjoint`].
pub(super) const TOKEN_TYPES: [&str; 4] = ["input", "cached_input", "output", "reasoning"];

/// Usage split so that the parts sum to the whole: upstreams count cached tokens inside the prompt, reasoning inside the answer.
pub(super) fn disjoint(usage: &Usage) -> [u64; 4] {
    let cached = usage.cached_tokens.unwrap_or_default().min(usage.prompt_tokens);
    let reasoning = usage.reasoning_tokens.unwrap_or_default().min(usage.completion_tokens);
    [usage.prompt_tokens - cached, cached, usage.completion_tokens - reasoning, reasoning]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_usage_sum_to_the_whole() {
        let usage = Usage {
            prompt_tokens: 100,
            completion_tokens: 50,
            cached_tokens: Some(60),
            reasoning_tokens: Some(20),
            ..Usage::default()
        };
        assert_eq!(disjoint(&usage), [40, 60, 30, 20]);
        let odd = Usage { prompt_tokens: 10, completion_tokens: 5, cached_tokens: Some(60), ..Usage::default() };
        assert_eq!(disjoint(&odd), [0, 10, 5, 0]);
        assert_eq!(disjoint(&odd).iter().sum::<u64>(), odd.total());
    }
}

//! The outcome of each member of an ensemble, and its cost.

use std::time::Duration;

use provider::{Error, ErrorKind, NanoUsd};
use router::RouterError;
use tokio::time::Instant;

use super::{judge::Verdict, pick::Ballot, reply::Reply};

/// A member of an ensemble, with its outcome.
pub(super) struct Member {
    pub(super) model: String,
    pub(super) outcome: Outcome,
    /// The judge's verdict on its answer.
    pub(super) verdict: Option<Verdict>,
    /// Calls to upstreams, the judge's included.
    pub(super) attempts: u32,
    /// List price of its own answer.
    pub(super) cost: Option<NanoUsd>,
    /// List price of the judge's verdict.
    pub(super) judge_cost: Option<NanoUsd>,
    pub(super) duration: Duration,
}

pub(super) enum Outcome {
    Answered(Reply),
    Failed(RouterError),
    /// Another one was first.
    Cancelled,
}

impl Member {
    pub(super) fn new(model: &str, outcome: Outcome, attempts: u32, cost: Option<NanoUsd>, since: Instant) -> Self {
        let (model, duration) = (model.to_owned(), since.elapsed());
        Self { model, outcome, verdict: None, attempts, cost, judge_cost: Some(NanoUsd(0)), duration }
    }

    pub(super) fn failed(model: &str, error: RouterError, since: Instant) -> Self {
        let (attempts, cost) = (attempts_of(&error), cost_of(&error));
        Self::new(model, Outcome::Failed(error), attempts, cost, since)
    }

    pub(super) fn reply(&self) -> Option<&Reply> {
        match &self.outcome {
            Outcome::Answered(reply) => Some(reply),
            Outcome::Failed(_) | Outcome::Cancelled => None,
        }
    }

    pub(super) fn ballot(&self) -> Option<Ballot<'_>> {
        let reply = self.reply()?;
        Some(Ballot { text: &reply.text, logprob: reply.logprob, verdict: self.verdict.as_ref() })
    }
}

pub(super) fn attempts_of(error: &RouterError) -> u32 {
    match error {
        RouterError::Failed { attempts, .. } => *attempts,
        RouterError::NoSuchModel(_)
        | RouterError::Unsupported { .. }
        | RouterError::ContextOverflow { .. }
        | RouterError::TooDear { .. }
        | RouterError::NoUpstream { .. } => 0,
    }
}

/// The cost of a failure: zero, unless an upstream was cut off amid its work, as in the ledger.
pub(super) fn cost_of(error: &RouterError) -> Option<NanoUsd> {
    match error {
        RouterError::Failed { error, .. } if matches!(error.kind, ErrorKind::Timeout(_)) => None,
        _ => Some(NanoUsd(0)),
    }
}

/// What all of it cost; unknown if any part is.
pub(super) fn cost(members: &[Member]) -> Option<NanoUsd> {
    members.iter().flat_map(|member| [member.cost, member.judge_cost]).sum()
}

pub(super) fn unusable(message: &str) -> RouterError {
    RouterError::Failed { error: Error::new(ErrorKind::Protocol, message), attempts: 0, retry_after: None }
}

/// The error for the client when every member failed: the one of the highest severity; of equals, the earliest
/// member's.
pub(super) fn highest_severity(members: Vec<Member>) -> RouterError {
    let made = members.iter().map(|member| member.attempts).sum();
    let errors = members.into_iter().filter_map(|member| match member.outcome {
        Outcome::Failed(error) => Some(error),
        Outcome::Answered(_) | Outcome::Cancelled => None,
    });
    let worst = errors.reduce(|worst, error| if error.severity() > worst.severity() { error } else { worst });
    match worst {
        Some(RouterError::Failed { error, retry_after, .. }) => {
            RouterError::Failed { error, attempts: made, retry_after }
        }
        Some(error) => error,
        None => unusable("the ensemble has no members"),
    }
}

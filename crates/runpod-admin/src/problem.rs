//! How the management API words its refusals: problem documents after RFC 9457.

use openai::{Dialect, ErrorBody, Failure, blame::ErrorFormat, classify};
use provider::{Error, ErrorKind};
use serde::Deserialize;

/// The management API's wording.
pub(super) struct ProblemDialect;

#[derive(Deserialize)]
struct Problem {
    title: String,
    detail: String,
    /// Each failed rule of a request that was not valid.
    #[serde(default)]
    errors: Vec<String>,
}

impl Dialect for ProblemDialect {
    fn classify(&self, failure: &Failure<'_>) -> Error {
        let said = serde_json::from_slice(failure.body).map_or_else(|_| ErrorBody::parse(failure.body), read);
        let mut error = classify(ErrorFormat::RunPod, failure, &said);
        // The user calls this API directly, so the message says whether the key or the address is wrong.
        error.kind = match failure.status {
            401..=403 => ErrorKind::Auth,
            404 => ErrorKind::NotFound,
            _ => error.kind,
        };
        if said.message.is_none() {
            error.message = format!("RunPod answered {} without saying why", failure.status);
        }
        error
    }
}

fn read(problem: Problem) -> ErrorBody {
    let mut message = if problem.detail.is_empty() { problem.title } else { problem.detail };
    for rule in &problem.errors {
        message.push_str("\n  - ");
        message.push_str(rule);
    }
    ErrorBody { message: Some(message), ..ErrorBody::default() }
}

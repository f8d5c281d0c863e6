//! Every failure of an upstream becomes one [`Error`] here, its kind decided by [`crate::blame`].
//!
//! Providers agree on little: errors come wrapped, flat, as a bare string, as `FastAPI`'s `detail`; with the status as an
//! integer code, or only inside a 200. So the body is read leniently, and the status that it names is recovered first.

use std::time::Duration;

use http::header::{DATE, HeaderMap, RETRY_AFTER};
use provider::{Error, ErrorKind, Operation, UpstreamIds};

use crate::{
    blame::{self, Answer, ErrorFormat, Signal},
    body::{ErrorBody, Shape},
    quota::{duration, quota},
};

/// Longest message that is passed on, in bytes.
const MAX_MESSAGE: usize = 2_000;

/// A reply that reports a failure.
#[derive(Clone, Copy)]
pub struct Failure<'a> {
    /// What was asked for, if that is known.
    pub operation: Option<Operation>,
    /// The HTTP status as sent.
    pub status: u16,
    /// The headers as sent; empty for an error within a stream.
    pub headers: &'a HeaderMap,
    /// The body, or the payload of the event.
    pub body: &'a [u8],
}

/// What a finish reason means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The choice is complete, in OpenAI's words.
    Known,
    /// The choice is complete; this is OpenAI's word for it.
    Renamed(&'static str),
    /// A word that is not known: the choice is complete if the rest of the answer ends well.
    Unknown,
    /// The choice failed.
    Failed,
}

/// How one provider writes its errors and finish reasons.
pub trait Dialect: Send + Sync {
    /// The format of this provider's errors.
    fn error_format(&self) -> ErrorFormat {
        ErrorFormat::OpenAi
    }

    /// Turns a failure into an error.
    fn classify(&self, failure: &Failure<'_>) -> Error {
        classify(self.error_format(), failure, &ErrorBody::parse(failure.body))
    }

    /// Turns an error within a 200, streamed or whole, into an error.
    fn in_band(&self, body: &[u8], operation: Option<Operation>) -> Error {
        self.classify(&Failure { operation, status: 200, headers: &HeaderMap::new(), body })
    }

    /// What a finish reason, which is not empty, means.
    fn finish(&self, reason: &str) -> Finish {
        finish(reason)
    }
}

/// OpenAI's finish reasons, and those of vLLM that end an answer before its time.
pub fn finish(reason: &str) -> Finish {
    match reason {
        "stop" | "length" | "tool_calls" | "content_filter" | "function_call" => Finish::Known,
        "error" | "abort" => Finish::Failed,
        _ => Finish::Unknown,
    }
}

/// OpenAI's own wording, and vLLM's.
pub struct OpenAiDialect;

impl Dialect for OpenAiDialect {}

/// Turns a failure whose body says `said` into an error.
pub fn classify(format: ErrorFormat, failure: &Failure<'_>, said: &ErrorBody) -> Error {
    let status = match failure.status {
        sent @ 300.. => sent,
        // An error inside a success: what the body names, or a server error if it names nothing.
        _ => said.status.unwrap_or(500),
    };
    let left = quota(failure.headers);
    let row = blame::row(&Signal::Answer(Answer {
        format,
        operation: failure.operation,
        sent: failure.status,
        status,
        said,
        has_tokens_left: left.tokens.is_some_and(|tokens| tokens > 0),
    }));
    let code = match row.kind {
        ErrorKind::ContextOverflow => Some("context_length_exceeded".to_owned()),
        _ if row.name == blame::JOB_WAITS => Some(blame::JOB_WAITS.to_owned()),
        _ => said.code.clone(),
    };
    let job_id = said.job.as_ref().and(said.job_id.clone());
    let is_named = failure.status >= 300 || said.status.is_some();
    Error {
        message: message(failure, said, status),
        param: said.param.clone(),
        code,
        // A refusal for the request's content is passed on to the client, whatever its status.
        status: if row.name == "moderation" { Some(400) } else { is_named.then_some(status) },
        retry_after: retry_after(failure.headers).or(left.exhausted_for),
        ids: UpstreamIds::new(job_id, None, None),
        ..Error::new(row.kind, "")
    }
}

/// The message of the error. It names no address, because it may reach the client.
fn message(failure: &Failure<'_>, said: &ErrorBody, status: u16) -> String {
    match &said.message {
        _ if (300..400).contains(&failure.status) => {
            format!(
                "the upstream answered with a redirect ({status}), which is not followed: its base_url leads elsewhere"
            )
        }
        Some(message) => truncate(message),
        None if said.shape == Shape::Page => format!("the upstream answered {status} with a web page"),
        None if failure.status < 300 && said.shape == Shape::Empty => "the upstream sent an empty answer".to_owned(),
        None => match said.job.as_deref() {
            Some("IN_QUEUE" | "IN_PROGRESS") => "the upstream's job did not finish in time".to_owned(),
            Some(job) => format!("the upstream's job ended as {}", job.to_ascii_lowercase().replace('_', " ")),
            None => format!("the upstream answered {status} without saying why"),
        },
    }
}

fn truncate(message: &str) -> String {
    message[..message.floor_char_boundary(MAX_MESSAGE)].to_owned()
}

/// Reads `retry-after-ms`, or `Retry-After` in seconds or as a date. A date is read against the reply's own `Date`, so
/// that neither clock has to be right.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // Rust would read a number with a sign as well, which no server sends.
    let millis = text("retry-after-ms").map(str::trim).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    if let Some(millis) = millis.and_then(|text| text.parse().ok()) {
        return Some(Duration::from_millis(millis));
    }
    let value = text(RETRY_AFTER.as_str())?;
    if let Some(wait) = duration(value) {
        return Some(wait);
    }
    let until = httpdate::parse_http_date(value).ok()?;
    let sent = httpdate::parse_http_date(text(DATE.as_str())?).ok()?;
    Some(until.duration_since(sent).unwrap_or_default())
}

#[cfg(test)]
mod tests;

//! What RunPod's failures mean: the refusal that a failed job hides, and the states of a job that nobody worked on.
//!
//! The worker turns what vLLM refused into a failed job whose error is a Python dictionary as text. The endpoint answers it
//! with HTTP 500 or with HTTP 200, depending on its age. Newer workers quote vLLM's reply (`vLLM returned HTTP 404: {…}`);
//! older ones put vLLM's own error there. Either way the refusal is read as if vLLM had sent it, so that both kinds of
//! endpoint classify alike.

use openai::{Dialect, ErrorBody, Failure, classify};
use provider::{Error, ErrorKind};
use serde_json::Value;

use crate::literal::dictionary;

/// How RunPod words its failures.
pub(crate) struct RunPodDialect;

impl Dialect for RunPodDialect {
    fn classify(&self, failure: &Failure<'_>) -> Error {
        let said = ErrorBody::parse(failure.body);
        match Job::of(failure.body) {
            Some(Job::Waiting) => return Error::new(ErrorKind::Overloaded, "no worker took the request in time"),
            Some(Job::Ended(state)) if said.message.is_none() => {
                return Error::new(ErrorKind::Unavailable, format!("the upstream's job ended as {state}"));
            }
            Some(Job::Ended(_)) | None => {}
        }
        let stated = said.message.as_deref().and_then(dictionary).map(|stated| Value::Object(stated).to_string());
        let said = stated.map_or(said, |stated| ErrorBody::parse(stated.as_bytes()));
        if let Some(status) = said.status {
            // The status that vLLM meant, whatever the endpoint made of it.
            return classify(&Failure { status, ..*failure }, &said);
        }
        let Some((status, quoted)) = said.message.as_deref().and_then(quoted) else { return classify(failure, &said) };
        classify(&Failure { status, body: quoted.as_bytes(), ..*failure }, &read_quoted(quoted))
    }
}

/// A job that came back in place of an answer.
enum Job {
    /// Nobody took it, or nobody finished it, while the endpoint waited.
    Waiting,
    /// It ended without an answer.
    Ended(&'static str),
}

impl Job {
    fn of(body: &[u8]) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).ok()?;
        match body.get("status")?.as_str()? {
            "IN_QUEUE" | "IN_PROGRESS" => Some(Self::Waiting),
            "FAILED" => Some(Self::Ended("failed")),
            "TIMED_OUT" => Some(Self::Ended("timed out")),
            "CANCELLED" => Some(Self::Ended("cancelled")),
            _ => None,
        }
    }
}

/// The status and the body in `… HTTP 404: {…}`.
fn quoted(message: &str) -> Option<(u16, &str)> {
    let (_, rest) = message.split_once("HTTP ")?;
    let (digits, rest) = rest.split_at_checked(3)?;
    let status = digits.parse().ok().filter(|status| (400..600).contains(status))?;
    let body = rest.strip_prefix(':').unwrap_or(rest).trim_ascii();
    Some((status, body))
}

/// Reads a quoted body; one that is not JSON, or was cut, is its own message.
fn read_quoted(quoted: &str) -> ErrorBody {
    let start = quoted.find('{').unwrap_or(quoted.len());
    let json = serde_json::Deserializer::from_str(&quoted[start..]).into_iter::<Value>().next();
    match json {
        Some(Ok(json)) => ErrorBody::parse(json.to_string().as_bytes()),
        Some(Err(_)) | None => {
            ErrorBody { message: (!quoted.is_empty()).then(|| quoted.to_owned()), ..ErrorBody::default() }
        }
    }
}

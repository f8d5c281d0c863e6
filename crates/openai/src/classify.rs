//! Every failure of an upstream becomes one [`Error`] here, its kind decided once.
//!
//! Providers agree on little: errors come wrapped, flat, as a bare string, as FastAPI's `detail`; with the status as an
//! integer code, or only inside a 200. So the body is read leniently and the status that was *meant* is recovered first.

use std::time::Duration;

use provider::{Error, ErrorKind, Operation};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use serde_json::{Map, Value};

use crate::quota::{duration, quota};

/// Longest message that is passed on, in bytes.
const MAX_MESSAGE: usize = 2_000;

/// A reply that is no answer.
pub struct Failure<'a> {
    /// The HTTP status as sent.
    pub status: u16,
    /// The headers as sent; empty for an error within a stream.
    pub headers: &'a HeaderMap,
    /// The body, or the payload of the event.
    pub body: &'a [u8],
}

/// How one provider words its failures.
pub trait Dialect: Send + Sync {
    /// Turns a failure into an error.
    fn classify(&self, failure: &Failure<'_>) -> Error {
        classify(failure, &ErrorBody::parse(failure.body))
    }

    /// Turns an error within a 200, streamed or whole, into an error.
    fn in_band(&self, body: &[u8]) -> Error {
        self.classify(&Failure { status: 200, headers: &HeaderMap::new(), body })
    }
}

/// OpenAI's own wording, and vLLM's.
pub struct OpenAiDialect;

impl Dialect for OpenAiDialect {}

/// What an error body says, whatever its shape.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorBody {
    /// The message.
    pub message: Option<String>,
    /// The type, such as `BadRequestError`.
    pub kind: Option<String>,
    /// The field to blame.
    pub param: Option<String>,
    /// The code, if it is a word.
    pub code: Option<String>,
    /// The status that the body names, if any.
    pub status: Option<u16>,
}

impl ErrorBody {
    /// Reads a body of any of the known shapes.
    pub fn parse(body: &[u8]) -> Self {
        let Ok(Value::Object(outer)) = serde_json::from_slice::<Value>(body) else { return Self::default() };
        let mut parsed = match outer.get("error") {
            Some(Value::Object(inner)) => Self::fields(inner),
            Some(Value::String(text)) => Self { message: Some(text.clone()), ..Self::default() },
            _ => Self::fields(&outer),
        };
        parsed.status = parsed.status.or_else(|| status(outer.get("status_code")));
        parsed
    }

    fn fields(map: &Map<String, Value>) -> Self {
        let text = |key: &str| map.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
        let detail = || match map.get("detail")? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        Self {
            message: text("message").or_else(detail),
            kind: text("type"),
            param: text("param").and_then(|param| field(&param)),
            code: text("code").filter(|code| code.parse::<u16>().is_err()),
            status: status(map.get("code")),
        }
    }

    fn mentions(&self, phrase: &str) -> bool {
        self.message.as_deref().is_some_and(|message| message.contains(phrase))
    }
}

/// The field in FastAPI's path to it, if the path leads to one and not to an offset in the text.
fn field(path: &str) -> Option<String> {
    let field = path.strip_prefix("body.").unwrap_or(path);
    let is_field = field != "body" && !field.bytes().all(|byte| byte.is_ascii_digit());
    is_field.then(|| field.to_owned())
}

fn status(value: Option<&Value>) -> Option<u16> {
    let value = value?;
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    u16::try_from(number).ok().filter(|status| (400..600).contains(status))
}

/// What an error means for what was asked. Every upstream has chats: where their path is not found, the address is wrong.
pub(crate) fn asked(operation: Operation, error: Error) -> Error {
    if operation == Operation::Chat && (error.kind, error.status) == (ErrorKind::Unsupported, Some(404)) {
        return Error { kind: ErrorKind::NotFound, ..error };
    }
    error
}

/// Turns a failure whose body says `said` into an error.
pub fn classify(failure: &Failure<'_>, said: &ErrorBody) -> Error {
    let status = match failure.status {
        sent @ 400.. => sent,
        // An error inside a success: what the body names, or a server error if it names nothing.
        _ => said.status.unwrap_or(500),
    };
    let kind = kind(status, said);
    let message = match &said.message {
        Some(message) => truncate(message),
        None if failure.status < 400 && failure.body.trim_ascii().is_empty() => {
            "the upstream sent an empty answer".to_owned()
        }
        None => format!("the upstream answered {status} without saying why"),
    };
    let code =
        if kind == ErrorKind::ContextOverflow { Some("context_length_exceeded".to_owned()) } else { said.code.clone() };
    let status = (failure.status >= 400 || said.status.is_some()).then_some(status);
    let retry_after = retry_after(failure.headers).or_else(|| quota(failure.headers).exhausted_for);
    Error { kind, message, param: said.param.clone(), code, status, retry_after }
}

fn kind(status: u16, said: &ErrorBody) -> ErrorKind {
    if said.mentions("no workers available") {
        return ErrorKind::Overloaded;
    }
    match status {
        400 | 413 | 422 if overflows(said) => ErrorKind::ContextOverflow,
        400 | 413 | 422 if exceeds_the_model(said) => ErrorKind::Unsupported,
        401..=403 => ErrorKind::Auth,
        404 if names_a_model(said) => ErrorKind::NotFound,
        // A path that the upstream does not serve: embeddings on a chat model, for one.
        404 if said.message.as_deref() == Some("Not Found") => ErrorKind::Unsupported,
        404 => ErrorKind::NotFound,
        // Too long for this upstream's limit on bodies, which differ widely.
        405 | 413 | 501 => ErrorKind::Unsupported,
        408 | 425 => ErrorKind::Unavailable,
        429 => ErrorKind::RateLimited,
        529 => ErrorKind::Overloaded,
        400..=499 => ErrorKind::InvalidRequest,
        500.. => ErrorKind::Unavailable,
        _ => ErrorKind::Protocol,
    }
}

fn overflows(said: &ErrorBody) -> bool {
    said.code.as_deref() == Some("context_length_exceeded")
        || said.mentions("maximum context length")
        || said.mentions("cannot be greater than max_model_len")
}

/// The request is fine, but not for this deployment.
fn exceeds_the_model(said: &ErrorBody) -> bool {
    said.mentions("--tool-call-parser") || said.mentions("is not a multimodal model")
}

fn names_a_model(said: &ErrorBody) -> bool {
    said.kind.as_deref() == Some("NotFoundError") || said.code.as_deref() == Some("model_not_found")
}

fn truncate(message: &str) -> String {
    let mut end = message.len().min(MAX_MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end].to_owned()
}

/// Reads `retry-after-ms`, or `Retry-After` in seconds or as a date. A date is read against the reply's own `Date`, so
/// that neither clock has to be right.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(millis) = text("retry-after-ms").and_then(|text| text.trim().parse::<u64>().ok()) {
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
mod tests {
    use super::*;

    fn error(status: u16, body: &str) -> Error {
        OpenAiDialect.classify(&Failure { status, headers: &HeaderMap::new(), body: body.as_bytes() })
    }

    #[test]
    fn every_shape_of_error_is_read() {
        let cases = [
            (400, r#"{"error":{"message":"m","type":"t","param":"p","code":400}}"#, ErrorKind::InvalidRequest, "m"),
            (
                400,
                r#"{"message":"m","type":"t","param":"p","code":"wrong_api_format"}"#,
                ErrorKind::InvalidRequest,
                "m",
            ),
            (401, r#"{"error":"Unauthorized"}"#, ErrorKind::Auth, "Unauthorized"),
            (403, r#"{"detail":"Not authenticated"}"#, ErrorKind::Auth, "Not authenticated"),
            (200, r#"{"object":"error","message":"m","code":404,"type":"NotFoundError"}"#, ErrorKind::NotFound, "m"),
            (200, r#"{"error":{"message":"m"},"status_code":429}"#, ErrorKind::RateLimited, "m"),
            (200, "", ErrorKind::Unavailable, "the upstream sent an empty answer"),
            (413, "", ErrorKind::Unsupported, "the upstream answered 413 without saying why"),
            (502, "<html>", ErrorKind::Unavailable, "the upstream answered 502 without saying why"),
            (500, r#"{"error":"no workers available"}"#, ErrorKind::Overloaded, "no workers available"),
        ];
        for (status, body, kind, message) in cases {
            let error = error(status, body);
            assert_eq!((error.kind, error.message.as_str()), (kind, message), "{status} {body}");
        }
    }

    #[test]
    fn an_overflow_gets_the_code_that_clients_look_for() {
        let error =
            error(400, r#"{"error":{"message":"This model's maximum context length is 2048 tokens.","code":400}}"#);
        assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::ContextOverflow, Some("context_length_exceeded")));
    }

    #[test]
    fn a_date_to_retry_after_is_read_against_the_replys_own_clock() {
        let mut headers = HeaderMap::new();
        let mut set =
            |name, value: &'static str| headers.insert(name, reqwest::header::HeaderValue::from_static(value));
        set(DATE, "Sun, 06 Nov 1994 08:49:30 GMT");
        set(RETRY_AFTER, "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        assert!(truncate(&"é".repeat(5_000)).len() <= MAX_MESSAGE);
    }
}

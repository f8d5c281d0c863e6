//! Every error that a client can see: its HTTP status and its body, in OpenAI's shape or Anthropic's, made here and nowhere else.
//!
//! A 429 means that the key's own limit is reached, a 503 that the router or its upstreams have no room. The SDKs of
//! OpenAI repeat 429 and 5xx by themselves; an error that the router has already tried to avoid carries
//! `x-should-retry: false`, or the load would triple.

mod anthropic;
mod keys;
mod reports;
mod stream;
mod unserved;
mod wishes;

use std::{borrow::Cow, time::Duration};

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::{StatusCode, header},
};
use dispatch::RequestOutcome;
use provider::{Error, ErrorKind, InvalidRequest, NoMemory, Operation};
use router::{Ensemble, RouterError};
use serde::Serialize;
use settings::TagError;
use utoipa::ToSchema;

use crate::{api::dialect, limits::RateLimitStatus};

/// Seconds.
const LONGEST_RETRY_AFTER: u64 = 120;
const SHUTDOWN_CODE: &str = "router_shutdown";
const SHUTDOWN_MESSAGE: &str = "the router is shutting down: retry your request";

/// The whole answer to a head that took too long: there is no request to build a response for.
pub(crate) const HEAD_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// An error as the client sees it.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    code: Cow<'static, str>,
    param: Option<String>,
    message: String,
    retry_after: Option<Duration>,
    is_final: bool,
    allow: Option<&'static str>,
    /// On the heap: few errors have one.
    rate_limit: Option<Box<RateLimitStatus>>,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            code: code.into(),
            param: None,
            message: message.into(),
            retry_after: None,
            is_final: false,
            allow: None,
            rate_limit: None,
        }
    }

    fn bad_request(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(status, "invalid_request_error", code, message)
    }

    pub(crate) fn overloaded() -> Self {
        let message = "the router has as many requests under way as it may: try again in a moment";
        let mut error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", "overloaded", message);
        error.retry_after = Some(Duration::from_secs(1));
        error
    }

    pub(crate) fn too_many_batches() -> Self {
        let message = "the router answers as many batches as it may: try again in a moment, or send single requests";
        let mut error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", "overloaded", message);
        error.retry_after = Some(Duration::from_secs(1));
        error
    }

    pub(crate) fn too_many_batches_of_key() -> Self {
        let message = "this key has as many batches under way as it may: wait for one to end, or send single requests";
        let mut error =
            Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "concurrency_limit_exceeded", message);
        error.retry_after = Some(Duration::from_secs(1));
        error
    }

    /// Whether it is the router's own failure.
    pub(crate) fn is_routers_own(&self) -> bool {
        self.status.is_server_error()
    }

    pub(crate) fn batch_too_long(deadline: Duration) -> Self {
        let message =
            format!("the batch was not complete after {} s: send the rest as another one", deadline.as_secs());
        Self::new(StatusCode::GATEWAY_TIMEOUT, "server_error", "batch_timeout", message)
    }

    pub(crate) fn shutting_down() -> Self {
        let mut error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", SHUTDOWN_CODE, SHUTDOWN_MESSAGE);
        error.retry_after = Some(Duration::from_secs(1));
        error
    }

    pub(crate) fn body_too_large(limit: usize) -> Self {
        let message = format!(
            "the body is larger than {limit} bytes: shorten the conversation, send images by URL, or compress the recording"
        );
        Self::bad_request(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
    }

    pub(crate) fn body_too_slow() -> Self {
        let message = "the body did not arrive in time: send it without pauses";
        Self::bad_request(StatusCode::REQUEST_TIMEOUT, "body_timeout", message)
    }

    pub(crate) fn body_broken() -> Self {
        Self::bad_request(
            StatusCode::BAD_REQUEST,
            "body_incomplete",
            "the body could not be read to its end: send it again",
        )
    }

    pub(crate) fn duplicate_header(name: &str) -> Self {
        let message = format!("the request has several {name} headers: send the header '{name}' once");
        Self::bad_request(StatusCode::BAD_REQUEST, "duplicate_header", message)
    }

    /// A defect of the router. The request may cause it, so the SDKs must not repeat it.
    pub(crate) fn panicked() -> Self {
        let message = "the router failed to handle this request: whoever runs it finds the cause in its log";
        let mut error = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "internal_error", message);
        error.is_final = true;
        error
    }

    pub(crate) fn not_json() -> Self {
        let message = "the body must be JSON: send the header 'Content-Type: application/json'";
        Self::bad_request(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    pub(crate) fn not_form() -> Self {
        let message = "the body must be a form with the recording as its 'file': send it as 'Content-Type: multipart/form-data', \
                       which clients' libraries do";
        Self::bad_request(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    pub(crate) fn encoded() -> Self {
        let message = "compressed bodies are not accepted: send the body as it is, without 'Content-Encoding'";
        Self::bad_request(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", message)
    }

    pub(crate) fn no_such_model(name: &str) -> Self {
        let shown: String = name.chars().take(64).collect();
        let message = format!("the model {shown:?} does not exist: GET /v1/models lists those that do");
        let mut error = Self::bad_request(StatusCode::NOT_FOUND, "model_not_found", message);
        error.param = Some("model".to_owned());
        error
    }

    pub(crate) fn nothing_to_reload() -> Self {
        let message = "there is no configuration file to reload: the router runs the demo";
        Self::bad_request(StatusCode::CONFLICT, "nothing_to_reload", message)
    }

    pub(crate) fn no_decisions() -> Self {
        let message = "no decisions are kept in memory: set decisions.ring above 0 and restart the router";
        Self::bad_request(StatusCode::CONFLICT, "decisions_off", message)
    }

    pub(crate) fn bad_query(mistake: &str) -> Self {
        let message = format!("{mistake}: the query takes request_id, model, team and limit");
        Self::bad_request(StatusCode::BAD_REQUEST, "invalid_query", message)
    }

    pub(crate) fn bad_configuration(problems: &str) -> Self {
        let message = format!("the configuration was not reloaded, the old one stays in force:\n{problems}");
        Self::bad_request(StatusCode::UNPROCESSABLE_ENTITY, "invalid_configuration", message)
    }

    pub(crate) fn no_such_task<'a>(task: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let shown: String = task.chars().take(64).collect();
        let known: Vec<_> = known.collect();
        let known =
            if known.is_empty() { "none is configured".to_owned() } else { format!("there are {}", known.join(", ")) };
        let message = format!("the task {shown:?} does not exist: {known}");
        let mut error = Self::bad_request(StatusCode::NOT_FOUND, "task_not_found", message);
        error.param = Some("model".to_owned());
        error
    }

    pub(crate) fn no_such_ensemble<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Self {
        let shown: String = name.chars().take(64).collect();
        let known: Vec<_> = known.map(String::as_str).collect();
        let known =
            if known.is_empty() { "none is configured".to_owned() } else { format!("there are {}", known.join(", ")) };
        let message = format!("the ensemble {shown:?} does not exist: {known}");
        let mut error = Self::bad_request(StatusCode::NOT_FOUND, "ensemble_not_found", message);
        error.param = Some("model".to_owned());
        error
    }

    /// An ensemble where only one model can serve.
    pub(crate) fn ensemble_is_for_chats(ensemble: &Ensemble) -> Self {
        let message = format!("{} only answers chats: name a model instead", ensemble.name);
        let mut error = Self::bad_request(StatusCode::BAD_REQUEST, "unsupported", message);
        error.param = Some("model".to_owned());
        error
    }

    /// An ensemble where one decision is to be explained.
    pub(crate) fn ensemble_has_no_decision(ensemble: &Ensemble) -> Self {
        let mut members = ensemble.members.clone();
        members.dedup();
        let message =
            format!("{} asks all of its members: explain one of them instead: {}", ensemble.name, members.join(", "));
        let mut error = Self::bad_request(StatusCode::BAD_REQUEST, "unsupported", message);
        error.param = Some("model".to_owned());
        error
    }

    pub(crate) fn no_such_model_there(upstream: &str, models: &[&str]) -> Self {
        let message = match models {
            [] => format!("no model uses the upstream {upstream:?}: GET /v1/models lists those that can be asked for"),
            models => format!(
                "the upstream {upstream:?} has no such model: {upstream}/{} would be one",
                models.join(&format!(" or {upstream}/"))
            ),
        };
        let mut error = Self::bad_request(StatusCode::NOT_FOUND, "model_not_found", message);
        error.param = Some("model".to_owned());
        error
    }

    pub(crate) fn nothing_named() -> Self {
        let message = "'model' or 'task' is required: GET /v1/models lists what there is";
        let mut error = Self::bad_request(StatusCode::BAD_REQUEST, "invalid_request", message);
        error.param = Some("model".to_owned());
        error
    }

    /// The status and the code, as the client sees them.
    pub(crate) fn status_and_code(&self) -> (u16, &str) {
        (self.status.as_u16(), &self.code)
    }

    /// The outcome of a request that got this error before it reached the router.
    pub(crate) fn outcome(&self) -> RequestOutcome {
        let code = match &self.code {
            Cow::Borrowed(code) => code,
            Cow::Owned(_) => "upstream",
        };
        if self.status.is_server_error() { RequestOutcome::Unavailable(code) } else { RequestOutcome::Rejected(code) }
    }

    /// The response, built on one that may have headers already.
    pub(crate) fn respond(&self, mut response: HttpResponseBuilder) -> HttpResponse {
        let anthropic = dialect::anthropic_request(&response);
        response.status(if anthropic.is_some() { self.anthropic_status() } else { self.status });
        if let Some(wait) = self.retry_after {
            response.insert_header((header::RETRY_AFTER, retry_after_seconds(wait)));
        }
        if self.is_final {
            response.insert_header(("x-should-retry", "false"));
        }
        if let Some(allow) = self.allow {
            response.insert_header((header::ALLOW, allow));
        }
        if let Some(status) = &self.rate_limit {
            dialect::add_status(&mut response, status);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        response.content_type("application/json");
        match anthropic {
            Some(id) => response.body(self.anthropic_body(id.as_str())),
            None => response.body(self.body()),
        }
    }

    /// The error object without its envelope, to embed in a larger body.
    pub(crate) fn to_value(&self) -> serde_json::Value {
        // Plain strings always serialise.
        serde_json::to_value(self.inside()).unwrap_or_default()
    }

    fn inside(&self) -> ErrorBody<'_> {
        let code = (!self.code.is_empty()).then_some(&*self.code);
        ErrorBody { message: &self.message, kind: self.kind, param: self.param.as_deref(), code, request_id: None }
    }

    fn body(&self) -> String {
        to_json(self.inside())
    }
}

/// What `Retry-After` says: rounded up, because a client that comes back a moment too early is refused again, and never
/// above the longest wait that the SDKs of OpenAI accept.
fn retry_after_seconds(wait: Duration) -> u64 {
    let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
    seconds.clamp(1, LONGEST_RETRY_AFTER)
}

/// The inside of an error in OpenAI's shape.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorBody<'a> {
    /// What is wrong and what to change.
    message: &'a str,
    /// Who has to act: `invalid_request_error`, `permission_error`, `rate_limit_error` or `server_error`; in a stream also
    /// `upstream_error`.
    #[serde(rename = "type")]
    kind: &'a str,
    /// The field to blame, if one is.
    #[schema(required)]
    param: Option<&'a str>,
    #[schema(required)]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

/// What every refusal and failure answers.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub(crate) struct ErrorReply<'a> {
    error: ErrorBody<'a>,
}

fn to_json(error: ErrorBody<'_>) -> String {
    // Plain strings always serialise.
    serde_json::to_string(&ErrorReply { error }).unwrap_or_default()
}

/// The client may repeat such a request at once after `retry-after`: no upstream was called, so a repeat multiplies nothing.
impl From<NoMemory> for ApiError {
    fn from(none: NoMemory) -> Self {
        let mut error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", "overloaded", none.to_string());
        error.retry_after = Some(Duration::from_secs(1));
        error
    }
}

impl From<TagError> for ApiError {
    fn from(error: TagError) -> Self {
        Self::bad_request(StatusCode::BAD_REQUEST, "invalid_tags", error.to_string())
    }
}

impl From<InvalidRequest> for ApiError {
    fn from(invalid: InvalidRequest) -> Self {
        let mut error = Self::bad_request(StatusCode::BAD_REQUEST, "invalid_request", invalid.message);
        error.param = invalid.param;
        error
    }
}

impl From<&RouterError> for ApiError {
    fn from(error: &RouterError) -> Self {
        match error {
            RouterError::NoSuchModel(name) => Self::no_such_model(name),
            RouterError::Unsupported { what } => {
                // What is named is an operation, or a feature, which a request can do without.
                let is_operation = Operation::ALL.iter().any(|operation| operation.as_str() == *what);
                let otherwise = if is_operation { "" } else { ", or leave that out" };
                let message = format!("{error}: choose another model{otherwise}");
                Self::bad_request(StatusCode::BAD_REQUEST, "unsupported", message)
            }
            RouterError::ContextOverflow { .. } => {
                Self::bad_request(StatusCode::BAD_REQUEST, "context_length_exceeded", format!("{error}: shorten it"))
            }
            RouterError::TooDear { max_cost, cheapest } => Self::too_dear(*max_cost, *cheapest),
            RouterError::NoUpstream { retry_after } => {
                let message = format!("{error}: try again in a moment");
                let mut api = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", "no_upstream", message);
                api.retry_after = Some(*retry_after);
                api
            }
            RouterError::Failed { error, retry_after, .. } => Self::failed(error, *retry_after),
        }
    }
}

impl ApiError {
    /// Every attempt failed with this, or worse.
    fn failed(error: &Error, retry_after: Option<Duration>) -> Self {
        let (status, kind, code) = match error.kind {
            ErrorKind::InvalidRequest => (upstream_status(error), "invalid_request_error", "invalid_request"),
            ErrorKind::ContextOverflow => (StatusCode::BAD_REQUEST, "invalid_request_error", "context_length_exceeded"),
            ErrorKind::Unsupported => (StatusCode::BAD_REQUEST, "invalid_request_error", "unsupported"),
            ErrorKind::Refused => refused(error),
            ErrorKind::Auth => (StatusCode::BAD_GATEWAY, "server_error", "upstream_auth"),
            ErrorKind::NotFound => (StatusCode::BAD_GATEWAY, "server_error", "upstream_not_found"),
            ErrorKind::RateLimited => (StatusCode::SERVICE_UNAVAILABLE, "server_error", "upstream_rate_limited"),
            ErrorKind::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "server_error", "upstream_overloaded"),
            ErrorKind::Timeout(_) => (StatusCode::GATEWAY_TIMEOUT, "server_error", "upstream_timeout"),
            ErrorKind::Connect => (StatusCode::BAD_GATEWAY, "server_error", "upstream_unreachable"),
            ErrorKind::Unavailable => (StatusCode::BAD_GATEWAY, "server_error", "upstream_unavailable"),
            ErrorKind::Interrupted => (StatusCode::BAD_GATEWAY, "server_error", "upstream_disconnected"),
            ErrorKind::Protocol => (StatusCode::BAD_GATEWAY, "server_error", "upstream_invalid"),
            ErrorKind::NoMemory => return NoMemory.into(),
            ErrorKind::Unrecorded => (StatusCode::SERVICE_UNAVAILABLE, "server_error", "ledger_unavailable"),
            ErrorKind::OverBudget => return Self::over_budget(&error.message),
        };
        // What an upstream says about the router's own key or endpoint must not reach the client.
        let message = match error.kind {
            ErrorKind::Auth => {
                "the upstream refused the router's own credentials: whoever runs the router must look at it".to_owned()
            }
            ErrorKind::NotFound => {
                "the upstream does not serve what the router is configured for: whoever runs it must look at it"
                    .to_owned()
            }
            _ => error.message.clone(),
        };
        let mut api = Self::new(status, kind, code, message);
        if kind == "invalid_request_error" {
            api.param.clone_from(&error.param);
            if let Some(code) = &error.code {
                api.code = code.clone().into();
            }
        }
        api.retry_after = match error.kind {
            // Its disk may have room again at any moment.
            ErrorKind::Unrecorded => Some(error.retry_after.unwrap_or(Duration::from_secs(5))),
            _ => retry_after,
        };
        // An answer that could not be recorded has cost something: a repeat would cost it again.
        api.is_final = error.kind != ErrorKind::Unrecorded || error.retry_after.is_none();
        api
    }
}

/// A refusal by the upstreams. Where one refused the request itself, the client gets that message.
fn refused(error: &Error) -> (StatusCode, &'static str, &'static str) {
    match error.status {
        Some(400 | 422) => (StatusCode::BAD_REQUEST, "invalid_request_error", "refused_by_upstream"),
        Some(413 | 429) => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", "request_too_large"),
        _ => (StatusCode::BAD_GATEWAY, "server_error", "upstream_refused"),
    }
}

fn upstream_status(error: &Error) -> StatusCode {
    let status = error.status.and_then(|status| StatusCode::from_u16(status).ok());
    status.filter(StatusCode::is_client_error).unwrap_or(StatusCode::BAD_REQUEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_can_be_left_out_and_an_operation_cannot() {
        let said = |what| ApiError::from(&RouterError::Unsupported { what }).message;
        assert_eq!(said("chat"), "no upstream of this model can do that: chat: choose another model");
        assert!(said("tool calls").ends_with("tool calls: choose another model, or leave that out"));
    }

    #[test]
    fn retry_after_is_whole_seconds_from_1_to_120() {
        let header = |wait| {
            let error = ApiError::from(&RouterError::NoUpstream { retry_after: wait });
            let response = error.respond(HttpResponse::Ok());
            response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        for (wait, says) in [
            (Duration::ZERO, "1"),
            (Duration::from_nanos(1), "1"),
            (Duration::from_secs(1), "1"),
            (Duration::from_nanos(1_000_000_001), "2"),
            (Duration::from_mins(2), "120"),
            (Duration::from_secs(121), "120"),
            (Duration::MAX, "120"),
        ] {
            assert_eq!(header(wait).as_deref(), Some(says), "{wait:?}");
        }
    }
}

//! Errors in Anthropic's shape. The kinds and their statuses are those of <https://docs.anthropic.com/en/api/errors>.

use std::borrow::Cow;

use actix_web::http::StatusCode;
use dialects::messages::{Problem, ProblemKind, error_body, no_thread_body};

use super::ApiError;

/// What Anthropic answers where there is no room for now, and OpenAI with a 503. It has no name in HTTP.
const OVERLOADED: u16 = 529;

impl ApiError {
    /// The status for a client of Anthropic's API.
    pub(crate) fn anthropic_status(&self) -> StatusCode {
        match self.anthropic_kind() {
            ProblemKind::Overloaded => StatusCode::from_u16(OVERLOADED).unwrap_or(self.status),
            ProblemKind::Billing => StatusCode::PAYMENT_REQUIRED,
            ProblemKind::InvalidRequest
            | ProblemKind::Authentication
            | ProblemKind::Permission
            | ProblemKind::NotFound
            | ProblemKind::RequestTooLarge
            | ProblemKind::RateLimit
            | ProblemKind::Timeout
            | ProblemKind::Api => self.status,
        }
    }

    /// What kind of error it is to a client of Anthropic's API.
    pub(crate) fn anthropic_kind(&self) -> ProblemKind {
        match self.status {
            _ if self.kind == "insufficient_quota" => ProblemKind::Billing,
            StatusCode::UNAUTHORIZED => ProblemKind::Authentication,
            StatusCode::FORBIDDEN => ProblemKind::Permission,
            StatusCode::NOT_FOUND => ProblemKind::NotFound,
            StatusCode::PAYLOAD_TOO_LARGE => ProblemKind::RequestTooLarge,
            StatusCode::TOO_MANY_REQUESTS => ProblemKind::RateLimit,
            StatusCode::GATEWAY_TIMEOUT => ProblemKind::Timeout,
            StatusCode::SERVICE_UNAVAILABLE => ProblemKind::Overloaded,
            status if status.is_client_error() => ProblemKind::InvalidRequest,
            _ => ProblemKind::Api,
        }
    }

    /// The body for a client of Anthropic's API.
    pub(crate) fn anthropic_body(&self, request_id: &str) -> Vec<u8> {
        let message = self.anthropic_message();
        let problem = self.problem(&message, request_id);
        if self.param.as_deref() == Some("thread") { no_thread_body(&problem) } else { error_body(&problem) }
    }

    /// The error with this message.
    pub(super) fn problem<'a>(&self, message: &'a str, request_id: &'a str) -> Problem<'a> {
        Problem { kind: self.anthropic_kind(), message, request_id }
    }

    /// The message. It names the field to blame, for which Anthropic's shape has no place of its own. Agents shorten a conversation by
    /// themselves where a message begins as Anthropic's own does.
    pub(super) fn anthropic_message(&self) -> Cow<'_, str> {
        if self.code == "context_length_exceeded" {
            return format!("prompt is too long: {}", self.message).into();
        }
        match self.param.as_deref().filter(|param| !self.message.contains(param)) {
            Some(param) => format!("{param}: {}", self.message).into(),
            None => self.message.as_str().into(),
        }
    }
}

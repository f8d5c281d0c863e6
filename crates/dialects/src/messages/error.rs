//! Errors in Anthropic's shape.

use crate::chat::write;

/// What kind of error it is.
/// Source: <https://docs.anthropic.com/en/api/errors>, which names the HTTP status of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// The request is wrong.
    InvalidRequest,
    /// The key is missing or not known.
    Authentication,
    /// There is no money for it.
    Billing,
    /// The key may not do this.
    Permission,
    /// There is no such model or path.
    NotFound,
    /// The body is too long.
    RequestTooLarge,
    /// Too many requests, or tokens.
    RateLimit,
    /// It took too long.
    Timeout,
    /// Something broke.
    Api,
    /// There is no room for now.
    Overloaded,
}

impl ProblemKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::InvalidRequest,
        Self::Authentication,
        Self::Billing,
        Self::Permission,
        Self::NotFound,
        Self::RequestTooLarge,
        Self::RateLimit,
        Self::Timeout,
        Self::Api,
        Self::Overloaded,
    ];

    /// The `type` that clients read.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request_error",
            Self::Authentication => "authentication_error",
            Self::Billing => "billing_error",
            Self::Permission => "permission_error",
            Self::NotFound => "not_found_error",
            Self::RequestTooLarge => "request_too_large",
            Self::RateLimit => "rate_limit_error",
            Self::Timeout => "timeout_error",
            Self::Api => "api_error",
            Self::Overloaded => "overloaded_error",
        }
    }
}

/// An error.
#[derive(Debug, Clone, Copy)]
pub struct Problem<'a> {
    /// What kind of error it is.
    pub kind: ProblemKind,
    /// What is wrong and what to change.
    pub message: &'a str,
    /// The id of the request, as in the header `request-id`.
    pub request_id: &'a str,
}

/// The body of an error: `{"type":"error","error":{"type":…,"message":…},"request_id":…}`.
pub fn error_body(problem: &Problem<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(problem.message.len() + 128);
    write_error(&mut out, problem);
    out
}

/// The same with the details by which Anthropic's SDKs know that no conversation is stored here. Their tool runners ask for a
/// `thread` first, and then send the whole conversation in each request. Source: `recovers_from` in `lib/threads/_thread_state.py`
/// of <https://pypi.org/project/anthropic/2.14.0/>.
pub fn no_thread_body(problem: &Problem<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(problem.message.len() + 256);
    let details = b",\"details\":{\"error_code\":\"thread_unsupported_request\",\"unsupported\":[\"thread\"]}";
    write_with_details(&mut out, problem, details);
    out
}

/// Writes the body of an error to the end of `out`.
pub(super) fn write_error(out: &mut Vec<u8>, problem: &Problem<'_>) {
    write_with_details(out, problem, b"");
}

fn write_with_details(out: &mut Vec<u8>, problem: &Problem<'_>, details: &[u8]) {
    out.extend_from_slice(b"{\"type\":\"error\",\"error\":{\"type\":");
    write::string(out, problem.kind.as_str());
    out.extend_from_slice(b",\"message\":");
    write::string(out, problem.message);
    out.extend_from_slice(details);
    out.extend_from_slice(b"},\"request_id\":");
    write::string(out, problem.request_id);
    out.push(b'}');
}

//! Errors of authentication, rights and limits.

use std::time::Duration;

use actix_web::http::StatusCode;

use super::ApiError;
use crate::limits::{RateLimitStatus, Refused};

/// The code for a sender of too many unknown keys.
const TOO_MANY_WRONG_KEYS: &str = "too_many_wrong_keys";

impl ApiError {
    pub(crate) fn no_key() -> Self {
        let message = "no API key: send the header 'Authorization: Bearer <key>'";
        Self::bad_request(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
    }

    pub(crate) fn wrong_key() -> Self {
        let message = "this API key is not known here: check it, or ask whoever runs the router for one";
        Self::bad_request(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
    }

    /// For one who sent many unknown keys. Not for the SDKs to repeat: the key stays unknown.
    pub(crate) fn too_many_wrong_keys(retry_after: Duration) -> Self {
        let message = "this API key is not known here, and too many like it came from this address: a key that is known \
                       is let in at once";
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", TOO_MANY_WRONG_KEYS, message);
        error.retry_after = Some(retry_after);
        error.is_final = true;
        error
    }

    /// Whether the request was refused because its key is missing or unknown.
    pub(crate) fn is_authentication_failure(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED || self.code == TOO_MANY_WRONG_KEYS
    }

    pub(crate) fn admin_is_off() -> Self {
        let message = "the admin API is off: set LLM_ROUTER_ADMIN_TOKEN, or server.admin_token_file, and restart";
        Self::bad_request(StatusCode::FORBIDDEN, "admin_api_off", message)
    }

    pub(crate) fn no_admin_token() -> Self {
        let message = "this needs the admin token: send the header 'Authorization: Bearer <token>'";
        Self::bad_request(StatusCode::UNAUTHORIZED, "invalid_admin_token", message)
    }

    pub(crate) fn direct_not_allowed() -> Self {
        let message = "this key may not name an upstream: ask for a model, or have direct = true set for the key";
        let mut error = Self::new(StatusCode::FORBIDDEN, "permission_error", "direct_not_allowed", message);
        error.param = Some("model".to_owned());
        error
    }

    fn rate_limited(status: RateLimitStatus, retry_after: Duration) -> Self {
        let limit = status.limit;
        let message = format!("this key may make {limit} requests per minute: slow down, or ask for a higher limit");
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "rate_limit_exceeded", message);
        error.retry_after = Some(retry_after);
        error.rate_limit = Some(status);
        error
    }

    fn too_many_at_once(limit: u32, status: Option<RateLimitStatus>) -> Self {
        let message = format!("this key may have {limit} requests under way at a time: wait for one to end");
        let mut error =
            Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "concurrency_limit_exceeded", message);
        error.retry_after = Some(Duration::from_secs(1));
        error.rate_limit = status;
        error
    }

    fn too_many_calls(calls: u32, most: u32, setting: &str) -> Self {
        let message = format!(
            "this request makes {calls} calls (n x prompts x members of an ensemble), and this key may make {most} at once: ask \
             for fewer, or have its limits.{setting} raised"
        );
        Self::bad_request(StatusCode::BAD_REQUEST, "too_many_calls", message)
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Rate { status, wait } => Self::rate_limited(status, wait),
            Refused::Concurrency { limit, status } => Self::too_many_at_once(limit, status),
            Refused::Never { calls, most, setting } => Self::too_many_calls(calls, most, setting),
        }
    }
}

//! Errors of authentication, rights and limits.

use std::time::Duration;

use actix_web::http::StatusCode;
use ledger::{KeyError, OverBudget};

use super::ApiError;
use crate::{
    budgets,
    limits::{Owner, RateLimitStatus, ReachedLimit, Refused, Unit},
    stored_keys::actions::ActionError,
};

/// The code for a sender of too many unknown keys.
const TOO_MANY_WRONG_KEYS: &str = "too_many_wrong_keys";

impl ApiError {
    pub(crate) fn no_key() -> Self {
        let message = "no API key: send the header 'Authorization: Bearer <key>' or 'x-api-key: <key>'";
        Self::bad_request(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
    }

    pub(crate) fn wrong_key() -> Self {
        let message = "this API key is not known here: check it, or ask whoever runs the router for one";
        Self::bad_request(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
    }

    pub(crate) fn no_stored_keys() -> Self {
        let message =
            "there are no keys but those of the configuration file: they need a [storage], and auth.mode = \"keys\"";
        Self::bad_request(StatusCode::CONFLICT, "no_stored_keys", message)
    }

    pub(crate) fn bad_admin_body(mistake: &str) -> Self {
        Self::bad_request(
            StatusCode::BAD_REQUEST,
            "invalid_request",
            format!("the body is not what this takes: {mistake}"),
        )
    }

    /// The keys of the database could not be read since the start, and this one may be among them.
    pub(crate) fn keys_unknown() -> Self {
        let message = "the router cannot read its keys at this moment: try again in a moment";
        let mut error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", "keys_unavailable", message);
        error.retry_after = Some(Duration::from_secs(5));
        error
    }

    /// The server that counts limits is away.
    fn limits_unknown() -> Self {
        let message = "the router cannot count limits at this moment: try again in a moment";
        let mut error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", "limits_unavailable", message);
        error.retry_after = Some(Duration::from_secs(5));
        error
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

    /// A budget has no room. Not for the SDKs to repeat: it begins anew on another day.
    pub(crate) fn over_budget(message: &str) -> Self {
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "insufficient_quota", "insufficient_quota", message);
        error.is_final = true;
        error
    }

    fn rate_limited(owner: &Owner, status: RateLimitStatus, retry_after: Duration) -> Self {
        let RateLimitStatus { unit, limit, .. } = status;
        let message = match unit {
            Unit::Requests => {
                format!("{owner} may make {limit} requests per minute: slow down, or ask for a higher limit")
            }
            Unit::Tokens => format!(
                "{owner} may use {limit} tokens per minute, of prompts and answers: slow down, or ask for a higher limit"
            ),
        };
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "rate_limit_exceeded", message);
        error.retry_after = Some(retry_after);
        error.rate_limit = Some(Box::new(status));
        error
    }

    fn too_many_at_once(owner: &Owner, limit: u32, status: Option<RateLimitStatus>) -> Self {
        let message = format!("{owner} may have {limit} requests under way at a time: wait for one to end");
        let mut error =
            Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "concurrency_limit_exceeded", message);
        error.retry_after = Some(Duration::from_secs(1));
        error.rate_limit = status.map(Box::new);
        error
    }

    fn too_many_calls(owner: &Owner, calls: u32, most: u32, setting: &str) -> Self {
        let message = format!(
            "this request makes {calls} calls (n x prompts x members of an ensemble), and {owner} may make {most} at once: ask \
             for fewer, or have its limits.{setting} raised"
        );
        Self::bad_request(StatusCode::BAD_REQUEST, "too_many_calls", message)
    }
}

impl From<ActionError> for ApiError {
    fn from(error: ActionError) -> Self {
        let message = error.to_string();
        let (status, code) = match error {
            ActionError::Name(_)
            | ActionError::Terms(_)
            | ActionError::Unpriced(_)
            | ActionError::Unknown(_)
            | ActionError::Tag(_)
            | ActionError::Overlap
            | ActionError::Expired => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_key"),
            ActionError::Keys(KeyError::Exists(_)) | ActionError::InFile(_) => (StatusCode::CONFLICT, "key_exists"),
            ActionError::Keys(KeyError::Unknown(_)) => (StatusCode::NOT_FOUND, "key_not_found"),
            ActionError::Keys(KeyError::Store(_)) | ActionError::Chance(_) => {
                tracing::error!(error = message, "a key could not be changed or read");
                return Self::keys_unknown();
            }
        };
        Self::bad_request(status, code, message)
    }
}

impl From<OverBudget> for ApiError {
    fn from(over: OverBudget) -> Self {
        Self::failed(&budgets::error(&over), None)
    }
}

impl From<Refused> for ApiError {
    fn from(Refused { owner, limit }: Refused) -> Self {
        match limit {
            ReachedLimit::Rate { status, wait } => Self::rate_limited(&owner, status, wait),
            ReachedLimit::Concurrency { limit, status } => Self::too_many_at_once(&owner, limit, status),
            ReachedLimit::Never { calls, most, setting } => Self::too_many_calls(&owner, calls, most, setting),
            ReachedLimit::Unknown => Self::limits_unknown(),
        }
    }
}

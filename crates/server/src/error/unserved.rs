//! Answers to paths and methods that are not served: each says what is.

use actix_web::http::StatusCode;

use super::ApiError;
use crate::api::endpoint::Suggestion;

impl ApiError {
    pub(crate) fn wrong_method(allow: &'static str) -> Self {
        let message = format!("this path takes {} only", allow.replace(", ", " and "));
        let mut error = Self::bad_request(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
        error.allow = Some(allow);
        error
    }

    /// `OPTIONS`, which browsers ask before a script may call another origin.
    pub(crate) fn no_preflight(allow: &'static str) -> Self {
        let mut error = Self::wrong_method(allow);
        error.message += ": browsers' preflights (CORS) are not answered here, because a key does not belong in a browser; \
                          'Browsers' in docs/api.md says what to put in front, and what allows pages";
        error
    }

    /// A preflight from a page that may not call.
    pub(crate) fn origin_not_allowed() -> Self {
        let message = "scripts of pages from this origin may not call the router: whoever runs it can add the origin to \
                       server.cors.origins";
        Self::new(StatusCode::FORBIDDEN, "permission_error", "origin_not_allowed", message)
    }

    pub(crate) fn no_such_path(path: &str, suggestion: Option<Suggestion>) -> Self {
        if let Some(suggestion) = suggestion {
            return Self::misspelt_path(path, &suggestion);
        }
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let message = match segments[..] {
            ["v1", "responses", ..] => {
                "responses are not stored here, so that none can be read, continued, cancelled or deleted: send the whole \
                 conversation to POST /v1/responses"
            }
            ["v1", "messages", "batches", ..] => {
                "batches of messages are not served here: send each to POST /v1/messages, or prompts to POST /v1/generate/batch"
            }
            ["v1", "messages", ..] => {
                "this path of Anthropic's API is not served here: there are POST /v1/messages and /v1/messages/count_tokens, \
                 and GET /v1/models"
            }
            ["v1", ..] => {
                "this path of the OpenAI API is not served here: there are POST /v1/chat/completions, /v1/responses, \
                 /v1/completions, /v1/embeddings and /v1/audio/transcriptions, and GET /v1/models"
            }
            _ => {
                "there is nothing here: the API lives under /v1, so a client's base URL must end in /v1, except that of \
                 Anthropic's SDKs, which add it"
            }
        };
        Self::bad_request(StatusCode::NOT_FOUND, "not_found", message)
    }

    fn misspelt_path(path: &str, suggestion: &Suggestion) -> Self {
        let message = format!("'{path}' is not a path here: '{}' is; {}", suggestion.path, suggestion.advice);
        Self::bad_request(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(crate) fn no_such_admin_path(path: &str, suggestion: Option<Suggestion>) -> Self {
        if let Some(suggestion) = suggestion {
            return Self::misspelt_path(path, &suggestion);
        }
        let message = "there is nothing here: the admin listener has GET /metrics, /livez, /readyz and /openapi.json, which lists the paths \
                       under /admin";
        Self::bad_request(StatusCode::NOT_FOUND, "not_found", message)
    }
}

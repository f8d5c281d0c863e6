//! Which API the client of a request speaks, where the shapes of two differ: in errors, in the list of models, and in headers.

use actix_web::{
    HttpResponseBuilder,
    http::header::{HeaderMap, HeaderName},
};
use provider::RequestId;

use crate::{clock, limits::RateLimitStatus};

const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const ANTHROPIC_REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// An API whose shapes answers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    OpenAi,
    Anthropic,
}

impl Dialect {
    /// By the path, and where both APIs have it, by a header that every client of Anthropic's sends.
    pub(crate) fn of(path: &str, headers: &HeaderMap) -> Self {
        let is_below =
            |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let is_anthropic =
            is_below("/v1/messages") || is_below("/v1/models") && headers.contains_key(&ANTHROPIC_VERSION);
        if is_anthropic { Self::Anthropic } else { Self::OpenAi }
    }

    /// Makes `response` one of this API: its errors, and the headers that say what is left of a limit, are written accordingly.
    pub(super) fn mark(self, response: &mut HttpResponseBuilder, id: &RequestId) {
        match self {
            Self::OpenAi => {}
            Self::Anthropic => {
                response.insert_header((ANTHROPIC_REQUEST_ID, id.as_str()));
                response.extensions_mut().insert(Anthropic(id.clone()));
            }
        }
    }
}

/// Marks a response of Anthropic's API to the request of this id.
struct Anthropic(RequestId);

/// The id of the request that `response` answers, if its client speaks Anthropic's API.
pub(crate) fn anthropic_request(response: &HttpResponseBuilder) -> Option<RequestId> {
    response.extensions().get::<Anthropic>().map(|Anthropic(id)| id.clone())
}

/// Adds the headers that say what is left of a limit.
pub(crate) fn add_status(response: &mut HttpResponseBuilder, status: &RateLimitStatus) {
    for header in status.headers() {
        response.insert_header(header);
    }
    if anthropic_request(response).is_some() {
        for header in status.anthropic_headers(clock::now_ms()) {
            response.insert_header(header);
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn anthropic_s_paths_and_its_header_tell() {
        let (bare, mut versioned) = (HeaderMap::new(), HeaderMap::new());
        versioned.insert(ANTHROPIC_VERSION, HeaderValue::from_static("2023-06-01"));
        let cases = [
            ("/v1/messages", true, true),
            ("/v1/messages/count_tokens", true, true),
            ("/v1/messages/batches", true, true),
            ("/v1/messagesx", false, false),
            ("/v1/models", false, true),
            ("/v1/models/llama/8b", false, true),
            ("/v1/chat/completions", false, false),
            ("/v1/responses", false, false),
            ("/", false, false),
        ];
        for (path, by_path, by_header) in cases {
            let is_anthropic = |headers| Dialect::of(path, headers) == Dialect::Anthropic;
            assert_eq!((is_anthropic(&bare), is_anthropic(&versioned)), (by_path, by_header), "{path}");
        }
    }
}

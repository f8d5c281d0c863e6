//! CORS: which pages' scripts may call the router and read its answers, as <https://fetch.spec.whatwg.org/#http-cors-protocol>
//! has it. Errors and streams carry the same headers as other answers, or the script would see a failure without a reason.
//!
//! There is no `Access-Control-Allow-Credentials`: the router has no cookies, and a key in a header needs none.

use actix_web::{
    HttpResponse,
    http::{
        Method,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
            ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
        },
    },
};
use settings::CorsOrigins;

use crate::error::ApiError;

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST");
/// What a script may read, besides the headers that it always may.
const EXPOSED: &str = "x-request-id, request-id, retry-after, x-should-retry, x-llm-router-provider, x-llm-router-upstream, \
                       x-llm-router-attempts, x-llm-router-reason, x-llm-router-cost-usd, x-llm-router-dropped-params, \
                       x-llm-router-injected-params, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, \
                       x-ratelimit-reset-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, \
                       x-ratelimit-reset-tokens, anthropic-ratelimit-requests-limit, \
                       anthropic-ratelimit-requests-remaining, anthropic-ratelimit-requests-reset, \
                       anthropic-ratelimit-tokens-limit, anthropic-ratelimit-tokens-remaining, \
                       anthropic-ratelimit-tokens-reset";
/// Seconds that a browser remembers the answer to a preflight: the longest that any of them does. Whether a script may read an
/// answer is said by that answer.
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("7200");
/// Longest list of headers that is allowed as it was asked for. SDKs ask for some twenty.
const MAX_REQUESTED: usize = 4096;
/// What is allowed in place of a list that is longer, or none.
const USUAL_HEADERS: HeaderValue = HeaderValue::from_static("authorization, content-type");

/// What the answer to one request tells a browser.
pub(crate) struct Cors {
    /// The origin whose scripts may read it; `None` if no page asks, or another one.
    allowed: Option<HeaderValue>,
    /// Whether that is another one for other pages.
    varies: bool,
}

impl Cors {
    /// For a request with these headers, where pages of `origins` may call.
    pub(crate) fn of(headers: &HeaderMap, origins: &CorsOrigins) -> Self {
        let origin = headers.get(ORIGIN);
        match origins {
            CorsOrigins::Any => Self { allowed: origin.map(|_| HeaderValue::from_static("*")), varies: false },
            CorsOrigins::Listed(listed) => {
                let is_listed = |origin: &&HeaderValue| listed.iter().any(|own| own.as_bytes() == origin.as_bytes());
                Self { allowed: origin.filter(is_listed).cloned(), varies: true }
            }
        }
    }

    /// The answer to a preflight, or why it is refused: what a browser asks before a script may send a request with a key. `None` if
    /// the request is none. It needs no key, and no handler sees it.
    pub(crate) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Result<HttpResponse, ApiError>> {
        let is_preflight = method == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !is_preflight {
            return None;
        }
        if self.allowed.is_none() {
            return Some(Err(ApiError::origin_not_allowed()));
        }
        let mut response = HttpResponse::NoContent();
        response
            .insert_header((ACCESS_CONTROL_ALLOW_METHODS, METHODS))
            .insert_header((ACCESS_CONTROL_ALLOW_HEADERS, requested(headers)))
            .insert_header((ACCESS_CONTROL_MAX_AGE, MAX_AGE_S))
            .insert_header((VARY, HeaderValue::from_static("access-control-request-headers")));
        Some(Ok(response.finish()))
    }

    /// Adds it to the headers of an answer.
    pub(crate) fn add(&self, headers: &mut HeaderMap) {
        if self.varies {
            headers.append(VARY, HeaderValue::from_static("origin"));
        }
        if let Some(origin) = &self.allowed {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
    }
}

/// The headers that a script may send: those that the browser asks for. They are allowed by name and not by `*`, which does not
/// include `authorization`.
fn requested(headers: &HeaderMap) -> HeaderValue {
    let requested = headers.get(ACCESS_CONTROL_REQUEST_HEADERS);
    let is_list = |list: &&HeaderValue| {
        let names = list.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        list.len() <= MAX_REQUESTED && names.into_iter().all(|name| HeaderName::from_bytes(name).is_ok())
    };
    requested.filter(is_list).cloned().unwrap_or(USUAL_HEADERS)
}

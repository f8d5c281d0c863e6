//! What Cerebras' errors mean, above all the three meanings of 429.
//!
//! Our requests exceed their quota, our tokens do, or Cerebras itself is full. A quota stays used up until it resets,
//! while a full queue may clear within a second. If one were taken for the other, a healthy upstream would be parked
//! for long, or one without quota called again and again.

use std::time::Duration;

use openai::{Dialect, ErrorBody, Failure, Finish, blame::ErrorFormat, classify, finish, quota_reset};
use provider::{Error, ErrorKind};

/// How long a full queue is parked.
const QUEUE_CLEARS: Duration = Duration::from_secs(1);

/// Values of `param` that name no field of the request.
const NO_FIELDS: [&str; 4] = ["api_key", "queue", "quota", "validation_error"];

/// How Cerebras writes its errors.
pub(crate) struct CerebrasDialect;

impl Dialect for CerebrasDialect {
    fn error_format(&self) -> ErrorFormat {
        ErrorFormat::Cerebras
    }

    fn classify(&self, failure: &Failure<'_>) -> Error {
        let said = ErrorBody::parse(failure.body);
        let mut error = classify(ErrorFormat::Cerebras, failure, &said);
        error.param = error.param.filter(|param| !NO_FIELDS.contains(&param.as_str()));
        error.retry_after = match error.kind {
            ErrorKind::Overloaded => error.retry_after.or(Some(QUEUE_CLEARS)),
            ErrorKind::RateLimited => error.retry_after.or_else(|| reset(failure, &said)),
            // Too large for what is left of the minute: the client may send it again once the quota is full.
            ErrorKind::Refused if error.status == Some(429) => error.retry_after.or_else(|| reset(failure, &said)),
            _ => error.retry_after,
        };
        error
    }

    fn finish(&self, reason: &str) -> Finish {
        // Seen from Cerebras by other clients of it.
        if reason == "done" { Finish::Renamed("stop") } else { finish(reason) }
    }
}

/// When the quota that the message names has room again.
fn reset(failure: &Failure<'_>, said: &ErrorBody) -> Option<Duration> {
    let message = said.message.as_deref().unwrap_or_default().to_ascii_lowercase();
    let unit = if said.code.as_deref() == Some("token_quota_exceeded") { "tokens" } else { "requests" };
    // The buckets refill all the time, so that an hour is long enough for the long windows.
    let windows = [("second", 1), ("day", 3_600), ("hour", 3_600), ("minute", 60)];
    let (window, seconds) = windows.into_iter().find(|(window, _)| message.contains(window)).unwrap_or(("minute", 60));
    quota_reset(failure.headers, &format!("{unit}-{window}")).or(Some(Duration::from_secs(seconds)))
}

#[cfg(test)]
#[path = "../../provider/tests/support/property.rs"]
mod property;
#[cfg(test)]
#[path = "../../openai/tests/support/refusals.rs"]
mod refusals;

#[cfg(test)]
mod tests {
    use http::header::{HeaderMap, HeaderName, HeaderValue};
    use provider::ErrorKind::{
        Auth, ContextOverflow, InvalidRequest, NotFound, Overloaded, RateLimited, Refused, Unavailable,
    };

    use super::*;

    type Headers = &'static [(&'static str, &'static str)];

    fn read(status: u16, headers: Headers, body: &str) -> Error {
        let pairs = headers.iter();
        let headers: HeaderMap =
            pairs.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
        CerebrasDialect.classify(&Failure { operation: None, status, headers: &headers, body: body.as_bytes() })
    }

    #[test]
    fn flat_errors_are_read() {
        let cases = [
            (
                400,
                r#"{"message":"m","type":"invalid_request_error","param":"temperature","code":"wrong_api_format"}"#,
                InvalidRequest,
                Some("temperature"),
            ),
            (
                400,
                r#"{"message":"m","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}"#,
                ContextOverflow,
                Some("messages"),
            ),
            (
                401,
                r#"{"message":"m","type":"invalid_request_error","param":"api_key","code":"wrong_api_key"}"#,
                Auth,
                None,
            ),
            (402, r#"{"message":"m","type":"payment_required"}"#, Auth, None),
            (
                404,
                r#"{"message":"m","type":"not_found_error","param":"model","code":"model_not_found"}"#,
                NotFound,
                Some("model"),
            ),
            (422, r#"{"message":"m","type":"invalid_request_error","param":"validation_error"}"#, InvalidRequest, None),
            (503, r#"{"message":"m","type":"unavailable"}"#, Unavailable, None),
        ];
        for (status, body, kind, param) in cases {
            let error = read(status, &[], body);
            assert_eq!((error.kind, error.param.as_deref(), error.message.as_str()), (kind, param, "m"), "{body}");
        }
        let error = read(403, &[], r#"{"detail":"Not authenticated"}"#);
        assert_eq!((error.kind, error.message.as_str()), (Auth, "Not authenticated"));
        // What it answers where a path is unknown says nothing of the model.
        let error = read(404, &[], "");
        assert_eq!((error.kind, error.status), (Refused, Some(404)));
    }

    #[test]
    fn three_kinds_of_429_are_distinguished() {
        let queue =
            r#"{"message":"high traffic","type":"too_many_requests_error","param":"queue","code":"queue_exceeded"}"#;
        let requests =
            r#"{"message":"Requests per minute limit exceeded","param":"quota","code":"request_quota_exceeded"}"#;
        let second =
            r#"{"message":"Requests per second limit exceeded","param":"quota","code":"request_quota_exceeded"}"#;
        let tokens = r#"{"message":"Tokens per minute limit exceeded","param":"quota","code":"token_quota_exceeded"}"#;
        let day = r#"{"message":"Tokens per day limit exceeded","param":"quota","code":"token_quota_exceeded"}"#;
        let left: Headers =
            &[("x-ratelimit-remaining-tokens-minute", "900"), ("x-ratelimit-reset-tokens-minute", "12.5")];
        let exhausted: Headers =
            &[("x-ratelimit-remaining-tokens-day", "0"), ("x-ratelimit-reset-tokens-day", "33011.5")];
        let cases: [(Headers, &str, ErrorKind, u64); 9] = [
            (&[], queue, Overloaded, 1_000),
            (&[("retry-after", "3")], queue, Overloaded, 3_000),
            (&[], requests, RateLimited, 60_000),
            (&[], second, RateLimited, 1_000),
            (&[], tokens, RateLimited, 60_000),
            (left, tokens, Refused, 12_500),
            (&[], day, RateLimited, 3_600_000),
            (exhausted, day, RateLimited, 33_011_500),
            (&[], "", RateLimited, 60_000),
        ];
        for (headers, body, kind, millis) in cases {
            let error = read(429, headers, body);
            assert_eq!((error.kind, error.retry_after), (kind, Some(Duration::from_millis(millis))), "{body}");
            assert_eq!((error.status, error.param), (Some(429), None), "{body}");
        }
    }

    #[test]
    fn an_error_within_a_stream_names_its_status() {
        let queue = r#"{"error":{"message":"m","param":"queue","code":"queue_exceeded"},"status_code":429}"#;
        let error = CerebrasDialect.in_band(queue.as_bytes(), None);
        assert_eq!((error.kind, error.status), (Overloaded, Some(429)));
        let error = CerebrasDialect.in_band(br#"{"error":{"message":"m"},"status_code":500}"#, None);
        assert_eq!((error.kind, error.status), (Unavailable, Some(500)));
    }

    #[test]
    fn no_refusal_of_a_request_is_taken_for_the_upstreams_fault() {
        property::hold(2_000, &refusals::refusals(ErrorFormat::Cerebras), |refusal| {
            refusals::leaves_health_alone(&refusal, &CerebrasDialect)
        });
    }
}

//! What Cerebras' failures mean, above all the three meanings of 429.
//!
//! Our requests are over their quota, our tokens are, or Cerebras itself is full. A quota stays closed until it resets, while
//! a full queue may clear within a second; taking one for the other would park a healthy upstream, or hammer a closed one.

use std::time::Duration;

use openai::{Dialect, ErrorBody, Failure, classify, quota_reset};
use provider::{Error, ErrorKind};

/// How long a full queue is left alone.
const QUEUE_CLEARS: Duration = Duration::from_secs(1);

/// Values of `param` that name no field of the request.
const NO_FIELDS: [&str; 4] = ["api_key", "queue", "quota", "validation_error"];

/// How Cerebras words its failures.
pub(crate) struct CerebrasDialect;

impl Dialect for CerebrasDialect {
    fn classify(&self, failure: &Failure<'_>) -> Error {
        let said = ErrorBody::parse(failure.body);
        let mut error = classify(failure, &said);
        error.param = error.param.filter(|param| !NO_FIELDS.contains(&param.as_str()));
        if error.kind != ErrorKind::RateLimited {
            return error;
        }
        if said.code.as_deref() == Some("queue_exceeded") || said.param.as_deref() == Some("queue") {
            error.kind = ErrorKind::Overloaded;
            error.retry_after = error.retry_after.or(Some(QUEUE_CLEARS));
            return error;
        }
        error.retry_after = error.retry_after.or_else(|| reset(failure, &said));
        error
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

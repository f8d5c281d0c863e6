//! What holds for every set of headers that say how long to wait and what is left. Shared by the fuzz target and by the test that
//! replays its seeds.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use openai::{Dialect as _, Failure, OpenAiDialect, quota};

/// Each line is a header.
pub(crate) fn hold(input: &[u8]) {
    let headers = headers(input);
    let failure = Failure { operation: None, status: 429, headers: &headers, body: b"" };
    let wait = OpenAiDialect.classify(&failure).retry_after;
    let left = quota(&headers);
    if let Some(millis) = plain(&headers, "retry-after-ms") {
        assert_eq!(wait, Some(Duration::from_millis(millis)));
    } else if let Some(seconds) = plain(&headers, "retry-after").filter(|seconds| *seconds < 1 << 50) {
        assert_eq!(wait, Some(Duration::from_secs(seconds)));
    } else if !headers.contains_key("retry-after") {
        assert_eq!(wait, left.exhausted_for, "without a header of its own, a quota that is used up decides");
    }
    if left.exhausted_for.is_some() {
        assert!(left.requests == Some(0) || left.tokens == Some(0), "what is not used up needs no wait");
    }
    for (kind, known) in [("requests", left.requests), ("tokens", left.tokens)] {
        // Windows without a limit header, which may say that there is no such limit.
        let window = format!("{kind}-minute");
        let count = plain(&headers, &format!("x-ratelimit-remaining-{window}")).filter(|count| *count < 1 << 49);
        if let Some(count) = count.filter(|_| !headers.contains_key(format!("x-ratelimit-limit-{window}"))) {
            assert!(known.is_some_and(|known| known <= count), "the tightest window counts");
        }
    }
}

fn headers(input: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

/// The whole number that a header is.
fn plain(headers: &HeaderMap, name: &str) -> Option<u64> {
    let text = headers.get(name)?.to_str().ok()?;
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

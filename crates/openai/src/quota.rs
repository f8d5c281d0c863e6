//! What is left of our allowance, from rate-limit headers.
//!
//! Names are read by their parts, because providers put the window last (`x-ratelimit-remaining-tokens-minute`) or leave
//! it out (`x-ratelimit-remaining-tokens`), where it is a minute, and add windows as they like. Resets are seconds
//! (`33011.38`) or durations (`6m0s`, `20ms`).

use std::time::Duration;

use http::header::HeaderMap;
use provider::{Quota, Window};

/// Reads the quota headers of a reply.
pub fn quota(headers: &HeaderMap) -> Quota {
    let mut quota = Quota::default();
    for (name, value) in headers {
        let Some(window) = name.as_str().strip_prefix("x-ratelimit-remaining-") else { continue };
        let Some(left) = value.to_str().ok().and_then(count) else { continue };
        let limit = headers.get(format!("x-ratelimit-limit-{window}")).and_then(|limit| limit.to_str().ok());
        let limit = match limit.map(count) {
            // Some servers count down from a limit that they do not have.
            Some(None | Some(0)) => continue,
            Some(Some(limit)) => Some(limit),
            None => None,
        };
        let (kind, window_length) = window.split_once('-').unwrap_or((window, "minute"));
        let (lowest, minute) = match kind {
            "requests" => (&mut quota.requests, &mut quota.minute_requests),
            "tokens" => (&mut quota.tokens, &mut quota.minute_tokens),
            _ => continue,
        };
        *lowest = Some(lowest.map_or(left, |known| known.min(left)));
        if window_length == "minute" {
            *minute = Some(Window { left, limit });
        }
        if left == 0 {
            quota.exhausted_for = quota.exhausted_for.max(quota_reset(headers, window));
        }
    }
    quota
}

/// The count in a header, rounded down; `None` for what is none, such as the -1 that some servers send for "no limit".
fn count(text: &str) -> Option<u64> {
    let count = text.trim().parse().ok().filter(|count: &f64| *count >= 0.0)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, and no negative one")]
    Some(count.min(1e15) as u64)
}

/// When `window`, such as `tokens-minute`, has room again, exhausted or not.
pub fn quota_reset(headers: &HeaderMap, window: &str) -> Option<Duration> {
    headers.get(format!("x-ratelimit-reset-{window}")).and_then(|value| duration(value.to_str().ok()?))
}

/// Reads seconds or a duration such as `1h2m3.5s`, without a sign.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Some(seconds) = text.parse::<f64>().ok().filter(|_| !text.starts_with('+')) {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let tail = &rest[digits..];
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let scale = match &tail[..letters] {
            "d" => 86_400.0,
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(number * scale).ok()?)?;
        rest = &tail[letters..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_tightest_window_counts() {
        let quota = quota(&headers(&[
            ("x-ratelimit-remaining-requests-day", "1439"),
            ("x-ratelimit-remaining-requests-minute", "3"),
            ("x-ratelimit-remaining-tokens-minute", "0"),
            ("x-ratelimit-reset-tokens-minute", "12.5"),
            ("x-ratelimit-remaining-tokens-day", "0"),
            ("x-ratelimit-reset-tokens-day", "6m0s"),
        ]));
        assert_eq!(
            (quota.requests, quota.tokens, quota.exhausted_for),
            (Some(3), Some(0), Some(Duration::from_mins(6)))
        );
        let left = |window: Option<Window>| window.map(|window| window.left);
        assert_eq!((left(quota.minute_requests), left(quota.minute_tokens)), (Some(3), Some(0)));
    }

    /// As Cerebras documents them: requests of the day, tokens of the minute.
    #[test]
    fn what_is_left_of_a_day_is_not_what_is_left_of_a_minute() {
        let quota = quota(&headers(&[
            ("x-ratelimit-limit-requests-day", "14400"),
            ("x-ratelimit-remaining-requests-day", "14000"),
            ("x-ratelimit-limit-tokens-minute", "60000"),
            ("x-ratelimit-remaining-tokens-minute", "59000"),
        ]));
        assert_eq!((quota.requests, quota.minute_requests), (Some(14_000), None));
        assert_eq!(quota.minute_tokens, Some(Window { left: 59_000, limit: Some(60_000) }));
    }

    #[test]
    fn unknown_stays_unknown() {
        for odd in ["many", "-1", "NaN", ""] {
            let read =
                quota(&headers(&[("x-ratelimit-remaining-requests", odd), ("x-ratelimit-reset-requests", "60")]));
            assert_eq!(read, Quota::default(), "{odd}");
        }
        for limit in ["-1", "0", "unlimited"] {
            let read = quota(&headers(&[
                ("x-ratelimit-limit-requests", limit),
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", "60"),
            ]));
            assert_eq!(read, Quota::default(), "{limit}");
        }
    }

    #[test]
    fn resets_are_seconds_or_durations() {
        assert_eq!(duration("33011.38"), Some(Duration::from_secs_f64(33011.38)));
        assert_eq!(duration("1h2m3.5s"), Some(Duration::from_millis(3_723_500)));
        assert_eq!(duration("20ms"), Some(Duration::from_millis(20)));
        assert_eq!(duration("9999999999999999999s9999999999999999999s"), None);
        assert_eq!((duration("soon"), duration(""), duration("-3"), duration("3x")), (None, None, None, None));
    }
}

use http::header::{HeaderName, HeaderValue};

use super::*;

fn error(status: u16, body: &str) -> Error {
    let failure = Failure { operation: None, status, headers: &HeaderMap::new(), body: body.as_bytes() };
    OpenAiDialect.classify(&failure)
}

#[test]
fn every_shape_of_error_is_read() {
    let cases = [
        (400, r#"{"error":{"message":"m","type":"t","param":"p","code":400}}"#, ErrorKind::InvalidRequest, "m"),
        (400, r#"{"message":"m","type":"t","param":"p","code":"wrong_api_format"}"#, ErrorKind::InvalidRequest, "m"),
        (401, r#"{"error":"Unauthorized"}"#, ErrorKind::Auth, "Unauthorized"),
        (403, r#"{"detail":"Not authenticated"}"#, ErrorKind::Refused, "Not authenticated"),
        (422, r#"{"detail":[{"loc":["body"]}]}"#, ErrorKind::InvalidRequest, r#"[{"loc":["body"]}]"#),
        (
            200,
            r#"{"object":"error","message":"m does not exist","code":404,"type":"NotFoundError"}"#,
            ErrorKind::NotFound,
            "m does not exist",
        ),
        (200, r#"{"error":{"message":"m"},"status_code":429}"#, ErrorKind::RateLimited, "m"),
        (200, "", ErrorKind::Unavailable, "the upstream sent an empty answer"),
        (200, r#"{"err":"api","traceback":"t"}"#, ErrorKind::Unavailable, "the upstream's worker failed: api"),
        (413, "", ErrorKind::Unsupported, "the upstream answered 413 without saying why"),
        (502, "<html>", ErrorKind::Unavailable, "the upstream answered 502 with a web page"),
        (400, "<html>", ErrorKind::Refused, "the upstream answered 400 with a web page"),
        (500, r#"{"error":{"message":"a \ud83d b"}}"#, ErrorKind::Unavailable, "a \u{fffd} b"),
        (200, "{}", ErrorKind::Unavailable, "the upstream answered 500 without saying why"),
        (200, r#"{"status":"TIMED_OUT"}"#, ErrorKind::Unavailable, "the upstream's job ended as timed out"),
        (200, r#"{"status":"IN_PROGRESS"}"#, ErrorKind::Unavailable, "the upstream's job did not finish in time"),
    ];
    for (status, body, kind, message) in cases {
        let error = error(status, body);
        assert_eq!((error.kind, error.message.as_str()), (kind, message), "{status} {body}");
    }
}

#[test]
fn a_redirect_is_named_and_its_address_is_not() {
    for status in [301, 302, 307, 308] {
        let error = error(status, "<a href=\"http://10.0.0.1/\">moved</a>");
        assert!(error.message.contains("redirect") && error.message.contains("base_url"), "{error}");
        assert!(!error.message.contains("10.0.0.1"));
    }
}

#[test]
fn an_overflow_gets_the_code_that_clients_look_for() {
    let error = error(400, r#"{"error":{"message":"This model's maximum context length is 2048 tokens.","code":400}}"#);
    assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::ContextOverflow, Some("context_length_exceeded")));
}

#[test]
fn a_job_that_waits_says_which_it_is() {
    let body = br#"{"id":"sync-1-u1","status":"IN_QUEUE"}"#;
    let failure = Failure { operation: None, status: 200, headers: &HeaderMap::new(), body };
    let error = classify(ErrorFormat::RunPod, &failure, &ErrorBody::parse(body));
    assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::Overloaded, Some(blame::JOB_WAITS)));
    assert_eq!(error.ids.request(), Some("sync-1-u1"));
}

#[test]
fn an_error_keeps_what_the_upstream_said_of_it() {
    let said = error(400, r#"{"error":{"message":"no","param":"seed","code":"odd"}}"#);
    assert_eq!((said.param.as_deref(), said.code.as_deref(), said.status), (Some("seed"), Some("odd"), Some(400)));
    for (status, body, expected) in [
        (300, "", Some(300)),
        (503, "", Some(503)),
        (503, r#"{"error":{"message":"no","code":500}}"#, Some(503)),
        (200, r#"{"error":{"message":"no","code":429}}"#, Some(429)),
        (200, r#"{"error":{"message":"no"}}"#, None),
        (403, r#"{"error":{"message":"no","code":"content_filter"}}"#, Some(400)),
        (403, r#"{"error":{"message":"no"}}"#, Some(403)),
    ] {
        assert_eq!(error(status, body).status, expected, "{status} {body}");
    }
    assert_eq!(error(400, r#"{"id":"chatcmpl-1","message":"no"}"#).ids.request(), None, "the id of no job");
}

#[test]
fn a_finish_reason_distinguishes_a_complete_choice_from_a_failed_one() {
    for reason in ["stop", "length", "tool_calls", "content_filter", "function_call"] {
        assert_eq!(OpenAiDialect.finish(reason), Finish::Known, "{reason}");
    }
    for reason in ["error", "abort"] {
        assert_eq!(OpenAiDialect.finish(reason), Finish::Failed, "{reason}");
    }
    for reason in ["eos", "Stop", "aborted"] {
        assert_eq!(OpenAiDialect.finish(reason), Finish::Unknown, "{reason}");
    }
}

#[test]
fn the_time_to_wait_is_read_as_servers_write_it() {
    let (ms, seconds) = ("retry-after-ms", "retry-after");
    for (told, expected) in [
        (&[(ms, "250")][..], Some(Duration::from_millis(250))),
        (&[(ms, " 250 "), (seconds, "3")], Some(Duration::from_millis(250))),
        (&[(ms, "+5"), (seconds, "3")], Some(Duration::from_secs(3))),
        (&[(ms, "soon"), (seconds, "3")], Some(Duration::from_secs(3))),
        (&[(seconds, "0")], Some(Duration::ZERO)),
        (&[(seconds, "soon")], None),
        (&[(seconds, "Sun, 06 Nov 1994 08:49:37 GMT")], None),
        (
            &[(seconds, "Sun, 06 Nov 1994 08:49:37 GMT"), ("date", "Sun, 06 Nov 1994 08:49:40 GMT")],
            Some(Duration::ZERO),
        ),
        (&[], None),
    ] {
        let set = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let headers = told.iter().map(set).collect();
        let failure = Failure { operation: None, status: 429, headers: &headers, body: b"" };
        assert_eq!(OpenAiDialect.classify(&failure).retry_after, expected, "{told:?}");
    }
}

#[test]
fn a_date_to_retry_after_is_read_against_the_replys_own_clock() {
    let mut headers = HeaderMap::new();
    let mut set = |name, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    set(DATE, "Sun, 06 Nov 1994 08:49:30 GMT");
    set(RETRY_AFTER, "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(retry_after(&headers), Some(Duration::from_secs(7)));
}

#[test]
fn a_long_message_is_cut_between_characters() {
    let told = |text: &str| error(500, &format!(r#"{{"error":"{text}"}}"#)).message;
    assert_eq!(told(&"é".repeat(5_000)), "é".repeat(MAX_MESSAGE / 2));
    assert_eq!(told(&format!("x{}", "é".repeat(5_000))), format!("x{}", "é".repeat(MAX_MESSAGE / 2 - 1)));
    assert_eq!(told(&"x".repeat(MAX_MESSAGE)), "x".repeat(MAX_MESSAGE));
}

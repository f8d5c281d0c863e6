use http::header::HeaderValue;

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
fn a_date_to_retry_after_is_read_against_the_replys_own_clock() {
    let mut headers = HeaderMap::new();
    let mut set = |name, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    set(DATE, "Sun, 06 Nov 1994 08:49:30 GMT");
    set(RETRY_AFTER, "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(retry_after(&headers), Some(Duration::from_secs(7)));
}

#[test]
fn a_long_message_is_cut_between_characters() {
    assert!(truncate(&"é".repeat(5_000)).len() <= MAX_MESSAGE);
}

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::*;
use crate::{Dialect, ErrorBody, Failure, classify};

struct Words(ErrorFormat);

impl Dialect for Words {
    fn error_format(&self) -> ErrorFormat {
        self.0
    }
}

/// The row that decides about an answer.
fn decide(format: ErrorFormat, operation: Operation, status: u16, body: &str) -> &'static Row {
    let said = ErrorBody::parse(body.as_bytes());
    let meant = if status >= 300 { status } else { said.status.unwrap_or(500) };
    let operation = Some(operation);
    let answer = Answer { format, operation, sent: status, status: meant, said: &said, has_tokens_left: false };
    row(&Signal::Answer(answer))
}

#[test]
fn every_row_decides_about_its_own_example() {
    for expected in ROWS {
        let decided = match expected.example {
            Example::Silent(signal) => {
                assert_eq!(error(&signal, "").kind, expected.kind, "{}", expected.name);
                row(&signal)
            }
            Example::Answer { format, operation, status, body } => {
                let failure =
                    Failure { operation: Some(operation), status, headers: &HeaderMap::new(), body: body.as_bytes() };
                let error = Words(format).classify(&failure);
                assert_eq!(error.kind, expected.kind, "{}", expected.name);
                decide(format, operation, status, body)
            }
        };
        assert_eq!(decided.name, expected.name);
    }
}

#[test]
fn every_row_stands_in_the_documentation() {
    let documented = include_str!("../../../../docs/generated/blame.md");
    assert!(documented == page(), "write it anew: cargo run -p openai --example blame > docs/generated/blame.md");
}

#[test]
fn rows_have_distinct_names() {
    let mut names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ROWS.len());
}

/// Every status has a row, and none of a request's own making counts against health.
#[test]
fn what_a_client_can_provoke_leaves_health_alone() {
    let bodies = [
        "",
        "<html>no</html>",
        "{}",
        r#"{"error":{"message":"no"}}"#,
        r#"{"error":"no"}"#,
        r#"{"detail":"no"}"#,
        r#"{"message":"no","code":"odd"}"#,
        r#"{"error":{"message":"1 validation error: {'seed': 'no workers available'}","code":400}}"#,
        "not json",
    ];
    for format in [ErrorFormat::OpenAi, ErrorFormat::RunPod, ErrorFormat::Cerebras] {
        for status in (400..500).filter(|status| ![408, 425, 429].contains(status)) {
            for body in bodies {
                for operation in Operation::ALL {
                    let row = decide(format, operation, status, body);
                    assert!(!row.kind.counts_against_health(), "{status} {body}: {}", row.name);
                    let is_parked = matches!(row.kind, ErrorKind::RateLimited | ErrorKind::Overloaded);
                    assert!(!is_parked, "{status} {body}: {}", row.name);
                }
            }
        }
    }
}

#[test]
fn known_texts_count_only_as_the_whole_message_in_their_known_form() {
    let runpod = |status, body| decide(ErrorFormat::RunPod, Operation::Chat, status, body).name;
    for status in [400, 429, 500, 502, 503, 504] {
        assert_eq!(runpod(status, r#"{"error":"no workers available"}"#), "no workers");
        assert_eq!(runpod(status, r#"{"error":"No workers available "}"#), "no workers");
    }
    let quoted = r#"{"error":{"message":"1 validation error:\n 'input': 'no workers available'","code":400}}"#;
    assert_eq!(runpod(400, quoted), "client's mistake");
    assert_eq!(runpod(400, r#"{"error":{"message":"no workers available","param":"seed"}}"#), "client's mistake");
    assert_eq!(runpod(404, r#"{"error":"no workers available"}"#), "not found");
    for cut in [r#"{"error":"no workers available"#, r#"{"error":{"message":"no workers available"#] {
        assert_eq!(runpod(503, cut), "broken", "more may have followed");
    }
    let elsewhere = |format, body| decide(format, Operation::Chat, 503, body).name;
    assert_eq!(elsewhere(ErrorFormat::OpenAi, r#"{"error":"no workers available"}"#), "no workers");
    assert_eq!(elsewhere(ErrorFormat::OpenAi, r#"{"error":{"message":"no workers available"}}"#), "broken");
    assert_eq!(elsewhere(ErrorFormat::Cerebras, r#"{"error":"no workers available"}"#), "broken");
}

#[test]
fn a_refusal_within_a_200_needs_no_status_where_its_name_says_what_it_is() {
    let within = |body: &str| {
        let error = Words(ErrorFormat::OpenAi).in_band(body.as_bytes(), Some(Operation::Chat));
        (error.kind, error.status)
    };
    let refused = within(r#"{"error":{"message":"no","code":"content_filter"}}"#);
    assert_eq!(refused, (ErrorKind::Refused, Some(400)));
    let too_long = within(r#"{"error":{"message":"This model's maximum context length is 10 tokens."}}"#);
    assert_eq!(too_long, (ErrorKind::ContextOverflow, None));
    assert_eq!(within(r#"{"error":{"message":"no","code":500}}"#), (ErrorKind::Unavailable, Some(500)));
}

#[test]
fn a_status_that_breaks_an_upstream_is_believed_in_its_own_form_only() {
    let at_once = |format, status, body| {
        let kind = decide(format, Operation::Chat, status, body).kind;
        matches!(kind, ErrorKind::Auth | ErrorKind::NotFound)
    };
    let wrong_key = r#"{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}"#;
    let cases = [
        (ErrorFormat::OpenAi, 401, wrong_key, true),
        (ErrorFormat::OpenAi, 401, r#"{"error":"Unauthorized"}"#, true),
        (ErrorFormat::RunPod, 401, r#"{"error":"Unauthorized"}"#, true),
        (ErrorFormat::Cerebras, 403, r#"{"detail":"Not authenticated"}"#, true),
        (ErrorFormat::Cerebras, 402, r#"{"message":"m","type":"payment_required"}"#, true),
        (ErrorFormat::Cerebras, 401, wrong_key, false),
        (ErrorFormat::OpenAi, 403, r#"{"detail":"Not authenticated"}"#, false),
        (ErrorFormat::OpenAi, 403, r#"{"error":{"message":"flagged"}}"#, false),
        (ErrorFormat::OpenAi, 402, r#"{"error":{"message":"can only afford 100 tokens"}}"#, false),
        (ErrorFormat::OpenAi, 401, "", false),
        (ErrorFormat::Cerebras, 404, r#"{"message":"m","param":"model","code":"model_not_found"}"#, true),
        (
            ErrorFormat::OpenAi,
            404,
            r#"{"error":{"message":"No endpoints found that support tool use","code":404}}"#,
            false,
        ),
        (ErrorFormat::OpenAi, 404, "", false),
        (ErrorFormat::RunPod, 404, r#"{"error":"not found"}"#, false),
    ];
    for (format, status, body, expected) in cases {
        assert_eq!(at_once(format, status, body), expected, "{format:?} {status} {body}");
    }
}

#[test]
fn a_request_beyond_the_minute_parks_nobody() {
    let left = HeaderMap::from_iter([(
        HeaderName::from_static("x-ratelimit-remaining-tokens-minute"),
        HeaderValue::from_static("900"),
    )]);
    let body = br#"{"message":"Tokens per minute limit exceeded","param":"quota","code":"token_quota_exceeded"}"#;
    let kind = |headers| {
        let failure = Failure { operation: None, status: 429, headers, body };
        classify(ErrorFormat::Cerebras, &failure, &ErrorBody::parse(body)).kind
    };
    assert_eq!(kind(&left), ErrorKind::Refused);
    assert_eq!(kind(&HeaderMap::new()), ErrorKind::RateLimited);
}

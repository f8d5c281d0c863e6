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

/// The name of the row that decides about an answer to a chat.
fn of_chat(format: ErrorFormat, status: u16, body: &str) -> &'static str {
    decide(format, Operation::Chat, status, body).name
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
    const TOKENS: &str =
        r#"{"message":"Tokens per minute limit exceeded","param":"quota","code":"token_quota_exceeded"}"#;
    let kind = |format, left: Option<&'static str>, body: &str| {
        let name = HeaderName::from_static("x-ratelimit-remaining-tokens-minute");
        let headers = left.map(|left| (name, HeaderValue::from_static(left))).into_iter().collect();
        let failure = Failure { operation: None, status: 429, headers: &headers, body: body.as_bytes() };
        classify(format, &failure, &ErrorBody::parse(body.as_bytes())).kind
    };
    assert_eq!(kind(ErrorFormat::Cerebras, Some("900"), TOKENS), ErrorKind::Refused);
    for (format, left, body) in [
        (ErrorFormat::Cerebras, None, TOKENS),
        (ErrorFormat::Cerebras, Some("0"), TOKENS),
        (
            ErrorFormat::Cerebras,
            Some("900"),
            r#"{"message":"Tokens per day limit exceeded","code":"token_quota_exceeded"}"#,
        ),
        (
            ErrorFormat::Cerebras,
            Some("900"),
            r#"{"message":"Requests per minute exceeded","code":"request_quota_exceeded"}"#,
        ),
        (ErrorFormat::OpenAi, Some("900"), TOKENS),
    ] {
        assert_eq!(kind(format, left, body), ErrorKind::RateLimited, "{format:?} {left:?} {body}");
    }
    let beyond = "too large for the minute";
    for (status, body, expected) in [
        (413, r#"{"error":"Request too large for m"}"#, beyond),
        (429, r#"{"error":"the request is too large"}"#, beyond),
        (400, r#"{"error":"the request is too large"}"#, "client's mistake"),
        (400, r#"{"message":"wait a minute","code":"token_quota_exceeded"}"#, "client's mistake"),
    ] {
        assert_eq!(of_chat(ErrorFormat::Cerebras, status, body), expected, "{status} {body}");
    }
}

#[test]
fn a_prompt_is_too_long_only_where_the_words_are_about_it() {
    let (context, mistake) = ("context", "client's mistake");
    for (status, body, expected) in [
        (400, r#"{"message":"the maximum context length is 10"}"#, context),
        (413, r#"{"message":"the maximum context length is 10","param":"messages"}"#, context),
        (422, r#"{"message":"it cannot be greater than max_model_len","param":"max_tokens"}"#, context),
        (400, r#"{"message":"it cannot be greater than max_model_len"}"#, context),
        (400, r#"{"message":"no","param":"user","code":"context_length_exceeded"}"#, context),
        (400, r#"{"message":"'maximum context length' is no user","param":"user"}"#, mistake),
        (400, r#"{"message":"'cannot be greater than max_model_len' is no user","param":"user"}"#, mistake),
        (400, r#"{"message":"no","param":"messages"}"#, mistake),
        (500, r#"{"message":"the maximum context length is 10"}"#, "broken, or a poisonous request"),
        (200, r#"{"error":{"message":"the maximum context length is 10"}}"#, context),
        (200, r#"{"error":{"message":"the maximum context length is 10","code":400}}"#, context),
        (
            200,
            r#"{"error":{"message":"the maximum context length is 10","code":500}}"#,
            "broken, or a poisonous request",
        ),
    ] {
        assert_eq!(of_chat(ErrorFormat::OpenAi, status, body), expected, "{status} {body}");
    }
}

#[test]
fn a_refusal_for_the_content_is_known_by_its_name_or_by_its_words() {
    let moderation = "moderation";
    for status in [400, 403, 422, 451] {
        for body in [
            r#"{"message":"no","code":"content_filter"}"#,
            r#"{"message":"no","type":"moderation_blocked"}"#,
            r#"{"error":"your input was flagged by moderation"}"#,
            r#"{"error":"refused by our content management policy"}"#,
        ] {
            assert_eq!(of_chat(ErrorFormat::OpenAi, status, body), moderation, "{status} {body}");
        }
        assert_ne!(of_chat(ErrorFormat::OpenAi, status, r#"{"message":"no","code":"odd"}"#), moderation, "{status}");
    }
    for status in [404, 409, 500] {
        assert_ne!(
            of_chat(ErrorFormat::OpenAi, status, r#"{"message":"no","code":"content_filter"}"#),
            moderation,
            "{status}"
        );
    }
}

#[test]
fn a_key_is_refused_only_in_its_providers_own_words() {
    let called = |name: &str| format!(r#"{{"error":{{"message":"no","code":"{name}"}}}}"#);
    let [wrong, invalid, unpaid] = ["wrong_api_key", "invalid_api_key", "payment_required"].map(called);
    let unauthorized = r#"{"error":"Unauthorized"}"#;
    let (problem, unnamed) = (r#"{"detail":"no","status":401}"#, r#"{"detail":"no"}"#);
    let detail = r#"{"detail":"Not authenticated"}"#;
    for (format, body, statuses) in [
        (ErrorFormat::Cerebras, wrong.as_str(), &[401][..]),
        (ErrorFormat::Cerebras, detail, &[403]),
        (ErrorFormat::Cerebras, r#"{"error":"Not authenticated"}"#, &[]),
        (ErrorFormat::Cerebras, unnamed, &[]),
        (ErrorFormat::Cerebras, &unpaid, &[402]),
        (ErrorFormat::Cerebras, r#"{"message":"no","type":"payment_required_error"}"#, &[402]),
        (ErrorFormat::Cerebras, &invalid, &[]),
        (ErrorFormat::Cerebras, unauthorized, &[]),
        (ErrorFormat::RunPod, problem, &[401]),
        (ErrorFormat::RunPod, r#"{"detail":"no","status":403}"#, &[]),
        (ErrorFormat::RunPod, unnamed, &[]),
        (ErrorFormat::RunPod, unauthorized, &[401, 403]),
        (ErrorFormat::RunPod, &invalid, &[401, 403]),
        (ErrorFormat::RunPod, r#"{"error":{"message":"Unauthorized"}}"#, &[]),
        (ErrorFormat::RunPod, r#"{"error":"no"}"#, &[]),
        (ErrorFormat::RunPod, &wrong, &[]),
        (ErrorFormat::OpenAi, problem, &[]),
        (ErrorFormat::OpenAi, unauthorized, &[401, 403]),
        (ErrorFormat::OpenAi, &invalid, &[401, 403]),
        (ErrorFormat::OpenAi, &called("account_deactivated"), &[401, 403]),
        (ErrorFormat::OpenAi, r#"{"error":{"message":"no","type":"authentication_error"}}"#, &[401, 403]),
        (ErrorFormat::OpenAi, r#"{"error":{"message":"Unauthorized"}}"#, &[]),
        (ErrorFormat::OpenAi, r#"{"error":"no"}"#, &[]),
        (ErrorFormat::OpenAi, &unpaid, &[]),
    ] {
        for status in [401, 402, 403] {
            let expected = if statuses.contains(&status) { "key refused" } else { "refused in a foreign form" };
            assert_eq!(of_chat(format, status, body), expected, "{format:?} {status} {body}");
        }
        assert_eq!(of_chat(format, 418, body), "client's mistake", "{format:?} {body}");
    }
}

#[test]
fn a_model_is_missing_only_where_a_404_says_so() {
    let (missing, not_found) = ("model missing", "not found");
    for (status, body, expected) in [
        (404, r#"{"message":"The model `m` does not exist","type":"NotFoundError"}"#, missing),
        (404, r#"{"message":"no","code":"model_not_found"}"#, missing),
        (404, r#"{"message":"The model `m` does not exist"}"#, not_found),
        (404, r#"{"message":"no such path","type":"NotFoundError"}"#, not_found),
        (405, r#"{"message":"no","code":"model_not_found"}"#, not_found),
        (400, r#"{"message":"The model `m` does not exist","type":"NotFoundError"}"#, "client's mistake"),
    ] {
        assert_eq!(of_chat(ErrorFormat::OpenAi, status, body), expected, "{status} {body}");
    }
}

#[test]
fn an_operation_is_missing_where_its_path_is_and_others_may_be_there() {
    let (missing, not_found) = ("operation missing", "not found");
    for (status, body, expected) in [
        (404, "", missing),
        (404, r#"{"detail":"Not Found"}"#, missing),
        (404, r#"{"error":"no route for this host"}"#, not_found),
        (405, "", missing),
        (405, r#"{"detail":"Method Not Allowed"}"#, missing),
        (501, "", missing),
        (503, "", "broken"),
    ] {
        for operation in [Operation::Completions, Operation::Embeddings] {
            assert_eq!(
                decide(ErrorFormat::OpenAi, operation, status, body).name,
                expected,
                "{operation:?} {status} {body}"
            );
        }
        // A chat is what every upstream can do.
        let of_chats = if matches!(status, 404 | 405) { not_found } else { expected };
        assert_eq!(of_chat(ErrorFormat::OpenAi, status, body), of_chats, "{status} {body}");
    }
}

#[test]
fn what_a_deployment_cannot_do_is_no_mistake_of_the_clients() {
    let (beyond, mistake) = ("beyond the deployment", "client's mistake");
    let [parser, images, endpoints, other] =
        ["set --tool-call-parser", "m is not a multimodal model", "No endpoints found for tools", "no"]
            .map(|message| format!(r#"{{"error":{{"message":"{message}"}}}}"#));
    for (status, body, expected) in [
        (400, &parser, beyond),
        (422, &images, beyond),
        (404, &endpoints, beyond),
        (400, &endpoints, mistake),
        (400, &other, mistake),
        (404, &parser, "not found"),
        (404, &other, "not found"),
        (500, &images, "broken, or a poisonous request"),
    ] {
        assert_eq!(of_chat(ErrorFormat::OpenAi, status, body), expected, "{status} {body}");
    }
}

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::*;
use crate::{Dialect, ErrorBody, Failure, classify};

struct Words(Whose);

impl Dialect for Words {
    fn whose(&self) -> Whose {
        self.0
    }
}

/// The row that decides about an answer.
fn decide(whose: Whose, operation: Operation, status: u16, body: &str) -> &'static Row {
    let said = ErrorBody::parse(body.as_bytes());
    let meant = if status >= 300 { status } else { said.status.unwrap_or(500) };
    let operation = Some(operation);
    let answer = Answer { whose, operation, sent: status, status: meant, said: &said, has_tokens_left: false };
    row(&Signal::Answer(answer))
}

/// The name of the row that decides about an answer to a chat.
fn of_chat(whose: Whose, status: u16, body: &str) -> &'static str {
    decide(whose, Operation::Chat, status, body).name
}

#[test]
fn every_row_decides_about_its_own_example() {
    for expected in ROWS {
        let decided = match expected.example {
            Example::Silent(signal) => {
                assert_eq!(error(&signal, "").kind, expected.kind, "{}", expected.name);
                row(&signal)
            }
            Example::Answer { whose, operation, status, body } => {
                let failure =
                    Failure { operation: Some(operation), status, headers: &HeaderMap::new(), body: body.as_bytes() };
                let error = Words(whose).classify(&failure);
                assert_eq!(error.kind, expected.kind, "{}", expected.name);
                decide(whose, operation, status, body)
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
fn rows_are_told_apart_by_name() {
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
    for whose in [Whose::OpenAi, Whose::RunPod, Whose::Cerebras] {
        for status in (400..500).filter(|status| ![408, 425, 429].contains(status)) {
            for body in bodies {
                for operation in Operation::ALL {
                    let row = decide(whose, operation, status, body);
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
    let runpod = |status, body| decide(Whose::RunPod, Operation::Chat, status, body).name;
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
    let elsewhere = |whose, body| decide(whose, Operation::Chat, 503, body).name;
    assert_eq!(elsewhere(Whose::OpenAi, r#"{"error":"no workers available"}"#), "no workers");
    assert_eq!(elsewhere(Whose::OpenAi, r#"{"error":{"message":"no workers available"}}"#), "broken");
    assert_eq!(elsewhere(Whose::Cerebras, r#"{"error":"no workers available"}"#), "broken");
}

#[test]
fn a_refusal_within_a_200_needs_no_status_where_its_name_says_what_it_is() {
    let within = |body: &str| {
        let error = Words(Whose::OpenAi).in_band(body.as_bytes(), Some(Operation::Chat));
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
    let at_once = |whose, status, body| {
        let kind = decide(whose, Operation::Chat, status, body).kind;
        matches!(kind, ErrorKind::Auth | ErrorKind::NotFound)
    };
    let wrong_key = r#"{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}"#;
    let cases = [
        (Whose::OpenAi, 401, wrong_key, true),
        (Whose::OpenAi, 401, r#"{"error":"Unauthorized"}"#, true),
        (Whose::RunPod, 401, r#"{"error":"Unauthorized"}"#, true),
        (Whose::Cerebras, 403, r#"{"detail":"Not authenticated"}"#, true),
        (Whose::Cerebras, 402, r#"{"message":"m","type":"payment_required"}"#, true),
        (Whose::Cerebras, 401, wrong_key, false),
        (Whose::OpenAi, 403, r#"{"detail":"Not authenticated"}"#, false),
        (Whose::OpenAi, 403, r#"{"error":{"message":"flagged"}}"#, false),
        (Whose::OpenAi, 402, r#"{"error":{"message":"can only afford 100 tokens"}}"#, false),
        (Whose::OpenAi, 401, "", false),
        (Whose::Cerebras, 404, r#"{"message":"m","param":"model","code":"model_not_found"}"#, true),
        (Whose::OpenAi, 404, r#"{"error":{"message":"No endpoints found that support tool use","code":404}}"#, false),
        (Whose::OpenAi, 404, "", false),
        (Whose::RunPod, 404, r#"{"error":"not found"}"#, false),
    ];
    for (whose, status, body, expected) in cases {
        assert_eq!(at_once(whose, status, body), expected, "{whose:?} {status} {body}");
    }
}

#[test]
fn a_request_beyond_the_minute_parks_nobody() {
    const TOKENS: &str =
        r#"{"message":"Tokens per minute limit exceeded","param":"quota","code":"token_quota_exceeded"}"#;
    let kind = |whose, left: Option<&'static str>, body: &str| {
        let name = HeaderName::from_static("x-ratelimit-remaining-tokens-minute");
        let headers = left.map(|left| (name, HeaderValue::from_static(left))).into_iter().collect();
        let failure = Failure { operation: None, status: 429, headers: &headers, body: body.as_bytes() };
        classify(whose, &failure, &ErrorBody::parse(body.as_bytes())).kind
    };
    assert_eq!(kind(Whose::Cerebras, Some("900"), TOKENS), ErrorKind::Refused);
    for (whose, left, body) in [
        (Whose::Cerebras, None, TOKENS),
        (Whose::Cerebras, Some("0"), TOKENS),
        (Whose::Cerebras, Some("900"), r#"{"message":"Tokens per day limit exceeded","code":"token_quota_exceeded"}"#),
        (Whose::Cerebras, Some("900"), r#"{"message":"Requests per minute exceeded","code":"request_quota_exceeded"}"#),
        (Whose::OpenAi, Some("900"), TOKENS),
    ] {
        assert_eq!(kind(whose, left, body), ErrorKind::RateLimited, "{whose:?} {left:?} {body}");
    }
    let beyond = "too large for the minute";
    for (status, body, expected) in [
        (413, r#"{"error":"Request too large for m"}"#, beyond),
        (429, r#"{"error":"the request is too large"}"#, beyond),
        (400, r#"{"error":"the request is too large"}"#, "client's mistake"),
        (400, r#"{"message":"wait a minute","code":"token_quota_exceeded"}"#, "client's mistake"),
    ] {
        assert_eq!(of_chat(Whose::Cerebras, status, body), expected, "{status} {body}");
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
        assert_eq!(of_chat(Whose::OpenAi, status, body), expected, "{status} {body}");
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
            assert_eq!(of_chat(Whose::OpenAi, status, body), moderation, "{status} {body}");
        }
        assert_ne!(of_chat(Whose::OpenAi, status, r#"{"message":"no","code":"odd"}"#), moderation, "{status}");
    }
    for status in [404, 409, 500] {
        assert_ne!(
            of_chat(Whose::OpenAi, status, r#"{"message":"no","code":"content_filter"}"#),
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
    for (whose, body, statuses) in [
        (Whose::Cerebras, wrong.as_str(), &[401][..]),
        (Whose::Cerebras, detail, &[403]),
        (Whose::Cerebras, r#"{"error":"Not authenticated"}"#, &[]),
        (Whose::Cerebras, unnamed, &[]),
        (Whose::Cerebras, &unpaid, &[402]),
        (Whose::Cerebras, r#"{"message":"no","type":"payment_required_error"}"#, &[402]),
        (Whose::Cerebras, &invalid, &[]),
        (Whose::Cerebras, unauthorized, &[]),
        (Whose::RunPod, problem, &[401]),
        (Whose::RunPod, r#"{"detail":"no","status":403}"#, &[]),
        (Whose::RunPod, unnamed, &[]),
        (Whose::RunPod, unauthorized, &[401, 403]),
        (Whose::RunPod, &invalid, &[401, 403]),
        (Whose::RunPod, r#"{"error":{"message":"Unauthorized"}}"#, &[]),
        (Whose::RunPod, r#"{"error":"no"}"#, &[]),
        (Whose::RunPod, &wrong, &[]),
        (Whose::OpenAi, problem, &[]),
        (Whose::OpenAi, unauthorized, &[401, 403]),
        (Whose::OpenAi, &invalid, &[401, 403]),
        (Whose::OpenAi, &called("account_deactivated"), &[401, 403]),
        (Whose::OpenAi, r#"{"error":{"message":"no","type":"authentication_error"}}"#, &[401, 403]),
        (Whose::OpenAi, r#"{"error":{"message":"Unauthorized"}}"#, &[]),
        (Whose::OpenAi, r#"{"error":"no"}"#, &[]),
        (Whose::OpenAi, &unpaid, &[]),
    ] {
        for status in [401, 402, 403] {
            let expected = if statuses.contains(&status) { "key refused" } else { "refused in a foreign form" };
            assert_eq!(of_chat(whose, status, body), expected, "{whose:?} {status} {body}");
        }
        assert_eq!(of_chat(whose, 418, body), "client's mistake", "{whose:?} {body}");
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
        assert_eq!(of_chat(Whose::OpenAi, status, body), expected, "{status} {body}");
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
            assert_eq!(decide(Whose::OpenAi, operation, status, body).name, expected, "{operation:?} {status} {body}");
        }
        // A chat is what every upstream can do.
        let of_chats = if matches!(status, 404 | 405) { not_found } else { expected };
        assert_eq!(of_chat(Whose::OpenAi, status, body), of_chats, "{status} {body}");
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
        assert_eq!(of_chat(Whose::OpenAi, status, body), expected, "{status} {body}");
    }
}

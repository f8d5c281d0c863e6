//! A refusal of one request moves on and leaves the upstream's health alone.

use e2e::{Rig, chat, only, streamed};
use emulator::{End, Fault, OddWhole, Refusal, Settings};
use futures_util::future::join_all;
use serde_json::json;

use super::setup::{A, B, JSON, a, alone, answer, assert_unharmed, pair, pair_of, post, say_hello};

const PAGE: &str = "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head>\
                    <body><center>nginx</center></body></html>";

/// Has `a` answer with each of these, whole and streamed. Everything is served by `b`, and `a` is asked each time: five
/// failures in a row would open its breaker.
async fn assert_all_move_on(refusals: &[(String, Fault)]) {
    let rig = pair();
    for (number, (what, fault)) in refusals.iter().enumerate() {
        rig.emulator.control(A, fault.clone());
        let question = chat(&format!("question {number}"));
        for body in [question.clone(), streamed(question)] {
            let answered = rig.client.chat(&body).await;
            let by = (answered.status, answered.header("x-llm-router-upstream"), answered.reason());
            assert_eq!(by, (200, "b", "fallback"), "{what}: {}", answered.text);
            assert_eq!(answered.header("x-llm-router-attempts"), "2", "{what}");
        }
    }
    assert_unharmed(&rig).await;
}

#[tokio::test]
async fn c23_refusals_that_are_not_the_client_s_mistake_move_on() {
    let said = r#"{"error":{"message":"conflict","type":"conflict","code":null}}"#;
    let mut answers: Vec<(u16, &str, &str)> = Vec::new();
    for status in [407, 409, 424, 498, 499] {
        answers.extend([(status, JSON, said), (status, "text/html", PAGE), (status, "", "")]);
    }
    answers.extend([400, 403, 404, 422].map(|status| (status, "text/html", PAGE)));
    answers.extend([
        (400, "text/plain", PAGE),
        (400, "", PAGE),
        (400, "text/html", "\r\n<!DOCTYPE html><p>Bad Request</p>"),
    ]);
    let refusals: Vec<(String, Fault)> = answers
        .into_iter()
        .map(|(status, label, body)| (format!("{status} {label} {body}"), answer(status, label, body, End::Complete)))
        .collect();
    assert_all_move_on(&refusals).await;
}

#[tokio::test]
async fn refusals_of_one_request_move_on() {
    let refusals = [
        Refusal::Moderation,
        Refusal::Moderation403,
        Refusal::FirewallPage,
        Refusal::FirewallPage400,
        Refusal::NoEndpointForTools,
        Refusal::TooLargeForMinute { code: 429 },
        Refusal::TooLargeForMinute { code: 413 },
        Refusal::Foreign401,
        Refusal::Foreign403,
        Refusal::OperationMissing { code: 404 },
        Refusal::OperationMissing { code: 405 },
    ];
    assert_all_move_on(&refusals.map(|refusal| (format!("{refusal:?}"), Fault::Refusal(refusal)))).await;
}

/// RunPod's words for an endpoint without workers, quoted by a vLLM that refuses a request in which they stand.
#[tokio::test]
async fn a_quoted_no_workers_available_parks_nobody() {
    let quoted = r#"{"error":{"message":"1 validation error: 'input': 'no workers available'","type":"Bad Request","param":"body.seed","code":400}}"#;
    for provider in ["runpod", "openai"] {
        for (what, fault) in [
            ("echoed", Fault::Refusal(Refusal::EchoedNoWorkers)),
            ("400", answer(400, JSON, quoted, End::Complete)),
            ("200", answer(200, JSON, quoted, End::Complete)),
        ] {
            let rig = pair_of(&a(provider));
            rig.emulator.control(A, fault);
            let body = json!({"model": e2e::MODEL, "messages": [{"role": "user", "content": "x"}], "seed": "no workers available"});
            let refused = rig.client.chat(&body).await;
            assert_eq!(refused.status, 400, "{provider} {what}: the client's own mistake: {}", refused.text);
            assert_unharmed(&rig).await;
        }
    }
}

/// RunPod answers so when its own proxy fails.
#[tokio::test]
async fn a_traceback_in_a_200_is_an_error_and_is_not_shown() {
    let rig = pair_of(&a("runpod"));
    rig.emulator.control(A, Fault::OddWhole(OddWhole::ErrTraceback));
    let answered = rig.client.chat(&chat("hello")).await;
    assert_eq!((answered.status, answered.header("x-llm-router-upstream")), (200, "b"), "{}", answered.text);
    let alone = Rig::start(Settings::instant(), &format!("{}{}deadline_ms = 3000\n", a("runpod"), only("a")));
    alone.emulator.control(A, Fault::OddWhole(OddWhole::ErrTraceback));
    let failed = alone.client.chat(&chat("hello")).await;
    assert!(failed.status >= 500 && !failed.text.contains("Traceback"), "{}: {}", failed.status, failed.text);
}

#[tokio::test]
async fn c25_a_quota_that_cannot_be_read_is_unknown() {
    let rig = alone();
    for remaining in ["-1", "-0.5", "unlimited", "NaN", "inf", "1e999", "", "0x10"] {
        let headers = [
            ("x-ratelimit-limit-requests", "-1"),
            ("x-ratelimit-remaining-requests", remaining),
            ("x-ratelimit-reset-requests", "60"),
            ("x-ratelimit-remaining-tokens", remaining),
            ("x-ratelimit-reset-tokens", "60"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        rig.emulator.control(A, Fault::OddQuota { headers });
        for _ in 0..3 {
            let answered = rig.client.chat(&chat("hello")).await;
            assert_eq!(answered.status, 200, "{remaining:?}: {}", answered.text);
        }
    }
}

#[tokio::test]
async fn c26_a_redirect_is_named_as_such() {
    let told = [301, 302, 303, 307, 308].map(|code| async move {
        let rig = alone();
        let location = "https://elsewhere.example/v1".to_owned();
        rig.emulator.control(A, Fault::Refusal(Refusal::Redirect { code, location }));
        let body = if code % 2 == 0 { chat("hello") } else { say_hello() };
        let failed = rig.client.chat(&body).await;
        let message = failed.error_message();
        assert!(failed.status >= 500, "{code}: {}", failed.text);
        assert!(message.contains("redirect") && message.contains("base_url"), "{code}: {message}");
    });
    join_all(told).await;
}

/// What one operation answers says nothing about the others.
#[tokio::test]
async fn an_operation_that_is_missing_leaves_the_others_alone() {
    let answer = r#"{"object":"list","choices":[{"text":"x","finish_reason":"stop"}],"data":[{"embedding":[0.5]}]}"#;
    for code in [404, 405] {
        let rig = pair();
        rig.emulator.control(A, Fault::Refusal(Refusal::OperationMissing { code }));
        rig.emulator.control(B, super::setup::answer(200, JSON, answer, End::Complete));
        for _ in 0..7 {
            for (path, input) in [("/v1/completions", "prompt"), ("/v1/embeddings", "input")] {
                let body = json!({"model": e2e::MODEL, input: "x"}).to_string();
                let answered = post(&rig, path, &body).await;
                let by = (answered.status, answered.header("x-llm-router-upstream"));
                assert_eq!(by, (200, "b"), "{code} {path}: {}", answered.text);
            }
        }
        assert_unharmed(&rig).await;
    }
}

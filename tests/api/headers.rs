//! Response headers: the request's id, who answered, and how much of a key's allowance is left.

use std::collections::HashSet;

use e2e::{Answer, BALANCED, CEREBRAS, Launch, RUNPOD_LB, chat, streamed, with};
use emulator::Settings;
use reqwest::Method;
use serde_json::json;

use crate::common::launch;

#[tokio::test]
async fn a_harmless_request_id_comes_back_and_any_other_is_replaced() {
    let rig = launch().start();
    let call = async |id: Option<&[u8]>, key: bool| {
        let path = "/v1/chat/completions";
        let request = if key { rig.client.request(Method::POST, path) } else { rig.client.bare(Method::POST, path) };
        let mut request = request.header("content-type", "application/json").body(chat("x").to_string());
        if let Some(id) = id {
            request = request.header("x-request-id", id);
        }
        Answer::of(request).await.header("x-request-id").to_owned()
    };
    for harmless in ["a", "req_1.2-3", &"x".repeat(64)] {
        assert_eq!(call(Some(harmless.as_bytes()), true).await, harmless);
        assert_eq!(call(Some(harmless.as_bytes()), false).await, harmless, "of a refusal too");
    }
    let mut seen = HashSet::new();
    let long = "x".repeat(65);
    let odd: [Option<&[u8]>; 8] =
        [None, None, Some(b""), Some(long.as_bytes()), Some(b"a b"), Some(b"a/b"), Some(b"\"}"), Some(b"\xff")];
    for id in odd {
        for key in [true, false] {
            let given = call(id, key).await;
            assert!(given.starts_with("req-"), "{id:?}: {given}");
            assert!(seen.insert(given), "each id is given once");
        }
    }
}

#[tokio::test]
async fn every_answer_of_the_api_has_an_id() {
    let rig = launch().start();
    let requests = [
        (Method::GET, "/v1/models"),
        (Method::GET, "/v1/models/llama"),
        (Method::GET, "/v1/models/other"),
        (Method::PUT, "/v1/models"),
        (Method::GET, "/v1/chat/completions"),
        (Method::POST, "/v1/responses"),
        (Method::GET, "/v1/responses/resp_1"),
        (Method::POST, "/v1/messages"),
        (Method::GET, "/nowhere"),
    ];
    for (method, path) in requests {
        let request = rig.client.request(method.clone(), path).header("x-request-id", "mine");
        assert_eq!(Answer::of(request).await.header("x-request-id"), "mine", "{method} {path}");
        let answer = Answer::of(rig.client.request(method.clone(), path)).await;
        assert!(answer.header("x-request-id").starts_with("req-"), "{method} {path}");
    }
}

#[tokio::test]
async fn headers_say_who_answered_and_what_was_changed() {
    let priced = "cost = { kind = \"tokens\", input_usd_per_million = \"0.10\", output_usd_per_million = \"0.10\" }\n";
    let only_cerebras = BALANCED.replace("share = 0.8", "share = 0.0").replace("share = 0.2", "share = 1.0");
    let config = format!("{RUNPOD_LB}{CEREBRAS}{priced}{only_cerebras}");
    let rig = Launch::new(Settings::instant(), &config).start();
    let body = with(chat("x"), json!({"top_k": 5, "not_a_param\u{e9}": 1}));
    let answer = rig.client.chat(&body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let headers = ["provider", "upstream", "attempts", "dropped-params", "injected-params"]
        .map(|name| answer.header(&format!("x-llm-router-{name}")));
    assert_eq!(headers, ["cerebras", "cerebras", "1", "top_k, not_a_param?", "max_completion_tokens=4096"]);
    assert!(!answer.reason().is_empty());
    let usage = &answer.json()["usage"];
    let tokens = usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap();
    assert_eq!(answer.header("x-llm-router-cost-usd").parse::<f64>(), Ok(format!("{tokens}e-7").parse().unwrap()));

    // A stream's cost is not known before its body; the rest is the same.
    let stream = rig.client.stream(&streamed(body)).await;
    assert!(stream.is_done());
    assert_eq!(stream.provider(), "cerebras");
    assert_eq!(stream.header("x-llm-router-cost-usd"), "");
    assert_eq!(stream.header("content-type"), "text/event-stream; charset=utf-8");
    assert_eq!((stream.header("cache-control"), stream.header("x-accel-buffering")), ("no-cache", "no"));
}

/// One a minute comes back, so that none does while the test runs.
#[tokio::test]
async fn the_allowance_counts_down() {
    let key = "\n[[keys]]\nid = \"k\"\nteam = \"t\"\nenv = \"CLIENT_KEY\"\nlimits = { requests_per_minute = 1, burst = 50 }\n";
    let rig = Launch::new(Settings::instant(), &format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}{key}")).start();
    for made in 1..=5 {
        let answer = rig.client.chat(&chat("x")).await;
        assert_eq!(answer.header("x-ratelimit-limit-requests"), "1");
        assert_eq!(answer.header("x-ratelimit-remaining-requests"), (50 - made).to_string());
        let reset = answer.header("x-ratelimit-reset-requests").strip_suffix("ms").expect("milliseconds");
        let reset: u64 = reset.parse().expect("a number");
        assert!((60_000 * (made - 1)..=60_000 * made).contains(&reset), "{reset}");
    }
}

//! What every adapter must do, tested through the whole service: the same cases for RunPod's two kinds of endpoint,
//! Cerebras and any OpenAI-compatible server.

use std::time::Duration;

use e2e::{
    Answer, CEREBRAS, OPENAI, RUNPOD_LB, RUNPOD_QUEUE, Rig, UPSTREAM_KEY, chat, eventually, only, streamed, with,
    within,
};
use emulator::{ErrorShape, Face, Fault, Limit, Settings};
use serde_json::{Value, json};

/// An upstream under test.
#[derive(Clone, Copy)]
struct Adapter {
    upstream: &'static str,
    id: &'static str,
    face: Face,
}

const ADAPTERS: [Adapter; 4] = [
    Adapter { upstream: RUNPOD_LB, id: "runpod", face: Face::RunpodLb },
    Adapter { upstream: RUNPOD_QUEUE, id: "runpod", face: Face::RunpodQueue },
    Adapter { upstream: CEREBRAS, id: "cerebras", face: Face::Cerebras },
    Adapter { upstream: OPENAI, id: "openai", face: Face::RunpodLb },
];

/// Makes a test of each case for each adapter.
macro_rules! contract {
    ($($case:ident),* $(,)?) => {
        contract!(@ runpod_lb 0: $($case),*);
        contract!(@ runpod_queue 1: $($case),*);
        contract!(@ cerebras 2: $($case),*);
        contract!(@ openai 3: $($case),*);
    };
    (@ $name:ident $at:literal: $($case:ident),*) => {
        mod $name {
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case(super::ADAPTERS[$at]).await;
                }
            )*
        }
    };
}

contract!(
    a_whole_answer,
    a_stream,
    usage_on_request,
    completions,
    embeddings,
    rate_limited,
    server_errors,
    garbage,
    an_error_inside_a_success,
    a_slow_first_byte,
    a_cut_stream,
    a_cut_whole_answer,
    a_client_that_leaves,
    a_prompt_too_long,
    a_bad_parameter,
    an_unknown_model_upstream,
    a_wrong_key_upstream,
    nobody_listens,
);

impl Adapter {
    fn rig(self) -> Rig {
        self.rig_with(Settings::instant(), "")
    }

    /// With more keys for the upstream.
    fn rig_with(self, settings: Settings, more: &str) -> Rig {
        Rig::start(settings, &format!("{}{more}{}", self.upstream, only(self.id)))
    }

    /// Under a fault, with a deadline that leaves no time for many repeats.
    fn failing(self, fault: Fault) -> Rig {
        let rig = Rig::start(Settings::instant(), &format!("{}{}deadline_ms = 1500\n", self.upstream, only(self.id)));
        rig.emulator.control(self.face, fault);
        rig
    }
}

/// An error in OpenAI's shape that the SDKs do not repeat, and that names no secret and no address.
fn assert_final(answer: &Answer, status: u16, code: &str, what: &str) {
    assert_eq!((answer.status, answer.error_code().as_str()), (status, code), "{what}: {}", answer.text);
    assert!(!answer.error_message().is_empty(), "{what}: {}", answer.text);
    assert_eq!(answer.header("x-should-retry"), "false", "{what}: {:?}", answer.headers);
    for secret in [UPSTREAM_KEY, "127.0.0.1", "http://", "/v1"] {
        assert!(!answer.text.contains(secret), "{what}: {secret} in {}", answer.text);
        assert!(!format!("{:?}", answer.headers).contains(secret), "{what}: {secret} in {:?}", answer.headers);
    }
}

/// Whole and streamed: before the first token both end with a status.
async fn assert_both_final(rig: &Rig, body: Value, status: u16, code: &str, what: &str) {
    for body in [body.clone(), streamed(body)] {
        assert_final(&rig.client.chat(&body).await, status, code, what);
    }
}

async fn a_whole_answer(adapter: Adapter) {
    let answer = adapter.rig().client.chat(&chat("hello there")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.content().starts_with("You said: hello there"), "{}", answer.text);
    let body = answer.json();
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    assert_eq!(body["usage"]["completion_tokens"], 24);
    assert_eq!(answer.header("x-llm-router-upstream"), adapter.id);
}

async fn a_stream(adapter: Adapter) {
    let stream = adapter.rig().client.stream(&streamed(chat("hello there"))).await;
    assert_eq!(stream.status, 200, "{:?}", stream.events);
    assert!(stream.content().starts_with("You said: hello there"), "{:?}", stream.events);
    assert!(stream.is_done() && stream.is_complete && stream.errors().is_empty(), "{:?}", stream.events);
    assert!(stream.parsed().any(|event| event["choices"][0]["finish_reason"] == "stop"), "{:?}", stream.events);
}

async fn usage_on_request(adapter: Adapter) {
    let rig = adapter.rig();
    let hidden = rig.client.stream(&streamed(chat("hello"))).await;
    assert!(hidden.usage().is_empty(), "{:?}", hidden.events);
    let body = with(streamed(chat("hello")), json!({"stream_options": {"include_usage": true}}));
    let shown = rig.client.stream(&body).await;
    assert_eq!(shown.usage().len(), 1, "{:?}", shown.events);
    let output = [("upstream", adapter.id), ("type", "output")];
    let counted = rig.metrics().await.value("llmrouter_tokens_total", &output);
    assert!((counted - 48.0).abs() < 0.1, "both are counted: {counted}");
}

async fn completions(adapter: Adapter) {
    let rig = adapter.rig();
    let body = json!({"model": e2e::MODEL, "prompt": "hello there", "max_tokens": 6});
    let whole = rig.client.post("/v1/completions", &body).await;
    let text = whole.json()["choices"][0]["text"].as_str().unwrap_or_default().to_owned();
    assert!(whole.status == 200 && text.contains("hello there"), "{}", whole.text);
    let response = rig.client.json("/v1/completions", &streamed(body)).send().await.unwrap();
    let stream = e2e::Stream::of(response).rest().await;
    let text: String =
        stream.parsed().filter_map(|event| event["choices"][0]["text"].as_str().map(str::to_owned)).collect();
    assert!(stream.is_done() && text.contains("hello there"), "{:?}", stream.events);
}

async fn embeddings(adapter: Adapter) {
    let body = json!({"model": e2e::MODEL, "input": "hello"});
    if adapter.face == Face::Cerebras {
        let answer = adapter.rig().client.post("/v1/embeddings", &body).await;
        assert_eq!((answer.status, answer.error_code()), (400, "unsupported".to_owned()), "{}", answer.text);
        return;
    }
    let upstream = adapter.upstream.replace("meta-llama/Llama-3.1-8B-Instruct", "BAAI/bge-small");
    let text = format!("{upstream}supports = [\"embeddings\"]\n{}", only(adapter.id));
    let rig = Rig::start(Settings::instant(), &text);
    let answer = rig.client.post("/v1/embeddings", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.json()["data"][0]["embedding"][0].is_number(), "{}", answer.text);
    let chat = rig.client.chat(&chat("hello")).await;
    assert_eq!((chat.status, chat.error_code()), (400, "unsupported".to_owned()), "{}", chat.text);
}

async fn rate_limited(adapter: Adapter) {
    for which in [Limit::Requests, Limit::Tokens, Limit::Queue] {
        let rig = adapter.failing(Fault::RateLimited { which, retry_after_s: Some(7), reset_s: Some(7.0) });
        let answer = rig.client.chat(&chat("hello")).await;
        let code = match which {
            Limit::Queue if adapter.face == Face::Cerebras => "upstream_overloaded",
            Limit::Requests | Limit::Tokens | Limit::Queue => "upstream_rate_limited",
        };
        assert_final(&answer, 503, code, "429");
        let wait: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=7).contains(&wait), "{wait}");
        let breaker = rig.metrics().await.value("llmrouter_breaker_state", &[]);
        assert!(breaker.abs() < 0.1, "a limit is no illness: {breaker}");
    }
}

async fn server_errors(adapter: Adapter) {
    for code in [500, 502, 503, 524] {
        let rig = adapter.failing(Fault::Status { code, retry_after: None });
        let answer = rig.client.chat(&streamed(chat("hello"))).await;
        let overloaded = adapter.face == Face::RunpodLb && matches!(code, 502 | 503);
        let (status, expected) = if overloaded { (503, "upstream_overloaded") } else { (502, "upstream_unavailable") };
        assert_final(&answer, status, expected, &code.to_string());
    }
}

async fn garbage(adapter: Adapter) {
    let rig = adapter.failing(Fault::Garbage { after_events: 0 });
    for body in [chat("hello"), streamed(chat("hello"))] {
        let answer = rig.client.chat(&body).await;
        assert!(matches!(answer.error_code().as_str(), "upstream_invalid" | "upstream_unavailable"), "{}", answer.text);
        assert_final(&answer, 502, &answer.error_code(), "garbage");
    }
}

async fn an_error_inside_a_success(adapter: Adapter) {
    let rig = adapter.failing(Fault::OkWithErrorBody { shape: ErrorShape::Wrapped });
    assert_both_final(&rig, chat("hello"), 502, "upstream_unavailable", "200 with an error").await;
    let rig = adapter.failing(Fault::Empty200);
    assert_both_final(&rig, chat("hello"), 502, "upstream_unavailable", "200 without a body").await;
}

async fn a_slow_first_byte(adapter: Adapter) {
    let rig = adapter.rig_with(Settings::instant(), "timeouts = { first_token_ms = 200 }\n");
    rig.emulator.control(adapter.face, Fault::HangBefore);
    let body = with(chat("hello"), json!({"max_tokens": 4}));
    assert_both_final(&rig, body, 504, "upstream_timeout", "hangs").await;
    // A call whose client has left is cancelled.
    eventually("both calls are cancelled", async || (rig.call_log(adapter.face).cancelled == 2).then_some(())).await;
}

async fn a_cut_stream(adapter: Adapter) {
    let rig = adapter.failing(Fault::ResetAmid { after_events: 3 });
    let stream = rig.client.stream(&streamed(chat("hello"))).await;
    assert_eq!((stream.status, stream.errors().len()), (200, 1), "{:?}", stream.events);
    assert!(!stream.is_done() && stream.is_complete, "{:?}", stream.events);
}

async fn a_cut_whole_answer(adapter: Adapter) {
    for fault in [Fault::ResetAmid { after_events: 1 }, Fault::CutHead, Fault::ResetBefore] {
        let rig = adapter.failing(fault.clone());
        assert_final(&rig.client.chat(&chat("hello")).await, 502, "upstream_disconnected", &format!("{fault:?}"));
    }
}

async fn a_client_that_leaves(adapter: Adapter) {
    let rig = adapter.rig();
    rig.emulator.control(adapter.face, Fault::HangAmid { after_events: 3 });
    drop(rig.client.open(&streamed(chat("hello"))).await.first_token().await);
    within(Duration::from_secs(1), "the upstream sees the cancellation", async || {
        (rig.call_log(adapter.face).cancelled == 1).then_some(())
    })
    .await;
}

async fn a_prompt_too_long(adapter: Adapter) {
    // Four bytes are a token; the largest of the contexts has 65,536.
    let rig = adapter.rig();
    assert_both_final(&rig, chat(&"word ".repeat(60_000)), 400, "context_length_exceeded", "too long").await;
    let breaker = rig.metrics().await.value("llmrouter_breaker_state", &[]);
    assert!(breaker.abs() < 0.1, "the client's mistake is no illness: {breaker}");
}

async fn a_bad_parameter(adapter: Adapter) {
    let rig = adapter.rig();
    for _ in 0..10 {
        let answer = rig.client.chat(&with(chat("hello"), json!({"temperature": 99}))).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert!(answer.error_message().contains("temperature"), "{}", answer.text);
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error", "{}", answer.text);
    }
    assert_eq!(rig.client.chat(&chat("hello")).await.status, 200, "the next one works");
}

async fn an_unknown_model_upstream(adapter: Adapter) {
    let upstream = adapter.upstream.replace("meta-llama/Llama-3.1-8B-Instruct", "secret-model");
    let upstream = upstream.replace("llama3.1-8b", "secret-model");
    let rig = Rig::start(Settings::instant(), &format!("{upstream}{}deadline_ms = 1500\n", only(adapter.id)));
    let answer = rig.client.chat(&chat("hello")).await;
    assert_final(&answer, 502, "upstream_not_found", "unknown model");
    assert!(!answer.text.contains("secret-model"), "{}", answer.text);
}

async fn a_wrong_key_upstream(adapter: Adapter) {
    let mut settings = Settings::instant();
    let key = Some("another".to_owned());
    settings.runpod_lb.api_key.clone_from(&key);
    settings.runpod_queue.api_key.clone_from(&key);
    settings.cerebras.api_key = key;
    let rig = Rig::start(settings, &format!("{}{}deadline_ms = 1500\n", adapter.upstream, only(adapter.id)));
    assert_final(&rig.client.chat(&chat("hello")).await, 502, "upstream_auth", "wrong key");
}

async fn nobody_listens(adapter: Adapter) {
    let refusing = emulator::Emulator::refusing_base().unwrap();
    let lines = adapter.upstream.lines();
    let lines =
        lines.map(|line| if line.starts_with("base_url") { format!("base_url = {refusing:?}") } else { line.into() });
    let upstream = lines.collect::<Vec<_>>().join("\n");
    let rig = Rig::start(Settings::instant(), &format!("{upstream}\n{}deadline_ms = 1500\n", only(adapter.id)));
    assert_final(&rig.client.chat(&chat("hello")).await, 502, "upstream_unreachable", "closed port");
}

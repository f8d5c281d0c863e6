//! The kinds of odd answers hold on every route and of every provider.

use e2e::{MODEL, Rig, streamed};
use emulator::{End, Face};
use serde_json::json;

use super::setup::{
    A, B, DONE, EVENTS, JSON, a, answer, assert_served, assert_unharmed, chunk, content, ends, events, finish, pair,
    pair_of, say_hello, says, whole,
};

/// Odd streams that say `hello`, with their label.
fn streams() -> Vec<(&'static str, String)> {
    let (hello, finish) = (content("hello"), finish());
    let counted = chunk(&ends("\"stop\""), r#","usage":{"prompt_tokens":null,"completion_tokens":7.5}"#);
    let bodies = [
        format!("{hello}{counted}{DONE}"),
        format!("data: {{\"type\":\"ping\"}}\n\n{hello}{finish}data: {{}}\n\n{DONE}"),
        format!("data: {{\"choices\":null,\"model\":\"x\"}}\n\n{hello}{finish}{DONE}"),
        chunk(&says("hello"), ",\"error\":\"\"") + &finish + "data: [DONE] \n\n",
        chunk(&says("hello"), ",\"error\":{\"message\":null}") + &finish + DONE,
        hello.clone() + &chunk(r#"{"index":0,"delta":[],"finish_reason":"stop"}"#, "") + DONE,
        hello.clone() + &finish,
        hello.clone() + &chunk(&ends("\"done\""), "") + DONE,
    ];
    let labelled = ["text/plain", JSON, ""].map(|label| (label, format!("{hello}{finish}{DONE}")));
    bodies.into_iter().map(|body| (EVENTS, body)).chain(labelled).collect()
}

async fn assert_read(rig: &Rig, face: Face) {
    for (label, body) in streams() {
        let what = format!("{face:?} {label:?}: {}", body.chars().take(400).collect::<String>());
        rig.emulator.control(face, answer(200, label, body, End::Complete));
        assert_served(&rig.client.stream(&say_hello()).await, "a", "hello", &what);
    }
    rig.emulator.control(face, answer(200, JSON, whole(r#"{"role":"assistant","content":"hello"}"#), End::Complete));
    assert_served(&rig.client.stream(&say_hello()).await, "a", "hello", "a whole answer");
    assert_unharmed(rig).await;
}

#[tokio::test]
async fn every_provider_s_streams_are_read_alike() {
    for (provider, face) in [("openai", A), ("runpod", A), ("cerebras", Face::Cerebras)] {
        assert_read(&pair_of(&a(provider)), face).await;
    }
}

#[tokio::test]
async fn streams_of_text_completions_are_read_alike() {
    let rig = pair();
    let request = streamed(json!({"model": MODEL, "prompt": "x"}));
    for (label, body) in streams() {
        let body = body
            .replace("\"delta\":{\"content\":\"hello\"}", "\"text\":\"hello\"")
            .replace("\"delta\":{}", "\"text\":\"\"");
        let what = format!("{label:?}: {}", body.chars().take(400).collect::<String>());
        rig.emulator.control(A, answer(200, label, body, End::Complete));
        let answered = rig.client.post("/v1/completions", &request).await;
        let by = (answered.status, answered.header("x-llm-router-upstream"));
        assert_eq!(by, (200, "a"), "{what}: {}", answered.text);
        assert!(answered.text.contains("hello") && answered.text.ends_with(DONE), "{what}: {}", answered.text);
    }
    let body = whole("{}").replace("\"message\":{}", "\"text\":\"hello\"");
    rig.emulator.control(A, answer(200, JSON, body, End::Complete));
    let told = rig.client.post("/v1/completions", &request).await;
    assert!(told.text.contains("\"text\":\"hello\"") && told.text.ends_with(DONE), "{}", told.text);
    assert_unharmed(&rig).await;
}

#[tokio::test]
async fn embeddings_with_odd_counts_are_served() {
    let rig = pair();
    for usage in ["null", r#"{"prompt_tokens":null}"#, r#"{"prompt_tokens":3.5,"total_tokens":"3"}"#, "[]", "\"none\""]
    {
        let body =
            format!(r#"{{"object":"list","data":[{{"index":0,"embedding":[0.5]}}],"usage":{usage},"error":null}}"#);
        rig.emulator.control(A, answer(200, JSON, body.clone(), End::Complete));
        let answered = rig.client.post("/v1/embeddings", &json!({"model": MODEL, "input": "x"})).await;
        assert_eq!((answered.status, &answered.text), (200, &body));
    }
    rig.emulator.control(A, events(content("hello") + &finish() + DONE));
    rig.emulator.control(B, answer(200, JSON, r#"{"object":"list","data":[{"embedding":[0.5]}]}"#, End::Complete));
    for _ in 0..7 {
        let answered = rig.client.post("/v1/embeddings", &json!({"model": MODEL, "input": "x"})).await;
        assert_eq!(answered.header("x-llm-router-upstream"), "b", "a stream for embeddings: {}", answered.text);
    }
    assert_unharmed(&rig).await;
}

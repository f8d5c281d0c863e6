//! Ensembles where they cannot serve.

use e2e::{BALANCED, CEREBRAS, Launch, RUNPOD_LB, chat, with};
use emulator::Settings;
use serde_json::{Value, json};

use crate::common::{Refusal, still_serves};

const TWO: &str = r#"
[[ensembles]]
name = "ensemble/two"
members = ["llama", "llama"]
pick = { kind = "longest" }

[tasks]
hard = "ensemble/two"
"#;

#[tokio::test]
async fn an_ensemble_answers_chats_and_nothing_else() {
    let rig = Launch::new(Settings::instant(), &format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}{TWO}")).start();
    let refusal = |status, code, says| Refusal { status, code, param: Some("model"), says };
    let chats_only = refusal(400, "unsupported", "name a model instead");
    let (prompt, input) = (json!({"prompt": "x"}), json!({"input": "x"}));
    let named = |body: &Value, name: &str| with(body.clone(), json!({"model": name}));
    for name in ["ensemble/two", "task/hard"] {
        chats_only.check(name, &rig.client.post("/v1/completions", &named(&prompt, name)).await);
        chats_only.check(name, &rig.client.post("/v1/embeddings", &named(&input, name)).await);
        let explained = rig.client.post("/v1/route/explain", &named(&chat("x"), name)).await;
        refusal(400, "unsupported", "explain one of them instead: llama").check(name, &explained);
    }
    let by_header = rig.client.json("/v1/completions", &named(&prompt, "llama")).header("x-llm-router-task", "hard");
    chats_only.check("by header", &e2e::Answer::of(by_header).await);

    let unknown = refusal(404, "ensemble_not_found", "there are ensemble/two");
    let long = format!("ensemble/{}", "x".repeat(10_000));
    for name in ["ensemble/three", "ensemble/", "ensemble/two/", "ensemble/Two", &long] {
        unknown.check(name, &rig.client.chat(&named(&chat("x"), name)).await);
        unknown.check(name, &rig.client.post("/v1/generate", &named(&prompt, name)).await);
    }
    refusal(404, "model_not_found", "GET /v1/models").check("two", &rig.client.chat(&named(&chat("x"), "two")).await);

    // What is wrong with a request is said once, not by each member.
    let cold = with(named(&chat("x"), "ensemble/two"), json!({"temperature": 99}));
    let bad = Refusal { status: 400, code: "invalid_request", param: Some("temperature"), says: "from 0 to 2" };
    bad.check("temperature", &rig.client.chat(&cold).await);
    still_serves(&rig, 1).await;
}

#[tokio::test]
async fn without_ensembles_none_is_known() {
    let rig = crate::common::launch().start();
    let refusal = Refusal { status: 404, code: "ensemble_not_found", param: Some("model"), says: "none is configured" };
    refusal.check("none", &rig.client.chat(&with(chat("x"), json!({"model": "ensemble/two"}))).await);
}

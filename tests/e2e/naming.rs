//! What a client can ask for by name: tasks, and an upstream past the strategy.

use e2e::{Answer, BALANCED, CEREBRAS, CLIENT_KEY, Launch, RUNPOD_LB, Rig, chat, eventually, with};
use emulator::{Face, Fault, Settings};
use serde_json::{Value, json};

const KEYS: &str = "[[keys]]\nid = \"all\"\nteam = \"t\"\nenv = \"CLIENT_KEY\"\ndirect = true\n\
    [[keys]]\nid = \"few\"\nteam = \"t\"\nenv = \"OTHER\"\n";
const OTHER: &str = "sk-may-not";

fn launch(tasks: &str) -> Rig {
    let config = format!("{KEYS}{RUNPOD_LB}{CEREBRAS}{BALANCED}{tasks}");
    Launch::new(Settings::instant(), &config).env("OTHER", OTHER).start()
}

fn model(name: &str) -> Value {
    with(chat("hello"), json!({"model": name}))
}

async fn with_header(rig: &Rig, body: &Value, name: &str, value: &str) -> Answer {
    Answer::of(rig.client.json("/v1/chat/completions", body).header(name, value)).await
}

#[tokio::test]
async fn a_task_is_a_model_by_its_purpose() {
    let rig = launch("[tasks]\ncode = \"llama\"\n");
    assert_eq!(rig.client.chat(&model("task/code")).await.status, 200);
    assert_eq!(with_header(&rig, &model("whatever"), "x-llm-router-task", "code").await.status, 200);
    let unknown = rig.client.chat(&model("task/poetry")).await;
    assert_eq!((unknown.status, unknown.error_code().as_str()), (404, "task_not_found"));
    assert!(unknown.error_message().contains("there are code"), "{}", unknown.text);
    let listed = rig.client.get("/v1/models").await.text;
    assert!(listed.contains("\"task/code\""), "{listed}");
    assert_eq!(rig.client.get("/v1/models/task/code").await.status, 200);
}

#[tokio::test]
async fn a_default_task_takes_what_is_not_known() {
    let rig = launch("[tasks]\ndefault = \"llama\"\n");
    assert_eq!(rig.client.chat(&model("task/poetry")).await.status, 200);
    assert_eq!(with_header(&rig, &model("x"), "x-llm-router-task", "poetry").await.status, 200);
    assert_eq!(rig.client.chat(&model("poetry")).await.status, 404, "a model is no task");
    let named_nothing = rig.client.post("/v1/generate", &json!({"prompt": "hello"})).await;
    assert_eq!(named_nothing.status, 200, "{}", named_nothing.text);
}

#[tokio::test]
async fn an_upstream_that_is_named_serves_past_the_strategy() {
    let rig = launch("");
    for name in ["cerebras/llama", "cerebras/llama3.1-8b"] {
        for _ in 0..10 {
            let answer = rig.client.chat(&model(name)).await;
            assert_eq!((answer.provider(), answer.reason()), ("cerebras", "direct"), "{}", answer.text);
        }
    }
    // None of the twenty counts in a deficit.
    let answers = rig.client.chats(100, 1, |_| chat("hello")).await;
    let on_runpod = answers.iter().filter(|answer| answer.provider() == "runpod").count();
    assert!((79..=81).contains(&on_runpod), "{on_runpod} of 100");
}

#[tokio::test]
async fn a_named_upstream_fails_alone_unless_others_may_help() {
    let rig = launch("");
    rig.emulator.control(Face::Cerebras, Fault::Status { code: 401, retry_after: None });
    let alone = rig.client.chat(&model("cerebras/llama")).await;
    assert_eq!((alone.status, alone.error_code().as_str()), (502, "upstream_auth"), "{}", alone.text);
    assert_eq!(rig.call_log(Face::RunpodLb).received, 0);
    rig.emulator.reset();
    // The refused key has opened the breaker; it closes with the next probe that is let through.
    eventually("cerebras serves again", async || {
        (rig.client.chat(&model("cerebras/llama")).await.status == 200).then_some(())
    })
    .await;
    rig.emulator.control(Face::Cerebras, Fault::ResetBefore);
    let helped = with_header(&rig, &model("cerebras/llama"), "x-llm-router-fallback", "true").await;
    assert_eq!((helped.status, helped.provider(), helped.reason()), (200, "runpod", "fallback"), "{}", helped.text);
}

#[tokio::test]
async fn only_keys_that_may_name_an_upstream_can() {
    let rig = launch("");
    let client = rig.client.with_key(OTHER);
    let refused = client.chat(&model("cerebras/llama")).await;
    assert_eq!((refused.status, refused.error_code().as_str()), (403, "direct_not_allowed"));
    assert_eq!(client.chat(&model("llama")).await.status, 200, "the next request works");
    let nowhere = rig.client.with_key(CLIENT_KEY).chat(&model("cerebras/nothing")).await;
    assert_eq!((nowhere.status, nowhere.error_code().as_str()), (404, "model_not_found"));
    assert!(nowhere.error_message().contains("cerebras/llama would be one"), "{}", nowhere.text);
}

async fn explain(rig: &Rig, body: &Value) -> Value {
    let answer = rig.client.post("/v1/route/explain", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

#[tokio::test]
async fn a_decision_can_be_asked_for_and_is_the_one_that_is_made() {
    let rig = launch("");
    for _ in 0..20 {
        let told = explain(&rig, &chat("hello")).await;
        let answer = rig.client.chat(&chat("hello")).await;
        assert_eq!(
            (told["upstream"].as_str(), told["reason"].as_str()),
            (Some(answer.header("x-llm-router-upstream")), Some(answer.reason()))
        );
        assert_eq!(told["candidates"].as_array().map(Vec::len), Some(2));
    }
    assert_eq!(
        rig.call_log(Face::RunpodLb).received + rig.call_log(Face::Cerebras).received,
        20,
        "nobody was called for it"
    );

    rig.emulator.control(Face::RunpodLb, Fault::Status { code: 401, retry_after: None });
    rig.client.chat(&model("runpod/llama")).await;
    let told = explain(&rig, &chat("hello")).await;
    assert_eq!((told["upstream"].as_str(), told["reason"].as_str()), (Some("cerebras"), Some("spill")));
    assert_eq!(told["excluded"][0]["upstream"], "runpod");
    assert_eq!(told["excluded"][0]["why"], "its breaker is open");
    let tools = with(chat("hello"), json!({"tools": [{"type": "function", "function": {"name": "f"}}]}));
    let told = explain(&rig, &tools).await;
    assert_eq!(told["excluded"][0]["why"], "cannot do all that the request asks for");
}

/// A prompt that is longer than one context goes to the larger one first, by its size, and is refused only beyond all.
#[tokio::test]
async fn long_prompts_go_where_they_fit() {
    let config = format!("{KEYS}{RUNPOD_LB}context_tokens = 8192\n{CEREBRAS}context_tokens = 65536\n{BALANCED}");
    let rig = Launch::new(Settings::instant(), &config).env("OTHER", OTHER).start();
    for _ in 0..5 {
        let answer = rig.client.chat(&chat(&"word ".repeat(10_000))).await;
        assert_eq!((answer.status, answer.provider()), (200, "cerebras"), "{}", answer.text);
    }
    assert_eq!(rig.call_log(Face::RunpodLb).received, 0, "estimates send it past the context that is too short");
    let beyond = rig.client.chat(&chat(&"word ".repeat(250_000))).await;
    assert_eq!((beyond.status, beyond.error_code().as_str()), (400, "context_length_exceeded"));
    assert!(beyond.error_message().contains("65536"), "{}", beyond.text);
}

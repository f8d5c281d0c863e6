//! What is Anthropic's alone: counting tokens, the list of models, and what agents ask for before their first call.

use e2e::{Answer, BALANCED, CEREBRAS, Launch, RUNPOD_LB, message, with};
use emulator::Settings;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    common::{launch, received, still_serves},
    doors::{Door, check_anthropic, invalid, post},
};

const COUNT: &str = "/v1/messages/count_tokens";

#[tokio::test]
async fn tokens_are_estimated_without_a_call() {
    let rig = launch().start();
    let count = async |body: &Value| {
        let answer = rig.client.post(COUNT, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.json().as_object().map(serde_json::Map::len), Some(1), "{}", answer.text);
        assert!(!answer.header("request-id").is_empty());
        answer.json()["input_tokens"].as_u64().expect("a number")
    };
    let mut short = message("hello");
    short.as_object_mut().unwrap().remove("max_tokens");
    let (few, many) = (count(&short).await, count(&message(&"word ".repeat(4_000))).await);
    assert!((5..60).contains(&few), "{few}");
    assert!((4_900..5_200).contains(&many), "a token for four bytes: {many}");
    let tool = json!({"name": "look", "description": "d".repeat(4_000), "input_schema": {"type": "object"}});
    let with_tools = count(&with(short.clone(), json!({"tools": [tool], "system": "s".repeat(4_000)}))).await;
    assert!((1_990..2_200).contains(&with_tools), "tools and the system count as well: {with_tools}");

    // What answers count is what a message says before its upstream has counted.
    let streamed = with(message("hello"), json!({"stream": true}));
    let events = e2e::named_events(&rig.client.post("/v1/messages", &streamed).await.text);
    let estimated = events[0].data["message"]["usage"]["input_tokens"].as_u64().expect("a number");
    assert!(estimated.abs_diff(few) < 30, "{estimated} {few}");
    assert_eq!(received(&rig), 1, "only the message was sent on");
}

#[tokio::test]
async fn a_prompt_that_cannot_be_counted_is_refused() {
    let rig = launch().start();
    let unknown = rig.client.post(COUNT, &with(message("x"), json!({"model": "claude-9"}))).await;
    check_anthropic("an unknown model", &unknown, 404, "not_found_error");
    let bare = Answer::of(rig.client.bare(Method::POST, COUNT)).await;
    check_anthropic("no key", &bare, 401, "authentication_error");
    for (body, says) in
        [("", "is empty"), ("{}", "'model' is required"), (r#"{"model":"llama"}"#, "'messages' is required")]
    {
        let answer = post(&rig, COUNT, body).await;
        Door::Messages.check(&invalid(None, says), body, &answer);
    }
    still_serves(&rig, 1).await;
}

/// As for a decision that is explained.
#[tokio::test]
async fn a_count_is_one_call_of_the_key_s() {
    let key =
        "\n[[keys]]\nid = \"k\"\nteam = \"t\"\nenv = \"CLIENT_KEY\"\nlimits = { requests_per_minute = 1, burst = 2 }\n";
    let rig = Launch::new(Settings::instant(), &format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}{key}")).start();
    for left in ["1", "0"] {
        let answer = rig.client.post(COUNT, &message("x")).await;
        assert_eq!((answer.status, answer.header("anthropic-ratelimit-requests-remaining")), (200, left));
    }
    check_anthropic("over the limit", &rig.client.post(COUNT, &message("x")).await, 429, "rate_limit_error");
}

#[tokio::test]
async fn models_have_anthropic_s_shape_for_its_clients() {
    let rig = launch().start();
    let get = async |path: &str| {
        let request = rig.client.request(Method::GET, path).header("anthropic-version", "2023-06-01");
        Answer::of(request).await
    };
    let list = get("/v1/models?limit=1000").await;
    let json = list.json();
    assert_eq!((list.status, list.header("content-type")), (200, "application/json"));
    assert_eq!(
        (&json["has_more"], &json["first_id"], &json["last_id"]),
        (&json!(false), &json!("llama"), &json!("llama"))
    );
    let model = &json["data"][0];
    assert_eq!((&model["type"], &model["id"]), (&json!("model"), &json!("llama")));
    assert!(model["display_name"].is_string() && model["created_at"].is_string(), "{model}");
    assert_eq!(get("/v1/models/llama").await.json(), *model);
    check_anthropic("an unknown model", &get("/v1/models/gpt-9").await, 404, "not_found_error");
    assert_eq!(rig.client.get("/v1/models").await.json()["object"], "list", "others get OpenAI's");
    let chat = rig.client.json("/v1/chat/completions", &json!({})).header("anthropic-version", "2023-06-01");
    assert_eq!(Answer::of(chat).await.error_code(), "invalid_request", "a chat's errors are OpenAI's whatever is sent");
}

/// By these details Anthropic's SDKs know that their tool runners must send the whole conversation in each request.
#[tokio::test]
async fn a_thread_is_refused_so_that_sdks_go_on_without_it() {
    let rig = launch().start();
    for thread in [json!({"type": "create"}), json!({"type": "continue", "previous_message_id": "msg_1"})] {
        let answer = rig.client.post("/v1/messages", &with(message("hello"), json!({"thread": thread}))).await;
        assert_eq!((answer.status, &answer.json()["error"]["type"]), (400, &json!("invalid_request_error")));
        let details = json!({"error_code": "thread_unsupported_request", "unsupported": ["thread"]});
        assert_eq!(answer.json()["error"]["details"], details, "{}", answer.text);
    }
    still_serves(&rig, 1).await;
}

#[tokio::test]
async fn an_agent_s_first_questions_are_answered() {
    let rig = launch().start();
    for method in [Method::HEAD, Method::GET] {
        let answer = Answer::of(rig.client.bare(method.clone(), "/")).await;
        assert_eq!((answer.status, answer.text.is_empty()), (200, method == Method::HEAD), "{method}");
    }
    for path in ["/v1/messages?beta=true", "/v1/messages/count_tokens?beta=true"] {
        let request = rig.client.json(path, &message("x")).header("anthropic-beta", "tools-2024-04-04,unknown-beta");
        assert_eq!(Answer::of(request).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn what_is_not_served_below_messages_says_what_is() {
    let rig = launch().start();
    for (path, says) in [
        ("/v1/messages/batches", "batches of messages are not served here"),
        ("/v1/messages/batches/msgbatch_1/results", "batches of messages are not served here"),
        ("/v1/messages/other", "there are POST /v1/messages and /v1/messages/count_tokens"),
        ("/v1/messages/", "leave out the slash at the end"),
    ] {
        for method in [Method::GET, Method::POST] {
            let answer = Answer::of(rig.client.request(method, path)).await;
            check_anthropic(path, &answer, 404, "not_found_error");
            assert!(answer.error_message().contains(says), "{path}: {}", answer.text);
        }
    }
}

//! What is of OpenAI's Responses API alone: what would need a store, and tools that OpenAI hosts.

use e2e::{Answer, response, with};
use reqwest::Method;
use serde_json::json;

use crate::{
    common::{Refusal, launch, received, still_serves},
    doors::Door,
};

#[tokio::test]
async fn what_cannot_be_served_is_refused_with_what_to_do_instead() {
    let rig = launch().start();
    let whole = "send the whole conversation";
    for (more, param, says) in [
        (json!({"previous_response_id": "resp_1"}), "previous_response_id", whole),
        (json!({"conversation": "conv_1"}), "conversation", whole),
        (json!({"prompt": {"id": "pmpt_1"}}), "prompt", "send its text"),
        (json!({"background": true}), "background", "must be false"),
        (json!({"messages": []}), "messages", "send 'input'"),
        (json!({"max_tokens": 5}), "max_tokens", "send 'max_output_tokens'"),
        (json!({"n": 2}), "n", "holds one answer"),
    ] {
        let answer = rig.client.post("/v1/responses", &with(response("x"), more)).await;
        Refusal { status: 400, code: "invalid_request", param: Some(param), says }.check(param, &answer);
    }
    // What one side says in a row is one message.
    let turns = [json!({"role": "user", "content": "x"}), json!({"role": "assistant", "content": "y"})];
    let many = json!({"input": turns.iter().cycle().take(2_049).collect::<Vec<_>>()});
    let answer = rig.client.post("/v1/responses", &with(response("x"), many)).await;
    let says = "'input' has more than 2048 entries";
    Refusal { status: 400, code: "invalid_request", param: Some("input"), says }.check("too many items", &answer);
    for path in ["/v1/responses/resp_1", "/v1/responses/resp_1/cancel", "/v1/responses/resp_1/input_items"] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let answer = Answer::of(rig.client.request(method, path)).await;
            let says = "responses are not stored here";
            Refusal { status: 404, code: "not_found", param: None, says }.check(path, &answer);
        }
    }
    assert_eq!(received(&rig), 0);
    still_serves(&rig, 1).await;
}

#[tokio::test]
async fn what_asks_to_be_stored_is_answered_and_says_that_it_is_not() {
    let rig = launch().start();
    for store in [true, false] {
        let answer = rig.client.post("/v1/responses", &with(response("x"), json!({"store": store}))).await;
        assert_eq!((answer.status, &answer.json()["store"]), (200, &json!(false)), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_hosted_tool_is_left_out_unless_the_answer_must_use_it() {
    let rig = launch().start();
    let tools = json!([{"type": "web_search"}, {"type": "function", "name": "f", "parameters": {"type": "object"}}]);
    let body = with(response("x"), json!({"tools": tools}));
    let answer = rig.client.post(Door::Responses.path(), &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.header("x-llm-router-dropped-params").contains("web_search"), "{:?}", answer.headers);
    let forced = with(body, json!({"tool_choice": {"type": "web_search"}}));
    let refused = rig.client.post(Door::Responses.path(), &forced).await;
    assert_eq!((refused.status, refused.error_code().as_str()), (400, "invalid_request"), "{}", refused.text);
}

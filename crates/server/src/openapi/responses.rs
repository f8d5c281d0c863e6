//! OpenAI's Responses API: its call, and schemas of what is checked in it.
#![expect(dead_code, reason = "the body is read field by field: these types only describe it")]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::{ToSchema, openapi::HttpMethod};

use super::{
    call::{Call, Document, content, example, pieces, response},
    public::{MODEL, ROUTED, routed},
};

/// A response as OpenAI defines it. Fields that are not listed pass through as they came.
#[derive(ToSchema)]
struct ResponsesRequest {
    /// A name of `GET /v1/models`, or `UPSTREAM/MODEL` for keys that may.
    #[schema(min_length = 1)]
    model: String,
    input: ResponsesInput,
    instructions: Option<String>,
    #[schema(minimum = 1, maximum = 4_294_967_295_i64)]
    max_output_tokens: Option<u64>,
    /// Whether the answer is to come as events.
    stream: Option<bool>,
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f64>,
    #[schema(minimum = 0, maximum = 20)]
    top_logprobs: Option<u64>,
    /// Functions, and what becomes one; tools that OpenAI hosts are left out and named.
    tools: Option<Vec<BTreeMap<String, Value>>>,
    parallel_tool_calls: Option<bool>,
    metadata: Option<BTreeMap<String, Value>>,
    /// Accepted either way: nothing is stored.
    store: Option<bool>,
}

/// A text, or the items of the whole conversation.
#[derive(ToSchema)]
#[serde(untagged)]
enum ResponsesInput {
    Text(String),
    Items(Vec<BTreeMap<String, Value>>),
}

/// A response of the model.
#[derive(ToSchema)]
struct ResponsesReply {
    id: String,
    /// `response`
    object: String,
    created_at: u64,
    /// `completed` or `incomplete`.
    status: String,
    /// As it was asked for.
    model: String,
    /// Reasoning, messages and calls of tools.
    output: Vec<BTreeMap<String, Value>>,
    usage: Option<BTreeMap<String, Value>>,
    /// Always false.
    store: bool,
}

/// Takes the call in.
pub(super) fn add(document: &mut Document) {
    let (body, reply) = (document.schema::<ResponsesRequest>(), document.schema::<ResponsesReply>());
    let examples = vec![
        example("whole", json!({"model": MODEL, "input": "Say hello"})),
        example("streamed", json!({"model": MODEL, "input": "Say hello", "max_output_tokens": 20, "stream": true})),
        example(
            "items",
            json!({"model": "task/chat", "instructions": "Be brief.", "input": [{"role": "user", "content": "Say hello"}]}),
        ),
    ];
    let message = json!({
        "id": "msg_req-1_0", "type": "message", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": "Hello!", "annotations": [], "logprobs": []}],
    });
    let sample = json!({
        "id": "resp_req-1", "object": "response", "created_at": 1_700_000_000, "status": "completed", "model": MODEL,
        "output": [message], "store": false,
        "usage": {
            "input_tokens": 10, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 3,
            "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 13,
        },
    });
    let events = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":4,\"item_id\":\"msg_req-1_0\",\"output_index\":0,\"content_index\":0,\"logprobs\":[],\"delta\":\"Hello!\"}\n\n";
    let answer = response("the upstream's answer as a response", &ROUTED)
        .content("application/json", content(reply, vec![example("whole", sample)]))
        .content("text/event-stream", pieces(events));
    let about = "OpenAI's Responses API in front of chats: whole or, with `stream`, as events. Nothing is stored, so every \
                 request brings its whole conversation. What no upstream takes is left out and named in \
                 `x-llm-router-dropped-params`.";
    let call = routed(Call::new("responses", "A response, as OpenAI defines it", about));
    document.add(HttpMethod::Post, "/v1/responses", call.body(body, examples).answer(200, answer));
}

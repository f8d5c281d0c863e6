//! Anthropic's Messages API: its calls, and schemas of what is checked in them. Fields that are not listed are left out of the
//! chat and named.
#![expect(dead_code, reason = "the bodies are read field by field: these types only describe them")]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::{ToSchema, openapi::HttpMethod};

use super::{
    call::{Call, Document, content, example, pieces, response},
    errors,
    public::{FAILED, MODEL, ROUTED, headers},
};
use crate::{
    api::{dialect::Dialect, messages::TokenCount},
    error::ApiError,
};

/// Beside the headers that every answer has.
const OWN: [&str; 4] = [
    "request-id",
    "anthropic-ratelimit-requests-limit",
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-requests-reset",
];

/// A message as Anthropic defines it.
#[derive(ToSchema)]
struct MessagesRequest {
    #[serde(flatten)]
    prompt: PromptOfMessages,
    #[schema(minimum = 1, maximum = 4_294_967_295_i64)]
    max_tokens: u64,
    /// Whether the answer is to come as events.
    stream: Option<bool>,
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f64>,
    #[schema(minimum = 0, maximum = 4_294_967_295_i64)]
    top_k: Option<u64>,
    #[schema(max_items = 64)]
    stop_sequences: Option<Vec<String>>,
}

/// What the tokens of a message's prompt are estimated of.
#[derive(ToSchema)]
struct PromptOfMessages {
    /// A name of `GET /v1/models`, or `UPSTREAM/MODEL` for keys that may.
    #[schema(min_length = 1)]
    model: String,
    #[schema(min_items = 1)]
    messages: Vec<MessageOfMessages>,
    system: Option<MessagesContent>,
    tools: Option<Vec<BTreeMap<String, Value>>>,
}

#[derive(ToSchema)]
struct MessageOfMessages {
    role: MessagesRole,
    content: MessagesContent,
}

#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
enum MessagesRole {
    User,
    Assistant,
    System,
}

/// A text, or blocks of text, images, calls of tools and their results, and thinking.
#[derive(ToSchema)]
#[serde(untagged)]
enum MessagesContent {
    Text(String),
    Blocks(Vec<BTreeMap<String, Value>>),
}

/// A message of the model.
#[derive(ToSchema)]
struct MessagesReply {
    id: String,
    /// `message`
    #[serde(rename = "type")]
    kind: String,
    role: String,
    /// As it was asked for.
    model: String,
    /// Blocks of thinking, text and calls of tools.
    content: Vec<BTreeMap<String, Value>>,
    /// `end_turn`, `max_tokens`, `stop_sequence`, `tool_use` or `refusal`.
    stop_reason: String,
    #[schema(required)]
    stop_sequence: Option<String>,
    /// `input_tokens` are those that came from no cache.
    usage: BTreeMap<String, Value>,
}

/// What refusals and failures answer here.
#[derive(ToSchema)]
pub(super) struct MessagesError {
    /// `error`
    #[serde(rename = "type")]
    kind: String,
    error: MessagesErrorBody,
    request_id: String,
}

#[derive(ToSchema)]
struct MessagesErrorBody {
    /// Who has to act, and how: `invalid_request_error`, `rate_limit_error`, `overloaded_error`, …
    #[serde(rename = "type")]
    kind: String,
    /// What is wrong and what to change.
    message: String,
    /// Of a refused `thread`: `error_code` and `unsupported`, by which SDKs go on without it.
    details: Option<BTreeMap<String, Value>>,
}

/// Takes both calls in.
pub(super) fn add(document: &mut Document) {
    let hello = || json!([{"role": "user", "content": "Say hello"}]);
    let errors = || [errors::of_keys(), errors::of_admission(), errors::of_names()].concat();
    document.schema::<MessagesError>();

    let (body, reply) = (document.schema::<MessagesRequest>(), document.schema::<MessagesReply>());
    let examples = vec![
        example("whole", json!({"model": MODEL, "max_tokens": 20, "messages": hello()})),
        example("streamed", json!({"model": MODEL, "max_tokens": 20, "messages": hello(), "stream": true})),
    ];
    let sample = json!({
        "id": "msg_req-1", "type": "message", "role": "assistant", "model": MODEL,
        "content": [{"type": "text", "text": "Hello!"}], "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {"input_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 3},
    });
    let events = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello!\"}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let all: Vec<&str> = ROUTED.iter().chain(&OWN).copied().collect();
    let answer = response("the upstream's answer as a message", &all)
        .content("application/json", content(reply, vec![example("whole", sample)]))
        .content("text/event-stream", pieces(events));
    let about = "Anthropic's Messages API in front of chats: whole or, with `stream`, as events. What no upstream takes is left \
                 out and named in `x-llm-router-dropped-params`; what would change the answer is refused by name.";
    let errors_of_chats: Vec<ApiError> = [errors(), errors::of_choice(), errors::of_upstreams()].concat();
    let failed: Vec<&str> = FAILED.iter().copied().chain(["request-id"]).collect();
    let call = headers(Call::new("messages", "A message, as Anthropic defines it", about)).body(body, examples);
    let call = call.answer(200, answer).errors_in(Dialect::Anthropic, errors_of_chats, &failed);
    document.add(HttpMethod::Post, "/v1/messages", call);

    let (body, reply) = (document.schema::<PromptOfMessages>(), document.schema::<TokenCount>());
    let examples = vec![example("prompt", json!({"model": MODEL, "messages": hello()}))];
    let answer = response("the estimate", &["x-request-id", "request-id"])
        .content("application/json", content(reply, vec![example("count", json!({"input_tokens": 18}))]));
    let about = "An estimate by the size of the prompt. No upstream is called; for the key it counts as one call.";
    let call = headers(Call::new("countTokens", "How many tokens a message's prompt has", about)).body(body, examples);
    let call = call.answer(200, answer).errors_in(Dialect::Anthropic, errors(), &failed);
    document.add(HttpMethod::Post, "/v1/messages/count_tokens", call);
}

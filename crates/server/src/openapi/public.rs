//! The document of the public listener.

use router::StrategyName;
use serde_json::{Value, json};
use utoipa::openapi::{HttpMethod, OpenApi, Ref, ResponseBuilder, schema::Object};

use super::{
    call::{Call, Document, Examples, content, example, matching, number, one_of, pieces, response, text},
    errors, messages, passthrough,
    replies::{ChatCompletion, Completion, EmbeddingList, Model, ModelList},
    requests::{BatchRequest, ChatRequest, CompletionRequest, EmbeddingRequest, GenerateRequest},
    responses,
};
use crate::{
    api::{batch, generated::Generated},
    decisions::DecisionView,
    error::ApiError,
};

const ABOUT: &str = "OpenAI's API in front of several providers, Anthropic's Messages, and short forms. Errors have OpenAI's \
                     shape, below `/v1/messages` Anthropic's. A path that is not served answers 404 `not_found`, another method 405 `method_not_allowed`; `HEAD` is \
                     answered wherever `GET` is. Where pages may call, a preflight of another page answers 403 `origin_not_allowed`. With \
                     `early_headers` on a model, a stream begins with 200 and reports any error in an event.";

pub(super) const MODEL: &str = "llama-3.1-8b";

/// On every answer below `/v1` that reached an upstream.
pub(super) const ROUTED: [&str; 11] = [
    "x-request-id",
    "x-llm-router-provider",
    "x-llm-router-upstream",
    "x-llm-router-reason",
    "x-llm-router-attempts",
    "x-llm-router-cost-usd",
    "x-llm-router-dropped-params",
    "x-llm-router-injected-params",
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
];
/// On the refusals of a key's limits.
pub(super) const RATE_LIMIT: [&str; 3] =
    ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"];
/// On answers that did not.
const OWN: [&str; 4] =
    ["x-request-id", "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"];
/// On errors.
pub(super) const FAILED: [&str; 3] = ["x-request-id", "x-llm-router-attempts", "x-should-retry"];

pub(super) fn document() -> OpenApi {
    let mut document = Document::new("key");
    add_openai(&mut document);
    passthrough::add_all(&mut document);
    messages::add(&mut document);
    responses::add(&mut document);
    add_generate(&mut document);
    add_batch(&mut document);
    add_explain(&mut document);
    add_models(&mut document);
    add_root(&mut document);
    add_probes(&mut document);
    document.finish(
        "llm-router",
        ABOUT,
        "A client's key, one of the configured `[[keys]]`; also taken from `x-api-key`.",
    )
}

fn hello() -> Value {
    json!([{"role": "user", "content": "Say hello"}])
}

/// The headers that all calls with a body take.
pub(super) fn headers(call: Call) -> Call {
    call.header("x-request-id", "kept if it is harmless, and used in logs", "order-17")
        .header("x-llm-router-task", "a configured task; wins over `model`", "chat")
        .header_of(
            "x-llm-router-fallback",
            "`true`: another upstream may serve where the one that was named fails; `false`: no other one is asked after the first",
            one_of(&["true", "false"]),
            json!("true"),
        )
        .header_of(
            "x-llm-router-strategy",
            "orders the upstreams for this request",
            one_of(&StrategyName::ALL.map(StrategyName::as_str)),
            json!("cost"),
        )
        .header_of(
            "x-llm-router-deadline-ms",
            "how long the request may take, if the model's own deadline is not sooner",
            number(3_600_000),
            json!(30_000),
        )
        .header_of(
            "x-llm-router-max-cost-usd",
            "leaves upstreams out where a call may cost more, in US dollars, or that have no price",
            matching(r"^[0-9]{1,9}(\.[0-9]{1,9})?$"),
            json!("0.05"),
        )
        .header(
            "x-llm-router-session",
            "names the conversation, whose turns then stay with one upstream; without it `prompt_cache_key`, `user` or the first \
             messages tell",
            "thread-17",
        )
        .header(
            "x-llm-router-tags",
            "what the request is for, as declared in `[[tags]]`: wins over the same names in `metadata`",
            "feature=search,env=prod",
        )
}

/// What all calls with a body take and may refuse.
fn asked(call: Call, more: Vec<ApiError>) -> Call {
    headers(call).errors([errors::of_keys(), errors::of_admission(), more].concat(), &FAILED)
}

/// What all calls that an upstream answers take and may refuse.
pub(super) fn routed(call: Call) -> Call {
    asked(call, [errors::of_names(), errors::of_choice(), errors::of_upstreams()].concat())
}

/// Relayed as the upstream wrote it, whole or as events.
fn relayed(whole: Ref, sample: Value, events: Option<&str>) -> ResponseBuilder {
    let answer = response("the upstream's answer, as it came", &ROUTED)
        .content("application/json", content(whole, vec![example("whole", sample)]));
    match events {
        Some(events) => answer.content("text/event-stream", pieces(events)),
        None => answer,
    }
}

fn add_openai(document: &mut Document) {
    let (body, reply) = (document.schema::<ChatRequest>(), document.schema::<ChatCompletion>());
    let examples = vec![
        example("whole", json!({"model": MODEL, "messages": hello()})),
        example("streamed", json!({"model": MODEL, "messages": hello(), "stream": true})),
        example("task", json!({"model": "task/chat", "messages": hello(), "max_tokens": 20})),
        example("ensemble", json!({"model": "ensemble/longest-of-two", "messages": hello(), "max_tokens": 20})),
    ];
    let sample = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": "meta-llama/Llama-3.1-8B-Instruct",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello!"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13},
    });
    let events = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello!\"}}]}\n\ndata: [DONE]\n\n";
    let call = Call::new("chat", "A chat", "As OpenAI defines it, whole or, with `stream`, as events.");
    let call = routed(call).body(body, examples).answer(200, relayed(reply, sample, Some(events)));
    document.add(HttpMethod::Post, "/v1/chat/completions", call);

    let (body, reply) = (document.schema::<CompletionRequest>(), document.schema::<Completion>());
    let examples = vec![example("whole", json!({"model": MODEL, "prompt": "Once upon a time", "max_tokens": 20}))];
    let sample = json!({
        "id": "cmpl-1", "object": "text_completion", "created": 1_700_000_000, "model": "meta-llama/Llama-3.1-8B-Instruct",
        "choices": [{"index": 0, "text": " there was a router.", "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 4, "completion_tokens": 5, "total_tokens": 9},
    });
    let events = "data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"choices\":[{\"index\":0,\"text\":\" there\"}]}\n\ndata: [DONE]\n\n";
    let call = Call::new("complete", "A text completion", "As OpenAI defines it, whole or, with `stream`, as events.");
    let call = routed(call).body(body, examples).answer(200, relayed(reply, sample, Some(events)));
    document.add(HttpMethod::Post, "/v1/completions", call);

    let (body, reply) = (document.schema::<EmbeddingRequest>(), document.schema::<EmbeddingList>());
    let examples = vec![example("one", json!({"model": "bge-small", "input": "a text"}))];
    let sample = json!({
        "object": "list", "model": "BAAI/bge-small-en-v1.5", "data": [{"index": 0, "embedding": [0.1, -0.2]}],
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
    });
    let about =
        "As OpenAI defines them, for models with an upstream that `supports` them; 400 `unsupported` for others.";
    let call = Call::new("embed", "Embeddings", about);
    let call = routed(call).body(body, examples).answer(200, relayed(reply, sample, None));
    document.add(HttpMethod::Post, "/v1/embeddings", call);
}

fn generated() -> Value {
    json!({
        "result": "Hello!", "finish_reason": "stop", "provider": "runpod", "upstream": "runpod-8b", "model": MODEL,
        "usage": {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}, "cost_usd": 2.6e-7, "request_id": "req-1",
    })
}

fn add_generate(document: &mut Document) {
    let body = document.schema::<GenerateRequest>();
    let prompts = || -> Examples {
        vec![
            example("prompt", json!({"prompt": "Say hello", "task": "chat"})),
            example("messages", json!({"messages": hello(), "model": MODEL, "max_tokens": 20, "temperature": 0})),
        ]
    };
    let reply = document.schema::<Generated>();
    let whole = response("the text, and what it took", &ROUTED)
        .content("application/json", content(reply, vec![example("generated", generated())]));
    let about = "A chat in every way, with `max_tokens` 500 and `temperature` 0.7 where they are not given.";
    let call = Call::new("generate", "A prompt in, its text out", about);
    document.add(HttpMethod::Post, "/v1/generate", routed(call).body(body.clone(), prompts()).answer(200, whole));

    let events = "data: {\"chunk\":\"Hel\"}\n\ndata: {\"chunk\":\"lo!\"}\n\ndata: [DONE]\n\n";
    let about =
        "Events with a `chunk` each, then `[DONE]`; one that breaks ends with an `error` event and without `[DONE]`.";
    for (path, id) in [("/v1/generate/stream", "generateStream"), ("/v1/chat/stream", "chatStream")] {
        let stream = response("the text, in pieces", &ROUTED).content("text/event-stream", pieces(events));
        let call = routed(Call::new(id, "A prompt in, its text out in pieces", about));
        document.add(HttpMethod::Post, path, call.body(body.clone(), prompts()).answer(200, stream));
    }
}

fn add_batch(document: &mut Document) {
    let (body, reply) = (document.schema::<BatchRequest>(), document.schema::<batch::Document>());
    let examples = vec![
        example("prompts", json!({"prompts": ["one", "two"], "task": "chat", "concurrency": 8})),
        example(
            "requests",
            json!({"requests": [{"prompt": "one"}, {"messages": hello()}], "model": MODEL, "max_tokens": 20}),
        ),
    ];
    let mut first = generated();
    first["index"] = 0.into();
    let failure =
        json!({"message": "no answer in time", "type": "server_error", "param": null, "code": "upstream_timeout"});
    let failed = json!({"index": 1, "error": failure, "request_id": "req-1.1"});
    let sample = json!({"results": [first, failed], "succeeded": 1, "failed": 1, "cost_usd": 2.6e-7});
    let results = response("each a result or an error of its own, with its `index`", &OWN)
        .content("application/json", content(reply, vec![example("in order", sample)]))
        .content("application/x-ndjson", pieces(&format!("{failed}\n{first}\n")));
    let about = "Each is a request of its own and fails alone. With `Accept: application/x-ndjson` each result is a line, as \
                 soon as it is there. At most `server.max_batch` of them. What is left \
                 after `server.batch_deadline_s` fails with `batch_timeout`, with `invalid_api_key` once the key is removed, or \
                 with `wish_not_allowed` once the key may no longer want what the batch's headers do.";
    let call = Call::new("batch", "Many prompts in one call", about);
    let call = asked(call, Vec::new()).body(body, examples).answer(200, results);
    document.add(HttpMethod::Post, "/v1/generate/batch", call);
}

fn add_explain(document: &mut Document) {
    let (body, reply) = (document.schema::<ChatRequest>(), document.schema::<DecisionView<'_>>());
    let sample = decision();
    let decision = response("what would be done at this moment", &OWN)
        .content("application/json", content(reply, vec![example("decision", sample)]));
    let call = Call::new("explain", "How a chat would be routed", "No call is made and no share is debited.");
    let call = asked(call, [errors::of_names(), errors::of_ensembles()].concat())
        .body(body, vec![example("chat", json!({"model": MODEL, "messages": hello()}))]);
    document.add(HttpMethod::Post, "/v1/route/explain", call.answer(200, decision));
}

/// An example of a decision.
pub(super) fn decision() -> Value {
    json!({
        "model": MODEL, "strategy": "balanced", "upstream": "runpod-8b", "reason": "share",
        "candidates": [{
            "upstream": "runpod-8b", "provider": "runpod", "share": 0.8, "owed_requests": 0.8, "has_ready_worker": true,
            "ready_workers": 1, "queued": 0, "breaker": "closed", "in_flight": 0, "max_in_flight": 1000, "first_token_ms": null,
            "miss_probability": 0.01, "meets_slo": true, "expected_cost_usd": null, "marginal_cost_usd": 0.000_012,
            "price": {"input_usd_per_million": 0.02, "cached_input_usd_per_million": 0.02, "output_usd_per_million": 0.02, "reasoning_usd_per_million": 0.02}, "score": -0.02, "is_too_long": false,
        }],
        "excluded": [{"upstream": "cerebras-8b", "provider": "cerebras", "why": "its breaker is open", "retry_after_s": 0.9}],
        "estimated_prompt_tokens": 24, "expected_completion_tokens": 100.0, "config_version": "5f0c2a91",
    })
}

fn add_models(document: &mut Document) {
    let model = json!({"id": MODEL, "object": "model", "created": 0, "owned_by": "llm-router"});
    let list = document.schema::<ModelList>();
    let alias = json!({"id": "gpt-4o", "object": "model", "created": 0, "owned_by": "llm-router", "alias_of": MODEL});
    let sample = json!({"object": "list", "data": [model, alias]});
    let all = response("the models, and the tasks, ensembles and aliases as models; no patterns", &["x-request-id"])
        .content("application/json", content(list, vec![example("all", sample)]));
    let about = "In OpenAI's shape, or with the header `anthropic-version` in Anthropic's.";
    let call = Call::new("listModels", "What can be asked for", about).answer(200, all);
    document.add(HttpMethod::Get, "/v1/models", call.errors(errors::of_keys(), &["x-request-id"]));

    let one = document.schema::<Model>();
    let found =
        response("the model", &["x-request-id"]).content("application/json", content(one, vec![example("one", model)]));
    let errors = errors::of_keys().into_iter().chain([ApiError::no_such_model("llama-9")]);
    let about = "Slashes in the name may be written as they are or as `%2F`. A name that a pattern of `[aliases]` stands for is one.";
    let call = Call::new("showModel", "One model", about).segment("name", "the model's name", MODEL);
    document.add(HttpMethod::Get, "/v1/models/{name}", call.answer(200, found).errors(errors, &["x-request-id"]));
}

fn add_root(document: &mut Document) {
    let is_here = response("it is there", &[]).content("text/plain", text("llm-router: …"));
    let call = Call::new("root", "Whether there is anything here", "Agents ask for it before their first call.").open();
    document.add(HttpMethod::Get, "/", call.answer(200, is_here));
}

/// What both listeners have.
pub(super) fn add_probes(document: &mut Document) {
    let up = || response("it is", &[]).content("text/plain", text("ok\n"));
    let call = Call::new("livez", "Whether the process turns", "Looks at no upstream.").open();
    document.add(HttpMethod::Get, "/livez", call.answer(200, up()));
    let call = Call::new("readyz", "Whether the process takes requests", "Looks at no upstream.").open();
    let draining = response("it is about to stop", &[]).content("text/plain", text("draining\n"));
    document.add(HttpMethod::Get, "/readyz", call.answer(200, up()).answer(503, draining));
    let this = response("an OpenAPI 3.1 document", &[]).content("application/json", content(Object::new(), Vec::new()));
    let call = Call::new("openapi", "This document", "Of the listener that it is read from.").open();
    document.add(HttpMethod::Get, "/openapi.json", call.answer(200, this));
}

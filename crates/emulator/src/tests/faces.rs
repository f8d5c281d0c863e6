//! What each face accepts, refuses and answers when nothing is broken.

use super::{MODEL, ask, chat, client, contents, events, read, start, streamed, with};
use crate::{CerebrasSettings, Emulator, Quota, Settings};
use serde_json::{Value, json};

#[tokio::test]
async fn a_vllm_answer_has_the_recorded_shape() {
    let emulator = start();
    let (status, body) = read(chat(&emulator.runpod_lb_base(), &ask(MODEL))).await;
    assert_eq!(status, 200);
    let recorded = include_str!("../../captures/chat.json");
    let recorded: Value = serde_json::from_str(recorded).unwrap();
    let recorded: Value = serde_json::from_str(recorded["body"].as_str().unwrap()).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&body), keys(&recorded));
    assert_eq!(keys(&body["choices"][0]), keys(&recorded["choices"][0]));
    assert_eq!(keys(&body["choices"][0]["message"]), keys(&recorded["choices"][0]["message"]));
    // 11 bytes are 3 tokens, and 8 for the template.
    assert_eq!(body["usage"]["prompt_tokens"], 11);
    assert_eq!(body["usage"]["completion_tokens"], 24);
}

#[tokio::test]
async fn vllm_refuses_what_it_refused_when_recorded() {
    let emulator = start();
    let base = emulator.runpod_lb_base();
    let cases = [
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "nonsense"}}}}),
            500,
            "",
        ),
        (json!({"model": "nope"}), 404, "The model `nope` does not exist."),
        (json!({"stream_options": {"include_usage": true}}), 400, "Stream options can only"),
        (json!({"tools": [{"type": "function"}]}), 400, "\"auto\" tool choice requires"),
        (json!({"tools": []}), 400, "`tools` must not be an empty array"),
        (json!({"messages": []}), 400, "Cannot apply chat template"),
        (json!({"temperature": 99}), 400, "temperature must be in [0, 2], got 99.0."),
        (
            json!({"max_tokens": 9000}),
            400,
            "max_tokens=9000 cannot be greater than max_model_len=max_total_tokens=8192.",
        ),
        (
            json!({"messages": [{"role": "user", "content": "word ".repeat(10_000)}], "max_tokens": 12}),
            400,
            "This model's maximum context length is 8192 tokens. However, you requested 12 output tokens and your prompt contains at least 8181 input tokens",
        ),
        (json!({"max_tokens": "many"}), 400, "1 validation error:\n  {'type': 'int_parsing'"),
    ];
    for (fields, status, message) in cases {
        let (got, body) = read(chat(&base, &with(ask(MODEL), fields.clone()))).await;
        assert_eq!(got, status, "{fields}");
        assert!(body["error"]["message"].as_str().unwrap().starts_with(message), "{body}");
        assert_eq!(body["error"]["code"], status);
    }
    assert_eq!(read(chat(&base, &json!([]))).await.0, 500);
    assert_eq!(read(chat(&base, &with(ask(MODEL), json!({"some_future_field": 1})))).await.0, 200);
    let anonymous = client().post(format!("{base}/chat/completions")).body("{}");
    assert_eq!(read(anonymous).await.0, 401);
}

#[tokio::test]
async fn a_vllm_stream_opens_with_a_role_and_ends_with_done() {
    let emulator = start();
    let events = events(chat(&emulator.runpod_lb_base(), &streamed(MODEL)).send().await.unwrap()).await;
    assert_eq!(events.len(), 24 + 3);
    let first: Value = serde_json::from_str(&events[0]).unwrap();
    assert_eq!(first["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    let finish: Value = serde_json::from_str(&events[25]).unwrap();
    assert_eq!(
        (&finish["choices"][0]["finish_reason"], &finish["choices"][0]["delta"]["content"]),
        (&json!("stop"), &json!(""))
    );
    assert!(contents(&events).starts_with("You said: hello there Here"));
    assert!(events.iter().all(|event| !event.contains("usage")));
    assert_eq!(events[26], "[DONE]");
    let log = emulator.call_logs().runpod_lb;
    assert_eq!((log.completed, log.tokens_emitted, log.completion_tokens), (1, 24, 0));
}

#[tokio::test]
async fn vllm_reports_usage_alone_and_only_on_request() {
    let emulator = start();
    let body = with(streamed(MODEL), json!({"stream_options": {"include_usage": true}, "max_tokens": 3}));
    let events = events(chat(&emulator.runpod_lb_base(), &body).send().await.unwrap()).await;
    let usage: Value = serde_json::from_str(&events[events.len() - 2]).unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"], json!({"prompt_tokens": 11, "total_tokens": 14, "completion_tokens": 3}));
    let finish: Value = serde_json::from_str(&events[events.len() - 3]).unwrap();
    assert_eq!(finish["choices"][0]["finish_reason"], "length");
    assert_eq!(contents(&events), "You said: hello");
    let log = emulator.call_logs().runpod_lb;
    assert_eq!((log.prompt_tokens, log.completion_tokens, log.tokens_emitted), (11, 3, 3));
}

#[tokio::test]
async fn completions_embeddings_and_models_are_served() {
    let emulator = start();
    let post = |path: &str, body: Value| {
        client()
            .post(format!("{}/{path}", emulator.runpod_lb_base()))
            .bearer_auth("k")
            .header("content-type", "application/json")
            .body(body.to_string())
    };
    let (_, completion) = read(post("completions", json!({"model": MODEL, "prompt": "hi"}))).await;
    assert_eq!(
        (&completion["usage"]["completion_tokens"], &completion["choices"][0]["finish_reason"]),
        (&json!(16), &json!("length"))
    );
    let (_, vectors) = read(post("embeddings", json!({"model": "BAAI/bge-small", "input": "hi"}))).await;
    assert_eq!(vectors["data"][0]["embedding"].as_array().unwrap().len(), 384);
    let several =
        json!({"model": "BAAI/bge-small", "input": ["hi", "12345"], "encoding_format": "base64", "dimensions": 3});
    let (_, vectors) = read(post("embeddings", several)).await;
    assert_eq!(
        (&vectors["data"][1]["index"], vectors["data"][1]["embedding"].as_str().unwrap().len()),
        (&json!(1), 16)
    );
    assert_eq!(vectors["usage"]["prompt_tokens"], 2 + 8);
    assert_eq!(
        read(post("embeddings", json!({"model": MODEL, "input": "hi"}))).await,
        (404, json!({"detail": "Not Found"}))
    );
    let (_, models) = read(client().get(format!("{}/models", emulator.runpod_lb_base())).bearer_auth("k")).await;
    assert_eq!(models["data"][0]["id"], MODEL);
    let (_, workers) = read(client().get(format!("{}/lb/workers", emulator.url())).bearer_auth("k")).await;
    assert_eq!(
        workers["summary"],
        json!({"running": 1, "idle": 2, "initializing": 0, "throttled": 0, "unhealthy": 0, "total": 3})
    );
    assert_eq!(read(client().get(format!("{}/lb/ping", emulator.url()))).await.0, 200);
}

#[tokio::test]
async fn a_queue_endpoint_hides_a_refusal_in_a_failed_job() {
    let emulator = start();
    let base = emulator.runpod_queue_base("ep1");
    assert_eq!(read(chat(&base, &ask(MODEL))).await.0, 200);
    let (status, job) = read(chat(&base, &ask("nope"))).await;
    assert_eq!((status, &job["status"]), (500, &json!("FAILED")));
    assert!(job["error"].as_str().unwrap().starts_with("{'message': 'vLLM returned HTTP 404: {\"error\":"), "{job}");
    let (_, health) = read(client().get(format!("{}/v2/ep1/health", emulator.url())).bearer_auth("k")).await;
    assert_eq!(health["jobs"], json!({"completed": 1, "failed": 1, "inProgress": 0, "inQueue": 0, "retried": 0}));
    assert_eq!(health["workers"]["running"], 1);
}

#[tokio::test]
async fn native_jobs_run_to_their_end() {
    let emulator = start();
    let url = format!("{}/v2/ep1", emulator.url());
    let input = json!({"input": {"openai_route": "/v1/chat/completions", "openai_input": ask(MODEL)}});
    let (_, job) = read(client().post(format!("{url}/runsync")).bearer_auth("k").body(input.to_string())).await;
    assert_eq!((&job["status"], &job["output"][0]["object"]), (&json!("COMPLETED"), &json!("chat.completion")));
    emulator.control(crate::Face::RunpodQueue, crate::Fault::Throttled);
    let (_, job) = read(client().post(format!("{url}/run")).bearer_auth("k").body(input.to_string())).await;
    let id = job["id"].as_str().unwrap();
    let status = || read(client().get(format!("{url}/status/{id}")).bearer_auth("k"));
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    assert_eq!(status().await.1["status"], "IN_QUEUE");
    assert_eq!(read(client().post(format!("{url}/cancel/{id}")).bearer_auth("k")).await.1["status"], "CANCELLED");
    assert_eq!(status().await.1["status"], "CANCELLED");
}

#[tokio::test]
async fn cerebras_is_strict_and_flat() {
    let emulator = start();
    let base = emulator.cerebras_base();
    let both =
        json!({"tools": [{"type": "function", "function": {"name": "f"}}], "response_format": {"type": "json_object"}});
    let cases = [
        (ask("llama3.1-8b"), json!({"top_k": 1}), 400, "wrong_api_format"),
        (ask("llama3.1-8b"), json!({"max_tokens": 1, "max_completion_tokens": 1}), 400, "wrong_api_format"),
        (
            ask("llama3.1-8b"),
            json!({"messages": [{"role": "assistant", "content": "x", "reasoning_content": "y"}]}),
            400,
            "wrong_api_format",
        ),
        (
            ask("llama3.1-8b"),
            json!({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "nonsense"}}}}),
            400,
            "wrong_api_format",
        ),
        (ask("gpt-oss-120b"), both, 400, "wrong_api_format"),
        (ask("gone"), json!({}), 404, "model_not_found"),
    ];
    for (body, fields, status, code) in cases {
        let (got, body) = read(chat(&base, &with(body, fields))).await;
        assert_eq!((got, body["code"].as_str()), (status, Some(code)), "{body}");
    }
    let anonymous = client().post(format!("{base}/chat/completions")).body("{}");
    assert_eq!(read(anonymous).await, (403, json!({"detail": "Not authenticated"})));
    assert_eq!(read(client().get(format!("{base}/nothing")).bearer_auth("k")).await, (404, json!("")));
}

#[tokio::test]
async fn a_forced_tool_is_called() {
    let emulator = start();
    let tools = json!({"tools": [{"type": "function", "function": {"name": "weather"}}], "tool_choice": "required"});
    let base = emulator.cerebras_base();
    let (_, body) = read(chat(&base, &with(ask("llama3.1-8b"), tools.clone()))).await;
    let choice = &body["choices"][0];
    assert_eq!(choice["message"]["tool_calls"][0]["function"], json!({"name": "weather", "arguments": "{}"}));
    assert_eq!(choice["finish_reason"], "tool_calls");
    let events = events(chat(&base, &with(streamed("llama3.1-8b"), tools)).send().await.unwrap()).await;
    assert!(events[1].contains("\"tool_calls\":[{") && events[2].contains("\"finish_reason\":\"tool_calls\""));
}

fn weather() -> Value {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}}, "required": ["city", "days"]});
    json!([{"type": "function", "function": {"name": "get_weather", "description": "Tells how warm it is.", "parameters": parameters}}])
}

#[tokio::test]
async fn a_vllm_stream_calls_a_tool_by_name_first_and_then_in_pieces() {
    let emulator = Emulator::start(Settings { speed: 0.0, ..Settings::demo() }).unwrap();
    let base = emulator.runpod_lb_base();
    let messages = json!([{"role": "user", "content": "What is the weather in Rome?"}]);
    let body = json!({"model": MODEL, "messages": messages, "tools": weather(), "n": 2, "temperature": 1});
    let (_, whole) = read(chat(&base, &body)).await;
    let choice = &whole["choices"][0];
    assert_eq!((&choice["finish_reason"], &choice["message"]["content"]), (&json!("tool_calls"), &Value::Null));
    let call = &choice["message"]["tool_calls"][0];
    let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
    assert!(arguments["city"].is_string() && arguments["days"].as_i64().unwrap() >= 1, "{arguments}");
    assert_ne!(call["id"], whole["choices"][1]["message"]["tool_calls"][0]["id"]);

    let streamed = with(body, json!({"stream": true, "stream_options": {"include_usage": true}}));
    let events = events(chat(&base, &streamed).send().await.unwrap()).await;
    let parsed = events.iter().filter_map(|event| serde_json::from_str::<Value>(event).ok());
    let calls: Vec<Value> = parsed
        .filter(|event| event["choices"][0]["index"] == 0)
        .map(|event| event["choices"][0]["delta"]["tool_calls"][0].clone())
        .filter(|call| !call.is_null())
        .collect();
    assert_eq!(
        (&calls[0]["function"], &calls[0]["index"]),
        (&json!({"name": "get_weather", "arguments": ""}), &json!(0))
    );
    assert!(calls[0]["id"].as_str().unwrap() != call["id"].as_str().unwrap(), "each call has its own id");
    let pieces: Vec<&str> = calls[1..].iter().map(|call| call["function"]["arguments"].as_str().unwrap()).collect();
    assert!(pieces.len() > 3 && calls[1..].iter().all(|call| call.get("id").is_none()), "{calls:?}");
    assert_eq!(serde_json::from_str::<Value>(&pieces.concat()).unwrap(), arguments);
    let usage: Value = serde_json::from_str(&events[events.len() - 2]).unwrap();
    assert_eq!(usage["usage"]["completion_tokens"], 2 * calls.len());
}

#[tokio::test]
async fn the_answer_to_a_tool_is_text() {
    let emulator = Emulator::start(Settings { speed: 0.0, ..Settings::demo() }).unwrap();
    for (base, model) in [(emulator.runpod_lb_base(), MODEL), (emulator.cerebras_base(), "llama3.1-8b")] {
        let call = json!({"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}});
        let messages = json!([{"role": "user", "content": "What is the weather in Rome?"}, {"role": "assistant", "content": null, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "21 degrees"}]);
        let (_, body) = read(chat(&base, &json!({"model": model, "messages": messages, "tools": weather()}))).await;
        let choice = &body["choices"][0];
        assert!(choice["message"]["content"].as_str().unwrap().starts_with("The tool says: 21 degrees"), "{body}");
        assert_eq!(choice["finish_reason"], "stop");
    }
}

#[tokio::test]
async fn images_are_seen_only_where_a_setting_says_so() {
    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}});
    let messages = json!([{"role": "user", "content": [{"type": "text", "text": "what is it?"}, image]}]);
    for (settings, status) in [(Settings::instant(), 400), (Settings { speed: 0.0, ..Settings::demo() }, 200)] {
        let emulator = Emulator::start(settings).unwrap();
        for (base, model) in [(emulator.runpod_lb_base(), MODEL), (emulator.cerebras_base(), "llama3.1-8b")] {
            let (got, body) = read(chat(&base, &json!({"model": model, "messages": messages}))).await;
            assert_eq!(got, status, "{body}");
            if status == 200 {
                let text = body["choices"][0]["message"]["content"].as_str().unwrap();
                assert!(text.starts_with("I see 1 image. You said: what is it?"), "{text}");
                assert_eq!(body["usage"]["prompt_tokens"], 3 + 8 + 85);
            }
        }
    }
}

#[tokio::test]
async fn a_wrong_cerebras_key_is_401() {
    let cerebras = CerebrasSettings { api_key: Some("csk".into()), ..CerebrasSettings::default() };
    let emulator = Emulator::start(Settings { cerebras, ..Settings::instant() }).unwrap();
    let (status, body) = read(chat(&emulator.cerebras_base(), &ask("llama3.1-8b"))).await;
    assert_eq!((status, &body["code"]), (401, &json!("wrong_api_key")));
}

#[tokio::test]
async fn cerebras_puts_usage_on_the_finish_chunk() {
    let emulator = start();
    let events = events(chat(&emulator.cerebras_base(), &streamed("gpt-oss-120b")).send().await.unwrap()).await;
    let thought: Value = serde_json::from_str(&events[1]).unwrap();
    assert_eq!(thought["choices"][0]["delta"], json!({"reasoning": "Thinking"}));
    let finish: Value = serde_json::from_str(&events[events.len() - 2]).unwrap();
    assert_eq!(finish["choices"][0], json!({"index": 0, "delta": {}, "finish_reason": "stop"}));
    assert_eq!(finish["usage"]["completion_tokens"], 24);
    assert!(finish["time_info"]["total_time"].is_f64());
    assert_eq!(emulator.call_logs().cerebras.completion_tokens, 24);
}

#[tokio::test]
async fn a_cerebras_quota_runs_out() {
    let quota = Quota { requests_per_minute: 1.0, ..Quota::default() };
    let cerebras = CerebrasSettings { quota, ..CerebrasSettings::default() };
    let emulator = Emulator::start(Settings { cerebras, ..Settings::instant() }).unwrap();
    let first = chat(&emulator.cerebras_base(), &ask("llama3.1-8b")).send().await.unwrap();
    assert_eq!(first.headers()["x-ratelimit-limit-requests-minute"], "1");
    assert_eq!(first.headers()["x-ratelimit-remaining-requests-minute"], "0");
    let second = chat(&emulator.cerebras_base(), &ask("llama3.1-8b")).send().await.unwrap();
    assert_eq!(second.status(), 429);
    let reset: f64 = second.headers()["x-ratelimit-reset-requests-minute"].to_str().unwrap().parse().unwrap();
    assert!((58.0..=60.0).contains(&reset), "{reset}");
    let body: Value = serde_json::from_str(&second.text().await.unwrap()).unwrap();
    assert_eq!(body["code"], "request_quota_exceeded");
}

#[tokio::test]
async fn the_call_log_shows_what_was_sent() {
    let emulator = start();
    read(chat(&emulator.cerebras_base(), &ask("llama3.1-8b"))).await;
    let logs = emulator.call_logs();
    let sent = &logs.cerebras.requests[0];
    assert_eq!(
        (sent.path.as_str(), sent.headers["authorization"].as_str()),
        ("/cerebras/v1/chat/completions", "Bearer key")
    );
    assert_eq!(serde_json::from_str::<Value>(&sent.body).unwrap()["model"], "llama3.1-8b");
    let (_, json) = read(client().get(format!("{}/_control/calls", emulator.url()))).await;
    assert_eq!(json["cerebras"]["received"], 1);
}

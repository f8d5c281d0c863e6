//! Bodies as they are sent, and whose mistake a refusal is.

mod linear;
mod nested;
mod properties;
mod refusals;
mod schemas;

use bytes::Bytes;
use openai::Served;
use provider::{Adjustment, Call, Error, ErrorKind, Limits, MemoryBudget, Operation, ReplyHead, Request};
use serde_json::{Value, json};

use crate::{exclude, outgoing};

fn call(adjustment: Option<Adjustment>) -> Call {
    Call {
        request_id: "r".into(),
        adjustment,
        reasoning: provider::ReasoningField::default(),
        memory: MemoryBudget::default(),
    }
}

fn request(operation: Operation, extra: &Value) -> Request {
    let mut asked = match operation {
        Operation::Chat => json!({"model": "alias", "messages": [{"role": "user", "content": "x"}]}),
        Operation::Completions => json!({"model": "alias", "prompt": "x"}),
        Operation::Embeddings => json!({"model": "alias", "input": "x"}),
        other => panic!("no test asks Cerebras for {other:?} here"),
    };
    for (name, value) in extra.as_object().expect("fields") {
        asked[name] = value.clone();
    }
    parsed(operation, asked.to_string())
}

fn parsed(operation: Operation, body: String) -> Request {
    Request::parse(operation, Bytes::from(body), Limits { max_messages: 99 }).expect("a valid request")
}

/// The body and what is said of it, as they go to Cerebras.
fn sent(request: &Request, model: &str, adjustment: Option<Adjustment>) -> Result<(Bytes, ReplyHead), Error> {
    exclude::check(request, model)?;
    let served = Served::new(model, Some(64), "max_completion_tokens").with_plain_stream_options();
    let outgoing = outgoing::outgoing(request, &served, &call(adjustment), model)?;
    Ok((outgoing.rewrite.finish(), outgoing.head))
}

fn try_sent(operation: Operation, model: &str, extra: &Value) -> Result<(Value, ReplyHead), Error> {
    let (body, head) = sent(&request(operation, extra), model, None)?;
    let mut body: Value = serde_json::from_slice(&body).expect("JSON");
    let rest = body.as_object_mut().expect("an object");
    assert_eq!(rest.remove("model"), Some(json!(model)));
    rest.remove("prompt");
    if !extra["messages"].is_array() {
        rest.remove("messages");
    }
    Ok((body, head))
}

/// What is sent of `extra` to gpt-oss, and what is said to be dropped and added.
fn chat(extra: &Value) -> (Value, Vec<String>, Vec<String>) {
    let (body, head) = try_sent(Operation::Chat, "gpt-oss-120b", extra).expect("a request that is served");
    (body, head.dropped_params, head.injected_params)
}

/// `extra` with a limit is sent as `expected` with that limit, and `dropped` is said.
fn check(extra: Value, expected: Value, dropped: &[&str]) {
    let limited = |mut fields: Value| {
        fields["max_completion_tokens"] = json!(3);
        fields
    };
    let (body, said, injected) = chat(&limited(extra));
    assert_eq!(body, limited(expected));
    assert_eq!(said, dropped, "{body}");
    assert!(injected.is_empty(), "{injected:?}");
}

#[test]
fn what_cerebras_takes_passes() {
    let taken = json!({
        "temperature": 0.5, "top_p": 0.9, "seed": 1, "stop": ["a", "b", "c", "d"], "user": "u", "n": 1,
        "frequency_penalty": 0.1, "presence_penalty": 0.1, "logit_bias": {"5": 1}, "logprobs": true, "top_logprobs": 2,
        "tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto",
        "parallel_tool_calls": false, "min_tokens": 1,
        "reasoning_effort": "high", "reasoning_format": "parsed", "clear_thinking": true,
        "response_format": {"type": "text"},
    });
    check(taken.clone(), taken, &[]);
    let prediction = json!({"prediction": {"type": "content", "content": "x"}, "logprobs": false});
    check(prediction.clone(), prediction, &[]);
}

#[test]
fn what_cerebras_does_not_know_is_left_out_and_said() {
    for name in [
        "top_k",
        "min_p",
        "repetition_penalty",
        "ignore_eos",
        "stop_token_ids",
        "bad_words",
        "priority",
        "request_id",
        "cache_salt",
        "documents",
        "echo",
        "include_reasoning",
        "chat_template_kwargs",
        "some_future_field",
    ] {
        check(json!({name: 1, "seed": 1}), json!({"seed": 1}), &[name]);
    }
}

#[test]
fn what_has_no_effect_or_no_value_is_left_out_in_silence() {
    for name in ["store", "metadata", "safety_identifier", "verbosity", "prompt_cache_key", "service_tier"] {
        check(json!({name: "x"}), json!({}), &[]);
    }
    let nothing = json!({"top_k": null, "seed": null, "tools": null, "guided_json": null, "guided_regex": null,
        "structured_outputs": null, "reasoning_effort": null, "max_tokens": null, "stop": null});
    check(nothing, json!({}), &[]);
}

#[test]
fn one_limit_is_sent() {
    assert_eq!(
        chat(&json!({})),
        (json!({"max_completion_tokens": 64}), vec![], vec!["max_completion_tokens=64".into()])
    );
    let none = chat(&json!({"max_completion_tokens": null, "max_tokens": null}));
    assert_eq!(none.0, json!({"max_completion_tokens": 64}));
    let cases = [
        (json!({"max_tokens": 3}), 3),
        (json!({"max_completion_tokens": 4}), 4),
        (json!({"max_tokens": 3, "max_completion_tokens": 4}), 4),
        (json!({"max_tokens": 3, "max_completion_tokens": null}), 3),
    ];
    for (limits, sent) in cases {
        assert_eq!(chat(&limits), (json!({"max_completion_tokens": sent}), vec![], vec![]), "{limits}");
    }
}

#[test]
fn a_stream_has_no_option_but_usage() {
    for options in [json!(null), json!({}), json!({"include_usage": true, "continuous_usage_stats": true})] {
        let expected = json!({"stream": true, "stream_options": {"include_usage": true}});
        check(json!({"stream": true, "stream_options": options}), expected, &[]);
    }
    check(json!({"stream": false, "stream_options": {}}), json!({"stream": false}), &[]);
}

#[test]
fn messages_are_written_as_cerebras_wants_them() {
    let messages = json!([
        {"role": "developer", "content": "be brief"},
        {"role": "assistant", "content": "Paris", "reasoning_content": "hm, developer"},
        {"role": "user", "content": "developer reasoning_content"},
    ]);
    let written = json!([
        {"role": "system", "content": "be brief"},
        {"role": "assistant", "content": "Paris", "reasoning": "hm, developer"},
        {"role": "user", "content": "developer reasoning_content"},
    ]);
    check(json!({"messages": messages}), json!({"messages": written}), &[]);
}

#[test]
fn an_effort_that_is_not_known_is_moved_and_said() {
    for (asked, sent) in [("none", "low"), ("minimal", "low"), ("xhigh", "high"), ("max", "high")] {
        let (body, dropped, injected) = chat(&json!({"reasoning_effort": asked, "max_tokens": 1}));
        assert_eq!(body, json!({"reasoning_effort": sent, "max_completion_tokens": 1}));
        assert_eq!((dropped, injected), (vec![], vec![format!("reasoning_effort={sent}")]));
    }
    let asked = json!({"reasoning_effort": "none", "max_tokens": 1});
    let (body, head) = try_sent(Operation::Chat, "qwen-3.8-27b", &asked).expect("served");
    assert_eq!((body["reasoning_effort"].as_str(), head.injected_params), (Some("none"), vec![]));
}

#[test]
fn a_schema_becomes_a_response_format() {
    let schema = json!({"type": "object"});
    let format = json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}});
    check(json!({"guided_json": schema}), json!({"response_format": format}), &[]);
    check(json!({"guided_json": schema.to_string()}), json!({"response_format": format}), &[]);
    check(json!({"structured_outputs": {"json": schema, "regex": null}}), json!({"response_format": format}), &[]);
    let own = json!({"type": "text"});
    check(json!({"guided_json": schema, "response_format": own}), json!({"response_format": own}), &["guided_json"]);
}

#[test]
fn completions_have_a_list_of_their_own() {
    let asked =
        json!({"echo": true, "suffix": "s", "best_of": 1, "tools": [{}], "top_k": 1, "max_completion_tokens": 5});
    let (body, head) = try_sent(Operation::Completions, "gpt-oss-120b", &asked).expect("served");
    assert_eq!(body, json!({"echo": true, "suffix": "s", "best_of": 1, "max_tokens": 5}));
    assert_eq!(head.dropped_params, ["tools", "top_k"]);
    for (limits, sent) in [
        (json!({"max_completion_tokens": 5, "max_tokens": 3}), 5),
        (json!({"max_completion_tokens": null, "max_tokens": 3}), 3),
        (json!({"max_tokens": 0}), 0),
    ] {
        let body = try_sent(Operation::Completions, "gpt-oss-120b", &limits).expect("served").0;
        assert_eq!(body, json!({"max_tokens": sent}), "{limits}");
    }
    let (body, head) = try_sent(Operation::Completions, "gpt-oss-120b", &json!({})).expect("served");
    assert_eq!((body, head.injected_params), (json!({"max_tokens": 64}), vec!["max_tokens=64".to_owned()]));
}

#[test]
fn what_cannot_be_left_out_is_refused_before_it_is_sent() {
    let audio = json!([{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "eA=="}}]}]);
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let function = json!([{"role": "function", "name": "f", "content": "1"}]);
    let cases = [
        ("messages", json!({"messages": function})),
        ("n", json!({"n": 2})),
        ("messages", json!({"messages": audio})),
        ("stop", json!({"stop": ["1", "2", "3", "4", "5"]})),
        ("response_format", json!({"tools": tools, "response_format": {"type": "json_object"}})),
        ("response_format", json!({"tools": tools, "guided_json": {}})),
        ("guided_regex", json!({"guided_regex": "a+"})),
        ("guided_choice", json!({"guided_choice": ["a"]})),
        ("guided_grammar", json!({"guided_grammar": "g"})),
        ("guided_json", json!({"guided_json": 7})),
        ("structured_outputs", json!({"structured_outputs": {"choice": ["a"]}})),
        ("structured_outputs", json!({"structured_outputs": {"json": {}, "regex": "a"}})),
        ("prediction", json!({"prediction": {}, "tools": tools})),
        ("prediction", json!({"prediction": {}, "logprobs": true})),
    ];
    for (param, extra) in cases {
        let error = try_sent(Operation::Chat, "gpt-oss-120b", &extra).err();
        let error = error.unwrap_or_else(|| panic!("{extra} was sent"));
        assert_eq!((error.kind, error.param.as_deref()), (ErrorKind::Unsupported, Some(param)), "{extra}");
    }
    let both = json!({"tools": tools, "response_format": {"type": "text"}, "guided_json": {}});
    assert!(try_sent(Operation::Chat, "qwen-3.8-27b", &both).is_ok());
    for name in ["guided_json", "structured_outputs", "response_format", "guided_regex"] {
        let error = try_sent(Operation::Completions, "gpt-oss-120b", &json!({name: {"type": "json_object"}}))
            .expect_err("refused");
        assert_eq!(error.param.as_deref(), Some(name));
    }
    assert!(try_sent(Operation::Embeddings, "gpt-oss-120b", &json!({})).is_err());
}

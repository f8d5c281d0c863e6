//! What becomes of requests, those that Codex and the SDKs send among them.

mod turns;

use provider::{Limits, Operation, Request};
use serde_json::{Value, json};

use super::*;

/// The chat that a request becomes, and what is left out of it.
fn chat(request: &Value) -> (Value, Vec<String>) {
    let chat = to_chat(&request.to_string()).unwrap_or_else(|error| panic!("{request}: {error:?}"));
    let body: Value = serde_json::from_slice(&chat.body).expect("JSON");
    let parsed = Request::parse(Operation::Chat, chat.body.into(), Limits { max_messages: 1000 });
    assert!(parsed.is_ok(), "{body}: {parsed:?}");
    (body, chat.dropped)
}

/// The messages that an input becomes.
fn messages(input: &Value) -> Value {
    let (body, dropped) = chat(&json!({"model": "m", "input": input}));
    assert_eq!(dropped, [""; 0]);
    body["messages"].clone()
}

/// The request with more fields.
fn with(more: &Value) -> Value {
    let mut request = json!({"model": "m", "input": "Hi"});
    for (name, value) in more.as_object().expect("fields") {
        request[name] = value.clone();
    }
    request
}

fn refused(request: &Value) -> (String, String) {
    let error = to_chat(&request.to_string()).err().unwrap_or_else(|| panic!("{request} is accepted"));
    (error.param.unwrap_or_default(), error.message)
}

#[test]
fn a_text_is_a_message_of_the_user() {
    let (body, dropped) = chat(&json!({"model": "a/b", "input": "Say \"hi\"\n", "instructions": "Be brief."}));
    assert_eq!(
        body,
        json!({"model": "a/b", "messages": [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say \"hi\"\n"},
        ]})
    );
    assert_eq!(dropped, [""; 0]);
}

#[test]
fn fields_have_their_names_in_a_chat() {
    let (body, dropped) = chat(&with(&json!({
        "stream": true, "max_output_tokens": 9, "temperature": 0.5, "top_p": 1, "top_logprobs": 3,
        "reasoning": {"effort": "high", "summary": "auto"}, "user": "u", "metadata": {"a": "b"}, "prompt_cache_key": "k",
        "safety_identifier": "s", "service_tier": "auto", "store": true, "include": ["reasoning.encrypted_content"],
        "text": {"verbosity": "low", "format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": true}},
        "stream_options": {"include_obfuscation": false}, "client_metadata": {"x": "y"}, "truncation": "disabled",
        "background": false, "previous_response_id": null, "seed": 4, "top_k": 2,
    })));
    let mut expected = json!({
        "model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": true, "stream_options": {"include_usage": true},
        "max_completion_tokens": 9, "temperature": 0.5, "top_p": 1, "logprobs": true, "top_logprobs": 3,
        "reasoning_effort": "high", "user": "u", "metadata": {"a": "b"}, "prompt_cache_key": "k", "safety_identifier": "s",
        "service_tier": "auto", "verbosity": "low", "seed": 4, "top_k": 2,
    });
    expected["response_format"] =
        json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": true}});
    assert_eq!((body, dropped), (expected, vec![]));
    let (body, _) =
        chat(&with(&json!({"include": ["message.output_text.logprobs"], "text": {"format": {"type": "json_object"}}})));
    assert_eq!((&body["logprobs"], &body["response_format"]), (&json!(true), &json!({"type": "json_object"})));
    let (body, _) = chat(&with(&json!({"text": {"format": {"type": "text"}}, "stream": false})));
    assert_eq!(body, json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}));
}

#[test]
fn what_changes_the_answer_and_cannot_be_served_is_refused_with_what_to_do() {
    for (field, value, instead) in [
        ("previous_response_id", json!("resp_1"), "send the whole conversation as 'input'"),
        ("conversation", json!("conv_1"), "send the whole conversation as 'input'"),
        ("prompt", json!({"id": "pmpt_1"}), "send its text"),
        ("background", json!(true), "must be false"),
        ("messages", json!([]), "send 'input'"),
        ("max_tokens", json!(5), "send 'max_output_tokens'"),
        ("response_format", json!({}), "send 'text.format'"),
        ("n", json!(2), "holds one answer"),
    ] {
        let (param, message) = refused(&with(&json!({field: value})));
        assert_eq!(param, field);
        assert!(message.contains(instead), "{message}");
        chat(&with(&json!({field: null})));
    }
}

#[test]
fn what_changes_nothing_without_hosted_tools_is_left_out_and_named() {
    let (body, dropped) = chat(&with(&json!({
        "max_tool_calls": 3, "truncation": "auto", "context_management": [{"type": "compaction"}], "moderation": null,
        "prompt_cache_retention": "24h",
    })));
    assert_eq!(body, json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}));
    assert_eq!(dropped, ["max_tool_calls", "context_management", "prompt_cache_retention", "truncation"]);
}

#[test]
fn every_mistake_names_its_place_and_what_to_change() {
    let cases = [
        (json!({"input": "x"}), "model", "GET /v1/models"),
        (json!({"model": "", "input": "x"}), "model", "GET /v1/models"),
        (json!({"model": 7, "input": "x"}), "model", "must be a string"),
        (json!({"model": "m"}), "input", "is required"),
        (json!({"model": "m", "input": 7}), "input", "a string or an array"),
        (json!({"model": "m", "input": []}), "input", "holds no message"),
        (json!({"model": "m", "input": [7]}), "input[0]", "must be an object"),
        (json!({"model": "m", "input": [{}]}), "input[0].type", "is required"),
        (json!({"model": "m", "input": [{"type": "hologram"}]}), "input[0].type", "\"hologram\": use one of message"),
        (json!({"model": "m", "input": [{"id": "x"}]}), "input[0]", "send the item itself"),
        (json!({"model": "m", "input": [{"type": "compaction", "encrypted_content": "x"}]}), "input[0]", "a summary"),
        (json!({"model": "m", "input": [{"role": "user"}]}), "input[0].content", "is required"),
        (json!({"model": "m", "input": [{"role": "robot", "content": "x"}]}), "input[0].role", "use one of user"),
        (json!({"model": "m", "input": [{"role": "user", "content": 7}]}), "input[0].content", "an array of parts"),
        (
            json!({"model": "m", "input": [{"role": "user", "content": [{"type": "input_text"}]}]}),
            "input[0].content[0].text",
            "is required",
        ),
        (
            json!({"model": "m", "input": "x", "tools": [{"type": "function", "parameters": {}}]}),
            "tools[0].name",
            "is required",
        ),
        (
            json!({"model": "m", "input": [{"type": "function_call", "call_id": "c", "name": "f"}]}),
            "input[0].arguments",
            "is required",
        ),
        (
            json!({"model": "m", "input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}),
            "input[0].call_id",
            "is required",
        ),
        (
            json!({"model": "m", "input": [{"type": "function_call_output", "call_id": "c"}]}),
            "input[0].output",
            "is required",
        ),
        (json!({"model": "m", "input": "x", "max_output_tokens": 0}), "max_output_tokens", "from 1 to"),
        (json!({"model": "m", "input": "x", "temperature": 3}), "temperature", "from 0 to 2"),
        (json!({"model": "m", "input": "x", "top_logprobs": 21}), "top_logprobs", "from 0 to 20"),
        (json!({"model": "m", "input": "x", "stream": "yes"}), "stream", "true or false"),
        (json!({"model": "m", "input": "x", "include": [7]}), "include[0]", "must be a string"),
        (json!({"model": "m", "input": "x", "metadata": []}), "metadata", "an object"),
        (json!({"model": "m", "input": "x", "user": 7}), "user", "must be a string"),
        (json!({"model": "m", "input": "x", "truncation": "all"}), "truncation", "\"disabled\" or \"auto\""),
        (json!({"model": "m", "input": "x", "reasoning": {"effort": 7}}), "reasoning.effort", "must be a string"),
        (json!({"model": "m", "input": "x", "text": {"format": {"type": "xml"}}}), "text.format.type", "json_schema"),
        (
            json!({"model": "m", "input": "x", "text": {"format": {"type": "json_schema", "name": "n"}}}),
            "text.format.schema",
            "is required",
        ),
        (json!({"model": "m", "input": "x", "tools": {}}), "tools", "must be an array"),
        (json!({"model": "m", "input": "x", "tools": [{"name": "f"}]}), "tools[0].type", "is required"),
        (
            json!({"model": "m", "input": "x", "tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function"}]}]}),
            "tools[0].tools[0].name",
            "is required",
        ),
        (json!({"model": "m", "input": "x", "tool_choice": "must"}), "tool_choice", "\"required\""),
        (json!({"model": "m", "input": "x", "tool_choice": "required"}), "tool_choice", "there is none"),
        (
            json!({"model": "m", "input": "x", "tool_choice": {"type": "function", "name": "f"}}),
            "tool_choice.name",
            "no tool of the request",
        ),
    ];
    for (request, param, message) in cases {
        let error = refused(&request);
        assert_eq!(error.0, param, "{request}");
        assert!(error.1.contains(message), "{request}: {}", error.1);
    }
    for (text, message) in [("", "is empty"), ("[]", "JSON object"), ("{\"model\":\"m\",\"model\":\"n\"}", "twice")] {
        assert!(to_chat(text).is_err_and(|error| error.message.contains(message)), "{text}");
    }
    let twice = r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"a","text":"b"}]}]}"#;
    assert!(to_chat(twice).is_err_and(|error| error.param.as_deref() == Some("input")));
}

#[test]
fn images_come_from_users_by_url_and_files_and_audio_are_refused() {
    let image = |part: Value| json!([{"role": "user", "content": [{"type": "input_text", "text": "What?"}, part]}]);
    assert_eq!(
        messages(&image(json!({"type": "input_image", "detail": "low", "image_url": "data:image/png;base64,AA=="}))),
        json!([{"role": "user", "content": [{"type": "text", "text": "What?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}}]}])
    );
    let refused = |part: Value| refused(&json!({"model": "m", "input": image(part)}));
    let (param, message) = refused(json!({"type": "input_image", "file_id": "file_1"}));
    assert_eq!(param, "input[0].content[1].file_id");
    assert!(message.contains("send 'image_url'"), "{message}");
    assert_eq!(refused(json!({"type": "input_image"})).0, "input[0].content[1].image_url");
    assert_eq!(refused(json!({"type": "input_image", "image_url": {"url": "x"}})).0, "input[0].content[1].image_url");
    for (kind, instead) in [("input_file", "send its text"), ("input_audio", "send a transcript")] {
        let (param, message) = refused(json!({"type": kind}));
        assert_eq!(param, "input[0].content[1]");
        assert!(message.contains(instead), "{message}");
    }
}

#[test]
fn an_effort_is_one_that_every_upstream_knows() {
    for (asked, sent) in [
        ("none", "low"),
        ("minimal", "low"),
        ("low", "low"),
        ("medium", "medium"),
        ("high", "high"),
        ("xhigh", "high"),
        ("max", "high"),
    ] {
        let (body, dropped) = chat(&with(&json!({"reasoning": {"effort": asked}})));
        assert_eq!((&body["reasoning_effort"], dropped), (&json!(sent), vec![]), "{asked}");
    }
    let (param, message) = refused(&with(&json!({"reasoning": {"effort": "huge"}})));
    assert!(param == "reasoning.effort" && message.contains("xhigh"), "{message}");
}

#[test]
fn the_systems_messages_are_one_at_the_beginning_and_the_users_later() {
    let (body, _) = chat(&json!({"model": "m", "instructions": "A", "input": [
        {"role": "developer", "content": [{"type": "input_text", "text": "B"}, {"type": "input_text", "text": "C"}]},
        {"type": "message", "role": "system", "content": "D"},
        {"role": "user", "content": "Hi"},
        {"role": "developer", "content": "E"},
    ]}));
    assert_eq!(
        body["messages"],
        json!([{"role": "system", "content": "A\n\nB\n\nC\n\nD"}, {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "E"}]}])
    );
}

#[test]
fn hosted_items_of_a_history_are_left_out_and_named() {
    let (body, dropped) = chat(&json!({"model": "m", "input": [
        {"role": "user", "content": "Hi"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "local_shell_call", "call_id": "c", "action": {}},
        {"type": "web_search_call", "id": "ws_2"},
        {"type": "tool_search_call", "execution": "server", "call_id": null, "arguments": {}},
        {"type": "additional_tools", "role": "developer", "tools": []},
    ]}));
    assert_eq!(body["messages"], json!([{"role": "user", "content": "Hi"}]));
    assert_eq!(dropped, ["web_search_call", "local_shell_call", "tool_search_call"]);
}

#[test]
fn a_message_of_another_agent_is_read_whole() {
    assert_eq!(
        messages(&json!([{"type": "agent_message", "author": "lead", "recipient": "lead/child", "content": [
            {"type": "input_text", "text": "NEW_TASK:"}, {"type": "encrypted_content", "encrypted_content": "Say A"},
        ]}])),
        json!([{"role": "user", "content": [{"type": "text", "text": "NEW_TASK:"}, {"type": "text", "text": "Say A"}]}])
    );
}

/// The names and kinds of the functions that tools became.
fn functions(body: &Value) -> Vec<&str> {
    let tools = body["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    tools.iter().map(|tool| tool["function"]["name"].as_str().expect("a name")).collect()
}

#[test]
fn a_function_is_nested_and_keeps_its_schema() {
    let tool = json!({"type": "function", "name": "f", "description": "Does \"f\".", "strict": true, "defer_loading": true,
        "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}});
    let (body, _) =
        chat(&with(&json!({"tools": [tool, {"type": "function", "name": "g", "parameters": null, "strict": null}],
        "tool_choice": {"type": "function", "name": "f"}, "parallel_tool_calls": false})));
    assert_eq!(
        body["tools"],
        json!([
            {"type": "function", "function": {"name": "f", "description": "Does \"f\".", "strict": true,
                "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}},
            {"type": "function", "function": {"name": "g", "parameters": {"type": "object", "properties": {}}}},
        ])
    );
    assert_eq!(body["tool_choice"], json!({"type": "function", "function": {"name": "f"}}));
    assert_eq!(body["parallel_tool_calls"], json!(false));
}

#[test]
fn tools_of_every_kind_become_functions_with_names_of_their_own() {
    let (body, dropped) = chat(&json!({"model": "m", "input": [
        {"type": "additional_tools", "role": "developer", "tools": [
            {"type": "namespace", "name": "functions", "description": "", "tools": [
                {"type": "custom", "name": "exec", "description": "Runs.", "format": {"type": "grammar", "syntax": "lark", "definition": "start: \"x\"\n"}},
                {"type": "function", "name": "wait", "parameters": {"type": "object"}},
            ]},
            {"type": "namespace", "name": "mcp__demo__", "description": "Demo", "tools": [{"type": "function", "name": "look up", "parameters": {}}]},
            {"type": "namespace", "name": "agents", "description": "", "tools": [{"type": "function", "name": "wait", "parameters": {}}]},
            {"type": "tool_search", "execution": "client", "description": "Search", "parameters": {"type": "object"}},
            {"type": "web_search", "external_web_access": true}, {"type": "image_generation"}, {"type": "brand\nnew"},
        ]},
        {"role": "user", "content": "Hi"},
        {"type": "custom_tool_call", "call_id": "c1", "name": "exec", "input": "say \"a\\b\"\n"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "done"},
        {"type": "function_call", "call_id": "c2", "namespace": "mcp__demo__", "name": "look up", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c2", "output": ""},
        {"type": "tool_search_call", "call_id": "c3", "execution": "client", "arguments": {"query": "calendar"}},
        {"type": "tool_search_output", "call_id": "c3", "execution": "client", "status": "completed", "tools": [
            {"type": "namespace", "name": "cal", "description": "", "tools": [{"type": "function", "name": "create", "parameters": {}}]},
        ]},
    ], "tools": [{"type": "function", "name": "mcp__demo__look_up", "parameters": {}}], "tool_choice": "auto"}));
    let names =
        ["mcp__demo__look_up", "exec", "wait", "mcp__demo__look_up_2", "agents__wait", "tool_search", "cal__create"];
    assert_eq!(functions(&body), names);
    assert_eq!(dropped, ["web_search", "image_generation", "tools"]);
    let exec = &body["tools"][1]["function"];
    assert_eq!(exec["parameters"]["required"], json!(["input"]));
    let about = exec["parameters"]["properties"]["input"]["description"].as_str().expect("a description");
    assert!(about.contains("(lark):\nstart: \"x\"\n"), "{about}");
    assert!(
        body["tools"][3]["function"]["description"]
            .as_str()
            .is_some_and(|text| text.starts_with("About") && text.ends_with("mcp__demo__: Demo"))
    );
    let call = |at: usize| &body["messages"][at]["tool_calls"][0]["function"];
    assert_eq!(call(1), &json!({"name": "exec", "arguments": "{\"input\":\"say \\\"a\\\\b\\\"\\n\"}"}));
    let arguments: Value = serde_json::from_str(call(1)["arguments"].as_str().expect("a text")).expect("JSON");
    assert_eq!(arguments["input"], "say \"a\\b\"\n");
    assert_eq!(call(3)["name"], "mcp__demo__look_up_2");
    assert_eq!(call(5), &json!({"name": "tool_search", "arguments": "{\"query\":\"calendar\"}"}));
    assert_eq!(body["messages"][6]["content"], "These tools can be called now: cal__create");
}

#[test]
fn names_are_of_a_length_and_of_characters_that_chats_take() {
    let long = "é".repeat(80);
    let tools: Vec<_> = (0..3)
        .map(|at| json!({"type": "function", "name": format!("{long}{}", ["", "!", "?"][at]), "parameters": {}}))
        .collect();
    let (body, _) = chat(&with(&json!({"tools": tools})));
    let names = functions(&body);
    let unique: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(unique.len(), 3, "{names:?}");
    let is_allowed = |name: &&str| {
        !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    };
    assert!(names.iter().all(is_allowed), "{names:?}");
    let alike = ["a_b_2", "a.b", "a b", "a?b"].map(|name| json!({"type": "function", "name": name}));
    assert_eq!(functions(&chat(&with(&json!({"tools": alike}))).0), ["a_b_2", "a_b", "a_b_3", "a_b_4"]);
}

#[test]
fn a_choice_of_hosted_tools_is_refused_and_one_among_some_sends_only_those() {
    let tools = json!([
        {"type": "function", "name": "f", "parameters": {}}, {"type": "custom", "name": "c"}, {"type": "web_search"},
        {"type": "namespace", "name": "n", "description": "", "tools": [{"type": "function", "name": "g", "parameters": {}}]},
    ]);
    let chosen = |choice: Value| chat(&with(&json!({"tools": tools, "tool_choice": choice}))).0;
    assert_eq!(chosen(json!({"type": "custom", "name": "c"}))["tool_choice"]["function"]["name"], "c");
    assert_eq!(chosen(json!({"type": "function", "name": "g"}))["tool_choice"]["function"]["name"], "n__g");
    let some = chosen(
        json!({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}, {"type": "web_search"}]}),
    );
    assert_eq!((functions(&some), &some["tool_choice"]), (vec!["n__g"], &json!("required")));
    // Two of a name in namespaces are told apart by neither.
    let group = |name: &str| json!({"type": "namespace", "name": name, "tools": [{"type": "function", "name": "g"}]});
    let twice = with(&json!({"tools": [group("n"), group("o")], "tool_choice": {"type": "function", "name": "g"}}));
    assert_eq!(refused(&twice).0, "tool_choice.name");
    let none = chosen(json!({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "web_search"}]}));
    assert_eq!((none.get("tools"), none.get("tool_choice")), (None, None));
    for choice in [json!({"type": "web_search"}), json!({"type": "mcp", "server_label": "x"}), json!({"type": "shell"})]
    {
        let (param, message) = refused(&with(&json!({"tools": tools, "tool_choice": choice})));
        assert_eq!(param, "tool_choice.type");
        assert!(message.contains("not served here"), "{message}");
    }
    let only_hosted =
        with(&json!({"tools": [{"type": "web_search"}], "tool_choice": "auto", "parallel_tool_calls": true}));
    assert_eq!(chat(&only_hosted).0, json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}));
}

#[test]
fn there_may_be_so_many_tools_and_not_one_more() {
    let tools = |count: usize| {
        let tools: Vec<_> = (0..count).map(|at| json!({"type": "custom", "name": format!("f{at}")})).collect();
        json!({"model": "m", "input": "Hi", "tools": [{"type": "namespace", "name": "n", "description": "", "tools": tools}]})
    };
    assert_eq!(functions(&chat(&tools(1024)).0).len(), 1024);
    let (param, message) = refused(&tools(1025));
    assert_eq!((param.as_str(), message.contains("at most 1024")), ("tools[0].tools[1024]", true));
}

#[test]
fn nothing_of_a_prompt_is_shown_for_debugging() {
    let chat = to_chat(r#"{"model":"m","input":"secret","instructions":"secret"}"#).expect("a chat");
    assert!(!format!("{:?}", chat.asked).contains("secret"));
}

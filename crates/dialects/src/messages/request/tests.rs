//! What becomes of a request, field by field.

mod refusals;

use provider::{Limits, Operation, Request};
use serde_json::{Value, json};

use super::*;

/// The chat that a request becomes; the router takes it.
fn chat(request: &Value) -> (Value, Vec<String>, Asked) {
    let chat = to_chat(&request.to_string()).unwrap_or_else(|error| panic!("{error}: {request}"));
    let parsed =
        Request::parse(Operation::Chat, chat.body.clone().into(), Limits { max_messages: 100 }).expect("a chat");
    assert_eq!(parsed.head.model, chat.asked.model);
    (serde_json::from_slice(&chat.body).expect("JSON"), chat.dropped, chat.asked)
}

fn with(more: &Value) -> Value {
    let mut request =
        json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], "x": null});
    let more = more.as_object().expect("fields").clone();
    request.as_object_mut().expect("an object").extend(more);
    request
}

/// What `more` adds to the chat's body, and what of it is left out.
fn added(more: &Value) -> (Value, Vec<String>) {
    let (mut body, dropped, _) = chat(&with(more));
    let fields = body.as_object_mut().expect("an object");
    fields.retain(|name, _| !["model", "messages", "max_tokens"].contains(&name.as_str()));
    (body, dropped)
}

fn messages(messages: &Value) -> Value {
    chat(&with(&json!({"messages": messages}))).0["messages"].take()
}

/// The blamed path and the message.
fn refused(request: &Value) -> (String, String) {
    let error = to_chat(&request.to_string()).expect_err(&request.to_string());
    (error.param.unwrap_or_default(), error.message)
}

fn refused_with(more: &Value) -> (String, String) {
    refused(&with(more))
}

#[test]
fn a_plain_request_becomes_a_plain_chat() {
    let (body, dropped, asked) = chat(&with(&json!({"stream": true, "system": "Be \"brief\".\n"})));
    assert_eq!(
        body,
        json!({"model": "m", "max_tokens": 9, "stream": true, "stream_options": {"include_usage": true}, "messages": [
            {"role": "system", "content": "Be \"brief\".\n"},
            {"role": "user", "content": "Hi"},
        ]})
    );
    assert_eq!((dropped, asked), (vec![], Asked { model: "m".to_owned(), shows_thinking: false }));
    assert_eq!(added(&json!({"stream": false})).0, json!({}));
}

#[test]
fn fields_go_by_their_names_in_a_chat() {
    assert_eq!(
        added(&json!({
            "stop_sequences": ["a", "b"], "temperature": 0.5, "top_p": 0.9, "top_k": 4,
            "metadata": {"user_id": "u-1"}, "seed": 7, "min_p": 0.1, "prompt_cache_key": "k",
            "chat_template_kwargs": {"enable_thinking": false}, "repetition_penalty": 1.1,
            "output_config": {"effort": "xhigh", "format": {"type": "json_schema", "schema": {"type": "object"}}},
            "cache_control": {"type": "ephemeral"}, "betas": ["x"],
        })),
        (
            json!({
                "stop": ["a", "b"], "temperature": 0.5, "top_p": 0.9, "top_k": 4, "user": "u-1", "seed": 7, "min_p": 0.1,
                "prompt_cache_key": "k", "chat_template_kwargs": {"enable_thinking": false}, "repetition_penalty": 1.1,
                "reasoning_effort": "high",
                "response_format": {"type": "json_schema", "json_schema": {
                    "name": "answer", "schema": {"type": "object"}, "strict": true,
                }},
            }),
            vec![]
        )
    );
    let format = json!({"output_format": {"type": "json_schema", "schema": {}}, "stop_sequences": []});
    assert_eq!(added(&format).0["response_format"]["type"], "json_schema");
    assert_eq!(added(&format).0.get("stop"), None);
}

#[test]
fn what_no_upstream_has_is_left_out_and_named() {
    let (body, dropped) = added(&json!({
        "service_tier": "auto", "container": "c", "context_management": {"edits": [{}]}, "mcp_servers": [], "speed": null,
        "inference_geo": "global", "future": {"a": 1}, "thinking": {"type": "enabled", "budget_tokens": 2048},
    }));
    assert_eq!(body, json!({}));
    let named =
        ["service_tier", "container", "context_management", "inference_geo", "future", "thinking.budget_tokens"];
    assert_eq!(dropped, named);
    let long = "x".repeat(100);
    assert_eq!(added(&json!({long.as_str(): 1})).1, [&long[..64]]);
}

#[test]
fn a_long_user_is_hashed() {
    let user = |id: &str| added(&json!({"metadata": {"user_id": id}})).0["user"].take();
    assert_eq!(user(&"é".repeat(64)), json!("é".repeat(64)));
    let (one, other) = (user(&"a".repeat(65)), user(&format!("{}b", "a".repeat(64))));
    assert_eq!(one.as_str().map(str::len), Some(16));
    assert_ne!(one, other);
    assert_eq!(user(&"a".repeat(65)), one);
    assert_eq!(added(&json!({"metadata": {"user_id": null}})).0, json!({}));
}

#[test]
fn thinking_is_shown_to_those_who_ask_for_it() {
    for (thinking, is_shown) in [
        (json!({"type": "enabled", "budget_tokens": 1024}), true),
        (json!({"type": "adaptive"}), true),
        (json!({"type": "adaptive", "display": "summarized"}), true),
        (json!({"type": "adaptive", "display": "omitted"}), false),
        (json!({"type": "disabled"}), false),
        (Value::Null, false),
    ] {
        assert_eq!(chat(&with(&json!({"thinking": thinking}))).2.shows_thinking, is_shown, "{thinking}");
    }
}

#[test]
fn the_system_may_speak_in_blocks_and_amid_the_conversation() {
    let (body, ..) = chat(&with(&json!({
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2; cch=1;"},
            {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
        ],
        "messages": [
            {"role": "system", "content": "b"},
            {"role": "user", "content": "Hi"},
            {"role": "system", "content": [{"type": "text", "text": "c"}]},
        ],
    })));
    assert_eq!(
        body["messages"],
        json!([
            {"role": "system", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "c"}]},
        ])
    );
}

#[test]
fn what_the_system_says_behind_results_of_tools_begins_no_turn() {
    let call = json!({"type": "tool_use", "id": "t", "name": "f", "input": {}});
    let result = json!({"type": "tool_result", "tool_use_id": "t", "content": "r"});
    let said = |more: &[Value]| {
        let mut all = vec![json!({"role": "user", "content": "Hi"}), json!({"role": "assistant", "content": [call]})];
        all.extend_from_slice(more);
        messages(&all.into()).as_array().expect("messages")[2..].to_vec()
    };
    let note = json!({"role": "system", "content": "note"});
    let of_result = json!({"role": "user", "content": [result]});
    let folded = json!({"role": "tool", "tool_call_id": "t", "content": [
        {"type": "text", "text": "r"}, {"type": "text", "text": "note"},
    ]});
    assert_eq!(said(&[of_result.clone(), note.clone()]), std::slice::from_ref(&folded));
    assert_eq!(said(&[note.clone(), of_result]), [folded], "nothing stands between a call and its result");
    let with_text = json!({"role": "user", "content": [result, {"type": "text", "text": "u"}]});
    assert_eq!(
        said(&[with_text, note]),
        [
            json!({"role": "tool", "tool_call_id": "t", "content": "r"}),
            json!({"role": "user", "content": [{"type": "text", "text": "u"}, {"type": "text", "text": "note"}]}),
        ]
    );
}

#[test]
fn messages_in_a_row_of_one_role_are_one() {
    assert_eq!(
        messages(&json!([
            {"role": "user", "content": "a"},
            {"role": "user", "content": [{"type": "text", "text": "b"}]},
            {"role": "assistant", "content": "c"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]},
        ])),
        json!([
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": "c", "tool_calls": [
                {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            ]},
            {"role": "tool", "tool_call_id": "t", "content": ""},
        ])
    );
}

#[test]
fn images_are_data_urls_or_urls() {
    let source = |source: Value| {
        json!([{"role": "user", "content": [
            {"type": "text", "text": "What is this?"}, {"type": "image", "source": source},
        ]}])
    };
    let url = |asked: &Value| messages(asked)[0]["content"][1]["image_url"]["url"].take();
    let png = json!({"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="});
    assert_eq!(url(&source(png)), "data:image/png;base64,iVBORw0KGgo=");
    assert_eq!(url(&source(json!({"type": "url", "url": "https://a.example/\"b\""}))), "https://a.example/\"b\"");
    // As PHP writes it.
    let text = with(&json!({"messages": source(json!({"type": "base64", "media_type": "image@png", "data": "a@b"}))}));
    let body = to_chat(&text.to_string().replace('@', "\\/")).expect("a chat").body;
    assert!(String::from_utf8(body).expect("text").contains("data:image\\/png;base64,a\\/b"));
}

#[test]
fn a_document_of_text_is_text() {
    let user = |block: Value| messages(&json!([{"role": "user", "content": [block]}]))[0]["content"].take();
    let plain = json!({"type": "text", "media_type": "text/plain", "data": "All of it."});
    assert_eq!(user(json!({"type": "document", "source": plain})), "All of it.");
    assert_eq!(
        user(
            json!({"type": "document", "source": plain, "title": "T", "context": "C", "citations": {"enabled": true}})
        ),
        json!([
            {"type": "text", "text": "Document: T"}, {"type": "text", "text": "About the document: C"},
            {"type": "text", "text": "All of it."},
        ])
    );
    let blocks = json!([{"type": "text", "text": "a"}, {"type": "image", "source": {"type": "url", "url": "https://a.example"}}]);
    assert_eq!(
        user(json!({"type": "document", "source": {"type": "content", "content": blocks}})),
        json!([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "https://a.example"}}])
    );
}

#[test]
fn a_document_that_cannot_be_read_is_refused_where_it_is_sent_and_not_for_good() {
    let pdf = json!({"type": "document", "title": "a.pdf",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}});
    let with_pdf = json!({"role": "user", "content": [{"type": "text", "text": "Read."}, pdf]});
    let now =
        json!({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}, with_pdf]});
    assert_eq!(refused_with(&now).0, "messages.2.content.1");
    // After an answer, and after a refusal, which leaves two messages in a row.
    for between in [vec![json!({"role": "assistant", "content": "No."})], vec![]] {
        let mut all = vec![with_pdf.clone()];
        all.extend(between);
        all.push(json!({"role": "user", "content": "Go on."}));
        let said = messages(&all.into())[0]["content"].take();
        assert_eq!(said[1], json!({"type": "text", "text": "Document: a.pdf"}));
        assert!(said[2]["text"].as_str().is_some_and(|note| note.contains("cannot be read")), "{said}");
    }
    // What a tool puts out, within its result or beside it: the agent reads that it cannot, and goes on.
    let call = json!({"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "read", "input": {}}]});
    for content in [
        json!([{"type": "tool_result", "tool_use_id": "t", "content": [pdf]}]),
        json!([{"type": "tool_result", "tool_use_id": "t", "content": "A PDF."}, pdf]),
    ] {
        let said = messages(&json!([{"role": "user", "content": "Hi"}, call, {"role": "user", "content": content}]));
        assert!(said.to_string().contains("cannot be read"), "{said}");
    }
}

#[test]
fn a_loop_of_tools_becomes_calls_and_answers() {
    let said = messages(&json!([
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm \"hm\"", "signature": "s"},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Łódź \"x\"", "n": [1, 2.50]}},
            {"type": "tool_use", "id": "t2", "name": "time", "input": {}, "cache_control": {"type": "ephemeral"}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": [
                {"type": "text", "text": "sun"},
                {"type": "image", "source": {"type": "url", "url": "https://a.example"}},
                {"type": "tool_reference", "tool_name": "map"},
            ]},
            {"type": "tool_result", "tool_use_id": "t2", "content": "no clock", "is_error": true},
            {"type": "tool_result", "tool_use_id": "t3", "is_error": true},
            {"type": "text", "text": "And?"},
        ]},
    ]));
    let arguments = said[1]["tool_calls"][0]["function"]["arguments"].as_str().expect("a string");
    assert_eq!(arguments, r#"{"city":"Łódź \"x\"","n":[1,2.5]}"#, "as the client wrote it");
    assert_eq!(
        said,
        json!([
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": "I look.", "reasoning": "hm \"hm\"", "tool_calls": [
                {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": arguments}},
                {"id": "t2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
            ]},
            {"role": "tool", "tool_call_id": "t1", "content": [
                {"type": "text", "text": "sun"}, {"type": "text", "text": "Tool: map"},
            ]},
            {"role": "tool", "tool_call_id": "t2", "content": "Error: no clock"},
            {"role": "tool", "tool_call_id": "t3", "content": "Error"},
            {"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "https://a.example"}},
                {"type": "text", "text": "And?"},
            ]},
        ])
    );
    let only_calls = messages(&json!([
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "1"}]},
    ]));
    assert_eq!(only_calls[0]["content"], Value::Null);
}

#[test]
fn a_last_message_of_the_assistant_is_continued() {
    let ending = |content: Value| {
        with(&json!({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": content}]}))
    };
    let (body, ..) = chat(&ending(json!("The answer is")));
    assert_eq!(body["messages"][1], json!({"role": "assistant", "content": "The answer is"}));
    assert_eq!((&body["continue_final_message"], &body["add_generation_prompt"]), (&json!(true), &json!(false)));

    let (body, ..) = chat(&ending(json!("")));
    assert_eq!((body["messages"].as_array().map(Vec::len), body.get("continue_final_message")), (Some(1), None));

    let call = json!([{"type": "tool_use", "id": "t", "name": "f", "input": {}}]);
    let blamed = |content: Value| refused(&ending(content));
    assert_eq!(
        blamed(call).1,
        "'messages.1' ends with a tool_use block: send its tool_result in a message of the user"
    );
    assert_eq!(
        blamed(json!("So: ")).1,
        "'messages.1' ends with white space, from which a model cannot continue: trim it"
    );
    let nothing_after_a_call = json!({"messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
        {"role": "assistant", "content": ""},
    ]});
    assert_eq!(refused_with(&nothing_after_a_call).0, "messages.2");
    let thoughts = json!([{"type": "thinking", "thinking": "hm", "signature": ""}]);
    assert_eq!(blamed(thoughts).0, "messages.1");
}

#[test]
fn tools_are_functions() {
    let (body, dropped) = added(&json!({
        "tools": [
            {"name": "f", "description": "does \"f\"", "input_schema": {"type": "object", "b": 1, "a": 2}, "strict": true,
             "cache_control": {"type": "ephemeral"}, "eager_input_streaming": true, "defer_loading": true},
            {"type": "custom", "name": "g", "input_schema": {}, "input_examples": [{}]},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
            {"type": "web_search_20260318", "name": "search2"},
        ],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": true},
    }));
    assert_eq!(
        body,
        json!({
            "tools": [
                {"type": "function", "function": {"name": "f", "description": "does \"f\"",
                    "parameters": {"type": "object", "b": 1, "a": 2}}},
                {"type": "function", "function": {"name": "g", "parameters": {}}},
            ],
            "tool_choice": "auto", "parallel_tool_calls": false,
        })
    );
    assert_eq!(dropped, ["tools.strict", "tools.input_examples", "tools.web_search"]);
}

#[test]
fn a_choice_is_one_of_the_tools_that_are_sent() {
    let tools = json!([
        {"name": "f", "input_schema": {}},
        {"type": "web_search_20250305", "name": "web_search"},
    ]);
    let choice = |choice: &Value| added(&json!({"tools": tools, "tool_choice": choice})).0["tool_choice"].take();
    assert_eq!(choice(&json!({"type": "any"})), "required");
    assert_eq!(choice(&json!({"type": "none"})), "none");
    assert_eq!(choice(&json!({"type": "tool", "name": "f"})), json!({"type": "function", "function": {"name": "f"}}));

    let refused = |tools: &Value, choice: &Value| refused_with(&json!({"tools": tools, "tool_choice": choice}));
    assert_eq!(
        refused(&tools, &json!({"type": "tool", "name": "web_search"})),
        (
            "tool_choice.name".to_owned(),
            "'tool_choice.name' is \"web_search\", which runs at Anthropic and is not served here: choose one of your own tools"
                .to_owned()
        )
    );
    assert_eq!(
        refused(&tools, &json!({"type": "tool", "name": "h"})).1,
        "'tool_choice.name' is \"h\", which is none of 'tools'"
    );
    let hosted = json!([{"type": "code_execution_20250825", "name": "code_execution"}]);
    assert_eq!(refused(&hosted, &json!({"type": "any"})).0, "tool_choice");
    assert_eq!(refused(&json!([]), &json!({"type": "any"})).0, "tool_choice");
    assert_eq!(refused(&tools, &json!({"type": "some"})).0, "tool_choice.type");
    assert_eq!(refused(&tools, &json!({})).0, "tool_choice.type");
    let idle = json!({"tools": hosted, "tool_choice": {"type": "auto", "disable_parallel_tool_use": true}});
    assert_eq!(added(&idle), (json!({}), vec!["tools.code_execution".to_owned()]));
}

#[test]
fn a_count_needs_no_limit() {
    let mut request = with(&json!({}));
    request.as_object_mut().expect("an object").remove("max_tokens");
    assert_eq!(refused(&request).0, "max_tokens");
    let counted = to_counted_chat(&request.to_string()).expect("a chat");
    let body: Value = serde_json::from_slice(&counted.body).expect("JSON");
    assert_eq!(body, json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}));
}

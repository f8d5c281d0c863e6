//! What is refused: by its path, and with what to change.

use serde_json::json;

use super::*;

#[test]
fn what_is_wrong_in_a_conversation_is_named() {
    let of_user = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
    let of_assistant = |content: Value| json!({"messages": [{"role": "assistant", "content": content}, {"role": "user", "content": "Hi"}]});
    let image = |source: Value| of_user(json!([{"type": "image", "source": source}]));
    let document = |source: Value| of_user(json!([{"type": "document", "source": source}]));
    let result = |result: Value| of_user(json!([result]));
    for (param, more) in [
        ("model", json!({"model": null})),
        ("model", json!({"model": ""})),
        ("model", json!({"model": 7})),
        ("messages", json!({"messages": null})),
        ("messages", json!({"messages": []})),
        ("messages", json!({"messages": "Hi"})),
        ("messages", json!({"messages": [{"role": "assistant", "content": ""}]})),
        ("messages.0", json!({"messages": [7]})),
        ("messages.0.role", json!({"messages": [{"content": "x"}]})),
        ("messages.0.role", json!({"messages": [{"role": "tool", "content": "x"}]})),
        ("messages.0.role", json!({"messages": [{"role": 7, "content": "x"}]})),
        ("messages.0.content", json!({"messages": [{"role": "user"}]})),
        ("messages.0", of_user(json!(""))),
        ("messages.0", of_user(json!([]))),
        ("messages.0", of_assistant(json!([]))),
        ("messages.0.content", of_user(json!({}))),
        ("messages.0.content.0", of_user(json!(["x"]))),
        ("messages.0.content.0.type", of_user(json!([{"text": "x"}]))),
        ("messages.0.content.0.type", of_user(json!([{"type": 7}]))),
        ("messages.0.content.0.text", of_user(json!([{"type": "text"}]))),
        ("messages.0.content.0.text", of_user(json!([{"type": "text", "text": ""}]))),
        ("messages.0.content.0", of_user(json!([{"type": "container_upload", "file_id": "f"}]))),
        ("messages.0.content.0.source", document(Value::Null)),
        ("messages.0.content.0.source.type", document(json!({}))),
        ("messages.0.content.0.source.type", document(json!({"type": "scroll"}))),
        ("messages.0.content.0.source.data", document(json!({"type": "text"}))),
        ("messages.0.content.0.source.content", document(json!({"type": "content"}))),
        (
            "messages.0.content.0.source.content.0.type",
            document(json!({"type": "content", "content": [{"type": "video"}]})),
        ),
        (
            "messages.0.content.0",
            document(json!({"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="})),
        ),
        ("messages.0.content.0", document(json!({"type": "url", "url": "https://a.example/a.pdf"}))),
        ("messages.0.content.0", document(json!({"type": "file", "file_id": "f"}))),
        ("messages.0.content.0", of_user(json!([{"type": "tool_use", "id": "t", "name": "f", "input": {}}]))),
        ("messages.0.content.0", of_assistant(json!([{"type": "tool_result", "tool_use_id": "t"}]))),
        ("messages.0.content.0", of_assistant(json!([{"type": "server_tool_use", "id": "t"}]))),
        ("messages.0.content.0.thinking", of_assistant(json!([{"type": "thinking"}]))),
        ("messages.0.content.0.id", of_assistant(json!([{"type": "tool_use", "name": "f", "input": {}}]))),
        ("messages.0.content.0.name", of_assistant(json!([{"type": "tool_use", "id": "t", "input": {}}]))),
        ("messages.0.content.0.input", of_assistant(json!([{"type": "tool_use", "id": "t", "name": "f"}]))),
        (
            "messages.0.content.0.input",
            of_assistant(json!([{"type": "tool_use", "id": "t", "name": "f", "input": "{}"}])),
        ),
        ("messages.0.content.0.source", image(Value::Null)),
        ("messages.0.content.0.source", image(json!("x"))),
        ("messages.0.content.0.source.type", image(json!({}))),
        ("messages.0.content.0.source.type", image(json!({"type": "file", "file_id": "f"}))),
        ("messages.0.content.0.source.media_type", image(json!({"type": "base64", "data": "x"}))),
        (
            "messages.0.content.0.source.media_type",
            image(json!({"type": "base64", "media_type": "text/html", "data": "x"})),
        ),
        (
            "messages.0.content.0.source.media_type",
            image(json!({"type": "base64", "media_type": "image/a;b,", "data": "x"})),
        ),
        ("messages.0.content.0.source.data", image(json!({"type": "base64", "media_type": "image/png"}))),
        ("messages.0.content.0.source.data", image(json!({"type": "base64", "media_type": "image/png", "data": ""}))),
        ("messages.0.content.0.source.url", image(json!({"type": "url"}))),
        ("messages.0.content.0.tool_use_id", result(json!({"type": "tool_result"}))),
        ("messages.0.content.0.tool_use_id", result(json!({"type": "tool_result", "tool_use_id": ""}))),
        ("messages.0.content.0.is_error", result(json!({"type": "tool_result", "tool_use_id": "t", "is_error": 1}))),
        ("messages.0.content.0.content", result(json!({"type": "tool_result", "tool_use_id": "t", "content": 1}))),
        (
            "messages.0.content.0.content.0",
            result(json!({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "search_result"}]})),
        ),
    ] {
        blames(param, &more);
    }
}

/// Checks that what `more` adds is refused, and that the message begins with the path of what is wrong.
fn blames(param: &str, more: &Value) {
    let (blamed, message) = refused_with(more);
    assert_eq!(blamed, param, "{message}: {more}");
    assert!(message.starts_with(&format!("'{param}' ")), "{message}");
}

#[test]
fn a_field_that_is_wrong_is_named() {
    for (param, more) in [
        ("system", json!({"system": 7})),
        ("system.0", json!({"system": [{"type": "image"}]})),
        ("system.0.text", json!({"system": [{"type": "text"}]})),
        ("max_tokens", json!({"max_tokens": null})),
        ("max_tokens", json!({"max_tokens": 0})),
        ("max_tokens", json!({"max_tokens": 1.5})),
        ("max_tokens", json!({"max_tokens": "9"})),
        ("stream", json!({"stream": "yes"})),
        ("stop_sequences", json!({"stop_sequences": "x"})),
        ("stop_sequences.1", json!({"stop_sequences": ["x", ""]})),
        ("stop_sequences", json!({"stop_sequences": vec!["x"; 65]})),
        ("temperature", json!({"temperature": 2.5})),
        ("temperature", json!({"temperature": "1"})),
        ("top_p", json!({"top_p": 1.1})),
        ("top_k", json!({"top_k": -1})),
        ("metadata", json!({"metadata": "u"})),
        ("metadata.user_id", json!({"metadata": {"user_id": 7}})),
        ("thinking", json!({"thinking": true})),
        ("thinking.type", json!({"thinking": {}})),
        ("thinking.type", json!({"thinking": {"type": "deep"}})),
        ("thinking.budget_tokens", json!({"thinking": {"type": "enabled", "budget_tokens": "9"}})),
        ("output_config", json!({"output_config": "high"})),
        ("output_config.effort", json!({"output_config": {"effort": "huge"}})),
        ("output_config.format.type", json!({"output_config": {"format": {"type": "xml"}}})),
        ("output_config.format.schema", json!({"output_config": {"format": {"type": "json_schema"}}})),
        (
            "output_format",
            json!({"output_format": {}, "output_config": {"format": {"type": "json_schema", "schema": {}}}}),
        ),
        ("output_format.type", json!({"output_format": {}})),
        ("tools", json!({"tools": {}})),
        ("tools.0", json!({"tools": [7]})),
        ("tools.0.name", json!({"tools": [{"input_schema": {}}]})),
        ("tools.0.input_schema", json!({"tools": [{"name": "f"}]})),
        ("tools.0.input_schema", json!({"tools": [{"name": "f", "input_schema": []}]})),
        ("tools.0.description", json!({"tools": [{"name": "f", "input_schema": {}, "description": 7}]})),
        ("tools.0", json!({"tools": [{"type": "bash_20250124", "name": "bash"}]})),
        ("inference_geo", json!({"inference_geo": "us"})),
        ("thread", json!({"thread": {"id": "x"}})),
    ] {
        blames(param, &more);
    }
}

#[test]
fn what_is_no_request_is_refused() {
    for (body, message) in [
        ("", "the body is empty: send a JSON object"),
        ("[]", "expected the body to be a JSON object"),
        ("{\"model\":\"m\",\"model\":\"m\"}", "'model' appears twice: send it once"),
    ] {
        assert_eq!(to_chat(body).expect_err(body).message, message);
    }
    let twice = r#"{"model":"m","messages":[{"role":"user","role":"user"}]}"#;
    assert_eq!(to_chat(twice).expect_err(twice).param.as_deref(), Some("messages"));
}

#[test]
fn a_message_says_what_to_change() {
    let upload = json!({"messages": [{"role": "user", "content": [{"type": "container_upload"}]}]});
    assert_eq!(
        refused_with(&upload).1,
        "'messages.0.content.0' is a block of type \"container_upload\": no upstream takes it; send what it says as a text block, or as an image block"
    );
    assert_eq!(refused_with(&json!({"max_tokens": -1})).1, "'max_tokens' must be a whole number from 1 to 4294967295");
    let bash = json!({"tools": [{"type": "bash_20250124", "name": "bash"}]});
    assert_eq!(
        refused_with(&bash).1,
        "'tools.0' is of type \"bash_20250124\", which only Anthropic's models know: describe it as a tool of type custom, with a name and an input_schema"
    );
}

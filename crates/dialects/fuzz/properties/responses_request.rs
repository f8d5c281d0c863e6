//! What holds for every body of a Responses request. Shared by the fuzz target and by the test that replays its seeds.

use dialects::responses::to_chat;
use provider::{Limits, Operation, Request};
use serde_json::Value;

/// Fields that a chat has under the same name: a wrong value there may be left to the chat to refuse.
const FORWARDED: [&str; 4] = ["stop", "presence_penalty", "frequency_penalty", "logit_bias"];

pub(crate) fn hold(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let chat = match to_chat(text) {
        Ok(chat) => chat,
        Err(error) => {
            assert!(!error.message.is_empty() && error.param != Some(String::new()));
            return;
        }
    };
    let is_header = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    assert!(chat.dropped.iter().all(|name| name.bytes().all(is_header)), "{:?}", chat.dropped);
    let read: Result<Value, _> = serde_json::from_slice(&chat.body);
    if let Err(error) = Request::parse(Operation::Chat, chat.body.into(), Limits { max_messages: usize::MAX }) {
        // A schema stands one level deeper in a chat.
        let is_deep = error.message.contains("nested too deeply");
        let is_forwarded = error.param.as_ref().is_some_and(|param| FORWARDED.contains(&param.as_str()));
        let is_full = error.message.contains("more than 256 fields");
        assert!(is_deep || is_forwarded || is_full, "{error:?}");
        return;
    }
    // serde reads neither halves of characters, which requests may have, nor very deep nesting.
    let (Ok(request), Ok(body)) = (serde_json::from_str::<Value>(text), read) else { return };
    assert_eq!(body["model"], request["model"]);
    assert_eq!(body["stream"] == true, request["stream"] == true);
    for tool in body["tools"].as_array().into_iter().flatten() {
        let name = tool["function"]["name"].as_str().unwrap_or_default();
        assert!((1..=64).contains(&name.len()) && name.bytes().all(is_header), "{name:?}");
    }
    let mut said = String::new();
    texts(&body["messages"], &mut said);
    let items = request["input"].as_array().into_iter().flatten();
    for item in items.filter(|item| item["type"].is_null() || item["type"] == "message") {
        let content = &item["content"];
        let parts = content.as_array().into_iter().flatten().map(|part| match part["type"].as_str() {
            Some("input_text" | "output_text" | "text") => &part["text"],
            Some("refusal") => &part["refusal"],
            _ => &Value::Null,
        });
        for text in parts.chain([content]).filter_map(Value::as_str) {
            assert!(said.contains(text), "a text is lost: {text:?}");
        }
    }
}

/// Every string in `value`, one behind the other.
fn texts(value: &Value, said: &mut String) {
    match value {
        Value::String(text) => said.push_str(text),
        Value::Array(elements) => elements.iter().for_each(|element| texts(element, said)),
        Value::Object(members) => members.values().for_each(|member| texts(member, said)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

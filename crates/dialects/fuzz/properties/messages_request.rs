//! What holds for every body of a request of Messages. Shared by the fuzz target and by the test that replays its seeds.

use dialects::messages::{to_chat, to_counted_chat};
use provider::{Limits, Operation, Request};
use serde_json::Value;

pub(crate) fn hold(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let chat = match to_chat(text) {
        Ok(chat) => chat,
        Err(error) => {
            assert!(!error.message.is_empty());
            return;
        }
    };
    assert!(to_counted_chat(text).is_ok_and(|counted| counted == chat), "a count differs in what it needs alone");
    let read: Result<Value, _> = serde_json::from_slice(&chat.body);
    match Request::parse(Operation::Chat, chat.body.into(), Limits { max_messages: usize::MAX }) {
        Ok(request) => assert_eq!(request.head.model, chat.asked.model),
        Err(error) => {
            assert!(error.message.contains("nested too deeply"), "{error}");
            return;
        }
    }
    // A chat has no half of a character; the request may have had some, and serde reads neither those nor very deep nesting.
    let (Ok(request), Ok(body)) = (serde_json::from_str::<Value>(text), read) else { return };
    assert_eq!(body["stream"] == true, request["stream"] == true);
    assert_eq!(body["max_tokens"], request["max_tokens"]);
    let mut said = Vec::new();
    texts(&body["messages"], &mut said);
    let messages = request["messages"].as_array().into_iter().flatten();
    for block in messages.flat_map(|message| message["content"].as_array().into_iter().flatten()) {
        let (name, kind) = match block["type"].as_str().unwrap_or_default() {
            "text" => ("text", "a text"),
            "tool_use" => ("id", "a call"),
            "tool_result" => ("tool_use_id", "a result"),
            _ => continue,
        };
        let text = block[name].as_str().unwrap_or_default();
        let is_billing = text.starts_with("x-anthropic-billing-header:");
        assert!(is_billing || said.contains(&text), "{kind} is lost: {text:?}");
    }
}

/// Every string in `value`.
fn texts<'a>(value: &'a Value, said: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => said.push(text),
        Value::Array(elements) => elements.iter().for_each(|element| texts(element, said)),
        Value::Object(members) => members.values().for_each(|member| texts(member, said)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

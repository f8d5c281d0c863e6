//! Whatever a model answers, a client of Messages gets it: whole and streamed, however it is cut.

use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use crate::{
    chats::Said,
    property,
    translated::{ESTIMATE, folded, message},
};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![1 => Just(String::new()), 2 => any::<String>(), 2 => "[a-zé\u{1f600}\"\\\\\n ]{1,40}"]
}

fn arguments() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("{}".to_owned()),
        Just(String::new()),
        (any::<String>(), any::<i64>()).prop_map(|(text, number)| json!({"a": text, "b": [number, null]}).to_string()),
        // Cut off, or no object.
        Just("{\"city\": \"Par".to_owned()),
        Just("[1, 2]".to_owned()),
        Just("Paris \"x\"".to_owned()),
    ]
}

fn said() -> impl Strategy<Value = Said> {
    let calls = vec(("[a-z0-9_-]{1,12}", "[a-zA-Z_]{1,12}", arguments()), 0..4);
    let finish = prop_oneof![Just("stop"), Just("length"), Just("tool_calls"), Just("content_filter"), Just("other")];
    let stop = prop::option::of("[A-Z\"\n]{1,6}");
    let usage = prop::option::of((0..9_u64, 0..9_u64, 0..9_u64));
    (text(), text(), prop_oneof![4 => Just(String::new()), 1 => text()], calls, finish, stop, usage, any::<bool>())
        .prop_map(|(reasoning, content, refusal, calls, finish_reason, stop_reason, usage, has_both_names)| Said {
            reasoning,
            content,
            refusal,
            calls,
            finish_reason,
            stop_reason,
            usage: usage.map(|(other, cached, completion)| (other + cached, cached, completion)),
            has_both_names,
        })
}

/// The input that a tool gets, and the one that a client of a stream reads where it is no JSON object.
fn inputs(arguments: &str) -> (Value, Value) {
    if arguments.is_empty() {
        return (json!({}), json!({}));
    }
    let read: Option<Value> = serde_json::from_str(arguments).ok();
    match read.clone().filter(Value::is_object) {
        Some(object) => (object.clone(), object),
        None => (json!({"invalid_json": arguments}), read.unwrap_or_else(|| arguments.into())),
    }
}

/// The texts of all blocks of one type.
fn all(message: &Value, kind: &str) -> String {
    let blocks = message["content"].as_array().expect("blocks").iter().filter(|block| block["type"] == kind);
    blocks.map(|block| block[kind].as_str().expect("a text")).collect()
}

fn calls(message: &Value) -> Vec<Value> {
    let blocks = message["content"].as_array().expect("blocks").iter();
    blocks.filter(|block| block["type"] == "tool_use").cloned().collect()
}

fn stop_reason(said: &Said) -> &'static str {
    match said.finish_reason {
        "content_filter" => "refusal",
        _ if !said.refusal.is_empty() => "refusal",
        "length" => "max_tokens",
        _ if !said.calls.is_empty() => "tool_use",
        _ if said.stop_reason.is_some() => "stop_sequence",
        _ => "end_turn",
    }
}

#[test]
fn any_answer_is_carried_whole_and_in_pieces() {
    let cases = (said(), vec(any::<u8>(), 1..40), any::<bool>());
    property::hold(400, &cases, |(said, order, shows_thinking)| {
        let whole = message(&said.whole(), shows_thinking);
        let stream = said.stream(&order);
        let streamed = folded(&stream, shows_thinking).map_err(TestCaseError::fail)?;

        for message in [&whole, &streamed] {
            prop_assert_eq!(all(message, "text"), format!("{}{}", said.content, said.refusal));
            prop_assert_eq!(all(message, "thinking"), if shows_thinking { said.reasoning.as_str() } else { "" });
            prop_assert_eq!(&message["stop_reason"], stop_reason(&said));
            let sequence = said.stop_reason.as_deref().filter(|_| message["stop_reason"] == "stop_sequence");
            prop_assert_eq!(&message["stop_sequence"], &json!(sequence));
            prop_assert_eq!((&message["id"], &message["model"]), (&json!("msg_r-1"), &json!("claude \"x\"")));
            if let Some((prompt, cached, completion)) = said.usage {
                let counted = json!({"input_tokens": prompt - cached, "cache_creation_input_tokens": 0,
                    "cache_read_input_tokens": cached, "output_tokens": completion});
                prop_assert_eq!(&message["usage"], &counted);
            } else {
                prop_assert_eq!(&message["usage"]["input_tokens"], ESTIMATE);
            }
        }
        prop_assert_eq!(&whole["usage"], &streamed["usage"]);
        let expected = said.calls.iter().map(|(id, name, arguments)| {
            let (input, streamed) = inputs(arguments);
            let call = |input: Value| json!({"type": "tool_use", "id": id, "name": name, "input": input});
            (call(input), call(streamed))
        });
        let (expected, expected_streamed): (Vec<_>, Vec<_>) = expected.unzip();
        prop_assert_eq!(calls(&whole), expected);
        prop_assert_eq!(calls(&streamed), expected_streamed);
        Ok(())
    });
}

//! The calls of functions that a prompt dictates: `Call edit_file with {"path": "notes.txt", "text": "Hello"}`.
//!
//! A message may dictate several. Each answer makes the next one that the conversation does not have yet, so that an agent
//! can be led through as many turns as a test needs, and whichever face is asked, the conversation goes on.

use serde_json::{Deserializer, Value};

use crate::{inference::content, tools::Call};

const BEFORE_ARGUMENTS: &str = " with";

/// The next call that the last dictating message of the user asks for, if its function is on offer now.
pub(crate) fn next(messages: &[Value], is_offered: impl Fn(&str) -> bool) -> Option<Call> {
    let (at, calls) = messages.iter().enumerate().rev().find_map(|(at, message)| {
        let is_user = message["role"] == "user";
        let calls = if is_user { read(&content(&message["content"])) } else { Vec::new() };
        (!calls.is_empty()).then_some((at, calls))
    })?;
    let later = messages[at + 1..].iter();
    let made = later.filter_map(|message| message["tool_calls"].as_array()).map(Vec::len).sum();
    calls.into_iter().nth(made).filter(|call| is_offered(&call.name))
}

fn read(text: &str) -> Vec<Call> {
    let (mut calls, mut end) = (Vec::new(), 0);
    for (at, _) in text.match_indices(BEFORE_ARGUMENTS) {
        let mut words = text[..at].rsplit(char::is_whitespace);
        let (Some(name), Some(verb)) = (words.next(), words.next()) else { continue };
        let arguments = text[at + BEFORE_ARGUMENTS.len()..].trim_start();
        if at < end || !verb.eq_ignore_ascii_case("call") || !arguments.starts_with('{') {
            continue;
        }
        let begin = text.len() - arguments.len();
        let mut values = Deserializer::from_str(arguments).into_iter::<Value>();
        if let Some(Ok(_)) = values.next() {
            end = begin + values.byte_offset();
            calls.push(Call { name: name.to_owned(), arguments: text[begin..end].to_owned() });
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn user(text: &str) -> Value {
        json!({"role": "user", "content": text})
    }

    fn called(id: &str) -> [Value; 2] {
        let call = json!({"id": id, "type": "function", "function": {"name": "add", "arguments": "{}"}});
        [
            json!({"role": "assistant", "tool_calls": [call]}),
            json!({"role": "tool", "tool_call_id": id, "content": "done"}),
        ]
    }

    fn next_arguments(messages: &[Value]) -> Option<String> {
        next(messages, |name| name == "add").map(|call| call.arguments)
    }

    #[test]
    fn one_call_after_the_other_is_made() {
        let mut messages =
            vec![user("Call add with {\"a\": 1}, then call add with\n {\"a\": {\"b\": \"}\"}}. Thank you.")];
        assert_eq!(next_arguments(&messages).as_deref(), Some("{\"a\": 1}"));
        messages.extend(called("1"));
        assert_eq!(next_arguments(&messages).as_deref(), Some("{\"a\": {\"b\": \"}\"}}"));
        messages.extend(called("2"));
        assert_eq!(next_arguments(&messages), None, "both are made");
        messages.push(user("Call add with {\"a\": 3}"));
        assert_eq!(next_arguments(&messages).as_deref(), Some("{\"a\": 3}"), "a new message dictates anew");
        messages.push(user("<reminder>Be brief.</reminder>"));
        assert_eq!(next_arguments(&messages).as_deref(), Some("{\"a\": 3}"), "what dictates nothing changes nothing");
    }

    #[test]
    fn each_call_waits_for_its_function() {
        let mut messages = vec![user("Call hand_over with {}, then call add with {\"a\": 1}")];
        assert_eq!(next_arguments(&messages), None, "hand_over comes first, and is not on offer");
        messages.extend(called("1"));
        assert_eq!(next_arguments(&messages).as_deref(), Some("{\"a\": 1}"));
    }

    #[test]
    fn what_dictates_nothing_is_left_to_the_model() {
        for text in [
            "",
            " with {}",
            "add with {}",
            "Call add with {\"a\":",
            "Call remove with {}",
            "Call add  with {}",
            "é with {",
        ] {
            assert_eq!(next_arguments(&[user(text)]), None, "{text}");
        }
        let within = "Call add with {\"text\": \"Call add with {}\"}";
        assert_eq!(read(within).len(), 1, "arguments dictate nothing");
    }
}

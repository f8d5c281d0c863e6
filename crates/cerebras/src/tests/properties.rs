//! What holds for all messages, however they are written.

use std::collections::HashSet;

use proptest::{collection::vec, prelude::*, sample::select};
use provider::Reader;

use super::*;

/// A member as the client writes it: its name, whether that is written with an escape, and its value.
type Written = (&'static str, bool, &'static str);

#[derive(Debug, Clone)]
struct Message {
    role: &'static str,
    /// Before which member the role stands.
    role_at: usize,
    members: Vec<Written>,
}

/// Parts as the client writes them, and as they are sent.
const PARTS: [(&str, &str); 2] = [
    (
        r#"[ {"x":{"text":1} , "t\u0065xt" : "a \ud83d" ,"type":"t\u0065xt"}, "b"]"#,
        r#"[{"text":"a \ud83d","type":"t\u0065xt"},{"type":"text","text":"b"}]"#,
    ),
    (r#"[{"type":"refusal","refusal":"no"}]"#, r#""""#),
];
const BLANKS: [&str; 4] = ["", " ", "\n\t", "  \r\n"];

fn member() -> impl Strategy<Value = Written> {
    let texts = select(vec!["null", "\"\"", "\"a \\ud83d b\"", "\"\\u0041é\\n\"", "\"}],{[\\\"\""]);
    let nothing = select(vec!["null", "\"\"", "{}", "[]"]);
    let anything =
        select(vec!["null", "[]", "false", "-12.50e3", "{\"a\":[1,{\"content\":null}]}", "\"\\ud83d\"", "[{}]"]);
    let typed = (select(vec!["content", "name", "reasoning", "reasoning_content"]), any::<bool>(), texts);
    let parts =
        (select(vec!["content", "reasoning"]), any::<bool>(), select(PARTS.map(|(written, _)| written).to_vec()));
    let harmless = (select(vec!["audio", "function_call", "tool_calls"]), any::<bool>(), nothing);
    let unknown = (select(vec!["refusal", "annotations", "tool_call_id", "x", "é \\\" y"]), any::<bool>(), anything);
    prop_oneof![3 => typed, 1 => parts, 1 => harmless, 2 => unknown]
}

fn message() -> impl Strategy<Value = Message> {
    let role = select(vec!["system", "developer", "user", "assistant"]);
    (role, any::<prop::sample::Index>(), vec(member(), 0..9)).prop_map(|(role, at, mut members)| {
        // A request with one name twice in an object is refused before.
        let mut names = HashSet::new();
        members.retain(|(name, _, _)| names.insert(*name));
        let role_at = at.index(members.len() + 1);
        Message { role, role_at, members }
    })
}

/// The message as it is written, with `blank` between its tokens.
fn written(message: &Message, blank: &str) -> String {
    let quoted = |name: &str, is_escaped: bool| match name.chars().next() {
        Some(first) if is_escaped && first != '\\' => {
            format!("\"\\u{:04X}{}\"", u32::from(first), &name[first.len_utf8()..])
        }
        _ => format!("\"{name}\""),
    };
    let member = |(name, is_escaped, value): &Written| {
        format!("{blank}{}{blank}:{blank}{value}{blank}", quoted(name, *is_escaped))
    };
    let mut members: Vec<String> = message.members.iter().map(member).collect();
    let role = format!("{blank}\"role\":{}{blank}", quoted(message.role, message.role_at == 1));
    members.insert(message.role_at, role);
    // A member that makes the message a special one.
    members.push("\"parsed\":null".to_owned());
    format!("{{{}}}", members.join(","))
}

/// What the message should be once it is sent.
fn expected(message: &Message) -> Vec<(String, String)> {
    let mut all: Vec<(&str, &str)> = Vec::new();
    for (at, (name, _, value)) in message.members.iter().enumerate() {
        if at == message.role_at {
            all.push(("role", message.role));
        }
        all.push((name, value));
    }
    if message.role_at == message.members.len() {
        all.push(("role", message.role));
    }
    let filled = |name: &str| {
        all.iter().find(|(other, value)| *other == name && !matches!(*value, "null" | "\"\"")).map(|(_, value)| *value)
    };
    let mut reasoning = filled("reasoning").or_else(|| filled("reasoning_content"));
    let sent = all.iter().filter_map(|(name, value)| match *name {
        "role" if *value == "developer" => Some(("role", "\"system\"".to_owned())),
        "role" => Some(("role", format!("\"{value}\""))),
        "content" => Some(("content", (*value).to_owned())),
        "name" if *value != "null" => Some(("name", (*value).to_owned())),
        "reasoning" | "reasoning_content" if message.role == "assistant" => {
            reasoning.take().map(|value| ("reasoning", value.to_owned()))
        }
        _ => None,
    });
    let parts = |value: &str| PARTS.iter().find(|(written, _)| *written == value).map(|(_, sent)| (*sent).to_owned());
    sent.map(|(name, value)| (name.to_owned(), parts(&value).unwrap_or(value))).collect()
}

/// The members of every message of a list.
fn read(messages: &str) -> Vec<Vec<(String, String)>> {
    let mut reader = Reader::new(messages);
    let mut all = Vec::new();
    reader.peek();
    reader.enter().expect("a list");
    while reader.element().expect("a list") {
        let mut members = Vec::new();
        assert_eq!(reader.peek(), Some(b'{'));
        reader.enter().expect("an object");
        while let Some(key) = reader.key().expect("an object") {
            members.push((key.raw.to_owned(), reader.raw().expect("a value").to_owned()));
        }
        all.push(members);
    }
    reader.end().expect("nothing more");
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is sent is JSON, holds only members that Cerebras types, each once, and those keep their values and their
    /// order.
    #[test]
    fn messages_hold_what_cerebras_types_and_all_of_it(messages in vec(message(), 1..4), blank in select(BLANKS.to_vec())) {
        let list: Vec<String> = messages.iter().map(|message| written(message, blank)).collect();
        let body = format!("{{\"model\":\"m\",{blank}\"messages\":{blank}[{}]}}", list.join(","));
        let (body, head) = sent(&parsed(Operation::Chat, body.clone()), "qwen", None).expect(&body);
        let text = str::from_utf8(&body).expect("UTF-8");
        let object = provider::Object::parse(text).expect("an object");
        let expected: Vec<_> = messages.iter().map(expected).collect();
        prop_assert_eq!(read(object.get(&body, "messages").expect("messages")), expected);
        let mut said = head.dropped_params.clone();
        said.sort_unstable();
        said.dedup();
        prop_assert_eq!(said.len(), head.dropped_params.len(), "each name is said once");
    }
}

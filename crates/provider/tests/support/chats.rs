//! Bodies of chats that are long because one thing in them is repeated. Shared by the tests of several crates.

use super::growth::Case;

/// Bodies of chats that repeat one thing, by what that is.
pub(crate) const CHATS: &[Case] = &[
    ("one key", |n| chat(&",\"x\":0".repeat(n))),
    ("unknown keys", |n| chat(&many(n, |at| format!(",\"x{at}\":0")))),
    ("unknown keys with escapes", |n| chat(&many(n, |at| format!(",\"\\u0078{at}\":0")))),
    ("a known key", |n| chat(&",\"seed\":0".repeat(n))),
    ("keys of an unknown field", |n| chat(&format!(",\"x\":{{\"a\":0{}}}", many(n, |at| format!(",\"x{at}\":0"))))),
    ("keys of a message", |n| messages(&format!(r#"{{"role":"user"{}}}"#, many(n, |at| format!(",\"x{at}\":0"))))),
    ("one key of a message", |n| messages(&format!(r#"{{"role":"user"{}}}"#, ",\"content\":\"x\"".repeat(n)))),
    ("messages", |n| messages(&list(n, r#"{"role":"assistant","content":"x","refusal":"no"}"#))),
    ("parts", |n| messages(&format!(r#"{{"role":"user","content":[{}]}}"#, list(n, r#"{"type":"text","text":"x"}"#)))),
    ("calls", |n| {
        let call =
            many(n, |at| format!(r#",{{"id":"{at}","type":"function","function":{{"name":"f","arguments":""}}}}"#));
        messages(&format!(r#"{{"role":"assistant","content":null,"tool_calls":[{}]}}"#, &call[1..]))
    }),
    ("tools", |n| {
        chat(&format!(",\"tools\":[{}]", list(n, r#"{"type":"function","function":{"name":"f","strict":true}}"#)))
    }),
    ("properties", |n| {
        let properties = many(n, |at| format!(r#","p{at}":{{"type":"string"}}"#));
        chat(&format!(
            r#","response_format":{{"type":"json_schema","json_schema":{{"name":"n","strict":true,"schema":{{"type":"object","additionalProperties":false,"properties":{{{}}}}}}}}}"#,
            &properties[1..]
        ))
    }),
    ("constraints", |n| chat(&format!(",\"structured_outputs\":{{\"json\":{{\"enum\":[{}]}}}}", list(n, "{}")))),
    ("stream options", |n| {
        chat(&format!(",\"stream\":true,\"stream_options\":{{\"a\":0{}}}", many(n, |at| format!(",\"x{at}\":0"))))
    }),
    ("small arrays", |n| chat(&format!(",\"x\":[{}]", list(n, "[[],{}]")))),
    ("escapes", |n| messages(&format!(r#"{{"role":"user","content":"{}"}}"#, "json \\n\\u00e9\\ud83d".repeat(n)))),
];

fn chat(more: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"json"}}]{more}}}"#)
}

fn messages(messages: &str) -> String {
    format!(r#"{{"model":"m","messages":[{messages}]}}"#)
}

fn list(count: usize, element: &str) -> String {
    vec![element; count].join(",")
}

fn many(count: usize, each: impl Fn(usize) -> String) -> String {
    (0..count).map(each).collect()
}

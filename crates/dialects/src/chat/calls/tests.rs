//! Pieces of calls as servers write them.

use std::fmt::Write as _;

use super::*;
use crate::chat::Answer;

/// The calls that these pieces make: id, name and arguments; a `?` follows what is doubtful, a `!` what is complete.
fn told_apart(pieces: &[&str]) -> Vec<String> {
    let mut calls = Calls::default();
    let mut arguments: Vec<String> = Vec::new();
    for piece in pieces {
        let chunk = format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{piece}]}}}}]}}"#);
        for piece in &Answer::read(&chunk).expect("JSON").tool_calls {
            let at = calls.take(piece);
            arguments.resize(arguments.len().max(at + 1), String::new());
            match piece.arguments {
                Arguments::None => {}
                Arguments::Text(text) => arguments[at].push_str(&text.decoded()),
                Arguments::Object(raw) => arguments[at].push_str(raw),
            }
        }
    }
    let shown = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let all = arguments.into_iter().enumerate();
    all.map(|(at, arguments)| {
        let doubt = if calls.is_certain(at) { "" } else { "?" };
        let end = if calls.is_complete(at) { "!" } else { "" };
        format!("{} {} {arguments}{doubt}{end}", shown(calls.id(at)), shown(calls.name(at)))
    })
    .collect()
}

#[test]
fn calls_of_real_servers_are_told_apart() {
    // As OpenAI, vLLM, Cerebras and llama.cpp write them, and pieces that come in turns.
    assert_eq!(
        told_apart(&[
            r#"{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}"#,
            r#"{"index":0,"function":{"arguments":"{\"x\":"}}"#,
            r#"{"index":1,"id":"b","type":"function","function":{"name":"f","arguments":"{"}}"#,
            r#"{"index":0,"function":{"arguments":"1}"}}"#,
            r#"{"index":1,"function":{"arguments":"}"}}"#,
        ]),
        ["a f {\"x\":1}!", "b f {}!"]
    );
    // Ollama: whole calls, all of number 0.
    assert_eq!(
        told_apart(&[
            r#"{"index":0,"id":"call_1","type":"function","function":{"name":"write","arguments":"{\"path\":\"a\"}"}}"#,
            r#"{"index":0,"id":"call_2","type":"function","function":{"name":"write","arguments":"{\"path\":\"b\"}"}}"#,
            r#"{"index":0,"id":"call_3","type":"function","function":{"name":"read","arguments":"{}"}}"#,
        ]),
        [r#"call_1 write {"path":"a"}!"#, r#"call_2 write {"path":"b"}!"#, "call_3 read {}!"]
    );
    // The same in pieces, the id empty behind the first one.
    assert_eq!(
        told_apart(&[
            r#"{"index":0,"id":"a","function":{"name":"f","arguments":""}}"#,
            r#"{"index":0,"id":"","function":{"name":null,"arguments":"{\"x\": \"}\"}"}}"#,
            r#"{"index":0,"id":"b","function":{"name":"f","arguments":""}}"#,
            r#"{"index":0,"id":"","function":{"name":null,"arguments":"{}"}}"#,
        ]),
        [r#"a f {"x": "}"}!"#, "b f {}!"]
    );
    // Older vLLM where a call is forced: an id and the name in each piece, and an empty one at the end.
    assert_eq!(
        told_apart(&[
            r#"{"index":0,"id":"r1","function":{"name":"f","arguments":"{\""}}"#,
            r#"{"index":0,"id":"r2","function":{"name":"f","arguments":"x\":1}"}}"#,
            r#"{"index":0,"id":"r3","function":{"name":"f","arguments":""}}"#,
        ]),
        [r#"r1 f {"x":1}!"#, "r3 f ?"]
    );
    // Poolside: another id behind the first piece.
    assert_eq!(
        told_apart(&[
            r#"{"index":0,"id":"a","function":{"name":"f"}}"#,
            r#"{"index":0,"id":"b","function":{"arguments":"{\"x\""}}"#,
            r#"{"index":0,"id":"b","function":{"arguments":":1}"}}"#,
        ]),
        [r#"a f {"x":1}!"#]
    );
    // Older Ollama: no numbers; and neither numbers nor ids.
    let unnumbered = [
        r#"{"id":"a","function":{"name":"f","arguments":"{}"}}"#,
        r#"{"id":"b","function":{"name":"f","arguments":{"x":1}}}"#,
    ];
    assert_eq!(told_apart(&unnumbered), ["a f {}!", r#"b f {"x":1}!"#]);
    let bare = [r#"{"function":{"name":"f","arguments":"{}"}}"#, r#"{"function":{"name":"f","arguments":"{}"}}"#];
    assert_eq!(told_apart(&bare), [" f {}!", " f {}!"]);
}

#[test]
fn a_piece_may_come_late_or_say_everything_again() {
    assert_eq!(
        told_apart(&[
            r#"{"index":7,"function":{"arguments":"{"}}"#,
            r#"{"index":7,"id":"a","function":{"name":"f","arguments":"}"}}"#,
            r#"{"index":7,"id":"a","function":{"name":"f","arguments":"\n"}}"#,
        ]),
        ["a f {}\n!"]
    );
    let other_name = [
        r#"{"index":0,"function":{"name":"f","arguments":""}}"#,
        r#"{"index":0,"function":{"name":"g","arguments":""}}"#,
    ];
    assert_eq!(told_apart(&other_name), [" f ", " g "]);
}

#[test]
fn arguments_are_complete_when_their_object_is() {
    for (arguments, is_complete) in [
        ("", false),
        (" ", false),
        ("{", false),
        (r#" {"a":[{}, "}"]} "#, true),
        (r#"{"a":"\\"}"#, true),
        (r#"{"a":"\""}"#, true),
        (r#"{"a":"\"}"#, false),
        ("{}x", false),
        ("{}{}", false),
        ("[1]", false),
        ("\"{}\"", false),
        ("null", false),
    ] {
        let mut at_once = Progress::default();
        arguments.bytes().for_each(|byte| at_once.byte(byte));
        assert_eq!(at_once.state == State::Complete, is_complete, "{arguments}");
        let mut escaped = Vec::new();
        write::escaped(&mut escaped, arguments);
        let raw = str::from_utf8(&escaped).expect("text");
        let mut by_number = String::new();
        arguments.bytes().for_each(|byte| write!(by_number, "\\u{byte:04x}").expect("text"));
        for raw in [raw, &by_number] {
            let mut read = Progress::default();
            read.take(Arguments::Text(Text { raw, at: 0, is_escaped: true }));
            assert_eq!(read.state == State::Complete, is_complete, "{raw}");
        }
    }
}

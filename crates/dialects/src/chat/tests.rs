//! What is read of answers, those of a real vLLM among them.

use super::*;

/// Everything that an answer says, decoded, on one line each.
fn shown(json: &str) -> Vec<String> {
    let answer = Answer::read(json).expect("JSON");
    let all = |texts: &Texts<'_>| texts.iter().map(|text| text.decoded().into_owned()).collect::<String>();
    let word = |text: Option<Text<'_>>| text.map(|text| text.decoded().into_owned());
    let mut lines = Vec::new();
    let mut add = |name: &str, text: Option<String>| {
        lines.extend(text.filter(|text| !text.is_empty()).map(|text| format!("{name} {text}")));
    };
    add("content", Some(all(&answer.content)));
    add("refusal", Some(all(&answer.refusal)));
    add("reasoning", Some(all(&answer.reasoning)));
    add("logprobs", answer.logprobs.map(str::to_owned));
    for call in &answer.tool_calls {
        let arguments = match call.arguments {
            Arguments::None => None,
            Arguments::Text(text) => word(Some(text)),
            Arguments::Object(raw) => Some(format!("object {raw}")),
        };
        add("call", Some(format!("{:?} {:?} {:?} {arguments:?}", call.index, word(call.id), word(call.name))));
    }
    add("finish", word(answer.finish_reason));
    add("stop", word(answer.stop_sequence));
    add("usage", answer.usage.map(|usage| format!("{}+{}", usage.prompt_tokens, usage.completion_tokens)));
    lines
}

fn choice(choice: &str) -> Vec<String> {
    shown(&format!("{{\"id\":\"x\",\"choices\":[{choice}]}}"))
}

#[test]
fn a_whole_answer_and_a_chunk_are_read_alike() {
    let message = r#"{"role":"assistant","content":"Hi \"you\"","refusal":null,"reasoning":"hm","tool_calls":[]}"#;
    let said = ["content Hi \"you\"", "reasoning hm", "finish stop", "usage 40+8"];
    for name in ["message", "delta"] {
        let json = format!(
            r#"{{"choices":[{{"{name}":{message},"finish_reason":"stop","index":0,"stop_reason":null}}],"usage":{{"prompt_tokens":40,"completion_tokens":8}}}}"#
        );
        assert_eq!(shown(&json), said);
    }
}

#[test]
fn a_content_may_be_a_list_of_parts() {
    assert_eq!(
        choice(
            r#"{"delta":{"content":["a",{"type":"text","text":"b"},{"type":"thinking","text":"no"},{"text":"c"},{"text":"d","type":"output_text"},7]}}"#
        ),
        ["content abcd"]
    );
}

#[test]
fn reasoning_has_two_names_and_counts_once() {
    assert_eq!(choice(r#"{"delta":{"reasoning_content":"hm"}}"#), ["reasoning hm"]);
    assert_eq!(choice(r#"{"delta":{"reasoning_content":"hm","reasoning":"hm"}}"#), ["reasoning hm"]);
    assert_eq!(choice(r#"{"delta":{"reasoning":"","reasoning_content":"hm"}}"#), ["reasoning hm"]);
}

#[test]
fn calls_are_read_whole_and_in_pieces() {
    assert_eq!(
        choice(
            r#"{"delta":{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"f","arguments":""}},{"index":1,"function":{"arguments":"{\"a\""}},{"function":{"arguments":{"b":[1]}},"id":""},7,{}]}}"#
        ),
        [
            "call Some(0) Some(\"c1\") Some(\"f\") None",
            "call Some(1) None None Some(\"{\\\"a\\\"\")",
            "call None None None Some(\"object {\\\"b\\\":[1]}\")",
            "call None None None None",
        ]
    );
}

#[test]
fn only_the_first_choice_is_read() {
    assert_eq!(
        shown(
            r#"{"usage":{"prompt_tokens":1,"completion_tokens":2},"choices":[{"delta":{"content":"b"},"index":1},{"delta":{"content":"a"},"index":0},{"index":2,"finish_reason":"stop"}]}"#
        ),
        ["content a", "usage 1+2"]
    );
}

#[test]
fn log_probabilities_are_those_of_the_content() {
    assert_eq!(
        choice(r#"{"delta":{"content":"a"},"logprobs":{"refusal":[7],"content":[{"token":"a","logprob":-Infinity}]}}"#),
        ["content a", r#"logprobs [{"token":"a","logprob":-Infinity}]"#]
    );
    for odd in ["null", "[]", "{}", r#"{"content":null}"#, r#"{"content":{"a":[]}}"#] {
        assert_eq!(choice(&format!(r#"{{"delta":{{"content":"a"}},"logprobs":{odd}}}"#)), ["content a"], "{odd}");
    }
}

#[test]
fn a_stop_sequence_is_read_where_it_is_one() {
    assert_eq!(choice(r#"{"finish_reason":"stop","stop_reason":"END"}"#), ["finish stop", "stop END"]);
    assert_eq!(choice(r#"{"finish_reason":"stop","stop_reason":128008}"#), ["finish stop"]);
    assert_eq!(choice(r#"{"finish_reason":"","stop_reason":null}"#), [""; 0]);
}

#[test]
fn odd_values_are_absent_and_only_what_is_no_json_is_refused() {
    for odd in [
        "7",
        "null",
        "[]",
        "{}",
        r#"{"choices":null}"#,
        r#"{"choices":[7,null,{}]}"#,
        r#"{"choices":[{"delta":7,"finish_reason":{},"index":"0"}],"usage":{"prompt_tokens":null}}"#,
        r#"{"choices":[{"delta":{"content":{},"refusal":7,"reasoning":[[]],"tool_calls":"x"},"logprobs":NaN}]}"#,
    ] {
        assert_eq!(shown(odd), [""; 0], "{odd}");
    }
    assert_eq!(choice(r#"{"delta":{"content":"a","content":"b"}}"#), ["content b"]);
    for broken in ["", "{", "{\"choices\":[}", "{} {}"] {
        assert!(Answer::read(broken).is_err(), "{broken}");
    }
}

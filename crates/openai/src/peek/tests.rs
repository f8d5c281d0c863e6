use super::*;
use crate::OpenAiDialect;

fn peek(text: &str) -> Peek {
    Peek::at(text, &OpenAiDialect).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn with(members: &str) -> Peek {
    peek(&format!(r#"{{"id":"c","choices":[{{"index":0,"delta":{{"content":"x"}},"finish_reason":null}}],{members}}}"#))
}

#[test]
fn odd_counts_are_unknown() {
    let usage = |raw: &str| with(&format!("\"usage\":{raw}")).usage.map(|usage| usage.total());
    assert_eq!(usage(r#"{"prompt_tokens":3,"completion_tokens":4}"#), Some(7));
    for odd in [
        r#"{"prompt_tokens":null,"completion_tokens":null}"#,
        r#"{"prompt_tokens":11.0,"completion_tokens":7.0}"#,
        r#"{"prompt_tokens":"11","completion_tokens":"7"}"#,
        r#"{"prompt_tokens":-1,"completion_tokens":7}"#,
        r#"{"prompt_tokens":1,"prompt_tokens":1,"completion_tokens":7}"#,
        "null",
        "[]",
        "7",
        "\"\"",
    ] {
        assert_eq!(usage(odd), None, "{odd}");
    }
    let twice =
        r#""usage":{"prompt_tokens":3,"completion_tokens":4},"usage":{"prompt_tokens":3,"completion_tokens":4}"#;
    assert_eq!(with(twice).usage, None);
    assert!(with(twice).has_usage && !with("\"usage\":null").has_usage);
}

#[test]
fn an_error_counts_only_if_it_says_something() {
    for nothing in ["\"\"", "{}", "false", "null", "[]", "0", r#"{"message":"","code":null}"#, r#"{"code":0}"#] {
        assert!(!with(&format!("\"error\":{nothing}")).is_error, "{nothing}");
    }
    for something in ["\"text\"", r#"{"message":"m"}"#, "true", "[1]", "500", r#"{"code":500}"#] {
        assert!(with(&format!("\"error\":{something}")).is_error, "{something}");
    }
}

#[test]
fn what_is_no_chunk_is_no_error() {
    for text in [
        r#"{"type":"ping","cost":"0"}"#,
        r#"{"id":"c1","object":"chat.completion.chunk","created":1,"model":"x"}"#,
        r#"{"choices":null}"#,
        r#"{"choices":{}}"#,
        "{}",
        "[1]",
        "\"text\"",
        "3",
        "null",
        r#"{"type":"notice","message":"the model is loading"}"#,
        r#"{"status":"ok","detail":null}"#,
    ] {
        assert!(!peek(text).is_error, "{text}");
    }
}

#[test]
fn a_notice_amid_events_is_no_error() {
    let at_event = |text: &str| Peek::at_event(text, &OpenAiDialect).expect("JSON").is_error;
    for notice in [
        r#"{"id":"j1","status":"IN_PROGRESS"}"#,
        r#"{"type":"progress","detail":"loading weights"}"#,
        r#"{"type":"warning","message":"prompt truncated","code":"truncated"}"#,
    ] {
        assert!(!at_event(notice), "{notice}");
        assert!(peek(notice).is_error, "as a whole answer: {notice}");
    }
    for error in [
        r#"{"object":"error","message":"m"}"#,
        r#"{"message":"m","type":"server_error"}"#,
        r#"{"message":"m","code":503}"#,
        r#"{"err":"api","traceback":"…"}"#,
        r#"{"status":"FAILED","error":"e"}"#,
    ] {
        assert!(at_event(error), "{error}");
    }
}

#[test]
fn what_only_some_clients_read_is_theirs_to_read() {
    let infinite = with(r#""logprobs":{"content":[{"logprob":-Infinity},{"logprob":NaN},{"logprob":Infinity}]}"#);
    assert!(!infinite.is_error);
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let deep = peek(&format!(r#"{{"choices":[{{"delta":{{"content":"a"}},"x":{deep}}}]}}"#));
    assert!(deep.has_content && deep.choices.is_some() && !deep.is_error);
    for broken in ["{\"a\":Inf}", "{\"a\":-nan}", "{\"a\":NaN0}"] {
        assert!(Peek::at(broken, &OpenAiDialect).is_err(), "{broken}");
    }
}

#[test]
fn flat_errors_are_errors() {
    for text in [
        r#"{"object":"error","message":"m"}"#,
        r#"{"message":"m","type":"server_error","param":"","code":""}"#,
        r#"{"message":"m","code":"queue_exceeded"}"#,
        r#"{"message":"m","status_code":500}"#,
        r#"{"detail":"Not Found"}"#,
        r#"{"status":"FAILED"}"#,
        r#"{"err":"api","traceback":"…"}"#,
    ] {
        assert!(peek(text).is_error, "{text}");
    }
    // Beside choices, only `error` makes an error.
    assert!(!with(r#""message":"m","code":"c""#).is_error);
}

#[test]
fn odd_choices_harm_nothing() {
    let choice = |choice: &str| peek(&format!(r#"{{"choices":[{choice}]}}"#));
    for odd in [
        r#"{"index":0,"delta":[]}"#,
        r#"{"index":0,"delta":""}"#,
        r#"{"index":"0","delta":null,"finish_reason":null}"#,
        r#"{"delta":{"role":"assistant","content":""},"delta":{}}"#,
        "null",
        "[]",
        "7",
        r#"{"finish_reason":""}"#,
        r#"{"finish_reason":false}"#,
    ] {
        let peek = choice(odd);
        assert!(!peek.is_error && !peek.has_content && peek.ended.is_empty(), "{odd}");
        assert_eq!(peek.choices, Some(1), "{odd}");
    }
    assert!(choice(r#"{"delta":{"content":"a \ud83d b"}}"#).has_content);
    assert!(choice(r#"{"delta":{"c\u006fntent":"x"}}"#).has_content);
    assert!(choice(r#"{"delta":"text"}"#).has_content);
    assert!(choice(r#"{"delta":{"tool_calls":[{"index":0}]}}"#).has_content);
    assert!(choice(r#"{"text":"x"}"#).has_content);
}

#[test]
fn every_choice_has_its_own_end() {
    let ends = |choices: &str| peek(&format!(r#"{{"choices":[{choices}]}}"#)).ended;
    assert_eq!(ends(r#"{"index":2,"finish_reason":"stop"}"#), [(2, Finish::Known)]);
    assert_eq!(
        ends(r#"{"finish_reason":"eos_found"},{"index":1,"finish_reason":7}"#),
        [(0, Finish::Unknown), (1, Finish::Unknown)]
    );
    let failed = peek(r#"{"choices":[{"index":1,"finish_reason":"error"}]}"#);
    assert!(failed.is_error);
    assert!(peek(r#"{"choices":[{"finish_reason":"stop","finish_reason":null}]}"#).ended == [(0, Finish::Known)]);
}

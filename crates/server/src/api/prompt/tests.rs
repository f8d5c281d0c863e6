use provider::steps;
use serde_json::json;

use super::*;
use crate::growth;

const LIMITS: Limits = Limits { max_messages: 100_000 };

fn chat(body: &str, stream: bool) -> Result<serde_json::Value, InvalidRequest> {
    let request = Prompt::parse(body.as_bytes())?.into_chat("a \"model\"", stream, LIMITS)?;
    let body = request.rewrite().finish();
    Ok(serde_json::from_slice(&body).expect("JSON"))
}

#[test]
fn a_prompt_becomes_a_chat_with_its_options() {
    let messages = json!([{"role": "user", "content": "say \"hi\"\n"}]);
    assert_eq!(
        chat(r#"{"prompt":"say \"hi\"\n","seed":7,"stop":null,"x":{"a":[1]}}"#, false).expect("valid"),
        json!({"model": "a \"model\"", "messages": messages, "seed": 7, "x": {"a": [1]}, "max_tokens": 500, "temperature": 0.7})
    );
    let own = r#"{"m\u0065ssages":[{"role":"user","content":"say \"hi\"\n"}],"max_completion_tokens":3,"temperature":0,"stream_options":{},"stream":false}"#;
    assert_eq!(
        chat(own, true).expect("valid"),
        json!({"model": "a \"model\"", "messages": messages, "max_completion_tokens": 3, "temperature": 0, "stream": true})
    );
    let half = chat(r#"{"prompt":"a \ud83d b \\ud83d \ud83d\ude00","\ud83d":"\udc00"}"#, false).expect("valid");
    assert_eq!(half["messages"][0]["content"], "a \u{fffd} b \\ud83d \u{1f600}");
    assert_eq!(half["\u{fffd}"], "\u{fffd}");
}

#[test]
fn what_appears_twice_is_refused_here_too() {
    for (body, param) in [
        (r#"{"prompt":"a","prompt":"b"}"#, "prompt"),
        (r#"{"prompt":"a","x":{"y":1,"y":2}}"#, "x"),
        (r#"{"messages":[{"role":"user","content":"a","content":"b"}]}"#, "messages"),
    ] {
        let error = chat(body, false).expect_err(body);
        assert_eq!(error.param.as_deref(), Some(param), "{body}");
        assert!(error.message.contains("appears twice: send it once"), "{body}: {}", error.message);
    }
    assert!(chat(r#"{"prompt":"a","x":NaN}"#, false).is_err(), "only answers may hold what is no JSON");
}

#[test]
fn reading_a_prompt_is_linear_in_the_body() {
    let cases: [growth::Case; 4] = [
        ("small objects", |n| format!(r#"{{"prompt":"a","x":[{}{{}}]}}"#, "{},".repeat(n))),
        ("messages", |n| {
            format!(r#"{{"messages":[{0}{{"role":"user"}}]}}"#, r#"{"role":"user","content":"x"},"#.repeat(n))
        }),
        ("one key", |n| format!(r#"{{"prompt":"a"{}}}"#, r#","x":0"#.repeat(n))),
        ("halves", |n| format!(r#"{{"prompt":"{}"}}"#, r"\ud83d".repeat(n))),
    ];
    growth::are_linear(&cases, steps::taken, |text| drop(chat_only(text)));
}

fn chat_only(body: &str) -> Result<Request, InvalidRequest> {
    Prompt::parse(body.as_bytes())?.into_chat("m", false, LIMITS)
}

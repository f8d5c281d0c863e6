use std::collections::BTreeSet;

use provider::ErrorKind;

use super::*;
use crate::OpenAiDialect;

const CHAT: Asked = Asked {
    operation: Operation::Chat,
    include_usage: false,
    choices: 1,
    reasoning: ReasoningField::Upstream,
    is_text: false,
};

fn read(body: &str, asked: Asked) -> Result<Frame, Error> {
    whole(&Bytes::from(body.to_owned()), asked, &OpenAiDialect)
}

#[test]
fn success_is_the_presence_of_what_was_asked_for() {
    for body in [
        r#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}"#,
        r#"{"choices":[{"message":{"content":"hi"}}],"error":null,"usage":{"prompt_tokens":1.5}}"#,
        r#"{"choices":[{"message":{"content":"hi"},"finish_reason":""}],"error":{}}"#,
        r#"{"choices":[{"message":{"content":[{"type":"text","text":"\ud83d"}]}}],"choices":[]}"#,
    ] {
        let frame = read(body, CHAT).unwrap_or_else(|error| panic!("{body}: {error}"));
        assert_eq!((&frame.bytes[..], frame.kind), (body.as_bytes(), FrameKind::Whole));
    }
    for body in [
        r#"{"choices":[]}"#,
        r#"{"choices":null}"#,
        r#"{"choices":[{"message":{"content":"hi"}}],"error":{"message":"m"}}"#,
        r#"{"choices":[{"message":{"content":""},"finish_reason":"error"}]}"#,
        r#"{"id":"c"}"#,
        r#"{"error":"text"}"#,
        "",
        "<html>",
        "nonsense",
        "[]",
    ] {
        assert!(read(body, CHAT).is_err(), "{body}");
    }
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    let body = r#"{"choices":[{"message":{"content":"hi"},"finish_reason":"eos"}]}"#;
    assert_eq!(read(&format!("\u{feff}{body}"), CHAT).expect("an answer").bytes, body);
    let told = as_stream(&Bytes::from(format!("\u{feff}{body}")), CHAT, &OpenAiDialect);
    assert_eq!(told.expect("a stream").len(), 4);
}

#[test]
fn embeddings_are_judged_alike() {
    let asked = Asked { operation: Operation::Embeddings, ..CHAT };
    let body = r#"{"data":[{"embedding":[0.1]}],"usage":{"prompt_tokens":3,"total_tokens":3}}"#;
    assert_eq!(read(body, asked).expect("an answer").usage.map(|usage| usage.total()), Some(3));
    for body in [r#"{"data":[]}"#, r#"{"data":[1],"error":{"message":"m"}}"#, r#"{"choices":[{}]}"#] {
        assert!(read(body, asked).is_err(), "{body}");
    }
}

#[test]
fn a_stream_for_a_whole_answer_is_named_and_moves_no_health() {
    let error = read("data: {\"choices\":[]}\n\ndata: [DONE]\n\n", CHAT).expect_err("a stream");
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert!(error.message.contains("a stream"), "{error}");
}

fn events(body: &Value, asked: Asked) -> Vec<Value> {
    let frames = as_stream(&Bytes::from(body.to_string()), asked, &OpenAiDialect).expect("a stream");
    let texts = frames.iter().filter(|frame| !frame.bytes.is_empty());
    let datas = texts.map(|frame| String::from_utf8(frame.bytes.to_vec()).expect("text"));
    datas
        .map(|data| {
            let data = data.strip_prefix("data: ").and_then(|data| data.strip_suffix("\n\n")).expect("an event");
            serde_json::from_str(data).unwrap_or_else(|_| data.into())
        })
        .collect()
}

#[test]
fn a_whole_chat_becomes_a_stream() {
    let message = json!({"role": "assistant", "content": "hi", "tool_calls": [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
    ]});
    let body = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2}});
    let asked = Asked { include_usage: true, ..CHAT };
    let told = events(&body, asked);
    assert_eq!(told[0]["object"], "chat.completion.chunk");
    assert_eq!(told[0]["choices"][0]["delta"]["content"], "hi");
    assert_eq!(told[0]["choices"][0]["delta"]["tool_calls"][0]["index"], 0);
    assert_eq!(told[0]["choices"][0]["finish_reason"], Value::Null);
    assert_eq!(told[1]["choices"][0], json!({"index": 0, "delta": {}, "finish_reason": "tool_calls"}));
    assert_eq!((&told[2]["choices"], &told[2]["usage"]), (&json!([]), &body["usage"]));
    assert_eq!(told[3], "[DONE]");
    assert_eq!(events(&body, CHAT).len(), 3, "no usage for a client that did not ask");
    let frames = as_stream(&Bytes::from(body.to_string()), CHAT, &OpenAiDialect).expect("a stream");
    assert_eq!(frames.iter().find_map(|frame| frame.usage).map(|usage| usage.total()), Some(5), "it is counted");
}

#[test]
fn a_whole_completion_of_two_choices_becomes_a_stream() {
    let body = json!({"id": "c", "object": "text_completion", "choices": [
        {"index": 0, "text": "a", "finish_reason": "stop"}, {"index": 1, "text": "b", "finish_reason": null}]});
    let told = events(&body, Asked { operation: Operation::Completions, choices: 2, ..CHAT });
    assert_eq!((&told[0]["choices"][1]["text"], &told[0]["object"]), (&json!("b"), &json!("text_completion")));
    assert_eq!(told[1]["choices"][1], json!({"index": 1, "text": "", "finish_reason": "stop"}));
}

#[test]
fn what_is_odd_in_a_whole_answer_keeps_it_from_no_stream() {
    let odd = r#"{"id":"a","id":"b","choices":[],"choices":[{"message":{"content":"a \ud83d b"},"finish_reason":"stop"}],
        "timings":{"cost":1e999}}"#;
    let frames = as_stream(&Bytes::from(odd), CHAT, &OpenAiDialect).expect("a stream");
    let content = String::from_utf8(frames[0].bytes.to_vec()).expect("text");
    assert!(content.contains("\"content\":\"a \u{fffd} b\"") && content.contains("\"id\":\"b\""), "{content}");
}

#[test]
fn members_of_a_whole_answer_are_sent_once_and_its_ids_in_each_event() {
    let body = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "system_fingerprint": "f",
        "service_tier": "t", "prompt_logprobs": [null, {"7": -0.5}], "kv_transfer_params": null,
        "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop", "logprobs": {"content": []}}],
        "usage": {"prompt_tokens": 3}});
    let told = events(&body, Asked { include_usage: true, ..CHAT });
    assert_eq!(told[0]["prompt_logprobs"], body["prompt_logprobs"]);
    assert_eq!(told[0]["choices"][0]["logprobs"], json!({"content": []}));
    let names = |event: &Value| event.as_object().expect("an object").keys().cloned().collect::<BTreeSet<_>>();
    let shared =
        ["id", "object", "created", "model", "system_fingerprint", "service_tier", "choices"].map(str::to_owned);
    assert!(names(&told[0]).contains("kv_transfer_params"));
    assert_eq!(names(&told[1]), BTreeSet::from(shared.clone()));
    assert_eq!(names(&told[2]), shared.into_iter().chain(["usage".to_owned()]).collect());
    for event in &told[..3] {
        assert_eq!((&event["id"], &event["created"]), (&json!("c"), &json!(1)));
    }
}

#[test]
fn a_whole_answer_that_cannot_become_a_stream_moves_no_health() {
    for body in [
        r#"{"choices":[{"index":0}]}"#,
        r#"{"choices":["odd"]}"#,
        r#"{"choices":[{"message":"text"}]}"#,
        r#"{"choices":[{"message":{"content":"x"}}],"choices":[]}"#,
    ] {
        let error = as_stream(&Bytes::from(body.to_owned()), CHAT, &OpenAiDialect).expect_err(body);
        assert_eq!(error.kind, ErrorKind::Unsupported, "{body}");
        assert!(error.message.contains("whole answer"), "{error}");
    }
}

#[test]
fn reasoning_stands_under_both_names_where_that_is_wanted() {
    let both = Asked { reasoning: ReasoningField::Both, ..CHAT };
    let body = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"hi","reasoning":"h\"m","reasoning_content": null},"finish_reason":"stop"}]}"#;
    let goes = body.replace("null", r#""h\"m""#);
    assert_eq!(read(body, both).expect("an answer").bytes, goes);
    assert_eq!(read(body, CHAT).expect("an answer").bytes, body);
    // Also where a stream was asked for.
    let body = r#"{"choices":[{"index":0,"message":{"role":"assistant","reasoning":"hm"},"finish_reason":"stop"}]}"#;
    let frames = as_stream(&Bytes::from(body), both, &OpenAiDialect).expect("a stream");
    let first = String::from_utf8_lossy(&frames[0].bytes).into_owned();
    assert!(first.contains(r#""reasoning":"hm""#) && first.contains(r#""reasoning_content":"hm""#), "{first}");
}

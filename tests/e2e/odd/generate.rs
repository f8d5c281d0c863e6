//! The short form reads the text of an answer, whatever shape it has, and whole answers become streams.

use e2e::{MODEL, chat};
use emulator::{End, Fault, OddStream, OddWhole};
use serde_json::{Value, json};

use super::setup::{
    A, B, DONE, EVENTS, JSON, alone, answer, assert_served, assert_unharmed, chunk, events, finish, pair, say_hello,
    whole,
};

/// A content, and the text in it.
const CONTENTS: [(&str, &str); 6] = [
    (r#"[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"hello"}]"#, "hello"),
    (r#"[{"type":"text","text":"hel"},{"type":"text","text":"lo"}]"#, "hello"),
    (r#"[{"type":"text","text":"hello"},{"type":"image_url","image_url":{"url":"x"}}]"#, "hello"),
    (r#""hello""#, "hello"),
    (r#""hell\u006f""#, "hello"),
    ("null", ""),
];

#[tokio::test]
async fn c29_generate_reads_content_in_parts() {
    let rig = pair();
    let request = json!({"model": MODEL, "prompt": "x"});
    for (content, text) in CONTENTS {
        let message = format!(r#"{{"role":"assistant","content":{content}}}"#);
        rig.emulator.control(A, answer(200, JSON, whole(&message), End::Complete));
        let answered = rig.client.post("/v1/generate", &request).await;
        assert_eq!((answered.status, &answered.json()["result"]), (200, &json!(text)), "{content}: {}", answered.text);
        let batch = rig.client.post("/v1/generate/batch", &json!({"model": MODEL, "prompts": ["x"]})).await;
        assert_eq!(batch.json()["results"][0]["result"], text, "{content}: {}", batch.text);
        let delta = format!(r#"{{"index":0,"delta":{message},"finish_reason":null}}"#);
        rig.emulator.control(A, events(chunk(&delta, "") + &finish() + DONE));
        let told = rig.client.post("/v1/generate/stream", &request).await;
        let pieces: String = told
            .text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
            .filter_map(|event| event["chunk"].as_str().map(str::to_owned))
            .collect();
        assert_eq!((told.status, pieces.as_str()), (200, text), "{content}: {}", told.text);
        assert!(told.text.ends_with(DONE), "{content}: {}", told.text);
    }
    for fault in [Fault::OddWhole(OddWhole::ContentParts), Fault::OddStream(OddStream::ContentParts)] {
        rig.emulator.control(A, fault.clone());
        for path in ["/v1/generate", "/v1/generate/stream"] {
            let answered = rig.client.post(path, &request).await;
            assert!(answered.status == 200 && !answered.text.contains("\"error\""), "{fault:?}: {}", answered.text);
        }
    }
    assert_eq!(rig.call_log(B).received, 0);
    assert_unharmed(&rig).await;
}

#[tokio::test]
async fn c26_a_whole_answer_to_a_streamed_request_becomes_a_stream() {
    let rig = alone();
    let body = whole(r#"{"role":"assistant","content":"hello"}"#);
    for label in [JSON, "text/plain", EVENTS, ""] {
        for space in ["", "\n \r\n", "\u{feff}"] {
            rig.emulator.control(A, answer(200, label, format!("{space}{body}\n"), End::Complete));
            let stream = rig.client.stream(&say_hello()).await;
            assert_served(&stream, "a", "hello", &format!("{label:?} {space:?}"));
            assert!(stream.header("content-type").starts_with(EVENTS), "{label:?}");
        }
    }
    let call = r#"{"role":"assistant","content":null,"tool_calls":[{"id":"t","type":"function","function":{"name":"f","arguments":"{}"}}]}"#;
    rig.emulator.control(A, answer(200, JSON, whole(call), End::Complete));
    let stream = rig.client.stream(&say_hello()).await;
    assert_served(&stream, "a", "", "a tool call");
    let told: Vec<Value> = stream.parsed().collect();
    assert_eq!(told[0]["choices"][0]["delta"]["tool_calls"][0]["function"]["name"], "f", "{told:?}");
    assert_unharmed(&rig).await;
}

/// A choice without a message cannot be turned into a stream.
#[tokio::test]
async fn c26_a_whole_answer_that_cannot_become_a_stream_moves_on_and_is_named() {
    let body = whole("\"hello\"");
    let both = pair();
    both.emulator.control(A, answer(200, JSON, body.clone(), End::Complete));
    for number in 0..7 {
        let stream = both.client.stream(&e2e::streamed(chat(&format!("question {number}")))).await;
        assert_eq!(stream.header("x-llm-router-upstream"), "b", "{:?}", stream.events);
    }
    assert_unharmed(&both).await;
    let alone = alone();
    alone.emulator.control(A, answer(200, JSON, body, End::Complete));
    let failed = alone.client.chat(&say_hello()).await;
    assert!(failed.error_message().contains("whole answer"), "{}", failed.text);
}

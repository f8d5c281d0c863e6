//! Odd values in members that the router reads break no stream: the client gets what the upstream sent.

use e2e::{MODEL, chat, with};
use emulator::{End, Fault};
use serde_json::json;

use super::setup::{
    A, B, DONE, EVENTS, JSON, answer, assert_all_served, assert_served, assert_unharmed, chunk, content, ends, events,
    finish, pair, say_hello, says, whole,
};

/// Members of an event that count tokens, and are no counts.
const NO_COUNTS: [&str; 12] = [
    r#""usage":{"prompt_tokens":null,"completion_tokens":null}"#,
    r#""usage":{"prompt_tokens":11.0,"completion_tokens":7.0}"#,
    r#""usage":{"prompt_tokens":11.5,"completion_tokens":7}"#,
    r#""usage":{"prompt_tokens":"11","completion_tokens":"7"}"#,
    r#""usage":{"prompt_tokens":-1,"completion_tokens":-7}"#,
    r#""usage":{"prompt_tokens":1e300,"completion_tokens":99999999999999999999}"#,
    r#""usage":{"prompt_tokens":[],"completion_tokens":{}}"#,
    r#""usage":{"prompt_tokens":11,"completion_tokens":7,"completion_tokens":8}"#,
    r#""usage":{"prompt_tokens":11,"completion_tokens":7},"usage":{"prompt_tokens":11,"completion_tokens":7}"#,
    r#""usage":"none""#,
    r#""usage":[]"#,
    r#""usage":false"#,
];

#[tokio::test]
async fn c03_counts_that_are_no_counts_are_unknown_and_the_stream_is_relayed() {
    let rig = pair();
    let asking = with(say_hello(), json!({"stream_options": {"include_usage": true}}));
    for usage in NO_COUNTS {
        let more = format!(",{usage}");
        let places = [
            ("with the content", chunk(&says("hello"), &more) + &finish()),
            ("with the finish", content("hello") + &chunk(&ends("\"stop\""), &more)),
            ("behind the finish", content("hello") + &finish() + &chunk("", &more)),
        ];
        for (place, body) in places {
            rig.emulator.control(A, events(body + DONE));
            for request in [say_hello(), asking.clone()] {
                let stream = rig.client.stream(&request).await;
                assert_served(&stream, "a", "hello", &format!("{usage} {place}, asked for {request}"));
            }
        }
        let body = whole(r#"{"role":"assistant","content":"hello"}"#);
        let (start, _) = body.split_once("\"usage\"").expect("its usage");
        rig.emulator.control(A, answer(200, JSON, format!("{start}{usage}}}"), End::Complete));
        let answered = rig.client.chat(&chat("Say hello")).await;
        assert_eq!((answered.status, answered.content().as_str()), (200, "hello"), "{usage}: {}", answered.text);
    }
    let counted = rig.metrics().await.value("llmrouter_tokens_total", &[("upstream", "a")]);
    assert!(counted.abs() < 0.1, "{counted} tokens were counted");
    assert_eq!(rig.call_log(B).received, 0);
    assert_unharmed(&rig).await;
}

/// Events that are JSON and no chunks of the answer.
const NO_CHUNKS: [&str; 14] = [
    r#"{"type":"ping","cost":"0"}"#,
    r#"{"id":"c1","object":"chat.completion.chunk","created":1,"model":"x"}"#,
    r#"{"id":"c1","object":"chat.completion.chunk","created":1,"model":"x","choices":null}"#,
    r#"{"id":"c1","object":"chat.completion.chunk","created":1,"model":"x","choices":[]}"#,
    r#"{"choices":{}}"#,
    r#"{"metadata":{"provider":"p","latency":0.5},"message":"served"}"#,
    r#"{"id":"j1","status":"IN_PROGRESS"}"#,
    r#"{"type":"progress","detail":"loading weights"}"#,
    r#"{"type":"warning","message":"the prompt was cut","code":"truncated"}"#,
    r#"{"logprobs":[-Infinity,NaN]}"#,
    "{}",
    "[]",
    "null",
    r#""a text""#,
];

#[tokio::test]
async fn c04_events_that_are_no_chunks_are_passed_on() {
    let rig = pair();
    for event in NO_CHUNKS {
        let odd = format!("data: {event}\n\n");
        let places = [
            ("first", odd.clone() + &content("hello") + &finish()),
            ("amid", content("hel") + &odd + &content("lo") + &finish()),
            ("behind the finish", content("hello") + &finish() + &odd),
        ];
        for (place, body) in places {
            rig.emulator.control(A, events(body + DONE));
            let stream = rig.client.stream(&say_hello()).await;
            assert_served(&stream, "a", "hello", &format!("{event} {place}"));
            assert!(stream.events.iter().any(|relayed| relayed == event), "{event} {place}: {:?}", stream.events);
            let told = rig.client.post("/v1/generate/stream", &json!({"model": MODEL, "prompt": "x"})).await;
            assert!(!told.text.contains("\"error\"") && told.text.ends_with(DONE), "{event} {place}: {}", told.text);
        }
    }
    assert_eq!(rig.call_log(B).received, 0);
    assert_unharmed(&rig).await;
}

#[tokio::test]
async fn c05_an_error_that_says_nothing_is_none() {
    let rig = pair();
    for error in ["\"\"", "{}", "false", "null", "[]", "0", r#"{"message":null,"code":null}"#, r#"{"message":""}"#] {
        let more = format!(",\"error\":{error}");
        let bodies = [
            chunk(&says("hello"), &more) + &finish(),
            content("hello") + &chunk(&ends("\"stop\""), &more),
            content("hello") + &finish() + &format!("data: {{\"error\":{error}}}\n\n"),
        ];
        for body in bodies {
            rig.emulator.control(A, events(body.clone() + DONE));
            assert_served(&rig.client.stream(&say_hello()).await, "a", "hello", &body);
        }
    }
    // One that says something is still an error.
    for error in ["\"overloaded\"", "true", r#"{"message":"overloaded"}"#, r#"{"code":503}"#] {
        rig.emulator.control(A, events(format!("data: {{\"error\":{error}}}\n\n{DONE}")));
        assert_eq!(rig.client.stream(&say_hello()).await.header("x-llm-router-upstream"), "b", "{error}");
        rig.emulator.reset();
        rig.client.chat(&chat("hello")).await;
    }
    assert_unharmed(&rig).await;
}

#[tokio::test]
async fn c05_deltas_of_another_type_and_members_twice_are_the_client_s_to_read() {
    let mut inputs: Vec<(&str, String)> = ["[]", "\"\"", "null", "0", "false", "\"text\"", "[{}]"]
        .into_iter()
        .map(|delta| {
            let end = format!(r#"{{"index":0,"delta":{delta},"finish_reason":"stop"}}"#);
            (delta, content("hello") + &chunk(&end, "") + DONE)
        })
        .collect();
    let twice = [
        r#"{"index":0,"index":0,"delta":{"content":"hello"},"finish_reason":null}"#,
        r#"{"index":0,"delta":{"content":"hello","content":"hello"},"finish_reason":null}"#,
        r#"{"index":0,"delta":{"content":"x"},"delta":{"content":"hello"},"finish_reason":null}"#,
        r#"{"index":0,"delta":{"content":"hello"},"finish_reason":null,"finish_reason":null}"#,
        r#"{"index":"0","delta":{"content":"hello"},"finish_reason":null}"#,
        r#"{"delta":{"content":"hello"}}"#,
    ];
    inputs.extend(twice.map(|choice| (choice, chunk(choice, "") + &finish() + DONE)));
    inputs.push(("id twice", chunk(&says("hello"), ",\"id\":\"c1\",\"model\":7") + &finish() + DONE));
    assert_all_served(&inputs, "hello").await;
}

/// The router's readers must accept it; how a client handles it is not the router's concern.
#[tokio::test]
async fn half_a_surrogate_in_an_answer_is_relayed() {
    let rig = pair();
    let half = r"a \ud83d b";
    rig.emulator.control(A, events(content(half) + &finish() + DONE));
    let stream = rig.client.stream(&say_hello()).await;
    assert_eq!((stream.status, stream.header("x-llm-router-upstream")), (200, "a"), "{:?}", stream.events);
    assert!(stream.events[0].contains(half) && stream.is_done(), "{:?}", stream.events);
    let body = whole(&format!(r#"{{"role":"assistant","content":"{half}"}}"#));
    rig.emulator.control(A, answer(200, JSON, body.clone(), End::Complete));
    let answered = rig.client.chat(&chat("Say hello")).await;
    assert_eq!((answered.status, answered.text), (200, body));
    assert_unharmed(&rig).await;
}

#[tokio::test]
async fn c06_blanks_around_done_and_data_of_blanks_are_no_errors() {
    let answered = content("hello") + &finish();
    let ends = [
        "data: [DONE] \n\n",
        "data:  [DONE]\n\n",
        "data:[DONE]\n\n",
        "data: \t[DONE]\t \n\n",
        "data: [DONE]",
        "data: [DONE] \r\n\r\n",
    ];
    let mut inputs: Vec<(&str, String)> = ends.map(|end| (end, answered.clone() + end)).to_vec();
    for blank in ["data:\n\n", "data: \n\n", "data:    \n\n", "data: \t\n\n", "data\n\n", "data:\ndata: \n\n"] {
        inputs.push((blank, format!("{blank}{}{blank}{}{blank}{DONE}", content("hello"), finish())));
    }
    assert_all_served(&inputs, "hello").await;
}

#[tokio::test]
async fn c08_a_stream_is_one_whatever_its_label() {
    let rig = pair();
    let plain = content("hello") + &finish() + DONE;
    let labels =
        ["text/plain", "application/json", "application/octet-stream", "", "text/html", "application/x-ndjson"];
    let starts = ["", ": hello\n\n", "\n\n", "\u{feff}", "event: message\n", "id: 1\n", "retry: 1000\n\n"];
    for label in labels.into_iter().chain(["Text/Event-Stream; charset=utf-8"]) {
        for start in starts {
            rig.emulator.control(A, answer(200, label, format!("{start}{plain}"), End::Complete));
            let stream = rig.client.stream(&say_hello()).await;
            let what = format!("{label:?} with {start:?}");
            assert_eq!((stream.status, stream.header("x-llm-router-upstream")), (200, "a"), "{what}");
            assert!(stream.header("content-type").starts_with(EVENTS), "{what}");
            let relayed = stream.events.concat();
            assert!(relayed.contains(r#"{"content":"hello"}"#) && stream.is_done(), "{what}: {relayed}");
        }
    }
    assert_eq!(rig.call_log(B).received, 0);
    assert_unharmed(&rig).await;
}

#[tokio::test]
async fn c09_large_events_are_relayed() {
    let mut inputs = Vec::new();
    for bytes in [1_100_000, 5_000_000, 1_100_000, 1_100_000, 1_100_000] {
        inputs.push((bytes, content(&"x".repeat(bytes)) + &finish() + DONE));
    }
    let rig = pair();
    for (bytes, body) in inputs {
        rig.emulator.control(A, events(body));
        let stream = rig.client.stream(&say_hello()).await;
        assert_served(&stream, "a", &"x".repeat(bytes), &format!("{bytes} bytes"));
    }
    let odd = emulator::OddStream::LargeEvent { size_bytes: 1_100_000 };
    rig.emulator.control(A, Fault::OddStream(odd));
    assert!(rig.client.stream(&say_hello()).await.is_done());
    assert_eq!(rig.call_log(B).received, 0);
    assert_unharmed(&rig).await;
}

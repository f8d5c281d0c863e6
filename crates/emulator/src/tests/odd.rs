//! Answers that are odd, as they are on the wire.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::timeout;

use super::{MODEL, ask, chat, client, eventually, read, start, streamed, with};
use crate::{Emulator, End, Face, Fault, OddStream, OddWhole, Rule, Scripted};

const SOON: Duration = Duration::from_millis(300);

fn faulty(fault: Fault) -> Emulator {
    let emulator = start();
    emulator.control(Face::RunpodLb, fault);
    emulator
}

/// The content type and the bytes of a stream with a fault, asked for with usage.
async fn stream(odd: OddStream) -> (String, String) {
    let emulator = faulty(Fault::OddStream(odd));
    let body = with(streamed(MODEL), json!({"stream_options": {"include_usage": true}}));
    let response = chat(&emulator.runpod_lb_base(), &body).send().await.unwrap();
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    let text = response.text().await.unwrap();
    let log = emulator.call_logs().runpod_lb;
    assert_eq!((log.completed, log.tokens_emitted), (1, 24), "{text}");
    (kind.unwrap_or_default(), text)
}

/// The parsed events of a stream.
fn events(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

#[tokio::test]
async fn odd_streams_hold_what_their_names_say() {
    let counts = |usage: &str| format!("\"usage\":{usage}");
    for (odd, bytes) in [
        (OddStream::NullCounts, counts("{\"prompt_tokens\":null,\"completion_tokens\":null,\"total_tokens\":null}")),
        (OddStream::FloatCounts, counts("{\"prompt_tokens\":11.0,\"completion_tokens\":7.0,\"total_tokens\":18.0}")),
        (OddStream::TextCounts, counts("{\"prompt_tokens\":\"11\",")),
        (OddStream::NegativeCounts, counts("{\"prompt_tokens\":-1,")),
        (OddStream::ClosingEmptyObject, "data: {}\n\ndata: [DONE]\n\n".into()),
        (OddStream::EmptyError, "\"error\":\"\"}\n\n".into()),
        (OddStream::EmptyError, "\"error\":{}}\n\n".into()),
        (OddStream::EmptyError, "\"error\":false}\n\n".into()),
        (OddStream::EmptyError, "\"error\":null}\n\n".into()),
        (OddStream::BlankDone, "\n\ndata: [DONE] \n\n".into()),
        (OddStream::BlankData, "\n\ndata:   \n\n".into()),
        (OddStream::TwiceMembers, "\"object\":\"chat.completion.chunk\",\"object\":\"chat.completion.chunk\"".into()),
        (OddStream::TwiceMembers, "{\"content\":\"You\",\"content\":\"You\"}".into()),
        (OddStream::ListDelta, "\"delta\":[],".into()),
        (OddStream::LoneSurrogate, "{\"content\":\"\\ud83d\"}".into()),
        (OddStream::UnknownFinish, "\"finish_reason\":\"done\"".into()),
        (OddStream::EmptyFinish, "\"finish_reason\":\"\"".into()),
        (OddStream::NamedEvents, "event: completion\nid: 1\nretry: 1000\ndata: {".into()),
        (OddStream::Comments, ": keep-alive\n\n:\ndata: {".into()),
        (OddStream::ContentParts, "\"content\":[{\"type\":\"text\",\"text\":\"You\"}]".into()),
        (OddStream::LargeEvent { size_bytes: 70_000 }, format!("{{\"content\":\"{}\"}}", "x".repeat(70_000))),
    ] {
        let (kind, text) = stream(odd.clone()).await;
        assert!(text.contains(&bytes), "{odd:?}: {}", &text[..text.len().min(2000)]);
        assert_eq!(kind, "text/event-stream; charset=utf-8", "{odd:?}");
        let done = if odd == OddStream::BlankDone { "data: [DONE] \n\n" } else { "data: [DONE]\n\n" };
        assert!(text.ends_with(done), "{odd:?}");
    }
}

#[tokio::test]
async fn events_come_where_none_is_expected() {
    let finish_of =
        |events: &[Value]| events.iter().position(|event| event["choices"][0]["finish_reason"].is_string()).unwrap();
    let all = events(&stream(OddStream::PingEvents).await.1);
    assert_eq!((&all[1], &all[finish_of(&all) + 1]), (&json!({"type": "ping", "cost": "0"}), &all[1]));
    let all = events(&stream(OddStream::NoChoicesFirst).await.1);
    assert!(all[0].get("choices").is_none() && all[0]["object"] == "chat.completion.chunk");
    let all = events(&stream(OddStream::NullChoices).await.1);
    assert!(all[0].get("choices").is_some_and(Value::is_null) && all[finish_of(&all) + 1] == all[0]);
    let all = events(&stream(OddStream::LateContent).await.1);
    assert_eq!(all[finish_of(&all) + 1]["choices"][0]["delta"]["content"], " late");
}

#[tokio::test]
async fn usage_is_doubled_or_left_out() {
    let (_, text) = stream(OddStream::DoubledUsage).await;
    let finish = text.lines().find(|line| line.contains("\"finish_reason\":\"stop\"")).unwrap();
    assert_eq!(finish.matches("\"usage\":{").count(), 2, "{finish}");
    let (_, text) = stream(OddStream::NoUsage).await;
    assert!(!text.contains("usage"), "{text}");

    let emulator = start();
    emulator.control(Face::Cerebras, Fault::OddStream(OddStream::NoUsage));
    let response = chat(&emulator.cerebras_base(), &streamed("llama3.1-8b")).send().await.unwrap();
    assert!(!response.text().await.unwrap().contains("usage"));
}

#[tokio::test]
async fn labels_are_as_ordered() {
    for label in ["text/plain", "application/octet-stream", ""] {
        let (kind, text) = stream(OddStream::Labelled { content_type: label.into() }).await;
        assert!(kind == label && text.starts_with("data: {") && text.ends_with("data: [DONE]\n\n"), "{kind}: {text}");
    }
    let (kind, text) = stream(OddStream::WholeForStream).await;
    assert_eq!(
        (kind.as_str(), serde_json::from_str::<Value>(&text).unwrap()["object"].as_str()),
        ("application/json", Some("chat.completion"))
    );
}

#[tokio::test]
async fn streams_end_otherwise_than_usual() {
    let (_, text) = stream(OddStream::NoDone).await;
    assert!(!text.contains("[DONE]") && text.contains("\"usage\":{"), "{text}");

    let emulator = faulty(Fault::OddStream(OddStream::CutAfterFinish));
    let mut response = chat(&emulator.runpod_lb_base(), &streamed(MODEL)).send().await.unwrap();
    let mut got = String::new();
    let cut = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => got.push_str(std::str::from_utf8(&chunk).unwrap()),
            end => break end,
        }
    };
    assert!(cut.is_err() && got.contains("\"finish_reason\":\"stop\"") && !got.contains("[DONE]"), "{got}");
    eventually(|| emulator.call_logs().runpod_lb, |log| log.broken == 1).await;

    emulator.control(Face::RunpodLb, Fault::OddStream(OddStream::HangAfterFinish));
    let mut response = chat(&emulator.runpod_lb_base(), &streamed(MODEL)).send().await.unwrap();
    let mut got = String::new();
    while let Ok(Ok(Some(chunk))) = timeout(SOON, response.chunk()).await {
        got.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    assert!(got.contains("\"finish_reason\":\"stop\"") && !got.contains("[DONE]"), "{got}");
    drop(response);
    eventually(|| emulator.call_logs().runpod_lb, |log| log.cancelled == 1).await;
}

#[tokio::test]
async fn odd_whole_answers_hold_what_their_names_say() {
    let emulator = start();
    let whole = async |odd: OddWhole| {
        emulator.control(Face::RunpodLb, Fault::OddWhole(odd));
        let (status, body) = read(chat(&emulator.runpod_lb_base(), &ask(MODEL))).await;
        assert_eq!(status, 200);
        body
    };
    let body = whole(OddWhole::ErrorBeside).await;
    assert!(body["error"]["message"] == "injected fault" && body["choices"][0]["finish_reason"] == "stop");
    assert_eq!(whole(OddWhole::FinishError).await["choices"][0]["finish_reason"], "error");
    assert_eq!(whole(OddWhole::NoChoices).await["choices"], json!([]));
    assert_eq!(whole(OddWhole::NullCounts).await["usage"]["prompt_tokens"], Value::Null);
    assert!(whole(OddWhole::FloatCounts).await["usage"]["prompt_tokens"].is_f64());
    let content = whole(OddWhole::ContentParts).await["choices"][0]["message"]["content"].clone();
    assert_eq!((&content[0]["type"], &content[1]["type"]), (&json!("thinking"), &json!("text")));
    assert!(content[1]["text"].as_str().unwrap().starts_with("You said: hello there"), "{content}");
    let body = whole(OddWhole::ErrTraceback).await;
    assert!(body["err"] == "api" && body["traceback"].as_str().unwrap().starts_with("Traceback"), "{body}");
}

#[tokio::test]
async fn oddities_reach_completions_too() {
    let emulator = start();
    let names = "null_counts float_counts text_counts negative_counts doubled_usage ping_events no_choices_first \
        closing_empty_object null_choices empty_error blank_done blank_data twice_members list_delta lone_surrogate \
        unknown_finish empty_finish no_done no_usage late_content large_event named_events comments content_parts";
    for name in names.split_whitespace() {
        let fault = serde_json::from_value(json!({"kind": "odd_stream", "which": name})).unwrap();
        emulator.control(Face::RunpodLb, fault);
        let body = json!({"model": MODEL, "prompt": ["a", "b"], "stream": true, "max_tokens": 2});
        let url = format!("{}/completions", emulator.runpod_lb_base());
        let request = client().post(url).bearer_auth("k").header("content-type", "application/json");
        let text = request.body(body.to_string()).send().await.unwrap().text().await.unwrap();
        let pieces = if name == "late_content" { 3 } else { 2 };
        assert_eq!(text.matches("\"index\":1").count(), pieces, "{name}: {text}");
    }
}

#[tokio::test]
async fn each_oddity_is_for_its_kind_of_answer() {
    let emulator = faulty(Fault::OddStream(OddStream::ListDelta));
    assert!(
        read(chat(&emulator.runpod_lb_base(), &ask(MODEL))).await.1["choices"][0]["message"]["content"].is_string()
    );
    emulator.control(Face::RunpodLb, Fault::OddWhole(OddWhole::NoChoices));
    let text = chat(&emulator.runpod_lb_base(), &streamed(MODEL)).send().await.unwrap().text().await.unwrap();
    assert!(text.contains("\"content\":\"You\"") && text.ends_with("data: [DONE]\n\n"), "{text}");
}

/// What comes over a connection of its own until it closes, or falls silent.
fn exchange(emulator: &Emulator, requests: usize) -> (String, bool) {
    let mut stream = TcpStream::connect(emulator.addr()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let (mut got, mut buffer) = (Vec::new(), [0; 4096]);
    let mut is_closed = false;
    for _ in 0..requests {
        let body = ask(MODEL).to_string();
        let head = format!(
            "POST /lb/v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        while let Ok(count) = stream.read(&mut buffer) {
            is_closed = count == 0;
            if is_closed {
                break;
            }
            got.extend_from_slice(&buffer[..count]);
        }
    }
    (String::from_utf8(got).unwrap(), is_closed)
}

#[test]
fn a_script_is_sent_as_it_is_written() {
    let script = |headers: &[(&str, &str)], end| {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Fault::Scripted(Scripted { status: 207, headers, pieces: vec!["one ".into(), "two".into()], end })
    };
    let emulator = faulty(script(&[("x-odd", "-1"), ("content-type", "text/odd")], End::Complete));
    let (got, is_closed) = exchange(&emulator, 1);
    let (head, body) = got.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 207 ") && head.contains("transfer-encoding: chunked"), "{head}");
    assert!(head.contains("x-odd: -1") && head.contains("content-type: text/odd"), "{head}");
    assert_eq!((body, is_closed), ("4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n", false));

    emulator.control(Face::RunpodLb, script(&[("content-length", "7")], End::Complete));
    let (got, _) = exchange(&emulator, 1);
    let (head, body) = got.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("content-length: 7") && !head.contains("chunked") && !head.contains("content-type"),
        "{head}"
    );
    assert_eq!(body, "one two");

    emulator.control(Face::RunpodLb, script(&[], End::Cut));
    let (got, is_closed) = exchange(&emulator, 1);
    assert!(got.ends_with("4\r\none \r\n3\r\ntwo\r\n") && is_closed, "{got}");

    emulator.control(Face::RunpodLb, script(&[], End::Hang));
    let (got, is_closed) = exchange(&emulator, 1);
    assert!(got.ends_with("3\r\ntwo\r\n") && !is_closed, "{got}");
}

#[test]
fn a_stale_connection_serves_once() {
    let emulator = faulty(Fault::StaleConnection);
    let (got, is_closed) = exchange(&emulator, 2);
    assert_eq!((got.matches("HTTP/1.1 ").count(), got.matches("200 OK").count(), is_closed), (1, 1, true));
    assert!(exchange(&emulator, 1).0.starts_with("HTTP/1.1 200 OK"), "a new connection is served");
    let log = emulator.call_logs().runpod_lb;
    assert_eq!((log.completed, log.broken), (2, 1));
}

#[tokio::test]
async fn quota_headers_are_as_ordered() {
    let emulator = start();
    let name = "x-ratelimit-remaining-requests-minute";
    emulator.control(Face::Cerebras, Fault::OddQuota { headers: vec![(name.into(), "-1".into())] });
    for body in [ask("llama3.1-8b"), streamed("llama3.1-8b")] {
        let response = chat(&emulator.cerebras_base(), &body).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let values: Vec<_> = response.headers().get_all(name).iter().collect();
        assert_eq!(values, ["-1"], "in place of the usual one");
    }
}

#[tokio::test]
async fn a_rule_may_be_for_some_bodies_alone() {
    let emulator = start();
    let order =
        json!({"face": "runpod_lb", "fault": {"kind": "odd_whole", "which": "no_choices"}, "containing": "odd one"});
    let post = client().post(format!("{}/_control", emulator.url())).body(order.to_string());
    assert_eq!(read(post).await.0, 200);
    assert_eq!(
        emulator.rules(Face::RunpodLb)[0],
        Rule { containing: Some("odd one".into()), ..Fault::OddWhole(OddWhole::NoChoices).into() }
    );
    let said = async |text: &str| {
        let body = json!({"model": MODEL, "messages": [{"role": "user", "content": text}]});
        read(chat(&emulator.runpod_lb_base(), &body)).await.1["choices"].as_array().unwrap().len()
    };
    assert_eq!((said("a good one").await, said("an odd one").await), (1, 0));
}

//! The faults, as a client sees them.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::timeout;

use super::{MODEL, ask, chat, client, contents, events, eventually, read, start, streamed};
use crate::{Emulator, ErrorShape, Face, Fault, Limit, Rule};

const SOON: Duration = Duration::from_millis(300);

fn faulty(fault: Fault) -> Emulator {
    let emulator = start();
    emulator.control(Face::RunpodLb, fault);
    emulator
}

#[tokio::test]
async fn connections_break_before_any_answer() {
    for fault in [Fault::Refuse, Fault::ResetBefore, Fault::CutHead] {
        let emulator = faulty(fault.clone());
        let error = chat(&emulator.runpod_lb_base(), &ask(MODEL)).send().await.unwrap_err();
        assert!(error.is_request() && !error.is_timeout(), "{fault:?}: {error:?}");
        assert_eq!(emulator.call_logs().runpod_lb.broken, 1);
        // The other faces share the port and not the fault.
        assert_eq!(read(chat(&emulator.cerebras_base(), &ask("llama3.1-8b"))).await.0, 200);
    }
    let base = Emulator::refusing_base().unwrap();
    assert!(chat(&base, &ask(MODEL)).send().await.unwrap_err().is_connect());
}

#[test]
fn each_break_is_its_own_on_the_wire() {
    let exchange = |fault: Fault| {
        let emulator = faulty(fault);
        let mut stream = TcpStream::connect(emulator.addr()).unwrap();
        stream.write_all(b"POST /lb/v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}").unwrap();
        let mut got = Vec::new();
        let end = stream.read_to_end(&mut got).map_err(|error| error.kind());
        (String::from_utf8(got).unwrap(), end.map(|_| ()))
    };
    assert_eq!(exchange(Fault::Refuse), (String::new(), Ok(())));
    assert_eq!(exchange(Fault::ResetBefore), (String::new(), Err(ErrorKind::ConnectionReset)));
    let (head, end) = exchange(Fault::CutHead);
    assert!(end.is_ok() && head.starts_with("HTTP/1.1 200 OK") && !head.contains("\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn a_hang_is_seen_as_a_cancellation_when_the_client_gives_up() {
    let emulator = faulty(Fault::HangBefore);
    assert!(timeout(SOON, chat(&emulator.runpod_lb_base(), &ask(MODEL)).send()).await.is_err());
    let log = eventually(|| emulator.call_logs().runpod_lb, |log| log.cancelled == 1).await;
    assert_eq!((log.in_flight, log.cancellations[0].tokens_emitted), (0, 0));
}

#[tokio::test]
async fn a_stalled_stream_holds_until_the_client_goes() {
    let emulator = faulty(Fault::HangAmid { after_events: 4 });
    let mut response = chat(&emulator.runpod_lb_base(), &streamed(MODEL)).send().await.unwrap();
    let mut got = String::new();
    while let Ok(Ok(Some(chunk))) = timeout(SOON, response.chunk()).await {
        got.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    assert_eq!(got.matches("data: ").count(), 4);
    assert_eq!(emulator.call_logs().runpod_lb.in_flight, 1);
    drop(response);
    let log = eventually(|| emulator.call_logs().runpod_lb, |log| log.cancelled == 1).await;
    assert_eq!(log.cancellations[0].tokens_emitted, 3);
}

#[tokio::test]
async fn a_stream_is_cut_or_ends_early() {
    let emulator = faulty(Fault::ResetAmid { after_events: 3 });
    let mut response = chat(&emulator.runpod_lb_base(), &streamed(MODEL)).send().await.unwrap();
    let mut got = String::new();
    let error = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => got.push_str(std::str::from_utf8(&chunk).unwrap()),
            Ok(None) => panic!("ended in order"),
            Err(error) => break error,
        }
    };
    assert!(error.is_body() || error.is_decode(), "{error:?}");
    assert_eq!(got.matches("data: ").count(), 3);

    emulator.control(Face::RunpodLb, Fault::EndAmid { after_events: 3 });
    let events = events(chat(&emulator.runpod_lb_base(), &streamed(MODEL)).send().await.unwrap()).await;
    assert_eq!(events.len(), 3);
    assert_eq!(emulator.call_logs().runpod_lb.broken, 2);
}

#[tokio::test]
async fn whole_answers_break_amid_too() {
    let emulator = faulty(Fault::ResetAmid { after_events: 3 });
    let response = chat(&emulator.runpod_lb_base(), &ask(MODEL)).send().await.unwrap();
    assert!(response.bytes().await.is_err());
    emulator.control(Face::RunpodLb, Fault::EndAmid { after_events: 3 });
    assert!(read(chat(&emulator.runpod_lb_base(), &ask(MODEL))).await.1.is_string());
    emulator.control(Face::RunpodLb, Fault::InvalidUtf8 { after_events: 1 });
    let bytes = chat(&emulator.runpod_lb_base(), &ask(MODEL)).send().await.unwrap().bytes().await.unwrap();
    assert!(std::str::from_utf8(&bytes).is_err());
}

#[tokio::test]
async fn writes_are_merged_and_split_without_changing_the_text() {
    let emulator = start();
    let expected = contents(&events(chat(&emulator.runpod_lb_base(), &streamed(MODEL)).send().await.unwrap()).await);
    for fault in [Fault::Merged, Fault::Split] {
        emulator.control(Face::RunpodLb, fault);
        let events = events(chat(&emulator.runpod_lb_base(), &streamed(MODEL)).send().await.unwrap()).await;
        assert_eq!(contents(&events), expected);
        assert_eq!(events.last().unwrap(), "[DONE]");
    }
}

#[tokio::test]
async fn characters_are_split_across_writes() {
    let emulator = faulty(Fault::SplitUtf8);
    let mut response = chat(&emulator.runpod_lb_base(), &streamed(MODEL)).send().await.unwrap();
    let (mut broken, mut all) = (0, Vec::new());
    while let Some(chunk) = response.chunk().await.unwrap() {
        broken += usize::from(std::str::from_utf8(&chunk).is_err());
        all.extend_from_slice(&chunk);
    }
    assert!(broken > 10, "{broken}");
    assert!(String::from_utf8(all).unwrap().contains("日本語"));
}

#[tokio::test]
async fn events_go_bad_amid_a_stream() {
    let emulator = faulty(Fault::Garbage { after_events: 2 });
    let events_of = || async { events(chat(&emulator.runpod_lb_base(), &streamed(MODEL)).send().await.unwrap()).await };
    let events = events_of().await;
    assert!(serde_json::from_str::<Value>(&events[2]).is_err());
    assert_eq!(events.last().unwrap(), "[DONE]");

    emulator.control(Face::RunpodLb, Fault::ErrorEvent { after_events: 2 });
    let events = events_of().await;
    assert_eq!(events.len(), 4);
    assert_eq!(serde_json::from_str::<Value>(&events[2]).unwrap()["error"]["code"], 500);
    assert_eq!(events[3], "[DONE]");

    emulator.control(Face::RunpodLb, Fault::InvalidUtf8 { after_events: 2 });
    let bytes = chat(&emulator.runpod_lb_base(), &streamed(MODEL)).send().await.unwrap().bytes().await.unwrap();
    assert!(std::str::from_utf8(&bytes).is_err());
}

#[tokio::test]
async fn answers_are_replaced() {
    let emulator = start();
    let lb = |fault: Fault| {
        emulator.control(Face::RunpodLb, fault);
        read(chat(&emulator.runpod_lb_base(), &ask(MODEL)))
    };
    assert_eq!(lb(Fault::Empty200).await, (200, json!("")));
    assert_eq!(lb(Fault::IntegerCode { code: 503 }).await.1["error"]["code"], 503);
    assert_eq!(lb(Fault::OkWithErrorBody { shape: ErrorShape::Flat }).await.1["object"], "error");
    assert_eq!(lb(Fault::OkWithErrorBody { shape: ErrorShape::InQueue }).await.1["status"], "IN_QUEUE");
    assert_eq!(lb(Fault::OkWithErrorBody { shape: ErrorShape::FailedJob }).await.1["status"], "FAILED");
    let (status, page) = lb(Fault::Status { code: 524, retry_after: None }).await;
    assert!(status == 524 && page.as_str().unwrap().contains("<!DOCTYPE html>"));

    emulator.control(Face::RunpodQueue, Fault::FailedJob { inner_status: 400 });
    let (status, job) = read(chat(&emulator.runpod_queue_base("e"), &ask(MODEL))).await;
    assert!(status == 500 && job["error"].as_str().unwrap().contains("HTTP 400"));
}

#[tokio::test]
async fn rate_limits_carry_their_headers() {
    let emulator = start();
    emulator.control(
        Face::Cerebras,
        Fault::RateLimited { which: Limit::Tokens, retry_after_s: Some(7), reset_s: Some(12.5) },
    );
    let response = chat(&emulator.cerebras_base(), &ask("llama3.1-8b")).send().await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "7");
    assert_eq!(response.headers()["x-ratelimit-reset-tokens-minute"], "12.5");
    assert_eq!(response.headers()["x-ratelimit-remaining-tokens-minute"], "0");
    assert!(response.text().await.unwrap().contains("token_quota_exceeded"));
}

#[tokio::test]
async fn rules_come_over_http_and_run_out() {
    let emulator = start();
    let order = json!({"face": "runpod_lb", "fault": {"kind": "status", "code": 503, "retry_after": 3}, "times": 1});
    let post = |path: &str, body: String| client().post(format!("{}/_control{path}", emulator.url())).body(body);
    assert_eq!(read(post("", order.to_string())).await.0, 200);
    assert_eq!(emulator.rules(Face::RunpodLb)[0].times, Some(1));
    let first = chat(&emulator.runpod_lb_base(), &ask(MODEL)).send().await.unwrap();
    assert_eq!((first.status().as_u16(), first.headers()["retry-after"].to_str().unwrap()), (503, "3"));
    assert_eq!(read(chat(&emulator.runpod_lb_base(), &ask(MODEL))).await.0, 200);
    assert_eq!(read(post("", r#"{"face":"runpod_lb","fault":{"kind":"typo"}}"#.into())).await.0, 400);
    read(post("", json!({"face": "runpod_lb", "workers": {"throttled": 2}}).to_string())).await;
    let (_, state) = read(client().get(format!("{}/_control", emulator.url()))).await;
    assert_eq!(state["faces"]["runpod_lb"]["workers"]["throttled"], 2);
    let (_, state) = read(post("/reset", String::new())).await;
    assert_eq!(state["faces"]["runpod_lb"]["workers"]["throttled"], 0);
    assert_eq!(state["faces"]["runpod_lb"]["rules"], json!([]));
}

#[tokio::test]
async fn probes_fail_only_with_the_connection_or_on_demand() {
    let emulator = start();
    let ping = || client().get(format!("{}/lb/ping", emulator.url())).send();
    emulator.set_rules(
        Face::RunpodLb,
        vec![Rule { probes: true, ..Fault::Status { code: 500, retry_after: None }.into() }],
    );
    assert_eq!(ping().await.unwrap().status(), 500);
    emulator.control(Face::RunpodLb, Fault::Refuse);
    assert!(ping().await.is_err());
    emulator.reset();
    assert_eq!(ping().await.unwrap().status(), 200);
}

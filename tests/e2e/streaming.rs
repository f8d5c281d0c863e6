//! Streams: relayed as they are, ended by an error event when they break, kept alive while they are silent, and cancelled upstream when the
//! client leaves.

use std::time::Duration;

use e2e::{
    CEREBRAS, Client, MODEL, RUNPOD_LB, RUNPOD_QUEUE, Rig, Transcript, UPSTREAM_KEY, chat, eventually, only, streamed,
    with, within,
};
use emulator::{Face, Fault, Latency, Settings};
use serde_json::{Value, json};

/// A model that answers slowly enough for something to happen in between.
fn paced(first_token_ms: f64, tokens_per_s: f64) -> Settings {
    let latency = Latency { first_token_ms, spread: 0.0, tokens_per_s, crowding: 0.0 };
    let mut settings = Settings::default();
    settings.runpod_lb.latency = latency;
    settings.runpod_queue.latency = latency;
    settings.cerebras.latency = latency;
    settings
}

fn load_balancer() -> String {
    format!("{RUNPOD_LB}{}", only("runpod"))
}

/// Exactly one error, in-band and last, then the proper end of the body.
fn assert_broken(stream: &Transcript, code: &str, what: &str) {
    assert_eq!(stream.status, 200, "{what}");
    assert!(stream.content().starts_with("You"), "what came before is delivered: {what}: {:?}", stream.events);
    let errors = stream.errors();
    assert_eq!(errors.len(), 1, "{what}: {:?}", stream.events);
    assert_eq!(errors[0]["code"], code, "{what}: {errors:?}");
    assert_eq!(errors[0]["type"], "upstream_error", "{what}: {errors:?}");
    assert!(errors[0]["message"].as_str().is_some_and(|message| !message.is_empty()), "{what}: {errors:?}");
    let last: Value = serde_json::from_str(stream.events.last().unwrap()).unwrap();
    assert!(last.get("error").is_some(), "the error comes last: {what}: {:?}", stream.events);
    assert!(!stream.events.iter().any(|event| event == "[DONE]"), "{what}: {:?}", stream.events);
    assert!(stream.is_complete, "the body ends in order: {what}");
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_one_error_and_without_done() {
    // The third event is the second with text.
    let (after_events, disconnected, invalid) = (3, "upstream_disconnected", "upstream_invalid");
    let cases = [
        (Fault::ResetAmid { after_events }, disconnected),
        (Fault::EndAmid { after_events }, disconnected),
        (Fault::ErrorEvent { after_events }, "upstream_unavailable"),
        (Fault::Garbage { after_events }, invalid),
        (Fault::InvalidUtf8 { after_events }, invalid),
        (Fault::HangAmid { after_events }, "upstream_timeout"),
    ];
    let impatient = "timeouts = { gap_ms = 300 }\n";
    let faces = [
        (Face::RunpodLb, format!("{RUNPOD_LB}{impatient}{}", only("runpod"))),
        (Face::RunpodQueue, format!("{RUNPOD_QUEUE}{impatient}{}", only("runpod"))),
        (Face::Cerebras, format!("{CEREBRAS}{impatient}{}", only("cerebras"))),
    ];
    for (face, text) in &faces {
        for (fault, code) in &cases {
            let rig = Rig::start(Settings::instant(), text);
            rig.emulator.control(*face, fault.clone());
            let stream = rig.client.stream(&streamed(chat("hello"))).await;
            assert_broken(&stream, code, &format!("{face:?} {fault:?}"));
            rig.until_idle().await;
            let broken = rig.metrics().await.value("llmrouter_request_errors_total", &[]);
            assert!((broken - 1.0).abs() < 0.1, "{face:?} {fault:?}: counted {broken} times");
            rig.emulator.reset();
            assert!(
                rig.client.stream(&streamed(chat("hello"))).await.is_done(),
                "{face:?} {fault:?}: the next one works"
            );
        }
    }
}

/// However the bytes of the upstream's events fall into packets, the client reads the same text as from the upstream itself.
#[tokio::test]
async fn events_arrive_intact_however_they_were_cut() {
    let rig = Rig::start(Settings::instant(), &load_balancer());
    let upstream = Client::new(&rig.emulator.url(), UPSTREAM_KEY);
    let direct = with(streamed(chat("hello there")), json!({"model": "meta-llama/Llama-3.1-8B-Instruct"}));
    for fault in [Fault::None, Fault::Merged, Fault::Split, Fault::SplitUtf8] {
        rig.emulator.control(Face::RunpodLb, fault.clone());
        let response = upstream.json("/lb/v1/chat/completions", &direct).send().await.unwrap();
        let expected = e2e::Stream::of(response).rest().await.content();
        let stream = rig.client.stream(&streamed(chat("hello there"))).await;
        assert_eq!(stream.content(), expected, "{fault:?}");
        assert!(stream.is_done() && stream.is_complete, "{fault:?}: {:?}", stream.events);
        assert!(stream.content().split(' ').count() == 24, "{fault:?}: one word for each token");
    }
}

#[tokio::test]
async fn usage_is_counted_always_and_shown_only_when_asked_for() {
    let faces = [(RUNPOD_LB, "runpod"), (RUNPOD_QUEUE, "runpod"), (CEREBRAS, "cerebras")];
    for (upstream, id) in faces {
        let rig = Rig::start(Settings::instant(), &format!("{upstream}{}", only(id)));
        let silent = rig.client.stream(&streamed(chat("hello"))).await;
        assert!(silent.usage().is_empty(), "{id}: {:?}", silent.events);
        let chunks: Vec<Value> = silent.parsed().collect();
        assert!(chunks.iter().all(|chunk| chunk["choices"][0].is_object()), "{id}: no event without a choice");
        let counted = rig.metrics().await.value("llmrouter_tokens_total", &[("upstream", id), ("type", "output")]);
        assert!((counted - 24.0).abs() < 0.1, "{id}: counted {counted}");
        let asked = with(streamed(chat("hello")), json!({"stream_options": {"include_usage": true}}));
        let shown = rig.client.stream(&asked).await;
        assert_eq!(shown.usage().len(), 1, "{id}: {:?}", shown.events);
        assert_eq!(shown.usage()[0]["completion_tokens"], 24, "{id}");
    }
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_kept_alive_by_comments() {
    let text = format!("[server]\nkeep_alive_comment_s = 1\n{}", load_balancer());
    let rig = Rig::start(Settings::instant(), &text);
    rig.emulator.control(Face::RunpodLb, Fault::HangAmid { after_events: 3 });
    let mut stream = rig.client.open(&streamed(chat("hello"))).await;
    stream.first_token().await;
    let mut comments = 0;
    while comments < 2 {
        let event = stream.next().await.unwrap().expect("the stream stays open");
        comments += usize::from(event.starts_with(':'));
    }
}

#[tokio::test]
async fn early_headers_come_before_the_first_token() {
    let text = format!("[server]\nkeep_alive_comment_s = 1\n{}early_headers = true\n", load_balancer());
    let rig = Rig::start(paced(3_000.0, 1_000.0), &text);
    let mut stream = rig.client.open(&streamed(chat("hello"))).await;
    assert_eq!(stream.status, 200);
    let first = stream.next().await.unwrap().expect("a comment");
    assert!(first.starts_with(':'), "the wait for the first token is bridged: {first}");
    let rest = stream.rest().await;
    assert!(rest.is_done() && !rest.content().is_empty(), "{:?}", rest.events);
}

#[tokio::test]
async fn after_early_headers_a_failure_comes_in_band() {
    let text = format!("{}early_headers = true\ndeadline_ms = 3000\n", load_balancer());
    let rig = Rig::start(Settings::instant(), &text);
    rig.emulator.control(Face::RunpodLb, Fault::Status { code: 503, retry_after: None });
    let stream = rig.client.stream(&streamed(chat("hello"))).await;
    assert_eq!((stream.status, stream.errors().len(), stream.events.len()), (200, 1, 1), "{:?}", stream.events);
    assert!(stream.is_complete, "{:?}", stream.events);
}

/// The moment at which a client leaves.
#[derive(Debug, Clone, Copy)]
enum Moment {
    BeforeTheFirstToken,
    AmidTheStream,
    AmidTheWholeAnswer,
}

/// A client that leaves is noticed upstream within the second, whatever it was waiting for, and says nothing about the
/// upstream's health: ten in a row would open the breaker if they counted as failures.
async fn assert_cancelled(face: Face, upstream: &str, id: &str, moment: Moment) {
    const LEAVERS: u64 = 10;
    let settings = match moment {
        Moment::BeforeTheFirstToken => paced(50_000.0, 1.0),
        Moment::AmidTheStream | Moment::AmidTheWholeAnswer => paced(1.0, 1.0),
    };
    let patient = "timeouts = { first_token_ms = 60000 }\n";
    let rig = Rig::start(settings, &format!("{upstream}{patient}{}", only(id)));
    for nth in 1..=LEAVERS {
        let arrives = eventually("the call arrives", async || (rig.call_log(face).received == nth).then_some(()));
        let (whole, stream) = (chat("hello"), streamed(chat("hello")));
        let client = rig.client.clone();
        match moment {
            Moment::AmidTheStream => drop(client.open(&stream).await.first_token().await),
            Moment::BeforeTheFirstToken => tokio::select! {
                _ = client.stream(&stream) => panic!("answered too early"),
                () = arrives => {}
            },
            Moment::AmidTheWholeAnswer => tokio::select! {
                _ = client.chat(&whole) => panic!("answered too early"),
                () = arrives => {}
            },
        }
        within(Duration::from_secs(1), &format!("{face:?} sees the cancellation, {moment:?}"), async || {
            (rig.call_log(face).cancelled == nth).then_some(())
        })
        .await;
    }
    rig.until_idle().await;
    let metrics = rig.metrics().await;
    let gone = metrics.value("llmrouter_requests_total", &[("outcome", "cancelled")]);
    assert!((gone - 10.0).abs() < 0.1, "{face:?} {moment:?}: {gone} clients gone");
    let breaker = metrics.value("llmrouter_breaker_state", &[("upstream", id)]);
    assert!(breaker.abs() < 0.1, "{face:?} {moment:?}: the breaker is at {breaker}");
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_upstream() {
    for (face, upstream, id) in [
        (Face::RunpodLb, RUNPOD_LB, "runpod"),
        (Face::RunpodQueue, RUNPOD_QUEUE, "runpod"),
        (Face::Cerebras, CEREBRAS, "cerebras"),
    ] {
        for moment in [Moment::BeforeTheFirstToken, Moment::AmidTheStream, Moment::AmidTheWholeAnswer] {
            assert_cancelled(face, upstream, id, moment).await;
        }
    }
}

/// The permit is returned as well, with early headers or without.
#[tokio::test]
async fn a_client_that_leaves_after_early_headers_is_noticed_upstream() {
    let text = format!("{}early_headers = true\n", load_balancer());
    let rig = Rig::start(paced(50_000.0, 1.0), &text);
    let stream = rig.client.open(&streamed(chat("hello"))).await;
    eventually("the call arrives", async || (rig.call_log(Face::RunpodLb).received == 1).then_some(())).await;
    drop(stream);
    within(Duration::from_secs(1), "the upstream sees the cancellation", async || {
        (rig.call_log(Face::RunpodLb).cancelled == 1).then_some(())
    })
    .await;
    rig.until_idle().await;
}

#[tokio::test]
async fn headers_say_who_answered_and_why() {
    let rig = Rig::start(Settings::instant(), &load_balancer());
    let stream = rig.client.stream(&streamed(chat("hello"))).await;
    let whole = rig.client.chat(&chat("hello")).await;
    for (name, expected) in [
        ("x-llm-router-provider", "runpod"),
        ("x-llm-router-upstream", "runpod"),
        ("x-llm-router-reason", "share"),
        ("x-llm-router-attempts", "1"),
    ] {
        assert_eq!((stream.header(name), whole.header(name)), (expected, expected), "{name}");
    }
    assert!(stream.header("content-type").starts_with("text/event-stream"), "{:?}", stream.headers);
    assert!(stream.header("connection") != "close", "a closed connection would hide a break");
    assert!(whole.json()["model"].is_string(), "{MODEL}: {}", whole.text);
}

//! Time: workers, cold starts, many streams at once.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::{MODEL, ask, chat, client, eventually, read, start, streamed};
use crate::{Emulator, Face, Fault, Latency, RunpodSettings, Settings, Workers};

#[tokio::test]
async fn a_cold_endpoint_makes_the_first_request_wait() {
    let emulator = start();
    emulator.control(Face::RunpodLb, Fault::Cold { start_s: 0.3 });
    assert_eq!(emulator.call_logs().runpod_lb.workers.running, 0);
    let begun = Instant::now();
    assert_eq!(read(chat(&emulator.runpod_lb_base(), &ask(MODEL))).await.0, 200);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let billed = emulator.call_logs().runpod_lb.worker_seconds;
    assert!(billed >= 0.22, "three quarters of a start are the load, and are billed: {billed}");
}

#[tokio::test]
async fn throttled_workers_let_requests_hang_until_they_are_back() {
    let emulator = start();
    emulator.control(Face::RunpodQueue, Fault::Throttled);
    let (_, health) = read(client().get(format!("{}/v2/e/health", emulator.url())).bearer_auth("k")).await;
    assert_eq!((&health["workers"]["throttled"], &health["workers"]["running"]), (&json!(3), &json!(0)));
    let waiting = chat(&emulator.runpod_queue_base("e"), &ask(MODEL)).send();
    tokio::pin!(waiting);
    assert!(timeout(Duration::from_millis(200), waiting.as_mut()).await.is_err());
    emulator.reset();
    assert_eq!(waiting.await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_load_balancer_gives_up_waiting() {
    let runpod_lb = RunpodSettings {
        max_wait_s: Some(0.1),
        workers: Workers { max: 0, ..Workers::default() },
        ..RunpodSettings::default()
    };
    let emulator = Emulator::start(Settings { runpod_lb, ..Settings::instant() }).unwrap();
    assert_eq!(
        read(chat(&emulator.runpod_lb_base(), &ask(MODEL))).await,
        (503, json!({"error": "no workers available"}))
    );
}

#[tokio::test]
async fn latency_is_the_models_and_grows_in_a_brownout() {
    let latency = Latency { first_token_ms: 50.0, spread: 0.0, tokens_per_s: 1000.0, crowding: 0.0 };
    let runpod_lb = RunpodSettings { latency, ..RunpodSettings::default() };
    let emulator = Emulator::start(Settings { runpod_lb, ..Settings::default() }).unwrap();
    let timed = || async {
        let begun = Instant::now();
        chat(&emulator.runpod_lb_base(), &streamed(MODEL)).send().await.unwrap().bytes().await.unwrap();
        begun.elapsed().as_millis()
    };
    let usual = timed().await;
    assert!((74..1000).contains(&usual), "{usual}");
    emulator.control(Face::RunpodLb, Fault::Brownout { factor: 10.0 });
    let slow = timed().await;
    assert!(slow >= 740, "{slow}");
}

#[tokio::test]
async fn a_client_that_leaves_amid_a_stream_frees_its_worker() {
    let runpod_lb = RunpodSettings {
        workers: Workers { max: 1, concurrency: 1, ..Workers::default() },
        ..RunpodSettings::default()
    };
    let emulator = Emulator::start(Settings { runpod_lb, ..Settings::default() }).unwrap();
    let mut response = chat(&emulator.runpod_lb_base(), &streamed(MODEL)).send().await.unwrap();
    response.chunk().await.unwrap();
    drop(response);
    let log = eventually(|| emulator.call_logs().runpod_lb, |log| log.cancelled == 1).await;
    assert!(log.cancellations[0].tokens_emitted < 24);
    assert_eq!(read(chat(&emulator.runpod_lb_base(), &ask(MODEL))).await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_streams_at_once_are_all_served() {
    let emulator = Emulator::start(Settings { speed: 10.0, ..Settings::default() }).unwrap();
    let streams = (0..200).map(|_| async {
        let bytes = chat(&emulator.runpod_lb_base(), &streamed(MODEL)).send().await.unwrap().bytes().await.unwrap();
        assert!(bytes.ends_with(b"data: [DONE]\n\n"));
    });
    join_all(streams).await;
    let log = emulator.call_logs().runpod_lb;
    assert_eq!((log.completed, log.tokens_emitted, log.in_flight), (200, 4800, 0));
    emulator.stop();
}

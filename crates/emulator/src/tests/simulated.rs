//! What makes it play the providers of the simulator: the time that prompts take, long events, and workers that vanish.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::{join, join_all};
use serde_json::json;
use tokio::time::Instant;

use super::{MODEL, ask, chat, contents, events, eventually, read, start, streamed, with};
use crate::{
    Emulator, Face, Latency, RunpodSettings, Settings, Workers,
    call::perform,
    inference::Route,
    state::{Shared, State},
};

/// Reads 100 prompt tokens a second, and nothing else takes time.
fn reader(workers: usize) -> Shared {
    let latency = Latency { first_token_ms: 0.0, spread: 0.0, tokens_per_s: f64::INFINITY, crowding: 0.0 };
    let mut settings = Settings::default();
    settings.runpod_queue.workers = Workers { min: workers, max: workers, ..Workers::default() };
    settings.runpod_queue.latency = latency;
    settings.runpod_queue.prefill_tokens_per_s = Some(100.0);
    settings.cerebras.latency = latency;
    settings.cerebras.prefill_tokens_per_s = Some(100.0);
    Arc::new(State::new(settings))
}

/// When each of three prompts of 100 tokens has its answer, in tenths of a second.
async fn answered(state: &Shared, face: Face, model: &str) -> Vec<u128> {
    let body = json!({"model": model, "messages": [{"role": "user", "content": "x".repeat(92 * 4)}]});
    let (body, begun) = (Bytes::from(body.to_string()), Instant::now());
    let ask = async || {
        assert_eq!(perform(state, face, Route::Chat, &body).await.status, 200);
        (begun.elapsed().as_millis() + 50) / 100
    };
    join_all((0..3).map(|_| ask())).await
}

#[tokio::test(start_paused = true)]
async fn the_prompts_of_a_worker_are_read_one_after_the_other() {
    assert_eq!(answered(&reader(1), Face::RunpodQueue, MODEL).await, [10, 20, 30]);
    assert_eq!(answered(&reader(3), Face::RunpodQueue, MODEL).await, [10, 10, 10], "a worker each");
}

#[tokio::test(start_paused = true)]
async fn cerebras_reads_all_prompts_at_once() {
    assert_eq!(answered(&reader(1), Face::Cerebras, "llama3.1-8b").await, [10, 10, 10]);
}

#[tokio::test]
async fn an_event_carries_as_many_tokens_as_wanted() {
    let mut settings = Settings::instant();
    settings.runpod_lb.event_tokens = 10;
    settings.cerebras.event_tokens = 10;
    let (long, short) = (Emulator::start(settings).unwrap(), start());
    for (face, model) in [(Face::RunpodLb, MODEL), (Face::Cerebras, "llama3.1-8b")] {
        let base = |emulator: &Emulator| match face {
            Face::Cerebras => emulator.cerebras_base(),
            _ => emulator.runpod_lb_base(),
        };
        for limit in [24, 7] {
            let body = with(streamed(model), json!({"max_tokens": limit}));
            let (long, short) = join(chat(&base(&long), &body).send(), chat(&base(&short), &body).send()).await;
            let (long, short) = (events(long.unwrap()).await, events(short.unwrap()).await);
            assert_eq!(contents(&long), contents(&short));
            let saved = limit - usize::div_ceil(limit, 10);
            assert!(short.len() - long.len() >= saved - 1, "{} and {} events", short.len(), long.len());
        }
        assert_eq!(long.call_logs().of(face).tokens_emitted, 31);
    }
}

#[tokio::test]
async fn workers_that_vanish_take_everything_under_way_with_them() {
    let latency = Latency { first_token_ms: 0.0, spread: 0.0, tokens_per_s: 50.0, crowding: 0.0 };
    let workers = Workers { max: 1, concurrency: 1, ..Workers::default() };
    let runpod_lb = RunpodSettings { latency, workers, ..RunpodSettings::default() };
    let emulator = Emulator::start(Settings { runpod_lb, ..Settings::default() }).unwrap();
    let mut stream = chat(&emulator.runpod_lb_base(), &streamed(MODEL)).send().await.unwrap();
    stream.chunk().await.unwrap();
    let waiting = async {
        eventually(|| emulator.call_logs().runpod_lb, |log| log.received == 2).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        emulator.sever(Face::RunpodLb);
    };
    let ((status, _), ()) = join(read(chat(&emulator.runpod_lb_base(), &ask(MODEL))), waiting).await;
    assert_eq!(status, 503);
    while let Ok(Some(_)) = stream.chunk().await {}
    let log = eventually(|| emulator.call_logs().runpod_lb, |log| log.in_flight == 0).await;
    assert_eq!((log.broken, log.refused, log.completed), (1, 1, 0));
    assert_eq!(read(chat(&emulator.runpod_lb_base(), &ask(MODEL))).await.0, 200, "the next one is served");
}

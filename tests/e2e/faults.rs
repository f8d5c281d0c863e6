//! When one provider fails, in whatever way, the other answers: 200 of 200 requests, all 200 at once, half of them streamed.

use e2e::{BALANCED, CEREBRAS, MODEL, RUNPOD_LB, RUNPOD_QUEUE, Rig, chat, eventually, streamed, with};
use emulator::{Emulator, ErrorShape, Face, Fault, Limit, Settings};
use futures_util::{StreamExt, future::join, stream};
use serde_json::{Value, json};

/// Rigs under test at a time: most of them wait for a timeout.
const SIDE_BY_SIDE: usize = 3;

/// Twenty times faster than life, with idle workers that are not stopped in the pauses of a slow machine.
fn settings() -> Settings {
    let mut settings = Settings { speed: 20.0, ..Settings::default() };
    settings.runpod_lb.workers.idle_timeout_s = 600.0;
    settings
}

/// A router that is impatient with RunPod, so that hanging takes no minute; Cerebras has all the time that is left.
fn impatient(runpod: &str) -> String {
    format!("{runpod}timeouts = {{ first_token_ms = 1200 }}\n{CEREBRAS}{BALANCED}deadline_ms = 30000\n")
}

fn ask(number: usize) -> Value {
    with(chat(&format!("question {number}")), json!({"max_tokens": 16}))
}

/// Sends 200 requests at once; every one is answered by `provider`, in full.
async fn assert_all_answered_by(rig: &Rig, provider: &str, fault: &str) {
    let wholes = rig.client.chats(100, 100, ask);
    let streams = rig.client.streams(100, 100, |number| streamed(ask(number)));
    let (wholes, streams) = join(wholes, streams).await;
    for answer in &wholes {
        assert_eq!((answer.status, answer.provider()), (200, provider), "{fault}: {}", answer.text);
        assert!(!answer.content().is_empty(), "{fault}: {}", answer.text);
    }
    for answer in &streams {
        assert_eq!((answer.status, answer.provider()), (200, provider), "{fault}: {:?}", answer.events);
        assert!(answer.is_done() && answer.is_complete && answer.errors().is_empty(), "{fault}: {:?}", answer.events);
        assert!(!answer.content().is_empty(), "{fault}: {:?}", answer.events);
    }
}

/// Everything that can happen to a call before its first token.
fn faults() -> Vec<Fault> {
    let mut faults = vec![
        Fault::Refuse,
        Fault::HangBefore,
        Fault::CutHead,
        Fault::ResetBefore,
        Fault::Cold { start_s: 4_000.0 },
        Fault::Throttled,
        Fault::Brownout { factor: 10_000.0 },
        Fault::Empty200,
        Fault::Garbage { after_events: 0 },
        Fault::InvalidUtf8 { after_events: 0 },
        Fault::ErrorEvent { after_events: 0 },
        Fault::EndAmid { after_events: 0 },
        Fault::ResetAmid { after_events: 0 },
        Fault::HangAmid { after_events: 0 },
        Fault::IntegerCode { code: 503 },
    ];
    faults.extend([401, 404, 500, 503, 524].map(|code| Fault::Status { code, retry_after: None }));
    faults.extend([500, 503].map(|inner_status| Fault::FailedJob { inner_status }));
    let shapes = [ErrorShape::Flat, ErrorShape::Wrapped, ErrorShape::FailedJob, ErrorShape::InQueue];
    faults.extend(shapes.map(|shape| Fault::OkWithErrorBody { shape }));
    faults.extend(rate_limits());
    faults
}

fn rate_limits() -> Vec<Fault> {
    let limits = [Limit::Requests, Limit::Tokens, Limit::Queue];
    let limited = |which| Fault::RateLimited { which, retry_after_s: Some(2), reset_s: Some(2.0) };
    let silent = Fault::RateLimited { which: Limit::Requests, retry_after_s: None, reset_s: None };
    limits.into_iter().map(limited).chain([silent]).collect()
}

async fn assert_covered(face: Face, text: &str, faults: Vec<Fault>, by: &str) {
    let cells = faults.into_iter().map(|fault| async move {
        let rig = Rig::start(settings(), text);
        rig.emulator.control(face, fault.clone());
        assert_all_answered_by(&rig, by, &format!("{face:?} {fault:?}")).await;
    });
    stream::iter(cells).buffer_unordered(SIDE_BY_SIDE).collect::<Vec<()>>().await;
}

#[tokio::test]
async fn cerebras_answers_whatever_happens_to_a_load_balancing_endpoint() {
    assert_covered(Face::RunpodLb, &impatient(RUNPOD_LB), faults(), "cerebras").await;
}

#[tokio::test]
async fn cerebras_answers_whatever_happens_to_a_queue_endpoint() {
    assert_covered(Face::RunpodQueue, &impatient(RUNPOD_QUEUE), faults(), "cerebras").await;
}

#[tokio::test]
async fn runpod_answers_when_cerebras_does_not() {
    let mut faults = rate_limits();
    faults.extend([Fault::Refuse, Fault::ResetBefore, Fault::CutHead, Fault::Empty200]);
    faults.extend([401, 402, 500, 503].map(|code| Fault::Status { code, retry_after: None }));
    assert_covered(Face::Cerebras, &format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}"), faults, "runpod").await;
}

#[tokio::test]
async fn cerebras_answers_when_nobody_listens_at_runpod() {
    let refusing = Emulator::refusing_base().unwrap();
    let text = impatient(&RUNPOD_LB.replace("${EMULATOR}/lb/v1", &refusing));
    assert_all_answered_by(&Rig::start(settings(), &text), "cerebras", "closed port").await;
}

/// Rounds of 20 requests within which RunPod is paid back, a start of a worker included.
const MOST_ROUNDS: u32 = 1_000;

/// What RunPod is behind its share, in requests.
async fn deficit(rig: &Rig) -> f64 {
    let told = rig.client.post("/v1/route/explain", &ask(0)).await.json();
    let candidates = told["candidates"].as_array().expect("candidates");
    let runpod = candidates.iter().find(|candidate| candidate["upstream"] == "runpod");
    runpod.map_or(f64::INFINITY, |runpod| runpod["owed_requests"].as_f64().expect("a number"))
}

/// After an outage RunPod is sent its deficit first: 50 requests at most, which at a share of 0.8 takes at least 200 that it serves nearly all
/// alone. Then, of 200, it serves about 160 again.
async fn assert_share_returns(fault: Fault) {
    let rig = Rig::start(settings(), &impatient(RUNPOD_LB));
    let name = format!("{fault:?}");
    rig.emulator.control(Face::RunpodLb, fault);
    assert_all_answered_by(&rig, "cerebras", &name).await;
    rig.emulator.reset();
    // So many rounds, and not a time: a slow machine needs long for each.
    let mut paid = 0;
    for round in 0.. {
        assert!(round < MOST_ROUNDS, "{name}: RunPod is not paid back, but served {paid} requests");
        let answers = rig.client.chats(20, 10, ask).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{name}");
        paid += answers.iter().filter(|answer| answer.provider() == "runpod").count();
        if deficit(&rig).await < 2.0 {
            break;
        }
    }
    assert!(paid >= 200, "{name}: paid back with {paid} requests");
    eventually(&format!("the share is back after {name}"), async || {
        let answers = rig.client.chats(200, 10, ask).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{name}");
        let runpod = answers.iter().filter(|answer| answer.provider() == "runpod").count();
        (156..=164).contains(&runpod).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_share_returns_after_an_outage() {
    let faults = vec![
        Fault::Refuse,
        Fault::HangBefore,
        Fault::Cold { start_s: 4_000.0 },
        Fault::Throttled,
        Fault::Status { code: 503, retry_after: None },
        Fault::RateLimited { which: Limit::Requests, retry_after_s: Some(2), reset_s: None },
    ];
    let cells = faults.into_iter().map(assert_share_returns);
    stream::iter(cells).buffer_unordered(SIDE_BY_SIDE).collect::<Vec<()>>().await;
}

/// A model with one upstream has no fallback: its client gets an error, and the next request works.
#[tokio::test]
async fn a_failure_of_a_single_upstream_is_reported_and_it_recovers() {
    let text = format!("{RUNPOD_LB}{}deadline_ms = 10000\n", e2e::only("runpod"));
    let rig = Rig::start(settings(), &text);
    rig.emulator.control(Face::RunpodLb, Fault::Status { code: 503, retry_after: None });
    let failed = rig.client.chat(&chat("hello")).await;
    assert!(matches!(failed.status, 502..=504), "{}: {}", failed.status, failed.text);
    assert!(!failed.error_message().is_empty() && !failed.error_code().is_empty(), "{}", failed.text);
    rig.emulator.reset();
    eventually(&format!("{MODEL} answers again"), async || {
        (rig.client.chat(&chat("hello")).await.status == 200).then_some(())
    })
    .await;
}

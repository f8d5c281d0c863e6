//! Broken upstreams get no calls, recovered ones are noticed, and no failure counts against an upstream that did not
//! cause it.

use std::sync::Arc;

use futures_util::{
    StreamExt,
    future::{join, join_all},
};
use provider::{Capacity, Error, ErrorKind, FrameKind, Phase, Quota};
use router::{BreakerState, Reason, RouterError, StrategyName};
use tokio::time::{Instant, advance, sleep, timeout};

use crate::{
    fake::{Fake, MS, S, Step, error, fail, fail_for, frame, frame_of, good, status, streamed},
    rig::{Rig, is_poison, model, numbered, plain, poison, read, streaming, table, upstream},
};

#[tokio::test(start_paused = true)]
async fn a_dead_upstream_is_left_alone_and_found_out_when_it_recovers() {
    let (rig, a, _) = Rig::pair(StrategyName::Balanced);
    a.always(fail(ErrorKind::Connect));
    for _ in 0..300 {
        assert_eq!(rig.ask(&plain()).await.expect("served").upstream, "b");
        sleep(100 * MS).await;
    }
    assert!(a.calls() < 25, "a call every two seconds: {}", a.calls());
    a.recovers();
    sleep(3 * S).await;
    assert_eq!(rig.ask(&plain()).await.expect("served").upstream, "a");
    assert_eq!(rig.breaker("a"), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_dead_single_upstream_fails_fast_and_recovers_through_a_probe() {
    let (rig, a) = Rig::single();
    a.always(fail(ErrorKind::Connect));
    let request = plain();
    let answers = join_all((0..50).map(|_| rig.ask(&request))).await;
    assert!(answers.iter().all(Result::is_err));
    assert_ne!(rig.breaker("a"), BreakerState::Closed);
    a.recovers();
    sleep(19 * S).await;
    assert_eq!(rig.breaker("a"), BreakerState::HalfOpen);
    rig.ask(&request).await.expect("the probe is served");
    assert_eq!(rig.breaker("a"), BreakerState::Closed);
    let answers = join_all((0..50).map(|_| rig.ask(&request))).await;
    assert!(answers.iter().all(Result::is_ok));
}

/// Opens the breaker of `a` and lets its pause pass.
pub(crate) async fn half_open(rig: &Rig, a: &Arc<Fake>) {
    a.next((0..5).map(|_| fail(ErrorKind::Connect)));
    for _ in 0..5 {
        rig.ask(&plain()).await.expect("served by the other");
    }
    assert_eq!(rig.breaker("a"), BreakerState::Open);
    advance(2 * S).await;
    assert_eq!(rig.breaker("a"), BreakerState::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_proves_nothing_makes_room_for_the_next() {
    for script in [
        fail(ErrorKind::InvalidRequest),
        fail(ErrorKind::Unsupported),
        fail_for(ErrorKind::RateLimited, MS),
        fail_for(ErrorKind::Overloaded, MS),
        vec![Step::Hang],
    ] {
        let (rig, a, _) = Rig::pair(StrategyName::Balanced);
        half_open(&rig, &a).await;
        a.next([script]);
        // Also the client that leaves amid the probe.
        let _answer = timeout(S, rig.ask(&plain())).await;
        // Longer than an upstream is parked that asks for a moment's pause.
        advance(200 * MS).await;
        assert_eq!(a.calls(), 6);
        assert_eq!(rig.ask(&plain()).await.expect("served").upstream, "a");
        assert_eq!(rig.breaker("a"), BreakerState::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_keeps_the_breaker_open() {
    for script in [status(500), status(503), fail(ErrorKind::Connect), vec![Step::Head(Quota::default())]] {
        let (rig, a, _) = Rig::pair(StrategyName::Balanced);
        half_open(&rig, &a).await;
        a.next([script]);
        assert_eq!(rig.ask(&plain()).await.expect("served").upstream, "b");
        assert_eq!(rig.breaker("a"), BreakerState::Open);
    }
}

#[tokio::test(start_paused = true)]
async fn one_probe_at_a_time_also_under_load() {
    let (rig, a, _) = Rig::pair(StrategyName::Balanced);
    half_open(&rig, &a).await;
    let request = plain();
    let answers = join_all((0..50).map(|_| rig.ask(&request))).await;
    assert_eq!(answers.iter().filter(|answer| answer.as_ref().is_ok_and(|got| got.upstream == "a")).count(), 1);
    assert!(answers.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn the_first_token_of_a_probe_is_proof_enough() {
    let (rig, a, _) = Rig::pair(StrategyName::Balanced);
    half_open(&rig, &a).await;
    a.next([vec![Step::Head(Quota::default()), frame(FrameKind::Content), Step::Wait(2 * S), frame(FrameKind::Done)]]);
    let start = Instant::now();
    let long = rig.call(&streaming()).await.expect("served");
    assert_eq!(rig.breaker("a"), BreakerState::Closed);
    assert_eq!(rig.ask(&plain()).await.expect("served").upstream, "a");
    read(long, start).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_does_not_count_against_health() {
    let (rig, a) = Rig::single();
    a.always(vec![Step::Hang]);
    for _ in 0..50 {
        timeout(S, rig.call(&streaming())).await.map(|_| ()).expect_err("the client left");
    }
    a.always(vec![Step::Head(Quota::default()), frame(FrameKind::Content), Step::Hang]);
    for _ in 0..50 {
        let mut answer = rig.call(&streaming()).await.expect("served").answer;
        answer.next().await.expect("an item").expect("content");
    }
    assert_eq!(rig.breaker("a"), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn answers_that_break_off_count_against_health() {
    // A first token is no proof that an upstream can end what it begins.
    let died = Error { status: Some(500), ..error(ErrorKind::Unavailable) };
    for error in [error(ErrorKind::Interrupted), died] {
        let (rig, a, _) = Rig::pair(StrategyName::Balanced);
        a.always(vec![Step::Head(Quota::default()), frame(FrameKind::Content), Step::Fail(error)]);
        for n in 0..10 {
            rig.ask(&numbered(n)).await.expect("begun");
        }
        assert_eq!((rig.breaker("a"), a.calls()), (BreakerState::Open, 5));
    }
}

#[tokio::test(start_paused = true)]
async fn a_single_upstream_that_hangs_is_found_out_although_every_call_runs_into_the_deadline() {
    let (rig, a) = Rig::single();
    rig.ask(&plain()).await.expect("served");
    advance(MS).await;
    a.always(vec![Step::Hang]);
    for _ in 0..3 {
        assert_eq!(rig.breaker("a"), BreakerState::Closed);
        let refused = rig.ask(&plain()).await.expect_err("no answer");
        let RouterError::Failed { error, attempts: 1, .. } = refused else { panic!("{refused}") };
        assert_eq!(error.kind, ErrorKind::Timeout(Phase::FirstToken));
    }
    assert_eq!(rig.breaker("a"), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_long_for_the_deadline_counts_against_no_upstream_while_others_succeed() {
    let (rig, a) = Rig::single();
    a.does(|request| if is_poison(request) { vec![Step::Hang] } else { good(request, MS) });
    let (long, short) = (poison(), plain());
    let others = async {
        for _ in 0..60 {
            sleep(S).await;
            rig.ask(&short).await.expect("served");
        }
    };
    let (refused, ()) = join(join_all((0..20).map(|_| rig.ask(&long))), others).await;
    assert!(refused.into_iter().all(|refused| {
        matches!(refused, Err(RouterError::Failed { error, .. }) if error.kind == ErrorKind::Timeout(Phase::Deadline))
    }));
    assert_eq!(rig.breaker("a"), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_cold_upstream_that_times_out_is_not_broken() {
    for (running, state) in [(0, BreakerState::Closed), (1, BreakerState::Open)] {
        let (rig, a, _) = Rig::pair(StrategyName::Weighted);
        a.always(vec![Step::Hang]);
        a.has_running(running);
        let poll = async {
            loop {
                rig.router.poll_capacity().await;
                sleep(S).await;
            }
        };
        let ask = async {
            for _ in 0..5 {
                let attempts = if rig.breaker("a") == BreakerState::Open { 1 } else { 2 };
                let got = rig.ask(&streaming()).await.expect("served");
                assert_eq!((got.upstream.as_str(), got.attempts), ("b", attempts));
            }
        };
        tokio::select! {
            () = poll => {}
            () = ask => {}
        }
        assert_eq!(rig.breaker("a"), state, "{running} running");
    }
}

#[tokio::test(start_paused = true)]
async fn a_share_is_spilled_while_no_worker_is_ready_except_for_one_call_to_warm_it() {
    let (rig, a, b) = Rig::pair(StrategyName::Balanced);
    a.always([vec![Step::Wait(4 * S)], streamed()].concat());
    a.has_running(0);
    rig.router.poll_capacity().await;
    let request = streaming();
    let answers = join_all((0..100).map(|_| rig.ask(&request))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!((a.calls(), b.calls()), (1, 99));
    assert_eq!(answers.iter().flatten().filter(|got| got.reason == Reason::Spill).count(), 79 + 20);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_capacity_never_spills() {
    // Never asked, answered without figures, refused, or long out of date.
    for known in [None, Some(Ok(Capacity::default())), Some(Err(error(ErrorKind::Unavailable)))] {
        let (rig, a, b) = Rig::pair(StrategyName::Balanced);
        if let Some(known) = known {
            *a.capacity.lock() = known;
            rig.router.poll_capacity().await;
        }
        let request = plain();
        join_all((0..100).map(|_| rig.ask(&request))).await;
        assert_eq!((a.calls(), b.calls()), (80, 20));
    }
    let (rig, a, b) = Rig::pair(StrategyName::Balanced);
    a.has_running(0);
    rig.router.poll_capacity().await;
    *a.capacity.lock() = Err(error(ErrorKind::Unavailable));
    advance(4 * S).await;
    rig.router.poll_capacity().await;
    let request = plain();
    join_all((0..100).map(|_| rig.ask(&request))).await;
    assert_eq!((a.calls(), b.calls()), (80, 20));
}

#[tokio::test(start_paused = true)]
async fn every_upstream_broken_is_said_at_once_when_the_deadline_is_near() {
    let a = Fake::new();
    let mut model = model(StrategyName::Balanced, &[("a", 1.0)]);
    model.deadline = 1_500 * MS;
    let rig = Rig::new(table(vec![upstream("a", &a)], model), &[&a]);
    a.always(fail(ErrorKind::Auth));
    rig.ask(&plain()).await.expect_err("refused");
    assert_eq!(rig.breaker("a"), BreakerState::Open);
    let start = Instant::now();
    let refused = rig.ask(&plain()).await.expect_err("open");
    assert!(matches!(refused, RouterError::NoUpstream { retry_after } if retry_after >= S), "{refused}");
    assert_eq!(start.elapsed(), std::time::Duration::ZERO);
}

/// That the router has no memory for an answer is no upstream's failure, and another upstream would not help.
#[tokio::test(start_paused = true)]
async fn the_routers_own_lack_of_memory_is_no_upstreams_failure() {
    for request in [plain(), streaming()] {
        let (rig, a, b) = Rig::pair(StrategyName::Balanced);
        for fake in [&a, &b] {
            fake.always(fail(ErrorKind::NoMemory));
        }
        for _ in 0..30 {
            let Err(RouterError::Failed { error, attempts, .. }) = rig.ask(&request).await else { panic!("served") };
            assert_eq!((error.kind, attempts), (ErrorKind::NoMemory, 1));
        }
        assert_eq!((rig.breaker("a"), rig.breaker("b")), (BreakerState::Closed, BreakerState::Closed));
    }
    let (rig, a, _) = Rig::pair(StrategyName::Balanced);
    half_open(&rig, &a).await;
    a.next([fail(ErrorKind::NoMemory)]);
    assert!(rig.ask(&plain()).await.is_err(), "the probe found no memory");
    assert_eq!(rig.breaker("a"), BreakerState::HalfOpen, "the next one is a probe as well");
    rig.ask(&plain()).await.expect("served");
    assert_eq!(rig.breaker("a"), BreakerState::Closed);
}

/// An answer that has no room was worked for, and may be billed; a request that was not even sent was not.
#[tokio::test(start_paused = true)]
async fn an_answer_without_room_is_estimated() {
    let (rig, a) = Rig::single();
    let amid = vec![Step::Head(Quota::default()), Step::Fail(error(ErrorKind::NoMemory))];
    for (script, is_estimated) in [(fail(ErrorKind::NoMemory), false), (amid, true)] {
        a.always(script);
        assert!(rig.ask(&plain()).await.is_err());
        let estimated = rig.log.attempts.lock().last().expect("an attempt").estimate.is_some();
        assert_eq!(estimated, is_estimated);
    }
}

/// Frames that are held until one has content count towards the memory budget, and are given back once they are
/// relayed.
#[tokio::test(start_paused = true)]
async fn held_frames_are_counted_while_they_are_held() {
    let memory = provider::MemoryBudget::new(1000);
    let (rig, a) = Rig::single();
    a.always(vec![
        Step::Head(Quota::default()),
        frame_of(FrameKind::Opening, 600),
        frame(FrameKind::Content),
        frame(FrameKind::Finish),
        frame(FrameKind::Done),
    ]);
    let served = rig.call_in(&streaming(), &memory).await.expect("served");
    assert_eq!(memory.used(), 600, "the opening frame is held");
    let got = read(served, Instant::now()).await;
    assert!(got.error.is_none());
    assert_eq!(memory.used(), 0);
    let full = memory.reserve(1000).expect("all of it");
    let Err(RouterError::Failed { error, .. }) = rig.call_in(&streaming(), &memory).await else { panic!("served") };
    assert_eq!((error.kind, rig.breaker("a")), (ErrorKind::NoMemory, BreakerState::Closed));
    drop(full);
    assert_eq!(memory.used(), 0);
}

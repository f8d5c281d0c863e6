//! A request that makes upstreams answer 500 must not hurt the others; a storm of 500s must.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use futures_util::future::join_all;
use provider::{Error, ErrorKind, FrameKind, Quota, Request};
use router::{BreakerState, Reason, RouterError, StrategyName};
use tokio::time::{Instant, sleep};

use crate::{
    fake::{Fake, MS, S, Step, error, fail, frame, good, status},
    health::half_open,
    rig::{Rig, is_poison, numbered, plain, poison, streaming},
};

fn fails_poison(fake: &Arc<Fake>) {
    fake.does(|request| if is_poison(request) { status(500) } else { good(request, 10 * MS) });
}

fn refuses(fake: &Arc<Fake>) {
    fake.does(|request| if is_poison(request) { fail(ErrorKind::InvalidRequest) } else { good(request, 10 * MS) });
}

fn cannot(fake: &Arc<Fake>) {
    fake.does(|request| if is_poison(request) { fail(ErrorKind::Unsupported) } else { good(request, 10 * MS) });
}

/// 550 requests, one every `pace`, of which every eleventh is poison. Returns the kinds of error that its clients got.
async fn mix(rig: &Rig, pace: std::time::Duration) -> Vec<ErrorKind> {
    let (well, bad) = (plain(), poison());
    let ask = async |n: u32| {
        sleep(n * pace).await;
        let is_bad = n % 11 == 5;
        match rig.ask(if is_bad { &bad } else { &well }).await {
            Ok(got) => {
                assert!(!is_bad);
                assert_eq!((got.attempts, got.reason), (1, Reason::Share), "request {n}");
                None
            }
            Err(RouterError::Failed { error, .. }) if is_bad => Some(error.kind),
            Err(refused) => panic!("request {n}: {refused}"),
        }
    };
    let errors: Vec<_> = join_all((0..550).map(ask)).await.into_iter().flatten().collect();
    assert_eq!(errors.len(), 50);
    assert!(rig.log.attempts.lock().len() >= 550);
    errors
}

#[tokio::test(start_paused = true)]
async fn poison_that_the_other_refuses_hurts_nobody() {
    for pace in [MS, 20 * MS, 200 * MS] {
        let (rig, a, b) = Rig::pair(StrategyName::Balanced);
        fails_poison(&a);
        refuses(&b);
        let errors = mix(&rig, pace).await;
        assert!(errors.iter().all(|kind| *kind == ErrorKind::InvalidRequest), "the poison's clients get the refusal");
        assert_eq!((rig.breaker("a"), rig.breaker("b")), (BreakerState::Closed, BreakerState::Closed));
    }
}

#[tokio::test(start_paused = true)]
async fn poison_that_every_upstream_fails_hurts_nobody() {
    for pace in [MS, 20 * MS, 200 * MS] {
        let (rig, a, b) = Rig::pair(StrategyName::Balanced);
        fails_poison(&a);
        fails_poison(&b);
        let errors = mix(&rig, pace).await;
        assert!(errors.iter().all(|kind| *kind == ErrorKind::Unavailable));
        assert_eq!((rig.breaker("a"), rig.breaker("b")), (BreakerState::Closed, BreakerState::Closed));
    }
}

#[tokio::test(start_paused = true)]
async fn poison_hurts_nobody_behind_a_single_upstream_either() {
    for pace in [MS, 20 * MS, 200 * MS] {
        let (rig, a) = Rig::single();
        fails_poison(&a);
        mix(&rig, pace).await;
        assert_eq!(rig.breaker("a"), BreakerState::Closed);
    }
}

/// The attempts of a poison request, whether its error advises the client to check the request, the error's message,
/// and how long it took.
async fn poison_result(rig: &Rig) -> (u32, bool, String, std::time::Duration) {
    let start = Instant::now();
    let refused = rig.ask(&poison()).await.expect_err("poison");
    let RouterError::Failed { error, attempts, .. } = refused else { panic!("{refused}") };
    (attempts, error.message.contains("check response_format"), error.message, start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn poison_is_repeated_a_few_times_and_its_error_advises_to_check_it() {
    let others = async |rig: &Rig| {
        for n in 0..2_000 {
            sleep(10 * MS).await;
            rig.ask(&numbered(n)).await.expect("served");
        }
    };
    for (rig, fakes) in [
        {
            let (rig, a, b) = Rig::pair(StrategyName::Weighted);
            (rig, vec![a, b])
        },
        {
            let (rig, a, b) = Rig::pair(StrategyName::Weighted);
            cannot(&b);
            (rig, vec![a])
        },
        {
            let (rig, a) = Rig::single();
            (rig, vec![a])
        },
    ] {
        fakes.iter().for_each(fails_poison);
        let (attempts, is_advised, message, took) = tokio::select! {
            result = poison_result(&rig) => result,
            () = others(&rig) => panic!("no answer"),
        };
        assert!(is_advised && !message.contains("all upstreams"), "{message}");
        assert!(attempts <= 4 && took <= 3 * S, "{attempts} attempts in {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn in_an_outage_no_error_advises_to_check_the_request() {
    // Other requests succeeded until just now, and that proves nothing about this one.
    let (rig, a, b) = Rig::pair(StrategyName::Weighted);
    for n in 0..20 {
        rig.ask(&numbered(n)).await.expect("served");
    }
    a.always(status(500));
    b.always(status(500));
    let requests: Vec<_> = (0..63).map(numbered).collect();
    let ask = async |n: usize| {
        sleep(50 * MS * u32::try_from(n).expect("few")).await;
        rig.ask(&requests[n]).await.expect_err("an outage")
    };
    for refused in join_all((0..63).map(ask)).await {
        match refused {
            RouterError::Failed { error, .. } => {
                assert!(error.message.starts_with("all upstreams of this model failed"), "{error}");
                assert!(!error.message.contains("check response_format"), "{error}");
            }
            other => assert!(matches!(other, RouterError::NoUpstream { .. }), "{other}"),
        }
    }
    assert_ne!((rig.breaker("a"), rig.breaker("b")), (BreakerState::Closed, BreakerState::Closed));
}

#[tokio::test(start_paused = true)]
async fn one_client_that_repeats_its_poison_moves_no_health() {
    // An error within a 200, such as a failed job, names no status.
    for status in [Some(500), None] {
        let (rig, a) = Rig::single();
        let choked = Error { status, ..error(ErrorKind::Unavailable) };
        a.does(
            move |request| if is_poison(request) { vec![Step::Fail(choked.clone())] } else { good(request, 10 * MS) },
        );
        for _ in 0..50 {
            rig.ask(&poison()).await.expect_err("poison");
            sleep(S).await;
        }
        assert_eq!(rig.breaker("a"), BreakerState::Closed, "{status:?}");
        let got = rig.ask(&plain()).await.expect("served");
        assert_eq!(got.attempts, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_of_poison_alone_does_not_open_a_breaker() {
    let (rig, a, b) = Rig::pair(StrategyName::Balanced);
    fails_poison(&a);
    refuses(&b);
    for _ in 0..50 {
        rig.ask(&poison()).await.expect_err("poison");
    }
    assert_eq!((rig.breaker("a"), rig.breaker("b")), (BreakerState::Closed, BreakerState::Closed));
    let got = rig.ask(&plain()).await.expect("served");
    assert_eq!((got.upstream.as_str(), got.attempts), ("a", 1));
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_500s_opens_the_breaker() {
    let (rig, a, _) = Rig::pair(StrategyName::Balanced);
    a.always(status(500));
    for n in 0..20 {
        assert_eq!(rig.ask(&numbered(n)).await.expect("served").upstream, "b");
    }
    assert_eq!((rig.breaker("a"), rig.breaker("b")), (BreakerState::Open, BreakerState::Closed));
    assert_eq!(a.calls(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_500s_everywhere_opens_every_breaker() {
    let (rig, a, b) = Rig::pair(StrategyName::Balanced);
    for _ in 0..20 {
        rig.ask(&plain()).await.expect("served");
    }
    a.always(status(500));
    b.always(status(500));
    let requests: Vec<_> = (0..200).map(numbered).collect();
    let ask = async |n: u32| {
        sleep(n * 100 * MS).await;
        rig.ask(&requests[n as usize]).await.is_err()
    };
    assert!(join_all((0..200).map(ask)).await.into_iter().all(|failed| failed));
    assert_ne!(rig.breaker("a"), BreakerState::Closed);
    assert_ne!(rig.breaker("b"), BreakerState::Closed);
    assert!(a.calls() + b.calls() < 2 * 200, "{} and {}", a.calls(), b.calls());
}

/// Whether a poison request to the upstream `a` is advised to be checked, and its message, while `a` answers another
/// request after `wait`.
async fn poison_result_beside(rig: &Rig, a: &Fake, wait: std::time::Duration, other: Request) -> (bool, String) {
    a.does(move |request| if is_poison(request) { status(500) } else { good(request, wait) });
    let ask = async {
        sleep(MS).await;
        poison_result(rig).await
    };
    let (served, (_, is_advised, message, _)) = tokio::join!(rig.ask(&other), ask);
    assert_eq!(served.expect("served").attempts, 1);
    (is_advised, message)
}

#[tokio::test(start_paused = true)]
async fn what_began_before_a_failure_does_not_blame_its_client() {
    for wait in [2 * MS, 5 * MS, 50 * MS] {
        for other in [plain(), streaming()] {
            let (rig, a) = Rig::single();
            let (is_advised, message) = poison_result_beside(&rig, &a, wait, other).await;
            assert!(!is_advised && message.starts_with("all upstreams of this model failed"), "{message}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_request_going_well_neither_blames_its_client_nor_clears_the_upstream() {
    let (rig, a) = Rig::single();
    // The second call is a twin's, which begins after the first has failed.
    let calls = AtomicU32::new(0);
    a.does(move |request| match calls.fetch_add(1, Ordering::Relaxed) {
        1 => good(request, MS),
        _ => status(500),
    });
    let request = poison();
    let twin = async {
        sleep(MS).await;
        rig.ask(&request).await.expect("served")
    };
    let ((_, is_advised, message, _), _) = tokio::join!(poison_result(&rig), twin);
    assert!(!is_advised && message.starts_with("all upstreams of this model failed"), "{message}");
    for n in 0..4 {
        rig.ask(&numbered(n)).await.expect_err("an outage");
    }
    assert_ne!(rig.breaker("a"), BreakerState::Closed, "five failures of different requests");
}

/// A request that only one upstream could serve is the same evidence of that one's outage.
#[tokio::test(start_paused = true)]
async fn a_storm_of_500s_opens_the_breaker_whatever_the_other_cannot_do() {
    let (rig, a, b) = Rig::pair(StrategyName::Weighted);
    a.always(status(500));
    b.always(fail(ErrorKind::Unsupported));
    for n in 0..20 {
        match rig.ask(&numbered(n)).await.expect_err("an outage") {
            RouterError::Failed { error, .. } => {
                assert_eq!(error.kind, ErrorKind::Unavailable);
                assert!(error.message.starts_with("all upstreams of this model failed"), "{error}");
            }
            other => assert!(matches!(other, RouterError::NoUpstream { .. }), "{other}"),
        }
    }
    assert_eq!((rig.breaker("a"), rig.breaker("b")), (BreakerState::Open, BreakerState::Closed));
}

#[tokio::test(start_paused = true)]
async fn poison_that_the_other_cannot_serve_hurts_nobody() {
    for pace in [MS, 20 * MS, 200 * MS] {
        let (rig, a, b) = Rig::pair(StrategyName::Balanced);
        fails_poison(&a);
        cannot(&b);
        let errors = mix(&rig, pace).await;
        assert!(errors.iter().all(|kind| *kind == ErrorKind::Unavailable), "{errors:?}");
        assert_eq!((rig.breaker("a"), rig.breaker("b")), (BreakerState::Closed, BreakerState::Closed));
    }
}

#[tokio::test(start_paused = true)]
async fn poison_as_a_probe_counts_only_against_the_probed_upstream() {
    let (rig, a, b) = Rig::pair(StrategyName::Balanced);
    half_open(&rig, &a).await;
    fails_poison(&a);
    fails_poison(&b);
    rig.ask(&poison()).await.expect_err("poison");
    assert!(a.calls() >= 6, "it was the probe");
    assert_eq!(rig.breaker("b"), BreakerState::Closed);
    let predicted = rig.snapshot("b", false).first_token.expect("it has served");
    assert!(predicted < S, "{predicted:?}");
}

/// Poison begins well, and fails amid the answer.
fn breaks(fake: &Arc<Fake>) {
    let unreadable =
        || vec![Step::Head(Quota::default()), frame(FrameKind::Content), Step::Fail(error(ErrorKind::Protocol))];
    fake.does(move |request| if is_poison(request) { unreadable() } else { good(request, 10 * MS) });
}

#[tokio::test(start_paused = true)]
async fn poison_that_breaks_its_own_answer_moves_no_health() {
    let (rig, a) = Rig::single();
    breaks(&a);
    for n in 0..50 {
        assert!(rig.ask(&poison()).await.expect("it begins").error.is_some());
        if n % 10 == 0 {
            rig.ask(&numbered(n)).await.expect("served");
        }
    }
    assert_eq!(rig.breaker("a"), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_breaks_every_answer_is_left_alone() {
    let (rig, a) = Rig::single();
    a.always(vec![Step::Head(Quota::default()), frame(FrameKind::Content), Step::Fail(error(ErrorKind::Protocol))]);
    for n in 0..5 {
        assert!(rig.ask(&numbered(n)).await.expect("it begins").error.is_some());
    }
    assert_eq!(rig.breaker("a"), BreakerState::Open);
}

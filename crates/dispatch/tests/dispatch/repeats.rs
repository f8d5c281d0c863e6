//! When no untried upstream is left: waits, repeats, and the error for the client.

use std::time::Duration;

use provider::{ErrorKind, Quota};
use router::{RouterError, StrategyName};
use tokio::time::{Instant, advance};

use crate::{
    fake::{Fake, MS, S, Step, fail, fail_for, status, whole},
    rig::{Rig, model, plain, streaming, table, upstream},
};

#[tokio::test(start_paused = true)]
async fn with_no_upstream_free_retry_after_is_the_true_wait() {
    let (rig, a, b) = Rig::pair(StrategyName::Balanced);
    a.always(fail_for(ErrorKind::RateLimited, 30 * S));
    b.always(fail_for(ErrorKind::RateLimited, 20 * S));
    let refused = rig.ask(&plain()).await.expect_err("both are parked");
    let RouterError::Failed { error, attempts: 2, retry_after } = refused else { panic!("{refused}") };
    assert_eq!((error.kind, retry_after), (ErrorKind::RateLimited, Some(20 * S)));
    advance(5 * S).await;
    let start = Instant::now();
    let refused = rig.ask(&plain()).await.expect_err("both are still parked");
    let RouterError::NoUpstream { retry_after } = refused else { panic!("{refused}") };
    assert_eq!((retry_after, start.elapsed()), (15 * S, Duration::ZERO));
    assert_eq!((a.calls(), b.calls()), (1, 1));
    // Keeping to it pays off.
    b.recovers();
    advance(retry_after).await;
    assert_eq!(rig.ask(&plain()).await.expect("served").upstream, "b");
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_the_wait_for_the_upstream_that_is_free_first() {
    // Not that of the upstream whose error the client gets.
    let (rig, a, b) = Rig::pair(StrategyName::Balanced);
    a.always(fail_for(ErrorKind::RateLimited, 30 * S));
    b.always(fail_for(ErrorKind::Unavailable, 20 * S));
    let refused = rig.ask(&plain()).await.expect_err("both are parked");
    let RouterError::Failed { error, retry_after, .. } = refused else { panic!("{refused}") };
    assert_eq!((error.kind, retry_after), (ErrorKind::RateLimited, Some(20 * S)));
    // Not that of a breaker that opens while the upstream is still parked.
    let (rig, a) = Rig::single();
    a.always(fail_for(ErrorKind::Auth, 30 * S));
    rig.ask(&plain()).await.expect_err("broken and parked");
    let refused = rig.ask(&plain()).await.expect_err("broken and parked");
    assert!(matches!(refused, RouterError::NoUpstream { retry_after } if retry_after == 30 * S), "{refused}");
    // Not that of a parked upstream while another is only full.
    let (a, b) = (Fake::new(), Fake::new());
    let mut narrow = upstream("a", &a);
    narrow.0.max_in_flight = 1;
    let specs = vec![narrow, upstream("b", &b)];
    let rig = Rig::new(table(specs, model(StrategyName::Balanced, &[("a", 0.8), ("b", 0.2)])), &[&a, &b]);
    let _under_way = rig.call(&streaming()).await.expect("served");
    b.always(fail_for(ErrorKind::RateLimited, 60 * S));
    rig.ask(&plain()).await.expect_err("full and refused");
    let refused = rig.ask(&plain()).await.expect_err("full and parked");
    assert!(matches!(refused, RouterError::NoUpstream { retry_after } if retry_after == S), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_single_upstream_that_fails_once_is_asked_again_after_a_random_wait() {
    let mut waits = Vec::new();
    let (rig, a) = Rig::single();
    for _ in 0..5 {
        a.next([status(503)]);
        let got = rig.ask(&plain()).await.expect("served");
        assert_eq!(got.attempts, 2);
        assert!(got.took <= 2 * S + 10 * MS, "{:?}", got.took);
        waits.push(got.took);
    }
    waits.sort_unstable();
    waits.dedup();
    assert_eq!(waits.len(), 5, "the waits are random: {waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_short_pause_is_waited_out() {
    let (rig, a) = Rig::single();
    a.next([fail_for(ErrorKind::RateLimited, 4 * S)]);
    let got = rig.ask(&plain()).await.expect("served");
    assert_eq!((got.attempts, got.took), (2, 4 * S + 10 * MS));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_has_become_free_is_asked_before_one_that_failed() {
    let (rig, a, b) = Rig::pair(StrategyName::Balanced);
    a.next([fail(ErrorKind::Unsupported)]);
    let mut script = whole();
    script[0] = Step::Head(Quota { exhausted_for: Some(MS), ..Quota::default() });
    b.next([script]);
    rig.ask(&plain()).await.expect("served, for the last time until the quota resets");
    a.always(status(503));
    let got = rig.ask(&plain()).await.expect("served");
    assert_eq!((got.upstream.as_str(), got.attempts), ("b", 2));
}

#[tokio::test(start_paused = true)]
async fn repeats_go_round() {
    let (rig, a, b) = Rig::pair(StrategyName::Balanced);
    a.always(status(503));
    b.next([status(503)]);
    let got = rig.ask(&plain()).await.expect("served");
    assert_eq!((got.upstream.as_str(), a.calls(), b.calls()), ("b", 2, 2));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_is_asked_three_times_at_most() {
    for script in [status(503), fail_for(ErrorKind::RateLimited, S), fail(ErrorKind::Overloaded)] {
        let (rig, a) = Rig::single();
        a.always(script);
        let refused = rig.ask(&plain()).await.expect_err("it does not get better");
        assert!(matches!(refused, RouterError::Failed { attempts: 3, .. }), "{refused}");
        assert_eq!(a.calls(), 3);
    }
    // Two repeats also where there are more upstreams to try them on.
    let (rig, a, b) = Rig::pair(StrategyName::Balanced);
    a.always(status(503));
    b.always(status(503));
    rig.ask(&plain()).await.expect_err("it does not get better");
    assert_eq!((a.calls(), b.calls()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_get_better_is_not_repeated() {
    for kind in [ErrorKind::Auth, ErrorKind::NotFound, ErrorKind::Unsupported, ErrorKind::ContextOverflow] {
        let (rig, a) = Rig::single();
        a.always(fail(kind));
        let start = Instant::now();
        rig.ask(&plain()).await.expect_err("it stays so");
        assert_eq!((a.calls(), start.elapsed()), (1, Duration::ZERO), "{kind}");
    }
}

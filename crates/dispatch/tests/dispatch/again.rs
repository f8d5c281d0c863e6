//! A call that an adapter wants changed and repeated is repeated once, at once, on the same upstream, and has events of
//! its own.

use dispatch::{Outcome, Unreported};
use provider::{Adjustment, Error, ErrorKind};
use router::{BreakerState, Reason, Role, RouterError, StrategyName};
use tokio::time::Instant;

use crate::{
    fake::{S, Script, Step, error, fail, whole},
    rig::{Rig, plain},
};

fn asks_for(kind: ErrorKind, adjustment: &Adjustment) -> Script {
    vec![Step::Fail(Error { again: Some(adjustment.clone()), ..error(kind) })]
}

#[tokio::test(start_paused = true)]
async fn a_stale_connection_is_repeated_once_and_booked_as_perhaps_billed() {
    for _ in 0..12 {
        let (rig, a, b) = Rig::pair(StrategyName::Weighted);
        a.next([asks_for(ErrorKind::Interrupted, &Adjustment::FreshConnection), whole()]);
        let start = Instant::now();
        let got = rig.ask(&plain()).await.expect("served");
        assert_eq!((got.upstream.as_str(), got.attempts, got.reason), ("a", 2, Reason::Share));
        assert!(start.elapsed() < S, "no wait");
        assert_eq!(*a.adjustments.lock(), [None, Some(Adjustment::FreshConnection)]);
        assert_eq!(b.calls(), 0);
        let attempts = rig.log.attempts.lock();
        assert_eq!(attempts[0].outcome, Outcome::Failed(ErrorKind::Interrupted));
        assert_eq!(attempts[0].estimate.map(|estimate| estimate.reason), Some(Unreported::Broken));
        assert_eq!((attempts[1].role, attempts[1].outcome), (Role::Retry, Outcome::Served));
    }
}

#[tokio::test(start_paused = true)]
async fn closing_kept_connections_does_not_count_against_health() {
    let (rig, a) = Rig::single();
    for _ in 0..20 {
        a.next([asks_for(ErrorKind::Interrupted, &Adjustment::FreshConnection), whole()]);
        rig.ask(&plain()).await.expect("served");
    }
    assert_eq!(rig.breaker("a"), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_that_fails_is_judged_like_any_call() {
    let (rig, a, _) = Rig::pair(StrategyName::Weighted);
    a.does(|_| asks_for(ErrorKind::Interrupted, &Adjustment::FreshConnection));
    let got = rig.ask(&plain()).await.expect("served by the other");
    assert_eq!((got.upstream.as_str(), got.attempts, a.calls()), ("b", 3, 2));
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_change_is_made_once() {
    let (rig, a) = Rig::single();
    let without = Adjustment::Without("stream_options".to_owned());
    let refusal = || asks_for(ErrorKind::Refused, &without);
    a.next([asks_for(ErrorKind::Interrupted, &Adjustment::FreshConnection), refusal(), whole()]);
    assert_eq!(rig.ask(&plain()).await.expect("served").attempts, 3);
    a.next([refusal(), refusal(), whole()]);
    let refused = rig.ask(&plain()).await.expect_err("refused twice");
    assert!(matches!(refused, RouterError::Failed { attempts: 2, .. }), "{refused}");
    assert_eq!(rig.breaker("a"), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_is_not_sent_again_whatever_fails_next() {
    let without = Adjustment::Without("logit_bias".to_owned());
    for failure in [asks_for(ErrorKind::Interrupted, &Adjustment::FreshConnection), fail(ErrorKind::Unavailable)] {
        let (rig, a) = Rig::single();
        a.next([asks_for(ErrorKind::Refused, &without), failure, whole()]);
        assert_eq!(rig.ask(&plain()).await.expect("served").attempts, 3);
        assert_eq!(*a.adjustments.lock(), [None, Some(without.clone()), Some(without.clone())]);
        // Nothing of another request was refused.
        rig.ask(&plain()).await.expect("served");
        assert_eq!(a.adjustments.lock().last(), Some(&None));
    }
}

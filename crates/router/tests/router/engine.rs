//! What follows each event of a request.

use provider::{Adjustment, Error, ErrorKind, Phase, Quota};
use router::{BreakerState, Reason, RequestState, Role, RouterError, StrategyName};

use crate::hand::{Hand, MS, S, TIMEOUT, error, gave_up, model, started, upstream, waits};

#[test]
fn a_request_that_is_served_leaves_nothing_in_flight() {
    let mut hand = Hand::pair(StrategyName::Balanced);
    let (mut request, start) = hand.begin();
    assert_eq!((start.attempt.target, start.attempt.role, start.attempt.reason), (0, Role::Primary, Reason::Share));
    assert_eq!((start.limit, hand.in_flight("a")), (hand.now + 5 * S, 1));
    hand.pass(MS);
    hand.engine.first_token(&mut request, Quota::default(), hand.now, &mut hand.rng);
    assert_eq!((hand.in_flight("a"), request.is_committed()), (1, true), "an answer that is relayed is in flight");
    hand.engine.served(&mut request, Some(40), hand.now);
    assert_eq!((hand.in_flight("a"), request.attempts()), (0, 1));
}

#[test]
fn a_failure_moves_on_at_once_and_then_waits() {
    let mut hand = Hand::pair(StrategyName::Balanced);
    let (mut request, _) = hand.begin();
    let start = started(hand.failed(&mut request, ErrorKind::Connect));
    assert_eq!((start.attempt.target, start.attempt.role, start.attempt.reason), (1, Role::Fallback, Reason::Fallback));
    assert_eq!((hand.in_flight("a"), hand.in_flight("b")), (0, 1));
    let until = waits(&hand.failed(&mut request, ErrorKind::Connect));
    assert!(until > hand.now && until <= hand.now + 2 * S, "{until:?}");
    hand.now = until;
    assert_eq!(started(hand.timer(&mut request)).attempt.role, Role::Retry);
}

#[test]
fn a_lone_upstream_is_asked_three_times_and_no_more() {
    let mut hand = Hand::single();
    let (mut request, _) = hand.begin();
    for _ in 0..2 {
        hand.now = waits(&hand.failed(&mut request, ErrorKind::Unavailable));
        started(hand.timer(&mut request));
    }
    let refused = gave_up(hand.failed(&mut request, ErrorKind::Unavailable));
    assert!(matches!(refused, RouterError::Failed { attempts: 3, .. }), "{refused}");
    assert_eq!(hand.in_flight("a"), 0);
}

#[test]
fn two_repeats_are_made_however_many_targets_there_are() {
    let mut hand = Hand::pair(StrategyName::Balanced);
    let (mut request, _) = hand.begin();
    started(hand.failed(&mut request, ErrorKind::Unavailable));
    for _ in 0..2 {
        hand.now = waits(&hand.failed(&mut request, ErrorKind::Unavailable));
        started(hand.timer(&mut request));
    }
    let refused = gave_up(hand.failed(&mut request, ErrorKind::Unavailable));
    assert!(matches!(refused, RouterError::Failed { attempts: 4, .. }), "{refused}");
}

#[test]
fn a_wait_that_would_leave_no_time_is_not_begun() {
    let mut hand = Hand::single();
    let mut request = hand.request("m");
    hand.pass(59 * S);
    started(hand.arrived(&mut request));
    let refused = gave_up(hand.failed(&mut request, ErrorKind::Unavailable));
    assert!(matches!(refused, RouterError::Failed { attempts: 1, .. }), "{refused}");
}

/// The limit is half of the time that is left while another target could still serve, then all of it.
#[test]
fn a_limit_leaves_time_for_who_comes_next() {
    let mut hand = Hand::pair(StrategyName::Balanced);
    let mut request = hand.request("m");
    hand.pass(54 * S);
    let start = started(hand.arrived(&mut request));
    assert_eq!(start.limit, hand.now + 3 * S);
    hand.now = start.limit;
    let silent = hand.engine.overdue(&request, &start.attempt, hand.now);
    assert_eq!(silent.kind, TIMEOUT);
    let start = started(hand.engine.failed(&mut request, silent, hand.now, &mut hand.rng));
    assert_eq!((start.attempt.target, start.limit), (1, request.deadline()));
    hand.now = start.limit;
    let silent = hand.engine.overdue(&request, &start.attempt, hand.now);
    assert_eq!(silent.kind, ErrorKind::Timeout(Phase::Deadline), "three seconds of silence prove nothing");
    gave_up(hand.engine.failed(&mut request, silent, hand.now, &mut hand.rng));
}

#[test]
fn a_permit_or_a_probe_that_two_models_want_is_given_once() {
    let mut narrow = upstream("a");
    narrow.max_in_flight = 2;
    let models = ["m", "n"].map(|name| model(name, StrategyName::Weighted, &[("a", 1.0)]));
    let mut hand = Hand::new(vec![narrow], models.into());
    let (mut m, mut n) = (hand.request("m"), hand.request("n"));
    started(hand.arrived(&mut m));
    started(hand.arrived(&mut n));
    let mut third = hand.request("n");
    let refused = gave_up(hand.arrived(&mut third));
    assert!(matches!(refused, RouterError::NoUpstream { retry_after } if retry_after == S), "{refused}");
    hand.engine.left(&mut m, hand.now);
    gave_up(hand.failed(&mut n, ErrorKind::Auth));
    assert_eq!((hand.breaker("a"), hand.in_flight("a")), (BreakerState::Open, 0));
    hand.pass(2 * S);
    let (mut m, mut n) = (hand.request("m"), hand.request("n"));
    started(hand.arrived(&mut m));
    waits(&hand.arrived(&mut n));
    hand.serve(m);
    // It has just come back, and is given more with time.
    hand.pass(S);
    started(hand.timer(&mut n));
    assert_eq!(hand.breaker("a"), BreakerState::Closed);
}

#[test]
fn an_adjustment_is_made_at_once_and_kept_for_every_further_call() {
    let mut hand = Hand::single();
    let (mut request, first) = hand.begin();
    assert_eq!(first.adjustment, None);
    let without = Adjustment::Without("logit_bias".to_owned());
    let refusal = Error { again: Some(without.clone()), ..error(ErrorKind::Refused) };
    let second = started(hand.engine.failed(&mut request, refusal, hand.now, &mut hand.rng));
    assert_eq!((second.attempt.role, second.attempt.reason), (Role::Retry, first.attempt.reason));
    assert_eq!(second.adjustment, Some(without.clone()));
    hand.now = waits(&hand.failed(&mut request, ErrorKind::Unavailable));
    assert_eq!(started(hand.timer(&mut request)).adjustment, Some(without));
}

/// Five first tokens that do not come open the breaker, unless no worker is ready: a model that loads is none.
#[test]
fn a_cold_upstream_that_times_out_is_not_broken_whether_or_not_its_model_loads() {
    let time_out = |hand: &mut Hand| {
        for _ in 0..5 {
            if hand.breaker("a") == BreakerState::Open {
                break;
            }
            let (mut request, _) = hand.begin();
            hand.pass(MS);
            let _next = hand.failed(&mut request, TIMEOUT);
        }
        hand.breaker("a")
    };
    let mut hand = Hand::single();
    hand.has_running(0);
    assert_eq!(time_out(&mut hand), BreakerState::Closed, "none runs");
    hand.has_running(1);
    assert_eq!(time_out(&mut hand), BreakerState::Closed, "one loads");
    let (request, _) = hand.begin();
    hand.serve(request);
    assert_eq!(time_out(&mut hand), BreakerState::Open, "one is ready");
}

#[test]
fn a_share_spills_while_a_model_loads_except_for_one_call() {
    let mut hand = Hand::pair(StrategyName::Balanced);
    hand.has_running(0);
    hand.pass(MS);
    hand.has_running(1);
    let targets: Vec<_> = (0..4).map(|_| hand.begin().1.attempt).map(|it| (it.target, it.reason)).collect();
    assert_eq!(targets, [(0, Reason::Share), (1, Reason::Spill), (1, Reason::Spill), (1, Reason::Spill)]);
}

#[test]
fn an_event_that_comes_twice_counts_once() {
    type End = fn(&mut Hand, &mut RequestState);
    let ends: [End; 3] = [
        |hand, request| hand.engine.left(request, hand.now),
        |hand, request| hand.engine.served(request, Some(40), hand.now),
        |hand, request| hand.engine.broke(request, &error(ErrorKind::Interrupted), hand.now, &mut hand.rng),
    ];
    for end in ends {
        let mut hand = Hand::single();
        let (_other, _) = hand.begin();
        let (mut request, _) = hand.begin();
        end(&mut hand, &mut request);
        end(&mut hand, &mut request);
        assert_eq!(hand.in_flight("a"), 1);
    }
}

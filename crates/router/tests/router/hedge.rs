//! A stream whose first call is late to begin is called a second time elsewhere, within a budget.

use std::time::Duration;

use provider::{Adjustment, Error, ErrorKind, NanoUsd, PicoUsd, Price, Quota, Tariff};
use router::{
    Action, BreakerState, Facts, Hedge, Limits, Named, Reason, RequestState, Role, Start, StrategyName, UpstreamSpec,
    Wishes,
};

use crate::hand::{CHAT, Hand, MS, S, error, gave_up, model, started, upstream, waits};

const AFTER: Duration = Duration::from_millis(800);

fn priced(id: &str, usd_per_million: &str) -> UpstreamSpec {
    let rate = PicoUsd::from_usd_per_million(usd_per_million).expect("a price");
    UpstreamSpec { tariff: Some(Tariff::Tokens(Price::new(rate, rate))), ..upstream(id) }
}

/// The upstreams `a`, at 0.8, and `b`, which costs five times as much.
fn specs() -> [UpstreamSpec; 2] {
    [priced("a", "0.02"), priced("b", "0.10")]
}

fn hand(upstreams: [UpstreamSpec; 2], strategy: StrategyName, hedge: Hedge, slo: Duration) -> Hand {
    let mut spec = model("m", strategy, &[("a", 0.8), ("b", 0.2)]);
    (spec.hedge, spec.slo_first_token) = (Some(hedge), Some(slo));
    Hand::new(upstreams.into(), vec![spec])
}

/// Second calls may cost as much as first ones, of which some were served: there is a budget.
fn with_budget(upstreams: [UpstreamSpec; 2]) -> Hand {
    let mut hand = hand(upstreams, StrategyName::Balanced, Hedge { most_extra_cost: 1.0, after: Some(AFTER) }, 2 * S);
    serve(&mut hand, 40, 100 * MS);
    hand
}

/// Serves so many requests, one after the other, each of which begins to answer after `wait`.
fn serve(hand: &mut Hand, requests: u32, wait: Duration) {
    for _ in 0..requests {
        let (mut request, _) = hand.begin();
        hand.pass(wait);
        hand.engine.first_token(&mut request, Quota::default(), hand.now, &mut hand.rng);
        hand.engine.served(&mut request, Some(40), hand.now);
    }
}

/// A request whose first call is to `a`.
fn begin_at_a(hand: &mut Hand) -> (RequestState, Start) {
    for _ in 0..100 {
        let (request, start) = hand.begin();
        if start.attempt.target == 0 {
            return (request, start);
        }
        hand.pass(100 * MS);
        hand.serve(request);
    }
    panic!("none goes to a");
}

/// A request with a call to `a` and, 800 ms later, one to `b`.
fn two_calls(hand: &mut Hand) -> RequestState {
    let (mut request, start) = begin_at_a(hand);
    hand.now = start.hedge_at.expect("a moment");
    let second = hand.engine.hedge(&mut request, hand.now).expect("a second call");
    assert_eq!(second.attempt.target, 1);
    request
}

fn in_flight(hand: &mut Hand) -> [u32; 2] {
    ["a", "b"].map(|id| hand.in_flight(id))
}

/// What `a` is behind, in requests.
fn deficit_of_a(hand: &mut Hand) -> f64 {
    let explained = hand.engine.explain(&hand.table.model("m").expect("a model").clone(), &CHAT, None, hand.now);
    explained.candidates.iter().find(|candidate| candidate.target == 0).expect("it is there").deficit
}

#[test]
fn a_call_that_is_late_to_begin_gets_a_second_one_elsewhere() {
    let mut hand = with_budget(specs());
    let (mut request, first) = begin_at_a(&mut hand);
    assert_eq!(first.hedge_at, Some(hand.now + AFTER));
    hand.pass(AFTER);
    let second = hand.engine.hedge(&mut request, hand.now).expect("a second call");
    let attempt = second.attempt;
    assert_eq!((attempt.target, attempt.role, attempt.reason), (1, Role::Hedge, Reason::Hedge));
    assert_eq!((attempt.started, second.limit, second.hedge_at), (hand.now, hand.now + 5 * S, None));
    assert_eq!((request.attempts(), in_flight(&mut hand)), (2, [1, 1]));
    assert!(hand.engine.hedge(&mut request, hand.now).is_none(), "there is one second call");
}

#[test]
fn whichever_has_content_first_serves_and_the_other_gives_back_what_it_took() {
    for winner in [0, 1] {
        let mut hand = with_budget(specs());
        let mut request = two_calls(&mut hand);
        hand.pass(100 * MS);
        hand.engine.won(&mut request, winner, hand.now);
        assert_eq!(in_flight(&mut hand), [u32::from(winner == 0), u32::from(winner == 1)]);
        assert_eq!((request.attempt().map(|attempt| attempt.target), request.rival().is_none()), (Some(winner), true));
        hand.serve(request);
        assert_eq!(in_flight(&mut hand), [0, 0]);
        assert_eq!(["a", "b"].map(|id| hand.breaker(id)), [BreakerState::Closed; 2]);
    }
}

#[test]
fn the_share_goes_to_the_one_that_served() {
    let deficit = |winner: usize| {
        let mut hand = with_budget(specs());
        let mut request = two_calls(&mut hand);
        hand.engine.won(&mut request, winner, hand.now);
        hand.serve(request);
        deficit_of_a(&mut hand)
    };
    let (by_a, by_b) = (deficit(0), deficit(1));
    assert!((by_b - by_a - 1.0).abs() < 1e-9, "{by_a} and {by_b}");
}

#[test]
fn if_one_fails_the_request_goes_on_with_the_other_alone() {
    for failed in [0, 1] {
        let mut hand = with_budget(specs());
        let mut request = two_calls(&mut hand);
        let unavailable = error(ErrorKind::Unavailable);
        hand.engine.one_failed(&mut request, failed, unavailable, hand.now, &mut hand.rng);
        assert_eq!(
            (request.attempt().map(|attempt| attempt.target), request.rival().is_none()),
            (Some(1 - failed), true)
        );
        assert_eq!(in_flight(&mut hand), [u32::from(failed == 1), u32::from(failed == 0)]);
        assert!(hand.engine.hedge(&mut request, hand.now).is_none(), "nothing else is called meanwhile");
        hand.serve(request);
        assert_eq!(in_flight(&mut hand), [0, 0]);
    }
}

/// Though a third target could serve.
#[test]
fn there_is_one_second_call() {
    let mut spec = model("m", StrategyName::Cost, &[("a", 0.4), ("b", 0.3), ("c", 0.3)]);
    spec.hedge = Some(Hedge { most_extra_cost: 1.0, after: Some(AFTER) });
    let [a, b] = specs();
    let mut hand = Hand::new(vec![a, b, priced("c", "0.20")], vec![spec]);
    serve(&mut hand, 40, 100 * MS);
    let mut request = two_calls(&mut hand);
    assert!(hand.engine.hedge(&mut request, hand.now).is_none(), "while both are under way");
    hand.engine.one_failed(&mut request, 1, error(ErrorKind::Unavailable), hand.now, &mut hand.rng);
    assert!(hand.engine.hedge(&mut request, hand.now).is_none(), "while the first goes on");
    assert_eq!(hand.in_flight("c"), 0);
    let fallback = started(hand.failed(&mut request, ErrorKind::Unavailable));
    assert_eq!((fallback.attempt.target, fallback.attempt.role), (2, Role::Fallback));
}

#[test]
fn when_both_have_failed_it_is_as_after_a_fallback_that_failed() {
    let mut hand = with_budget(specs());
    let mut request = two_calls(&mut hand);
    hand.engine.one_failed(&mut request, 1, error(ErrorKind::Auth), hand.now, &mut hand.rng);
    let mut action = hand.failed(&mut request, ErrorKind::Unavailable);
    while let Action::Wait { until } = action {
        hand.now = until;
        action = hand.timer(&mut request);
    }
    let again = started(action);
    assert_eq!((again.attempt.target, again.attempt.role), (0, Role::Retry), "b refused it for good");
    assert_eq!((again.hedge_at, request.attempts()), (None, 3));
}

/// The error of the higher severity is the client's, whichever call it is of.
#[test]
fn the_client_is_told_of_the_worse_failure() {
    let mut hand = with_budget(specs());
    let mut request = two_calls(&mut hand);
    hand.engine.one_failed(&mut request, 0, error(ErrorKind::InvalidRequest), hand.now, &mut hand.rng);
    let told = gave_up(hand.failed(&mut request, ErrorKind::Auth)).to_string();
    let mut other = with_budget(specs());
    let (mut request, _) = begin_at_a(&mut other);
    assert_eq!(
        told,
        gave_up(other.failed(&mut request, ErrorKind::InvalidRequest)).to_string().replace("1 att", "2 att")
    );
}

#[test]
fn failures_beside_another_call_open_a_breaker_as_any_do() {
    let mut hand = with_budget(specs());
    for _ in 0..8 {
        if hand.breaker("a") != BreakerState::Closed {
            return;
        }
        let (mut request, start) = begin_at_a(&mut hand);
        // A call to an upstream that seems to be late has no second one.
        if let Some(at) = start.hedge_at {
            hand.now = at;
            hand.engine.hedge(&mut request, at).expect("a second call");
            hand.engine.one_failed(&mut request, 0, error(ErrorKind::Unavailable), at, &mut hand.rng);
        } else {
            started(hand.failed(&mut request, ErrorKind::Unavailable));
        }
        hand.serve(request);
    }
    panic!("it is closed still");
}

#[test]
fn a_client_that_leaves_cancels_both() {
    let mut hand = with_budget(specs());
    let mut request = two_calls(&mut hand);
    hand.engine.left(&mut request, hand.now);
    assert_eq!(in_flight(&mut hand), [0, 0]);
}

#[test]
fn what_is_not_a_first_call_of_a_stream_has_no_second_one() {
    let mut hand = with_budget(specs());
    let mut moment = |facts: Facts, named: Option<Named>| {
        let mut request = RequestState::new(hand.model("m"), facts, named, hand.now + 60 * S).numbered(1_000);
        let start = started(hand.arrived(&mut request));
        hand.engine.left(&mut request, hand.now);
        start.hedge_at
    };
    assert!(moment(CHAT, None).is_some());
    assert_eq!(moment(Facts { stream: false, ..CHAT }, None), None, "a whole answer");
    assert_eq!(moment(CHAT, Some(Named { target: 0, falls_back: true })), None, "one that names its upstream");

    let (mut request, _) = begin_at_a(&mut hand);
    let fallback = started(hand.failed(&mut request, ErrorKind::Unavailable));
    assert_eq!((fallback.attempt.role, fallback.hedge_at), (Role::Fallback, None));
    assert!(hand.engine.hedge(&mut request, hand.now + AFTER).is_none());

    let (mut request, _) = begin_at_a(&mut hand);
    hand.engine.first_token(&mut request, Quota::default(), hand.now, &mut hand.rng);
    assert!(hand.engine.hedge(&mut request, hand.now + AFTER).is_none(), "content has come");

    let mut plain = Hand::pair(StrategyName::Balanced);
    assert_eq!(plain.begin().1.hedge_at, None, "not configured");
}

/// A second call is worth its price only where it is likely to be in time, and takes no reserve from other requests.
#[test]
fn there_is_no_second_call_to_a_target_that_would_not_help() {
    let hedges = |mut hand: Hand, prepare: fn(&mut Hand)| {
        let (mut request, start) = begin_at_a(&mut hand);
        prepare(&mut hand);
        hand.now = hand.now.max(start.hedge_at.expect("a moment"));
        hand.engine.hedge(&mut request, hand.now).is_some()
    };
    assert!(hedges(with_budget(specs()), |_| {}));

    let mut full = specs();
    full[1].max_in_flight = 1;
    assert!(!hedges(with_budget(full), |hand| drop(call(hand, 1))), "it is full");

    assert!(!hedges(with_budget(specs()), break_b), "its breaker is open");
    let half_open = |hand: &mut Hand| {
        break_b(hand);
        // As long as a breaker pauses at most, before the moment of the second call.
        hand.now += 10 * S;
        assert_eq!(hand.breaker("b"), BreakerState::HalfOpen);
    };
    assert!(!hedges(with_budget(specs()), half_open), "nobody knows if it is back");

    let mut spent = specs();
    spent[1].limits = Limits { requests_per_minute: Some(100), ..Limits::default() };
    assert!(hedges(with_budget(spent.clone()), |_| {}));
    assert!(!hedges(with_budget(spent), |hand| (0..70).for_each(|_| drop(call(hand, 1)))), "the rest is reserved");

    let mut slow = with_budget(specs());
    for _ in 0..40 {
        let request = call(&mut slow, 1);
        slow.pass(1_500 * MS);
        slow.serve(request);
    }
    assert!(!hedges(slow, |_| {}), "it takes longer than what is left");
}

/// A call to `target`, which runs on.
fn call(hand: &mut Hand, target: usize) -> RequestState {
    let named = Named { target, falls_back: false };
    let mut request = RequestState::new(hand.model("m"), CHAT, Some(named), hand.now + 60 * S).numbered(2_000);
    started(hand.arrived(&mut request));
    request
}

fn break_b(hand: &mut Hand) {
    let mut request = call(hand, 1);
    gave_up(hand.failed(&mut request, ErrorKind::Auth));
    assert_eq!(hand.breaker("b"), BreakerState::Open);
}

/// Every request is late by its first call, so that each would have a second one.
#[test]
fn second_calls_cost_no_more_than_their_part_of_the_first_ones() {
    const REQUESTS: u32 = 2_000;
    let mut hand = hand(specs(), StrategyName::Balanced, Hedge { most_extra_cost: 0.02, after: Some(AFTER) }, 2 * S);
    let (mut firsts, mut seconds) = (0_u64, 0_u64);
    for _ in 0..REQUESTS {
        let mut request = hand.request("m");
        let start = started(hand.arrived(&mut request));
        let explained = hand.engine.explain(&hand.table.model("m").expect("a model").clone(), &CHAT, None, hand.now);
        let cost = |target: usize| {
            let candidate = explained.candidates.iter().find(|candidate| candidate.target == target);
            candidate.and_then(|candidate| candidate.expected_cost).map_or(0, |NanoUsd(cost)| cost)
        };
        let costs = [cost(0), cost(1)];
        firsts += costs[start.attempt.target];
        hand.now = start.hedge_at.expect("a moment");
        let second = hand.engine.hedge(&mut request, hand.now);
        if let Some(second) = second {
            seconds += costs[second.attempt.target];
            hand.engine.won(&mut request, start.attempt.target, hand.now);
        }
        hand.serve(request);
    }
    assert!(seconds * 50 <= firsts, "{seconds} of {firsts}");
    assert!(seconds * 60 >= firsts, "what they may cost is spent: {seconds} of {firsts}");
}

/// Without a configured moment it is the last one at which the other target is likely to be in time.
#[test]
fn the_moment_is_learned_from_how_fast_the_other_target_is() {
    let moment = |[a, b]: [Duration; 2], slo: Duration| {
        let mut hand = hand(specs(), StrategyName::Cost, Hedge { most_extra_cost: 1.0, after: None }, slo);
        for _ in 0..100 {
            for (target, takes) in [a, b].into_iter().enumerate() {
                let request = call(&mut hand, target);
                hand.pass(takes);
                hand.serve(request);
            }
        }
        let (_, start) = begin_at_a(&mut hand);
        start.hedge_at.map(|at| at - hand.now).expect("a moment")
    };
    let (fast, slow) = (moment([200 * MS, 200 * MS], 2 * S), moment([200 * MS, S], 2 * S));
    assert!((1_600 * MS..1_900 * MS).contains(&fast), "{fast:?}");
    assert!((700 * MS..900 * MS).contains(&slow), "{slow:?}");
    let usual = moment([1_500 * MS, 200 * MS], 2 * S);
    assert!((1_800 * MS..2_000 * MS).contains(&usual), "its own time is no reason: {usual:?}");
    assert_eq!(moment([50 * MS, 300 * MS], 500 * MS), 300 * MS, "the first call has some time");
}

/// A request that was held longer than that is not called twice at once.
#[test]
fn a_call_that_begins_late_has_some_time_before_the_second_one() {
    let mut narrow = specs();
    (narrow[0].max_in_flight, narrow[1].max_in_flight) = (1, 1);
    let mut hand = with_budget(narrow);
    let (first, _) = hand.begin();
    let (_second, _) = hand.begin();
    let mut held = hand.request("m");
    waits(&hand.arrived(&mut held));
    hand.pass(S);
    hand.serve(first);
    assert_eq!(hand.woken(), [held.number()]);
    let start = started(hand.timer(&mut held));
    assert_eq!(start.hedge_at, Some(hand.now + 300 * MS));
}

/// What such a call usually takes counts from its begin.
#[test]
fn a_learned_moment_leaves_a_held_request_its_time() {
    let mut narrow = specs();
    (narrow[0].max_in_flight, narrow[1].max_in_flight) = (1, 1);
    let mut hand = hand(narrow, StrategyName::Balanced, Hedge { most_extra_cost: 1.0, after: None }, 2 * S);
    for _ in 0..60 {
        let (request, start) = hand.begin();
        hand.pass([S, 1_200 * MS][start.attempt.target]);
        hand.serve(request);
    }
    let [first, _second] = [hand.begin().0, hand.begin().0];
    let mut held = hand.request("m");
    waits(&hand.arrived(&mut held));
    hand.pass(400 * MS);
    hand.serve(first);
    assert_eq!(hand.woken(), [held.number()]);
    let start = started(hand.timer(&mut held));
    let after = start.hedge_at.map(|at| at - hand.now).expect("a moment");
    assert!(after > 1_200 * MS, "{after:?}");
}

#[test]
fn an_explanation_says_when_the_second_call_would_begin() {
    let mut hand = with_budget(specs());
    let model = hand.model("m");
    let whole = Facts { stream: false, ..CHAT };
    let mut after = |facts: &Facts| hand.engine.explain(&model, facts, None, hand.now).hedge_after;
    assert_eq!((after(&CHAT), after(&whole)), (Some(AFTER), None));
    // Two calls may cost more than a highest price, and the second one goes elsewhere.
    let alone = Facts { wishes: Wishes { no_fallback: true, ..Wishes::NONE }, ..CHAT };
    let cheap = Facts { wishes: Wishes { max_cost: Some(NanoUsd(u64::MAX)), ..Wishes::NONE }, ..CHAT };
    let weighted = Facts { wishes: Wishes { strategy: Some(StrategyName::Weighted), ..Wishes::NONE }, ..CHAT };
    assert_eq!([alone, cheap, weighted].map(|facts| after(&facts)), [None; 3]);
}

/// A hanging upstream is left, although every one of its calls was cancelled.
#[test]
fn a_call_that_was_cancelled_is_known_to_have_waited() {
    let mut hand = with_budget(specs());
    for _ in 0..4 {
        let mut request = hand.request("m");
        let Action::Start(start) = hand.arrived(&mut request) else { panic!("it waits") };
        if start.attempt.target == 1 {
            hand.engine.left(&mut request, hand.now);
            break;
        }
        hand.now = start.hedge_at.expect("a moment");
        hand.engine.hedge(&mut request, hand.now).expect("a second call");
        hand.engine.won(&mut request, 1, hand.now);
        hand.serve(request);
    }
    let (_, start) = hand.begin();
    assert_eq!(start.attempt.target, 1);
}

/// What starts a worker, or shows whether an upstream is back, runs its course.
#[test]
fn a_call_that_shows_something_about_its_upstream_has_no_second_one() {
    let mut cold = with_budget(specs());
    cold.has_running(0);
    let named = Some(Named { target: 1, falls_back: false });
    let m = cold.model("m");
    // Calls to `b` alone let `a` be due for a probe.
    (0..20).for_each(|_| {
        let mut request = RequestState::new(m.clone(), CHAT, named, cold.now + 60 * S);
        started(cold.arrived(&mut request));
        cold.pass(S);
        cold.serve(request);
        cold.has_running(0);
    });
    let (_, start) = begin_at_a(&mut cold);
    assert_eq!(start.hedge_at, None, "it starts a worker");
}

/// The upstream is called once more without what it refused, as without a second call.
#[test]
fn a_refusal_beside_another_call_that_may_be_repeated_rules_nobody_out() {
    let mut hand = with_budget(specs());
    let mut request = two_calls(&mut hand);
    let adjustment = Adjustment::Without("stream_options".to_owned());
    let refused = Error { again: Some(adjustment.clone()), ..error(ErrorKind::Refused) };
    hand.engine.one_failed(&mut request, 1, refused, hand.now, &mut hand.rng);
    let until = waits(&hand.failed(&mut request, ErrorKind::Refused));
    hand.pass(until - hand.now);
    let start = started(hand.timer(&mut request));
    assert_eq!((start.attempt.target, start.adjustment), (1, Some(adjustment)));
}

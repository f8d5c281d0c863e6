//! Who is held gets room in order, one after the other, and whoever needs none passes it on.

use provider::{ErrorKind, NanoUsd, PicoUsd, Price, Tariff};
use router::{Action, Decision, Facts, Limits, Reason, RequestState, RouterError, StrategyName, UpstreamSpec, Wishes};

use crate::hand::{CHAT, Hand, MS, S, gave_up, model, started, upstream, waits};

/// Models with these names, in which a first token may take two seconds, and the one target `a`.
fn models(names: &[&str], a: UpstreamSpec) -> Hand {
    let specs = names.iter().map(|name| {
        let mut spec = model(name, StrategyName::Balanced, &[("a", 1.0)]);
        spec.slo_first_token = Some(2 * S);
        spec
    });
    Hand::new(vec![a], specs.collect())
}

/// A model `m` whose one target takes one call, and that call.
fn busy() -> (Hand, RequestState) {
    let mut a = upstream("a");
    a.max_in_flight = 1;
    let mut hand = models(&["m", "n"], a);
    let (request, _) = hand.begin();
    (hand, request)
}

/// A request to `name` comes, and is held.
fn held(hand: &mut Hand, name: &str) -> RequestState {
    let mut request = hand.request(name);
    waits(&hand.arrived(&mut request));
    request
}

#[test]
fn room_goes_in_order_to_those_that_can_be_in_time_and_then_to_the_newest() {
    let (mut hand, mut call) = busy();
    let mut waiting = Vec::new();
    for pause in [0, 300, 700, 200] {
        hand.pass(pause * MS);
        waiting.push(held(&mut hand, "m"));
    }
    hand.pass(100 * MS);
    let mut order = Vec::new();
    while !waiting.is_empty() {
        hand.serve(call);
        let woken = hand.woken();
        let [number] = woken[..] else { panic!("one at a time: {woken:?}") };
        let at = waiting.iter().position(|request| request.number() == number).expect("one that waits");
        call = waiting.remove(at);
        started(hand.timer(&mut call));
        order.push(number);
    }
    assert_eq!(order, [3, 4, 2, 1]);
}

#[test]
fn room_passes_on_from_who_left_to_the_next() {
    let (mut hand, call) = busy();
    let leaving = [held(&mut hand, "m"), held(&mut hand, "m")];
    let mut last = held(&mut hand, "m");
    hand.serve(call);
    for mut request in leaving {
        assert_eq!(hand.woken(), [request.number()]);
        hand.engine.left(&mut request, hand.now);
    }
    assert_eq!(hand.woken(), [last.number()]);
    started(hand.timer(&mut last));
}

/// What is left of a limit may be too little for the first one and enough for the second.
#[test]
fn room_passes_on_from_who_cannot_use_it() {
    let mut a = upstream("a");
    a.limits = Limits { tokens_per_minute: Some(60_000), ..Limits::default() };
    let mut hand = models(&["m"], a);
    let arrives = |hand: &mut Hand, prompt_tokens: u64| {
        let facts = Facts { prompt_tokens, max_tokens: Some(1), ..CHAT };
        let mut request = RequestState::new(hand.model("m"), facts, None, hand.now + 60 * S).numbered(prompt_tokens);
        (hand.arrived(&mut request), request)
    };
    started(arrives(&mut hand, 59_900).0);
    let (action, mut long) = arrives(&mut hand, 6_000);
    waits(&action);
    hand.pass(MS);
    let (action, mut short) = arrives(&mut hand, 300);
    waits(&action);
    hand.pass(500 * MS);
    waits(&hand.timer(&mut long));
    assert_eq!(hand.woken(), [300]);
    started(hand.timer(&mut short));
}

/// Nine may cost no more than they do at `a`, and wait before one that may go anywhere.
#[test]
fn those_that_are_held_to_a_price_do_not_hold_up_one_that_is_not() {
    let priced = |id: &str, usd: u64| {
        let rate = PicoUsd(usd * 1_000_000);
        UpstreamSpec { tariff: Some(Tariff::Tokens(Price::new(rate, rate))), max_in_flight: 1, ..upstream(id) }
    };
    let upstreams = vec![priced("a", 1), priced("b", 10)];
    let mut hand = Hand::new(upstreams, vec![model("m", StrategyName::Balanced, &[("a", 0.5), ("b", 0.5)])]);
    let calls = [hand.begin(), hand.begin()];
    let wishes = Wishes { max_cost: Some(NanoUsd(5_000_000)), ..Wishes::NONE };
    let mut waiting: Vec<_> = (100..109)
        .map(|number| {
            let deadline = hand.now + 60 * S;
            let facts = Facts { wishes, ..CHAT };
            let mut request = RequestState::new(hand.model("m"), facts, None, deadline).numbered(number);
            waits(&hand.arrived(&mut request));
            request
        })
        .collect();
    hand.pass(MS);
    waiting.push(held(&mut hand, "m"));
    let any = waiting[9].number();
    let mut began = Vec::new();
    for (call, _) in calls {
        hand.serve(call);
        while let Some(number) = hand.engine.take_woken() {
            let request = waiting.iter_mut().find(|request| request.number() == number).expect("one that waits");
            if let Action::Start(start) = hand.timer(request) {
                began.push((number, start.attempt.target));
            }
        }
    }
    began.sort_unstable();
    assert_eq!(began, [(any, 1), (100, 0)]);
}

/// Somebody waits for each of the others.
#[test]
fn one_of_a_batch_goes_after_the_others_however_late_they_are() {
    let (mut hand, mut call) = busy();
    let late = held(&mut hand, "m");
    hand.pass(S);
    let facts = Facts { in_batch: true, ..CHAT };
    let mut entry = RequestState::new(hand.model("m"), facts, None, hand.now + 60 * S).numbered(u64::MAX);
    waits(&hand.arrived(&mut entry));
    hand.pass(3 * S);
    let new = held(&mut hand, "m");
    for mut next in [new, late, entry] {
        hand.serve(call);
        assert_eq!(hand.woken(), [next.number()]);
        started(hand.timer(&mut next));
        call = next;
    }
}

#[test]
fn a_new_request_takes_no_room_that_is_kept_for_one_that_waits() {
    let (mut hand, call) = busy();
    let mut first = held(&mut hand, "m");
    hand.pass(100 * MS);
    hand.serve(call);
    let mut others = ["m", "n"].map(|name| held(&mut hand, name));
    assert_eq!(hand.woken(), [first.number()]);
    started(hand.timer(&mut first));
    hand.serve(first);
    assert_eq!(hand.woken(), [others[0].number(), others[1].number()], "of each model");
    started(hand.timer(&mut others[1]));
    waits(&hand.timer(&mut others[0]));
}

#[test]
fn a_new_request_that_can_be_in_time_goes_before_one_that_is_late() {
    let (mut hand, call) = busy();
    let mut late = held(&mut hand, "m");
    hand.pass(3 * S);
    hand.serve(call);
    assert_eq!(hand.woken(), [late.number()]);
    let (new, start) = hand.begin();
    assert_eq!(start.attempt.reason, Reason::Share);
    waits(&hand.timer(&mut late));
    hand.serve(new);
    assert_eq!(hand.woken(), [late.number()]);
    assert_eq!(started(hand.timer(&mut late)).attempt.reason, Reason::Hold);
}

/// What changes by time alone is seen although nothing happens, also when the one that looked for it has left.
#[test]
fn one_of_those_that_wait_looks_for_a_target_again_and_again() {
    let (mut hand, _call) = busy();
    let mut waiting: Vec<_> = (0..20).map(|_| held(&mut hand, "m")).collect();
    let next = |waiting: &[RequestState]| (0..waiting.len()).min_by_key(|at| waiting[*at].waits_until());
    while let Some(at) = next(&waiting) {
        let due = waiting[at].waits_until();
        assert!(due <= hand.now + S / 10, "{due:?} at {:?}", hand.now);
        hand.now = due;
        waits(&hand.timer(&mut waiting[at]));
        wake(&mut hand, &mut waiting);
        let at = next(&waiting).expect("one that waits");
        hand.engine.left(&mut waiting.remove(at), hand.now);
        wake(&mut hand, &mut waiting);
    }
}

/// Those that are to be woken are, and find no room.
fn wake(hand: &mut Hand, waiting: &mut [RequestState]) {
    while let Some(number) = hand.engine.take_woken() {
        let request = waiting.iter_mut().find(|request| request.number() == number).expect("one that waits");
        waits(&hand.timer(request));
    }
}

#[test]
fn no_more_than_so_many_are_held() {
    let (mut hand, call) = busy();
    let mut waiting: Vec<_> = (0..4_096).map(|_| held(&mut hand, "m")).collect();
    let mut one_more = hand.request("m");
    let refused = gave_up(hand.arrived(&mut one_more));
    assert!(matches!(refused, RouterError::NoUpstream { retry_after } if retry_after == S), "{refused}");
    hand.engine.left(&mut waiting[7], hand.now);
    held(&mut hand, "m");
    hand.serve(call);
    assert_eq!(hand.woken(), [waiting[0].number()]);
}

/// A wait for the next repeat is no wait for room.
#[test]
fn a_request_that_is_woken_too_early_waits_on() {
    let mut hand = Hand::single();
    let (mut request, _) = hand.begin();
    let until = waits(&hand.failed(&mut request, ErrorKind::Unavailable));
    assert_eq!(waits(&hand.timer(&mut request)), until);
    hand.now = until;
    assert!(matches!(hand.timer(&mut request), Action::Start(_)));
}

#[test]
fn a_request_that_waits_on_has_no_decision_to_record() {
    let (mut hand, _call) = busy();
    let _first = held(&mut hand, "m");
    let mut second = held(&mut hand, "m");
    let mut decision = Decision::default();
    hand.engine.swap_decision(&mut decision);
    assert_eq!(decision.excluded.len(), 1, "its own");
    let _third = held(&mut hand, "m");
    waits(&hand.timer(&mut second));
    let mut none = Decision::default();
    hand.engine.swap_decision(&mut none);
    assert!(none.candidates.is_empty() && none.excluded.is_empty(), "not that of another one");
}

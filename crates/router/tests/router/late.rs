//! Requests that will miss their model's SLO, and those that may still meet it.

use router::{Action, Decision, Excluded, RequestState, RouterError, StrategyName};

use crate::hand::{CHAT, Hand, S, model, started, upstream, waits};

/// A model with an SLO of two seconds whose targets, which take one call each and no images, are full.
fn full() -> (Hand, [RequestState; 2]) {
    let (mut a, mut b) = (upstream("a"), upstream("b"));
    (a.max_in_flight, b.max_in_flight) = (1, 1);
    (a.features.images, b.features.images) = (false, false);
    let mut spec = model("m", StrategyName::Balanced, &[("a", 0.8), ("b", 0.2)]);
    spec.slo_first_token = Some(2 * S);
    let mut hand = Hand::new(vec![a, b], vec![spec]);
    let busy = [hand.begin().0, hand.begin().0];
    (hand, busy)
}

#[test]
fn the_record_of_a_late_request_says_that_others_go_first() {
    let (mut hand, [first, _second]) = full();
    let mut late = hand.request("m");
    waits(&hand.arrived(&mut late));
    hand.pass(3 * S);
    let mut fresh = hand.request("m");
    waits(&hand.arrived(&mut fresh));
    hand.engine.left(&mut fresh, hand.now);
    waits(&hand.timer(&mut late));
    let mut decision = Decision::default();
    hand.engine.swap_decision(&mut decision);
    assert_eq!(decision.excluded, [(0, Excluded::Yields), (1, Excluded::Yields)]);
    hand.serve(first);
    hand.pass(3 * S);
    started(hand.timer(&mut late));
}

/// Late requests yield to one that could be in time and finds no room, not to one that no target can serve.
#[test]
fn what_no_target_can_serve_keeps_no_late_request_waiting() {
    let (mut hand, busy) = full();
    let mut late = hand.request("m");
    waits(&hand.arrived(&mut late));
    hand.pass(3 * S);
    for request in busy {
        hand.serve(request);
    }
    let mut facts = CHAT;
    facts.features.images = true;
    let mut image = RequestState::new(hand.model("m"), facts, None, hand.now + 60 * S);
    assert!(matches!(hand.arrived(&mut image), Action::GiveUp(RouterError::Unsupported { .. })));
    started(hand.timer(&mut late));
}

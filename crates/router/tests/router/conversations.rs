//! A conversation stays with the upstream that holds its prompt cache, as far as share and health allow.

use std::collections::HashMap;

use provider::{ErrorKind, PicoUsd, Price, Tariff};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use router::{Facts, Reason, RequestState, StrategyName, UpstreamSpec};

use crate::hand::{CHAT, Hand, MS, S, gave_up, model, started, upstream};

/// The target that serves a turn, and why.
fn turn(hand: &mut Hand, conversation: u64) -> (usize, Reason) {
    let mut request = request(hand, conversation);
    let start = started(hand.arrived(&mut request));
    hand.pass(20 * MS);
    hand.serve(request);
    (start.attempt.target, start.attempt.reason)
}

fn request(hand: &Hand, conversation: u64) -> RequestState {
    let (model, facts) = (hand.model("m"), Facts { conversation: Some(conversation), prompt_tokens: 900, ..CHAT });
    let deadline = hand.now + model.spec.deadline;
    RequestState::new(model, facts, None, deadline)
}

#[test]
fn the_turns_of_a_conversation_stay_together_while_the_shares_hold() {
    for strategy in [StrategyName::Balanced, StrategyName::Cost] {
        let mut hand = Hand::pair(strategy);
        let mut before: HashMap<u64, usize> = HashMap::new();
        let (mut moved, mut stayed, mut to_a) = (0, 0, 0);
        let mut order = SmallRng::seed_from_u64(3);
        for _ in 0..1_600 {
            let conversation = order.random_range(0..200);
            let (target, reason) = turn(&mut hand, conversation);
            to_a += u32::from(target == 0);
            stayed += u32::from(reason == Reason::Stay);
            moved += u32::from(before.insert(conversation, target).is_some_and(|before| before != target));
        }
        assert!(moved <= 140, "{strategy:?}: {moved} of 1,400 turns went elsewhere");
        if strategy == StrategyName::Balanced {
            assert!((1_264..=1_296).contains(&to_a), "{to_a} of 1,600 requests are a share of 0.8");
            assert!(stayed >= 200, "the reason is told: {stayed}");
        }
    }
}

/// Load of one short prompt, over and over, keeps its exact order.
#[test]
fn a_short_prompt_is_sent_wherever_it_is_due() {
    let mut hand = Hand::pair(StrategyName::Balanced);
    let reasons: Vec<Reason> = (0..100)
        .map(|_| {
            let mut request =
                RequestState::new(hand.model("m"), Facts { conversation: Some(7), ..CHAT }, None, hand.now + 60 * S);
            let reason = started(hand.arrived(&mut request)).attempt.reason;
            hand.serve(request);
            reason
        })
        .collect();
    assert!(reasons.iter().all(|reason| *reason == Reason::Share), "{reasons:?}");
}

#[test]
fn exact_shares_come_before_conversations() {
    let mut hand = Hand::pair(StrategyName::Weighted);
    let to_a = (0..100).filter(|_| turn(&mut hand, 7).0 == 0).count();
    assert_eq!(to_a, 80);
}

#[test]
fn a_conversation_moves_away_from_an_upstream_that_fails_and_stays_where_it_went() {
    let mut hand = Hand::pair(StrategyName::Balanced);
    let (holder, _) = turn(&mut hand, 7);
    let mut failed = request(&hand, 7);
    assert_eq!(started(hand.arrived(&mut failed)).attempt.target, holder);
    let other = started(hand.failed(&mut failed, ErrorKind::Connect)).attempt.target;
    assert_ne!(other, holder);
    hand.serve(failed);
    hand.pass(S);
    assert_eq!(turn(&mut hand, 7).0, other);
}

#[test]
fn a_turn_that_nobody_answered_is_not_remembered() {
    let mut hand = Hand::single();
    let mut request = request(&hand, 7);
    started(hand.arrived(&mut request));
    drop(gave_up(hand.failed(&mut request, ErrorKind::InvalidRequest)));
    let facts = Facts { conversation: Some(7), prompt_tokens: 900, ..CHAT };
    let decision = hand.engine.explain(&hand.table.model("m").expect("a model").clone(), &facts, None, hand.now);
    assert!(decision.candidates.iter().all(|candidate| !candidate.holds_cache));
}

#[test]
fn a_prompt_that_is_cached_has_the_price_of_cached_tokens() {
    let price = Price { cached_input: PicoUsd(100_000), ..Price::new(PicoUsd(1_000_000), PicoUsd(0)) };
    let a = UpstreamSpec { tariff: Some(Tariff::Tokens(price)), ..upstream("a") };
    let mut hand = Hand::new(vec![a], vec![model("m", StrategyName::Cost, &[("a", 1.0)])]);
    let costs = [7, 7, 8].map(|conversation| {
        let facts = *request(&hand, conversation).facts();
        let decision = hand.engine.explain(&hand.model("m"), &facts, None, hand.now);
        let cost = decision.candidates[0].expected_cost.expect("a price").0;
        turn(&mut hand, conversation);
        cost
    });
    assert_eq!(costs, [900_000, 90_000, 900_000]);
}

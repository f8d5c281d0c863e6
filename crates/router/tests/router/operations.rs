//! Calls of which some have no answer that is written token by token, and that not every target serves.

use provider::{Operation, PicoUsd, Price, Tariff};
use router::{Facts, RequestState, StrategyName, UpstreamSpec};

use crate::hand::{CHAT, Hand, S, model, started, upstream};

/// How many of `count` calls go to each of three targets.
fn serve(hand: &mut Hand, operation: Operation, count: usize) -> [usize; 3] {
    let mut to = [0; 3];
    for _ in 0..count {
        let facts = Facts { operation, ..CHAT };
        let mut request = RequestState::new(hand.model("m"), facts, None, hand.now + 60 * S);
        to[started(hand.arrived(&mut request)).attempt.target] += 1;
        hand.pass(S / 10);
        hand.serve(request);
    }
    to
}

/// `a` with a share of 0.5, `b` with 0.3, and `c` with 0.2, which serves chats alone.
fn three() -> Hand {
    let upstreams =
        vec![upstream("a"), upstream("b"), UpstreamSpec { operations: vec![Operation::Chat], ..upstream("c") }];
    Hand::new(upstreams, vec![model("m", StrategyName::Balanced, &[("a", 0.5), ("b", 0.3), ("c", 0.2)])])
}

#[test]
fn calls_that_some_targets_serve_are_split_among_those_and_change_no_split_of_chats() {
    let mut hand = three();
    for _ in 0..3 {
        serve(&mut hand, Operation::Chat, 1);
        let [a, b, c] = serve(&mut hand, Operation::Completions, 80);
        assert!((49..=51).contains(&a) && (29..=31).contains(&b) && c == 0, "{a}, {b} and {c} at shares of 5 to 3");
    }
    let [a, b, c] = serve(&mut hand, Operation::Chat, 97);
    assert!((48..=51).contains(&a) && (28..=31).contains(&b) && (18..=21).contains(&c), "{a}, {b} and {c} of 97 chats");
}

/// A whole answer that a model writes may take its 4,096 tokens; no other call waits so long for its first byte.
#[test]
fn a_call_without_tokens_to_write_falls_back_after_the_time_for_a_first_token() {
    let limit = |operation: Operation, audio_ms: u64| {
        let mut hand = Hand::pair(StrategyName::Weighted);
        let facts = Facts { operation, stream: false, audio_ms, ..CHAT };
        let mut request = RequestState::new(hand.model("m"), facts, None, hand.now + 60 * S);
        started(hand.arrived(&mut request)).limit - hand.now
    };
    assert_eq!(limit(Operation::Rerank, 0), 5 * S);
    assert_eq!(limit(Operation::Tokenize, 0), 5 * S);
    assert_eq!(limit(Operation::Transcriptions, 40_000), 15 * S, "a quarter of the recording more");
    assert_eq!(limit(Operation::Chat, 0), 30 * S, "half of the time that is left");
}

#[test]
fn a_recording_is_not_free_where_tokens_have_a_price_and_seconds_have_none() {
    let priced = |id: &str, price| UpstreamSpec { tariff: Some(Tariff::Tokens(price)), ..upstream(id) };
    let by_token = Price::new(PicoUsd(1_000_000), PicoUsd(1_000_000));
    let by_second = Price { audio_second: PicoUsd(100_000_000), ..Price::default() };
    let upstreams = vec![priced("a", by_token), priced("b", by_second)];
    let mut hand = Hand::new(upstreams, vec![model("m", StrategyName::Cost, &[("a", 0.5), ("b", 0.5)])]);
    let facts =
        Facts { operation: Operation::Transcriptions, stream: false, audio_ms: 9_000, prompt_tokens: 0, ..CHAT };
    let mut request = RequestState::new(hand.model("m"), facts, None, hand.now + 60 * S);
    assert_eq!(started(hand.arrived(&mut request)).attempt.target, 1, "the one whose price is known");
}

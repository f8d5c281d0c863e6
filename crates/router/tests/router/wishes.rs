//! What a client wants for one request alone: it changes where that request goes, and nothing for the others.

use std::time::Duration;

use provider::{ErrorKind, Features, NanoUsd, Operation, Phase, PicoUsd, Price, Quota, Tariff};
use router::{Action, BreakerState, Facts, Named, RequestState, Role, RouterError, StrategyName, UpstreamSpec, Wishes};

use crate::hand::{CHAT, Hand, S, TIMEOUT, gave_up, model, started, upstream, waits};

const NO_FALLBACK: Wishes = Wishes { no_fallback: true, ..Wishes::NONE };

fn by(strategy: StrategyName) -> Wishes {
    Wishes { strategy: Some(strategy), ..Wishes::NONE }
}

fn at_most(nano_usd: u64) -> Wishes {
    Wishes { max_cost: Some(NanoUsd(nano_usd)), ..Wishes::NONE }
}

fn facts(wishes: Wishes) -> Facts {
    Facts { wishes, ..CHAT }
}

fn wishing(hand: &Hand, wishes: Wishes) -> RequestState {
    RequestState::new(hand.model("m"), facts(wishes), None, hand.now + 60 * S)
}

/// An upstream with a price in US dollars for a million tokens.
fn priced(id: &str, usd: u64) -> UpstreamSpec {
    let rate = PicoUsd(usd * 1_000_000);
    UpstreamSpec { tariff: Some(Tariff::Tokens(Price::new(rate, rate))), ..upstream(id) }
}

/// `a` with a share of 0.8 at one dollar, `b` with 0.2 at ten; a chat may cost $0.004121 at `a`.
fn pair(strategy: StrategyName) -> Hand {
    let upstreams = vec![priced("a", 1), priced("b", 10)];
    Hand::new(upstreams, vec![model("m", strategy, &[("a", 0.8), ("b", 0.2)])])
}

/// How many of `count` requests with these wishes go to each target.
fn serve(hand: &mut Hand, wishes: Wishes, count: usize) -> [usize; 2] {
    let mut to = [0; 2];
    for _ in 0..count {
        let mut request = wishing(hand, wishes);
        to[started(hand.arrived(&mut request)).attempt.target] += 1;
        hand.pass(S / 10);
        hand.serve(request);
    }
    to
}

#[test]
fn another_strategy_orders_the_targets_and_leaves_the_shares_of_the_others() {
    let mut hand = pair(StrategyName::Weighted);
    let (mut cheapest, mut by_share) = (0, [0; 2]);
    for _ in 0..50 {
        cheapest += serve(&mut hand, by(StrategyName::Cost), 3)[0];
        let [a, b] = serve(&mut hand, Wishes::NONE, 2);
        by_share = [by_share[0] + a, by_share[1] + b];
    }
    assert_eq!(cheapest, 150, "all go where it is cheapest");
    assert_eq!(by_share, [80, 20], "to the request, as if the others had not been there");
    let model = hand.model("m");
    let explained = hand.engine.explain(&model, &facts(by(StrategyName::Cost)), None, hand.now);
    assert_eq!(explained.strategy, StrategyName::Cost, "the record says what ordered them");
}

#[test]
fn shares_that_only_some_requests_want_are_held_among_those() {
    let mut hand = pair(StrategyName::Cost);
    let mut by_share = [0; 2];
    for _ in 0..50 {
        assert_eq!(serve(&mut hand, Wishes::NONE, 3), [3, 0]);
        let [a, b] = serve(&mut hand, by(StrategyName::Weighted), 2);
        by_share = [by_share[0] + a, by_share[1] + b];
    }
    assert_eq!(by_share, [80, 20]);
}

#[test]
fn without_fallback_the_first_upstream_alone_is_asked_and_has_all_the_time() {
    let mut hand = pair(StrategyName::Weighted);
    let mut request = wishing(&hand, NO_FALLBACK);
    hand.pass(54 * S);
    let start = started(hand.arrived(&mut request));
    assert_eq!((start.attempt.target, start.limit), (0, hand.now + 5 * S), "not half of the six seconds that are left");

    let mut request = wishing(&hand, NO_FALLBACK);
    started(hand.arrived(&mut request));
    for _ in 0..2 {
        hand.now = waits(&hand.failed(&mut request, ErrorKind::Unavailable));
        let again = started(hand.timer(&mut request)).attempt;
        assert_eq!((again.target, again.role), (0, Role::Retry));
    }
    let RouterError::Failed { error, attempts, .. } = gave_up(hand.failed(&mut request, ErrorKind::Unavailable)) else {
        panic!("it failed")
    };
    assert_eq!((attempts, hand.in_flight("b")), (3, 0));
    assert!(error.message.starts_with("the upstream failed, and the request allows no other; it said: "), "{error}");

    let mut request = wishing(&hand, NO_FALLBACK);
    let first = started(hand.arrived(&mut request)).attempt.target;
    let refused = gave_up(hand.failed(&mut request, TIMEOUT));
    assert!(matches!(refused, RouterError::Failed { attempts: 1, .. }), "{first}: {refused}");
}

#[test]
fn a_highest_price_leaves_the_upstreams_where_it_holds() {
    let mut hand = pair(StrategyName::Weighted);
    assert_eq!(serve(&mut hand, at_most(41_209_999), 20), [20, 0], "b may cost a nano-dollar more");
    assert_eq!(serve(&mut hand, at_most(4_121_000), 20), [20, 0], "a may cost just that");
    let [_, at_b] = serve(&mut hand, at_most(41_210_000), 20);
    assert!(at_b > 0, "both may");

    let mut request = wishing(&hand, at_most(5_000_000));
    started(hand.arrived(&mut request));
    let failed = gave_up(hand.failed(&mut request, TIMEOUT));
    assert!(matches!(failed, RouterError::Failed { attempts: 1, .. }), "no dearer one takes its place: {failed}");

    let mut request = wishing(&hand, at_most(4_120_999));
    let refused = gave_up(hand.arrived(&mut request));
    let RouterError::TooDear { max_cost, cheapest } = refused else { panic!("{refused}") };
    assert_eq!((max_cost, cheapest), (NanoUsd(4_120_999), Some(NanoUsd(4_121_000))));

    let named = Some(Named { target: 1, falls_back: false });
    let mut request = RequestState::new(hand.model("m"), facts(at_most(5_000_000)), named, hand.now + 60 * S);
    let refused = gave_up(hand.arrived(&mut request));
    assert!(matches!(refused, RouterError::TooDear { cheapest: Some(NanoUsd(41_210_000)), .. }), "{refused}");
}

/// The upstream is sent its own default where the client names no limit, as far as its context has room for it.
#[test]
fn a_highest_price_counts_the_limit_that_is_sent() {
    let limited = |id: &str, default_max_tokens: u64, context_tokens: Option<u64>| UpstreamSpec {
        default_max_tokens: Some(default_max_tokens),
        context_tokens,
        ..priced(id, 1)
    };
    let cost = |upstream: &UpstreamSpec, facts: &Facts| facts.reserved_cost(upstream).map(|cost| cost.0);
    // A thousand nano-dollars a token, and 25 tokens of prompt.
    assert_eq!(cost(&limited("a", 32_000, None), &CHAT), Some(32_025_000));
    assert_eq!(cost(&limited("a", 500, None), &CHAT), Some(525_000));
    assert_eq!(cost(&limited("a", 32_000, Some(10_281)), &CHAT), Some(10_025_000), "25, 256 to spare and the answer");
    assert_eq!(
        cost(&limited("a", 32_000, None), &Facts { max_tokens: Some(10), ..CHAT }),
        Some(35_000),
        "the client's"
    );
    assert_eq!(cost(&limited("a", 500, None), &Facts { choices: 3, ..CHAT }), Some(1_525_000), "of each choice");

    let upstreams = vec![limited("a", 32_000, None), limited("b", 500, None)];
    let mut hand = Hand::new(upstreams, vec![model("m", StrategyName::Weighted, &[("a", 0.8), ("b", 0.2)])]);
    assert_eq!(serve(&mut hand, at_most(4_121_000), 10), [0, 10], "4,096 tokens would do, and more may come");
}

#[test]
fn what_is_too_dear_for_one_client_moves_no_held_share_of_the_others() {
    let mut hand = pair(StrategyName::Balanced);
    let mut others = [0; 2];
    for _ in 0..50 {
        assert_eq!(serve(&mut hand, at_most(41_209_999), 5), [5, 0]);
        let [a, b] = serve(&mut hand, Wishes::NONE, 5);
        others = [others[0] + a, others[1] + b];
    }
    assert!((195..=205).contains(&others[0]), "{others:?} of 250, where 200 are due");
}

#[test]
fn an_upstream_without_a_price_is_not_cheap() {
    let mut hand = Hand::new(
        vec![upstream("a"), priced("b", 10)],
        vec![model("m", StrategyName::Weighted, &[("a", 0.8), ("b", 0.2)])],
    );
    assert_eq!(serve(&mut hand, at_most(1_000_000_000), 10), [0, 10]);
    let mut hand = Hand::pair(StrategyName::Weighted);
    let mut request = wishing(&hand, at_most(1_000_000_000));
    let refused = gave_up(hand.arrived(&mut request));
    assert!(matches!(refused, RouterError::TooDear { cheapest: None, .. }), "{refused}");
}

/// A request whose deadline is so soon arrives, and nobody answers it. Returns what its first attempt failed with.
fn hurry(hand: &mut Hand, deadline: Duration) -> ErrorKind {
    hurry_with(hand, CHAT, deadline)
}

fn hurry_with(hand: &mut Hand, facts: Facts, deadline: Duration) -> ErrorKind {
    let mut request = RequestState::new(hand.model("m"), facts, None, hand.now + deadline).hurried();
    let start = started(hand.arrived(&mut request));
    hand.now = start.limit;
    let error = hand.engine.overdue(&request, &start.attempt, hand.now);
    let kind = error.kind;
    let action = hand.engine.failed(&mut request, error, hand.now, &mut hand.rng);
    if let Action::Start(start) = action {
        hand.now = start.limit;
        let error = hand.engine.overdue(&request, &start.attempt, hand.now);
        gave_up(hand.engine.failed(&mut request, error, hand.now, &mut hand.rng));
    }
    kind
}

/// A request that waits as long as the model allows is answered by each upstream, after so much time.
fn serve_patiently(hand: &mut Hand, takes: Duration) {
    for target in 0..2 {
        let named = Some(Named { target, falls_back: false });
        let mut request = RequestState::new(hand.model("m"), CHAT, named, hand.now + 60 * S);
        started(hand.arrived(&mut request));
        hand.pass(takes);
        hand.serve(request);
    }
}

/// How long requests with this deadline that nobody answers arrive until the breaker of `a` opens; `None` if it never does.
fn opens_after(hand: &mut Hand, facts: Facts, deadline: Duration) -> Option<Duration> {
    let began = hand.now;
    while hand.breaker("a") == BreakerState::Closed {
        if hand.now > began + 120 * S {
            return None;
        }
        hurry_with(hand, facts, deadline);
    }
    Some(hand.now - began)
}

/// By the model's own deadline, three in a row open a breaker.
#[test]
fn deadlines_of_clients_that_no_upstream_can_meet_open_no_breaker() {
    let mut hand = pair(StrategyName::Weighted);
    for _ in 0..30 {
        assert_eq!(hurry(&mut hand, S / 1000), ErrorKind::Timeout(Phase::Deadline));
        assert_eq!(hurry(&mut hand, S * 9 / 10), ErrorKind::Timeout(Phase::Deadline));
    }
    assert_eq!([hand.breaker("a"), hand.breaker("b")], [BreakerState::Closed; 2], "less than a second says nothing");
    for _ in 0..30 {
        assert_eq!(hurry(&mut hand, 3 * S), TIMEOUT, "the other one is asked for the rest of the time");
        serve_patiently(&mut hand, S / 2);
    }
    assert_eq!([hand.breaker("a"), hand.breaker("b")], [BreakerState::Closed; 2], "others are answered");
    // Who had as long as anybody's first token may take is silent, whoever hurries.
    for _ in 0..3 {
        hurry(&mut hand, 30 * S);
    }
    assert_ne!(hand.breaker("a"), BreakerState::Closed);
}

/// After ten seconds without any answer each further one counts as if it had had all its time.
#[test]
fn an_upstream_that_answers_nobody_is_found_out_although_all_hurry() {
    for deadline in [2 * S, 3 * S, 4 * S] {
        let mut hand = pair(StrategyName::Weighted);
        serve_patiently(&mut hand, S / 2);
        let after = opens_after(&mut hand, CHAT, deadline).unwrap_or_default();
        assert!((10 * S..30 * S).contains(&after), "{deadline:?}: {after:?}");
    }
    // Where there is no other upstream, the deadline itself ends each call.
    let mut hand = Hand::single();
    let mut kinds = Vec::new();
    while hand.breaker("a") == BreakerState::Closed {
        kinds.push(hurry(&mut hand, 4 * S));
        assert!(kinds.len() < 9, "{kinds:?}");
    }
    assert_eq!(kinds, [[ErrorKind::Timeout(Phase::Deadline); 2].as_slice(), &[TIMEOUT; 3]].concat());
}

#[test]
fn calls_that_were_cut_short_long_ago_are_no_evidence() {
    for (pause, is_found_out) in [(60 * S, false), (15 * S, true)] {
        let mut hand = Hand::single();
        for _ in 0..4 {
            hurry(&mut hand, 4 * S);
            hand.pass(pause);
        }
        assert_eq!(hand.breaker("a") != BreakerState::Closed, is_found_out, "{pause:?}: between them nobody asked");
    }
}

/// A probe of the opened breaker that is cut short as well does not close it, and its next pause is longer.
#[test]
fn a_hurried_probe_that_nobody_answers_opens_the_breaker_again() {
    let mut hand = Hand::single();
    assert!(opens_after(&mut hand, CHAT, 4 * S).is_some());
    hand.pass(10 * S);
    assert_eq!(hand.breaker("a"), BreakerState::HalfOpen);
    hurry(&mut hand, 4 * S);
    assert_eq!(hand.breaker("a"), BreakerState::Open);
    hand.pass(10 * S);
    let (request, _) = hand.begin();
    hand.serve(request);
    assert_eq!(hand.breaker("a"), BreakerState::Closed);
    for _ in 0..2 {
        hurry(&mut hand, 4 * S);
    }
    assert_eq!(hand.breaker("a"), BreakerState::Closed, "what was before the answer counts no more");
}

/// The first upstream has one and a half seconds each time.
#[test]
fn answers_that_have_less_time_than_they_take_are_no_evidence() {
    let whole = Facts { stream: false, ..CHAT };
    let mut hand = pair(StrategyName::Weighted);
    assert_eq!(opens_after(&mut hand, whole, 3 * S), None, "a usual one takes four");
    assert!(
        opens_after(&mut hand, Facts { max_tokens: Some(10), ..whole }, 3 * S).is_some(),
        "ten tokens would have come"
    );

    let mut hand = pair(StrategyName::Weighted);
    for _ in 0..20 {
        serve_patiently(&mut hand, 4 * S);
    }
    assert_eq!(opens_after(&mut hand, CHAT, 3 * S), None, "its first tokens take four");
}

/// By `weighted`, nothing makes up for what a target cannot take; by `balanced`, the other requests do.
#[test]
fn requests_that_one_target_cannot_take_are_in_no_split_unless_made_up_for() {
    for (strategy, is_by_share) in [(StrategyName::Weighted, false), (StrategyName::Balanced, true)] {
        let mut b = upstream("b");
        (b.features.images, b.context_tokens) = (false, Some(1_000));
        let mut hand = Hand::new(vec![upstream("a"), b], vec![model("m", strategy, &[("a", 0.5), ("b", 0.5)])]);
        let image = Facts { features: Features { images: true, ..CHAT.features }, ..CHAT };
        let long = Facts { body_bytes: 1_000_000, ..CHAT };
        for (facts, is_by_share) in [(CHAT, true), (image, is_by_share), (long, is_by_share)] {
            let mut request = RequestState::new(hand.model("m"), facts, None, hand.now + 60 * S);
            started(hand.arrived(&mut request));
            assert_eq!(request.is_by_share(), is_by_share, "{strategy:?}: {facts:?}");
        }
    }
}

/// An upstream whose slots are all taken by long streams answers nobody else for longer than ten seconds.
#[test]
fn an_upstream_whose_tokens_flow_is_not_silent() {
    let mut hand = Hand::single();
    let (mut stream, _) = hand.begin();
    hand.engine.first_token(&mut stream, Quota::default(), hand.now, &mut hand.rng);
    assert_eq!(opens_after(&mut hand, CHAT, 4 * S), None, "a stream is under way");
    hand.engine.left(&mut stream, hand.now);
    let after = opens_after(&mut hand, CHAT, 4 * S).expect("now nobody is answered");
    assert!((10 * S..30 * S).contains(&after), "counted from the end of the stream: {after:?}");
}

/// Who sets no limit may ask for much more than is usual.
#[test]
fn a_whole_answer_may_be_as_long_as_its_limit_allows() {
    let mut hand = Hand::single();
    for _ in 0..50 {
        let (mut request, _) = hand.begin();
        hand.engine.first_token(&mut request, Quota::default(), hand.now, &mut hand.rng);
        hand.pass(S / 2);
        hand.engine.served(&mut request, Some(40), hand.now);
    }
    let whole = Facts { stream: false, ..CHAT };
    for max_tokens in [None, Some(1_000)] {
        assert_eq!(opens_after(&mut hand, Facts { max_tokens, ..whole }, 3 * S), None, "{max_tokens:?}");
    }
    let embeddings = Facts { operation: Operation::Embeddings, ..whole };
    assert!(opens_after(&mut hand, embeddings, 3 * S).is_some(), "they have no tokens to write");
}

/// Half of so little time would be left unused: nobody is asked in the last second.
#[test]
fn a_deadline_of_a_second_is_the_first_upstreams_alone() {
    let mut hand = pair(StrategyName::Weighted);
    let mut request = RequestState::new(hand.model("m"), CHAT, None, hand.now + S).hurried();
    let start = started(hand.arrived(&mut request));
    assert_eq!(start.limit, hand.now + S);
    hand.pass(S / 2);
    hand.engine.first_token(&mut request, Quota::default(), hand.now, &mut hand.rng);
    assert!(request.is_committed());
}

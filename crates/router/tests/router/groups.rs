//! Which models and upstreams belong together, and what is known of them through changes of the table.

use proptest::{collection::vec, prelude::*};
use provider::ErrorKind;
use router::{BreakerState, StrategyName, Table};

use crate::hand::{Hand, model, started, upstream};

const IDS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// Which upstreams a chain of models leads to from each.
fn connected(models: &[Vec<usize>]) -> [[bool; 8]; 8] {
    let mut connected = std::array::from_fn(|one| std::array::from_fn(|other| one == other));
    for targets in std::iter::repeat_n(models, 8).flatten() {
        for reached in &mut connected {
            let is_reached = targets.iter().any(|target| reached[*target]);
            for target in targets {
                reached[*target] |= is_reached;
            }
        }
    }
    connected
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn groups_are_what_models_connect(models in vec(vec(0_usize..8, 1..4), 0..8)) {
        let specs = models.iter().enumerate().map(|(at, targets)| {
            let targets: Vec<_> = targets.iter().map(|place| (IDS[*place], 1.0)).collect();
            model(&format!("m{at}"), StrategyName::Weighted, &targets)
        });
        let table = Table::new("test", IDS.map(upstream).into(), specs.collect(), None).expect("a table");
        let group: Vec<_> = table.upstreams().map(|upstream| upstream.group).collect();
        for (one, connected) in connected(&models).iter().enumerate() {
            for (other, is_connected) in connected.iter().enumerate() {
                prop_assert_eq!(group[one] == group[other], *is_connected, "{} and {}", one, other);
            }
        }
        prop_assert!(group.iter().all(|group| *group < table.groups()));
        for (at, targets) in models.iter().enumerate() {
            let model = table.model(&format!("m{at}")).expect("a model");
            prop_assert!(targets.iter().all(|target| group[*target] == model.group));
        }
    }
}

/// Five requests go to `a` while `b` is away; the target that is behind then is still behind in the next table.
#[test]
fn deficits_go_on_by_the_targets_names() {
    let mut hand = Hand::pair(StrategyName::Balanced);
    for _ in 0..5 {
        let (request, _) = hand.begin();
        hand.serve(request);
    }
    let deficits = |hand: &mut Hand| {
        let model = hand.model("m");
        let decision = hand.engine.explain(&model, &crate::hand::CHAT, None, hand.now);
        let mut deficits: Vec<_> = decision.candidates.iter().map(|it| (it.target, it.deficit)).collect();
        deficits.sort_by_key(|(target, _)| *target);
        deficits.into_iter().map(|(_, deficit)| deficit).collect::<Vec<_>>()
    };
    let before = deficits(&mut hand);
    let specs = vec![upstream("b"), upstream("a"), upstream("c")];
    let targets = [("b", 0.2), ("c", 0.0), ("a", 0.8)];
    let next = Table::new("next", specs, vec![model("m", StrategyName::Balanced, &targets)], Some(&hand.table));
    let old = std::mem::replace(&mut hand.table, next.expect("a table"));
    hand.engine.carry_over(&hand.model("m"), old.model("m").expect("a model"));
    assert_eq!(deficits(&mut hand), [before[1], 0.0, before[0]]);
    drop(old);
    hand.engine.forget_unused();
    assert_eq!(deficits(&mut hand), [before[1], 0.0, before[0]], "what is in use is not forgotten");
}

#[test]
fn another_address_or_key_is_another_upstream_of_the_same_name() {
    for (account, expected) in [(0, BreakerState::Open), (1, BreakerState::Closed)] {
        let mut hand = Hand::pair(StrategyName::Weighted);
        let (mut request, _) = hand.begin();
        started(hand.failed(&mut request, ErrorKind::Auth));
        hand.serve(request);
        assert_eq!(hand.breaker("a"), BreakerState::Open);
        let mut a = upstream("a");
        a.account = account;
        let specs = vec![model("m", StrategyName::Weighted, &[("a", 0.8), ("b", 0.2)])];
        hand.table = Table::new("next", vec![a, upstream("b")], specs, Some(&hand.table)).expect("a table");
        assert_eq!(hand.breaker("a"), expected);
    }
}

/// Calls from before a change of shares are no part of the new shares, whatever becomes of them.
#[test]
fn what_was_begun_before_the_shares_changed_moves_no_new_deficit() {
    let mut hand = Hand::pair(StrategyName::Balanced);
    let mut begun: Vec<_> = (0..100).map(|_| hand.begin().0).collect();
    let specs = vec![model("m", StrategyName::Balanced, &[("a", 0.6), ("b", 0.4)])];
    let next = Table::new("next", vec![upstream("a"), upstream("b")], specs, Some(&hand.table)).expect("a table");
    let old = std::mem::replace(&mut hand.table, next);
    hand.engine.carry_over(&hand.model("m"), old.model("m").expect("a model"));
    for request in &mut begun {
        if request.attempt().is_some_and(|attempt| attempt.target == 0) {
            let _next = hand.failed(request, ErrorKind::InvalidRequest);
        }
    }
    let model = hand.model("m");
    let decision = hand.engine.explain(&model, &crate::hand::CHAT, None, hand.now);
    let most = decision.candidates.iter().map(|it| it.deficit.abs()).fold(0.0, f64::max);
    assert!(most <= 1.0, "{most}");
}

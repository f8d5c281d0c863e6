//! Which models and upstreams belong together, and what is known of them through changes of the table.

use proptest::{collection::vec, prelude::*};
use router::{StrategyName, Table};

use crate::hand::{Hand, model, upstream};

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

//! What is explained is what would be done.

use proptest::{collection::vec, prelude::*, sample::select};
use provider::ErrorKind;
use router::{Action, Decision, StrategyName};

use crate::hand::{CHAT, Hand, MS, TIMEOUT, model, upstream};

/// What happened to an earlier request.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Served,
    Failed(ErrorKind),
    UnderWay,
}

fn fates() -> impl Strategy<Value = Vec<(u64, Fate)>> {
    let kinds = [TIMEOUT, ErrorKind::Connect, ErrorKind::RateLimited, ErrorKind::Overloaded, ErrorKind::Auth];
    let fate = prop_oneof![
        3 => Just(Fate::Served),
        1 => Just(Fate::UnderWay),
        1 => select(kinds.to_vec()).prop_map(Fate::Failed),
    ];
    vec((0..2_000_u64, fate), 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_first_of_the_explained_is_called_and_an_explanation_changes_nothing(
        fates in fates(),
        strategy in select(StrategyName::ALL.to_vec()),
    ) {
        let targets = [("a", 0.5), ("b", 0.3), ("c", 0.2)];
        let upstreams = targets.iter().map(|(id, _)| upstream(id)).collect();
        let mut hand = Hand::new(upstreams, vec![model("m", strategy, &targets)]);
        for (wait, fate) in fates {
            hand.pass(wait.try_into().unwrap_or(0) * MS);
            let mut request = hand.request("m");
            let mut rng = hand.rng.clone();
            let model = hand.model("m");
            let mut explain = || hand.engine.explain(&model, &CHAT, None, hand.now).clone();
            let (explained, again) = (explain(), explain());
            prop_assert_eq!(&explained.candidates, &again.candidates);
            prop_assert_eq!(explained.candidates.len() + explained.excluded.len(), 3);
            let action = hand.engine.arrived(&mut request, hand.now, &mut rng);
            let mut recorded = Decision::default();
            hand.engine.swap_decision(&mut recorded);
            prop_assert_eq!(&recorded.candidates, &explained.candidates, "the record says the same");
            let start = match action {
                Action::Start(start) => start,
                other => {
                    prop_assert!(explained.candidates.is_empty(), "{:?}", other);
                    continue;
                }
            };
            let first = explained.candidates.first().map(|candidate| candidate.target);
            prop_assert_eq!((first, explained.reason), (Some(start.attempt.target), Some(start.attempt.reason)));
            match fate {
                Fate::Served => hand.serve(request),
                Fate::Failed(kind) => {
                    let _next = hand.failed(&mut request, kind);
                    hand.engine.left(&mut request, hand.now);
                }
                Fate::UnderWay => {}
            }
            hand.rng = rng;
        }
    }
}

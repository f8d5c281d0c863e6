//! What is explained is what would be done.

use proptest::{collection::vec, prelude::*, sample::select};
use provider::{ErrorKind, NanoUsd, PicoUsd, Price, Tariff};
use router::{Action, Decision, StrategyName, UpstreamSpec};

use crate::hand::{CHAT, Hand, MS, S, TIMEOUT, model, upstream};

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

/// A worker that is up for one call alone runs for the call and its idle time, and for its start where none is up.
#[test]
fn a_call_where_few_come_adds_no_more_than_a_worker_of_its_own() {
    let tariff = Tariff::GpuSeconds {
        per_second: PicoUsd(1_000_000_000),
        idle_timeout: 5 * S,
        kept_workers: 0,
        list: Some(Price::new(PicoUsd(20_000), PicoUsd(20_000))),
    };
    let adds_usd = |running: u32| {
        let a = UpstreamSpec { tariff: Some(tariff.clone()), worker_slots: Some(30), ..upstream("a") };
        let mut hand = Hand::new(vec![a], vec![model("m", StrategyName::Cost, &[("a", 1.0)])]);
        hand.has_running(running);
        let model = hand.model("m");
        let candidate = hand.engine.explain(&model, &CHAT, None, hand.now).candidates[0];
        candidate.marginal_cost.map_or(0.0, NanoUsd::usd)
    };
    let (warm, cold) = (adds_usd(1), adds_usd(0));
    assert!((0.005..0.02).contains(&warm), "{warm} dollars, at a tenth of a cent a second");
    assert!((0.015..0.045).contains(&cold), "{cold} dollars, at a tenth of a cent a second");
}

use proptest::{collection::vec, option, prelude::*};
use provider::NanoUsd;

use super::{Candidate, Scale, StrategyName};
use crate::{candidate::IfLate, knowledge::score::Z, upstream::BreakerState};

fn scale() -> Scale {
    Scale { mean_cost: 2.0, z: Z::new(0.01), certainty: 1.0 }
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let any_one = (
        prop_oneof![any::<f64>(), Just(0.0)],
        option::of(any::<bool>()),
        0_u32..100_000,
        0.0..1.0_f64,
        0.0..20.0_f64,
        option::of(0_u64..4),
    );
    vec(any_one, 1..9).prop_map(|drawn| {
        let candidate = |(target, drawn): (usize, (f64, _, _, f64, f64, Option<u64>))| {
            let (deficit, is_ready, in_flight, miss, time, cost) = drawn;
            Candidate {
                target,
                deficit,
                due: deficit,
                is_ready,
                ready_workers: None,
                queued: None,
                breaker: BreakerState::Closed,
                in_flight,
                first_token: None,
                meets_slo: miss < 0.5,
                expected_cost: cost.map(NanoUsd),
                marginal_cost: cost.map(NanoUsd),
                is_billed_by_time: false,
                usual_cost: None,
                stop_risk: 0.0,
                holds_cache: false,
                cached: 0.0,
                stays: 0.0,
                limited_tokens: 0,
                is_too_long: false,
                miss,
                time,
                score: 0.0,
                score_in_time: 0.0,
                if_late: IfLate { begins_soon: true, may_probe: false, shows_demand: false },
                is_warmed_up: false,
            }
        };
        drawn.into_iter().enumerate().map(candidate).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_ranking_is_a_permutation(candidates in candidates()) {
        for name in StrategyName::ALL {
            let mut ranked = candidates.clone();
            name.strategy().rank(&mut ranked, &scale());
            let mut targets: Vec<_> = ranked.iter().map(|candidate| candidate.target).collect();
            targets.sort_unstable();
            prop_assert!(targets.into_iter().eq(0..candidates.len()), "{name:?}");
        }
    }

    /// Of two that differ in nothing else, the faster one goes first under `latency`, the cheaper one under `cost`, the
    /// one with the larger deficit under shares.
    #[test]
    fn each_strategy_prefers_what_it_is_named_for(candidates in candidates(), by in 0.01..10.0_f64) {
        let worse = Candidate { due: 0.0, marginal_cost: Some(NanoUsd(1)), ..candidates[0] };
        for (name, better) in [
            (StrategyName::Latency, Candidate { time: worse.time - by, ..worse }),
            (StrategyName::Cost, Candidate { marginal_cost: Some(NanoUsd(0)), ..worse }),
            (StrategyName::Balanced, Candidate { due: by, ..worse }),
            (StrategyName::Weighted, Candidate { due: by, ..worse }),
        ] {
            let mut ranked = [worse, Candidate { target: 77, ..better }];
            name.strategy().rank(&mut ranked, &scale());
            prop_assert_eq!(ranked[0].target, 77, "{:?}", name);
        }
    }
}

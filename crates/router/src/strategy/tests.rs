use proptest::{collection::vec, option, prelude::*};
use provider::NanoUsd;
use rand::{SeedableRng, rngs::SmallRng};

use super::{Candidate, StrategyName};

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let any_one = (
        prop_oneof![any::<f64>(), Just(0.0)],
        option::of(any::<bool>()),
        0_u32..100_000,
        option::of(0_u64..1_000_000_000),
        any::<bool>(),
        option::of(0_u64..4),
    );
    vec(any_one, 1..9).prop_map(|drawn| {
        let candidate = |(target, drawn): (usize, (f64, _, _, Option<u64>, _, Option<u64>))| {
            let (deficit, is_ready, in_flight, first_token, meets_slo, cost) = drawn;
            let first_token = first_token.map(std::time::Duration::from_micros);
            let expected_cost = cost.map(NanoUsd);
            Candidate {
                target,
                deficit,
                is_ready,
                in_flight,
                first_token,
                meets_slo,
                expected_cost,
                is_too_long: false,
            }
        };
        drawn.into_iter().enumerate().map(candidate).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_ranking_is_a_permutation(candidates in candidates(), seed in any::<u64>()) {
        for name in StrategyName::ALL {
            let mut ranked = candidates.clone();
            name.strategy().rank(&mut ranked, &mut SmallRng::seed_from_u64(seed));
            let mut targets: Vec<_> = ranked.iter().map(|candidate| candidate.target).collect();
            targets.sort_unstable();
            prop_assert!(targets.into_iter().eq(0..candidates.len()), "{name:?}");
        }
    }

    #[test]
    fn latency_never_puts_the_slowest_first(candidates in candidates(), seed in any::<u64>()) {
        let wait = super::latency::wait;
        let mut ranked = candidates;
        StrategyName::Latency.strategy().rank(&mut ranked, &mut SmallRng::seed_from_u64(seed));
        let slowest = ranked.iter().map(wait).max();
        let fastest = ranked.iter().map(wait).min();
        let all_but_one_faster = ranked.iter().filter(|candidate| Some(wait(candidate)) == slowest).count() == 1;
        if all_but_one_faster && slowest != fastest {
            prop_assert!(Some(wait(&ranked[0])) != slowest);
        }
    }
}

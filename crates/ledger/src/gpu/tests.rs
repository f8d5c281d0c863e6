//! What holds for any hour: shares add up, and nobody pays for another hour.

use proptest::prelude::*;

use super::{
    GpuShare, GpuTime,
    share::{Weight, out},
    share_out,
};

fn weights() -> impl Strategy<Value = Vec<Weight>> {
    let amount = || prop_oneof![Just(0), 1..100_u64, 0..1_000_000_000_000_u64];
    let weight = (1..1_000_u64, amount(), amount());
    let weight = weight.prop_map(|(calls, tokens, duration_us)| Weight { calls, tokens, duration_us });
    prop::collection::vec(weight, 1..40)
}

proptest! {
    #[test]
    fn shares_add_up_to_the_cost_to_the_nano_dollar(
        cost in prop_oneof![Just(0), 1..50_u64, 0..u64::MAX / 4],
        weights in weights(),
    ) {
        let shares = out(cost, &weights);
        prop_assert_eq!(shares.len(), weights.len());
        prop_assert_eq!(shares.iter().map(|share| u128::from(*share)).sum::<u128>(), u128::from(cost));
    }

    /// By one nano-dollar at most, which is rounding.
    #[test]
    fn who_has_more_tokens_and_more_time_pays_no_less(cost in 0..u64::MAX / 4, weights in weights()) {
        let shares = out(cost, &weights);
        let all: Vec<_> = weights.iter().zip(shares).collect();
        for (less, cheap) in &all {
            for (more, dear) in &all {
                if less.calls <= more.calls && less.tokens <= more.tokens && less.duration_us <= more.duration_us {
                    prop_assert!(*cheap <= dear + 1, "{less:?} pays {cheap}, {more:?} {dear}");
                }
            }
        }
    }
}

#[test]
fn half_is_paid_for_tokens_and_half_for_time() {
    let of = |tokens, duration_us| Weight { calls: 1, tokens, duration_us };
    assert_eq!(out(1_000, &[of(300, 10), of(100, 10)]), [625, 375], "3/8 + 1/4, 1/8 + 1/4");
    assert_eq!(out(1_000, &[of(400, 10), of(0, 30)]), [625, 375], "a call that failed held a worker");
    assert_eq!(out(1_000, &[of(0, 10), of(0, 30)]), [250, 750], "no tokens: by time");
    assert_eq!(out(1_000, &[of(10, 0), of(40, 0)]), [200, 800], "no time: by tokens");
    let calls = |calls| Weight { calls, ..Weight::default() };
    assert_eq!(out(1_000, &[calls(1), calls(3)]), [250, 750], "neither: by calls");
    assert_eq!(
        out(10, &[of(5, 0), of(1, 0)]),
        [8, 2],
        "8 1/3 and 1 2/3: who lost more by rounding down gets what is left"
    );
    assert_eq!(out(2, &[of(1, 1), of(1, 1), of(1, 1)]), [1, 1, 0], "what cannot be divided goes to the first ones");
    assert_eq!(out(1_000, &[]), [0_u64; 0]);
}

fn time(cost_nano_usd: u64, is_closed: bool) -> GpuTime {
    GpuTime {
        upstream: "u".to_owned(),
        hour: 7,
        observed_ms: 3_600_000,
        start_ms: 0,
        busy_ms: 0,
        idle_ms: 3_600_000,
        starts: 0,
        cost_nano_usd,
        pico_usd_per_second: 190_000_000,
        is_closed,
    }
}

#[test]
fn what_ran_for_nobody_is_in_a_row_of_nobodys() {
    let mut shares = Vec::new();
    share_out(&time(500, true), &mut shares);
    let GpuShare { team: None, calls: 0, gpu_nano_usd: Some(500), .. } = &shares[0] else { panic!("{shares:?}") };
    let mut shares = Vec::new();
    share_out(&time(0, true), &mut shares);
    assert_eq!(shares, [], "workers that did not run cost nothing");
}

/// Neither as nothing nor as the cost of the minutes in which somebody counted.
#[test]
fn the_cost_of_an_hour_that_was_not_observed_is_unknown() {
    for (observed_ms, shared) in [(0, None), (5 * 60_000, None), (3_419_999, None), (3_420_000, Some(500))] {
        let of_hour = GpuTime { observed_ms, ..time(500, true) };
        let mut shares = vec![GpuShare { calls: 3, ..GpuShare::of_nobody(&of_hour) }];
        share_out(&of_hour, &mut shares);
        assert_eq!(shares[0].gpu_nano_usd, shared, "{observed_ms} ms");
        let mut of_nobody = Vec::new();
        share_out(&of_hour, &mut of_nobody);
        assert_eq!(of_nobody[0].gpu_nano_usd, shared, "{observed_ms} ms");
    }
}

#[test]
fn an_hour_that_is_not_over_is_not_shared_out() {
    let mut shares = vec![GpuShare { calls: 3, ..GpuShare::of_nobody(&time(0, false)) }];
    share_out(&time(500, false), &mut shares);
    assert_eq!(shares[0].gpu_nano_usd, None);
}

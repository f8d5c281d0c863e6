use super::*;
use crate::{
    baselines::{PEAK_EWMA, STATIC_SHARES},
    report::{change_in_a_sentence, samples::results},
};

#[test]
fn the_table_has_a_row_for_each_policy_and_its_columns_are_straight() {
    let results = results();
    let text = table(&results);
    let steady: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).collect();
    assert_eq!(steady[0], "t / steady: 400 requests");
    assert!(steady[1].starts_with("limit: SLO 100.00 %, $/1M 0.0200, within the share 0.03"), "{}", steady[1]);
    assert_eq!(steady.len(), 3 + results.scenarios[0].policies.len());
    let widths: Vec<usize> = steady[2..].iter().map(|line| line.chars().count()).collect();
    assert!(widths.iter().all(|width| *width == widths[0]), "{text}");
    assert!(steady[2].contains("runpod-8b %") && steady[2].contains("of limit"));
}

#[test]
fn what_never_ends_is_said_in_words() {
    let text = table(&results());
    let outage = text.split("outage10m").nth(1).unwrap();
    let all = outage.lines().find(|line| line.starts_with("all on runpod-8b")).unwrap();
    assert!(all.contains("never") && !all.contains("inf"), "{all}");
}

/// The sentence about two policies whose figures have these half widths; one is 10 % cheaper and has 2.5 points fewer
/// requests within the SLO.
fn sentence(seeds: u64, cost_width: f64, slo_widths: [f64; 2]) -> String {
    let mut results = results();
    results.seeds = seeds;
    for (scenario, (slo, width)) in results.scenarios.iter_mut().zip([99.0, 80.0].into_iter().zip(slo_widths)) {
        for policy in &mut scenario.policies {
            let (cost, slo) = if policy.policy == PEAK_EWMA { (0.036, slo - 2.5) } else { (0.04, slo) };
            policy.summary.usd_per_million = Estimate { mean: cost, half_width: cost_width };
            policy.summary.slo_percent = Estimate { mean: slo, half_width: width };
        }
    }
    assert_eq!(change_in_a_sentence(&results, STATIC_SHARES, "mine"), None);
    change_in_a_sentence(&results, STATIC_SHARES, PEAK_EWMA).unwrap()
}

#[test]
fn a_change_is_reported_in_one_sentence() {
    let expected = "In steady, Peak-EWMA costs 10.0 % less than static shares + fallback and brings 2.50 points fewer requests within \
                    the SLO; the largest difference is in outage10m: 2.50 points fewer requests within the SLO.";
    assert_eq!(sentence(3, 0.001, [1.0, 1.0]), expected);
    let lone = sentence(1, 0.0, [0.0, 0.0]);
    assert!(lone.ends_with("the SLO (one run each: it may be chance)."), "{lone}");
}

#[test]
fn a_difference_within_both_confidence_intervals_is_no_change() {
    let expected = "In steady, Peak-EWMA costs 10.0 % less than static shares + fallback, and no difference in requests within the SLO \
                    is larger than chance; nor in any other scenario (with 3 seeds).";
    assert_eq!(sentence(3, 0.001, [1.3, 1.3]), expected);
    let expected = "In steady, Peak-EWMA brings 2.50 points fewer requests within the SLO than static shares + fallback, and no \
                    difference in cost is larger than chance; in no other scenario is the difference in requests within the SLO \
                    larger than chance (with 3 seeds).";
    assert_eq!(sentence(3, 0.003, [1.0, 1.3]), expected);
    let expected = "In steady, no difference between Peak-EWMA and static shares + fallback is larger than chance, in cost or in \
                    requests within the SLO; the largest difference is in outage10m: 2.50 points fewer requests within the SLO \
                    (with 3 seeds).";
    assert_eq!(sentence(3, 0.003, [1.3, 1.0]), expected);
}

#[test]
fn programs_can_read_the_results() {
    let results = results();
    let json = serde_json::to_value(&results).unwrap();
    let policy = &json["scenarios"][0]["policies"][0];
    assert_eq!(policy["policy"], STATIC_SHARES);
    assert!(policy["slo_percent"]["mean"].as_f64().unwrap() > 90.0);
    assert!(policy["share_percent"][0]["half_width"].is_number());
    assert_eq!(json["upstreams"][1], "cerebras-8b");
    assert!(json["scenarios"][0]["bound"]["cheapest"]["usd_per_million"].is_number());
    let served_by_one = json["scenarios"][1]["policies"].as_array().unwrap();
    let served_by_one = served_by_one.iter().find(|policy| policy["policy"] == "all on runpod-8b").unwrap();
    assert!(served_by_one["ttft_p95_of_all"]["mean"].is_null(), "never, in JSON");
}

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

#[test]
fn a_change_is_reported_in_one_sentence() {
    let mut results = results();
    for (scenario, (cost, slo)) in results.scenarios.iter_mut().zip([(0.04, 99.0), (0.05, 80.0)]) {
        for policy in &mut scenario.policies {
            let better = policy.policy == PEAK_EWMA;
            policy.summary.usd_per_million.mean = if better { cost * 0.9 } else { cost };
            policy.summary.slo_percent.mean = if better { slo - 2.5 } else { slo };
        }
    }
    let sentence = change_in_a_sentence(&results, STATIC_SHARES, PEAK_EWMA).unwrap();
    let expected = "In steady, Peak-EWMA costs 10.0 % less than static shares + fallback and brings 2.50 points fewer requests within \
                    the SLO; the largest difference is in outage10m: 2.50 points fewer requests within the SLO.";
    assert_eq!(sentence, expected);
    assert!(change_in_a_sentence(&results, STATIC_SHARES, STATIC_SHARES).unwrap().contains("costs the same as"));
    assert_eq!(change_in_a_sentence(&results, STATIC_SHARES, "mine"), None);
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

use settings::{Config, Secrets};

use super::*;
use crate::{Experiment, Rules, Scenario, Trace};

/// Two targets, of which only the second has the id of a simulated upstream.
const CONFIG: &str = r#"
[[keys]]
id = "app"
team = "app"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"

[[upstreams]]
id = "gpu"
provider = "runpod"
endpoint_id = "e"
model = "m"
capacity_poll_s = 2
cost = { kind = "tokens", input_usd_per_million = "0.02", output_usd_per_million = "0.02" }

[[upstreams]]
id = "cerebras-8b"
provider = "cerebras"
model = "m"
cost = { kind = "tokens", input_usd_per_million = "0.10", output_usd_per_million = "0.10" }

[[models]]
name = "m"
strategy = "weighted"
slo = { ttft_ms = 2000 }
targets = [{ upstream = "gpu", share = 0.8 }, { upstream = "cerebras-8b", share = 0.2 }]
"#;

fn config(text: &str) -> Config {
    settings::parse_with(text, "test", &|_| None, Secrets::Ignored).expect("a configuration")
}

#[test]
fn a_target_without_a_simulated_upstream_is_an_error() {
    let providers = Providers::shipped().expect("providers");
    assert!(policy_factory("a", &config(CONFIG), "m", &providers).is_ok(), "by its kind, and by its id");
    let error = policy_factory("a", &config(CONFIG), "n", &providers).expect_err("no such model");
    assert_eq!(error.to_string(), r#"no model "n" in this configuration; it has m"#);
    let other = CONFIG.replace(r#"provider = "runpod""#, r#"provider = "openai""#).replace("endpoint_id = \"e\"\n", "");
    let other = other.replace("capacity_poll_s = 2\n", "api_key_env = \"KEY\"\n");
    let error = policy_factory("a", &config(&other), "m", &providers).expect_err("no simulated upstream").to_string();
    assert!(error.contains(r#"stands for "gpu""#) && error.contains(r#""runpod-8b" (runpod)"#), "{error}");
}

/// One request a second for ten minutes: the share is exact, everything is served, and what is paid is the sum of the prices.
#[test]
fn weighted_shares_are_those_of_the_configuration() {
    let providers = Providers::shipped().expect("providers");
    let rows: Vec<_> = (0..600).map(|second| format!("{second},500,100")).collect();
    let trace =
        Trace::parse("even", &format!("t_s,input_tokens,output_tokens\n{}\n", rows.join("\n"))).expect("a trace");
    let scenarios: Vec<_> =
        Scenario::shipped().expect("scenarios").into_iter().filter(|scenario| scenario.name == "steady").collect();
    let policies = [policy_factory("a", &config(CONFIG), "m", &providers).expect("a policy factory")];
    let experiment = Experiment {
        trace: &trace,
        providers: &providers,
        scenarios: &scenarios,
        policies: &policies,
        seeds: 2,
        bound: false,
        rules: Rules::default(),
    };
    let results = experiment.run(&|_, _| {}).expect("results");
    let summary = &results.scenarios[0].policies[0].summary;
    assert!((summary.ok_percent.mean - 100.0).abs() < 1e-9);
    assert!((summary.share_percent[0].mean - 80.0).abs() < 0.1, "{:?}", summary.share_percent);
    assert!((summary.usd_per_million.mean - 0.036).abs() < 1e-4, "{:?}", summary.usd_per_million);
}

/// Two upstreams with more room than is used, whose limits an operator does not know.
const ROOMY: &str = r#"
slo_ttft_ms = 2000
[[upstreams]]
id = "gpu"
kind = "runpod"
share = 0.8
price = { input_usd_per_million = "0.02", output_usd_per_million = "0.02" }
gpu_usd_per_second = "0.00019"
workers = { min = 1, max = 3, slots = 64 }
overhead = { median_ms = 350, sigma = 0.25 }
prefill_tokens_per_second = 100000
decode_tokens_per_second = 125
decode_slowdown = 0.025
cold_start = { median_s = 40, sigma = 0 }
scaler = { kind = "request_count", value = 64 }
idle_timeout_s = 5
health_poll_s = 1
[[upstreams]]
id = "cerebras-8b"
kind = "cerebras"
share = 0.2
price = { input_usd_per_million = "0.10", output_usd_per_million = "0.10" }
first_token = { median_ms = 150, sigma = 0.25 }
prefill_tokens_per_second = 40000
decode_tokens_per_second = 1500
limits = { requests_per_minute = 100000, tokens_per_minute = 100000000 }
"#;

/// Calls of both fail now and then, then all of them for four seconds; or a part of Cerebras' alone is refused.
const FLAKY: &str = r#"
[[scenarios]]
name = "refused"
window_at = 0
faults = [{ kind = "cerebras", fault = "refusals", part = 0.05, from_s = 12, for_s = 60 }]

[[scenarios]]
name = "flaky"
window_at = 0
faults = [
  { kind = "runpod", fault = "errors", part = 0.17, from_s = 12, for_s = 24 },
  { kind = "cerebras", fault = "refusals", part = 0.05, from_s = 12, for_s = 24 },
  { kind = "runpod", fault = "outage", from_s = 36, for_s = 4 },
  { kind = "cerebras", fault = "outage", from_s = 36, for_s = 4 },
]
"#;

/// Sixteen requests a second for 75 seconds.
#[test]
fn the_share_of_balanced_holds_while_both_upstreams_fail_now_and_then() {
    let providers = Providers::parse(ROOMY).expect("providers");
    let rows: Vec<_> = (0..1200).map(|n| format!("{},{},24", f64::from(n) / 16.0, 170 + 17 * (n % 50))).collect();
    let trace =
        Trace::parse("even", &format!("t_s,input_tokens,output_tokens\n{}\n", rows.join("\n"))).expect("a trace");
    let scenarios = Scenario::parse(FLAKY).expect("scenarios");
    let balanced = CONFIG.replace("weighted", "balanced").replace("capacity_poll_s = 2", "capacity_poll_s = 1");
    let policies = [policy_factory("a", &config(&balanced), "m", &providers).expect("a policy factory")];
    let experiment = Experiment {
        trace: &trace,
        providers: &providers,
        scenarios: &scenarios,
        policies: &policies,
        seeds: 10,
        bound: false,
        rules: Rules::default(),
    };
    let results = experiment.run(&|_, _| {}).expect("results");
    for scenario in &results.scenarios {
        let summary = &scenario.policies[0].summary;
        let share = summary.share_percent[0];
        assert!((share.mean - 80.0).abs() < 1.5 && share.half_width < 1.0, "{}: {share:?}", scenario.scenario);
    }
}

/// Four requests a second for a minute and a half to the cheaper of two upstreams, whose first token takes 0.35 s.
#[test]
fn second_calls_are_made_and_what_the_losers_cost_is_wasted() {
    let providers = Providers::parse(ROOMY).expect("providers");
    let rows: Vec<_> = (0..360).map(|n| format!("{},200,50", f64::from(n) / 4.0)).collect();
    let trace =
        Trace::parse("even", &format!("t_s,input_tokens,output_tokens\n{}\n", rows.join("\n"))).expect("a trace");
    let scenarios: Vec<_> =
        Scenario::shipped().expect("scenarios").into_iter().filter(|scenario| scenario.name == "steady").collect();
    let cheapest = CONFIG.replace("weighted", "cost");
    let hedged = format!("{cheapest}hedge = {{ max_extra_cost_percent = 100, after_ms = 300 }}\n");
    let policy = |text: &str| policy_factory("a", &config(text), "m", &providers).expect("a policy factory");
    let policies = [policy(&cheapest), policy(&hedged)];
    let experiment = Experiment {
        trace: &trace,
        providers: &providers,
        scenarios: &scenarios,
        policies: &policies,
        seeds: 2,
        bound: false,
        rules: Rules::default(),
    };
    let results = experiment.run(&|_, _| {}).expect("results");
    let [without, with] = [0, 1].map(|at| &results.scenarios[0].policies[at].summary);
    assert!((with.ok_percent.mean - 100.0).abs() < 1e-9, "{:?}", with.ok_percent);
    assert!((without.attempts_per_request.mean - 1.0).abs() < 1e-9 && without.waste_percent.mean < 1e-9);
    // A second call costs five times as much as a first one, and takes what five of those allow.
    let attempts = with.attempts_per_request.mean;
    assert!((1.05..=1.2).contains(&attempts), "{attempts} calls for each request");
    assert!(with.waste_percent.mean > 1.0, "{:?}", with.waste_percent);
    assert!(with.usd_per_million.mean > without.usd_per_million.mean);
}

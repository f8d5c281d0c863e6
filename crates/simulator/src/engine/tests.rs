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
fn a_target_without_a_simulated_upstream_is_told() {
    let providers = Providers::shipped().expect("providers");
    assert!(entrant("a", &config(CONFIG), "m", &providers).is_ok(), "by its kind, and by its id");
    let error = entrant("a", &config(CONFIG), "n", &providers).expect_err("no such model");
    assert_eq!(error.to_string(), r#"no model "n" in this configuration; it has m"#);
    let other = CONFIG.replace(r#"provider = "runpod""#, r#"provider = "openai""#).replace("endpoint_id = \"e\"\n", "");
    let other = other.replace("capacity_poll_s = 2\n", "api_key_env = \"KEY\"\n");
    let error = entrant("a", &config(&other), "m", &providers).expect_err("no simulated upstream").to_string();
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
    let entrants = [entrant("a", &config(CONFIG), "m", &providers).expect("an entrant")];
    let experiment = Experiment {
        trace: &trace,
        providers: &providers,
        scenarios: &scenarios,
        entrants: &entrants,
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

use super::*;
use crate::{
    baselines::{STATIC_SHARES, baselines},
    experiment::Experiment,
    providers::Providers,
    scenario::Scenario,
    time::SECOND,
    trace::{Arrival, Trace},
    world::Rules,
};

fn results() -> Results {
    let arrivals = (0..300).map(|k| Arrival { at: k * SECOND, prompt_tokens: 500, completion_tokens: 50 });
    let providers = Providers::shipped().unwrap();
    let mut scenarios = Scenario::shipped().unwrap();
    scenarios.truncate(1);
    Experiment {
        trace: &Trace::new("t", arrivals.collect()).unwrap(),
        providers: &providers,
        scenarios: &scenarios,
        policies: &baselines(&providers),
        seeds: 2,
        bound: false,
        rules: Rules::default(),
    }
    .run(&|_, _| {})
    .unwrap()
}

fn broken(gates: &Gates, policy: &str, before: Option<&str>) -> Vec<String> {
    gates.check(&results(), policy, before).iter().map(ToString::to_string).collect()
}

const CHEAP: &str = "all on runpod-8b";

#[test]
fn gates_that_are_met_say_nothing() {
    let share = ShareGate { upstream: "runpod-8b".into(), percent: 80.0, tolerance: 8.0 };
    let gates = Gates { max_cost_increase: Some(0.0), min_slo: Some(95.0), share: Some(share) };
    assert!(broken(&gates, STATIC_SHARES, Some("all on cerebras-8b")).is_empty());
    assert!(broken(&Gates::default(), STATIC_SHARES, None).is_empty());
}

#[test]
fn each_broken_gate_says_what_was_found_and_what_was_demanded() {
    let cost = Gates { max_cost_increase: Some(10.0), ..Gates::default() };
    let told = broken(&cost, "all on cerebras-8b", Some(CHEAP));
    assert_eq!(told, ["steady: a million tokens costs $0.1000 after $0.0200: +400.0 %, and +10 % are allowed"]);
    assert!(broken(&cost, CHEAP, Some("all on cerebras-8b")).is_empty());

    let slo = Gates { min_slo: Some(100.5), ..Gates::default() };
    assert!(broken(&slo, CHEAP, None)[0].contains("of the requests are within the SLO, and 100.5 % must be"));

    let share = ShareGate { upstream: "runpod-8b".into(), percent: 80.0, tolerance: 1.0 };
    let told = broken(&Gates { share: Some(share), ..Gates::default() }, CHEAP, None);
    assert_eq!(told, ["steady: runpod-8b serves 100.00 % of the requests, and 80 ± 1 % are demanded"]);
}

#[test]
fn what_cannot_be_looked_at_is_broken() {
    let cost = Gates { max_cost_increase: Some(10.0), ..Gates::default() };
    assert_eq!(broken(&cost, CHEAP, None), ["steady: there is nothing to compare the cost with"]);
    assert_eq!(broken(&cost, "mine", Some(CHEAP)), ["steady: mine was not run"]);
    let share = ShareGate { upstream: "groq".into(), percent: 80.0, tolerance: 1.0 };
    let told = broken(&Gates { share: Some(share), ..Gates::default() }, CHEAP, None);
    assert_eq!(told, ["there is no simulated upstream \"groq\" to have a share"]);
}

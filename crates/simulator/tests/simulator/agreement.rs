//! Agreement with an independent model: the Python prototype from which the figures of routing's design come.
//!
//! It recorded one run of each policy on the conversation trace at 2.5 times its speed (`results_conv.txt`, `bound_conv.txt`).
//! Here is the mean of three seeds. Shares of requests within the SLO must be within one percentage point of it, and
//! dollars per million tokens within 3 %. Like the prototype, these runs let a stream that broke start again.

use std::path::Path;

use simulator::{
    Bound, Experiment, PEAK_EWMA, Providers, Results, Rules, STATIC_SHARES, Scenario, Trace, baselines, table,
};

/// SLO percent and dollars per million tokens, as the prototype recorded them.
struct Recorded {
    scenario: &'static str,
    static_shares: (f64, f64),
    peak_ewma: (f64, f64),
    /// Most SLO percent; least cost, without and with RunPod at 80 % of the requests at most.
    limit: (f64, f64, f64),
}

const RECORDED: [Recorded; 2] = [
    Recorded {
        scenario: "steady",
        static_shares: (99.39, 0.0362),
        peak_ewma: (99.94, 0.0543),
        limit: (100.0, 0.0200, 0.0241),
    },
    Recorded {
        scenario: "throttle10m",
        static_shares: (59.41, 0.0513),
        peak_ewma: (73.24, 0.0682),
        limit: (80.92, 0.0313, 0.0313),
    },
];

fn trace() -> Trace {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/traces/azure_llm_2023_conv.csv.gz");
    Trace::read(Path::new(file)).unwrap().compressed(2.5).unwrap()
}

fn results() -> Results {
    let (trace, providers) = (trace(), Providers::shipped().unwrap());
    let mut scenarios = Scenario::shipped().unwrap();
    scenarios.retain(|scenario| RECORDED.iter().any(|recorded| recorded.scenario == scenario.name));
    let mut policies = baselines(&providers);
    policies.retain(|factory| [STATIC_SHARES, PEAK_EWMA].contains(&factory.name()));
    let experiment = Experiment {
        trace: &trace,
        providers: &providers,
        scenarios: &scenarios,
        policies: &policies,
        seeds: 3,
        bound: true,
        rules: Rules { restart_broken_streams: true },
    };
    experiment.run(&|_, _| {}).unwrap()
}

fn assert_near(what: &str, (slo, cost): (f64, f64), (recorded_slo, recorded_cost): (f64, f64), all: &Results) {
    assert!((slo - recorded_slo).abs() <= 1.0, "{what}: SLO {slo} after {recorded_slo}\n{}", table(all));
    let off = 100.0 * (cost / recorded_cost - 1.0);
    assert!(off.abs() <= 3.0, "{what}: ${cost} after ${recorded_cost}\n{}", table(all));
}

#[test]
fn the_simulator_gives_the_same_results_as_the_prototype() {
    let results = results();
    for recorded in RECORDED {
        let found = results.scenarios.iter().find(|found| found.scenario == recorded.scenario).unwrap();
        let Bound { slo_percent, cheapest, within_share } = found.bound.as_ref().unwrap();
        let (most, least, least_within) = recorded.limit;
        let what = |policy: &str| format!("{}, {policy}", recorded.scenario);
        assert_near(&what("limit"), (*slo_percent, cheapest.usd_per_million), (most, least), &results);
        let within_share = within_share.as_ref().unwrap().usd_per_million;
        assert_near(&what("limit in share"), (*slo_percent, within_share), (most, least_within), &results);
        for (name, expected) in [(STATIC_SHARES, recorded.static_shares), (PEAK_EWMA, recorded.peak_ewma)] {
            let policy = found.policies.iter().find(|policy| policy.policy == name).unwrap();
            let measured = (policy.summary.slo_percent.mean, policy.summary.usd_per_million.mean);
            assert_near(&what(name), measured, expected, &results);
        }
    }
}

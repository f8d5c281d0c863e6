//! Results to show in tests.

use crate::{
    baselines::baselines,
    experiment::{Experiment, Results},
    providers::Providers,
    scenario::Scenario,
    time::SECOND,
    trace::{Arrival, Trace},
    world::Rules,
};

/// Two seeds of all baselines in two scenarios, with limits.
pub(super) fn results() -> Results {
    let arrivals = (0..400).map(|k| Arrival { at: k * SECOND, prompt_tokens: 500, completion_tokens: 50 });
    let mut scenarios = Scenario::shipped().unwrap();
    scenarios.retain(|scenario| ["steady", "outage10m"].contains(&scenario.name.as_str()));
    let providers = Providers::shipped().unwrap();
    let experiment = Experiment {
        trace: &Trace::new("t", arrivals.collect()).unwrap(),
        providers: &providers,
        scenarios: &scenarios,
        policies: &baselines(&providers),
        seeds: 2,
        bound: true,
        rules: Rules::default(),
    };
    experiment.run(&|_, _| {}).unwrap()
}

//! Compares baselines and the router's own strategies: `compare TRACE COMPRESSION SCENARIOS|all SEEDS [PAGE.html]`. A table goes
//! to standard output.

use std::{io::Write, path::Path, time::Duration};

use provider::{Features, Operation, Tariff};
use router::{ModelSpec, StrategyName, Table, Timeouts, UpstreamSpec};
use simulator::{
    Entrant, Experiment, Providers, Routed, Rules, STATIC_SHARES, Scenario, Trace, baselines, page, seconds, table,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &'static str| arguments.next().ok_or(what);
    let trace = Trace::read(Path::new(&next("which trace?")?))?;
    let trace = trace.compressed(next("compressed how much?")?.parse()?)?;
    let wanted = next("which scenarios?")?;
    let seeds = next("how many seeds?")?.parse()?;
    let page_at = arguments.next();
    let mut scenarios = Scenario::shipped()?;
    scenarios.retain(|scenario| wanted == "all" || wanted.split(',').any(|name| name == scenario.name));
    let providers = Providers::shipped()?;
    let mut entrants = baselines(&providers);
    for strategy in StrategyName::ALL {
        entrants.push(entrant(strategy, &providers)?);
    }
    let experiment = Experiment {
        trace: &trace,
        providers: &providers,
        scenarios: &scenarios,
        entrants: &entrants,
        seeds,
        bound: true,
        rules: Rules::default(),
    };
    let results = experiment.run(&|_, _| {})?;
    if let Some(path) = page_at {
        std::fs::write(path, page(&results, Some((STATIC_SHARES, StrategyName::Balanced.as_str()))))?;
    }
    write!(std::io::stdout().lock(), "{}", table(&results))?;
    Ok(())
}

/// A strategy with these upstreams, as a configuration without anything else would have it; 20 s for the first token.
fn entrant(strategy: StrategyName, providers: &Providers) -> Result<Entrant, Box<dyn std::error::Error>> {
    let upstreams = providers.upstreams.iter().map(|upstream| UpstreamSpec {
        id: upstream.id.as_str().into(),
        provider_name: "simulated",
        served_model: "m".to_owned(),
        tariff: Some(Tariff::Tokens(upstream.price)),
        operations: Operation::ALL.to_vec(),
        features: Features::default(),
        context_tokens: None,
        max_in_flight: 400,
        timeouts: Timeouts { first_token: Duration::from_secs(20), gap: Duration::from_mins(1) },
        capacity_poll: Duration::from_secs(2),
    });
    let model = ModelSpec {
        name: "m".into(),
        strategy,
        slo_first_token: Some(Duration::from_secs_f64(seconds(providers.slo_ttft))),
        baseline: None,
        deadline: Duration::from_mins(1),
        early_headers: false,
        targets: providers.upstreams.iter().map(|upstream| (upstream.id.as_str().into(), upstream.share)).collect(),
    };
    let table = Table::new("simulated", upstreams.collect(), vec![model], None)?;
    let simulated: Vec<String> = providers.upstreams.iter().map(|upstream| upstream.id.clone()).collect();
    let model = Routed::check(&table, "m", &simulated)?;
    Ok(Entrant::new(strategy.as_str(), move |setup| Routed::new(model.clone(), setup)))
}

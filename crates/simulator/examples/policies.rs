//! Compares configurations: `policies TRACE COMPRESSION SCENARIOS|all SEEDS CONFIG…`, each for its first model, and the
//! baselines where one of them is `baselines`. A table goes to standard output.

use std::{io::Write, path::Path};

use simulator::{Experiment, Providers, Rules, Scenario, Trace, baselines, engine, table};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &'static str| arguments.next().ok_or(what);
    let trace = Trace::read(Path::new(&next("which trace?")?))?;
    let trace = trace.compressed(next("compressed how much?")?.parse()?)?;
    let wanted = next("which scenarios?")?;
    let seeds = next("how many seeds?")?.parse()?;
    let mut scenarios = Scenario::shipped()?;
    scenarios.retain(|scenario| wanted == "all" || wanted.split(',').any(|name| name == scenario.name));
    let providers = Providers::shipped()?;
    let mut policies = Vec::new();
    for name in arguments {
        if name == "baselines" {
            policies.extend(baselines(&providers));
            continue;
        }
        let config = settings::load_with(Path::new(&name), &|_| None, settings::Secrets::Ignored)?;
        let model = config.models.first().map(|model| model.name.as_str().to_owned()).unwrap_or_default();
        policies.push(engine::policy_factory(&name, &config, &model, &providers)?);
    }
    let experiment = Experiment {
        trace: &trace,
        providers: &providers,
        scenarios: &scenarios,
        policies: &policies,
        seeds,
        bound: false,
        rules: Rules::default(),
    };
    let results = experiment.run(&|_, _| {})?;
    write!(std::io::stdout().lock(), "{}", table(&results))?;
    Ok(())
}

//! Compares the baselines: `compare TRACE COMPRESSION SCENARIOS|all SEEDS [PAGE.html]`. A table goes to standard output.

use std::{io::Write, path::Path};

use simulator::{Experiment, PEAK_EWMA, Providers, Rules, STATIC_SHARES, Scenario, Trace, baselines, page, table};

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
    let entrants = baselines(&providers);
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
        std::fs::write(path, page(&results, Some((STATIC_SHARES, PEAK_EWMA))))?;
    }
    write!(std::io::stdout().lock(), "{}", table(&results))?;
    Ok(())
}

//! `llm-router simulate`: what a configuration, or a change of one, does to cost and latency, before it is in force.
//!
//! Reads everything first, so that a mistake in any file is reported before minutes of work, then replays, writes the
//! files that were asked for, prints, and judges. Nothing is called and no secret is looked for.

mod gates;
mod inputs;
pub(super) mod output;
mod progress;

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::Args;
use simulator::{Experiment, Results, Rules, change_in_a_sentence, page, table};

use super::say;
use gates::{BrokenGate, GateArguments};
use inputs::Inputs;
use output::Document;
use progress::Progress;

/// The exit code when there is no result: a wrong argument (as clap has it) or a file that cannot be used.
const NO_RESULT: u8 = 2;

pub(super) const HELP: &str = "\
A trace is a CSV file, plain or gzip, with the columns t_s (seconds), input_tokens and output_tokens: one line for each
request. Or it is a decision log of a router, or several, of which the requests for the model count. tests/traces/azure_llm_2023_conv.csv.gz is one hour of a real service.

Example: what would a share of 0.6 change, when all is well and in every kind of trouble?
  cp config.toml next.toml      # and edit next.toml
  llm-router simulate --trace tests/traces/azure_llm_2023_conv.csv.gz --speed 2.5 \\
    --config config.toml --config next.toml --scenario all --baselines --report report.html

As a check in CI: at most 5 % dearer than before, 99 % within the SLO, 59 to 61 % of the requests on RunPod:
  llm-router simulate --trace T --config config.toml --config next.toml \\
    --max-cost-increase 5 --min-slo 99 --share 59..61

Exit code 0: done, and no gate is broken. 1: a gate is broken; standard error says which, and by how much.
2: there is no result, because an argument or a file is wrong.
The same arguments give the same figures, byte by byte. Models and figures: docs/simulation.md";

/// What to simulate.
#[derive(Args)]
pub(super) struct Arguments {
    /// The requests to replay: when they came and how long they were. Several decision logs are replayed as one.
    #[arg(long = "trace", value_name = "FILE", num_args = 1..)]
    traces: Vec<PathBuf>,
    /// A configuration to judge, a TOML file; secrets are not needed. Each further one is compared with the first.
    #[arg(long = "config", short, value_name = "FILE")]
    configs: Vec<PathBuf>,
    /// The model that the requests ask for; can be left out where a configuration has only one.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// How the upstreams behave and what they cost, instead of config/simulated-providers.toml.
    #[arg(long, value_name = "FILE")]
    providers: Option<PathBuf>,
    /// What happens meanwhile: "all", or names such as steady,burst3x,outage10m [default: steady, or all of --scenarios].
    #[arg(long = "scenario", value_name = "NAME[,NAME]", value_delimiter = ',')]
    scenario_names: Vec<String>,
    /// Scenarios of your own beside the nine that ship, in the form of config/simulated-scenarios.toml.
    #[arg(long, value_name = "FILE")]
    scenarios: Option<PathBuf>,
    /// Replay the trace so many times faster: 2.5 is two and a half times the load.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// Run what other routers do as well: weighted shuffles, P2C, Peak-EWMA, LiteLLM's strategies and more.
    #[arg(long)]
    baselines: bool,
    /// Runs of each policy in each scenario, from which the confidence intervals come.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Write the results as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the results as one page of HTML that needs nothing else.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    gates: GateArguments,
}

fn speed(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "a number above 0".to_owned())
}

/// Simulates, prints and judges.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match simulate(arguments) {
        Ok(broken) if broken.is_empty() => ExitCode::SUCCESS,
        Ok(broken) => {
            for gate in broken {
                warn(&gate.to_string());
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            warn(&format!("{error:#}"));
            ExitCode::from(NO_RESULT)
        }
    }
}

/// Nothing is left to do if standard error is gone.
fn warn(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

fn simulate(arguments: &Arguments) -> anyhow::Result<Vec<BrokenGate>> {
    let inputs = Inputs::read(arguments)?;
    let evaluated = inputs.evaluated();
    let gates = arguments.gates.resolve(&inputs.providers, inputs.configs.len())?;
    for file in [&arguments.json, &arguments.report].into_iter().flatten() {
        output::check_target(file)?;
    }
    for warning in &inputs.warnings {
        warn(&format!("note: {warning}"));
    }
    let results = replay(&inputs, arguments.seeds)?;
    let before = inputs.before();
    let broken: Vec<BrokenGate> =
        evaluated.iter().flat_map(|policy| gates::broken(&gates, &results, policy, before)).collect();
    let sentence = |after: &&str| change_in_a_sentence(&results, before?, after);
    let changes: Vec<String> = evaluated.iter().filter_map(sentence).collect();
    if let Some(file) = &arguments.json {
        let document = Document::new(&inputs, arguments.speed, &results, &changes, &broken);
        output::write(file, &document.to_json()?)?;
    }
    if let Some(file) = &arguments.report {
        output::write(file, &page(&results, before.zip(evaluated.last().copied())))?;
    }
    say(&output::shown(&table(&results), &results, &changes))?;
    Ok(broken)
}

fn replay(inputs: &Inputs, seeds: u64) -> anyhow::Result<Results> {
    let experiment = Experiment {
        trace: &inputs.trace,
        providers: &inputs.providers,
        scenarios: &inputs.scenarios,
        policies: &inputs.policies,
        seeds,
        bound: true,
        rules: Rules::default(),
    };
    let progress = Progress::start();
    let results = experiment.run(&|done, all| progress.show(done, all));
    progress.end(inputs.scenarios.len());
    Ok(results?)
}

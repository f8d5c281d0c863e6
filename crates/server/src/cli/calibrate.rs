//! `llm-router calibrate`: simulated providers that behave as the real ones did, from a decision log.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use simulator::{Calibration, DecisionLog, Providers, calibrate, read_text};

use super::{
    say,
    simulate::output::{check_target, write},
};

pub(super) const HELP: &str = "\
Decision logs are what a router writes to decisions.log_folder. Only streams tell when an answer began.

Example: what the providers were like last week, and what a change would do with just those requests:
  llm-router calibrate --decisions /var/lib/llm-router/decisions/*.jsonl --out providers.toml
  llm-router simulate --trace /var/lib/llm-router/decisions/*.jsonl \\
    --providers providers.toml --config config.toml --config next.toml

Prints each parameter with the number of samples it comes from, how well the fit predicts what was seen, and what was seen too
seldom: that keeps its value, as do prices that the configuration does not say. Models: docs/simulation.md";

/// What to learn from.
#[derive(Args)]
pub(super) struct Arguments {
    /// Decision logs, plain or packed with gzip.
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    decisions: Vec<PathBuf>,
    /// Learn from the requests for this model alone.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Where the values come from that are not fitted, instead of config/simulated-providers.toml.
    #[arg(long, value_name = "FILE")]
    providers: Option<PathBuf>,
    /// Write the providers, for simulate --providers.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Reads, fits, prints and writes.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if let Some(out) = &arguments.out {
        check_target(out)?;
    }
    let defaults = providers(arguments.providers.as_deref())?;
    let mut log = DecisionLog::default();
    for file in &arguments.decisions {
        log.merge(parsed(file, &read_text(file)?)?);
    }
    let unreadable = log.unreadable;
    if let Some(model) = &arguments.model {
        log = log.of_model(model)?;
    }
    let calibration = calibrate(&log, &defaults);
    if calibration.upstreams.is_empty() {
        bail!("no decision in the log was about an upstream of a kind that can be simulated");
    }
    say(&report(&calibration, unreadable, arguments.out.as_deref()))?;
    if let Some(out) = &arguments.out {
        write(out, &calibration.providers.to_toml())?;
    }
    Ok(())
}

/// What the text of a decision log says.
pub(super) fn parsed(file: &Path, text: &str) -> anyhow::Result<DecisionLog> {
    DecisionLog::parse(text).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))
}

/// The simulated providers of `file`, or those that ship.
pub(super) fn providers(file: Option<&Path>) -> anyhow::Result<Providers> {
    let Some(file) = file else { return Ok(Providers::shipped()?) };
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()));
    let text = text.map_err(|error| anyhow::anyhow!("{error:#}"))?;
    Providers::parse(&text).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))
}

fn report(calibration: &Calibration, unreadable: usize, out: Option<&Path>) -> String {
    let left_out = match unreadable {
        0 => String::new(),
        lines => format!("\n\nnote: {lines} lines could not be read and were left out"),
    };
    let written = match out {
        Some(out) => format!("written to {}, for llm-router simulate --providers", out.display()),
        None => "--out FILE writes this for llm-router simulate --providers".to_owned(),
    };
    format!("{}{left_out}\n\n{written}", calibration.report())
}

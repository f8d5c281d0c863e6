//! `llm-router reconcile`: the provider's bill against the ledger, by endpoint and day.

mod bill;
mod compare;
mod recorded;

use std::{fmt::Display, fs, path::PathBuf};

use anyhow::{Context as _, bail};
use clap::{ArgGroup, Args};
use jiff::civil::Date;
use runpod_admin::Api;
use secrecy::SecretString;
use settings::process_env;

use super::{
    figures::{Format, Grid},
    period::{Days, Period, today},
    source::Source,
};
use crate::{
    cli::{note, runpod, say},
    clock,
};
use bill::Line;
use compare::Comparison;
use recorded::Recorded;

pub(in crate::cli) const HELP: &str = "\
Last month's bill, fetched from RunPod with the key in RUNPOD_API_KEY, which must be allowed to read billing:
  llm-router reconcile --config config.toml --month last --fetch
A bill in a file, for a script:
  llm-router reconcile --config config.toml --month 2026-10 --bill october.csv --tolerance-percent 2 --format json

A bill is RunPod's answer to GET /v2/billing/serverless with bucketSize=day or hour, a list of its records, or CSV with a header.
Fields: serverlessId or endpointId or upstream; startTime or time or day; totalAmount or amount; and, if it is known, gpuAmount, which
alone is compared then. Endpoints are those of the configuration; other providers' lines name an upstream by its id.

Days are those of UTC; today is left out, because it is not over. billed_usd is the provider's, recorded_usd the ledger's: workers by
the second, or tokens at list prices. unobserved_usd is what workers may have cost while nobody counted them, at the rate of the rest of
the day, and rounding_usd what is recorded for the rounding up of starts, which may be nothing or twice as much.

Exit code 0: every day is within the tolerance. 1: one is not, or it cannot be compared; the status says which.";

/// What to compare.
#[derive(Args)]
#[command(group = ArgGroup::new("which-bill").args(["bill", "fetch"]).required(true))]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    period: Period,
    /// The provider's bill: JSON or CSV.
    #[arg(long, value_name = "FILE")]
    bill: Option<PathBuf>,
    /// Fetch RunPod's bill.
    #[arg(long)]
    fetch: bool,
    /// RunPod's management API.
    #[arg(long, value_name = "URL", default_value = runpod_admin::BASE_URL, value_parser = runpod::address)]
    api: String,
    /// An endpoint of the bill that is this upstream, beside those of the configuration. May be given several times.
    #[arg(long, value_name = "ENDPOINT=UPSTREAM", value_parser = pair)]
    endpoint: Vec<(String, String)>,
    /// How much of a day's bill may differ.
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, value_parser = percent)]
    tolerance_percent: f64,
    /// Leave out endpoints of the bill that belong to no upstream.
    #[arg(long)]
    ignore_unknown: bool,
    /// A table for people, or a form for programs.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((endpoint, upstream)) if !endpoint.is_empty() && !upstream.is_empty() => {
            Ok((endpoint.to_owned(), upstream.to_owned()))
        }
        _ => Err("an endpoint's id, =, and an upstream's id, such as abc123=runpod-8b".to_owned()),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let percent = text.parse().ok().filter(|percent: &f64| percent.is_finite() && *percent >= 0.0);
    percent.ok_or_else(|| "a number from 0 on, such as 5 or 0.5".to_owned())
}

/// Compares and prints. Whether all is within the tolerance.
pub(in crate::cli) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let days = days_that_are_over(arguments.period.days()?)?;
    let config = arguments.source.config()?;
    let mut ledger = arguments.source.ledger()?;
    let lines = match &arguments.bill {
        Some(path) => {
            let failed = |what: &str, error: &dyn Display| anyhow::anyhow!("{} {what}: {error:#}", path.display());
            let text = fs::read_to_string(path).map_err(|error| failed("cannot be read", &error))?;
            bill::parse(&text).map_err(|error| failed("is no bill", &error))?
        }
        None => fetched(&arguments.api, days)?,
    };
    let lines = within(lines, days)?;
    let recorded = Recorded::read(&mut ledger, config.as_ref(), &arguments.endpoint, days, clock::now_ms())?;
    let comparison = Comparison { is_of_runpod: arguments.fetch, tolerance_percent: arguments.tolerance_percent };
    let mut rows = comparison.rows(&lines, &recorded);
    if arguments.ignore_unknown {
        rows.retain(|row| !row.is_unknown());
    }
    if rows.is_empty() {
        note(&format!("neither the bill nor the ledger has anything for {days}"));
    }
    let grid = Grid { notes: recorded.notes, ..compare::grid(&rows) };
    grid.say_notes();
    say(&arguments.format.text(days, &grid))?;
    Ok(rows.iter().all(compare::Row::is_fine))
}

/// Without today, of which neither the bill nor the ledger is whole.
fn days_that_are_over(days: Days) -> anyhow::Result<Days> {
    let yesterday = today()?.yesterday()?;
    if days.first > yesterday {
        bail!("no day of {days} is over yet: give --month last, or --since and --until");
    }
    Ok(Days { last: days.last.min(yesterday), ..days })
}

/// The lines of these days. A bill of other days alone is an error: it would be within any tolerance.
fn within(mut lines: Vec<Line>, days: Days) -> anyhow::Result<Vec<Line>> {
    let all = lines.len();
    let of_bill = lines.iter().map(|line| line.day).min().zip(lines.iter().map(|line| line.day).max());
    lines.retain(|line| (days.first..=days.last).contains(&line.day));
    let others = all - lines.len();
    if let Some((first, last)) = of_bill.filter(|_| lines.is_empty()) {
        bail!("the bill is of {first} to {last}, and none of that is in {days}: give other days, or another bill");
    }
    if others > 0 {
        note(&format!(
            "{others} of the bill's {all} lines are of other days than {days}, or of today, which is not over"
        ));
    }
    Ok(lines)
}

/// RunPod's bill.
fn fetched(api: &str, days: Days) -> anyhow::Result<Vec<Line>> {
    let key = process_env(runpod::KEY).filter(|key| !key.trim().is_empty());
    let hint = "make a key in RunPod's console that may read billing";
    let key = key.with_context(|| format!("{key} is not set: {hint}", key = runpod::KEY))?;
    let client = runpod::client(api, &SecretString::from(key.trim().to_owned()))?;
    let api = Api::new(client, api)?;
    let begin = |day: Date| format!("{day}T00:00:00Z");
    let (since, until) = (begin(days.first), begin(days.last.tomorrow()?));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(api.billing(&since, &until))?;
    bill::of_json(&answer).map_err(|error| anyhow::anyhow!("RunPod's answer is no bill: {error:#}"))
}

//! `llm-router spend`, `savings` and `showback`: what the ledger says about money.

mod asked;
mod example;
mod figures;
mod focus;
mod gpu;
mod gpu_cost;
mod period;
mod reconcile;
mod savings;
mod savings_billed;
mod selection;
mod showback;
mod source;

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};
use ledger::{Dimension, Query, Snapshot, Spend, StoreError};
use settings::Config;

use super::{
    say,
    simulate::output::{check_target, write},
};
use crate::clock;
pub(crate) use asked::{Asked, Report};
use figures::{Figure, Format, Grid};
pub(super) use gpu::{Arguments as Gpu, HELP as GPU_HELP, run as run_gpu};
use gpu_cost::{GpuCosts, tariffs};
use period::Period;
pub(super) use reconcile::{Arguments as Reconcile, HELP as RECONCILE_HELP, run as run_reconcile};
pub(super) use savings::{Arguments as Savings, HELP as SAVINGS_HELP, run as run_savings};
use selection::{Selection, check_tags, of_calls};
pub(super) use showback::{Arguments as Showback, HELP as SHOWBACK_HELP, run as run_showback};
use source::{Source, note_nothing};

pub(super) const HELP: &str = "\
Last month by team, as a file for a spreadsheet:
  llm-router spend --config config.toml --month 2026-10 --by team --format csv > october.csv
This month so far, by day and upstream, and of production alone by feature, as requests are tagged:
  llm-router spend --config config.toml --by day,upstream
  llm-router spend --config config.toml --by tag:feature --tag env=prod
Last month's charges for a FinOps tool, in the columns of FOCUS 1.2; what has no cost yet goes to october.unpriced.csv:
  llm-router spend --config config.toml --month 2026-10 --format focus --out october.csv

cost_usd is at list prices. gpu_cost_usd is what calls cost of workers that are billed by the second: of each hour that is over, half
by tokens and half by time, workers without calls in the rows of nobody. billed_usd is cost_usd with that instead of list prices,
and unknown where calls have no share (gpu_unshared_calls): their hour is not over, its workers were counted for less than 95 % of it, or
it is kept as a part of its day (keep_hours_days). billed_known_usd is the same without these calls. What is unknown is left empty.
Days are those of UTC. Tokens are what upstreams reported, or, where they did not, estimates: their cost stands in a column of its own as well, as does what was reserved for calls whose end nobody knows because the router was killed.
Calls without a known price are counted and not in the cost. The ledger can be asked while a router writes it.";

/// What to sum up.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    period: Period,
    /// A row for each combination of these: team, key, model, upstream, route, role, day, tag:NAME. Without it, of team and model.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = of_calls)]
    by: Vec<Dimension>,
    #[command(flatten)]
    selection: Selection,
    /// A table for people, or a form for programs.
    #[arg(long, value_enum, default_value = "table")]
    format: Form,
    /// Where to write it, instead of standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// With focus: where to write what has no cost yet, instead of FILE.unpriced.csv beside --out.
    #[arg(long, value_name = "FILE")]
    unpriced: Option<PathBuf>,
}

/// What is printed.
#[derive(Clone, Copy, ValueEnum)]
enum Form {
    /// For people.
    Table,
    /// For spreadsheets.
    Csv,
    /// For programs.
    Json,
    /// Charges as FOCUS 1.2 has them, as CSV. Needs --config.
    Focus,
}

/// Reads the ledger and prints.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    for target in arguments.out.iter().chain(&arguments.unpriced) {
        check_target(target)?;
    }
    let format = match arguments.format {
        Form::Table => Format::Table,
        Form::Csv => Format::Csv,
        Form::Json => Format::Json,
        Form::Focus => return focus::run(arguments),
    };
    if arguments.unpriced.is_some() {
        bail!("--unpriced is for --format focus: other forms have a column unpriced_calls");
    }
    let mut ledger = arguments.source.ledger()?;
    let days = arguments.period.days()?;
    let by = if arguments.by.is_empty() { Report::Spend.usual_dimensions() } else { arguments.by.clone() };
    let query = Query { by, of: arguments.selection.of(), ..days.query()? };
    let (config, now_ms) = (arguments.source.config()?, clock::now_ms());
    check_tags(&query, config.as_ref())?;
    let grid = report(&mut ledger, &query, config.as_ref(), now_ms)?;
    if grid.rows.is_empty() {
        note_nothing(&arguments.selection, days);
    }
    grid.say_notes();
    let text = format.text(days, &grid);
    match &arguments.out {
        Some(out) => write(out, &format!("{text}\n")),
        None => Ok(say(&text)?),
    }
}

/// What the ledger says.
fn report(ledger: &mut Snapshot, query: &Query, config: Option<&Config>, now_ms: i64) -> Result<Grid, StoreError> {
    let workers = ledger.gpu(query, &tariffs(config), now_ms)?;
    let costs = GpuCosts::new(&workers, &query.by);
    let rows = costs.complete(ledger.spend(query)?, query);
    let mut grid = grid(query, &rows);
    costs.add_columns(&mut grid, &rows);
    grid.notes = gpu::notes(&workers, query, now_ms);
    Ok(grid)
}

/// A column's name, and what stands in it.
type Column = (&'static str, fn(&Spend) -> Figure);

/// The columns after those of the query's dimensions.
const COLUMNS: [Column; 11] = [
    ("calls", |spend| Figure::Count(spend.calls)),
    ("answers", |spend| Figure::Count(spend.answers)),
    ("prompt_tokens", |spend| Figure::Count(spend.prompt_tokens)),
    ("cached_tokens", |spend| Figure::Count(spend.cached_tokens)),
    ("completion_tokens", |spend| Figure::Count(spend.completion_tokens)),
    ("reasoning_tokens", |spend| Figure::Count(spend.reasoning_tokens)),
    ("cost_usd", |spend| Figure::usd(spend.cost_nano_usd)),
    ("wasted_usd", |spend| Figure::usd(spend.wasted_nano_usd)),
    ("estimated_usd", |spend| Figure::usd(spend.estimated_nano_usd)),
    ("unknown_usd", |spend| Figure::usd(spend.unknown_nano_usd)),
    ("unpriced_calls", |spend| Figure::Count(spend.unpriced_calls)),
];

/// The rows, and a last line with their sum.
fn grid(query: &Query, rows: &[Spend]) -> Grid {
    Grid {
        labels: query.by.iter().map(Dimension::to_string).collect(),
        columns: columns(),
        rows: rows.iter().map(|row| (row.labels.clone(), figures(row))).collect(),
        total: Some(figures(&total(rows))).filter(|_| rows.len() > 1),
        notes: Vec::new(),
    }
}

fn columns() -> Vec<&'static str> {
    COLUMNS.iter().map(|(name, _)| *name).collect()
}

fn figures(spend: &Spend) -> Vec<Figure> {
    COLUMNS.iter().map(|(_, figure)| figure(spend)).collect()
}

fn total(rows: &[Spend]) -> Spend {
    rows.iter().fold(Spend::default(), |mut sum, row| {
        sum.add(row);
        sum
    })
}

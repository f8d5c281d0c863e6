//! `llm-router spend`, `savings` and `showback`: what the ledger says about money.

mod figures;
mod gpu;
mod gpu_cost;
mod period;
mod reconcile;
mod savings;
mod savings_billed;
mod showback;
mod source;

use clap::{Args, ValueEnum};
use ledger::{Dimension, Query, Spend};

use super::say;
use crate::clock;
use figures::{Figure, Format, Grid};
pub(super) use gpu::{Arguments as Gpu, HELP as GPU_HELP, run as run_gpu};
use gpu_cost::GpuCosts;
use period::Period;
pub(super) use reconcile::{Arguments as Reconcile, HELP as RECONCILE_HELP, run as run_reconcile};
pub(super) use savings::{Arguments as Savings, HELP as SAVINGS_HELP, run as run_savings};
pub(super) use showback::{Arguments as Showback, HELP as SHOWBACK_HELP, run as run_showback};
use source::{Source, note_nothing};

pub(super) const HELP: &str = "\
Last month by team, as a file for a spreadsheet:
  llm-router spend --config config.toml --month 2026-10 --by team --format csv > october.csv
This month so far, by day and upstream:
  llm-router spend --config config.toml --by day,upstream

cost_usd is at list prices. gpu_cost_usd is what calls cost of workers that are billed by the second: of each hour that is over, half
by tokens and half by time, workers without calls in the rows of nobody. billed_usd is cost_usd with that instead of list prices;
gpu_unshared_calls are not in it: their hour is not over, or nobody counted the workers. What is unknown is left empty.
 Days are those of UTC. Tokens are what upstreams reported, or, where they did not, estimates: their cost
stands in a column of its own as well, as does what was reserved for calls whose end nobody knows because the router was killed.
Calls without a known price are counted and not in the cost. The ledger can be asked while a router writes it.";

/// What to sum up.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    period: Period,
    /// A row for each combination of these.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "team,model")]
    by: Vec<By>,
    /// Of this team alone.
    #[arg(long, value_name = "NAME")]
    team: Option<String>,
    /// A table for people, or a form for programs.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// What spend is told apart by.
#[derive(Clone, Copy, ValueEnum)]
enum By {
    Team,
    Key,
    Model,
    Upstream,
    Route,
    Role,
    Day,
}

impl From<By> for Dimension {
    fn from(by: By) -> Self {
        match by {
            By::Team => Self::Team,
            By::Key => Self::Key,
            By::Model => Self::Model,
            By::Upstream => Self::Upstream,
            By::Route => Self::Route,
            By::Role => Self::Role,
            By::Day => Self::Day,
        }
    }
}

/// Reads the ledger and prints.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let ledger = arguments.source.ledger()?;
    let days = arguments.period.days()?;
    let query = Query {
        by: arguments.by.iter().copied().map(Dimension::from).collect(),
        of: arguments.team.clone().map(|team| (Dimension::Team, team)),
        ..days.query()?
    };
    let now_ms = clock::now_ms();
    let workers = ledger::gpu(&ledger, &query, now_ms)?;
    let costs = GpuCosts::new(&workers, &query.by);
    let rows = costs.complete(ledger::spend(&ledger, &query)?, &query);
    if rows.is_empty() {
        note_nothing(arguments.team.as_deref(), days);
    }
    gpu::note_unobserved(&workers, &query, now_ms);
    let mut grid = grid(&query, &rows);
    costs.add_columns(&mut grid, &rows);
    Ok(say(&arguments.format.text(days, &grid)?)?)
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
    let figures = |spend: &Spend| COLUMNS.iter().map(|(_, figure)| figure(spend)).collect();
    Grid {
        labels: query.by.iter().map(|dimension| dimension.as_str()).collect(),
        columns: COLUMNS.iter().map(|(name, _)| *name).collect(),
        rows: rows.iter().map(|row| (row.labels.clone(), figures(row))).collect(),
        total: Some(figures(&total(rows))).filter(|_| rows.len() > 1),
    }
}

fn total(rows: &[Spend]) -> Spend {
    rows.iter().fold(Spend::default(), |mut sum, row| {
        sum.add(row);
        sum
    })
}

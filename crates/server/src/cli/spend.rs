//! `llm-router spend`, `savings` and `showback`: what the ledger says about money.

mod figures;
mod period;
mod savings;
mod showback;
mod source;

use clap::{Args, ValueEnum};
use ledger::{Dimension, Query, Spend};

use super::say;
use figures::{Figure, Format, Grid};
use period::Period;
pub(super) use savings::{Arguments as Savings, HELP as SAVINGS_HELP, run as run_savings};
pub(super) use showback::{Arguments as Showback, HELP as SHOWBACK_HELP, run as run_showback};
use source::{Source, note_nothing};

pub(super) const HELP: &str = "\
Last month by team, as a file for a spreadsheet:
  llm-router spend --config config.toml --month 2026-10 --by team --format csv > october.csv
This month so far, by day and upstream:
  llm-router spend --config config.toml --by day,upstream

Costs are at list prices. Days are those of UTC. Tokens are what upstreams reported, or, where they did not, estimates: their cost
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
    let rows = ledger::spend(&ledger, &query)?;
    if rows.is_empty() {
        note_nothing(arguments.team.as_deref(), days);
    }
    Ok(say(&arguments.format.text(days, &grid(&query, &rows))?)?)
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

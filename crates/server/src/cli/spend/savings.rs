//! `llm-router savings`: what served answers would have cost under other policies.

use std::collections::HashMap;

use clap::{Args, ValueEnum};
use ledger::{Baseline, Dimension, Query, Spend};

use super::{
    figures::{Figure, Format, Grid},
    period::Period,
    source::Source,
};
use crate::cli::say;

pub(in crate::cli) const HELP: &str = "\
Last month by team:
  llm-router savings --config config.toml --month 2026-10 --by team

Policies: configured, the model's baseline; split, its configured shares; all:UPSTREAM, that upstream alone. What an answer would
have cost is counted when it is served, at the list prices of that moment and for the same tokens. What was saved is that minus all
that was spent, waste and the router's own calls included. Where a policy has no price for some answers, they are counted as
answers_without_baseline: their cost is known and their baseline is not, so that too little is shown as saved.

Another provider might have answered at another length, and batches might not have run at the dear one at all.";

/// What to compare.
#[derive(Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    period: Period,
    /// Rows for each combination of these.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "team")]
    by: Vec<By>,
    /// Of this team alone.
    #[arg(long, value_name = "NAME")]
    team: Option<String>,
    /// A table for people, or a form for programs.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// What savings are told apart by: what an answer has, whoever served it.
#[derive(Clone, Copy, ValueEnum)]
enum By {
    Team,
    Key,
    Model,
    Route,
    Day,
}

impl From<By> for Dimension {
    fn from(by: By) -> Self {
        match by {
            By::Team => Self::Team,
            By::Key => Self::Key,
            By::Model => Self::Model,
            By::Route => Self::Route,
            By::Day => Self::Day,
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let path = arguments.source.ledger()?;
    let days = arguments.period.days()?;
    let query = Query {
        by: arguments.by.iter().copied().map(Dimension::from).collect(),
        team: arguments.team.clone(),
        ..days.query()?
    };
    let grid = grid(&query, &ledger::spend(&path, &query)?, &ledger::baselines(&path, &query)?);
    Ok(say(&arguments.format.text(days, &grid)?)?)
}

/// A row for each policy of each row of `spent`.
pub(super) fn grid(query: &Query, spent: &[Spend], baselines: &[Baseline]) -> Grid {
    let mut by_labels: HashMap<&[Option<String>], Vec<&Baseline>> = HashMap::new();
    for baseline in baselines {
        by_labels.entry(&baseline.labels).or_default().push(baseline);
    }
    let rows = spent.iter().flat_map(|spend| {
        let policies = by_labels.get(spend.labels.as_slice()).map(Vec::as_slice).unwrap_or_default();
        policies.iter().map(|baseline| row(spend, baseline))
    });
    Grid {
        labels: query.by.iter().map(|dimension| dimension.as_str()).chain(["policy"]).collect(),
        columns: vec!["answers", "answers_without_baseline", "baseline_usd", "cost_usd", "saved_usd", "saved_percent"],
        rows: rows.collect(),
        total: None,
    }
}

fn row(spend: &Spend, baseline: &Baseline) -> (Vec<Option<String>>, Vec<Figure>) {
    let saved = i128::from(baseline.cost_nano_usd) - i128::from(spend.cost_nano_usd);
    let labels = spend.labels.iter().cloned().chain([Some(baseline.policy.clone())]).collect();
    let figures = vec![
        Figure::Count(spend.answers),
        Figure::Count(spend.answers.saturating_sub(baseline.answers)),
        Figure::usd(baseline.cost_nano_usd),
        Figure::usd(spend.cost_nano_usd),
        Figure::Usd(saved),
        Figure::Percent(percent(saved, baseline.cost_nano_usd)),
    ];
    (labels, figures)
}

/// `part` in percent of `whole`, if that is not zero.
#[expect(clippy::cast_precision_loss, reason = "a share of money, shown with one decimal")]
fn percent(part: i128, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 * 100.0 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten million tokens, four fifths at $0.02 and one fifth at $0.10 a million, against all of them at $0.10.
    #[test]
    fn a_split_of_eighty_to_twenty_saves_sixty_four_percent() {
        let query = Query { by: vec![Dimension::Team], since_ms: 0, until_ms: 1, team: None };
        let labels = vec![Some("search".to_owned())];
        let spend = Spend { labels: labels.clone(), answers: 10, cost_nano_usd: 360_000_000, ..Spend::default() };
        let baseline = Baseline { labels, policy: "all:cerebras".to_owned(), answers: 9, cost_nano_usd: 1_000_000_000 };
        let grid = grid(&query, &[spend], &[baseline]);
        let (labels, figures) = &grid.rows[0];
        let shown: Vec<_> = figures.iter().map(|figure| figure.text()).collect();
        assert_eq!(labels.iter().flatten().collect::<Vec<_>>(), ["search", "all:cerebras"]);
        assert_eq!(shown, ["10", "1", "1.000000000", "0.360000000", "0.640000000", "64.0"]);
    }

    #[test]
    fn what_was_lost_is_shown_as_such() {
        let spend = Spend { cost_nano_usd: 3_000_000_000, ..Spend::default() };
        let baseline = Baseline { labels: Vec::new(), policy: "split".to_owned(), answers: 0, cost_nano_usd: 1 };
        assert_eq!(row(&spend, &baseline).1[4].text(), "-2.999999999");
        let free = Baseline { cost_nano_usd: 0, ..baseline };
        assert_eq!(row(&spend, &free).1[5].text(), "", "no percent of nothing");
    }
}

//! `llm-router savings`: what served answers would have cost under other policies.

use std::collections::{BTreeSet, HashMap};

use clap::Args;
use ledger::{Baseline, Dimension, Query, Snapshot, Spend, StoreError};
use settings::Config;

use super::{
    figures::{Figure, Format, Grid},
    gpu,
    gpu_cost::{GpuCosts, tariffs},
    period::Period,
    savings_billed::Billed,
    selection::{Selection, check_tags, of_answers},
    source::{Source, note_nothing},
};
use crate::{cli::say, clock};

pub(in crate::cli) const HELP: &str = "\
Last month by team:
  llm-router savings --config config.toml --month 2026-10 --by team
The same for each feature, as requests are tagged:
  llm-router savings --config config.toml --month 2026-10 --by tag:feature

Policies: configured, the model's baseline; split, its configured shares; all:UPSTREAM, that upstream alone. What an answer would
have cost is counted when it is served, at the list prices of that moment and for the same tokens. What was saved is that minus all
that was spent, waste and the router's own calls included. cost_usd is the same in every policy's row: sum up one policy alone.

Answers whose own cost is unknown are in no baseline and in no cost (unpriced_calls). Where only a policy has no price for some answers,
they are counted as answers_without_baseline: their cost is in cost_usd, so that too little is shown as saved.

billed_usd and baseline_billed_usd are the same with workers at what they cost by the second, of the hours that are over. A baseline
of such an upstream takes what its tokens did cost in this time, which is an estimate, and is empty if it did not run or, for configured
and split, without --config. Calls without a share of an hour count in billed_usd at that price too. billed_saved_usd is their difference.

Another provider might have answered at another length, and batches might not have run at the dear one at all.";

/// What to compare.
#[derive(Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    period: Period,
    /// Rows for each combination of these: team, key, model, route, day, tag:NAME.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "team", value_parser = of_answers)]
    by: Vec<Dimension>,
    #[command(flatten)]
    selection: Selection,
    /// A table for people, or a form for programs.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Reads the ledger and prints.
pub(in crate::cli) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut ledger = arguments.source.ledger()?;
    let days = arguments.period.days()?;
    let query = Query { by: arguments.by.clone(), of: arguments.selection.of(), ..days.query()? };
    let now_ms = clock::now_ms();
    let config = arguments.source.config()?;
    check_tags(&query, config.as_ref())?;
    let (grid, is_empty) = report(&mut ledger, &query, config.as_ref(), now_ms)?;
    if is_empty {
        note_nothing(&arguments.selection, days);
    }
    grid.say_notes();
    Ok(say(&arguments.format.text(days, &grid))?)
}

/// What the ledger says, and whether nothing was spent. Without `config`, less is known of policies as billed.
pub(super) fn report(
    ledger: &mut Snapshot,
    query: &Query,
    config: Option<&Config>,
    now_ms: i64,
) -> Result<(Grid, bool), StoreError> {
    let workers = ledger.gpu(query, &tariffs(config), now_ms)?;
    let spent = GpuCosts::new(&workers, &query.by).complete(ledger.spend(query)?, query);
    let mut grid = grid(query, &spent, &ledger.baselines(query)?);
    Billed::read(ledger, query, config, now_ms)?.add_columns(&mut grid);
    grid.notes = gpu::notes(&workers, query, now_ms);
    Ok((grid, spent.is_empty()))
}

/// A row for each policy of each row of `spent`, without a baseline as well: what nobody was served for has a cost.
pub(super) fn grid(query: &Query, spent: &[Spend], baselines: &[Baseline]) -> Grid {
    let policies: BTreeSet<&str> = baselines.iter().map(|baseline| baseline.policy.as_str()).collect();
    let known: HashMap<(&[Option<String>], &str), &Baseline> =
        baselines.iter().map(|baseline| ((baseline.labels.as_slice(), baseline.policy.as_str()), baseline)).collect();
    let rows = spent.iter().flat_map(|spend| {
        let known = &known;
        policies.iter().map(move |policy| {
            let baseline = known.get(&(spend.labels.as_slice(), *policy));
            let known = baseline.map(|baseline| (baseline.answers, baseline.cost_nano_usd));
            // Without answers there was nothing that would have cost anything.
            row(spend, policy, known.or_else(|| (spend.answers == 0).then_some((0, 0))))
        })
    });
    Grid {
        labels: query.by.iter().map(Dimension::to_string).chain(["policy".to_owned()]).collect(),
        columns: vec![
            "answers",
            "answers_without_baseline",
            "unpriced_calls",
            "baseline_usd",
            "cost_usd",
            "saved_usd",
            "saved_percent",
        ],
        rows: rows.collect(),
        total: None,
        notes: Vec::new(),
    }
}

/// How many answers have a known cost under the policy, and their cost in nano-dollars; `None` if none has one.
fn row(spend: &Spend, policy: &str, known: Option<(u64, u64)>) -> (Vec<Option<String>>, Vec<Figure>) {
    let (answers, nano_usd) = known.unzip();
    let saved = nano_usd.map(|nano_usd| i128::from(nano_usd) - i128::from(spend.cost_nano_usd));
    let labels = spend.labels.iter().cloned().chain([Some(policy.to_owned())]).collect();
    let figures = vec![
        Figure::Count(spend.answers),
        Figure::Count(spend.answers.saturating_sub(answers.unwrap_or_default())),
        Figure::Count(spend.unpriced_calls),
        Figure::usd_if(nano_usd),
        Figure::usd(spend.cost_nano_usd),
        saved.map_or(Figure::Unknown, Figure::Usd),
        Figure::Percent(saved.zip(nano_usd).and_then(|(saved, nano_usd)| percent(saved, nano_usd))),
    ];
    (labels, figures)
}

/// `part` in percent of `whole`, if that is not zero.
#[expect(clippy::cast_precision_loss, reason = "a share of money, shown with one decimal")]
pub(super) fn percent(part: i128, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 * 100.0 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten million tokens, four fifths at $0.02 and one fifth at $0.10 a million, against all of them at $0.10.
    #[test]
    fn a_split_of_eighty_to_twenty_saves_sixty_four_percent() {
        let query = Query { by: vec![Dimension::Team], since_ms: 0, until_ms: 1, of: Vec::new() };
        let labels = vec![Some("search".to_owned())];
        let spend = Spend { labels: labels.clone(), answers: 10, cost_nano_usd: 360_000_000, ..Spend::default() };
        let baseline = Baseline { labels, policy: "all:cerebras".to_owned(), answers: 9, cost_nano_usd: 1_000_000_000 };
        let grid = grid(&query, &[spend], &[baseline]);
        let (labels, figures) = &grid.rows[0];
        let shown: Vec<_> = figures.iter().map(Figure::text).collect();
        assert_eq!(labels.iter().flatten().collect::<Vec<_>>(), ["search", "all:cerebras"]);
        assert_eq!(shown, ["10", "1", "0", "1.000000000", "0.360000000", "0.640000000", "64.0"]);
    }

    #[test]
    fn what_was_lost_is_shown_as_such() {
        let spend = Spend { cost_nano_usd: 3_000_000_000, ..Spend::default() };
        assert_eq!(row(&spend, "split", Some((0, 1))).1[5].text(), "-2.999999999");
        assert_eq!(row(&spend, "split", Some((0, 0))).1[6].text(), "", "no percent of nothing");
    }

    #[test]
    fn a_baseline_that_no_answer_has_is_unknown_and_not_free() {
        let query = Query { by: vec![Dimension::Team], since_ms: 0, until_ms: 1, of: Vec::new() };
        let of_team = |team: &str, answers| {
            let labels = vec![Some(team.to_owned())];
            Spend { labels, answers, cost_nano_usd: 5, ..Spend::default() }
        };
        let labels = vec![Some("ads".to_owned())];
        let baseline = Baseline { labels, policy: "split".to_owned(), answers: 2, cost_nano_usd: 9 };
        let spent = [of_team("search", 3), of_team("ads", 3), of_team("idle", 0)];
        let rows = grid(&query, &spent, &[baseline]).rows;
        let shown: Vec<_> =
            rows.iter().map(|(_, figures)| figures.iter().map(Figure::text).collect::<Vec<_>>().join(" ")).collect();
        let cost = "0.000000005";
        assert_eq!(shown[0], format!("3 3 0  {cost}  "));
        assert_eq!(shown[1], format!("3 1 0 0.000000009 {cost} 0.000000004 44.4"));
        assert_eq!(shown[2], format!("0 0 0 0.000000000 {cost} -0.000000005 "));
    }

    /// Of a team, for example, whose calls all failed, or of the router's own calls.
    #[test]
    fn what_served_nobody_is_in_the_comparison() {
        let query = Query { by: vec![Dimension::Team], since_ms: 0, until_ms: 1, of: Vec::new() };
        let of_team =
            |team: Option<&str>| Spend { labels: vec![team.map(str::to_owned)], cost_nano_usd: 5, ..Spend::default() };
        let spent = [of_team(Some("search")), of_team(None)];
        let labels = spent[0].labels.clone();
        let baseline = Baseline { labels, policy: "split".to_owned(), answers: 0, cost_nano_usd: 9 };
        let saved: Vec<_> =
            grid(&query, &spent, &[baseline]).rows.iter().map(|(_, figures)| figures[5].text()).collect();
        assert_eq!(saved, ["0.000000004", "-0.000000005"]);
    }
}

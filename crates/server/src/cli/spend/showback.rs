//! `llm-router showback`: one page for the lead of a team.

mod html;
mod markdown;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use anyhow::bail;
use clap::{Args, ValueEnum};
use ledger::{Baseline, Dimension, Query, Snapshot, Spend};
use settings::tag_pairs;

use super::{
    columns, figures,
    figures::Grid,
    grid,
    period::{Days, Period},
    savings,
    source::Source,
    total,
};
use crate::cli::{
    say,
    simulate::output::{check_target, write},
};

pub(in crate::cli) const HELP: &str = "\
Last month of one team, as a page to send round:
  llm-router showback --config config.toml --team search --month 2026-10 --out search-october.html

The page needs nothing beside it: no scripts, no files, no network.";

/// What the page is about.
#[derive(Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    period: Period,
    /// The team.
    #[arg(long, value_name = "NAME")]
    team: String,
    /// HTML with a plot, or Markdown.
    #[arg(long, value_enum, default_value = "html")]
    format: Form,
    /// Where to write it, instead of standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    Html,
    Markdown,
}

/// What stands on the page.
struct Page {
    team: String,
    days: Days,
    total: Spend,
    /// For each day its cost in nano-dollars; days without calls cost nothing.
    daily: Vec<(String, u64)>,
    savings: Grid,
    by_model: Grid,
    by_key: Grid,
    /// For each tag and value; nothing if no call has a tag.
    by_tag: Option<Grid>,
}

/// Reads the ledger and prints.
pub(in crate::cli) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if let Some(out) = &arguments.out {
        check_target(out)?;
    }
    let mut ledger = arguments.source.ledger()?;
    let days = arguments.period.days()?;
    let page = page(&mut ledger, &arguments.team, days)?;
    let text = match arguments.format {
        Form::Html => html::page(&page),
        Form::Markdown => markdown::page(&page),
    };
    match &arguments.out {
        Some(out) => write(out, &text),
        None => Ok(say(text.trim_end())?),
    }
}

fn page(ledger: &mut Snapshot, team: &str, days: Days) -> anyhow::Result<Page> {
    let query = |by: &[Dimension]| -> anyhow::Result<Query> {
        Ok(Query { by: by.to_vec(), of: vec![(Dimension::Team, team.to_owned())], ..days.query()? })
    };
    let table = |ledger: &mut Snapshot, dimension| -> anyhow::Result<Grid> {
        let query = query(&[dimension])?;
        Ok(grid(&query, &ledger.spend(&query)?))
    };
    let by_day = ledger.spend(&query(&[Dimension::Day])?)?;
    if by_day.is_empty() {
        bail!("nothing of team {team:?} is on record for {days}");
    }
    let daily = days.each().map(|day| {
        let day = day.to_string();
        let spend = by_day.iter().find(|spend| spend.labels[0].as_ref() == Some(&day));
        (day, spend.map_or(0, |spend| spend.cost_nano_usd))
    });
    let of_all = query(&[])?;
    let spent = [Spend { labels: Vec::new(), ..total(&by_day) }];
    let baselines: Vec<Baseline> = ledger.baselines(&of_all)?;
    let [total] = spent.clone();
    Ok(Page {
        team: team.to_owned(),
        days,
        total,
        daily: daily.collect(),
        savings: savings::grid(&of_all, &spent, &baselines),
        by_model: table(ledger, Dimension::Model)?,
        by_key: table(ledger, Dimension::Key)?,
        by_tag: by_tag(&ledger.spend(&query(&[Dimension::Tags])?)?),
    })
}

/// For each tag that any of the calls has, what was spent with each of its values, and without it.
fn by_tag(of_sets: &[Spend]) -> Option<Grid> {
    let pairs = |spend: &Spend| {
        let text = spend.labels[0].clone().unwrap_or_default();
        tag_pairs(&text).map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<BTreeMap<_, _>>()
    };
    let sets: Vec<_> = of_sets.iter().map(|spend| (pairs(spend), spend)).collect();
    let names: BTreeSet<_> = sets.iter().flat_map(|(tags, _)| tags.keys().cloned()).collect();
    let mut sums: BTreeMap<(String, Option<String>), Spend> = BTreeMap::new();
    for name in &names {
        for (tags, spend) in &sets {
            sums.entry((name.clone(), tags.get(name).cloned())).or_default().add(spend);
        }
    }
    let rows = sums.iter().map(|((name, value), spend)| (vec![Some(name.clone()), value.clone()], figures(spend)));
    let labels = vec!["tag".to_owned(), "value".to_owned()];
    (!names.is_empty()).then(|| Grid {
        labels,
        columns: columns(),
        rows: rows.collect(),
        total: None,
        notes: Vec::new(),
    })
}

impl Page {
    /// Its tables, with their captions.
    fn tables(&self) -> impl Iterator<Item = (&'static str, &Grid)> {
        let all = [("Against other policies", &self.savings), ("By model", &self.by_model), ("By key", &self.by_key)];
        all.into_iter().chain(self.by_tag.as_ref().map(|grid| ("By tag", grid)))
    }
}

/// What a reader has to know of the figures.
const NOTES: &str = "Costs are at list prices, days those of UTC. \"Wasted\" paid for calls that served nobody, \
    \"estimated\" is what the router estimated because a provider did not say what it counted, and \"unknown\" what was reserved \
    for calls whose end nobody knows; both are part of the cost. Calls without a known price are not. Savings: what the same \
    tokens would have cost elsewhere, minus all that was spent; another provider might have answered at another length.";

/// A caption and a figure, for the head of the page.
fn summary(total: &Spend) -> [(&'static str, String); 6] {
    let usd = |nano| format!("${}", super::Figure::usd(nano).text());
    [
        ("Cost", usd(total.cost_nano_usd)),
        ("Wasted", usd(total.wasted_nano_usd)),
        ("Estimated", usd(total.estimated_nano_usd)),
        ("Unknown", usd(total.unknown_nano_usd)),
        ("Answers", total.answers.to_string()),
        ("Calls without a price", total.unpriced_calls.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn example() -> Page {
        let days = Days { first: date(2026, 10, 1), last: date(2026, 10, 3) };
        let spend = Spend {
            labels: vec![Some("<b>llama | 3</b>".to_owned())],
            answers: 12,
            cost_nano_usd: 3_500_000_000,
            wasted_nano_usd: 500_000_000,
            ..Spend::default()
        };
        let query = Query { by: vec![Dimension::Model], since_ms: 0, until_ms: 1, of: Vec::new() };
        let of_all = Query { by: Vec::new(), ..query.clone() };
        let baseline = Baseline {
            labels: Vec::new(),
            policy: "all:cerebras".to_owned(),
            answers: 12,
            cost_nano_usd: 7_000_000_000,
        };
        let all = Spend { labels: Vec::new(), ..spend.clone() };
        let tagged = [(Some("env=prod,feature=chat"), 1), (Some("feature=chat"), 2), (None, 4)].map(|(tags, cost)| {
            Spend { labels: vec![tags.map(str::to_owned)], cost_nano_usd: cost, ..Spend::default() }
        });
        Page {
            team: "search & <ads>".to_owned(),
            days,
            daily: vec![
                ("2026-10-01".to_owned(), 1_000_000_000),
                ("2026-10-02".to_owned(), 0),
                ("2026-10-03".to_owned(), 2_500_000_000),
            ],
            savings: savings::grid(&of_all, std::slice::from_ref(&all), &[baseline]),
            total: all,
            by_model: grid(&query, std::slice::from_ref(&spend)),
            by_key: grid(&query, &[spend]),
            by_tag: by_tag(&tagged),
        }
    }

    #[test]
    fn the_html_page_stands_alone_and_takes_no_name_for_markup() {
        let text = html::page(&example());
        for part in
            ["search &amp; &lt;ads&gt;", "2026-10-01 to 2026-10-03", "$3.500000000", "all:cerebras", "50.0", "<svg"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.contains("&lt;b&gt;llama | 3&lt;/b&gt;") && !text.contains("<b>llama"), "{text}");
        assert!(!text.contains("<script") && !text.contains("href=") && !text.contains("src="), "{text}");
        let bars = text.matches("<rect").count();
        assert_eq!(bars, 3, "a bar for each day");
    }

    #[test]
    fn the_markdown_page_has_straight_tables_and_a_bar_for_each_day() {
        let text = markdown::page(&example());
        for part in
            ["# Spend of search & <ads>", "| Cost | $3.500000000 |", "<b>llama \\| 3</b>", "| 2026-10-03 | ██████████"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn each_tag_has_a_row_for_each_value_and_one_for_calls_without_it() {
        let grid = example().by_tag.expect("there are tags");
        let at = grid.columns.iter().position(|column| *column == "cost_usd").expect("a cost");
        let rows: Vec<_> = grid.rows.iter().map(|(labels, figures)| (labels.clone(), figures[at].text())).collect();
        let row = |tag: &str, value: Option<&str>, nano| {
            (vec![Some(tag.to_owned()), value.map(str::to_owned)], format!("0.00000000{nano}"))
        };
        let expected = [
            row("env", None, 6),
            row("env", Some("prod"), 1),
            row("feature", None, 4),
            row("feature", Some("chat"), 3),
        ];
        assert_eq!(rows, expected);
        for page in [html::page(&example()), markdown::page(&example())] {
            assert!(page.contains("By tag") && page.contains("(none)"), "{page}");
        }
        let none = Spend { labels: vec![None], ..Spend::default() };
        assert!(by_tag(&[none]).is_none());
    }
}

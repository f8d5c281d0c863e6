//! `llm-router showback`: one page for the lead of a team.

mod html;
mod markdown;

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};
use ledger::{Baseline, Dimension, Location, Query, Spend};

use super::{
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
}

/// Reads the ledger and prints.
pub(in crate::cli) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if let Some(out) = &arguments.out {
        check_target(out)?;
    }
    let ledger = arguments.source.ledger()?;
    let days = arguments.period.days()?;
    let page = page(&ledger, &arguments.team, days)?;
    let text = match arguments.format {
        Form::Html => html::page(&page),
        Form::Markdown => markdown::page(&page),
    };
    match &arguments.out {
        Some(out) => write(out, &text),
        None => Ok(say(text.trim_end())?),
    }
}

fn page(ledger: &Location, team: &str, days: Days) -> anyhow::Result<Page> {
    let query = |by: &[Dimension]| -> anyhow::Result<Query> {
        Ok(Query { by: by.to_vec(), of: Some((Dimension::Team, team.to_owned())), ..days.query()? })
    };
    let table = |dimension| -> anyhow::Result<Grid> {
        let query = query(&[dimension])?;
        Ok(grid(&query, &ledger::spend(ledger, &query)?))
    };
    let by_day = ledger::spend(ledger, &query(&[Dimension::Day])?)?;
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
    let baselines: Vec<Baseline> = ledger::baselines(ledger, &of_all)?;
    let [total] = spent.clone();
    Ok(Page {
        team: team.to_owned(),
        days,
        total,
        daily: daily.collect(),
        savings: savings::grid(&of_all, &spent, &baselines),
        by_model: table(Dimension::Model)?,
        by_key: table(Dimension::Key)?,
    })
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
        let query = Query { by: vec![Dimension::Model], since_ms: 0, until_ms: 1, of: None };
        let of_all = Query { by: Vec::new(), ..query.clone() };
        let baseline = Baseline {
            labels: Vec::new(),
            policy: "all:cerebras".to_owned(),
            answers: 12,
            cost_nano_usd: 7_000_000_000,
        };
        let all = Spend { labels: Vec::new(), ..spend.clone() };
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
}

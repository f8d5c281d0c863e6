//! `llm-router gpu`: what workers that are billed by the second did, and what their tokens cost.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use ledger::{GpuReport, GpuTime, HOUR_MS, Query};

use super::{
    figures::{Figure, Format, Grid},
    gpu_cost::tariffs,
    period::{Days, Period},
    source::Source,
};
use crate::{
    cli::{note, say},
    clock,
    gpu::rounded_part,
};

pub(in crate::cli) const HELP: &str = "\
This month so far, by day and upstream:
  llm-router gpu --config config.toml
One day, hour by hour:
  llm-router gpu --config config.toml --since 2026-11-27 --until 2026-11-27 --by hour

start_s, busy_s and idle_s are seconds of workers, as the router counted them: from coming up until the first answer, with calls, and
the rest (idle tails, calls of others). gpu_cost_usd is their price, with half a second for each start, because RunPod rounds up.
observed_s is how long the number of workers was known; what they cost in unobserved_s is in no figure.
utilisation_percent is busy of all. Prices are of a million tokens, prompts included: average of all that was billed, marginal of busy
time alone, which is what a further token costs while a worker is up. without_calls_usd was billed in hours in which no call ended.
What is unknown is left empty.";

/// What to show.
#[derive(Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    period: Period,
    /// A row for each hour, each day, or the whole time.
    #[arg(long, value_enum, default_value = "day")]
    by: By,
    /// Of this upstream alone.
    #[arg(long, value_name = "ID")]
    upstream: Option<String>,
    /// A table for people, or a form for programs.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// How long a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    Hour,
    Day,
    Total,
}

/// Reads the ledger and prints.
pub(in crate::cli) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut ledger = arguments.source.ledger()?;
    let days = arguments.period.days()?;
    let (query, now_ms) = (days.query()?, clock::now_ms());
    let mut report = ledger.gpu(&query, &tariffs(arguments.source.config()?.as_ref()), now_ms)?;
    if let Some(id) = &arguments.upstream {
        report.upstreams.retain(|upstream| upstream.name == *id);
        report.hours.retain(|time| time.upstream == *id);
    }
    let sums = sums(&report, &query, now_ms, arguments.by);
    if sums.is_empty() {
        note_no_workers(&report, days);
    }
    let grid = Grid { notes: notes(&report, &query, now_ms), ..grid(arguments.by, &sums) };
    grid.say_notes();
    Ok(say(&arguments.format.text(days, &grid))?)
}

fn note_no_workers(report: &GpuReport, days: Days) {
    note(&if report.upstreams.is_empty() {
        "no workers are on record: routers with a ledger count those of upstreams whose cost is gpu_seconds".to_owned()
    } else {
        format!("no workers are on record for {days}")
    });
}

/// Observed for so much longer than has passed, workers were counted twice, and not by a clock that was set.
const TOO_LONG_MS: u64 = 60 * 1000;
/// Shorter gaps, such as restarts, are not worth a word.
const SHORT_GAP_MS: u64 = 10 * 60 * 1000;

/// What to know about how workers were counted: twice, for a while not at all, or for too little of an hour to tell what it cost.
pub(super) fn notes(report: &GpuReport, query: &Query, now_ms: i64) -> Vec<String> {
    let hours = |is_so: fn(&GpuTime, u64) -> bool| {
        report.hours.iter().filter(|time| is_so(time, passed_ms(time.hour, now_ms))).count()
    };
    let twice = hours(|time, passed_ms| time.observed_ms > passed_ms + TOO_LONG_MS);
    let in_part = hours(|time, _| time.is_closed && !time.is_observed());
    let unobserved = unobserved(report, query, now_ms).join(", ");
    let notes = [
        (twice > 0).then(|| {
            format!("in {twice} hours several routers counted the same workers: GPU figures of these are too high")
        }),
        (in_part > 0).then(|| {
            format!(
                "in {in_part} hours workers were counted for less than 95 % of the time: what these hours cost is unknown, and \
                 shared out to no calls"
            )
        }),
        (!unobserved.is_empty()).then(|| {
            format!(
                "workers were not counted: {unobserved}. What they cost then is not in gpu_cost_usd; see llm-router gpu"
            )
        }),
    ];
    notes.into_iter().flatten().collect()
}

/// How much of an hour has passed.
fn passed_ms(hour: i64, now_ms: i64) -> u64 {
    (now_ms - hour * HOUR_MS).clamp(0, HOUR_MS).unsigned_abs()
}

/// For how long which workers were not counted.
fn unobserved(report: &GpuReport, query: &Query, now_ms: i64) -> Vec<String> {
    // The first router came amid the first hour.
    let mut later = GpuReport { shares: Vec::new(), ..report.clone() };
    for upstream in &mut later.upstreams {
        later.hours.retain(|time| time.upstream != upstream.name || time.hour != upstream.first_hour);
        upstream.first_hour += 1;
    }
    let sums = sums(&later, query, now_ms, By::Total).into_iter();
    let unobserved = sums.filter(|(_, sum)| sum.unobserved_ms() >= SHORT_GAP_MS);
    unobserved.map(|((_, upstream), sum)| format!("{upstream} for {:.1} h", in_hours(sum.unobserved_ms()))).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a time, shown with one decimal")]
fn in_hours(ms: u64) -> f64 {
    ms as f64 / 3.6e6
}

/// What is known of some hours of an upstream.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Sum {
    /// How long the hours were, as far as they have passed.
    passed_ms: u64,
    /// Workers, in hours of which something is on record; `None` if there is none.
    pub(super) time: Option<GpuTime>,
    without_calls_nano_usd: u64,
    calls: u64,
    tokens: u64,
}

impl Sum {
    pub(super) fn unobserved_ms(&self) -> u64 {
        self.passed_ms.saturating_sub(self.time.as_ref().map_or(0, |time| time.observed_ms))
    }

    fn add(&mut self, time: &GpuTime) {
        let Some(sum) = &mut self.time else {
            self.time = Some(time.clone());
            return;
        };
        sum.observed_ms += time.observed_ms;
        sum.start_ms += time.start_ms;
        sum.busy_ms += time.busy_ms;
        sum.idle_ms += time.idle_ms;
        sum.starts += time.starts;
        sum.cost_nano_usd += time.cost_nano_usd;
        sum.pico_usd_per_second = time.pico_usd_per_second;
    }
}

/// Sums by time and upstream, in order: of all hours from the first one to the last one that an upstream has on record, also of those
/// in between of which nothing is known.
fn sums(report: &GpuReport, query: &Query, now_ms: i64, by: By) -> BTreeMap<(String, String), Sum> {
    let mut sums: BTreeMap<(String, String), Sum> = BTreeMap::new();
    for upstream in &report.upstreams {
        let first = upstream.first_hour.max(query.since_ms.div_euclid(HOUR_MS));
        let last = upstream.last_hour.min((query.until_ms - 1).div_euclid(HOUR_MS));
        for hour in first..=last {
            let sum = sums.entry((label(by, hour), upstream.name.clone())).or_default();
            sum.passed_ms += passed_ms(hour, now_ms);
        }
    }
    let mut shares = report.shares.iter().peekable();
    for time in &report.hours {
        let Some(sum) = sums.get_mut(&(label(by, time.hour), time.upstream.clone())) else { continue };
        let key = (time.upstream.as_str(), time.hour);
        while shares.next_if(|share| (share.upstream.as_str(), share.hour) < key).is_some() {}
        let mut calls = 0;
        while let Some(share) = shares.next_if(|share| (share.upstream.as_str(), share.hour) == key) {
            calls += share.calls;
            sum.tokens += share.tokens;
        }
        sum.add(time);
        sum.calls += calls;
        if calls == 0 && time.is_closed {
            sum.without_calls_nano_usd += time.cost_nano_usd;
        }
    }
    sums
}

/// The sums of days.
pub(super) fn by_day(report: &GpuReport, query: &Query, now_ms: i64) -> BTreeMap<(String, String), Sum> {
    sums(report, query, now_ms, By::Day)
}

fn label(by: By, hour: i64) -> String {
    match by {
        By::Hour => format!("{}T{:02}", ledger::day(hour), hour.rem_euclid(24)),
        By::Day => ledger::day(hour),
        By::Total => String::new(),
    }
}

fn grid(by: By, sums: &BTreeMap<(String, String), Sum>) -> Grid {
    let (name, skip) = match by {
        By::Hour => ("hour", 0),
        By::Day => ("day", 0),
        By::Total => ("", 1),
    };
    let rows = sums.iter().map(|((at, upstream), sum)| {
        let labels = [at, upstream].into_iter().skip(skip).map(|label| Some(label.clone())).collect();
        (labels, figures(sum))
    });
    Grid {
        labels: [name, "upstream"].into_iter().skip(skip).map(str::to_owned).collect(),
        columns: vec![
            "observed_s",
            "unobserved_s",
            "start_s",
            "busy_s",
            "idle_s",
            "starts",
            "gpu_cost_usd",
            "without_calls_usd",
            "calls",
            "tokens",
            "utilisation_percent",
            "average_usd_per_million",
            "marginal_usd_per_million",
        ],
        rows: rows.collect(),
        total: None,
        notes: Vec::new(),
    }
}

fn figures(sum: &Sum) -> Vec<Figure> {
    let seconds = |ms: u64| Figure::Count((ms + 500) / 1000);
    let Some(time) = &sum.time else {
        let mut unknown = vec![Figure::Unknown; 13];
        unknown[1] = seconds(sum.unobserved_ms());
        return unknown;
    };
    let busy = (time.billed_ms() > 0).then(|| rounded_part(time.cost_nano_usd, time.busy_ms, time.billed_ms()));
    vec![
        seconds(time.observed_ms),
        seconds(sum.unobserved_ms()),
        seconds(time.start_ms),
        seconds(time.busy_ms),
        seconds(time.idle_ms),
        Figure::Count(time.starts),
        Figure::usd(time.cost_nano_usd),
        Figure::usd(sum.without_calls_nano_usd),
        Figure::Count(sum.calls),
        Figure::Count(sum.tokens),
        Figure::Percent(super::savings::percent(time.busy_ms.into(), time.billed_ms())),
        Figure::usd_if(per_million(Some(time.cost_nano_usd), sum.tokens)),
        Figure::usd_if(per_million(busy, sum.tokens)),
    ]
}

/// What a million tokens cost, if there are any and workers ran for them.
fn per_million(cost_nano_usd: Option<u64>, tokens: u64) -> Option<u64> {
    let cost = cost_nano_usd.filter(|cost| *cost > 0 && tokens > 0)?;
    Some(rounded_part(cost, 1_000_000, tokens))
}

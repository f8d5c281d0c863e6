//! Workers that are billed by the second: what they did and cost in an hour, and whose calls that was for.
//!
//! A router counts the workers of its upstreams and puts the sums of each hour on record, again and again while the hour lasts.
//! When a report is read, the cost of an hour that is over is [shared out](share) to the calls that ended in it. Nothing of
//! that is stored: what comes late changes the next report, and no row.

mod share;
mod tariffs;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::{
    Dimension, Query, StoreError,
    report::{DAY_MS, Dialect, Parameter, Statement},
    store::{
        Reports,
        rollup::{HOUR_MS, amounts},
    },
};
use share::Weight;
pub use tariffs::Tariffs;

/// How long after its end an hour is still open: the last counts of it are on their way to the store.
const CLOSING_MS: i64 = 60 * 1000;

/// How long workers must be counted in an hour for its cost to be shared out: 95 % of it.
const ENOUGH_MS: u64 = HOUR_MS.unsigned_abs() / 20 * 19;

/// The end of the last hour that is closed.
pub fn closed_until_ms(now_ms: i64) -> i64 {
    (now_ms - CLOSING_MS).div_euclid(HOUR_MS) * HOUR_MS
}

/// What the workers of an upstream did in an hour so far, as one process counted them. A later entry of the same hour, upstream and
/// process replaces an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuHour<'a> {
    /// Hours since 1970 (UTC).
    pub hour: i64,
    /// Whose workers.
    pub upstream: &'a str,
    /// The process.
    pub writer: u64,
    /// How long their number was known.
    pub observed_ms: u64,
    /// Worker time from coming up from none until the first answer.
    pub start_ms: u64,
    /// Worker time with calls.
    pub busy_ms: u64,
    /// Worker time that was billed beside these.
    pub idle_ms: u64,
    /// Workers that came up.
    pub starts: u64,
    /// What all of that costs, with half a second for each start: the upstream rounds up.
    pub cost_nano_usd: u64,
    /// What a second of a worker cost when the row was written, in pico-dollars.
    pub pico_usd_per_second: u64,
}

impl<'a> GpuHour<'a> {
    /// Adds it to rows of which no two may have the same key.
    pub(crate) fn put_in(self, rows: &mut Vec<GpuHour<'a>>) {
        let key = |row: &GpuHour<'a>| (row.hour, row.upstream, row.writer);
        match rows.iter_mut().find(|row| key(row) == key(&self)) {
            Some(row) => *row = self,
            None => rows.push(self),
        }
    }
}

/// What the workers of an upstream did in an hour, summed up over all processes that counted them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuTime {
    /// Whose workers.
    pub upstream: String,
    /// Hours since 1970 (UTC).
    pub hour: i64,
    /// How long their number was known; more than an hour if several processes counted them at the same time.
    pub observed_ms: u64,
    /// Worker time from coming up from none until the first answer.
    pub start_ms: u64,
    /// Worker time with calls.
    pub busy_ms: u64,
    /// Worker time that was billed beside these.
    pub idle_ms: u64,
    /// Workers that came up.
    pub starts: u64,
    /// What all of that costs, with half a second for each start.
    pub cost_nano_usd: u64,
    /// What a second of a worker cost, in pico-dollars: the highest price that one of the processes had last.
    pub pico_usd_per_second: u64,
    /// Whether the hour is over, and its calls are known: not if they are kept as sums of their day.
    pub is_closed: bool,
}

impl GpuTime {
    /// Whether workers were counted nearly the whole hour. Otherwise nobody knows what they cost in it.
    pub fn is_observed(&self) -> bool {
        self.observed_ms >= ENOUGH_MS
    }

    /// Worker time that is billed, without the rounding of starts.
    pub fn billed_ms(&self) -> u64 {
        self.start_ms + self.busy_ms + self.idle_ms
    }
}

/// Calls to an upstream that ended in the same hour and have all labels in common, and what they cost of its workers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GpuShare {
    /// The upstream.
    pub upstream: String,
    /// Hours since 1970 (UTC).
    pub hour: i64,
    team: Option<String>,
    key: Option<String>,
    model: Option<String>,
    route: Option<String>,
    role: Option<String>,
    tags: Option<String>,
    usage_source: Option<String>,
    price_version: Option<String>,
    /// How many; none where workers ran in an hour without calls, which nobody pays for.
    pub calls: u64,
    /// Their tokens, those of the prompts included; without those that were reserved for calls whose end nobody knows.
    pub tokens: u64,
    /// How long they took, in sum.
    pub duration_us: u64,
    /// What they cost at list prices, as far as that is known.
    pub list_nano_usd: u64,
    /// Their share of the hour's cost. `None` if the workers were not [counted](GpuTime::is_observed) in that hour, it is not over, or
    /// its calls are kept as sums of their day.
    pub gpu_nano_usd: Option<u64>,
    /// Whether they are of the whole day that begins with the hour: nobody knows of which hours any more.
    is_of_day: bool,
}

impl GpuShare {
    /// The values of these dimensions.
    pub fn labels(&self, by: &[Dimension]) -> Vec<Option<String>> {
        by.iter().map(|dimension| self.label(dimension)).collect()
    }

    /// The value of a dimension.
    pub fn label(&self, dimension: &Dimension) -> Option<String> {
        match dimension {
            Dimension::Team => self.team.clone(),
            Dimension::Key => self.key.clone(),
            Dimension::Model => self.model.clone(),
            Dimension::Upstream => Some(self.upstream.clone()),
            Dimension::Route => self.route.clone(),
            Dimension::Role => self.role.clone(),
            Dimension::Day => Some(day(self.hour)),
            Dimension::Tags => self.tags.clone(),
            Dimension::Tag(name) => self.tag(name).map(str::to_owned),
            Dimension::UsageSource => self.usage_source.clone(),
            Dimension::PriceVersion => self.price_version.clone(),
        }
    }

    fn tag(&self, name: &str) -> Option<&str> {
        let mut tags = self.tags.as_deref()?.split(',').filter_map(|tag| tag.split_once('='));
        tags.find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Whether it is of the calls that a query asks for.
    pub fn is_of(&self, query: &Query) -> bool {
        query.of.iter().all(|(dimension, name)| self.label(dimension).as_ref() == Some(name))
    }
}

/// The day of an hour, such as `2026-11-27`.
pub fn day(hour: i64) -> String {
    let day = jiff::Timestamp::from_millisecond(hour.saturating_mul(HOUR_MS));
    day.map(|day| day.strftime("%Y-%m-%d").to_string()).unwrap_or_default()
}

/// An upstream whose workers were counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuUpstream {
    /// Its id.
    pub name: String,
    /// The first hour ever of which something is on record.
    pub first_hour: i64,
    /// The last one.
    pub last_hour: i64,
}

/// What is on record of workers that are billed by the second.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GpuReport {
    /// The upstreams whose workers were ever counted, in order.
    pub upstreams: Vec<GpuUpstream>,
    /// The hours of which anything is known, by upstream and hour. They are of all teams, whatever the query asks for.
    pub hours: Vec<GpuTime>,
    /// Calls that are [billed by the second of workers](Self::is_of_workers), in the same order. The shares of an hour that is closed
    /// and observed add up to its cost.
    pub shares: Vec<GpuShare>,
    /// What the other calls to these upstreams cost, which are billed by the token, in nano-dollars by upstream.
    pub by_token_nano_usd: BTreeMap<String, u64>,
    /// How upstreams bill.
    pub tariffs: Tariffs,
}

impl GpuReport {
    /// Whether calls to this upstream at this price are billed by the second of workers, and not by the token.
    pub fn is_of_workers(&self, upstream: &str, price_version: Option<&str>) -> bool {
        let were_counted = self.upstreams.iter().any(|counted| counted.name == upstream);
        self.tariffs.is_of_workers(upstream, price_version, were_counted)
    }
}

/// Reads hours and calls, and shares out.
pub(crate) fn report(
    reports: &mut dyn Reports,
    query: &Query,
    tariffs: &Tariffs,
    now_ms: i64,
) -> Result<GpuReport, StoreError> {
    // A ledger that no router of this version has opened has no such table.
    if number(reports.ask(&exists(reports.dialect()))?.first(), 0) == 0 {
        return Ok(GpuReport { tariffs: tariffs.clone(), ..GpuReport::default() });
    }
    let upstreams = reports
        .ask(&plain("SELECT upstream, min(hour), max(hour) FROM gpu_hours GROUP BY upstream ORDER BY upstream"))?;
    let upstreams = upstreams.iter().filter_map(|row| {
        let (first_hour, last_hour) = (number(Some(row), 1), number(Some(row), 2));
        Some(GpuUpstream { name: text(row, 0)?, first_hour, last_hour })
    });
    let mut report = GpuReport { upstreams: upstreams.collect(), tariffs: tariffs.clone(), ..GpuReport::default() };
    let mut hours: Vec<GpuTime> = reports.ask(&hours(query))?.iter().filter_map(|row| gpu_time(row, now_ms)).collect();
    let calls = reports.ask(&calls(query, tariffs))?;
    let (mut shares, by_token): (Vec<_>, Vec<_>) = calls
        .iter()
        .filter_map(|row| gpu_share(row))
        .partition(|share| report.is_of_workers(&share.upstream, share.price_version.as_deref()));
    for call in by_token.iter().filter(|call| call.is_of(query)) {
        *report.by_token_nano_usd.entry(call.upstream.clone()).or_default() += call.list_nano_usd;
    }
    shares.sort();
    let days: HashSet<(String, i64)> =
        shares.iter().filter(|share| share.is_of_day).map(|share| (share.upstream.clone(), share.hour / 24)).collect();
    for time in &mut hours {
        time.is_closed &= !days.contains(&(time.upstream.clone(), time.hour / 24));
    }
    let mut all = Vec::with_capacity(shares.len());
    let mut rest = shares.into_iter().peekable();
    for time in &hours {
        let key = (time.upstream.as_str(), time.hour);
        while let Some(before) = rest.next_if(|share| (share.upstream.as_str(), share.hour) < key) {
            all.push(before);
        }
        let mut of_hour = Vec::new();
        while let Some(share) = rest.next_if(|share| (share.upstream.as_str(), share.hour) == key) {
            of_hour.push(share);
        }
        share_out(time, &mut of_hour);
        all.append(&mut of_hour);
    }
    all.extend(rest);
    all.retain(|share| share.is_of(query));
    (report.hours, report.shares) = (hours, all);
    Ok(report)
}

/// Gives the calls of an hour their shares of its cost; without any calls, a row of nobody's has all of it. Of an hour that was not
/// observed, the cost is unknown: a part of it would look like the whole.
fn share_out(time: &GpuTime, shares: &mut Vec<GpuShare>) {
    if !time.is_closed {
        return;
    }
    if shares.is_empty() && time.cost_nano_usd > 0 {
        shares.push(GpuShare::of_nobody(time));
    }
    if !time.is_observed() {
        return;
    }
    let weights: Vec<_> = shares
        .iter()
        .map(|share| Weight { calls: share.calls, tokens: share.tokens, duration_us: share.duration_us })
        .collect();
    for (share, nano_usd) in shares.iter_mut().zip(share::out(time.cost_nano_usd, &weights)) {
        share.gpu_nano_usd = Some(nano_usd);
    }
}

impl GpuShare {
    fn of_nobody(time: &GpuTime) -> Self {
        Self {
            upstream: time.upstream.clone(),
            hour: time.hour,
            team: None,
            key: None,
            model: None,
            route: None,
            role: None,
            tags: None,
            usage_source: None,
            price_version: None,
            calls: 0,
            tokens: 0,
            duration_us: 0,
            list_nano_usd: 0,
            gpu_nano_usd: None,
            is_of_day: false,
        }
    }
}

fn plain(sql: &str) -> Statement {
    Statement { sql: sql.to_owned(), parameters: Vec::new() }
}

fn exists(dialect: Dialect) -> Statement {
    plain(match dialect {
        Dialect::Sqlite => "SELECT count(*) FROM sqlite_schema WHERE name = 'gpu_hours'",
        Dialect::Postgres => "SELECT CAST(CASE WHEN to_regclass('gpu_hours') IS NULL THEN 0 ELSE 1 END AS bigint)",
    })
}

/// The first and the last hour of a query: those that are wholly in it.
fn bounds(query: &Query) -> (i64, i64) {
    let first = query.since_ms.div_euclid(HOUR_MS) + i64::from(query.since_ms.rem_euclid(HOUR_MS) > 0);
    (first, query.until_ms.div_euclid(HOUR_MS) - 1)
}

fn hours(query: &Query) -> Statement {
    let (first, last) = bounds(query);
    let sums = ["observed_ms", "start_ms", "busy_ms", "idle_ms", "starts", "cost_nano_usd"];
    let sums: Vec<_> = sums.iter().map(|name| format!("CAST(sum({name}) AS bigint)")).collect();
    let sql = format!(
        "SELECT upstream, hour, {}, max(pico_usd_per_second) FROM gpu_hours WHERE hour BETWEEN $1 AND $2
        GROUP BY upstream, hour HAVING sum(observed_ms) > 0 ORDER BY upstream, hour",
        sums.join(", ")
    );
    Statement { sql, parameters: [first, last].map(Parameter::Number).to_vec() }
}

/// The calls to upstreams whose workers are counted, or that have a price for them. They are grouped by all labels, whatever a report asks for: so every report
/// shows the same shares.
fn calls(query: &Query, tariffs: &Tariffs) -> Statement {
    let by_time: Vec<_> = tariffs.of_workers().collect();
    let (first, last) = bounds(query);
    let (from_ms, until_ms) = (first.saturating_mul(HOUR_MS), (last + 1).saturating_mul(HOUR_MS));
    let labels = ["team", "key", "model", "route", "role", "tags", "usage_source", "price_version"];
    let of_rows = labels.join(", ");
    let of_sums = labels.map(|label| format!("nullif({label}, '') AS {label}")).join(", ");
    let sums = "calls, prompt_tokens, completion_tokens, duration_us, cost_nano_usd";
    let due = "SELECT day FROM rollup_due WHERE table_name = 'attempts'";
    // Parameters are numbered in the order in which they come first.
    let names: Vec<_> = (3..by_time.len() + 3).map(|nth| format!("${nth}")).collect();
    let counted = if names.is_empty() { String::new() } else { format!(" OR upstream IN ({})", names.join(", ")) };
    let counted = format!("(upstream IN (SELECT upstream FROM gpu_hours){counted})");
    let sum = |of: &str| format!("CAST(coalesce(sum({of}), 0) AS bigint)");
    let known = "CASE WHEN usage_source = 'unknown' THEN 0 ELSE prompt_tokens + completion_tokens END";
    let figures = ["calls", known, "duration_us", "cost_nano_usd"].map(sum).join(", ");
    let [from_day, until_day, from, until] = [3, 4, 5, 6].map(|nth| format!("${}", by_time.len() + nth));
    let days = format!("{from_day} AND {until_day}");
    let sql = format!(
        "SELECT upstream, hour, {of_rows}, {figures}, max(is_day) FROM (
            SELECT upstream, hour, {of_sums}, {sums}, CAST(0 AS bigint) AS is_day FROM attempt_hours
            WHERE hour BETWEEN $1 AND $2 AND hour / 24 NOT IN ({due}) AND {counted}
            UNION ALL
            SELECT upstream, ended_at_ms / {HOUR_MS}, {of_rows}, 1, prompt_tokens, completion_tokens, duration_us, cost_nano_usd, 0
            FROM (SELECT day, ended_at_ms, upstream, {of_rows}, duration_us, {} FROM attempts) AS rows WHERE day IN ({due} AND day BETWEEN {days})
                AND ended_at_ms >= {from} AND ended_at_ms < {until} AND {counted}
            UNION ALL
            SELECT upstream, day * 24, {of_sums}, {sums}, 1 FROM attempt_days WHERE day BETWEEN {days} AND {counted}
        ) AS calls GROUP BY upstream, hour, {of_rows}",
        amounts()
    );
    let days = [from_ms, until_ms - 1].map(|at| at.div_euclid(DAY_MS));
    let names = by_time.iter().map(|name| Parameter::Text((*name).to_owned()));
    let numbers = days.into_iter().chain([from_ms, until_ms]).map(Parameter::Number);
    let hours = [first, last].map(Parameter::Number).into_iter();
    Statement { sql, parameters: hours.chain(names).chain(numbers).collect() }
}

fn gpu_time(row: &[Parameter], now_ms: i64) -> Option<GpuTime> {
    let hour = row.get(1)?.number()?;
    let figure = |nth: usize| row.get(nth).and_then(Parameter::number).unwrap_or_default().cast_unsigned();
    Some(GpuTime {
        upstream: text(row, 0)?,
        hour,
        observed_ms: figure(2),
        start_ms: figure(3),
        busy_ms: figure(4),
        idle_ms: figure(5),
        starts: figure(6),
        cost_nano_usd: figure(7),
        pico_usd_per_second: figure(8),
        is_closed: (hour + 1).saturating_mul(HOUR_MS) <= closed_until_ms(now_ms),
    })
}

fn gpu_share(row: &[Parameter]) -> Option<GpuShare> {
    let figure = |nth: usize| row.get(nth).and_then(Parameter::number).unwrap_or_default().cast_unsigned();
    Some(GpuShare {
        upstream: text(row, 0)?,
        hour: row.get(1)?.number()?,
        team: text(row, 2),
        key: text(row, 3),
        model: text(row, 4),
        route: text(row, 5),
        role: text(row, 6),
        tags: text(row, 7),
        usage_source: text(row, 8),
        price_version: text(row, 9),
        calls: figure(10),
        tokens: figure(11),
        duration_us: figure(12),
        list_nano_usd: figure(13),
        gpu_nano_usd: None,
        is_of_day: figure(14) > 0,
    })
}

fn number(row: Option<&Vec<Parameter>>, nth: usize) -> i64 {
    row.and_then(|row| row.get(nth)).and_then(Parameter::number).unwrap_or_default()
}

fn text(row: &[Parameter], nth: usize) -> Option<String> {
    match row.get(nth)? {
        Parameter::Text(text) => Some(text.clone()),
        Parameter::Null | Parameter::Number(_) => None,
    }
}

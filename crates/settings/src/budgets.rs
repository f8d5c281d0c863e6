//! `budgets` of a key, a team or a model.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use provider::{NanoUsd, Operation, Price, UpstreamId};

use crate::{
    cost,
    problem::Problem,
    reader::{Context, Table},
    types::{Config, Key, Model, Team, Upstream},
    value::{Item, Text},
};

const UNTIL: &str = "a day or a moment, such as \"2026-12-01\" or \"2026-12-01T12:00:00Z\"";
const PERCENTS: &str = "percents of the budget from 1 to 100, such as [50, 80]";

/// What a key, a team or a model may spend.
#[derive(Debug, Clone, PartialEq)]
pub struct Budget {
    /// The most that it may spend in a period.
    pub limit: NanoUsd,
    /// Another limit, and until when it holds, in milliseconds since 1970.
    pub raised: Option<(NanoUsd, i64)>,
    /// How often the budget begins anew.
    pub period: BudgetPeriod,
    /// Whose days these are.
    pub time_zone: TimeZone,
    /// Thresholds that are reported when spend passes them, in percent, ascending.
    pub warn_at_percent: Vec<u8>,
    /// What happens when it is used up.
    pub at_limit: AtLimit,
}

/// What happens to requests whose budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtLimit {
    /// They are refused.
    Refuse,
    /// They are served by the cheapest upstream alone.
    Cheapest,
}

/// How often a budget begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetPeriod {
    /// At midnight.
    Day,
    /// On Monday.
    Week,
    /// On the first day of a month.
    Month,
}

/// The budgets of what `owner` describes.
pub(crate) fn read(owner: &mut Table<'_>) -> Vec<Budget> {
    let mut budgets: Vec<Budget> = Vec::new();
    for mut table in owner.tables("budgets").unwrap_or_default() {
        let path = table.at("per");
        if let Some(budget) = budget(&mut table) {
            if budgets.iter().any(|other| other.period == budget.period) {
                let problem =
                    Problem::new(path, "is the period of another budget here too", "one budget for each period");
                table.context.report(problem);
            }
            budgets.push(budget);
        }
        table.finish();
    }
    budgets
}

fn budget(table: &mut Table<'_>) -> Option<Budget> {
    let periods = [("day", BudgetPeriod::Day), ("week", BudgetPeriod::Week), ("month", BudgetPeriod::Month)];
    if !table.has("usd") {
        table.context.report(Problem::new(table.at("usd"), "missing", "US dollars, such as \"250\""));
    }
    let path = table.at("usd");
    let limit = cost::amount(table, "usd", NanoUsd::from_usd);
    if limit == Some(NanoUsd(0)) {
        let problem = Problem::new(path, "is zero", "more than that");
        table.context.report(problem.hint("who may spend nothing needs no key"));
    }
    let period = table.required("per", "day, week or month");
    let period = period.and_then(|text| text.choice("a period", &periods));
    // All of them are read before any is missed: what was not read would be unknown.
    let time_zone = table.text("time_zone").map_or(Some(TimeZone::UTC), |text| zone(&text));
    let warn_at_percent = table.take("warn_at_percent").map_or_else(|| Some(vec![80]), percents);
    let days_of = time_zone.clone().unwrap_or(TimeZone::UTC);
    let raised = table.table("raised").map(|table| raised(table, &days_of));
    let reactions = [("refuse", AtLimit::Refuse), ("cheapest", AtLimit::Cheapest)];
    let at_limit =
        table.text("at_limit").map_or(Some(AtLimit::Refuse), |text| text.choice("what can be done", &reactions));
    Some(Budget {
        limit: limit?,
        raised: match raised {
            Some(raised) => Some(raised?),
            None => None,
        },
        period: period?,
        time_zone: time_zone?,
        warn_at_percent: warn_at_percent?,
        at_limit: at_limit?,
    })
}

/// Another limit, and until when it holds.
fn raised(mut table: Table<'_>, zone: &TimeZone) -> Option<(NanoUsd, i64)> {
    if !table.has("usd") {
        table.context.report(Problem::new(table.at("usd"), "missing", "US dollars, such as \"400\""));
    }
    let limit = cost::amount(&mut table, "usd", NanoUsd::from_usd);
    let until = table.required("until", UNTIL).and_then(|text| moment(&text, zone));
    table.finish();
    limit.zip(until)
}

/// The beginning of a day, or a moment with its offset.
fn moment(text: &Text<'_>, zone: &TimeZone) -> Option<i64> {
    let day = text.value.parse::<Date>().ok().filter(|_| text.value.len() == 10);
    let begins = day.and_then(|day| zone.to_timestamp(day.at(0, 0, 0, 0)).ok());
    let moment = begins.or_else(|| text.value.parse().ok()).map(Timestamp::as_millisecond);
    moment.or_else(|| text.refuse("is no moment", UNTIL, None))
}

fn zone(text: &Text<'_>) -> Option<TimeZone> {
    let found = TimeZone::get(&text.value).ok();
    found.or_else(|| text.refuse("is no time zone", "a name such as \"Europe/Berlin\" or \"UTC\"", None))
}

fn percents(item: Item<'_>) -> Option<Vec<u8>> {
    let read: Vec<Option<u8>> = item.list(PERCENTS)?.into_iter().map(|item| item.int(&(1..=100))).collect();
    let mut percents = read.into_iter().collect::<Option<Vec<_>>>()?;
    percents.sort_unstable();
    percents.dedup();
    Some(percents)
}

/// Reports what keeps budgets from holding: no ledger to begin from after a restart, and calls whose cost nobody knows.
pub(crate) fn check(
    context: &Context<'_>,
    has_storage: bool,
    (keys, teams): (&[Key], &[Team]),
    models: &[Model],
    upstreams: &[Upstream],
) {
    let of_models = models.iter().filter(|model| !model.budgets.is_empty());
    let targets: Vec<_> = of_models.flat_map(|model| &model.targets).map(|target| &target.upstream).collect();
    let of_all = keys.iter().any(|key| !key.budgets.is_empty()) || teams.iter().any(|team| !team.budgets.is_empty());
    if targets.is_empty() && !of_all {
        return;
    }
    if !has_storage {
        let problem = Problem::new("storage", "missing", "a [storage] with a url, as there are budgets");
        context.report(problem.hint("without a ledger, each start of the router would begin every budget anew"));
    }
    for upstream in upstreams.iter().filter(|upstream| of_all || targets.contains(&&upstream.id)) {
        if let Some(operation) = upstream.unpriced_operation() {
            let kinds = match operation {
                Operation::Transcriptions => "kind = \"audio_seconds\" or \"requests\", in an upstream of their own",
                _ => "kind = \"tokens\" or \"requests\", or list_usd_per_million for gpu_seconds",
            };
            let problem = Problem::new(
                format!("upstreams.{}.cost", upstream.id),
                format!("has no price for {}", operation.as_str()),
                "a price for all that the upstream supports, as there are budgets",
            );
            context.report(problem.hint(format!("{kinds}: what cannot be priced would be spent without an end")));
        }
    }
}

/// Whether no model works for it.
fn is_free(operation: Operation) -> bool {
    matches!(operation, Operation::Tokenize | Operation::Detokenize)
}

/// Whether what a call is thought to use, before it is made, has such a price: seconds of a recording, or tokens.
fn is_price_of(price: &Price, operation: Operation) -> bool {
    match operation {
        Operation::Transcriptions => !price.is_by_token(),
        _ => price.audio_second.0 == 0,
    }
}

impl Upstream {
    /// What it supports that has no list price on some day.
    fn unpriced_operation(&self) -> Option<Operation> {
        let counts = |operation| {
            let mut on_each_day = self.prices.iter().map(|price| price.tariff.list_price());
            !self.prices.is_empty()
                && on_each_day.all(|price| price.is_some_and(|price| is_price_of(&price, operation)))
        };
        self.operations.iter().copied().find(|operation| !is_free(*operation) && !counts(*operation))
    }
}

impl Config {
    /// The upstreams whose calls no budget could count.
    pub fn unpriced(&self) -> impl Iterator<Item = &UpstreamId> {
        self.upstreams.iter().filter(|upstream| upstream.unpriced_operation().is_some()).map(|upstream| &upstream.id)
    }
}

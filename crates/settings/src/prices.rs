//! Prices with dates: `prices` of an upstream, and which of them is in force.

use std::sync::Arc;

use jiff::{civil::Date, tz::TimeZone};
use provider::{PicoUsd, Price, Tariff};

use crate::{cost, problem::Problem, reader::Table, types::Config, value::Text};

/// A price and when it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatedPrice {
    /// The moment from which it is in force, in milliseconds since 1970.
    pub from_ms: i64,
    /// How the upstream charges from then on.
    pub tariff: Tariff,
    /// Tells it from other prices, on record.
    pub version: Arc<str>,
}

impl DatedPrice {
    /// One that was always in force, until the first date.
    fn undated(tariff: Tariff) -> Self {
        Self { from_ms: i64::MIN, version: version("", &tariff), tariff }
    }
}

/// The day, if there is one, and the list price in pico-dollars a token, and behind that those a call and a second of a recording
/// where there are any: what a row cost can be recalculated from it.
fn version(day: &str, tariff: &Tariff) -> Arc<str> {
    match tariff.list_price() {
        Some(price) => {
            let Price { input, cached_input, output, reasoning, request, audio_second } = price;
            let by_token = format!("{day}:{},{},{},{}", input.0, cached_input.0, output.0, reasoning.0);
            if price.is_by_token() { by_token } else { format!("{by_token},{},{}", request.0, audio_second.0) }.into()
        }
        None => format!("{day}:").into(),
    }
}

/// The day from which a price was in force, if it has one, and the price, of its version in the ledger; `None` if it has none per
/// token, call or second of a recording.
pub fn recorded_price(version: &str) -> Option<(Option<&str>, Price)> {
    let (day, rates) = version.split_once(':')?;
    let mut rates = rates.split(',').map(|rate| rate.parse().ok().map(PicoUsd));
    let mut next = || rates.next().flatten();
    let (input, cached_input, output, reasoning) = (next()?, next()?, next()?, next()?);
    let (request, audio_second) = (next().unwrap_or_default(), next().unwrap_or_default());
    let price = Price { input, cached_input, output, reasoning, request, audio_second };
    Some((Some(day).filter(|day| !day.is_empty()), price))
}

/// The prices of an upstream, in the order of their dates; none if it has no `cost`.
pub(crate) fn read(table: &mut Table<'_>) -> Vec<DatedPrice> {
    let first = table.table("cost").and_then(cost::read).map(DatedPrice::undated);
    let has_first = first.is_some() || table.has("cost");
    let mut prices: Vec<_> = first.into_iter().collect();
    if !table.has("prices") {
        return prices;
    }
    let path = table.at("prices");
    for mut entry in table.tables("prices").unwrap_or_default() {
        let from = entry.required("from", "a day, such as \"2026-12-01\"").and_then(|text| day(&text));
        if !entry.has("cost") {
            let problem = Problem::new(entry.at("cost"), "missing", "a table, as the upstream's own cost");
            entry.context.report(problem);
        }
        let tariff = entry.table("cost").and_then(cost::read);
        if let (Some((day, from_ms)), Some(tariff)) = (from, tariff) {
            if prices.iter().any(|price| price.from_ms == from_ms) {
                let problem = Problem::new(entry.at("from"), "is the day of another price", "a day of its own");
                entry.context.report(problem.value(format!("{:?}", day.to_string())));
            }
            prices.push(DatedPrice { from_ms, version: version(&day.to_string(), &tariff), tariff });
        }
        entry.finish();
    }
    if !has_first {
        let problem = Problem::new(path, "stands without cost", "cost as well: the price before the first day");
        table.context.report(problem);
    }
    prices.sort_by_key(|price| price.from_ms);
    prices
}

/// A day, and when it begins in UTC.
fn day(text: &Text<'_>) -> Option<(Date, i64)> {
    let day = text.value.parse::<Date>().ok().filter(|_| text.value.len() == 10);
    let begins = day.and_then(|day| Some((day, TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok()?.as_millisecond())));
    begins.or_else(|| text.refuse("is not a day", "a day, such as \"2026-12-01\"", None))
}

impl Config {
    /// Gives each upstream the price that is in force at this moment, in milliseconds since 1970.
    pub fn set_prices(&mut self, now_ms: i64) {
        for upstream in &mut self.upstreams {
            let price = upstream.prices.iter().rev().find(|price| price.from_ms <= now_ms);
            upstream.tariff = price.map(|price| price.tariff.clone());
            upstream.price_version = price.map(|price| price.version.clone());
        }
    }

    /// When the next price comes into force after this moment; `None` if none does.
    pub fn next_price_ms(&self, now_ms: i64) -> Option<i64> {
        let begins = self.upstreams.iter().flat_map(|upstream| &upstream.prices).map(|price| price.from_ms);
        begins.filter(|from_ms| *from_ms > now_ms).min()
    }
}

//! What a client wants for one request alone: headers that change how it is routed, each if its key may send it.

use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName};
use dispatch::Table;
use provider::NanoUsd;
use router::{StrategyName, Wishes};
use settings::Wish;

use crate::{auth::ClientKey, error::ApiError, names::Resolved};

pub(crate) const STRATEGY: HeaderName = HeaderName::from_static("x-llm-router-strategy");
pub(crate) const DEADLINE: HeaderName = HeaderName::from_static("x-llm-router-deadline-ms");
pub(crate) const MAX_COST: HeaderName = HeaderName::from_static("x-llm-router-max-cost-usd");
const FALLBACK: HeaderName = HeaderName::from_static("x-llm-router-fallback");

/// The longest deadline in milliseconds, as in the configuration.
const LONGEST_DEADLINE_MS: u64 = 3_600_000;
const STRATEGIES: &str = "weighted, balanced, cost or latency";
const MILLISECONDS: &str = "a whole number of milliseconds from 1 to 3600000";
const US_DOLLARS: &str = "US dollars with at most nine decimals, such as 0.002";
const TRUE_OR_FALSE: &str = "true or false";

/// What the headers of a request want.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HeaderWishes {
    /// What routing is to do.
    pub(crate) routing: Wishes,
    /// Whether other upstreams may serve when a named one fails.
    pub(crate) falls_back: bool,
}

impl HeaderWishes {
    /// Reads them. What `key` may not wish is refused, and so is what cannot be read.
    pub(crate) fn of(headers: &HeaderMap, key: &ClientKey) -> Result<Self, ApiError> {
        let strategy = read(headers, &STRATEGY, STRATEGIES, strategy)?;
        let deadline = read(headers, &DEADLINE, MILLISECONDS, milliseconds)?;
        let max_cost = read(headers, &MAX_COST, US_DOLLARS, |text| NanoUsd::from_usd(text).ok())?;
        let fallback = read(headers, &FALLBACK, TRUE_OR_FALSE, |text| text.to_ascii_lowercase().parse().ok())?;
        let routing = Wishes { strategy, deadline, max_cost, no_fallback: fallback == Some(false) };
        let wishes = Self { routing, falls_back: fallback == Some(true) };
        wishes.check_allowed(key)?;
        Ok(wishes)
    }

    /// Refuses what `key` may not wish. What begins later than it was let in asks again: `may_wish` may have changed meanwhile.
    pub(crate) fn check_allowed(&self, key: &ClientKey) -> Result<(), ApiError> {
        let Wishes { strategy, deadline, max_cost, no_fallback } = self.routing;
        for (wish, header, is_wished) in [
            (Wish::Strategy, STRATEGY, strategy.is_some()),
            (Wish::Deadline, DEADLINE, deadline.is_some()),
            (Wish::MaxCost, MAX_COST, max_cost.is_some()),
            (Wish::NoFallback, FALLBACK, no_fallback),
        ] {
            if is_wished && !key.may_wish.contains(wish) {
                return Err(ApiError::wish_not_allowed(wish, header.as_str()));
            }
        }
        Ok(())
    }

    /// Refuses what means nothing where this is asked for, which the body calls `named`.
    pub(crate) fn check(&self, resolved: &Resolved, named: &str, table: &Table) -> Result<(), ApiError> {
        if self.routing.max_cost.is_some() && resolved.ensemble().is_some() {
            return Err(ApiError::no_max_cost_of_ensembles());
        }
        let is_direct = || table.choose(resolved.name(Some(named))).is_some_and(|choice| choice.is_direct());
        if self.routing.strategy.is_some() && !self.falls_back && is_direct() {
            return Err(ApiError::no_strategy_of_upstreams());
        }
        Ok(())
    }
}

/// The value of a header, which takes what `takes` says; `None` if it is not there.
fn read<T>(
    headers: &HeaderMap,
    name: &HeaderName,
    takes: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, ApiError> {
    let mut values = headers.get_all(name);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(ApiError::duplicate_header(name.as_str()));
    }
    let read = value.to_str().ok().and_then(|text| parse(text.trim()));
    read.map(Some).ok_or_else(|| ApiError::bad_header(name.as_str(), takes))
}

fn strategy(text: &str) -> Option<StrategyName> {
    StrategyName::ALL.into_iter().find(|strategy| strategy.as_str().eq_ignore_ascii_case(text))
}

fn milliseconds(text: &str) -> Option<Duration> {
    let is_whole = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| is_whole && (1..=LONGEST_DEADLINE_MS).contains(number));
    number.map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_name_every_strategy_and_the_longest_deadline() {
        assert!(StrategyName::ALL.iter().all(|strategy| STRATEGIES.contains(strategy.as_str())));
        assert!(MILLISECONDS.ends_with(&LONGEST_DEADLINE_MS.to_string()));
    }
}

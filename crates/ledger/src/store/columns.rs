//! The columns of the tables, in order, and what stands in them for a row. Both stores write them.

use crate::{
    entry::{Attempt, MOST_NANO_USD, Request, UsageSource},
    report::DAY_MS,
};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    Text,
}

use Kind::{Number, Text};

/// The columns of `attempts`.
pub(super) const ATTEMPTS: [(&str, Kind); 26] = [
    ("day", Number),
    ("writer", Number),
    ("number", Number),
    ("attempt", Number),
    ("ended_at_ms", Number),
    ("request_id", Text),
    ("team", Text),
    ("key", Text),
    ("model", Text),
    ("route", Text),
    ("tags", Text),
    ("requested", Text),
    ("upstream", Text),
    ("role", Text),
    ("reason", Text),
    ("outcome", Text),
    ("usage_source", Text),
    ("prompt_tokens", Number),
    ("cached_tokens", Number),
    ("completion_tokens", Number),
    ("reasoning_tokens", Number),
    ("cost_nano_usd", Number),
    ("price_version", Text),
    ("upstream_call", Text),
    ("first_token_us", Number),
    ("duration_us", Number),
];

/// The columns of `requests`.
pub(super) const REQUESTS: [(&str, Kind); 22] = [
    ("day", Number),
    ("writer", Number),
    ("number", Number),
    ("ended_at_ms", Number),
    ("request_id", Text),
    ("team", Text),
    ("key", Text),
    ("model", Text),
    ("route", Text),
    ("tags", Text),
    ("requested", Text),
    ("is_stream", Number),
    ("strategy", Text),
    ("reason", Text),
    ("outcome", Text),
    ("error", Text),
    ("attempts", Number),
    ("upstream", Text),
    ("first_token_us", Number),
    ("duration_us", Number),
    ("baselines", Text),
    ("config_version", Text),
];

/// The names of columns, with commas.
pub(super) fn names(columns: &[(&str, Kind)]) -> String {
    columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// A value of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column<'a> {
    Null,
    Number(i64),
    Text(&'a str),
}

impl From<u64> for Column<'_> {
    /// Amounts are [bounded](Attempt::bounded) far below 2⁶³.
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<i64> for Column<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl<'a> From<&'a str> for Column<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a, T: Into<Column<'a>>> From<Option<T>> for Column<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, T::into)
    }
}

/// The columns of `attempts`, in order.
pub(super) fn attempt<'a>(row: &Attempt<'a>) -> [Column<'a>; 26] {
    let (row, labels) = (row.bounded(), row.labels);
    [
        row.ended_at_ms.div_euclid(DAY_MS).into(),
        row.key.request.writer.into(),
        row.key.request.number.into(),
        u64::from(row.key.attempt).into(),
        row.ended_at_ms.into(),
        labels.request_id.into(),
        labels.team.into(),
        labels.key.into(),
        labels.model.into(),
        labels.route.into(),
        labels.tags.into(),
        labels.requested.into(),
        row.upstream.into(),
        row.role.into(),
        row.reason.into(),
        row.outcome.into(),
        row.usage_source.map(UsageSource::as_str).into(),
        row.tokens.map(|tokens| tokens.prompt).into(),
        row.tokens.and_then(|tokens| tokens.cached).into(),
        row.tokens.map(|tokens| tokens.completion).into(),
        row.tokens.and_then(|tokens| tokens.reasoning).into(),
        row.cost_nano_usd.into(),
        row.price_version.into(),
        row.upstream_call.into(),
        row.first_token_us.into(),
        row.duration_us.into(),
    ]
}

/// The columns of `requests`, in order.
pub(super) fn request<'a>(row: &Request<'a>, baselines: &'a str) -> [Column<'a>; 22] {
    let labels = row.labels;
    [
        row.ended_at_ms.div_euclid(DAY_MS).into(),
        row.key.writer.into(),
        row.key.number.into(),
        row.ended_at_ms.into(),
        labels.request_id.into(),
        labels.team.into(),
        labels.key.into(),
        labels.model.into(),
        labels.route.into(),
        labels.tags.into(),
        labels.requested.into(),
        i64::from(row.is_stream).into(),
        row.strategy.into(),
        row.reason.into(),
        row.outcome.into(),
        row.error.into(),
        u64::from(row.attempts).into(),
        row.upstream.into(),
        row.first_token_us.into(),
        row.duration_us.into(),
        baselines.into(),
        row.config_version.into(),
    ]
}

/// Amounts by the names of their policies, as a JSON object.
pub(super) fn baselines(row: &Request<'_>) -> String {
    let amounts = row.baselines.iter().map(|(name, amount)| ((*name).to_owned(), (*amount).min(MOST_NANO_USD).into()));
    serde_json::Value::Object(amounts.collect()).to_string()
}

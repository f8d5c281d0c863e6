//! Rows into tables.

use rusqlite::{Connection, ToSql, params_from_iter, types::ToSqlOutput};

use super::Rows;
use crate::entry::{Attempt, Request, UsageSource};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

const ATTEMPT: &str = "INSERT OR IGNORE INTO attempts (day, writer, number, attempt, ended_at_ms, request_id, team, key, model,
    route, upstream, role, reason, outcome, usage_source, prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens,
    cost_nano_usd, price_version, upstream_call, first_token_us, duration_us)";
const ATTEMPT_VALUES: &str =
    "VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22,?23,?24)";
/// The end of a call has the day on which it ended, an unknown one that on which it began.
const UNLESS_ENDED: &str =
    "SELECT ?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22,?23,?24
    WHERE NOT EXISTS (SELECT 1 FROM attempts
    WHERE day BETWEEN ?1 AND ?1 + 1 AND writer = ?2 AND number = ?3 AND attempt = ?4)";
const REQUEST: &str = "INSERT OR IGNORE INTO requests (day, writer, number, ended_at_ms, request_id, team, key, model, route,
    is_stream, strategy, reason, outcome, error, attempts, upstream, first_token_us, duration_us, baselines, config_version)
    VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";

/// Writes rows, all or none.
pub(super) fn rows(connection: &mut Connection, rows: &Rows<'_>) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    {
        for (rows, values) in [(&rows.attempts, ATTEMPT_VALUES), (&rows.unknown, UNLESS_ENDED)] {
            let mut statement = transaction.prepare_cached(&format!("{ATTEMPT} {values}"))?;
            for row in rows {
                statement.execute(params_from_iter(attempt(row)))?;
            }
        }
        let mut statement = transaction.prepare_cached(REQUEST)?;
        for row in &rows.requests {
            let baselines = baselines(row);
            statement.execute(params_from_iter(request(row, &baselines)))?;
        }
    }
    transaction.commit()
}

/// A value of a column.
enum Column<'a> {
    Null,
    Number(i64),
    Text(&'a str),
}

impl ToSql for Column<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(rusqlite::types::Value::Null),
            Self::Number(number) => ToSqlOutput::from(*number),
            Self::Text(text) => ToSqlOutput::from(*text),
        })
    }
}

impl From<u64> for Column<'_> {
    /// Amounts beyond 2⁶³ are not counted in this world: nine billion dollars in nano-dollars.
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
fn attempt<'a>(row: &Attempt<'a>) -> [Column<'a>; 24] {
    let labels = row.labels;
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
fn request<'a>(row: &Request<'a>, baselines: &'a str) -> [Column<'a>; 20] {
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
fn baselines(row: &Request<'_>) -> String {
    let amounts = row.baselines.iter().map(|(name, amount)| ((*name).to_owned(), (*amount).into()));
    serde_json::Value::Object(amounts.collect()).to_string()
}

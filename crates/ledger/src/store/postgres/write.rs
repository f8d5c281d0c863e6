//! Rows into tables: one statement for each kind of rows, whatever their number, because each statement is a trip over the
//! network.

use std::borrow::Cow;

use postgres::{Client, types::ToSql};

use super::Rows;
use crate::store::{
    columns::{self, Column, Kind},
    gpu_hours::{self, GPU_HOURS},
};

/// The end of a call has the day on which it ended, an unknown one that on which it began.
const UNLESS_ENDED: &str = "WHERE NOT EXISTS (SELECT 1 FROM attempts AS ended
    WHERE ended.day BETWEEN rows.day AND rows.day + 1 AND ended.writer = rows.writer AND ended.number = rows.number
    AND ended.attempt = rows.attempt)";

/// A row that is there already stays as it is.
const IF_NEW: &str = "ON CONFLICT DO NOTHING";

/// Writes rows, all or none.
pub(super) fn rows(client: &mut Client, rows: &Rows<'_>) -> Result<(), postgres::Error> {
    let mut transaction = client.transaction()?;
    for (rows, condition) in [(&rows.attempts, ""), (&rows.unknown, UNLESS_ENDED)] {
        let values: Vec<_> = rows.iter().map(columns::attempt).collect();
        let rest = format!("{condition} {IF_NEW}");
        insert(&mut transaction, "attempts", (&columns::ATTEMPTS, &values), &rest)?;
    }
    let baselines: Vec<_> = rows.requests.iter().map(columns::baselines).collect();
    let values = rows.requests.iter().zip(&baselines).map(|(row, baselines)| columns::request(row, baselines));
    insert(&mut transaction, "requests", (&columns::REQUESTS, &values.collect::<Vec<_>>()), IF_NEW)?;
    let values: Vec<_> = rows.gpu_hours.iter().map(gpu_hours::gpu_hour).collect();
    insert(&mut transaction, "gpu_hours", (&GPU_HOURS, &values), &gpu_hours::keep_the_latest())?;
    transaction.commit()
}

/// Takes rows, as `rest` says.
fn insert<const N: usize>(
    transaction: &mut postgres::Transaction<'_>,
    table: &str,
    (columns, rows): (&[(&str, Kind); N], &[[Column<'_>; N]]),
    rest: &str,
) -> Result<(), postgres::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let names = columns::names(columns);
    let arrays: Vec<_> = columns.iter().enumerate().map(|(nth, (_, kind))| array(nth, *kind)).collect();
    let arrays = arrays.join(", ");
    let sql = format!("INSERT INTO {table} ({names}) SELECT {names} FROM unnest({arrays}) AS rows ({names}) {rest}");
    let values: Vec<Values<'_>> =
        columns.iter().enumerate().map(|(nth, (_, kind))| Values::new(rows, nth, *kind)).collect();
    let parameters: Vec<&(dyn ToSql + Sync)> = values.iter().map(Values::parameter).collect();
    transaction.execute(&sql, &parameters).map(drop)
}

fn array(nth: usize, kind: Kind) -> String {
    let of = match kind {
        Kind::Number => "bigint",
        Kind::Text => "text",
    };
    format!("${}::{of}[]", nth + 1)
}

/// What stands in a column, for all rows.
enum Values<'a> {
    Numbers(Vec<Option<i64>>),
    Texts(Vec<Option<Cow<'a, str>>>),
}

impl<'a> Values<'a> {
    fn new<const N: usize>(rows: &[[Column<'a>; N]], nth: usize, kind: Kind) -> Self {
        match kind {
            Kind::Number => Self::Numbers(rows.iter().map(|row| number(row[nth])).collect()),
            Kind::Text => Self::Texts(rows.iter().map(|row| text(row[nth])).collect()),
        }
    }

    fn parameter(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Numbers(numbers) => numbers,
            Self::Texts(texts) => texts,
        }
    }
}

fn number(column: Column<'_>) -> Option<i64> {
    match column {
        Column::Number(number) => Some(number),
        Column::Null | Column::Text(_) => None,
    }
}

/// Postgres has no NUL in texts, and an upstream's id of a call may have one: the row must not be refused for ever.
fn text(column: Column<'_>) -> Option<Cow<'_, str>> {
    match column {
        Column::Text(text) if text.contains('\0') => Some(text.replace('\0', "\u{fffd}").into()),
        Column::Text(text) => Some(text.into()),
        Column::Null | Column::Number(_) => None,
    }
}

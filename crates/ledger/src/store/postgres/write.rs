//! Rows into tables: one statement for each kind of rows, whatever their number, because each statement is a trip over the
//! network.

use std::{borrow::Cow, collections::HashMap};

use postgres::{Client, Statement, Transaction, types::ToSql};

use super::Rows;
use crate::{
    report::Dialect,
    store::{
        columns::{self, Column, Kind},
        gpu_hours::{self, GPU_HOURS},
        rollup::{ATTEMPTS, REQUESTS, Rollup},
    },
};

/// The end of a call has the day on which it ended, an unknown one that on which it began.
const UNLESS_ENDED: &str = "NOT EXISTS (SELECT 1 FROM attempts AS ended
    WHERE ended.day BETWEEN rows.day AND rows.day + 1 AND ended.writer = rows.writer AND ended.number = rows.number
    AND ended.attempt = rows.attempt)";
/// The rows of the other days are deleted, so that nobody knows whether they were there.
const KEPT: &str = "rows.day >= (SELECT rows_from_day FROM retention)";

/// The statements of a connection, by their texts: planning one takes longer than most rows do.
pub(super) type Prepared = HashMap<String, Statement>;

/// Writes rows, all or none, and adds them to sums. Returns how many came too late.
pub(super) fn rows(client: &mut Client, prepared: &mut Prepared, rows: &Rows<'_>) -> Result<u64, postgres::Error> {
    let mut transaction = client.transaction()?;
    let mut to = (&mut transaction, prepared);
    let kept = if rows.may_be_twice { KEPT } else { "true" };
    let mut late = 0;
    for (rows, condition) in [(&rows.attempts, "true"), (&rows.unknown, UNLESS_ENDED)] {
        let values: Vec<_> = rows.iter().map(columns::attempt).collect();
        late += insert(&mut to, &ATTEMPTS, (&columns::ATTEMPTS, &values), (kept, condition))?;
    }
    let baselines: Vec<_> = rows.requests.iter().map(columns::baselines).collect();
    let values = rows.requests.iter().zip(&baselines).map(|(row, baselines)| columns::request(row, baselines));
    let values: Vec<_> = values.collect();
    late += insert(&mut to, &REQUESTS, (&columns::REQUESTS, &values), (kept, "true"))?;
    put_gpu_hours(&mut transaction, rows)?;
    transaction.commit()?;
    Ok(late)
}

/// Takes rows unless they are there already, and adds those that were not to the sums of their hours, or leaves that to whoever makes
/// the sums of their day: the lock waits for each other. Returns how many are not of a day whose rows are `kept`.
fn insert<const N: usize>(
    (transaction, prepared): &mut (&mut Transaction<'_>, &mut Prepared),
    rollup: &Rollup,
    (columns, rows): (&[(&str, Kind); N], &[[Column<'_>; N]]),
    (kept, condition): (&str, &str),
) -> Result<u64, postgres::Error> {
    if rows.is_empty() {
        return Ok(0);
    }
    let (table, names) = (rollup.rows, columns::names(columns));
    let arrays: Vec<_> = columns.iter().enumerate().map(|(nth, (_, kind))| array(nth, *kind)).collect();
    let arrays = arrays.join(", ");
    let add = rollup.add(Dialect::Postgres, "summed");
    let ranges = if rollup.rows == ATTEMPTS.rows {
        format!(", ranges AS ({})", Rollup::add_ranges(Dialect::Postgres, "summed"))
    } else {
        String::new()
    };
    let sql = format!(
        "WITH batch AS (SELECT {names} FROM unnest({arrays}) AS rows ({names})),
        inserted AS (INSERT INTO {table} ({names}) SELECT {names} FROM batch AS rows WHERE {kept} AND {condition}
            ON CONFLICT DO NOTHING RETURNING *),
        due AS (SELECT day, writer, number FROM rollup_due
            WHERE table_name = '{table}' AND day IN (SELECT day FROM batch) FOR SHARE),
        summed AS (SELECT * FROM inserted WHERE NOT EXISTS (SELECT 1 FROM due
            WHERE due.day = inserted.day AND (inserted.writer, inserted.number) > (due.writer, due.number))),
        sums AS ({add}){ranges}
        SELECT count(*) FROM batch AS rows WHERE NOT ({kept})"
    );
    let values: Vec<Values<'_>> =
        columns.iter().enumerate().map(|(nth, (_, kind))| Values::new(rows, nth, *kind)).collect();
    let parameters: Vec<&(dyn ToSql + Sync)> = values.iter().map(Values::parameter).collect();
    let statement = match prepared.get(&sql) {
        Some(statement) => statement.clone(),
        None => transaction.prepare(&sql)?,
    };
    let late: i64 = transaction.query_one(&statement, &parameters)?.get(0);
    prepared.insert(sql, statement);
    Ok(late.unsigned_abs())
}

/// Takes rows of worker time in place of earlier ones.
fn put_gpu_hours(transaction: &mut postgres::Transaction<'_>, rows: &Rows<'_>) -> Result<(), postgres::Error> {
    if rows.gpu_hours.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = rows.gpu_hours.iter().map(gpu_hours::gpu_hour).collect();
    let names = columns::names(&GPU_HOURS);
    let arrays: Vec<_> = GPU_HOURS.iter().enumerate().map(|(nth, (_, kind))| array(nth, *kind)).collect();
    let (arrays, latest) = (arrays.join(", "), gpu_hours::keep_the_latest());
    let sql =
        format!("INSERT INTO gpu_hours ({names}) SELECT {names} FROM unnest({arrays}) AS rows ({names}) {latest}");
    let values: Vec<_> = GPU_HOURS.iter().enumerate().map(|(nth, (_, kind))| Values::new(&rows, nth, *kind)).collect();
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

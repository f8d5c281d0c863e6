//! Rows into tables, and what they add to sums.

use std::sync::LazyLock;

use rusqlite::{
    Connection, ToSql, Transaction, params, params_from_iter,
    types::{ToSqlOutput, Value},
};

use super::{
    super::{
        columns::{self, Column},
        gpu_hours::{self, GPU_HOURS},
        rollup::{ATTEMPTS, REQUESTS, Rollup},
        sums::Sums,
    },
    Rows,
};
use crate::{entry::RequestKey, report::DAY_MS};

/// The end of a call has the day on which it ended, an unknown one that on which it began.
const UNLESS_ENDED: &str = "WHERE NOT EXISTS (SELECT 1 FROM attempts
    WHERE day BETWEEN ?1 AND ?1 + 1 AND writer = ?2 AND number = ?3 AND attempt = ?4)";

// Made once: making them takes longer than a small batch of rows.
static INSERT_ATTEMPT: LazyLock<String> = LazyLock::new(|| insert("attempts", &columns::ATTEMPTS));
static INSERT_UNKNOWN: LazyLock<String> = LazyLock::new(|| format!("{} {UNLESS_ENDED}", *INSERT_ATTEMPT));
static INSERT_REQUEST: LazyLock<String> = LazyLock::new(|| insert("requests", &columns::REQUESTS));
static ADD_ATTEMPTS: LazyLock<String> = LazyLock::new(|| ATTEMPTS.add_one());
static ADD_REQUESTS: LazyLock<String> = LazyLock::new(|| REQUESTS.add_one());

/// Writes rows, all or none. Returns how many came too late.
pub(super) fn rows(connection: &mut Connection, rows: &Rows<'_>) -> rusqlite::Result<u64> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let kept = Kept::read(&transaction, rows.may_be_twice)?;
    let (mut sums, mut late) = (Sums::default(), 0);
    {
        for (rows, insert) in [(&rows.attempts, &INSERT_ATTEMPT), (&rows.unknown, &INSERT_UNKNOWN)] {
            let mut statement = transaction.prepare_cached(insert)?;
            for row in rows {
                if kept.is_late(row.ended_at_ms) {
                    late += 1;
                } else if statement.execute(params_from_iter(columns::attempt(row)))? > 0
                    && kept.is_summed(&ATTEMPTS, row.ended_at_ms, row.key.request)
                {
                    sums.add_attempt(row);
                }
            }
        }
        let mut statement = transaction.prepare_cached(&INSERT_REQUEST)?;
        for row in &rows.requests {
            let baselines = columns::baselines(row);
            if kept.is_late(row.ended_at_ms) {
                late += 1;
            } else if statement.execute(params_from_iter(columns::request(row, &baselines)))? > 0
                && kept.is_summed(&REQUESTS, row.ended_at_ms, row.key)
            {
                sums.add_request(row);
            }
        }
    }
    add(&transaction, &sums)?;
    put_gpu_hours(&transaction, rows)?;
    transaction.commit()?;
    Ok(late)
}

/// Takes a row of worker time in place of an earlier one.
fn put_gpu_hours(transaction: &Transaction<'_>, rows: &Rows<'_>) -> rusqlite::Result<()> {
    if rows.gpu_hours.is_empty() {
        return Ok(());
    }
    let values = vec!["?"; GPU_HOURS.len()].join(", ");
    let (names, latest) = (columns::names(&GPU_HOURS), gpu_hours::keep_the_latest());
    let mut statement =
        transaction.prepare_cached(&format!("INSERT INTO gpu_hours ({names}) VALUES ({values}) {latest}"))?;
    for row in &rows.gpu_hours {
        statement.execute(params_from_iter(gpu_hours::gpu_hour(row)))?;
    }
    Ok(())
}

/// Takes a row unless it is there already.
fn insert(table: &str, columns: &[(&str, columns::Kind)]) -> String {
    let values: Vec<_> = (1..=columns.len()).map(|nth| format!("?{nth}")).collect();
    format!("INSERT OR IGNORE INTO {table} ({}) SELECT {}", columns::names(columns), values.join(", "))
}

/// Adds to the sums of hours.
fn add(transaction: &Transaction<'_>, sums: &Sums<'_>) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(&ADD_ATTEMPTS)?;
    for ((hour, labels), figures) in &sums.attempts {
        statement.execute(params_from_iter(values(*hour, labels.iter().copied(), figures)))?;
    }
    let mut statement = transaction.prepare_cached(&ADD_REQUESTS)?;
    for ((hour, labels), policies) in &sums.requests {
        for (policy, figures) in policies {
            let labels = labels.iter().chain([policy]).copied();
            statement.execute(params_from_iter(values(*hour, labels, figures)))?;
        }
    }
    let mut statement = transaction.prepare_cached(
        "INSERT INTO attempt_ranges (hour, writer, first_number, last_number) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (hour, writer) DO UPDATE SET first_number = min(first_number, ?3), last_number = max(last_number, ?4)",
    )?;
    for ((hour, writer), (first, last)) in &sums.ranges {
        statement.execute(params![hour, Column::from(*writer), Column::from(*first), Column::from(*last)])?;
    }
    Ok(())
}

fn values<'a>(
    hour: i64,
    labels: impl Iterator<Item = &'a str>,
    figures: &'a [i64],
) -> impl Iterator<Item = Column<'a>> {
    let labels = labels.map(Column::from);
    [Column::from(hour)].into_iter().chain(labels).chain(figures.iter().map(|figure| Column::from(*figure)))
}

/// Which rows are still there, and which of them are in no sum yet.
struct Kept {
    rows_from_day: i64,
    /// The table, the day, and the writer and number behind which its rows are in no sum.
    due: Vec<(String, i64, (i64, i64))>,
}

impl Kept {
    fn read(transaction: &Transaction<'_>, may_be_twice: bool) -> rusqlite::Result<Self> {
        let mut statement = transaction.prepare_cached("SELECT rows_from_day FROM retention")?;
        let rows_from_day = if may_be_twice { statement.query_row([], |row| row.get(0))? } else { i64::MIN };
        let mut statement = transaction.prepare_cached("SELECT table_name, day, writer, number FROM rollup_due")?;
        let due = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, (row.get(2)?, row.get(3)?))))?;
        Ok(Self { rows_from_day, due: due.collect::<rusqlite::Result<_>>()? })
    }

    /// Whether the rows of its day are deleted, so that nobody knows whether it was there.
    fn is_late(&self, ended_at_ms: i64) -> bool {
        ended_at_ms.div_euclid(DAY_MS) < self.rows_from_day
    }

    /// Whether it must be added to a sum now, and not when the sums of its day are made.
    fn is_summed(&self, rollup: &Rollup, ended_at_ms: i64, key: RequestKey) -> bool {
        let (day, key) = (ended_at_ms.div_euclid(DAY_MS), [key.writer, key.number].map(i64::try_from));
        let [writer, number] = key.map(|part| part.unwrap_or(i64::MAX));
        let is_due = |(table, of, behind): &(String, i64, (i64, i64))| {
            table == rollup.rows && *of == day && (writer, number) > *behind
        };
        !self.due.iter().any(is_due)
    }
}

impl ToSql for Column<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(Value::Null),
            Self::Number(number) => ToSqlOutput::from(*number),
            Self::Text(text) => ToSqlOutput::from(*text),
        })
    }
}

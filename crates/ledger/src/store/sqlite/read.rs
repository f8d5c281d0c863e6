//! Answers to questions.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row, params_from_iter, types::Value};

use super::StoreError;
use crate::report::{Baseline, Query, Spend};

/// What the ledger in a file says about spend. Reads while a router writes.
pub(crate) fn spend(path: &Path, query: &Query) -> Result<Vec<Spend>, StoreError> {
    let labels = query.by.len();
    rows(path, query.spend(), |row| {
        let figure = |nth: usize| row.get::<_, i64>(labels + nth).map(i64::cast_unsigned);
        Ok(Spend {
            labels: labels_of(row, labels)?,
            calls: figure(0)?,
            answers: figure(1)?,
            prompt_tokens: figure(2)?,
            cached_tokens: figure(3)?,
            completion_tokens: figure(4)?,
            reasoning_tokens: figure(5)?,
            cost_nano_usd: figure(6)?,
            wasted_nano_usd: figure(7)?,
            estimated_nano_usd: figure(8)?,
            unknown_nano_usd: figure(9)?,
            unpriced_calls: figure(10)?,
        })
    })
}

/// What the ledger in a file says about other policies.
pub(crate) fn baselines(path: &Path, query: &Query) -> Result<Vec<Baseline>, StoreError> {
    let labels = query.by.len();
    rows(path, query.baselines(), |row| {
        Ok(Baseline {
            labels: labels_of(row, labels)?,
            policy: row.get(labels)?,
            answers: row.get::<_, i64>(labels + 1)?.cast_unsigned(),
            cost_nano_usd: row.get::<_, i64>(labels + 2)?.cast_unsigned(),
        })
    })
}

fn labels_of(row: &Row<'_>, labels: usize) -> rusqlite::Result<Vec<Option<String>>> {
    (0..labels).map(|nth| row.get(nth)).collect()
}

fn rows<T>(
    path: &Path,
    (sql, parameters): (String, Vec<Value>),
    of: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    let failed = |source| StoreError::Sqlite { path: path.to_owned(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(super::BUSY).map_err(failed)?;
    if super::check(&connection, path)? == 0 {
        return Err(StoreError::Foreign(format!("{}: this file is empty, and no ledger yet", path.display())));
    }
    let mut statement = connection.prepare(&sql).map_err(failed)?;
    let rows = statement.query_map(params_from_iter(parameters), of).map_err(failed)?;
    rows.collect::<Result<_, _>>().map_err(failed)
}

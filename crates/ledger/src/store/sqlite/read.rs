//! Answers to questions.

use std::path::{Path, PathBuf};

use rusqlite::{
    Connection, OpenFlags, Row, ToSql, params_from_iter,
    types::{ToSqlOutput, Value},
};

use super::StoreError;
use crate::{
    report::{Baseline, Dialect, Parameter, Parts, Query, Spend, Statement},
    store::{
        FIRST_WITH_SUMS, FIRST_WITH_TAGS, Reports,
        rollup::{ATTEMPTS, REQUESTS, Rollup},
    },
};

/// A file that is read, also while a router writes it.
pub(crate) struct Reader {
    connection: Connection,
    path: PathBuf,
    /// How many steps its schema has had. Reading takes none.
    done: usize,
}

impl Reader {
    /// Opens a file whose answers are all of one moment.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Sqlite { path: path.to_owned(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(super::BUSY).map_err(failed)?;
        let done = super::check(&connection, path)?;
        if done == 0 {
            return Err(StoreError::Foreign(format!("{}: this file is empty, and no ledger yet", path.display())));
        }
        // The end of the connection ends it.
        connection.execute_batch("BEGIN").map_err(failed)?;
        Ok(Self { connection, path: path.to_owned(), done })
    }

    fn answer<T>(
        &self,
        (query, rollup): (&Query, &Rollup),
        statement: impl FnOnce(&Parts) -> Statement,
        of: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let parts = if self.done >= FIRST_WITH_SUMS {
            Parts::of(query, rollup, &mut |statement| self.rows(statement, numbers))?
        } else {
            Parts::rows_only(query, self.done >= FIRST_WITH_TAGS)
        };
        self.rows(&statement(&parts), of)
    }

    fn rows<T>(
        &self,
        statement: &Statement,
        of: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = || {
            let mut prepared = self.connection.prepare(&statement.sql)?;
            let rows = prepared.query_map(params_from_iter(&statement.parameters), of)?;
            rows.collect::<rusqlite::Result<_>>()
        };
        rows().map_err(|source| StoreError::Sqlite { path: self.path.clone(), source })
    }
}

impl Reports for Reader {
    fn interrupt(&self) -> Box<dyn Fn() + Send> {
        let handle = self.connection.get_interrupt_handle();
        Box::new(move || handle.interrupt())
    }

    fn spend(&mut self, query: &Query) -> Result<Vec<Spend>, StoreError> {
        let labels = query.by.len();
        let statement = |parts: &Parts| query.spend(Dialect::Sqlite, parts);
        self.answer((query, &ATTEMPTS), statement, |row| {
            let mut figures = [0_i64; Spend::FIGURES];
            for (nth, figure) in figures.iter_mut().enumerate() {
                *figure = row.get(labels + nth)?;
            }
            Ok(Spend::new(labels_of(row, labels)?, figures))
        })
    }

    fn baselines(&mut self, query: &Query) -> Result<Vec<Baseline>, StoreError> {
        let labels = query.by.len();
        let statement = |parts: &Parts| query.baselines(Dialect::Sqlite, parts);
        self.answer((query, &REQUESTS), statement, |row| {
            let (policy, figures) = (row.get(labels)?, [row.get(labels + 1)?, row.get(labels + 2)?]);
            Ok(Baseline::new(labels_of(row, labels)?, policy, figures))
        })
    }

    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn ask(&mut self, statement: &Statement) -> Result<Vec<Vec<Parameter>>, StoreError> {
        let rows = super::sql::rows(&self.connection, &statement.sql, &statement.parameters);
        rows.map_err(|source| StoreError::Sqlite { path: self.path.clone(), source })
    }
}

fn numbers(row: &Row<'_>) -> rusqlite::Result<Vec<i64>> {
    (0..row.as_ref().column_count()).map(|nth| row.get(nth)).collect()
}

fn labels_of(row: &Row<'_>, labels: usize) -> rusqlite::Result<Vec<Option<String>>> {
    (0..labels).map(|nth| row.get(nth)).collect()
}

impl ToSql for Parameter {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(Value::Null),
            Self::Number(number) => ToSqlOutput::from(*number),
            Self::Text(text) => ToSqlOutput::from(text.as_str()),
        })
    }
}

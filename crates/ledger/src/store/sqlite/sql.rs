//! Statements of others than the drain: keys and teams.

use rusqlite::{Connection, Transaction, TransactionBehavior, params_from_iter, types::ValueRef};

use super::{Sqlite, StoreError};
use crate::{
    report::{Dialect, Parameter},
    store::{Access, Sql, Statements},
};

impl Sql for Sqlite {
    fn transaction(
        &mut self,
        access: Access,
        work: &mut dyn FnMut(&mut dyn Statements) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let path = self.path.clone();
        let failed = |source| StoreError::Sqlite { path: path.clone(), source };
        let behavior = match access {
            Access::Read => TransactionBehavior::Deferred,
            Access::Change | Access::Upkeep => TransactionBehavior::Immediate,
        };
        let transaction = self.connection.transaction_with_behavior(behavior).map_err(failed)?;
        let mut statements = InFile { transaction, path: &path };
        work(&mut statements)?;
        statements.transaction.commit().map_err(failed)
    }
}

struct InFile<'a> {
    transaction: Transaction<'a>,
    path: &'a std::path::Path,
}

impl InFile<'_> {
    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { path: self.path.to_owned(), source }
    }
}

impl Statements for InFile<'_> {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn execute(&mut self, sql: &str, parameters: &[Parameter]) -> Result<u64, StoreError> {
        let execute = || self.transaction.prepare_cached(sql)?.execute(params_from_iter(parameters));
        execute().map(|rows| rows as u64).map_err(|error| self.failed(error))
    }

    fn query(&mut self, sql: &str, parameters: &[Parameter]) -> Result<Vec<Vec<Parameter>>, StoreError> {
        rows(&self.transaction, sql, parameters).map_err(|error| self.failed(error))
    }
}

pub(super) fn rows(
    connection: &Connection,
    sql: &str,
    parameters: &[Parameter],
) -> rusqlite::Result<Vec<Vec<Parameter>>> {
    let mut statement = connection.prepare_cached(sql)?;
    let columns = statement.column_count();
    let of = |row: &rusqlite::Row<'_>| (0..columns).map(|nth| Ok(value(row.get_ref(nth)?))).collect();
    statement.query_map(params_from_iter(parameters), of)?.collect()
}

fn value(value: ValueRef<'_>) -> Parameter {
    match value {
        ValueRef::Integer(number) => Parameter::Number(number),
        ValueRef::Text(text) => Parameter::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => Parameter::Null,
    }
}

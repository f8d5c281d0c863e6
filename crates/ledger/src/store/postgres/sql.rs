//! Statements of others than the drain: keys and teams.

use postgres::{
    Client, Transaction,
    types::{ToSql, Type},
};

use super::{KEYS_LOCK, Postgres, PostgresUrl, StoreError, UPKEEP_LOCK};
use crate::{
    report::{Dialect, Parameter},
    store::{Access, Sql, Statements},
};

impl Sql for Postgres {
    fn transaction(
        &mut self,
        access: Access,
        work: &mut dyn FnMut(&mut dyn Statements) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let url = self.url.clone();
        let transact = |client: &mut Client| {
            let transaction = client.transaction().map_err(|error| url.failed(&error))?;
            let mut statements = InServer { transaction, url: &url };
            let may_go_on = match access {
                Access::Read => true,
                Access::Change => statements.lock().map(|()| true)?,
                Access::Upkeep => statements.try_lock()?,
            };
            if !may_go_on {
                return Ok(());
            }
            work(&mut statements)?;
            statements.transaction.commit().map_err(|error| url.failed(&error))
        };
        let done = self.client().and_then(transact);
        if done.is_err() {
            self.client = None;
        }
        done
    }
}

struct InServer<'a> {
    transaction: Transaction<'a>,
    url: &'a PostgresUrl,
}

impl InServer<'_> {
    /// Waits until no other change is made; until the end of the transaction.
    fn lock(&mut self) -> Result<(), StoreError> {
        let locked = self.transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&KEYS_LOCK]);
        locked.map(drop).map_err(|error| self.url.failed(&error))
    }

    /// Whether no other process does upkeep; until the end of the transaction.
    fn try_lock(&mut self) -> Result<bool, StoreError> {
        // Ledgers in other schemas of the database have locks of their own.
        let sql = "SELECT pg_try_advisory_xact_lock($1, hashtext(current_schema()))";
        let locked = self.transaction.query_one(sql, &[&UPKEEP_LOCK]);
        locked.map(|row| row.get(0)).map_err(|error| self.url.failed(&error))
    }
}

impl Statements for InServer<'_> {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn execute(&mut self, sql: &str, parameters: &[Parameter]) -> Result<u64, StoreError> {
        self.transaction.execute(sql, &values(parameters)).map_err(|error| self.url.failed(&error))
    }

    fn query(&mut self, sql: &str, parameters: &[Parameter]) -> Result<Vec<Vec<Parameter>>, StoreError> {
        let rows = self.transaction.query(sql, &values(parameters)).map_err(|error| self.url.failed(&error))?;
        Ok(rows.iter().map(values_of).collect())
    }
}

fn values(parameters: &[Parameter]) -> Vec<&(dyn ToSql + Sync)> {
    parameters.iter().map(super::read::parameter).collect()
}

pub(super) fn values_of(row: &postgres::Row) -> Vec<Parameter> {
    (0..row.len()).map(|nth| value(row, nth)).collect()
}

fn value(row: &postgres::Row, nth: usize) -> Parameter {
    if *row.columns()[nth].type_() == Type::INT8 {
        row.get::<_, Option<i64>>(nth).map_or(Parameter::Null, Parameter::Number)
    } else {
        row.get::<_, Option<String>>(nth).map_or(Parameter::Null, Parameter::Text)
    }
}

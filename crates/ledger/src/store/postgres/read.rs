//! Answers to questions.

use std::error::Error;

use bytes::BytesMut;
use postgres::{
    Client, IsolationLevel, Row,
    types::{IsNull, ToSql, Type, to_sql_checked},
};

use super::{FIRST_WITH_SUMS, PostgresUrl, StoreError};
use crate::{
    report::{Baseline, Dialect, Parameter, Parts, Query, Spend, Statement},
    store::{
        Reports,
        rollup::{ATTEMPTS, REQUESTS, Rollup},
    },
};

/// A connection for reading.
pub(crate) struct Reader {
    client: Client,
    url: PostgresUrl,
    /// Whether it has sums.
    has_sums: bool,
}

impl Reader {
    pub(crate) fn open(url: &PostgresUrl) -> Result<Self, StoreError> {
        let mut client = url.connect()?;
        let failed = |error: postgres::Error| url.failed(&error);
        // A report reads as long as it must; the drain's limit is for statements that wait for a lock.
        client.batch_execute("SET statement_timeout = 0").map_err(failed)?;
        let sql = "SELECT to_regclass('llm_router_ledger') IS NOT NULL";
        if !client.query_one(sql, &[]).map_err(failed)?.get::<_, bool>(0) {
            return Err(StoreError::Foreign(format!("{url}: there is no ledger in this database yet")));
        }
        let steps = client.query_one("SELECT version FROM llm_router_ledger", &[]).map_err(failed)?;
        let has_sums = steps.get::<_, i64>(0) >= FIRST_WITH_SUMS;
        Ok(Self { client, url: url.clone(), has_sums })
    }

    /// Answers a question from what is there at one moment.
    fn answer(
        &mut self,
        (query, rollup): (&Query, &Rollup),
        statement: impl FnOnce(&Parts) -> Statement,
    ) -> Result<Vec<Row>, StoreError> {
        let snapshot = self.client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
        let mut snapshot = snapshot.start().map_err(|error| self.url.failed(&error))?;
        let mut rows = |statement: &Statement| {
            let parameters: Vec<&(dyn ToSql + Sync)> = statement.parameters.iter().map(parameter).collect();
            snapshot.query(&statement.sql, &parameters).map_err(|error| self.url.failed(&error))
        };
        let parts = if self.has_sums {
            Parts::of(query, rollup, &mut |statement| Ok(rows(statement)?.iter().map(numbers).collect()))?
        } else {
            Parts::rows_only(query)
        };
        rows(&statement(&parts))
    }
}

fn numbers(row: &Row) -> Vec<i64> {
    (0..row.len()).map(|nth| row.get(nth)).collect()
}

impl Reports for Reader {
    fn spend(&mut self, query: &Query) -> Result<Vec<Spend>, StoreError> {
        let labels = query.by.len();
        let rows = self.answer((query, &ATTEMPTS), |parts| query.spend(Dialect::Postgres, parts))?;
        let spend = |row: &Row| {
            let figures = std::array::from_fn(|nth| row.get(labels + nth));
            Spend::new(labels_of(row, labels), figures)
        };
        Ok(rows.iter().map(spend).collect())
    }

    fn baselines(&mut self, query: &Query) -> Result<Vec<Baseline>, StoreError> {
        let labels = query.by.len();
        let rows = self.answer((query, &REQUESTS), |parts| query.baselines(Dialect::Postgres, parts))?;
        let baseline = |row: &Row| {
            let figures = [row.get(labels + 1), row.get(labels + 2)];
            Baseline::new(labels_of(row, labels), row.get(labels), figures)
        };
        Ok(rows.iter().map(baseline).collect())
    }

    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn ask(&mut self, statement: &Statement) -> Result<Vec<Vec<Parameter>>, StoreError> {
        let parameters: Vec<&(dyn ToSql + Sync)> = statement.parameters.iter().map(parameter).collect();
        let rows = self.client.query(&statement.sql, &parameters).map_err(|error| self.url.failed(&error))?;
        Ok(rows.iter().map(super::sql::values_of).collect())
    }
}

fn labels_of(row: &Row, labels: usize) -> Vec<Option<String>> {
    (0..labels).map(|nth| row.get(nth)).collect()
}

pub(super) fn parameter(parameter: &Parameter) -> &(dyn ToSql + Sync) {
    match parameter {
        Parameter::Null => &Nothing,
        Parameter::Number(number) => number,
        Parameter::Text(text) => text,
    }
}

/// NULL, whatever the type of its column is.
#[derive(Debug)]
struct Nothing;

impl ToSql for Nothing {
    fn to_sql(&self, _: &Type, _: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        Ok(IsNull::Yes)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

//! Answers to questions.

use std::{error::Error, time::Duration};

use bytes::BytesMut;
use postgres::{
    Client, Row,
    types::{IsNull, ToSql, Type, to_sql_checked},
};

use super::{MIGRATIONS, PostgresUrl, StoreError};
use crate::{
    report::{Baseline, Dialect, Parameter, Parts, Query, Spend, Statement},
    store::{
        FIRST_WITH_SUMS, FIRST_WITH_TAGS, Reports,
        rollup::{ATTEMPTS, REQUESTS, Rollup},
    },
};

/// A connection for reading.
pub(crate) struct Reader {
    client: Client,
    url: PostgresUrl,
    /// How many steps its tables have had. Reading takes none.
    done: usize,
    /// Whether it is in the transaction whose moment all answers are of.
    has_begun: bool,
}

impl Reader {
    /// Opens a database whose answers are all of one moment, and take little longer than this each.
    pub(crate) fn open(url: &PostgresUrl, longest: Option<Duration>) -> Result<Self, StoreError> {
        let mut client = url.connect()?;
        let failed = |error: postgres::Error| url.failed(&error);
        let done = MIGRATIONS.len() - super::steps(&mut client, url)?.len();
        if done == 0 {
            return Err(StoreError::Foreign(format!("{url}: there is no ledger in this database yet")));
        }
        // Instead of the drain's limit, which is for statements that wait for a lock. A little later than whoever asks gives up.
        let limit_ms = longest.map_or(0, |longest| longest.as_millis() + 500);
        client.batch_execute(&format!("SET statement_timeout = {limit_ms}")).map_err(failed)?;
        Ok(Self { client, url: url.clone(), done, has_begun: false })
    }

    fn rows(&mut self, statement: &Statement) -> Result<Vec<Row>, StoreError> {
        let parameters: Vec<&(dyn ToSql + Sync)> = statement.parameters.iter().map(parameter).collect();
        let mut query = || {
            // Not sooner: the server ends a transaction in which nothing is asked.
            if !self.has_begun {
                self.client.batch_execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
                self.has_begun = true;
            }
            self.client.query(&statement.sql, &parameters)
        };
        query().map_err(|error| self.url.failed(&error))
    }

    fn answer(
        &mut self,
        (query, rollup): (&Query, &Rollup),
        statement: impl FnOnce(&Parts) -> Statement,
    ) -> Result<Vec<Row>, StoreError> {
        let has_sums = self.done >= FIRST_WITH_SUMS;
        let parts = if has_sums {
            Parts::of(query, rollup, &mut |statement| Ok(self.rows(statement)?.iter().map(numbers).collect()))?
        } else {
            Parts::rows_only(query, self.done >= FIRST_WITH_TAGS)
        };
        self.rows(&statement(&parts))
    }
}

fn numbers(row: &Row) -> Vec<i64> {
    (0..row.len()).map(|nth| row.get(nth)).collect()
}

impl Reports for Reader {
    fn interrupt(&self) -> Box<dyn Fn() + Send> {
        Box::new(|| ())
    }

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
        Ok(self.rows(statement)?.iter().map(super::sql::values_of).collect())
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

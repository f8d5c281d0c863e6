//! Rows into tables.

use rusqlite::{
    Connection, ToSql, params_from_iter,
    types::{ToSqlOutput, Value},
};

use super::{
    super::{
        columns::{self, Column},
        gpu_hours::{self, GPU_HOURS},
    },
    Rows,
};

/// The end of a call has the day on which it ended, an unknown one that on which it began.
const UNLESS_ENDED: &str = "WHERE NOT EXISTS (SELECT 1 FROM attempts
    WHERE day BETWEEN ?1 AND ?1 + 1 AND writer = ?2 AND number = ?3 AND attempt = ?4)";

/// Writes rows, all or none.
pub(super) fn rows(connection: &mut Connection, rows: &Rows<'_>) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    {
        let attempts = insert("attempts", &columns::ATTEMPTS);
        for (rows, condition) in [(&rows.attempts, ""), (&rows.unknown, UNLESS_ENDED)] {
            let mut statement = transaction.prepare_cached(&format!("{attempts} {condition}"))?;
            for row in rows {
                statement.execute(params_from_iter(columns::attempt(row)))?;
            }
        }
        let mut statement = transaction.prepare_cached(&insert("requests", &columns::REQUESTS))?;
        for row in &rows.requests {
            let baselines = columns::baselines(row);
            statement.execute(params_from_iter(columns::request(row, &baselines)))?;
        }
    }
    if !rows.gpu_hours.is_empty() {
        let sql = format!("{} WHERE true {}", insert("gpu_hours", &GPU_HOURS), gpu_hours::keep_the_latest());
        let mut statement = transaction.prepare_cached(&sql.replace("INSERT OR IGNORE", "INSERT"))?;
        for row in &rows.gpu_hours {
            statement.execute(params_from_iter(gpu_hours::gpu_hour(row)))?;
        }
    }
    transaction.commit()
}

/// Takes a row unless it is there already.
fn insert(table: &str, columns: &[(&str, columns::Kind)]) -> String {
    let values: Vec<_> = (1..=columns.len()).map(|nth| format!("?{nth}")).collect();
    format!("INSERT OR IGNORE INTO {table} ({}) SELECT {}", columns::names(columns), values.join(", "))
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

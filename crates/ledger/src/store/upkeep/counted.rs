//! Rows of a day compared with its sums.

use super::{ALL, CHUNK, ENDS, chunk, chunk_of, hours};
use crate::{
    report::Parameter::{self, Number},
    store::{Statements, StoreError, rollup::Rollup},
};

/// How many rows a day has and what they cost, as far as they were read.
pub(super) struct Counted {
    pub(super) day: i64,
    figures: [Figures; 2],
    /// The table that is being read, and the key of the last row that was.
    table: usize,
    behind: (i64, i64),
}

/// A number of rows, and what they cost in nano-dollars.
type Figures = [i64; 2];

/// What sums have of the rows of their day.
pub(super) enum Compared {
    Same,
    Lack(&'static Rollup),
    Excess(&'static Rollup),
}

impl Counted {
    pub(super) fn none(day: i64) -> Self {
        Self { day, figures: [[0; 2]; 2], table: 0, behind: ENDS[0] }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.table == ALL.len()
    }

    /// Reads some more.
    pub(super) fn more(mut self, statements: &mut dyn Statements, rows: i64) -> Result<Self, StoreError> {
        let rollup = ALL[self.table];
        let (until, is_last) = chunk(statements, rollup.rows, self.day, self.behind, rows)?;
        let rows = format!("(SELECT * FROM {} WHERE {CHUNK})", rollup.rows);
        let sql = rollup.figures(&rollup.values_of(statements.dialect(), &rows));
        let read = figures(statements, &sql, &chunk_of(self.day, self.behind, until))?;
        for (figure, read) in self.figures[self.table].iter_mut().zip(read) {
            *figure += read;
        }
        self.behind = until;
        if is_last {
            (self.table, self.behind) = (self.table + 1, ENDS[0]);
        }
        Ok(self)
    }

    /// Compares them with the sums. What came since they were read is an excess.
    pub(super) fn compare(&self, statements: &mut dyn Statements) -> Result<Compared, StoreError> {
        let mut compared = Compared::Same;
        for (rollup, rows) in ALL.into_iter().zip(self.figures) {
            let columns = rollup.labels.iter().chain(rollup.sums).copied().collect::<Vec<_>>().join(", ");
            let sql = rollup.figures(&format!(
                "SELECT {columns} FROM {} WHERE hour >= $1 AND hour < $2 UNION ALL SELECT {columns} FROM {} WHERE day = $3",
                rollup.hours, rollup.days
            ));
            let [from, until] = hours(self.day);
            let summed = figures(statements, &sql, &[from, until, Number(self.day)])?;
            if summed.iter().zip(rows).any(|(summed, rows)| *summed < rows) {
                return Ok(Compared::Lack(rollup));
            }
            if summed != rows {
                compared = Compared::Excess(rollup);
            }
        }
        Ok(compared)
    }
}

fn figures(statements: &mut dyn Statements, sql: &str, parameters: &[Parameter]) -> Result<Figures, StoreError> {
    let rows = statements.query(sql, parameters)?;
    let figure = |nth: usize| rows.first()?.get(nth)?.number();
    Ok([figure(0).unwrap_or_default(), figure(1).unwrap_or_default()])
}

//! What is done beside taking rows, in small steps between them: sums are made of rows that were there before there were sums, rows are
//! deleted when their time is over, and hours become days. Of several processes that share a database, one at a time does it.

mod counted;

use counted::{Compared, Counted};

use super::{
    Access, Sql, Statements, StoreError,
    rollup::{ATTEMPTS, HOUR_MS, HOURS_A_DAY, REQUESTS, Rollup},
};
use crate::report::{
    DAY_MS, Dialect,
    Parameter::{self, Number, Text},
};

/// How long what is kept. Sums by day are kept for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Rows of calls and requests, in days; `None` for ever.
    pub rows_days: Option<u32>,
    /// Sums by hour, in days, not less than rows; `None` for ever.
    pub hours_days: Option<u32>,
}

/// Rows that are summed up, counted or deleted in one step: some tens of milliseconds.
pub(crate) const ROWS_A_STEP: i64 = 5_000;
/// How long after its end the sums of a day are made that a router of an earlier version may have written to.
const AFTER_A_DAY: i64 = HOUR_MS;
/// After an upgrade, so many days are compared with their sums: a router of the earlier version may have brought rows of them late.
const CHECKED_DAYS: i64 = 3;
/// How long rows stay after it was decided to delete them: until every statement that began before has ended.
const BEFORE_DELETION_MS: i64 = 60_000;
const ALL: [&Rollup; 2] = [&ATTEMPTS, &REQUESTS];
/// A key before all others, and one behind them.
const ENDS: [(i64, i64); 2] = [(-1, 0), (i64::MAX, i64::MAX)];

/// What one process does of it, and how far it is.
pub(crate) struct Upkeep {
    retention: Retention,
    rows_a_step: i64,
    /// The day whose rows are being compared with its sums.
    counted: Option<Counted>,
    /// Of each table, the day whose rows are being deleted, and the key of the last one that was.
    deleted: [(i64, (i64, i64)); 2],
    /// The days from the first and before the last are still to be compared.
    to_check: (i64, i64),
    /// The oldest day with rows, if its sums have more than these: since the first time, and then whether that is certain.
    excess: Option<(i64, bool)>,
}

impl Upkeep {
    pub(crate) fn new(retention: Retention, rows_a_step: i64) -> Self {
        Self { retention, rows_a_step, counted: None, deleted: [(0, ENDS[0]); 2], to_check: (0, 0), excess: None }
    }

    /// Does a little of what there is to do. Returns whether there may be more.
    pub(crate) fn step(&mut self, sql: &mut dyn Sql, now_ms: i64) -> Result<bool, StoreError> {
        let mut has_done = false;
        sql.transaction(Access::Upkeep, &mut |statements| {
            has_done = self.make_sums(statements, now_ms)?
                || self.check_days(statements)?
                || self.delete_rows(statements, now_ms)?
                || self.release_day(statements, now_ms)?
                || self.fold_hours(statements, now_ms)?;
            Ok(())
        })?;
        Ok(has_done)
    }

    /// Sums up some rows of a day that is due. In Postgres, the lock of the day lets no row be taken meanwhile that would be in no sum.
    fn make_sums(&mut self, statements: &mut dyn Statements, now_ms: i64) -> Result<bool, StoreError> {
        let dialect = statements.dialect();
        let until = (now_ms - AFTER_A_DAY).div_euclid(DAY_MS);
        let lock = match dialect {
            Dialect::Sqlite => "",
            Dialect::Postgres => "FOR UPDATE",
        };
        for rollup in ALL {
            let sql = format!(
                "SELECT day, writer, number FROM rollup_due WHERE table_name = $1 AND day < $2 ORDER BY day LIMIT 1 {lock}"
            );
            let table = Text(rollup.rows.to_owned());
            let due = statements.query(&sql, &[table.clone(), Number(until)])?;
            let Some([Number(day), Number(writer), Number(last)]) = due.first().map(Vec::as_slice) else { continue };
            let behind = (*writer, *last);
            let (end, is_last) = chunk(statements, rollup.rows, *day, behind, self.rows_a_step)?;
            let (chunk, of) = (format!("(SELECT * FROM {} WHERE {CHUNK})", rollup.rows), chunk_of(*day, behind, end));
            statements.execute(&rollup.add(dialect, &chunk), &of)?;
            if rollup.rows == ATTEMPTS.rows {
                statements.execute(&Rollup::add_ranges(dialect, &chunk), &of)?;
            }
            if is_last {
                let sql = "DELETE FROM rollup_due WHERE table_name = $1 AND day = $2";
                statements.execute(sql, &[table.clone(), Number(*day)])?;
                let sql = "SELECT count(*) FROM rollup_due WHERE table_name = $1";
                let left = number(statements, sql, &[table])?;
                tracing::info!(day = %date(*day), table = rollup.rows, days_left = left, "the rows of a day are summed up");
                if left == Some(0) {
                    self.to_check = (until - CHECKED_DAYS, until);
                }
            } else {
                let sql = "UPDATE rollup_due SET writer = $1, number = $2 WHERE table_name = $3 AND day = $4";
                statements.execute(sql, &[Number(end.0), Number(end.1), table, Number(*day)])?;
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Deletes some rows of days that are not kept.
    fn delete_rows(&mut self, statements: &mut dyn Statements, now_ms: i64) -> Result<bool, StoreError> {
        let sql = "SELECT rows_from_day FROM retention WHERE set_at_ms <= $1";
        let Some(kept_from) = number(statements, sql, &[Number(now_ms - BEFORE_DELETION_MS)])? else {
            return Ok(false);
        };
        for (Rollup { rows: table, .. }, deleted) in ALL.into_iter().zip(&mut self.deleted) {
            // Postgres keeps index entries of deleted rows for a while, and would read all of them in each step.
            let (last_day, behind) = *deleted;
            let sql = format!("SELECT min(day) FROM {table} WHERE day >= $1");
            let Some(day) = number(statements, &sql, &[Number(last_day)])?.filter(|day| *day < kept_from) else {
                // Rows that came late may be before it.
                *deleted = (0, ENDS[0]);
                continue;
            };
            let behind = if day == last_day { behind } else { ENDS[0] };
            let (until, is_last) = chunk(statements, table, day, behind, self.rows_a_step)?;
            statements.execute(&format!("DELETE FROM {table} WHERE {CHUNK}"), &chunk_of(day, behind, until))?;
            *deleted = if is_last { (day + 1, ENDS[0]) } else { (day, until) };
            if is_last {
                let sql = "DELETE FROM attempt_ranges WHERE hour < $1";
                statements.execute(sql, &[Number((day + 1) * HOURS_A_DAY)])?;
                tracing::info!(day = %date(day), table, "the ledger's rows of this day are deleted; their sums are kept");
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Looks whether the sums have all rows of the last days, after they were made of the rows that an earlier version left.
    fn check_days(&mut self, statements: &mut dyn Statements) -> Result<bool, StoreError> {
        let (day, until) = self.to_check;
        if day >= until {
            return Ok(false);
        }
        if !is_due(statements, day)? {
            match self.compare(statements, day)? {
                None => return Ok(true),
                Some(Compared::Lack(rollup)) => make_again(statements, rollup, day)?,
                Some(Compared::Same | Compared::Excess(_)) => {}
            }
        }
        self.to_check.0 += 1;
        Ok(true)
    }

    /// Compares a day's rows with its sums; `None` if there are more rows to read.
    fn compare(&mut self, statements: &mut dyn Statements, day: i64) -> Result<Option<Compared>, StoreError> {
        let counted = self.counted.take().filter(|counted| counted.day == day).unwrap_or_else(|| Counted::none(day));
        let counted = counted.more(statements, self.rows_a_step)?;
        if counted.is_whole() {
            return counted.compare(statements).map(Some);
        }
        self.counted = Some(counted);
        Ok(None)
    }

    /// Looks whether the sums have all rows of the oldest day that is not to be kept, and if so, lets them be deleted.
    fn release_day(&mut self, statements: &mut dyn Statements, now_ms: i64) -> Result<bool, StoreError> {
        let Some(days) = self.retention.rows_days else { return Ok(false) };
        let until = now_ms.div_euclid(DAY_MS) - i64::from(days);
        let from = number(statements, "SELECT rows_from_day FROM retention", &[])?.unwrap_or_default();
        if from >= until {
            return Ok(false);
        }
        let mut first = until;
        for rollup in ALL {
            let sql = format!("SELECT min(day) FROM {} WHERE day >= $1", rollup.rows);
            first = first.min(number(statements, &sql, &[Number(from)])?.unwrap_or(until));
        }
        let mut rows_from = first;
        if first < until {
            if is_due(statements, first)? {
                return Ok(false);
            }
            if self.excess == Some((first, true)) {
                return Ok(false);
            }
            match self.compare(statements, first)? {
                None => return Ok(true),
                Some(Compared::Same) => {}
                Some(Compared::Lack(rollup)) => {
                    make_again(statements, rollup, first)?;
                    return Ok(true);
                }
                Some(Compared::Excess(rollup)) => {
                    // The first time, rows may have come since the others were counted.
                    let is_certain = self.excess == Some((first, false));
                    self.excess = Some((first, is_certain));
                    if is_certain {
                        tracing::error!(
                            day = %date(first),
                            table = rollup.rows,
                            "sums have more than the rows of this day: its rows and later ones are kept"
                        );
                    }
                    return Ok(true);
                }
            }
            rows_from += 1;
        }
        let sql = "UPDATE retention SET rows_from_day = $1, set_at_ms = $2";
        statements.execute(sql, &[Number(rows_from), Number(now_ms)])?;
        Ok(true)
    }

    /// Moves some sums of the oldest day whose hours are not to be kept to the sums by day.
    fn fold_hours(&self, statements: &mut dyn Statements, now_ms: i64) -> Result<bool, StoreError> {
        let Some(days) = self.retention.hours_days else { return Ok(false) };
        let until = now_ms.div_euclid(DAY_MS) - i64::from(days);
        for rollup in ALL {
            let first = format!("SELECT min(hour) FROM {}", rollup.hours);
            let hour = number(statements, &first, &[])?;
            let Some(day) = hour.map(|hour| hour.div_euclid(HOURS_A_DAY)).filter(|day| *day < until) else { continue };
            if is_due(statements, day)? {
                continue;
            }
            let [from, until] = hours(day);
            let some = [from, until, Number(self.rows_a_step)];
            let mut has_moved = false;
            for sql in rollup.fold(statements.dialect()) {
                has_moved = statements.execute(&sql, &some)? > 0;
            }
            if number(statements, &first, &[])?.is_none_or(|hour| hour.div_euclid(HOURS_A_DAY) > day) {
                tracing::info!(day = %date(day), table = rollup.hours, "the ledger's sums by hour are now one by day");
            }
            if has_moved {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Removes the sums of a day, and has them made of its rows.
fn make_again(statements: &mut dyn Statements, rollup: &Rollup, day: i64) -> Result<(), StoreError> {
    tracing::warn!(day = %date(day), table = rollup.rows, "sums lack rows of this day: they are made again");
    lock(statements, rollup)?;
    statements.execute(&format!("DELETE FROM {} WHERE hour >= $1 AND hour < $2", rollup.hours), &hours(day))?;
    statements.execute(&format!("DELETE FROM {} WHERE day = $1", rollup.days), &[Number(day)])?;
    let (writer, before) = ENDS[0];
    let due = [Text(rollup.rows.to_owned()), Number(day), Number(writer), Number(before)];
    let sql = "INSERT INTO rollup_due (table_name, day, writer, number) VALUES ($1, $2, $3, $4)";
    statements.execute(sql, &due).map(drop)
}

/// Keeps others from adding to sums, until the end of the transaction.
fn lock(statements: &mut dyn Statements, rollup: &Rollup) -> Result<(), StoreError> {
    match statements.dialect() {
        Dialect::Sqlite => Ok(()),
        Dialect::Postgres => {
            let sql = format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", rollup.hours);
            statements.execute(&sql, &[]).map(drop)
        }
    }
}

/// Whether some rows of a day are in no sum yet.
fn is_due(statements: &mut dyn Statements, day: i64) -> Result<bool, StoreError> {
    let due = number(statements, "SELECT count(*) FROM rollup_due WHERE day = $1", &[Number(day)])?;
    Ok(due.unwrap_or_default() > 0)
}

/// Rows of a day behind one key and up to another, as [`chunk_of`] has them.
const CHUNK: &str = "day = $1 AND (writer, number) > ($2, $3) AND (writer, number) <= ($4, $5)";

fn chunk_of(day: i64, behind: (i64, i64), until: (i64, i64)) -> [Parameter; 5] {
    [day, behind.0, behind.1, until.0, until.1].map(Number)
}

/// Where the next `rows` rows of a day end, and whether they are its last.
fn chunk(
    statements: &mut dyn Statements,
    table: &str,
    day: i64,
    behind: (i64, i64),
    rows: i64,
) -> Result<((i64, i64), bool), StoreError> {
    let sql = format!(
        "SELECT writer, number FROM {table} WHERE day = $1 AND (writer, number) > ($2, $3)
        ORDER BY writer, number LIMIT 1 OFFSET $4"
    );
    let found = statements.query(&sql, &[Number(day), Number(behind.0), Number(behind.1), Number(rows - 1)])?;
    Ok(match found.first().map(Vec::as_slice) {
        Some([Number(writer), Number(number)]) => ((*writer, *number), false),
        _ => (ENDS[1], true),
    })
}

/// The hours of a day: the first, and the one behind the last.
fn hours(day: i64) -> [Parameter; 2] {
    [day, day + 1].map(|day| Number(day * HOURS_A_DAY))
}

/// The only number of an answer; `None` if there is none.
fn number(statements: &mut dyn Statements, sql: &str, parameters: &[Parameter]) -> Result<Option<i64>, StoreError> {
    let rows = statements.query(sql, parameters)?;
    Ok(rows.first().and_then(|row| row.first()).and_then(Parameter::number))
}

/// A day as people write it.
pub(crate) fn date(day: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(day.saturating_mul(DAY_MS)).unwrap_or_default();
    jiff::tz::TimeZone::UTC.to_datetime(at).date().to_string()
}

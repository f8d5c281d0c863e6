//! What a question reads: sums by day and by hour where it is about whole ones, and rows where it is not, or where rows are in no sum yet.

use super::{DAY_MS, Dialect, Query, Statement};
use crate::store::{
    StoreError,
    rollup::{ATTEMPTS, HOUR_MS, HOURS_A_DAY, REQUESTS, Rollup, UNPRICED, amounts, policy_cost},
    upkeep::date,
};

/// Answers statements whose answers are numbers.
type Numbers<'a> = &'a mut dyn FnMut(&Statement) -> Result<Vec<Vec<i64>>, StoreError>;

/// Where the calls or requests of some time are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    /// The days whose sums by day are read, from the first and before the last.
    days: (i64, i64),
    /// The hours whose sums by hour are read.
    hours: (i64, i64),
    /// The days of whose rows some are in no sum: all of their rows are read.
    due: Vec<i64>,
    /// Rows that ended from one moment on and before another.
    rows: Vec<Rows>,
    /// Whether the database has sums: not if it is of an earlier version.
    has_sums: bool,
    /// Whether its rows have tags.
    has_tags: bool,
}

/// Rows of some days.
#[derive(Debug, PartialEq, Eq)]
struct Rows {
    since_ms: i64,
    until_ms: i64,
    /// The hour of which all of them are, if its ranges of numbers are known.
    hour: Option<i64>,
}

impl Parts {
    /// All rows, for a database that has no sums.
    pub(crate) fn rows_only(query: &Query, has_tags: bool) -> Self {
        let rows = Rows { since_ms: query.since_ms, until_ms: query.until_ms, hour: None };
        Self { days: (0, 0), hours: (0, 0), due: Vec::new(), rows: vec![rows], has_sums: false, has_tags }
    }

    /// What a question has to read of a table's rows and their sums.
    ///
    /// # Errors
    /// If it begins or ends amid an hour or a day that is kept as one sum.
    pub(crate) fn of(query: &Query, rollup: &Rollup, ask: Numbers<'_>) -> Result<Self, StoreError> {
        let (since_ms, until_ms) = (query.since_ms, query.until_ms);
        let mut ask = |sql: String| ask(&Statement { sql, parameters: Vec::new() });
        let [first, last] = [since_ms, until_ms - 1].map(|at_ms| at_ms.div_euclid(DAY_MS));
        let due = ask(format!(
            "SELECT day FROM rollup_due WHERE table_name = '{}' AND day >= {first} AND day <= {last} ORDER BY day",
            rollup.rows
        ))?;
        let due: Vec<i64> = due.into_iter().flatten().collect();
        let hours = (ceil(since_ms, HOUR_MS), until_ms.div_euclid(HOUR_MS));
        let edges = if hours.0 > hours.1 {
            vec![(since_ms, until_ms)]
        } else {
            vec![(since_ms, hours.0 * HOUR_MS), (hours.1 * HOUR_MS, until_ms)]
        };
        let hours = (hours.0, hours.1.max(hours.0));
        let is_edge = |(from, until): &(i64, i64)| from < until && !due.contains(&from.div_euclid(DAY_MS));
        let edges: Vec<(i64, i64)> = edges.into_iter().filter(is_edge).collect();
        if !edges.is_empty() {
            let kept_from = ask("SELECT rows_from_day FROM retention".to_owned())?;
            let kept_from = kept_from.into_iter().flatten().next().unwrap_or_default();
            if let Some((at_ms, _)) = edges.iter().find(|(from, _)| from.div_euclid(DAY_MS) < kept_from) {
                let day = date(at_ms.div_euclid(DAY_MS));
                return Err(StoreError::Inexact(format!(
                    "the rows of {day} are deleted, and its sums are by hour: begin and end at a full hour (UTC)"
                )));
            }
        }
        let days = (ceil(hours.0, HOURS_A_DAY), hours.1.div_euclid(HOURS_A_DAY));
        for at in [hours.0, hours.1].into_iter().filter(|at| at.rem_euclid(HOURS_A_DAY) != 0 && hours.0 < hours.1) {
            let day = at.div_euclid(HOURS_A_DAY);
            if !ask(format!("SELECT day FROM {} WHERE day = {day} LIMIT 1", rollup.days))?.is_empty() {
                return Err(StoreError::Inexact(format!(
                    "{} is kept as one sum: begin and end with a whole day (UTC)",
                    date(day)
                )));
            }
        }
        let of_edge = |(since_ms, until_ms): &(i64, i64)| {
            let hour = (rollup.rows == ATTEMPTS.rows).then_some(since_ms.div_euclid(HOUR_MS));
            Rows { since_ms: *since_ms, until_ms: *until_ms, hour }
        };
        let of_due = |(first, last): (i64, i64)| Rows {
            since_ms: since_ms.max(first * DAY_MS),
            until_ms: until_ms.min((last + 1) * DAY_MS),
            hour: None,
        };
        let rows = edges.iter().map(of_edge).chain(spans(&due).into_iter().map(of_due)).collect();
        Ok(Self { days: (days.0, days.1.max(days.0)), hours, due, rows, has_sums: true, has_tags: true })
    }

    /// Calls with the columns `day`, the labels and the sums of [`ATTEMPTS`].
    pub(super) fn calls(&self) -> String {
        let labels = labels(&ATTEMPTS);
        let rows = format!("{labels}, 1 AS calls, {}, {UNPRICED} AS unpriced_calls, duration_us", amounts());
        self.union(&ATTEMPTS, "", &rows, (&self.table("attempts"), "true"))
    }

    /// Served answers with the columns `day`, the labels and the sums of [`REQUESTS`], one for each policy.
    pub(super) fn answers(&self, dialect: Dialect) -> String {
        let labels = labels(&REQUESTS);
        let rows = format!("{labels}, 1 AS requests, {} AS cost_nano_usd", policy_cost());
        let from = format!("{}, {} AS policy", self.table("requests"), dialect.policies());
        self.union(&REQUESTS, "AND policy <> '' AND outcome = 'served'", &rows, (&from, "outcome = 'served'"))
    }

    fn table(&self, name: &str) -> String {
        if self.has_tags {
            format!("{name} AS rows")
        } else {
            format!("(SELECT *, CAST(NULL AS text) AS tags FROM {name}) AS rows")
        }
    }

    fn union(&self, rollup: &Rollup, of_sums: &str, of_row: &str, (rows, of_rows): (&str, &str)) -> String {
        let Rollup { days, hours, .. } = rollup;
        let labels = rollup.labels.iter().map(|label| format!("nullif({label}, '') AS {label}"));
        let columns: Vec<_> = labels.chain(rollup.sums.iter().map(|sum| (*sum).to_owned())).collect();
        let columns = columns.join(", ");
        let due: Vec<_> = self.due.iter().map(i64::to_string).collect();
        let not_due = |day: &str| match due.as_slice() {
            [] => String::new(),
            due => format!("AND {day} NOT IN ({})", due.join(", ")),
        };
        let mut parts = Vec::new();
        if self.days.0 < self.days.1 {
            let (first, last) = self.days;
            let not_due = not_due("day");
            parts.push(format!(
                "SELECT day, {columns} FROM {days} WHERE day >= {first} AND day < {last} {not_due} {of_sums}"
            ));
        }
        if self.has_sums {
            let ((first, last), not_due) = (self.hours, not_due("hour / 24"));
            parts.push(format!(
                "SELECT hour / {HOURS_A_DAY} AS day, {columns} FROM {hours}
                WHERE hour >= {first} AND hour < {last} {not_due} {of_sums}"
            ));
        }
        for Rows { since_ms, until_ms, hour } in &self.rows {
            let (first, last) = (since_ms.div_euclid(DAY_MS), (until_ms - 1).div_euclid(DAY_MS));
            let (range, numbers) = match hour {
                None => (String::new(), String::new()),
                Some(hour) => (
                    // The ranges first: few rows are in them.
                    "attempt_ranges AS ranges CROSS JOIN ".to_owned(),
                    format!(
                        "AND ranges.hour = {hour} AND rows.writer = ranges.writer
                        AND rows.number BETWEEN ranges.first_number AND ranges.last_number"
                    ),
                ),
            };
            parts.push(format!(
                "SELECT rows.day, {of_row} FROM {range}{rows} WHERE rows.day BETWEEN {first} AND {last}
                AND ended_at_ms >= {since_ms} AND ended_at_ms < {until_ms} {numbers} AND {of_rows}"
            ));
        }
        format!("({})", parts.join(" UNION ALL "))
    }
}

/// The labels of a row.
fn labels(rollup: &Rollup) -> String {
    let labels = rollup.labels.iter().map(|label| match *label {
        "policy" => "policy.key AS policy".to_owned(),
        label => format!("rows.{label}"),
    });
    labels.collect::<Vec<_>>().join(", ")
}

/// The first whole one from there on.
fn ceil(at: i64, unit: i64) -> i64 {
    at.div_euclid(unit) + i64::from(at.rem_euclid(unit) != 0)
}

/// Days one after the other, as their first and last.
fn spans(days: &[i64]) -> Vec<(i64, i64)> {
    let mut spans: Vec<(i64, i64)> = Vec::new();
    for day in days {
        match spans.last_mut() {
            Some((_, last)) if *last + 1 == *day => *last = *day,
            _ => spans.push((*day, *day)),
        }
    }
    spans
}

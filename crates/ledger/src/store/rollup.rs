//! Sums of rows by hour, and later by day. They are added to in the very transaction that takes a row, and only for rows that were
//! not there before, so they are right whatever comes late or twice. A call is in an hour or in a day, never in both.

use crate::{
    entry::{MOST_NANO_USD, MOST_TOKENS},
    report::Dialect,
};

/// An hour, in milliseconds.
pub const HOUR_MS: i64 = 60 * 60 * 1000;
pub(crate) const HOURS_A_DAY: i64 = 24;

/// What is summed up of a table of rows.
pub(crate) struct Rollup {
    /// The table of the rows.
    pub(crate) rows: &'static str,
    /// Their sums by hour.
    pub(crate) hours: &'static str,
    /// The sums of days whose hours are not kept.
    pub(crate) days: &'static str,
    /// What sums are grouped by, beside the time.
    pub(crate) labels: &'static [&'static str],
    /// What is summed up.
    pub(crate) sums: &'static [&'static str],
    /// Which sum counts the rows, and of which sums.
    pub(crate) count: (&'static str, &'static str),
    /// The values of `labels` and `sums` for each of some rows; it may be several for one.
    values: fn(Dialect, &str) -> String,
}

/// Calls.
pub(crate) const ATTEMPTS: Rollup = Rollup {
    rows: "attempts",
    hours: "attempt_hours",
    days: "attempt_days",
    labels: &["team", "key", "model", "route", "tags", "upstream", "role", "outcome", "usage_source", "price_version"],
    sums: &[
        "calls",
        "prompt_tokens",
        "cached_tokens",
        "completion_tokens",
        "reasoning_tokens",
        "cost_nano_usd",
        "unpriced_calls",
        "duration_us",
    ],
    count: ("calls", "true"),
    values: |_, from| {
        let labels = labels(ATTEMPTS.labels);
        format!(
            "SELECT {HOUR} AS hour, {labels}, 1 AS calls, {}, {UNPRICED} AS unpriced_calls, duration_us FROM {from} AS rows",
            amounts()
        )
    },
};

/// Requests, and what they would have cost under other policies.
pub(crate) const REQUESTS: Rollup = Rollup {
    rows: "requests",
    hours: "request_hours",
    days: "request_days",
    labels: &["team", "key", "model", "route", "tags", "outcome", "error", "policy"],
    sums: &["requests", "cost_nano_usd"],
    count: ("requests", "policy = ''"),
    values: |dialect, from| {
        let (labels, policies) = (labels(&REQUESTS.labels[..7]), dialect.policies());
        let columns = format!("SELECT {HOUR} AS hour, {labels}");
        format!(
            "{columns}, '' AS policy, 1 AS requests, CAST(0 AS bigint) AS cost_nano_usd FROM {from} AS rows
            UNION ALL {columns}, policy.key, 1, {} FROM {from} AS rows, {policies} AS policy",
            policy_cost()
        )
    },
};

/// The hour of a row, since 1970.
const HOUR: &str = "rows.day * 24 + (rows.ended_at_ms - rows.day * 86400000) / 3600000";
/// Whether a call used tokens and has no price.
pub(crate) const UNPRICED: &str = "CASE WHEN usage_source IS NOT NULL AND cost_nano_usd IS NULL THEN 1 ELSE 0 END";

/// What a row used and cost, with 0 for NULL. An earlier version wrote whatever an upstream reported.
pub(crate) fn amounts() -> String {
    let tokens = ["prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens"];
    let amounts = tokens.map(|name| (name, MOST_TOKENS)).into_iter().chain([("cost_nano_usd", MOST_NANO_USD)]);
    let amounts = amounts.map(|(name, most)| format!("{} AS {name}", bounded(&format!("coalesce({name}, 0)"), most)));
    amounts.collect::<Vec<_>>().join(", ")
}

/// The same of a policy.
pub(crate) fn policy_cost() -> String {
    bounded("CAST(policy.value AS bigint)", MOST_NANO_USD)
}

fn bounded(amount: &str, most: u64) -> String {
    format!("CASE WHEN {amount} > {most} THEN {most} ELSE {amount} END")
}

/// Labels of rows, with '' for NULL.
fn labels(names: &[&str]) -> String {
    let labels = names.iter().map(|name| format!("coalesce(rows.{name}, '') AS {name}"));
    labels.collect::<Vec<_>>().join(", ")
}

impl Rollup {
    /// Adds a row's values to the sums of its hour: parameters are the hour, the labels and the sums.
    pub(crate) fn add_one(&self) -> String {
        let columns = ["hour"].iter().chain(self.labels).chain(self.sums).copied();
        let columns: Vec<_> = columns.collect();
        let values: Vec<_> = (1..=columns.len()).map(|nth| format!("?{nth}")).collect();
        let key = self.key("hour", Dialect::Sqlite).join(", ");
        let adding = self.adding(self.hours, Dialect::Sqlite);
        format!(
            "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({key}) {adding}",
            self.hours,
            columns.join(", "),
            values.join(", ")
        )
    }

    /// Adds rows to the sums of their hours. `from` is a table, or a query in brackets.
    pub(crate) fn add(&self, dialect: Dialect, from: &str) -> String {
        let backend = match dialect {
            Dialect::Sqlite => None,
            Dialect::Postgres => Some("pg_backend_pid()".to_owned()),
        };
        let keys = backend.into_iter().chain(self.digest(dialect));
        self.add_from((self.hours, "hour"), dialect, keys, &format!("({})", (self.values)(dialect, from)))
    }

    /// Statements that move sums of the hours from `$1` on and before `$2`, which are those of a day, to the sums by day, at most `$3`
    /// of them. Rows that a writer is adding to at the moment are left where they are: who waits for nobody is in no deadlock.
    pub(crate) fn fold(&self, dialect: Dialect) -> Vec<String> {
        let Self { hours, labels, .. } = self;
        let columns = labels.iter().chain(self.sums).copied().collect::<Vec<_>>().join(", ");
        let key = format!("hour, {}", labels.join(", "));
        let some = "WHERE hour >= $1 AND hour < $2 ORDER BY";
        let (from, moved) = match dialect {
            Dialect::Sqlite => (*hours, format!("WHERE ({key}) IN (SELECT {key} FROM {hours} {some} {key} LIMIT $3)")),
            Dialect::Postgres => ("moved", String::new()),
        };
        let from = format!("(SELECT hour / {HOURS_A_DAY} AS day, {columns} FROM {from} {moved})");
        let add = self.add_from((self.days, "day"), dialect, self.digest(dialect).into_iter(), &from);
        match dialect {
            Dialect::Sqlite => vec![add, format!("DELETE FROM {hours} {moved}")],
            Dialect::Postgres => vec![format!(
                "WITH moved AS (DELETE FROM {hours} WHERE ctid = ANY (ARRAY(
                    SELECT ctid FROM {hours} {some} hour LIMIT $3 FOR UPDATE SKIP LOCKED)) RETURNING *) {add}"
            )],
        }
    }

    fn add_from(
        &self,
        (table, time): (&str, &'static str),
        dialect: Dialect,
        keys: impl Iterator<Item = String>,
        from: &str,
    ) -> String {
        let key = self.key(time, dialect);
        // The key of Postgres has no labels in it.
        let labels = self.labels.iter().copied();
        let own: Vec<&str> = key.iter().copied().filter(|column| !self.labels.contains(column)).collect();
        let columns: Vec<&str> = own.iter().copied().chain(labels.clone()).chain(self.sums.iter().copied()).collect();
        let sums = self.sums.iter().map(|sum| dialect.capped(&format!("sum({sum})")));
        let values: Vec<String> =
            [time.to_owned()].into_iter().chain(keys).chain(labels.clone().map(str::to_owned)).chain(sums).collect();
        let group = [time].into_iter().chain(labels).collect::<Vec<_>>().join(", ");
        let (columns, values, key) = (columns.join(", "), values.join(", "), key.join(", "));
        let adding = self.adding(table, dialect);
        // Without a condition SQLite would take ON for that of a join.
        format!(
            "INSERT INTO {table} ({columns}) SELECT {values} FROM {from} AS added WHERE true GROUP BY {group}
            ON CONFLICT ({key}) {adding}"
        )
    }

    /// The labels and sums of each of some rows. `from` is a table, or a query in brackets.
    pub(crate) fn values_of(&self, dialect: Dialect, from: &str) -> String {
        (self.values)(dialect, from)
    }

    /// How many rows are in some sums, and what they cost.
    pub(crate) fn figures(&self, sums: &str) -> String {
        let (count, of) = self.count;
        let sum = |of: &str| format!("CAST(coalesce(sum({of}), 0) AS bigint)");
        let (count, cost) = (sum(&format!("CASE WHEN {of} THEN {count} ELSE 0 END")), sum("cost_nano_usd"));
        format!("SELECT {count}, {cost} FROM ({sums}) AS sums")
    }

    /// Adds the ranges of numbers that calls of an hour have.
    pub(crate) fn add_ranges(dialect: Dialect, from: &str) -> String {
        let (least, greatest) = dialect.extremes();
        format!(
            "INSERT INTO attempt_ranges (hour, writer, first_number, last_number)
            SELECT hour, writer, min(number), max(number) FROM (SELECT {HOUR} AS hour, rows.writer, rows.number FROM {from} AS rows) AS added
            WHERE true GROUP BY hour, writer ORDER BY hour, writer ON CONFLICT (hour, writer) DO UPDATE SET
            first_number = {least}(attempt_ranges.first_number, excluded.first_number),
            last_number = {greatest}(attempt_ranges.last_number, excluded.last_number)"
        )
    }

    /// The columns that identify a row of sums.
    fn key(&self, time: &'static str, dialect: Dialect) -> Vec<&'static str> {
        match (dialect, time) {
            (Dialect::Sqlite, _) => [time].into_iter().chain(self.labels.iter().copied()).collect(),
            (Dialect::Postgres, "hour") => vec!["hour", "backend", "digest"],
            (Dialect::Postgres, _) => vec![time, "digest"],
        }
    }

    fn digest(&self, dialect: Dialect) -> Option<String> {
        let labels = self.labels.join(", ");
        let digest = format!("substring(sha256(convert_to(jsonb_build_array({labels})::text, 'UTF8')) for 16)");
        (dialect == Dialect::Postgres).then_some(digest)
    }

    /// Adds to the sums that are there.
    fn adding(&self, table: &str, dialect: Dialect) -> String {
        let set = self.sums.iter().map(|sum| {
            let added = match dialect {
                Dialect::Sqlite => format!("{table}.{sum} + excluded.{sum}"),
                Dialect::Postgres => format!("CAST({table}.{sum} AS numeric) + excluded.{sum}"),
            };
            format!("{sum} = {}", dialect.capped(&added))
        });
        format!("DO UPDATE SET {}", set.collect::<Vec<_>>().join(", "))
    }
}

impl Dialect {
    /// A sum that stays at the greatest number of 64 bits instead of failing: rows must be taken.
    fn capped(self, sum: &str) -> String {
        let (least, _) = self.extremes();
        format!("CAST({least}({}, {sum}) AS bigint)", i64::MAX)
    }

    /// The functions for the least and the greatest of their arguments.
    const fn extremes(self) -> (&'static str, &'static str) {
        match self {
            Self::Sqlite => ("min", "max"),
            Self::Postgres => ("least", "greatest"),
        }
    }
}

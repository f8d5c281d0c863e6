//! Questions about what is in the store.

use rusqlite::types::Value;

/// What spend is told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// The team of the client's key.
    Team,
    /// The client's key.
    Key,
    /// The public model.
    Model,
    /// The upstream that was called.
    Upstream,
    /// The call of the API.
    Route,
    /// What the call was among those of its request.
    Role,
    /// The day on which the call ended, in UTC.
    Day,
}

impl Dimension {
    /// Its name on the command line and in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Team => "team",
            Self::Key => "key",
            Self::Model => "model",
            Self::Upstream => "upstream",
            Self::Route => "route",
            Self::Role => "role",
            Self::Day => "day",
        }
    }

    /// What is selected for it.
    const fn column(self) -> &'static str {
        match self {
            Self::Team => "rows.team",
            Self::Key => "rows.key",
            Self::Model => "rows.model",
            Self::Upstream => "rows.upstream",
            Self::Route => "rows.route",
            Self::Role => "rows.role",
            Self::Day => "date(rows.day * 86400, 'unixepoch')",
        }
    }
}

/// Which part of the ledger is asked about.
#[derive(Debug, Clone)]
pub struct Query {
    /// A row for each combination of these.
    pub by: Vec<Dimension>,
    /// What ended from this moment on, in milliseconds since 1970.
    pub since_ms: i64,
    /// And before this one.
    pub until_ms: i64,
    /// Of one team alone.
    pub team: Option<String>,
}

/// What some calls used and cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spend {
    /// The values of the query's dimensions, in its order; `None` for calls without one.
    pub labels: Vec<Option<String>>,
    /// Calls to upstreams, failed ones included.
    pub calls: u64,
    /// Of these, those that served a client to the end.
    pub answers: u64,
    /// Prompt tokens, cached ones included.
    pub prompt_tokens: u64,
    /// Of these, those that were reported as cached.
    pub cached_tokens: u64,
    /// Tokens of answers, reasoning included.
    pub completion_tokens: u64,
    /// Of these, those that were reported as reasoning.
    pub reasoning_tokens: u64,
    /// What all calls with a known cost cost at list prices.
    pub cost_nano_usd: u64,
    /// Of that, what served nobody.
    pub wasted_nano_usd: u64,
    /// Of the cost, what the router estimated.
    pub estimated_nano_usd: u64,
    /// Of the cost, what was reserved for calls whose end nobody knows.
    pub unknown_nano_usd: u64,
    /// Calls that used tokens and have no price: they are not in the cost.
    pub unpriced_calls: u64,
}

impl Spend {
    /// Adds the figures of another one.
    pub fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.answers += other.answers;
        self.prompt_tokens += other.prompt_tokens;
        self.cached_tokens += other.cached_tokens;
        self.completion_tokens += other.completion_tokens;
        self.reasoning_tokens += other.reasoning_tokens;
        self.cost_nano_usd += other.cost_nano_usd;
        self.wasted_nano_usd += other.wasted_nano_usd;
        self.estimated_nano_usd += other.estimated_nano_usd;
        self.unknown_nano_usd += other.unknown_nano_usd;
        self.unpriced_calls += other.unpriced_calls;
    }
}

/// What served answers would have cost under another policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Baseline {
    /// The values of the query's dimensions, in its order.
    pub labels: Vec<Option<String>>,
    /// The policy.
    pub policy: String,
    /// Answers whose cost under it is known.
    pub answers: u64,
    /// What they would have cost.
    pub cost_nano_usd: u64,
}

/// A call that gave a client its answer.
const SERVED: &str = "outcome = 'served' AND role <> 'warm_up'";
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

impl Query {
    /// The sums over calls.
    pub(crate) fn spend(&self) -> (String, Vec<Value>) {
        let columns = self.columns();
        let sql = format!(
            "SELECT {columns}count(*),
                count(*) FILTER (WHERE {SERVED}),
                coalesce(sum(prompt_tokens), 0), coalesce(sum(cached_tokens), 0), coalesce(sum(completion_tokens), 0),
                coalesce(sum(reasoning_tokens), 0),
                coalesce(sum(cost_nano_usd), 0) AS cost,
                coalesce(sum(cost_nano_usd) FILTER (WHERE NOT ({SERVED})), 0),
                coalesce(sum(cost_nano_usd) FILTER (WHERE usage_source = 'estimated'), 0),
                coalesce(sum(cost_nano_usd) FILTER (WHERE usage_source = 'unknown'), 0),
                count(*) FILTER (WHERE usage_source IS NOT NULL AND cost_nano_usd IS NULL)
            FROM attempts AS rows
            WHERE {}
            {}
            ORDER BY {}",
            self.condition(),
            if self.by.is_empty() { String::new() } else { format!("GROUP BY {}", self.names()) },
            self.order("cost DESC"),
        );
        (sql, self.parameters())
    }

    /// The sums over served requests, for each policy.
    pub(crate) fn baselines(&self) -> (String, Vec<Value>) {
        let columns = self.columns();
        let sql = format!(
            "SELECT {columns}policy.key, count(*), sum(policy.value) AS cost
            FROM requests AS rows, json_each(rows.baselines) AS policy
            WHERE {} AND outcome = 'served'
            GROUP BY {columns}policy.key
            ORDER BY {}, policy.key",
            self.condition(),
            self.order("cost DESC"),
        );
        (sql, self.parameters())
    }

    /// The columns of the dimensions, each with a comma after it.
    fn columns(&self) -> String {
        if self.by.is_empty() { String::new() } else { self.names() + ", " }
    }

    fn names(&self) -> String {
        self.by.iter().map(|dimension| dimension.column()).collect::<Vec<_>>().join(", ")
    }

    /// By day where days are told apart, and the dearest first.
    fn order(&self, dearest: &str) -> String {
        let day = self.by.contains(&Dimension::Day).then(|| Dimension::Day.column());
        let names = self.by.iter().map(|dimension| dimension.column());
        day.into_iter().chain([dearest]).chain(names).collect::<Vec<_>>().join(", ")
    }

    fn condition(&self) -> &'static str {
        match self.team {
            Some(_) => "day BETWEEN ? AND ? AND ended_at_ms >= ? AND ended_at_ms < ? AND team = ?",
            None => "day BETWEEN ? AND ? AND ended_at_ms >= ? AND ended_at_ms < ?",
        }
    }

    fn parameters(&self) -> Vec<Value> {
        let days = [self.since_ms, self.until_ms].map(|at| Value::from(at.div_euclid(DAY_MS)));
        let moments = [self.since_ms, self.until_ms].map(Value::from);
        days.into_iter().chain(moments).chain(self.team.clone().map(Value::from)).collect()
    }
}

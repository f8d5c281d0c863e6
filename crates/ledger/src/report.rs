//! Questions about what is in the store.

mod parts;
mod snapshot;

use std::{borrow::Cow, fmt};

pub(crate) use parts::Parts;
pub use snapshot::Snapshot;

/// What spend is grouped by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
    /// The value of the tag of this name.
    Tag(String),
    /// All tags, in the form of [`crate::Labels::tags`].
    Tags,
    /// Where the tokens come from: the name of a [`crate::UsageSource`].
    UsageSource,
    /// Which price the call had.
    PriceVersion,
}

impl fmt::Display for Dimension {
    /// Its name on the command line and in files.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Team => "team",
            Self::Key => "key",
            Self::Model => "model",
            Self::Upstream => "upstream",
            Self::Route => "route",
            Self::Role => "role",
            Self::Day => "day",
            Self::Tag(name) => return write!(f, "tag:{name}"),
            Self::Tags => "tags",
            Self::UsageSource => "usage_source",
            Self::PriceVersion => "price_version",
        })
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
    /// Only what has each of these names in its dimension.
    pub of: Vec<(Dimension, String)>,
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
    /// How many figures it has.
    pub(crate) const FIGURES: usize = 11;

    /// The figures in the order of [`Query::spend`].
    pub(crate) fn new(labels: Vec<Option<String>>, figures: [i64; Self::FIGURES]) -> Self {
        let [calls, answers, prompt, cached, completion, reasoning, cost, wasted, estimated, unknown, unpriced] =
            figures.map(i64::cast_unsigned);
        Self {
            labels,
            calls,
            answers,
            prompt_tokens: prompt,
            cached_tokens: cached,
            completion_tokens: completion,
            reasoning_tokens: reasoning,
            cost_nano_usd: cost,
            wasted_nano_usd: wasted,
            estimated_nano_usd: estimated,
            unknown_nano_usd: unknown,
            unpriced_calls: unpriced,
        }
    }

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

impl Baseline {
    /// The figures in the order of [`Query::baselines`].
    pub(crate) fn new(labels: Vec<Option<String>>, policy: String, figures: [i64; 2]) -> Self {
        let [answers, cost_nano_usd] = figures.map(i64::cast_unsigned);
        Self { labels, policy, answers, cost_nano_usd }
    }
}

/// A call that gave a client its answer.
const SERVED: &str = "outcome = 'served' AND role <> 'warm_up'";
pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What differs between the stores' languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// A value in a statement, or in a row of its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Parameter {
    Null,
    Number(i64),
    Text(String),
}

impl Parameter {
    pub(crate) fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Null | Self::Text(_) => None,
        }
    }
}

impl From<Option<i64>> for Parameter {
    fn from(number: Option<i64>) -> Self {
        number.map_or(Self::Null, Self::Number)
    }
}

impl Dialect {
    /// What is selected for a dimension.
    fn column(self, dimension: &Dimension) -> Cow<'static, str> {
        let column = match (dimension, self) {
            (Dimension::Tag(name), _) => return self.tag(name).into(),
            (Dimension::Tags, _) => "rows.tags",
            (Dimension::UsageSource, _) => "rows.usage_source",
            (Dimension::PriceVersion, _) => "rows.price_version",
            (Dimension::Team, _) => "rows.team",
            (Dimension::Key, _) => "rows.key",
            (Dimension::Model, _) => "rows.model",
            (Dimension::Upstream, _) => "rows.upstream",
            (Dimension::Route, _) => "rows.route",
            (Dimension::Role, _) => "rows.role",
            (Dimension::Day, Self::Sqlite) => "date(rows.day * 86400, 'unixepoch')",
            (Dimension::Day, Self::Postgres) => "CAST(DATE '1970-01-01' + CAST(rows.day AS integer) AS text)",
        };
        column.into()
    }

    /// The value of a tag: what stands between `,name=` and the next comma. Names and values have neither of these signs.
    fn tag(self, name: &str) -> String {
        let (all, before) = ("(',' || rows.tags || ',')", format!(",{}=", name.replace('\'', "''")));
        let behind = 2 + name.chars().count();
        match self {
            Self::Sqlite => {
                let rest = format!("substr({all}, instr({all}, '{before}') + {behind})");
                format!("CASE WHEN instr({all}, '{before}') > 0 THEN substr({rest}, 1, instr({rest}, ',') - 1) END")
            }
            Self::Postgres => {
                let rest = format!("substr({all}, strpos({all}, '{before}') + {behind})");
                format!("CASE WHEN strpos({all}, '{before}') > 0 THEN split_part({rest}, ',', 1) END")
            }
        }
    }

    /// The amounts in the column `baselines`, each with the name of its policy.
    pub(crate) const fn policies(self) -> &'static str {
        match self {
            Self::Sqlite => "json_each(rows.baselines)",
            Self::Postgres => "jsonb_each_text(CAST(rows.baselines AS jsonb))",
        }
    }
}

/// A question in the language of a store.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) sql: String,
    pub(crate) parameters: Vec<Parameter>,
}

impl Query {
    /// The sums over calls, which are in these parts: after the labels, eleven numbers.
    pub(crate) fn spend(&self, dialect: Dialect, parts: &Parts) -> Statement {
        let sums = [
            sum("calls", ""),
            sum("calls", &format!("FILTER (WHERE {SERVED})")),
            sum("prompt_tokens", ""),
            sum("cached_tokens", ""),
            sum("completion_tokens", ""),
            sum("reasoning_tokens", ""),
            format!("{} AS cost", sum("cost_nano_usd", "")),
            sum("cost_nano_usd", &format!("FILTER (WHERE NOT ({SERVED}))")),
            sum("cost_nano_usd", "FILTER (WHERE usage_source = 'estimated')"),
            sum("cost_nano_usd", "FILTER (WHERE usage_source = 'unknown')"),
            sum("unpriced_calls", ""),
        ];
        let labels = self.labels(dialect);
        let group = if labels.is_empty() { String::new() } else { format!("GROUP BY {}", labels.join(", ")) };
        let columns = labels.into_iter().chain(sums).collect::<Vec<_>>().join(", ");
        let (calls, condition, order) = (parts.calls(), self.condition(dialect), self.order(dialect));
        let sql = format!("SELECT {columns} FROM {calls} AS rows WHERE {condition} {group} ORDER BY {order}");
        Statement { sql, parameters: self.parameters() }
    }

    /// The sums over served requests, which are in these parts, for each policy: after the labels, its name and two numbers.
    pub(crate) fn baselines(&self, dialect: Dialect, parts: &Parts) -> Statement {
        let mut labels = self.labels(dialect);
        labels.push("rows.policy".to_owned());
        let (group, answers, requests) = (labels.join(", "), parts.answers(dialect), sum("requests", ""));
        let cost = sum("cost_nano_usd", "");
        let (condition, order) = (self.condition(dialect), self.order(dialect));
        let sql = format!(
            "SELECT {group}, {requests}, {cost} AS cost FROM {answers} AS rows WHERE {condition}
            GROUP BY {group} ORDER BY {order}, rows.policy"
        );
        Statement { sql, parameters: self.parameters() }
    }

    fn labels(&self, dialect: Dialect) -> Vec<String> {
        self.by.iter().map(|dimension| dialect.column(dimension).into_owned()).collect()
    }

    /// By day where days are groups, and the most expensive first.
    fn order(&self, dialect: Dialect) -> String {
        let day = self.by.contains(&Dimension::Day).then(|| dialect.column(&Dimension::Day).into_owned());
        let names = self.by.iter().map(|dimension| format!("{} NULLS FIRST", dialect.column(dimension)));
        day.into_iter().chain(["cost DESC".to_owned()]).chain(names).collect::<Vec<_>>().join(", ")
    }

    fn condition(&self, dialect: Dialect) -> String {
        let of = self.of.iter().zip(1..);
        let of = of.map(|((dimension, _), nth)| format!(" AND {} = ${nth}", dialect.column(dimension)));
        format!("true{}", of.collect::<String>())
    }

    fn parameters(&self) -> Vec<Parameter> {
        self.of.iter().map(|(_, name)| Parameter::Text(name.clone())).collect()
    }
}

/// A sum that is 0 over nothing, as a number of 64 bits.
fn sum(of: &str, filter: &str) -> String {
    format!("CAST(coalesce(sum({of}) {filter}, 0) AS bigint)")
}

//! The metrics as a contract: names, kinds, labels and help texts, each in one place. `docs/metrics.md` is written from this
//! list, and a test holds it there: dashboards and alerts of others hang on it.

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only rises.
    Counter,
    /// Only rises; held in nano-dollars, written in dollars.
    Usd,
    /// Rises and falls.
    Gauge,
    /// Seconds, from milliseconds to the longest deadline.
    Latency,
    /// Seconds, from a tenth of a millisecond.
    Overhead,
}

impl Kind {
    #[cfg(test)]
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Counter | Self::Usd => "counter",
            Self::Gauge => "gauge",
            Self::Latency | Self::Overhead => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
}

/// Declares the metrics and the list of all of them.
macro_rules! metrics {
    ($($id:ident = $kind:ident $name:literal $labels:expr, $help:literal;)+) => {
        $(pub(super) const $id: Metric = Metric { name: $name, kind: Kind::$kind, labels: &$labels, help: $help };)+

        /// Every metric but those of the process.
        #[cfg(test)]
        pub(super) const ALL: &[Metric] = &[$($id),+];
    };
}

metrics! {
    REQUESTS = Counter "llmrouter_requests_total" ["route", "upstream", "provider", "model", "outcome"],
        "Client requests by how they ended; upstream is the one that served or failed last, none if none was asked.";
    SPLIT_REQUESTS = Counter "llmrouter_split_requests_total" ["upstream", "provider", "model"],
        "Served requests that went by the model's shares: not those that named an upstream, wanted another strategy or a price that an upstream is beyond, or asked for what an upstream does not serve.";
    REQUEST_ERRORS = Counter "llmrouter_request_errors_total" ["route", "model", "outcome", "code"],
        "Client requests that did not end well, by error code or kind of failure.";
    AUTH_FAILURES = Counter "llmrouter_auth_failures_total" ["credential", "reason"],
        "Requests refused because their credential is missing, wrong, or one of too many wrong ones.";
    REQUEST_DURATION = Latency "llmrouter_request_duration_seconds" ["upstream", "provider", "model"],
        "Served requests, from the moment the whole request was there to the end of its answer.";
    FIRST_TOKEN = Latency "llmrouter_time_to_first_token_seconds" ["upstream", "provider", "model"],
        "Streams, from sending the call to an upstream to its first token.";
    OVERHEAD = Overhead "llmrouter_overhead_seconds" [],
        "Served requests, their time less that in calls to upstreams and in waits before repeats.";
    ATTEMPTS = Counter "llmrouter_upstream_attempts_total" ["upstream", "provider", "model", "role", "outcome"],
        "Calls to upstreams by what they were among the calls of their request, and by how they ended.";
    UPSTREAM_ERRORS = Counter "llmrouter_upstream_errors_total" ["upstream", "provider", "kind"],
        "Calls to upstreams that failed, by kind of failure.";
    FALLBACKS = Counter "llmrouter_fallbacks_total" ["model", "from", "to", "cause"],
        "Calls to another upstream after a failure, by the upstreams and the kind of failure.";
    DECISIONS = Counter "llmrouter_decisions_total" ["strategy", "upstream", "provider", "model", "reason"],
        "Calls to upstreams by why that upstream was chosen.";
    TOKENS = Counter "llmrouter_tokens_total" ["upstream", "provider", "model", "type"],
        "Tokens as the upstreams counted them; the types are disjoint.";
    COST = Usd "llmrouter_cost_usd_total" ["upstream", "provider", "model", "kind"],
        "List price of the tokens that upstreams counted, for answers that were served and for calls that were wasted.";
    BASELINE_COST = Usd "llmrouter_baseline_cost_usd_total" ["baseline", "model"],
        "What the tokens of served answers with a known cost would have cost under another policy, at list price.";
    ESTIMATED_TOKENS = Counter "llmrouter_estimated_tokens_total" ["upstream", "provider", "model"],
        "Tokens estimated for calls whose upstream did not count them: not part of llmrouter_tokens_total.";
    ESTIMATED_COST = Usd "llmrouter_estimated_cost_usd_total" ["upstream", "provider", "model"],
        "List price of estimated tokens: not part of llmrouter_cost_usd_total.";
    USAGE_ESTIMATED = Counter "llmrouter_usage_estimated_total" ["upstream", "provider", "reason"],
        "Calls whose tokens are an estimate, by why the upstream did not count them.";
    UNPRICED = Counter "llmrouter_unpriced_requests_total" ["upstream", "provider", "model"],
        "Calls whose cost is unknown because their upstream has no price; their tokens count in no baseline.";
    GPU_SECONDS = Counter "llmrouter_gpu_seconds_total" ["upstream", "provider", "state"],
        "Worker seconds that an upstream bills: starting, busy with calls of ours, or idle until scaled down.";
    GPU_COST = Usd "llmrouter_gpu_cost_usd_total" ["upstream", "provider"],
        "Billed worker seconds times their price: what the invoice says, where workers are what is paid for.";
    GPU_UNOBSERVED = Counter "llmrouter_gpu_unobserved_seconds_total" ["upstream", "provider"],
        "Seconds in which the number of workers was unknown, so that nothing could be counted as billed.";
    GPU_PRICE = Gauge "llmrouter_gpu_second_price_usd" ["upstream", "provider"],
        "Price of a worker second, for the upstreams that bill it.";
    LIST_PRICE = Gauge "llmrouter_price_usd_per_million_tokens" ["upstream", "provider", "type"],
        "List price of tokens; absent if unknown.";
    WEIGHT = Gauge "llmrouter_weight_ratio" ["model", "strategy", "upstream", "provider", "kind"],
        "Share of a model's requests, as configured and as it comes out while some upstreams take no calls.";
    SLO_FIRST_TOKEN = Gauge "llmrouter_slo_first_token_seconds" ["model"],
        "The time to the first token that a model promises; absent if none.";
    UP = Gauge "llmrouter_provider_up" ["upstream", "provider"],
        "Whether an upstream is called: 0 while its breaker is open.";
    BREAKER = Gauge "llmrouter_breaker_state" ["upstream", "provider"],
        "Where the breaker stands: 0 closed, 1 half-open, 2 open.";
    WORKERS = Gauge "llmrouter_provider_workers" ["upstream", "provider", "state"],
        "Workers by state, where the upstream says; absent while unknown, and where another replica polls.";
    QUEUE_DEPTH = Gauge "llmrouter_queue_depth" ["upstream", "provider"],
        "Jobs that wait for a worker, where the upstream says; absent as workers are.";
    IN_FLIGHT = Gauge "llmrouter_inflight_requests" ["upstream", "provider"],
        "Calls under way.";
    QUOTA = Gauge "llmrouter_quota_remaining" ["upstream", "provider", "kind"],
        "What is left of our allowance in the tightest window, as the upstream's headers last said; absent after a minute.";
    MEMORY_USED = Gauge "llmrouter_memory_used_bytes" [],
        "Bytes of bodies and held answers, as the memory budget counts them.";
    MEMORY_LIMIT = Gauge "llmrouter_memory_limit_bytes" [],
        "The memory budget: what would take more is refused.";
    MEMORY_REFUSALS = Counter "llmrouter_memory_refusals_total" [],
        "How often the memory budget had no room for a body or an answer.";
    CONNECTIONS_CLOSED = Counter "llmrouter_connections_closed_total" ["listener", "reason"],
        "Connections of clients that the router closed because one of their limits was reached.";
    PANICS = Counter "llmrouter_panics_total" [],
        "Requests that a defect of the router ended: each is a line in the log.";
    DECISION_RECORDS = Counter "llmrouter_decision_log_records_total" ["result"],
        "Records for the decision log, by what became of them.";
    BUDGET_LIMIT = Gauge "llmrouter_budget_limit_usd" ["scope", "name", "period"],
        "The most that a key, a team or a model may spend in a period.";
    BUDGET_SPENT = Gauge "llmrouter_budget_spent_usd" ["scope", "name", "period"],
        "What it has spent since the budget began anew; absent until the ledger has said it.";
    BUDGET_RESERVED = Gauge "llmrouter_budget_reserved_usd" ["scope", "name", "period"],
        "What its calls under way may cost.";
    SHARED_UP = Gauge "llmrouter_shared_up" [],
        "Whether limits and budgets are shared with the other replicas: 0 while this one decides by itself. Absent without [shared].";
    SHARED_REPLICAS = Gauge "llmrouter_shared_replicas" [],
        "Live replicas that share limits and budgets, this one included; absent without [shared].";
    LEDGER_ROWS = Counter "llmrouter_ledger_rows_total" [],
        "Rows that are in the ledger's store.";
    LEDGER_NOT_WRITTEN = Counter "llmrouter_ledger_not_written_total" [],
        "Entries that the ledger's journal did not take.";
    LEDGER_RELEASED = Counter "llmrouter_ledger_released_total" [],
        "Calls and answers that went on without a record.";
    LEDGER_STORE_FAILURES = Counter "llmrouter_ledger_store_failures_total" [],
        "Times that the ledger's store failed; its journal keeps the rows.";
    LEDGER_BACKLOG = Gauge "llmrouter_ledger_backlog_bytes" [],
        "Bytes of the ledger's journal that are not in its store yet.";
    CONFIG_INFO = Gauge "llmrouter_config_info" ["version"],
        "Always 1; the version names the configuration in force.";
    RELOADS = Counter "llmrouter_config_reloads_total" ["result"],
        "Reloads of the configuration.";
    RELOAD_TIME = Gauge "llmrouter_config_last_reload_success_timestamp_seconds" [],
        "When the configuration in force was loaded.";
    RELOAD_OK = Gauge "llmrouter_config_last_reload_successful" [],
        "Whether the last reload was successful: 0 while a bad file waits to be corrected.";
    BUILD_INFO = Gauge "llmrouter_build_info" ["version"],
        "Always 1; the version of the program.";
    TEAM_REQUESTS = Counter "llmrouter_team_requests_total" ["team"],
        "Client requests by team.";
    TEAM_TOKENS = Counter "llmrouter_team_tokens_total" ["team"],
        "Tokens by team, as the upstreams counted them.";
    TEAM_COST = Usd "llmrouter_team_cost_usd_total" ["team"],
        "List price by team: served, wasted and estimated.";
    TEAM_BASELINE_COST = Usd "llmrouter_team_baseline_cost_usd_total" ["team"],
        "What the tokens of a team's served answers would have cost at the configured baseline.";
}

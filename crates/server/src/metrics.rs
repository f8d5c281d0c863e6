//! The only place that knows Prometheus: events become counters, the table becomes gauges at each scrape.
//!
//! Label values come from the configuration alone, never from a request: a model that does not exist counts as `other`. Series
//! are made when a table comes into force, so that they start at zero, and their handles are looked up by id, not by label.
//! Money is counted in whole nano-dollars and divided only when written out.

mod contract;
mod families;
mod gauges;
mod handles;
mod labels;

#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use dispatch::{AttemptEnded, Event, Observer, Outcome, RequestEnded, Table};
use ledger::BudgetStatus;
use parking_lot::{Mutex, RwLock};
use prometheus::{
    Encoder, Gauge, Histogram, HistogramVec, IntCounter, IntCounterVec, Registry, TextEncoder,
    process_collector::ProcessCollector,
};
use provider::{ErrorKind, MemoryBudget, ModelId, Time, UpstreamId};
use router::Role;
use shared::View;

use families::{Families, UsdCounters};
use gauges::Gauges;
use handles::{Handles, Pair};
use labels::{AttemptClass, NONE, OTHER, RequestClass, disjoint};

use crate::{
    auth::{Credential, RecordedFailure},
    clock,
    connections::{Listener, Reason},
    decisions::LogCounters,
    ledger::LedgerCounters,
};

/// All metrics of the process.
pub(crate) struct Metrics {
    registry: Registry,
    series: Series,
    /// One scrape at a time: each makes the gauges anew.
    gauges: Mutex<Gauges>,
    handles: ArcSwap<Handles>,
    teams: RwLock<HashMap<Arc<str>, Arc<TeamSeries>>>,
}

/// The series of one team.
struct TeamSeries {
    requests: IntCounter,
    tokens: IntCounter,
    nano_usd: IntCounter,
    baseline_nano_usd: IntCounter,
}

/// What is counted as it happens.
struct Series {
    requests: IntCounterVec,
    split_requests: IntCounterVec,
    request_errors: IntCounterVec,
    auth_failures: IntCounterVec,
    request_duration: HistogramVec,
    first_token: HistogramVec,
    overhead: Histogram,
    attempts: IntCounterVec,
    upstream_errors: IntCounterVec,
    fallbacks: IntCounterVec,
    decisions: IntCounterVec,
    tokens: IntCounterVec,
    cost: UsdCounters,
    baseline_cost: UsdCounters,
    estimated_tokens: IntCounterVec,
    estimated_cost: UsdCounters,
    usage_estimated: IntCounterVec,
    unpriced: IntCounterVec,
    connections_closed: IntCounterVec,
    panics: IntCounter,
    decision_records: IntCounterVec,
    ledger: LedgerCounters,
    reloads: IntCounterVec,
    reload_time: Gauge,
    reload_ok: Gauge,
    team_requests: IntCounterVec,
    team_tokens: IntCounterVec,
    team_cost: UsdCounters,
    team_baseline_cost: UsdCounters,
}

impl Series {
    fn new(families: &Families) -> Result<Self, prometheus::Error> {
        let single = |metric| Ok::<_, prometheus::Error>(families.gauge(metric)?.with_label_values::<&str>(&[]));
        let count = |metric| Ok::<_, prometheus::Error>(families.counter(metric)?.with_label_values::<&str>(&[]));
        let version = env!("CARGO_PKG_VERSION");
        families.gauge(contract::BUILD_INFO)?.with_label_values(&[version]).set(1.0);
        Ok(Self {
            requests: families.counter(contract::REQUESTS)?,
            split_requests: families.counter(contract::SPLIT_REQUESTS)?,
            request_errors: families.counter(contract::REQUEST_ERRORS)?,
            auth_failures: families.counter(contract::AUTH_FAILURES)?,
            request_duration: families.histogram(contract::REQUEST_DURATION)?,
            first_token: families.histogram(contract::FIRST_TOKEN)?,
            overhead: families.histogram(contract::OVERHEAD)?.with_label_values::<&str>(&[]),
            attempts: families.counter(contract::ATTEMPTS)?,
            upstream_errors: families.counter(contract::UPSTREAM_ERRORS)?,
            fallbacks: families.counter(contract::FALLBACKS)?,
            decisions: families.counter(contract::DECISIONS)?,
            tokens: families.counter(contract::TOKENS)?,
            cost: families.usd(contract::COST)?,
            baseline_cost: families.usd(contract::BASELINE_COST)?,
            estimated_tokens: families.counter(contract::ESTIMATED_TOKENS)?,
            estimated_cost: families.usd(contract::ESTIMATED_COST)?,
            usage_estimated: families.counter(contract::USAGE_ESTIMATED)?,
            unpriced: families.counter(contract::UNPRICED)?,
            connections_closed: families.counter(contract::CONNECTIONS_CLOSED)?,
            panics: count(contract::PANICS)?,
            decision_records: families.counter(contract::DECISION_RECORDS)?,
            ledger: LedgerCounters {
                stored: count(contract::LEDGER_ROWS)?,
                not_written: count(contract::LEDGER_NOT_WRITTEN)?,
                released: count(contract::LEDGER_RELEASED)?,
                store_failures: count(contract::LEDGER_STORE_FAILURES)?,
                backlog_bytes: single(contract::LEDGER_BACKLOG)?,
                is_store_failing: Arc::default(),
            },
            reloads: families.counter(contract::RELOADS)?,
            reload_time: single(contract::RELOAD_TIME)?,
            reload_ok: single(contract::RELOAD_OK)?,
            team_requests: families.counter(contract::TEAM_REQUESTS)?,
            team_tokens: families.counter(contract::TEAM_TOKENS)?,
            team_cost: families.usd(contract::TEAM_COST)?,
            team_baseline_cost: families.usd(contract::TEAM_BASELINE_COST)?,
        })
    }
}

impl Metrics {
    /// Registers every metric; `longest` is the longest that a request may take.
    pub(crate) fn new(longest: Duration) -> Result<Self, prometheus::Error> {
        let families = Families::new(longest);
        let series = Series::new(&families)?;
        for result in ["success", "failure"] {
            series.reloads.with_label_values(&[result]);
        }
        for credential in Credential::ALL {
            for reason in RecordedFailure::REASONS {
                series.auth_failures.with_label_values(&[credential.as_str(), reason]);
            }
        }
        for listener in Listener::ALL {
            for reason in Reason::ALL {
                series.connections_closed.with_label_values(&[listener.as_str(), reason.as_str()]);
            }
        }
        let gauges = Mutex::new(Gauges::new(&families)?);
        let registry = families.into_registry();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Self { registry, series, gauges, handles: ArcSwap::default(), teams: RwLock::default() })
    }

    /// A table comes into force: its series are made.
    pub(crate) fn prepare(&self, table: &Table) {
        let mut handles = Handles::clone(&self.handles.load());
        handles.add(table, &self.series);
        self.handles.store(Arc::new(handles));
        self.series.reload_time.set(clock::unix_seconds());
        self.series.reload_ok.set(1.0);
    }

    /// A reload ended.
    pub(crate) fn reloaded(&self, ok: bool) {
        self.series.reloads.with_label_values(&[if ok { "success" } else { "failure" }]).inc();
        self.series.reload_ok.set(f64::from(u8::from(ok)));
    }

    /// A request was refused for its credentials.
    pub(crate) fn authentication_failed(&self, credential: &'static str, reason: &'static str) {
        self.series.auth_failures.with_label_values(&[credential, reason]).inc();
    }

    /// The router closed a client's connection.
    pub(crate) fn closed(&self, listener: Listener, reason: Reason) {
        self.series.connections_closed.with_label_values(&[listener.as_str(), reason.as_str()]).inc();
    }

    /// A defect of the router ended a request.
    pub(crate) fn panicked(&self) {
        self.series.panics.inc();
    }

    /// What becomes of the records for the decision log.
    pub(crate) fn decision_log(&self) -> LogCounters {
        let counter = |result| self.series.decision_records.with_label_values(&[result]);
        LogCounters { written: counter("written"), dropped: counter("dropped"), failed: counter("failed") }
    }

    /// What becomes of the ledger's entries.
    pub(crate) fn ledger(&self) -> LedgerCounters {
        self.series.ledger.clone()
    }

    /// The metrics in Prometheus' text format.
    pub(crate) fn render(
        &self,
        (table, now): (&Table, Time),
        memory: &MemoryBudget,
        budgets: &[BudgetStatus],
        shared: Option<&View>,
    ) -> Result<Vec<u8>, prometheus::Error> {
        let gauges = self.gauges.lock();
        gauges.read(table, memory, now);
        gauges.read_budgets(budgets);
        if let Some(shared) = shared {
            gauges.read_shared(shared);
        }
        let mut out = Vec::with_capacity(256 << 10);
        TextEncoder::new().encode(&self.registry.gather(), &mut out)?;
        Ok(out)
    }

    fn attempt_ended(&self, ended: &AttemptEnded) {
        let handles = self.handles.load();
        let Some(model) = &ended.info.model else { return };
        let Some(pair) = handles.pair(&ended.upstream, model) else { return };
        self.count_attempt(ended, pair, model);
        let mut tokens = 0;
        if let Some(usage) = ended.usage {
            for (counter, count) in pair.tokens.iter().zip(disjoint(&usage)) {
                counter.inc_by(count);
            }
            tokens = usage.total();
            let is_unpriced = ended.outcome == Outcome::Served && ended.cost.is_none() && ended.estimate.is_none();
            pair.unpriced.inc_by(u64::from(is_unpriced));
        }
        let mut spent = ended.cost.unwrap_or_default();
        let counter = if ended.has_served() { &pair.served_nano_usd } else { &pair.wasted_nano_usd };
        counter.inc_by(spent.0);
        if let Some(estimate) = ended.estimate {
            if ended.usage.is_none() {
                pair.estimated_tokens.inc_by(estimate.usage.total());
            }
            if ended.cost.is_none() {
                pair.unpriced.inc_by(u64::from(estimate.cost.is_none()));
                spent = estimate.cost.unwrap_or_default();
                pair.estimated_nano_usd.inc_by(spent.0);
            }
            let labels = [ended.upstream.as_str(), pair.provider, estimate.reason.as_str()];
            self.series.usage_estimated.with_label_values(&labels).inc();
        }
        if let Some(team) = &ended.info.team {
            let series = self.team(team);
            series.tokens.inc_by(tokens);
            series.nano_usd.inc_by(spent.0);
        }
    }

    fn count_attempt(&self, ended: &AttemptEnded, pair: &Pair, model: &ModelId) {
        let upstream = ended.upstream.as_str();
        pair.attempt(ended.role, AttemptClass::of(ended.outcome)).inc();
        if let Some(counter) = pair.decision(ended.strategy, ended.reason) {
            counter.inc();
        } else {
            let labels = [ended.strategy.as_str(), upstream, pair.provider, model.as_str(), ended.reason.as_str()];
            self.series.decisions.with_label_values(&labels).inc();
        }
        // What the router refused itself says nothing of the upstream.
        if let Outcome::Failed(kind) = ended.outcome
            && !matches!(kind, ErrorKind::Unrecorded | ErrorKind::OverBudget)
        {
            self.series.upstream_errors.with_label_values(&[upstream, pair.provider, kind.as_str()]).inc();
        }
        if let (Role::Fallback, Some((from, cause))) = (ended.role, &ended.after) {
            let labels = [model.as_str(), from.as_str(), upstream, cause.as_str()];
            self.series.fallbacks.with_label_values(&labels).inc();
        }
        if let Some(first_token) = ended.first_token.filter(|_| ended.info.stream && ended.role != Role::WarmUp) {
            pair.first_token.observe(first_token.as_secs_f64());
        }
    }

    fn request_ended(&self, ended: &RequestEnded) {
        let handles = self.handles.load();
        let class = RequestClass::of(ended.outcome);
        let model = ended.info.model.as_ref().filter(|model| handles.model(model).is_some());
        let pair = model.and_then(|model| handles.pair(ended.upstream.as_ref()?, model));
        match pair {
            Some(pair) if class == RequestClass::Ok => {
                match pair.request_ok(ended.info.route) {
                    Some(counter) => counter.inc(),
                    None => self.count_request(ended, class, Some(pair)),
                }
                pair.split_requests.inc_by(u64::from(ended.is_by_share));
                pair.duration.observe(ended.duration.as_secs_f64());
                self.series.overhead.observe(ended.overhead().as_secs_f64());
            }
            _ => self.count_failure(ended, class, pair),
        }
        // What tokens of an unknown price would have cost elsewhere is no saving.
        let baseline = ended.usage.filter(|_| class == RequestClass::Ok && ended.cost.is_some());
        if let (Some(usage), Some(model)) = (baseline, model.and_then(|model| handles.model(model))) {
            for policy in &*ended.policies {
                let cost = policy.price.cost_of_counted(&usage);
                if let (Some(counter), Some(cost)) = (model.baseline(&policy.name), cost) {
                    counter.inc_by(cost.0);
                }
            }
        }
        if let Some(team) = &ended.info.team {
            let series = self.team(team);
            series.requests.inc();
            let cost = ended.baseline_cost().filter(|_| baseline.is_some());
            series.baseline_nano_usd.inc_by(cost.unwrap_or_default().0);
        }
    }

    /// The series of a team, made when its first request ends.
    fn team(&self, team: &Arc<str>) -> Arc<TeamSeries> {
        if let Some(series) = self.teams.read().get(team) {
            return series.clone();
        }
        let labels = [&**team];
        let series = Arc::new(TeamSeries {
            requests: self.series.team_requests.with_label_values(&labels),
            tokens: self.series.team_tokens.with_label_values(&labels),
            nano_usd: self.series.team_cost.0.with_label_values(&labels),
            baseline_nano_usd: self.series.team_baseline_cost.0.with_label_values(&labels),
        });
        self.teams.write().insert(team.clone(), series.clone());
        series
    }

    fn count_failure(&self, ended: &RequestEnded, class: RequestClass, pair: Option<&Pair>) {
        self.count_request(ended, class, pair);
        let (route, class) = (ended.info.route.as_str(), class.as_str());
        let model = ended.info.model.as_ref().map_or(OTHER, ModelId::as_str);
        let detail = ended.outcome.detail();
        let code = if detail.is_empty() { ended.outcome.as_str() } else { detail };
        self.series.request_errors.with_label_values(&[route, model, class, code]).inc();
    }

    /// Counts a request whose series was not made beforehand.
    fn count_request(&self, ended: &RequestEnded, class: RequestClass, pair: Option<&Pair>) {
        let model = ended.info.model.as_ref().map_or(OTHER, ModelId::as_str);
        // An upstream without series is one that the configuration has lost meanwhile.
        let (upstream, provider) =
            pair.map_or((NONE, NONE), |pair| (ended.upstream.as_ref().map_or(NONE, UpstreamId::as_str), pair.provider));
        let labels = [ended.info.route.as_str(), upstream, provider, model, class.as_str()];
        self.series.requests.with_label_values(&labels).inc();
    }
}

impl Observer for Metrics {
    fn on(&self, event: &Event<'_>) {
        match event {
            Event::AttemptEnded(ended) => self.attempt_ended(ended),
            Event::RequestEnded(ended) => self.request_ended(ended),
        }
    }
}

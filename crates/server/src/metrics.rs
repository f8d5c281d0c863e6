//! The only file that knows Prometheus: events become counters, the table becomes gauges at each scrape.
//!
//! Label values come from the configuration alone, never from a request: a model that does not exist counts as `other`. Series
//! are made when a table comes into force, so that they start at zero, and their handles are looked up by id, not by label.
//! Money is counted in whole nano-dollars and divided only when written out.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use prometheus::{
    Encoder, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
    core::{Collector, Desc},
    process_collector::ProcessCollector,
    proto::MetricFamily,
};
use provider::{ModelId, Operation, UpstreamId, Usage};
use router::{AttemptEnded, BreakerState, Event, Observer, Outcome, RequestEnded, RequestOutcome, Table};
use tokio::time::Instant;

/// Seconds; fine between 0.5 s and 2 s, where the providers differ, and ending beyond the longest deadline.
const LATENCY_BUCKETS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0,
    30.0, 60.0, 120.0, 300.0, 600.0,
];

/// The label of a model that does not exist.
const OTHER: &str = "other";

/// All metrics of the process.
pub(crate) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    attempts: IntCounterVec,
    first_tokens: HistogramVec,
    decisions: IntCounterVec,
    tokens: IntCounterVec,
    cost: UsdCounters,
    baseline_cost: UsdCounters,
    unpriced: IntCounterVec,
    no_usage: IntCounterVec,
    in_flight: GaugeVec,
    breaker: GaugeVec,
    workers: GaugeVec,
    reloads: IntCounterVec,
    handles: ArcSwap<Handles>,
}

/// Handles by id, made when a table comes into force. Those of earlier tables stay: requests under way finish under them.
#[derive(Clone, Default)]
struct Handles {
    pairs: HashMap<UpstreamId, HashMap<ModelId, Pair>>,
    models: HashMap<ModelId, ModelHandles>,
}

/// The series of one upstream under one model.
#[derive(Clone)]
struct Pair {
    provider: &'static str,
    first_token: Histogram,
    input_tokens: IntCounter,
    output_tokens: IntCounter,
    served_nano_usd: IntCounter,
    wasted_nano_usd: IntCounter,
    unpriced: IntCounter,
    no_usage: IntCounter,
    served: IntCounter,
}

/// The series of one model.
#[derive(Clone)]
struct ModelHandles {
    duration: Histogram,
    baseline_nano_usd: IntCounter,
}

impl Metrics {
    /// Registers every metric.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(vec.clone()))?;
            Ok::<_, prometheus::Error>(vec)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let vec = GaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(vec.clone()))?;
            Ok::<_, prometheus::Error>(vec)
        };
        let histogram = |name: &str, help: &str, labels: &[&str]| {
            let vec = HistogramVec::new(HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec()), labels)?;
            registry.register(Box::new(vec.clone()))?;
            Ok::<_, prometheus::Error>(vec)
        };
        let usd = |name: &str, help: &str, labels: &[&str]| {
            let counters = UsdCounters(IntCounterVec::new(Opts::new(name, help), labels)?);
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let metrics = Self {
            requests: counter(
                "llmrouter_requests_total",
                "Client requests by how they ended; detail is the error code or kind, empty if there is none.",
                &["route", "model", "outcome", "detail"],
            )?,
            durations: histogram(
                "llmrouter_request_duration_seconds",
                "From a request's arrival at the router to the end of its answer.",
                &["model"],
            )?,
            attempts: counter(
                "llmrouter_upstream_attempts_total",
                "Calls to upstreams by how they ended.",
                &["upstream", "provider", "model", "outcome"],
            )?,
            first_tokens: histogram(
                "llmrouter_time_to_first_token_seconds",
                "From sending a call to its first token; of a whole answer, to its end.",
                &["upstream", "provider", "model"],
            )?,
            decisions: counter(
                "llmrouter_decisions_total",
                "Calls to upstreams by why that upstream was chosen.",
                &["upstream", "provider", "model", "reason"],
            )?,
            tokens: counter(
                "llmrouter_tokens_total",
                "Tokens as the upstreams counted them; input includes cached tokens.",
                &["upstream", "provider", "model", "type"],
            )?,
            cost: usd(
                "llmrouter_cost_usd_total",
                "List price of the tokens that upstreams counted, of answers that were served and of attempts that were wasted.",
                &["upstream", "provider", "model", "kind"],
            )?,
            baseline_cost: usd(
                "llmrouter_baseline_cost_usd_total",
                "What the served tokens would have cost at the model's baseline upstream, at list price.",
                &["model"],
            )?,
            unpriced: counter(
                "llmrouter_unpriced_requests_total",
                "Served calls whose cost is unknown because the upstream has no price.",
                &["upstream", "provider", "model"],
            )?,
            no_usage: counter(
                "llmrouter_usage_missing_total",
                "Served calls whose cost is unknown because the upstream counted no tokens.",
                &["upstream", "provider", "model"],
            )?,
            in_flight: gauge("llmrouter_inflight_requests", "Calls in flight.", &["upstream", "provider"])?,
            breaker: gauge(
                "llmrouter_breaker_state",
                "Where the breaker stands: 0 closed, 1 half-open, 2 open.",
                &["upstream", "provider"],
            )?,
            workers: gauge(
                "llmrouter_provider_workers",
                "Workers by state, where the upstream says; absent while unknown.",
                &["upstream", "provider", "state"],
            )?,
            reloads: counter("llmrouter_config_reloads_total", "Reloads of the configuration.", &["result"])?,
            handles: ArcSwap::default(),
            registry,
        };
        metrics.registry.register(Box::new(ProcessCollector::for_self()))?;
        for result in ["success", "failure"] {
            metrics.reloads.with_label_values(&[result]);
        }
        Ok(metrics)
    }

    /// A table comes into force: its series are made.
    pub(crate) fn prepare(&self, table: &Table) {
        let mut handles = Handles::clone(&self.handles.load());
        for (model, targets) in table.targets() {
            handles.models.insert(model.clone(), self.model(model));
            for upstream in targets {
                let pair = self.pair(&upstream.spec.id, upstream.spec.provider_name, model);
                handles.pairs.entry(upstream.spec.id.clone()).or_default().insert(model.clone(), pair);
            }
        }
        self.handles.store(Arc::new(handles));
    }

    fn pair(&self, upstream: &UpstreamId, provider: &'static str, model: &ModelId) -> Pair {
        let labels = [upstream.as_str(), provider, model.as_str()];
        let with = |last| [labels[0], labels[1], labels[2], last];
        Pair {
            provider,
            first_token: self.first_tokens.with_label_values(&labels),
            input_tokens: self.tokens.with_label_values(&with("input")),
            output_tokens: self.tokens.with_label_values(&with("output")),
            served_nano_usd: self.cost.0.with_label_values(&with("served")),
            wasted_nano_usd: self.cost.0.with_label_values(&with("wasted")),
            unpriced: self.unpriced.with_label_values(&labels),
            no_usage: self.no_usage.with_label_values(&labels),
            served: self.attempts.with_label_values(&with(Outcome::Served.as_str())),
        }
    }

    fn model(&self, model: &ModelId) -> ModelHandles {
        let labels = [model.as_str()];
        for operation in Operation::ALL {
            let served = RequestOutcome::Served;
            self.requests.with_label_values(&[operation.as_str(), labels[0], served.as_str(), served.detail()]);
        }
        ModelHandles {
            duration: self.durations.with_label_values(&labels),
            baseline_nano_usd: self.baseline_cost.0.with_label_values(&labels),
        }
    }

    /// A reload ended.
    pub(crate) fn reloaded(&self, ok: bool) {
        self.reloads.with_label_values(&[if ok { "success" } else { "failure" }]).inc();
    }

    /// The metrics in Prometheus' text format.
    pub(crate) fn render(&self, table: &Table) -> Result<Vec<u8>, prometheus::Error> {
        self.read(table);
        let mut out = Vec::with_capacity(64 << 10);
        TextEncoder::new().encode(&self.registry.gather(), &mut out)?;
        Ok(out)
    }

    /// Reads the gauges off the table. Upstreams that are gone leave no series behind.
    fn read(&self, table: &Table) {
        let now = Instant::now();
        for gauges in [&self.in_flight, &self.breaker, &self.workers] {
            gauges.reset();
        }
        for upstream in table.upstreams() {
            let labels = [upstream.spec.id.as_str(), upstream.spec.provider_name];
            let breaker = match upstream.breaker(now) {
                BreakerState::Closed => 0.0,
                BreakerState::HalfOpen => 1.0,
                BreakerState::Open => 2.0,
            };
            self.breaker.with_label_values(&labels).set(breaker);
            self.in_flight.with_label_values(&labels).set(f64::from(upstream.snapshot(false, now).in_flight));
            let capacity = upstream.capacity(now);
            let states = [
                ("running", capacity.running),
                ("idle", capacity.idle),
                ("initializing", capacity.initializing),
                ("throttled", capacity.throttled),
                ("unhealthy", capacity.unhealthy),
            ];
            for (state, count) in states {
                if let Some(count) = count {
                    self.workers.with_label_values(&[labels[0], labels[1], state]).set(f64::from(count));
                }
            }
        }
    }

    fn attempt_ended(&self, ended: &AttemptEnded) {
        let handles = self.handles.load();
        let pair = ended.subject.model.as_ref().and_then(|model| handles.pairs.get(&ended.upstream)?.get(model));
        let Some(pair) = pair else { return };
        let model = ended.subject.model.as_ref().map_or(OTHER, ModelId::as_str);
        let labels = [ended.upstream.as_str(), pair.provider, model];
        let served = ended.outcome == Outcome::Served;
        if served {
            pair.served.inc();
            pair.unpriced.inc_by(u64::from(ended.usage.is_some() && ended.cost.is_none()));
            pair.no_usage.inc_by(u64::from(ended.usage.is_none()));
        } else {
            self.attempts.with_label_values(&[labels[0], labels[1], labels[2], ended.outcome.as_str()]).inc();
        }
        self.decisions.with_label_values(&[labels[0], labels[1], labels[2], ended.reason.as_str()]).inc();
        if let Some(first_token) = ended.first_token {
            pair.first_token.observe(first_token.as_secs_f64());
        }
        let usage = ended.usage.unwrap_or_default();
        let Usage { prompt_tokens, completion_tokens, .. } = usage;
        pair.input_tokens.inc_by(prompt_tokens);
        pair.output_tokens.inc_by(completion_tokens);
        let spent = if served { &pair.served_nano_usd } else { &pair.wasted_nano_usd };
        spent.inc_by(ended.cost.unwrap_or_default().0);
    }

    fn request_ended(&self, ended: &RequestEnded) {
        let handles = self.handles.load();
        let model = ended.subject.model.as_ref();
        let known = model.and_then(|model| handles.models.get(model));
        let label = model.filter(|_| known.is_some()).map_or(OTHER, ModelId::as_str);
        let outcome = ended.outcome;
        self.requests
            .with_label_values(&[ended.subject.operation.as_str(), label, outcome.as_str(), outcome.detail()])
            .inc();
        let Some(known) = known else { return };
        known.duration.observe(ended.duration.as_secs_f64());
        if outcome == RequestOutcome::Served {
            known.baseline_nano_usd.inc_by(ended.baseline_cost.unwrap_or_default().0);
        }
    }
}

impl Observer for Metrics {
    fn on(&self, event: &Event<'_>) {
        match event {
            Event::AttemptEnded(ended) => self.attempt_ended(ended),
            Event::RequestEnded(ended) => self.request_ended(ended),
        }
    }

    fn settle(&self, _ended: &RequestEnded) -> Option<BoxFuture<'static, ()>> {
        None
    }
}

/// Counters of nano-dollars that are written out in dollars.
#[derive(Clone)]
struct UsdCounters(IntCounterVec);

impl Collector for UsdCounters {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.0.collect();
        for metric in families.iter_mut().flat_map(MetricFamily::mut_metric) {
            let nano = metric.get_counter().get_value();
            let mut counter = prometheus::proto::Counter::default();
            counter.set_value(nano / 1e9);
            metric.set_counter(counter);
        }
        families
    }
}

//! What is read off the table at each scrape rather than counted as it happens.

use dispatch::Table;
use ledger::BudgetStatus;
use prometheus::{CounterVec, GaugeVec};
use provider::{Capacity, MemoryBudget, NanoUsd, Price, Tariff, Time};
use router::{BreakerState, Status, Upstream};
use shared::View;

use super::{
    contract,
    families::{Families, UsdCounters},
};

/// The series of upstreams and models as they are now. They are made anew at each scrape: what is gone leaves none behind.
pub(super) struct Gauges {
    gpu_seconds: CounterVec,
    gpu_cost: UsdCounters,
    gpu_unobserved: CounterVec,
    gpu_price: GaugeVec,
    list_price: GaugeVec,
    weight: GaugeVec,
    slo_first_token: GaugeVec,
    up: GaugeVec,
    breaker: GaugeVec,
    workers: GaugeVec,
    queue_depth: GaugeVec,
    in_flight: GaugeVec,
    quota: GaugeVec,
    config_info: GaugeVec,
    budget_limit: GaugeVec,
    budget_spent: GaugeVec,
    budget_reserved: GaugeVec,
    shared_up: GaugeVec,
    shared_replicas: GaugeVec,
    memory_used: GaugeVec,
    memory_limit: GaugeVec,
    memory_refusals: CounterVec,
}

impl Gauges {
    pub(super) fn new(families: &Families) -> Result<Self, prometheus::Error> {
        Ok(Self {
            gpu_seconds: families.seconds(contract::GPU_SECONDS)?,
            gpu_cost: families.usd(contract::GPU_COST)?,
            gpu_unobserved: families.seconds(contract::GPU_UNOBSERVED)?,
            gpu_price: families.gauge(contract::GPU_PRICE)?,
            list_price: families.gauge(contract::LIST_PRICE)?,
            weight: families.gauge(contract::WEIGHT)?,
            slo_first_token: families.gauge(contract::SLO_FIRST_TOKEN)?,
            up: families.gauge(contract::UP)?,
            breaker: families.gauge(contract::BREAKER)?,
            workers: families.gauge(contract::WORKERS)?,
            queue_depth: families.gauge(contract::QUEUE_DEPTH)?,
            in_flight: families.gauge(contract::IN_FLIGHT)?,
            quota: families.gauge(contract::QUOTA)?,
            config_info: families.gauge(contract::CONFIG_INFO)?,
            budget_limit: families.gauge(contract::BUDGET_LIMIT)?,
            budget_spent: families.gauge(contract::BUDGET_SPENT)?,
            budget_reserved: families.gauge(contract::BUDGET_RESERVED)?,
            shared_up: families.gauge(contract::SHARED_UP)?,
            shared_replicas: families.gauge(contract::SHARED_REPLICAS)?,
            memory_used: families.gauge(contract::MEMORY_USED)?,
            memory_limit: families.gauge(contract::MEMORY_LIMIT)?,
            memory_refusals: families.seconds(contract::MEMORY_REFUSALS)?,
        })
    }

    pub(super) fn read(&self, table: &Table, memory: &MemoryBudget, now: Time) {
        self.reset();
        self.read_memory(memory);
        self.config_info.with_label_values(&[&*table.version]).set(1.0);
        for upstream in table.upstreams() {
            let status = table.status(upstream, now);
            self.read_health(upstream, &status);
            self.read_capacity(upstream, &status);
            self.read_prices(upstream, &status);
        }
        for model in table.models() {
            if let Some(aim) = model.spec.slo_first_token {
                self.slo_first_token.with_label_values(&[model.spec.name.as_str()]).set(aim.as_secs_f64());
            }
        }
        for weight in table.models().flat_map(|model| table.weights(model, now)) {
            let upstream = &weight.upstream.spec;
            let labels = [
                weight.model.name.as_str(),
                weight.model.strategy.as_str(),
                upstream.id.as_str(),
                upstream.provider_name,
            ];
            for (kind, value) in [("configured", weight.configured), ("effective", weight.effective)] {
                self.weight.with_label_values(&[labels[0], labels[1], labels[2], labels[3], kind]).set(value);
            }
        }
    }

    pub(super) fn read_budgets(&self, budgets: &[BudgetStatus]) {
        let usd = |amount| NanoUsd(amount).usd();
        for budget in budgets {
            let dimension = budget.scope.dimension.to_string();
            let labels = [&*dimension, &*budget.scope.name, budget.period.as_str()];
            self.budget_limit.with_label_values(&labels).set(usd(budget.limit_nano_usd));
            self.budget_reserved.with_label_values(&labels).set(usd(budget.reserved_nano_usd));
            if let Some(spent) = budget.spent_nano_usd {
                self.budget_spent.with_label_values(&labels).set(usd(spent));
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "there are few replicas")]
    pub(super) fn read_shared(&self, shared: &View) {
        self.shared_up.with_label_values::<&str>(&[]).set(f64::from(u8::from(!shared.is_away)));
        self.shared_replicas.with_label_values::<&str>(&[]).set((shared.peers.len() + 1) as f64);
    }

    fn reset(&self) {
        self.gpu_seconds.reset();
        self.gpu_cost.0.reset();
        self.gpu_unobserved.reset();
        self.memory_refusals.reset();
        let gauges = [
            &self.gpu_price,
            &self.list_price,
            &self.weight,
            &self.slo_first_token,
            &self.up,
            &self.breaker,
            &self.workers,
            &self.queue_depth,
            &self.in_flight,
            &self.quota,
            &self.config_info,
            &self.budget_limit,
            &self.budget_spent,
            &self.budget_reserved,
        ];
        gauges.into_iter().for_each(GaugeVec::reset);
    }

    fn read_memory(&self, memory: &MemoryBudget) {
        let bytes = |count: usize| as_float(u64::try_from(count).unwrap_or(u64::MAX));
        self.memory_used.with_label_values::<&str>(&[]).set(bytes(memory.used()));
        self.memory_limit.with_label_values::<&str>(&[]).set(bytes(memory.limit()));
        self.memory_refusals.with_label_values::<&str>(&[]).inc_by(as_float(memory.refusals()));
    }

    fn read_health(&self, upstream: &Upstream, status: &Status) {
        let labels = [upstream.spec.id.as_str(), upstream.spec.provider_name];
        let breaker = match status.breaker {
            BreakerState::Closed => 0.0,
            BreakerState::HalfOpen => 1.0,
            BreakerState::Open => 2.0,
        };
        self.breaker.with_label_values(&labels).set(breaker);
        let is_up = status.breaker != BreakerState::Open;
        self.up.with_label_values(&labels).set(f64::from(u8::from(is_up)));
        self.in_flight.with_label_values(&labels).set(f64::from(status.in_flight));
    }

    fn read_capacity(&self, upstream: &Upstream, status: &Status) {
        let labels = [upstream.spec.id.as_str(), upstream.spec.provider_name];
        let with = |last| [labels[0], labels[1], last];
        // Of several replicas the one that polls says what it found, so that the series of all may be added up.
        let capacity = if status.is_capacity_learned { Capacity::default() } else { status.capacity };
        let workers = [
            ("running", capacity.running),
            ("idle", capacity.idle),
            ("initializing", capacity.initializing),
            ("throttled", capacity.throttled),
            ("unhealthy", capacity.unhealthy),
        ];
        for (state, count) in workers {
            if let Some(count) = count {
                self.workers.with_label_values(&with(state)).set(f64::from(count));
            }
        }
        if let Some(queued) = capacity.queued {
            self.queue_depth.with_label_values(&labels).set(f64::from(queued));
        }
        let quota = status.quota.unwrap_or_default();
        for (kind, left) in [("requests", quota.requests), ("tokens", quota.tokens)] {
            if let Some(left) = left {
                self.quota.with_label_values(&with(kind)).set(as_float(left));
            }
        }
    }

    fn read_prices(&self, upstream: &Upstream, status: &Status) {
        let labels = [upstream.spec.id.as_str(), upstream.spec.provider_name];
        let with = |last| [labels[0], labels[1], last];
        let Some(tariff) = &upstream.spec.tariff else { return };
        if let Some(price) = tariff.list_price().filter(Price::is_by_token) {
            for (kind, rate) in [
                ("input", price.input),
                ("cached_input", price.cached_input),
                ("output", price.output),
                ("reasoning", price.reasoning),
            ] {
                // Pico-dollars per token are micro-dollars per million tokens.
                self.list_price.with_label_values(&with(kind)).set(as_float(rate.0) / 1e6);
            }
        }
        if let Tariff::GpuSeconds { per_second, .. } = tariff {
            self.gpu_price.with_label_values(&labels).set(as_float(per_second.0) / 1e12);
        }
        if let Some(time) = status.worker_time {
            for (state, time) in [("start", time.start), ("busy", time.busy), ("idle", time.idle)] {
                self.gpu_seconds.with_label_values(&with(state)).inc_by(time.as_secs_f64());
            }
            self.gpu_unobserved.with_label_values(&labels).inc_by(time.unobserved.as_secs_f64());
            self.gpu_cost.0.with_label_values(&labels).inc_by(time.cost().0);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "allowances, prices and bytes are far below 2^53")]
fn as_float(number: u64) -> f64 {
    number as f64
}

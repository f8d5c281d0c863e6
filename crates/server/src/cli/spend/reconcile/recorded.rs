//! What the ledger says of endpoints, day by day.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::civil::Date;
use ledger::{Dimension, GpuReport, Query, Snapshot, Spend, UsageSource};
use provider::{PicoUsd, Tariff};
use settings::{Config, ProviderSettings};

use crate::{
    cli::spend::{gpu, gpu_cost::tariffs, period::Days},
    gpu::rounded_part,
};

/// What is on record of an endpoint on a day.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Day {
    /// What it cost: workers by the second, and tokens at list prices where those are billed. `None` if nothing is on record.
    pub(super) nano_usd: Option<u64>,
    /// How workers were counted, where they are what is billed.
    pub(super) workers: Option<Workers>,
    /// Calls that timed out, broke or were left.
    pub(super) left_calls: u64,
    /// Calls whose end nobody knows.
    pub(super) unknown_calls: u64,
    /// Where tokens are billed: how much of the cost was estimated, and reserved for calls whose end nobody knows; cached tokens;
    /// calls without a price.
    pub(super) tokens: Option<Spend>,
    /// Several upstreams count the workers of this endpoint.
    pub(super) is_counted_twice: bool,
}

/// How the workers of a day were counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Workers {
    pub(super) unobserved_ms: u64,
    /// What they may have cost in that time, at the rate of the rest of the day; `None` if nothing is known of the day.
    pub(super) unobserved_nano_usd: Option<u64>,
    pub(super) starts: u64,
    /// What is recorded for the rounding of starts.
    pub(super) rounding_nano_usd: u64,
}

/// What the ledger says of all endpoints.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    /// The upstreams of each endpoint that is known.
    pub(super) upstreams: BTreeMap<String, BTreeSet<String>>,
    /// Endpoints of RunPod whose workers are billed.
    pub(super) of_runpod: BTreeSet<String>,
    days: BTreeMap<(String, Date), Day>,
    /// What to know about the workers of these days.
    pub(super) notes: Vec<String>,
}

const MS_OF_A_DAY: u64 = 24 * 60 * 60 * 1000;

impl Recorded {
    pub(super) fn read(
        ledger: &mut Snapshot,
        config: Option<&Config>,
        endpoints: &[(String, String)],
        days: Days,
        now_ms: i64,
    ) -> anyhow::Result<Self> {
        let by = vec![Dimension::Day, Dimension::Upstream, Dimension::UsageSource, Dimension::PriceVersion];
        let query = Query { by, ..days.query()? };
        let workers = ledger.gpu(&query, &tariffs(config), now_ms)?;
        let counted = workers.upstreams.iter().map(|upstream| upstream.name.clone()).collect();
        let of_upstream = Self::by_upstream(&workers, &gpu::by_day(&workers, &query, now_ms), &ledger.spend(&query)?);
        let mut recorded = Self::of_endpoints(config, endpoints, &counted);
        recorded.notes = gpu::notes(&workers, &query, now_ms);
        for (endpoint, upstreams) in recorded.upstreams.clone() {
            for day in days.each() {
                let of_day =
                    upstreams.iter().filter_map(|upstream| of_upstream.get(&(day.to_string(), upstream.clone())));
                if let Some(sum) = of_day.cloned().reduce(Day::beside) {
                    recorded.days.insert((endpoint.clone(), day), sum);
                }
            }
        }
        Ok(recorded)
    }

    /// An endpoint is known by its own id and by the ids of its upstreams.
    fn of_endpoints(config: Option<&Config>, endpoints: &[(String, String)], counted: &BTreeSet<String>) -> Self {
        let mut recorded = Self::default();
        let mut add = |endpoint: &str, upstream: &str, is_of_runpod: bool| {
            recorded.upstreams.entry(endpoint.to_owned()).or_default().insert(upstream.to_owned());
            if is_of_runpod {
                recorded.of_runpod.insert(endpoint.to_owned());
            }
        };
        for upstream in config.map(|config| config.upstreams.as_slice()).unwrap_or_default() {
            let id = upstream.id.as_str();
            let given = endpoints.iter().any(|(_, of)| of == id);
            let by_time = matches!(upstream.tariff, Some(Tariff::GpuSeconds { .. }));
            match &upstream.provider {
                ProviderSettings::Runpod { endpoint_id: Some(endpoint), .. } => add(endpoint, id, by_time),
                ProviderSettings::Runpod { .. } | ProviderSettings::Cerebras | ProviderSettings::OpenAi if !given => {
                    add(id, id, false);
                }
                ProviderSettings::Runpod { .. } | ProviderSettings::Cerebras | ProviderSettings::OpenAi => {}
            }
        }
        for (endpoint, upstream) in endpoints {
            add(endpoint, upstream, counted.contains(upstream));
        }
        recorded
    }

    fn by_upstream(
        report: &GpuReport,
        workers: &BTreeMap<(String, String), gpu::Sum>,
        spent: &[Spend],
    ) -> HashMap<(String, String), Day> {
        let mut days: HashMap<(String, String), Day> = HashMap::new();
        for (key, sum) in workers {
            days.insert(key.clone(), Day::of_workers(sum));
        }
        for spend in spent {
            let [Some(day), Some(upstream), source, price_version] = &spend.labels[..] else { continue };
            let day = days.entry((day.clone(), upstream.clone())).or_default();
            match source.as_deref() {
                Some(source) if source == UsageSource::Estimated.as_str() => {
                    day.left_calls += spend.calls - spend.answers;
                }
                Some(source) if source == UsageSource::Unknown.as_str() => day.unknown_calls += spend.calls,
                Some(_) | None => {}
            }
            if !report.is_of_workers(upstream, price_version.as_deref()) {
                day.tokens.get_or_insert_default().add(spend);
                *day.nano_usd.get_or_insert_default() += spend.cost_nano_usd;
            }
        }
        days
    }

    /// What is on record of an endpoint on a day.
    pub(super) fn day(&self, endpoint: &str, day: Date) -> Day {
        self.days.get(&(endpoint.to_owned(), day)).cloned().unwrap_or_default()
    }

    /// The days on which something is on record of an endpoint.
    pub(super) fn days_of(&self, endpoint: &str) -> impl Iterator<Item = Date> {
        self.days.keys().filter(move |(known, _)| known == endpoint).map(|(_, day)| *day)
    }
}

impl Day {
    fn of_workers(sum: &gpu::Sum) -> Self {
        let Some(time) = &sum.time else {
            let workers = Workers { unobserved_ms: MS_OF_A_DAY, ..Workers::default() };
            return Self { workers: Some(workers), ..Self::default() };
        };
        let unobserved_ms = MS_OF_A_DAY.saturating_sub(time.observed_ms);
        let at_the_rate = |observed_ms| rounded_part(time.cost_nano_usd, unobserved_ms, observed_ms);
        let half_a_second = PicoUsd(time.pico_usd_per_second).cost_of(crate::gpu::ROUNDING);
        let workers = Workers {
            unobserved_ms,
            unobserved_nano_usd: (time.observed_ms > 0).then(|| at_the_rate(time.observed_ms)),
            starts: time.starts,
            rounding_nano_usd: time.starts * half_a_second.0,
        };
        let nano_usd = (time.observed_ms > 0).then_some(time.cost_nano_usd);
        Self { nano_usd, workers: Some(workers), ..Self::default() }
    }

    /// Of two upstreams of an endpoint. Both count the same workers, so the higher figure is that of the endpoint; tokens add up.
    fn beside(self, other: Self) -> Self {
        let calls = (self.left_calls + other.left_calls, self.unknown_calls + other.unknown_calls);
        let is_by_token = self.workers.is_none() && other.workers.is_none();
        let sum = if let (true, Some(mut tokens), Some(more)) = (is_by_token, self.tokens.clone(), &other.tokens) {
            tokens.add(more);
            Self { nano_usd: Some(tokens.cost_nano_usd), tokens: Some(tokens), ..self }
        } else {
            let is_counted_twice = self.workers.is_some() && other.workers.is_some();
            let higher = if self.nano_usd >= other.nano_usd { self } else { other };
            Self { is_counted_twice, ..higher }
        };
        Self { left_calls: calls.0, unknown_calls: calls.1, ..sum }
    }
}

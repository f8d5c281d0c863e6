//! Metrics of the `prometheus` crate, made from the contract.

use std::time::Duration;

use prometheus::{
    CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use super::contract::{Kind, Metric};

/// Seconds; fine between 0.5 s and 2 s, where the providers differ. Cold starts take 20 to 120 s.
const LATENCY_BUCKETS: [f64; 26] = [
    0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 1.6, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0,
    20.0, 30.0, 60.0, 120.0,
];
/// Further buckets, used where deadlines are longer: no quantile can be read beyond the last bucket.
const LONGER_BUCKETS: [f64; 4] = [300.0, 600.0, 1800.0, 3600.0];
/// Seconds; a request passes in tens of microseconds.
const OVERHEAD_BUCKETS: [f64; 11] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25];

/// Makes metrics and registers them.
pub(super) struct Families {
    registry: Registry,
    latency_buckets: Vec<f64>,
}

impl Families {
    /// For requests that take up to `longest`.
    pub(super) fn new(longest: Duration) -> Self {
        let mut latency_buckets = LATENCY_BUCKETS.to_vec();
        for bucket in LONGER_BUCKETS {
            if latency_buckets.last().is_some_and(|last| *last >= longest.as_secs_f64()) {
                break;
            }
            latency_buckets.push(bucket);
        }
        Self { registry: Registry::new(), latency_buckets }
    }

    pub(super) fn into_registry(self) -> Registry {
        self.registry
    }

    fn add<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, prometheus::Error> {
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    pub(super) fn counter(&self, metric: Metric) -> Result<IntCounterVec, prometheus::Error> {
        self.add(IntCounterVec::new(Opts::new(metric.name, metric.help), metric.labels)?)
    }

    pub(super) fn seconds(&self, metric: Metric) -> Result<CounterVec, prometheus::Error> {
        self.add(CounterVec::new(Opts::new(metric.name, metric.help), metric.labels)?)
    }

    pub(super) fn usd(&self, metric: Metric) -> Result<UsdCounters, prometheus::Error> {
        self.add(UsdCounters(IntCounterVec::new(Opts::new(metric.name, metric.help), metric.labels)?))
    }

    pub(super) fn gauge(&self, metric: Metric) -> Result<GaugeVec, prometheus::Error> {
        self.add(GaugeVec::new(Opts::new(metric.name, metric.help), metric.labels)?)
    }

    pub(super) fn histogram(&self, metric: Metric) -> Result<HistogramVec, prometheus::Error> {
        let buckets =
            if metric.kind == Kind::Overhead { OVERHEAD_BUCKETS.to_vec() } else { self.latency_buckets.clone() };
        self.add(HistogramVec::new(HistogramOpts::new(metric.name, metric.help).buckets(buckets), metric.labels)?)
    }
}

/// Counters of nano-dollars that are written out in dollars.
#[derive(Clone)]
pub(super) struct UsdCounters(pub(super) IntCounterVec);

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bucket_ends_beyond_the_longest_deadline() {
        for (seconds, last) in [(60, 120.0), (120, 120.0), (121, 300.0), (600, 600.0), (3600, 3600.0)] {
            let buckets = Families::new(Duration::from_secs(seconds)).latency_buckets;
            assert_eq!(buckets.last(), Some(&last), "{seconds} s");
        }
    }

    #[test]
    fn the_seed_latencies_fall_into_different_buckets() {
        let bucket = |seconds: f64| LATENCY_BUCKETS.iter().position(|upper| seconds <= *upper);
        assert!(bucket(0.945) < bucket(1.2));
    }
}

//! From the runs of several seeds to a mean and how far it can be trusted.

use serde::Serialize;

use crate::metrics::Metrics;

/// A mean over seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// The true mean lies within this distance, with a confidence of 95 %. Zero with one seed, where it is unknown.
    pub half_width: f64,
}

/// [`Metrics`], as means over seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "as in Metrics")]
pub struct Summary {
    pub requests: Estimate,
    pub ok_percent: Estimate,
    pub slo_percent: Estimate,
    pub ttft_p50: Estimate,
    pub ttft_p95: Estimate,
    pub ttft_p99: Estimate,
    pub ttft_p95_of_all: Estimate,
    pub end_p95: Estimate,
    pub share_percent: Vec<Estimate>,
    pub token_share_percent: Vec<Estimate>,
    pub usd_per_million: Estimate,
    pub waste_percent: Estimate,
    pub gpu_usd: Estimate,
    pub worker_starts: Estimate,
    pub rate_limited: Estimate,
    pub attempts_per_request: Estimate,
}

/// Student's t for a two-sided confidence of 95 %, by degrees of freedom from 1.
const T: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// The same for more.
const T_OF_MANY: f64 = 1.960;

impl Estimate {
    /// The mean of `values` and its confidence interval.
    #[expect(clippy::cast_precision_loss, reason = "a few seeds")]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        if values.len() < 2 || !mean.is_finite() {
            return Self { mean, half_width: 0.0 };
        }
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let t = T.get(values.len() - 2).copied().unwrap_or(T_OF_MANY);
        Self { mean, half_width: t * (variance / n).sqrt() }
    }
}

impl Summary {
    /// The means of these runs; there is at least one.
    pub fn of(runs: &[Metrics]) -> Self {
        let estimate = |value: fn(&Metrics) -> f64| Estimate::of(runs.iter().map(value));
        let each = |values: fn(&Metrics) -> &[f64]| {
            let count = runs.first().map_or(0, |run| values(run).len());
            (0..count).map(|number| Estimate::of(runs.iter().map(|run| values(run)[number]))).collect()
        };
        Self {
            requests: estimate(|run| run.requests),
            ok_percent: estimate(|run| run.ok_percent),
            slo_percent: estimate(|run| run.slo_percent),
            ttft_p50: estimate(|run| run.ttft_p50),
            ttft_p95: estimate(|run| run.ttft_p95),
            ttft_p99: estimate(|run| run.ttft_p99),
            ttft_p95_of_all: estimate(|run| run.ttft_p95_of_all),
            end_p95: estimate(|run| run.end_p95),
            share_percent: each(|run| &run.share_percent),
            token_share_percent: each(|run| &run.token_share_percent),
            usd_per_million: estimate(|run| run.usd_per_million),
            waste_percent: estimate(|run| run.waste_percent),
            gpu_usd: estimate(|run| run.gpu_usd),
            worker_starts: estimate(|run| run.worker_starts),
            rate_limited: estimate(|run| run.rate_limited),
            attempts_per_request: estimate(|run| run.attempts_per_request),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_students() {
        let estimate = Estimate::of([1.0, 2.0, 3.0, 4.0, 5.0]);
        assert!((estimate.mean - 3.0).abs() < 1e-12);
        // s = 1.5811, t(4) = 2.776, n = 5.
        assert!((estimate.half_width - 1.963).abs() < 1e-3, "{}", estimate.half_width);
    }

    #[test]
    fn one_seed_and_the_infinite_have_no_interval() {
        assert_eq!(Estimate::of([2.0]), Estimate { mean: 2.0, half_width: 0.0 });
        let infinite = Estimate::of([1.0, f64::INFINITY]);
        assert!(infinite.mean.is_infinite() && infinite.half_width.abs() < 1e-12);
    }
}

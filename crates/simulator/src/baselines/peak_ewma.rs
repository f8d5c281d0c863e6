//! Peak-EWMA, as Finagle, linkerd and tower do it: time to first token × (requests in flight + 1). A slower sample counts at
//! once, a faster one slowly, and what was recorded fades while nothing is.

use super::engine::{Choice, Failed, PendingRequest, Rule, RuleInput, least};
use crate::{
    policy::Setup,
    time::{Nanos, seconds},
};

/// How fast samples are forgotten, in seconds.
const DECAY: f64 = 10.0;

/// What an upstream takes that was never asked, in seconds.
const UNKNOWN: f64 = 1.0;

/// A failure counts at least as slow as this, in seconds, so that failing fast is not attractive.
const PENALTY: f64 = 5.0;

#[derive(Debug)]
pub(super) struct PeakEwma {
    estimates: Vec<Estimate>,
}

#[derive(Debug, Clone, Copy)]
struct Estimate {
    value: f64,
    at: Nanos,
}

impl PeakEwma {
    pub(super) fn new(setup: &Setup<'_>) -> Self {
        Self { estimates: vec![Estimate { value: UNKNOWN, at: 0 }; setup.upstreams.len()] }
    }
}

impl Estimate {
    /// What is left of a weight of one.
    fn kept(&self, now: Nanos) -> f64 {
        (-seconds(now - self.at) / DECAY).exp()
    }

    fn sample(&mut self, value: f64, now: Nanos) {
        let kept = self.kept(now);
        self.at = now;
        self.value = if value > self.value { value } else { self.value * kept + value * (1.0 - kept) };
    }
}

impl Rule for PeakEwma {
    fn choose(&mut self, pending: &PendingRequest, input: &mut RuleInput<'_>) -> Choice {
        let cost = |upstream: usize| {
            let estimate = &self.estimates[upstream];
            estimate.value * estimate.kept(input.now) * f64::from(input.in_flight[upstream] + 1)
        };
        let upstreams = 0..self.estimates.len();
        pending
            .fallback(self.estimates.len())
            .or_else(|| least(upstreams, cost).map(Choice::Upstream))
            .unwrap_or(Choice::Nowhere)
    }

    fn first_token(&mut self, upstream: usize, after: Nanos, now: Nanos) {
        self.estimates[upstream].sample(seconds(after), now);
    }

    fn failed(&mut self, upstream: usize, _: Failed, after: Nanos, now: Nanos) {
        self.estimates[upstream].sample(seconds(after).max(PENALTY), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND;

    #[test]
    fn a_slow_sample_counts_at_once_and_a_fast_one_slowly() {
        let mut estimate = Estimate { value: 1.0, at: 0 };
        estimate.sample(4.0, SECOND);
        assert!((estimate.value - 4.0).abs() < 1e-12);
        estimate.sample(1.0, 2 * SECOND);
        let kept = (-0.1_f64).exp();
        assert!((estimate.value - (4.0 * kept + 1.0 - kept)).abs() < 1e-12);
    }
}

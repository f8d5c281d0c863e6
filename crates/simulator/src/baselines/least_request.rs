//! Weighted least request, as Envoy does it when it looks at all hosts: the greatest share per request in flight.
//! Two choices out of two upstreams look at all of them.

use super::engine::{Choice, PendingRequest, Rule, RuleInput, least};
use crate::policy::Setup;

#[derive(Debug)]
pub(super) struct LeastRequest {
    shares: Vec<f64>,
}

impl LeastRequest {
    pub(super) fn new(setup: &Setup<'_>) -> Self {
        Self { shares: setup.upstreams.iter().map(|upstream| upstream.share).collect() }
    }
}

impl Rule for LeastRequest {
    fn choose(&mut self, pending: &PendingRequest, input: &mut RuleInput<'_>) -> Choice {
        let load = |upstream: usize| f64::from(input.in_flight[upstream] + 1) / self.shares[upstream];
        let upstreams = 0..self.shares.len();
        pending
            .fallback(self.shares.len())
            .or_else(|| least(upstreams, load).map(Choice::Upstream))
            .unwrap_or(Choice::Nowhere)
    }
}

//! Baselines that look at nothing: fixed shares, and one upstream for everything.

use super::engine::{Choice, PendingRequest, Rule, RuleInput};
use crate::{
    chance::{Chance, Purpose},
    policy::Setup,
};

/// Each request by chance, in proportion to the shares.
#[derive(Debug)]
pub(super) struct StaticShares {
    chance: Chance,
    shares: Vec<f64>,
}

impl StaticShares {
    pub(super) fn new(setup: &Setup<'_>) -> Self {
        let shares = setup.upstreams.iter().map(|upstream| upstream.share).collect();
        Self { chance: Chance::new(setup.seed, u64::MAX), shares }
    }
}

impl Rule for StaticShares {
    fn choose(&mut self, pending: &PendingRequest, _: &mut RuleInput<'_>) -> Choice {
        pending.fallback(self.shares.len()).unwrap_or_else(|| {
            let upstreams = 0..self.shares.len();
            let chance = self.chance.unit(Purpose::Choice, pending.request.index() as u64, u64::from(pending.asked));
            drawn(upstreams, |upstream| self.shares[upstream], chance).map_or(Choice::Nowhere, Choice::Upstream)
        })
    }
}

/// The upstream that `chance`, in [0, 1), falls on when each has a piece as large as its weight.
pub(super) fn drawn(
    upstreams: impl Iterator<Item = usize> + Clone,
    weight: impl Fn(usize) -> f64,
    chance: f64,
) -> Option<usize> {
    let total: f64 = upstreams.clone().map(&weight).sum();
    let mut left = chance * total;
    let mut last = None;
    for upstream in upstreams {
        last = Some(upstream);
        left -= weight(upstream);
        if left < 0.0 {
            break;
        }
    }
    last
}

/// Everything to one upstream, repeats included.
#[derive(Debug)]
pub(super) struct Only(pub(super) usize);

impl Rule for Only {
    fn choose(&mut self, _: &PendingRequest, _: &mut RuleInput<'_>) -> Choice {
        Choice::Upstream(self.0)
    }
}

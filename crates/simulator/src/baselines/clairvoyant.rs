//! A clairvoyant that is greedy: it sees queues, lengths and coming outages, and spills exactly what would miss the SLO. Where
//! it has a choice, it gives the smallest requests to the dear upstream, up to that one's share.
//!
//! It is no bound: it ignores requests that are still to come, warms nothing up and pushes no scaler, so that a policy may
//! beat it.

use super::engine::{Choice, PendingRequest, Rule, RuleInput};
use crate::{
    policy::{Setup, UpstreamFacts},
    time::{MILLISECOND, Nanos, SECOND, from_seconds, seconds},
    trace::{Arrival, as_f64},
};

/// The part of the SLO that it uses. The rest is a margin for what it does not foresee: the random times of network and
/// starts.
const MARGIN: f64 = 0.97;

/// How often a waiting request is tried again, and for how long.
const LOOK_EVERY: Nanos = 200 * MILLISECOND;
const PATIENCE: Nanos = 30 * SECOND;

/// A request that has waited longer is late already.
const FRESH: Nanos = SECOND;

/// Most requests that the share may be off, either way.
const MOST_OFF: f64 = 400.0;

#[derive(Debug)]
pub(super) struct Clairvoyant {
    /// The upstream with workers and the one with limits.
    workers: usize,
    limited: usize,
    slo: Nanos,
    /// The limited upstream's part of the requests.
    share: f64,
    /// The size up to which requests add up to that part, in tokens.
    small: f64,
    /// The size up to which the limited upstream could carry all requests, in tokens.
    carried: f64,
    /// Requests that the limited upstream got beyond its share.
    beyond: f64,
}

impl Clairvoyant {
    pub(super) fn new(setup: &Setup<'_>) -> Self {
        let place = |has: fn(&UpstreamFacts) -> bool| setup.upstreams.iter().position(has);
        let workers = place(|upstream| upstream.worker_slots.is_some()).unwrap_or(0);
        let limited = place(|upstream| upstream.worker_slots.is_none()).unwrap_or(workers);
        let shares: f64 = setup.upstreams.iter().map(|upstream| upstream.share).sum();
        let facts = &setup.upstreams[limited];
        let share = facts.share / shares;
        let mut sizes: Vec<u64> = setup.trace.arrivals().iter().map(Arrival::tokens).collect();
        sizes.sort_unstable();
        Self {
            workers,
            limited,
            slo: setup.slo_ttft,
            share,
            small: as_f64(sizes[place_of(share, sizes.len())]),
            carried: carried(&sizes, seconds(setup.trace.span()).max(1.0) / 60.0, facts),
            beyond: 0.0,
        }
    }

    fn pick(&self, pending: &PendingRequest, input: &mut RuleInput<'_>) -> Choice {
        let waited = input.now - input.oracle.arrived(pending.request);
        let size = as_f64(input.oracle.tokens(pending.request));
        let first_token = input.oracle.first_token_in(self.workers, pending.request);
        let has_room = input.oracle.has_room(self.limited, pending.request);
        let fullness = input.oracle.fullness(self.limited);
        if first_token.saturating_add(waited) <= from_seconds(seconds(self.slo) * MARGIN) {
            let is_owed = self.beyond < 0.0 && size <= self.small * 1.6;
            let takes = has_room && is_owed && fullness > 0.3;
            return Choice::Upstream(if takes { self.limited } else { self.workers });
        }
        if has_room && ((size <= self.carried && waited < FRESH) || fullness > 0.5) {
            return Choice::Upstream(self.limited);
        }
        if waited > FRESH && first_token < 1200 * MILLISECOND {
            return Choice::Upstream(self.workers);
        }
        if waited < PATIENCE { Choice::Wait(LOOK_EVERY) } else { Choice::Nowhere }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a place in a list"
)]
fn place_of(part: f64, length: usize) -> usize {
    ((part * length as f64) as usize).min(length - 1)
}

/// The size up to which the limits would do for all requests, the smallest first.
fn carried(sizes: &[u64], minutes: f64, facts: &UpstreamFacts) -> f64 {
    let requests = facts.requests_per_minute.unwrap_or(f64::INFINITY) * MARGIN * minutes;
    let tokens = facts.tokens_per_minute.unwrap_or(f64::INFINITY) * MARGIN * minutes;
    let (mut count, mut sum) = (0.0, 0.0);
    for &size in sizes {
        (count, sum) = (count + 1.0, sum + as_f64(size));
        if count > requests || sum > tokens {
            return as_f64(size);
        }
    }
    f64::INFINITY
}

impl Rule for Clairvoyant {
    fn choose(&mut self, pending: &PendingRequest, input: &mut RuleInput<'_>) -> Choice {
        let choice = self.pick(pending, input);
        if let Choice::Upstream(upstream) = choice {
            let got = f64::from(u8::from(upstream == self.limited));
            self.beyond = (self.beyond + got - self.share).clamp(-MOST_OFF, MOST_OFF);
        }
        choice
    }
}

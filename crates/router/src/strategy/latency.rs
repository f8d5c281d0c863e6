//! The lowest predicted wait: time to the first token, weighted by the calls in flight, best of two drawn at random.
//!
//! Two choices instead of the minimum over all: with many routers or stale figures, everyone choosing the same best target
//! makes it the worst. A target that was never tried counts as fastest, which is how it gets tried, but by one call: until that
//! is answered, it counts as any other.

use std::time::Duration;

use rand::{Rng, RngExt};

use super::Strategy;
use crate::{candidate::Candidate, decision::Reason};

pub(super) struct Latency;

/// What an untried target with calls in flight is expected to take.
const GUESS: Duration = Duration::from_secs(1);

pub(super) fn wait(candidate: &Candidate) -> Duration {
    let untried = if candidate.in_flight == 0 { Duration::ZERO } else { GUESS };
    candidate.first_token.unwrap_or(untried).saturating_mul(candidate.in_flight + 1)
}

impl Strategy for Latency {
    fn rank(&self, candidates: &mut [Candidate], rng: &mut dyn Rng) {
        candidates.sort_by_key(wait);
        if candidates.len() < 3 {
            return;
        }
        // The better of two distinct random candidates is, in sorted order, the one drawn first.
        let one = rng.random_range(0..candidates.len());
        let other = (one + rng.random_range(1..candidates.len())) % candidates.len();
        candidates[..=one.min(other)].rotate_right(1);
    }

    fn reason(&self) -> Reason {
        Reason::Fastest
    }
}

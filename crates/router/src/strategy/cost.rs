//! The lowest expected price of this request among the targets that are fast enough.
//!
//! A target without a price comes last: unknown is not cheap.

use rand::Rng;

use super::Strategy;
use crate::{candidate::Candidate, decision::Reason};

pub(super) struct Cost;

impl Strategy for Cost {
    fn rank(&self, candidates: &mut [Candidate], _rng: &mut dyn Rng) {
        candidates.sort_by_key(|candidate| {
            let cost = candidate.expected_cost;
            (!candidate.meets_slo, cost.is_none(), cost)
        });
    }

    fn reason(&self) -> Reason {
        Reason::Cheapest
    }
}

//! A held share: as `weighted`, but a target without a ready worker is passed over and paid back later.
//!
//! One call at a time still goes to such a target: without any, a scaled-down endpoint would never start a worker. An
//! unknown capacity never causes a spill.

use rand::Rng;

use super::Strategy;
use crate::{candidate::Candidate, event::Reason};

pub(super) struct Balanced;

/// Whether the next request should rather go elsewhere.
fn is_cold(candidate: &Candidate) -> bool {
    candidate.is_ready == Some(false) && candidate.in_flight > 0
}

impl Strategy for Balanced {
    fn rank(&self, candidates: &mut [Candidate], _rng: &mut dyn Rng) {
        candidates.sort_by(|a, b| is_cold(a).cmp(&is_cold(b)).then(b.owed.total_cmp(&a.owed)));
    }

    fn reason(&self) -> Reason {
        Reason::Share
    }
}

//! A held share: as `weighted`, but a target without a ready worker is passed over, and catches up later.
//!
//! One call at a time still goes to such a target: without any, a scaled-down endpoint would never start a worker. An
//! unknown capacity never causes a spill.

use rand::Rng;

use super::Strategy;
use crate::{candidate::Candidate, decision::Reason};

pub(super) struct Balanced;

/// Whether the next request should rather go elsewhere.
fn spills(candidate: &Candidate) -> bool {
    candidate.is_cold() && candidate.in_flight > 0
}

impl Strategy for Balanced {
    fn rank(&self, candidates: &mut [Candidate], _rng: &mut dyn Rng) {
        candidates.sort_by(|a, b| spills(a).cmp(&spills(b)).then(b.deficit.total_cmp(&a.deficit)));
    }

    fn reason(&self) -> Reason {
        Reason::Share
    }
}

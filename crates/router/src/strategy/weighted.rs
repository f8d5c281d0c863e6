//! Smooth weighted round-robin: the target that is owed most goes first.
//!
//! In any hundred consecutive requests to the same healthy targets each share of whole percents is exact to one request,
//! without the clumps of a random draw. (Finer shares of three targets and more are exact to less than two.)

use rand::Rng;

use super::Strategy;
use crate::{candidate::Candidate, event::Reason};

pub(super) struct Weighted;

impl Strategy for Weighted {
    fn rank(&self, candidates: &mut [Candidate], _rng: &mut dyn Rng) {
        candidates.sort_by(|a, b| b.owed.total_cmp(&a.owed));
    }

    fn reason(&self) -> Reason {
        Reason::Share
    }
}

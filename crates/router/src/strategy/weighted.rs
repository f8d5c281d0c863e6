//! Smooth weighted round-robin: the target with the largest deficit goes first.
//!
//! In any hundred consecutive requests to the same healthy targets each share of whole percents is exact to one request,
//! without the clumps of a random draw. (Finer shares of three targets and more are exact to less than two.)

use super::{Scale, Strategy};
use crate::{candidate::Candidate, decision::Reason};

pub(super) struct Weighted;

impl Strategy for Weighted {
    fn rank(&self, candidates: &mut [Candidate], _scale: &Scale) {
        candidates.sort_by(|a, b| b.due.total_cmp(&a.due));
    }

    fn reason(&self) -> Reason {
        Reason::Share
    }

    fn looks_ahead(&self) -> bool {
        false
    }
}

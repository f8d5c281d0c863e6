//! The lowest expected price of this request among the targets that are fast enough.
//!
//! A target without a price ranks as the dearest: unknown is not cheap.

use super::{Scale, Strategy, rank_by};
use crate::{candidate::Candidate, decision::Reason, knowledge::score::Weights};

pub(super) struct Cost;

impl Strategy for Cost {
    fn rank(&self, candidates: &mut [Candidate], scale: &Scale) {
        rank_by(Weights::COST, candidates, scale, |_| 0.0, |_| 0.0);
    }

    fn reason(&self) -> Reason {
        Reason::Cheapest
    }
}

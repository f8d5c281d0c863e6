//! A held share: in the long run each target serves its part of the requests, the small ones going to the dear targets, and
//! the SLO above both.
//!
//! What a target is owed weighs little near its share, so that the size of a request decides who gets it, and more the
//! further it is behind, so that the share is held whatever the sizes are.

use super::{Scale, Strategy, rank_by};
use crate::{candidate::Candidate, decision::Reason, knowledge::score::Weights};

pub(super) struct Balanced;

/// A deficit of so many requests counts twice.
const DOUBLES_AT: f64 = 100.0;

fn owed(candidate: &Candidate) -> f64 {
    let deficit = candidate.deficit;
    deficit * (1.0 + deficit.abs() / DOUBLES_AT)
}

impl Strategy for Balanced {
    fn rank(&self, candidates: &mut [Candidate], scale: &Scale) {
        rank_by(Weights::BALANCED, candidates, scale, owed);
    }

    fn reason(&self) -> Reason {
        Reason::Share
    }
}

//! A held share: in the long run each target serves its part of the requests, the small ones going to the dear targets, and
//! the SLO above both.
//!
//! What a target is owed weighs little near its share, so that the size of a request decides who gets it, and more the
//! further it is behind, so that the share is held whatever the sizes are.

use super::{Scale, Strategy, rank_by};
use crate::{
    candidate::Candidate,
    decision::Reason,
    knowledge::{
        real,
        score::{self, Weights},
    },
};

pub(super) struct Balanced;

/// A deficit of so many requests counts twice.
const DOUBLES_AT: f64 = 100.0;

fn owed(candidate: &Candidate) -> f64 {
    let deficit = candidate.deficit;
    deficit * (1.0 + deficit.abs() / DOUBLES_AT)
}

impl Strategy for Balanced {
    fn rank(&self, candidates: &mut [Candidate], scale: &Scale) {
        let cost = |candidate: &Candidate| candidate.expected_cost.map(|cost| real(cost.0));
        let dearest = score::dearest(candidates.iter().map(cost));
        // Prices are the share's business. What a request costs beyond others like it at the same target decides who gets it.
        let usual = |candidate: &Candidate| match candidate.expected_cost {
            Some(cost) => candidate.usual_cost.unwrap_or(real(cost.0)),
            None => dearest,
        };
        rank_by(Weights::BALANCED, candidates, scale, owed, usual);
    }

    fn reason(&self) -> Reason {
        Reason::Share
    }
}

//! A held share: in the long run each target serves its part of the requests, the small ones going to the dear targets, and
//! the SLO above both.

use super::{Account, Scale, Strategy, rank_by};
use crate::{
    candidate::Candidate,
    decision::Reason,
    knowledge::{
        real,
        score::{self, Weights},
    },
};

pub(super) struct Balanced;

impl Strategy for Balanced {
    fn rank(&self, candidates: &mut [Candidate], scale: &Scale) {
        let cost = |candidate: &Candidate| candidate.expected_cost.map(|cost| real(cost.0));
        let dearest = score::dearest(candidates.iter().map(cost));
        // The share accounts for the usual price of a target. Only what a request costs beyond that decides which
        // target gets it, as far as that is certain.
        rank_by(Weights::BALANCED, candidates, scale, |candidate| {
            let (cost, usual) = match cost(candidate) {
                Some(cost) => (Some(cost), candidate.usual_cost.unwrap_or(cost)),
                None => (None, dearest),
            };
            Account {
                cost: cost.map(|cost| usual + scale.certainty * (cost - usual)),
                usual,
                deficit: candidate.due,
                stop_risk: candidate.stop_risk,
            }
        });
    }

    fn reason(&self) -> Reason {
        Reason::Share
    }
}

//! The lowest predicted time: to the first token of a stream, to the end of a whole answer.
//!
//! The prediction counts the work that waits at a target, so that requests that come together do not all go to the same one.

use super::{Account, Scale, Strategy, rank_by};
use crate::{
    candidate::Candidate,
    decision::Reason,
    knowledge::{real, score::Weights},
};

pub(super) struct Latency;

/// Times that differ by no more than this are about the same.
const ABOUT: f64 = 1.1;
const ABOUT_LEAST: f64 = 0.005;

impl Strategy for Latency {
    fn rank(&self, candidates: &mut [Candidate], scale: &Scale) {
        rank_by(Weights::LATENCY, candidates, scale, |candidate| Account {
            cost: candidate.expected_cost.map(|cost| real(cost.0)),
            usual: 0.0,
            deficit: 0.0,
            stop_risk: candidate.stop_risk,
        });
        // Of targets that are about as fast, the one that holds the prompt cache is first, then the one with the fewest calls
        // in flight: the prediction does not include work of other clients.
        let Some(best) = candidates.first().map(|candidate| candidate.time) else { return };
        let equals = candidates.iter().take_while(|candidate| candidate.time <= best * ABOUT + ABOUT_LEAST).count();
        candidates[..equals].sort_by_key(|candidate| (!candidate.holds_cache, candidate.in_flight));
    }

    fn reason(&self) -> Reason {
        Reason::Fastest
    }
}

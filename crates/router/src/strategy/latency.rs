//! The lowest predicted time: to the first token of a stream, to the end of a whole answer.
//!
//! The prediction counts the work that waits at a target, so that requests that come together do not all go to the same one.

use super::{Scale, Strategy, rank_by};
use crate::{candidate::Candidate, decision::Reason, knowledge::score::Weights};

pub(super) struct Latency;

/// Times that differ by no more than this are about the same.
const ABOUT: f64 = 1.1;
const ABOUT_LEAST: f64 = 0.005;

impl Strategy for Latency {
    fn rank(&self, candidates: &mut [Candidate], scale: &Scale) {
        rank_by(Weights::LATENCY, candidates, scale, |_| 0.0, |_| 0.0);
        // Of those that are about as fast, the one with the fewest calls: a prediction does not include a queue that is
        // not ours.
        let Some(best) = candidates.first().map(|candidate| candidate.time) else { return };
        let equals = candidates.iter().take_while(|candidate| candidate.time <= best * ABOUT + ABOUT_LEAST).count();
        candidates[..equals].sort_by_key(|candidate| candidate.in_flight);
    }

    fn reason(&self) -> Reason {
        Reason::Fastest
    }
}

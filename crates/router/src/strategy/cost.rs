//! The lowest marginal cost of this request among the targets that are fast enough.
//!
//! A target without a price ranks as the dearest: unknown is not cheap.

use super::{Account, Scale, Strategy, rank_by};
use crate::{
    candidate::Candidate,
    decision::Reason,
    knowledge::{real, score::Weights},
};

pub(super) struct Cost;

/// The marginal cost. Of a worker that is paid for by the second it has the price of a start, so that nothing is added for
/// keeping that worker up.
fn account(candidate: &Candidate) -> Account {
    Account {
        cost: candidate.marginal_cost.map(|cost| real(cost.0)),
        usual: 0.0,
        deficit: 0.0,
        stop_risk: if candidate.is_billed_by_time { 0.0 } else { candidate.stop_risk },
    }
}

impl Strategy for Cost {
    fn rank(&self, candidates: &mut [Candidate], scale: &Scale) {
        rank_by(Weights::COST, candidates, scale, account);
    }

    fn reason(&self) -> Reason {
        Reason::Cheapest
    }
}

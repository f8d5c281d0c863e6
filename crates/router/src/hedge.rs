//! Hedged calls: a stream whose first call is late to begin is called a second time elsewhere, and the client gets the
//! answer that begins first. Here is what is configured of that, and the budget that second calls draw on.
//!
//! Every first call adds a part of its expected cost to the budget of its model, and a second call takes its own
//! expected cost out. The budget begins empty, so at any moment second calls have cost at most that part of what the
//! first calls have cost. A second call that wins leaves the first one unserved, so what it costs is the most that it
//! can add to the bill.

use std::time::Duration;

use crate::knowledge::mean::Mean;

/// When a stream of a model is called a second time, and what that may cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hedge {
    /// What second calls may cost, as a part of what first calls cost, above 0 and at most 1.
    pub most_extra_cost: f64,
    /// From a request's arrival to its second call; `None` for the last moment at which another target is likely to be
    /// in time.
    pub after: Option<Duration>,
}

/// What the second calls of a model may still cost, in nano-dollars.
#[derive(Debug, Clone, Default)]
pub(crate) struct HedgeBudget {
    left: f64,
    /// What a first call costs.
    mean_cost: Mean,
}

impl HedgeBudget {
    /// The most that is saved up, in mean first calls: a quiet night must not pay for a second call of every request of
    /// an outage.
    const MOST: f64 = 50.0;

    /// A first call is expected to cost so much, of which second calls may cost this part.
    pub(crate) fn deposit(&mut self, cost: f64, part: f64) {
        self.mean_cost.record([Some(cost)]);
        self.left = (self.left + part * cost).min(Self::MOST * self.mean_cost.get());
    }

    /// Whether a second call may cost so much.
    pub(crate) fn covers(&self, cost: f64) -> bool {
        cost <= self.left
    }

    /// A second call begins that is expected to cost so much, which the budget covers.
    pub(crate) fn withdraw(&mut self, cost: f64) {
        self.left = (self.left - cost).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn a_hundredth_of_each_request_pays_for_the_hundredth_one() {
        let mut budget = HedgeBudget::default();
        for _ in 0..100 {
            assert!(!budget.covers(10.0));
            budget.deposit(10.0, 0.01);
        }
        assert!(budget.covers(9.99));
        budget.withdraw(9.99);
        assert!(!budget.covers(0.1));
    }

    #[test]
    fn no_more_is_saved_up_than_fifty_mean_requests_cost() {
        let mut budget = HedgeBudget::default();
        (0..100_000).for_each(|_| budget.deposit(10.0, 0.5));
        assert!(budget.covers(499.0) && !budget.covers(501.0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Over any schedule, at any moment.
        #[test]
        fn second_calls_cost_no_more_than_their_part(
            part in 0.001_f64..1.0,
            steps in vec((any::<bool>(), 0.0_f64..1e6), 1..500),
        ) {
            let mut budget = HedgeBudget::default();
            let (mut firsts, mut seconds) = (0.0, 0.0);
            for (is_first, cost) in steps {
                if is_first {
                    budget.deposit(cost, part);
                    firsts += cost;
                } else if budget.covers(cost) {
                    budget.withdraw(cost);
                    seconds += cost;
                }
                prop_assert!(seconds <= part * firsts * (1.0 + 1e-9) + 1e-6, "{seconds} of {firsts}");
            }
        }
    }
}

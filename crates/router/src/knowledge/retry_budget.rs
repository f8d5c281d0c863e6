//! How many repeats an upstream, or the whole process, may see: a fifth of the requests, and ten a second.
//!
//! Finagle's retry budget: each request deposits a fifth of a repeat, which expires after ten seconds; beyond that a
//! floor lets a quiet service repeat at all. A limit of attempts for each request alone triples the load in an outage.
//! A budget for each model would be worth nothing either, since a hundred models may share one upstream: so there is
//! one for each upstream and one for the process, and a repeat takes from both or from none.

use provider::Time;

/// Repeats that each request deposits.
const PER_REQUEST: f64 = 0.2;
/// Repeats that time alone earns, a second.
const FLOOR_PER_SECOND: f64 = 10.0;
/// Most repeats of the floor that are kept: those of one second.
const MOST_FLOOR: f64 = 10.0;
/// Seconds after which a deposit has expired.
const SECONDS: usize = 10;
const SECOND_NS: u64 = 1_000_000_000;

/// A budget of repeats.
#[derive(Debug, Clone)]
pub struct RetryBudget {
    /// What is left of the deposits of each second.
    deposits: [f64; SECONDS],
    /// The second of the last deposit or withdrawal, counted from the origin.
    latest: u64,
    floor: f64,
    at: Option<Time>,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { deposits: [0.0; SECONDS], latest: 0, floor: MOST_FLOOR, at: None }
    }
}

impl RetryBudget {
    /// A request comes for the first time.
    pub fn deposit(&mut self, now: Time) {
        self.advance(now);
        self.deposits[place(self.latest)] += PER_REQUEST;
    }

    /// Takes one repeat out of both budgets, if both have one.
    pub fn withdraw(upstream: &mut Self, process: &mut Self, now: Time) -> bool {
        let budgets = [upstream, process].map(|budget| {
            budget.advance(now);
            budget
        });
        if budgets.iter().any(|budget| budget.left() < 1.0) {
            return false;
        }
        for budget in budgets {
            budget.take();
        }
        true
    }

    fn left(&self) -> f64 {
        self.deposits.iter().sum::<f64>() + self.floor
    }

    /// The oldest deposits go first, since they expire first, and the floor last.
    fn take(&mut self) {
        let mut missing = 1.0;
        for ago in (0..SECONDS as u64).rev() {
            let Some(second) = self.latest.checked_sub(ago) else { continue };
            let deposit = &mut self.deposits[place(second)];
            let taken = deposit.min(missing);
            (*deposit, missing) = (*deposit - taken, missing - taken);
        }
        self.floor = (self.floor - missing).max(0.0);
    }

    fn advance(&mut self, now: Time) {
        let second = (now.as_nanos() / SECOND_NS).max(self.latest);
        let passed = (second - self.latest).min(SECONDS as u64);
        for step in 0..passed {
            self.deposits[place(second - step)] = 0.0;
        }
        self.latest = second;
        let elapsed = self.at.map_or(0.0, |at| (now - at).as_secs_f64());
        self.floor = (self.floor + elapsed * FLOOR_PER_SECOND).min(MOST_FLOOR);
        self.at = self.at.max(Some(now));
    }
}

/// The place of a second among the deposits.
fn place(second: u64) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "a remainder below ten")]
    let place = (second % SECONDS as u64) as usize;
    place
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn at(seconds: f64) -> Time {
        Time::from_nanos(0) + Duration::from_secs_f64(seconds)
    }

    fn withdrawn(upstream: &mut RetryBudget, process: &mut RetryBudget, wanted: u32, now: f64) -> u32 {
        (0..wanted).map(|_| u32::from(RetryBudget::withdraw(upstream, process, at(now)))).sum()
    }

    #[test]
    fn an_outage_multiplies_load_by_a_fifth_and_ten_a_second_however_many_models() {
        let (mut upstream, mut process, mut attempts) = (RetryBudget::default(), RetryBudget::default(), 0);
        for request in 0..60_000_u32 {
            let now = f64::from(request) / 1_000.0;
            upstream.deposit(at(now));
            process.deposit(at(now));
            attempts += 1 + withdrawn(&mut upstream, &mut process, 2, now);
        }
        assert!((72_400..=72_610).contains(&attempts), "{attempts}: 1.2 of 60,000, and ten in each of 60 s");
    }

    #[test]
    fn a_quiet_service_may_repeat() {
        let (mut upstream, mut process) = (RetryBudget::default(), RetryBudget::default());
        assert_eq!(withdrawn(&mut upstream, &mut process, 30, 0.0), 10);
        assert_eq!(withdrawn(&mut upstream, &mut process, 30, 0.5), 5);
    }

    #[test]
    fn deposits_expire_after_ten_seconds() {
        let (mut upstream, mut process) = (RetryBudget::default(), RetryBudget::default());
        for budget in [&mut upstream, &mut process] {
            (0..500).for_each(|_| budget.deposit(at(0.5)));
        }
        let mut early = (upstream.clone(), process.clone());
        assert_eq!(withdrawn(&mut early.0, &mut early.1, 1_000, 9.9), 110);
        assert_eq!(withdrawn(&mut upstream, &mut process, 1_000, 10.1), 10);
    }

    #[test]
    fn a_repeat_takes_from_both_budgets_or_from_none() {
        let (mut full, mut empty, mut spare) = (RetryBudget::default(), RetryBudget::default(), RetryBudget::default());
        assert_eq!(withdrawn(&mut empty, &mut spare, 10, 0.0), 10);
        assert_eq!(withdrawn(&mut empty, &mut full, 10, 0.0) + withdrawn(&mut full, &mut empty, 10, 0.0), 0);
        assert_eq!(withdrawn(&mut full, &mut RetryBudget::default(), 20, 0.0), 10, "nothing was taken from it");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn repeats_never_pass_a_fifth_and_ten_a_second(steps in vec((0_u32..40, 0_u32..40, 0.0_f64..15.0), 1..100)) {
            let (mut upstream, mut process) = (RetryBudget::default(), RetryBudget::default());
            let (mut requests, mut repeats, mut now) = (0.0, 0.0, 0.0);
            for (came, wanted, pause) in steps {
                now += pause;
                for _ in 0..came {
                    upstream.deposit(at(now));
                    process.deposit(at(now));
                }
                requests += f64::from(came);
                repeats += f64::from(withdrawn(&mut upstream, &mut process, wanted, now));
                prop_assert!(repeats <= 0.2 * requests + 10.0 * now + 10.0 + 1e-6, "{} of {} in {} s", repeats, requests, now);
            }
        }
    }
}

//! A sum over the last window of time, never too low: up to a sixth of a window more is counted.
//!
//! Sums per sixth of the window in a fixed ring, the seventh being the one that is under way. A sum that decays with time would hold
//! less than what came, and a limit that is learned from it would cut off what has just been served.

use std::time::Duration;

use provider::Time;

const PARTS: u32 = 6;
const PLACES: usize = 7;

/// A sum over the last window.
#[derive(Debug, Clone)]
pub(crate) struct Recent {
    /// The length of a part in nanoseconds.
    part_ns: u64,
    /// The part of time of the latest amount, counted from the origin.
    latest: u64,
    sums: [f64; PLACES],
}

impl Recent {
    pub(crate) fn new(window: Duration) -> Self {
        let part_ns = u64::try_from((window / PARTS).as_nanos()).unwrap_or(u64::MAX).max(1);
        Self { part_ns, latest: 0, sums: [0.0; PLACES] }
    }

    /// So much came.
    pub(crate) fn record(&mut self, amount: f64, now: Time) {
        let part = self.part_of(now);
        for emptied in (self.latest + 1..=part).rev().take(PLACES) {
            self.sums[place(emptied)] = 0.0;
        }
        self.latest = part;
        self.sums[place(part)] += amount;
    }

    /// What came within the window, and within up to a sixth of it before.
    pub(crate) fn sum(&self, now: Time) -> f64 {
        let oldest = self.part_of(now).saturating_sub(PARTS.into());
        (oldest..=self.latest).rev().take(PLACES).map(|part| self.sums[place(part)]).sum()
    }

    /// The part of time that holds a moment. Threads may pass moments in another order than they read them.
    fn part_of(&self, at: Time) -> u64 {
        (at.as_nanos() / self.part_ns).max(self.latest)
    }
}

fn place(part: u64) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "a remainder below seven")]
    let place = (part % PLACES as u64) as usize;
    place
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Against a list of all that came.
        #[test]
        fn no_less_than_what_came_within_the_window(amounts in vec((0.0_f64..9.0, 0_u64..30_000), 1..80)) {
            let mut recent = Recent::new(Duration::from_mins(1));
            let (mut now, mut list) = (0, Vec::new());
            for (amount, pause) in amounts {
                now += pause;
                recent.record(amount, Time::from_nanos(now * 1_000_000));
                list.push((amount, now));
                let within = |most: u64| list.iter().filter(|(_, at)| now - at < most).map(|(amount, _)| amount).sum::<f64>();
                let sum = recent.sum(Time::from_nanos(now * 1_000_000));
                prop_assert!((within(60_000) - 1e-6..=within(70_001) + 1e-6).contains(&sum), "{}", sum);
            }
            prop_assert!(recent.sum(Time::from_nanos((now + 70_001) * 1_000_000)).abs() < 1e-9);
        }
    }
}

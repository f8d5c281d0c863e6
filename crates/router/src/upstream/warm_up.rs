//! When a cold upstream is started by a call of the router's own, so that no user waits for the start while another
//! target serves.
//!
//! A start is worth its price only if requests follow. So there must be some at this moment, and after a start that
//! served next to none the pause before the next one doubles: whoever comes once a minute finds the worker stopped again,
//! however often it is started. What all starts of an hour may cost is limited by configuration.

use std::{collections::VecDeque, time::Duration};

use provider::{NanoUsd, Time};

use crate::peers::Totals;

/// So many requests of the last ten seconds must have been the upstream's own by their shares, the latest included.
pub(super) const LEAST_DEMAND: f64 = 1.5;
/// A request that would have gone there, were a worker ready, shows demand for this time.
const WANTED_FOR: Duration = Duration::from_secs(10);
/// A start after which fewer calls came is a fruitless one.
const PAYS_OFF: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_mins(10);
/// A call that failed is repeated no sooner.
const REPEAT: Duration = Duration::from_secs(5);
/// One that is not answered within this time, although a worker runs, may be lost: another one is sent, and each further one after
/// twice as long as the one before.
const LOST: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_hours(1);

/// The warm-up calls to an upstream.
#[derive(Debug, Default)]
pub(super) struct WarmUps {
    /// When a request last went elsewhere that would have come here, were a worker ready.
    wanted_at: Option<Time>,
    /// When the latest warm-up call began.
    called_at: Option<Time>,
    /// When the latest one began that was to start a worker.
    started_at: Option<Time>,
    /// Calls of requests since then.
    used: u32,
    /// From the latest start to the next one at least.
    pause: Duration,
    /// The starts of the last hour and what each is taken to cost.
    starts: VecDeque<(Time, NanoUsd)>,
}

/// The calls to the upstream that are under way.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct UnderWay {
    pub(crate) all: u32,
    pub(crate) warm_ups: u32,
}

/// What a warm-up call would do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Purpose {
    /// What the start is taken to cost; nothing if a worker is on its way already.
    pub(super) price: NanoUsd,
    /// What the starts of an hour may cost.
    pub(super) most_per_hour: NanoUsd,
    /// Whether a worker is on its way already: the call only shows when it is ready.
    pub(super) is_coming: bool,
    /// Whether a worker runs, by the last report. It may still load its model.
    pub(super) is_running: bool,
}

impl WarmUps {
    /// A request went elsewhere that would have come here, were a worker ready.
    pub(super) fn wanted(&mut self, now: Time) {
        self.wanted_at = Some(now);
    }

    /// A call of a request began.
    pub(super) fn used(&mut self) {
        self.used = self.used.saturating_add(1);
    }

    /// Whether a call is due to an upstream that is cold.
    pub(super) fn is_due(&self, purpose: &Purpose, calls: UnderWay, now: Time) -> bool {
        let is_wanted = self.wanted_at.is_some_and(|at| now - at < WANTED_FOR);
        let repeat = match calls.warm_ups {
            0 => REPEAT,
            more => LOST.saturating_mul(1 << more.saturating_sub(1).min(16)),
        };
        // Any call starts a worker. Beside it one is due only where an earlier one may be lost.
        let may_be_lost = calls.warm_ups > 0 && purpose.is_running && purpose.is_coming;
        if !is_wanted || self.called_at.is_some_and(|at| now - at < repeat) || calls.all > 0 && !may_be_lost {
            return false;
        }
        purpose.is_coming
            || (self.started_at.is_none_or(|at| now - at >= self.next_pause())
                && self.spent(now) + purpose.price <= purpose.most_per_hour)
    }

    /// Such a call begins. Returns whether it is to start a worker.
    pub(super) fn begin(&mut self, purpose: &Purpose, now: Time) -> bool {
        self.called_at = Some(now);
        if !purpose.is_coming {
            self.started(purpose.price, now);
        }
        !purpose.is_coming
    }

    /// What other replicas wanted, called and started counts as this one's own.
    pub(super) fn learn(&mut self, added: &Totals, now: Time) {
        if added.wanted > 0.0 {
            self.wanted_at = Some(now);
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts, which are saturated")]
        let (calls, cost) = (added.calls as u32, NanoUsd(added.warm_up_nano_usd as u64));
        self.used = self.used.saturating_add(calls);
        if added.warm_ups > 0.0 {
            self.called_at = Some(now);
            self.started(cost, now);
        }
    }

    /// A call began that is to start a worker, for so much.
    fn started(&mut self, price: NanoUsd, now: Time) {
        (self.pause, self.started_at, self.used) = (self.next_pause(), Some(now), 0);
        self.starts.retain(|(at, _)| now - *at < HOUR);
        self.starts.push_back((now, price));
    }

    /// From the latest start to the next one.
    fn next_pause(&self) -> Duration {
        if self.started_at.is_none() || self.used >= PAYS_OFF {
            return Duration::ZERO;
        }
        (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE)
    }

    /// What the starts of the last hour are taken to have cost.
    fn spent(&self, now: Time) -> NanoUsd {
        self.starts.iter().filter(|(at, _)| now - *at < HOUR).map(|(_, price)| *price).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CENT: NanoUsd = NanoUsd(10_000_000);
    const START: Purpose =
        Purpose { price: CENT, most_per_hour: NanoUsd(100_000_000), is_coming: false, is_running: false };

    /// When starts happen in so many seconds, one request a second, `calls` of which go there after each start, and then the worker
    /// is stopped.
    fn starts(seconds: u64, calls: u32, purpose: Purpose) -> Vec<u64> {
        let (mut warm_ups, mut starts) = (WarmUps::default(), Vec::new());
        for second in 0..seconds {
            let now = Time::ZERO + Duration::from_secs(second);
            warm_ups.wanted(now);
            if warm_ups.is_due(&purpose, UnderWay::default(), now) {
                warm_ups.begin(&purpose, now);
                (0..calls).for_each(|_| warm_ups.used());
                starts.push(second);
            }
        }
        starts
    }

    #[test]
    fn the_starts_of_any_hour_cost_no_more_than_they_may() {
        let starts = starts(3 * 3600, 20, START);
        assert!(starts.len() > 25, "the money is spent: {starts:?}");
        for start in &starts {
            let hour = starts.iter().filter(|other| (*start..start + 3600).contains(other)).count();
            assert!(hour <= 10, "{hour} cents from {start} on");
        }
        let none = Purpose { most_per_hour: NanoUsd(0), ..START };
        assert!(super::tests::starts(3600, 20, none).is_empty());
    }

    #[test]
    fn after_a_start_that_served_next_to_none_the_pause_doubles() {
        let rich = Purpose { most_per_hour: NanoUsd(u64::MAX), ..START };
        assert_eq!(starts(1000, 2, rich), [0, 30, 90, 210, 450, 930]);
        assert_eq!(starts(7, 3, rich), [0, 5], "one that served some is followed by the next");
    }

    #[test]
    fn nothing_is_started_that_nobody_wants() {
        let mut warm_ups = WarmUps::default();
        let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
        assert!(!warm_ups.is_due(&START, UnderWay::default(), at(0)));
        warm_ups.wanted(at(0));
        assert!(
            warm_ups.is_due(&START, UnderWay::default(), at(9))
                && !warm_ups.is_due(&START, UnderWay::default(), at(10))
        );
    }

    #[test]
    fn a_call_that_is_not_answered_by_a_worker_that_runs_is_followed_by_others() {
        let starts = |purpose: Purpose, of_users: u32| {
            let (mut warm_ups, mut calls) = (WarmUps::default(), Vec::new());
            for second in 0..300_u64 {
                let now = Time::ZERO + Duration::from_secs(second);
                warm_ups.wanted(now);
                let count = u32::try_from(calls.len()).expect("a few");
                let users = if calls.is_empty() { 0 } else { of_users };
                if warm_ups.is_due(&purpose, UnderWay { all: count + users, warm_ups: count }, now) {
                    warm_ups.begin(&purpose, now);
                    calls.push(second);
                }
            }
            calls
        };
        let running = Purpose { is_coming: true, is_running: true, ..START };
        for of_users in [0, 10] {
            assert_eq!(starts(running, of_users), [0, 30, 90, 210]);
        }
        let users = UnderWay { all: 1, warm_ups: 0 };
        let mut warm_ups = WarmUps::default();
        warm_ups.wanted(Time::ZERO);
        assert!(!warm_ups.is_due(&running, users, Time::ZERO), "a user's call starts a worker");
        assert_eq!(starts(Purpose { is_running: false, ..running }, 0), [0], "it waits for a worker, as others would");
    }

    #[test]
    fn a_worker_on_its_way_is_called_until_it_answers_and_costs_no_start() {
        let coming = Purpose { most_per_hour: NanoUsd(0), is_coming: true, ..START };
        assert_eq!(starts(12, 0, coming), [0, 5, 10]);
    }
}

//! How many calls an upstream gets when it is back: after its breaker closed, a park ended, or a cold start ended.
//!
//! Two limits, because calls in flight and calls a second can each overload it. **In flight**: as TCP's slow start
//! (Jacobson, 1988), a window begins small and grows by one with each answer, so that it doubles in the time that an
//! answer takes, up to the slots of the workers that are ready. A limit by time alone would grow while nothing is
//! answered. **A second**: calls start at most at [`MOST_RATE`] times the rate that is expected without any fault, so
//! that held requests and a deficit are caught up with by a quarter more, not all at once. Windows alone do not ensure
//! that: short answers free them as fast as they fill.
//!
//! The ramp ends when nothing is left to limit: the window has passed the slots, or twice what is in flight where they
//! are unknown, and calls come no faster than they may start, so that nothing is left to catch up with.

use std::time::Duration;

use provider::Time;

use crate::knowledge::duration;

/// Calls that an upstream is given at once when it is back.
const FIRST_WINDOW: f64 = 4.0;
/// Starts a second, over the rate that is expected without a fault.
const MOST_RATE: f64 = 1.25;
/// How many calls may start at one moment: this number, and this part of a second's calls. In any second at most 1.4
/// times the rate and two more start, which leaves a margin below the promise of 1.5 times the rate and three.
const BURST: f64 = 2.0;
const BURST_PART: f64 = 0.15;
/// Calls come no faster than they may start once that has been so for this time.
const CALM: Duration = Duration::from_secs(1);
/// Calls in flight, over the slots of the workers that are ready: a few wait in the upstream's queue, so that no slot
/// is idle.
const MOST_OVER_SLOTS: f64 = 1.2;
/// The window of an upstream that is not ramping.
const OPEN: f64 = f64::INFINITY;
/// Where slots are unknown, a window that is this many times what is in flight limits nothing.
const WIDE: f64 = 2.0;

/// The load and the capacity of an upstream, as a ramp needs them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Demand {
    /// Calls of ours in flight, those of other replicas included.
    pub(crate) in_flight: u32,
    /// How many of them are of other replicas. They take slots, but only own answers open the window, so that only own calls
    /// fill it.
    pub(crate) elsewhere: u32,
    /// Workers that can take a call now; `None` if unknown.
    pub(crate) ready: Option<u32>,
    /// Calls that a worker serves at a time; `None` if unknown.
    pub(crate) slots: Option<u32>,
    /// Calls a second that would come to it without any fault of its own: its share of what arrives.
    pub(crate) per_second: f64,
}

/// Whether a call may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Now.
    Now,
    /// Not before then.
    At(Time),
    /// When a call is answered or ends.
    Full,
}

/// The limits on an upstream that comes back.
#[derive(Debug, Clone)]
pub(crate) struct Ramp {
    window: f64,
    /// Starts that may come at once.
    tokens: f64,
    at: Option<Time>,
    /// When an answer last came while there was no room for another call, or while calls started as fast as allowed: a
    /// sign that others wait.
    pressed_at: Option<Time>,
}

impl Default for Ramp {
    fn default() -> Self {
        Self { window: OPEN, tokens: BURST, at: None, pressed_at: None }
    }
}

impl Ramp {
    /// The upstream is back: its breaker closed, its park ended, or its cold start.
    pub(crate) fn reopened(&mut self) {
        self.window = self.window.min(FIRST_WINDOW);
    }

    /// Whether the limits still apply.
    pub(crate) fn is_ramping(&self) -> bool {
        self.window < OPEN
    }

    /// Most calls in flight; `None` if nothing limits them.
    #[cfg(test)]
    pub(crate) fn most_in_flight(&self, demand: Demand) -> Option<u32> {
        count(self.window.min(most_in_slots(demand)))
    }

    /// Whether no further call may be in flight.
    fn is_full(&self, demand: Demand) -> bool {
        let is_reached = |most: f64, calls: u32| count(most).is_some_and(|most| calls >= most);
        is_reached(self.window, demand.own()) || is_reached(most_in_slots(demand), demand.in_flight)
    }

    /// Whether a call may start now. Changes nothing.
    pub(crate) fn admits(&self, demand: Demand, now: Time) -> Admission {
        if self.is_full(demand) {
            return Admission::Full;
        }
        if !self.is_ramping() {
            return Admission::Now;
        }
        let tokens = self.tokens(demand, now);
        if tokens >= 1.0 {
            return Admission::Now;
        }
        Admission::At(now + duration((1.0 - tokens) / rate(demand)))
    }

    /// A call starts.
    pub(crate) fn started(&mut self, demand: Demand, now: Time) {
        self.tokens = (self.tokens(demand, now) - 1.0).max(0.0);
        self.at = self.at.max(Some(now));
    }

    /// The first token of a call came.
    pub(crate) fn answered(&mut self, demand: Demand, now: Time) {
        if !self.is_ramping() {
            return;
        }
        if self.is_full(demand) || self.tokens(demand, now) < BURST {
            self.pressed_at = Some(now);
        }
        self.window += 1.0;
        let enough = slots(demand).unwrap_or_else(|| (WIDE * f64::from(demand.own())).max(2.0 * FIRST_WINDOW));
        if self.window >= enough && self.pressed_at.is_none_or(|at| now - at >= CALM) {
            self.window = OPEN;
        }
    }

    /// A call failed during the ramp: the window is halved.
    pub(crate) fn failed(&mut self) {
        if self.is_ramping() {
            self.window = (self.window / 2.0).max(1.0);
        }
    }

    fn tokens(&self, demand: Demand, now: Time) -> f64 {
        let elapsed = self.at.map_or(0.0, |at| (now - at).as_secs_f64());
        (self.tokens + elapsed * rate(demand)).min(burst(demand))
    }
}

impl Demand {
    /// Calls of this replica in flight.
    fn own(self) -> u32 {
        self.in_flight.saturating_sub(self.elsewhere)
    }
}

/// Most calls in flight over the slots of the workers that are ready.
fn most_in_slots(demand: Demand) -> f64 {
    slots(demand).map_or(OPEN, |slots| (slots * MOST_OVER_SLOTS).floor())
}

/// A limit in calls, one at least; `None` if it is none.
fn count(most: f64) -> Option<u32> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number below 2^32")]
    (most < f64::from(u32::MAX)).then_some(most.max(1.0) as u32)
}

/// Most starts at once.
fn burst(demand: Demand) -> f64 {
    BURST + BURST_PART * demand.per_second
}

/// Starts a second.
fn rate(demand: Demand) -> f64 {
    /// An upstream of which few calls are expected still gets one every two seconds.
    const LEAST: f64 = 0.5;
    (MOST_RATE * demand.per_second).max(LEAST)
}

/// Slots of the workers that are ready. Where none is, a few calls are let through that show the upstream's own scaler
/// the demand.
fn slots(demand: Demand) -> Option<f64> {
    if demand.ready == Some(0) {
        return Some(FIRST_WINDOW);
    }
    demand.ready.zip(demand.slots).map(|(ready, slots)| f64::from(ready) * f64::from(slots))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn at(seconds: f64) -> Time {
        Time::from_nanos(0) + Duration::from_secs_f64(seconds)
    }

    /// One worker of thirty slots, with so much expected of it.
    fn demand(per_second: f64) -> Demand {
        Demand { ready: Some(1), slots: Some(30), per_second, ..Demand::default() }
    }

    /// Starts calls as soon as the ramp allows, for a minute; first tokens come after `first_s`, and answers after
    /// `whole_s`. Returns when calls started, and the most that were in flight.
    fn stampede(mut ramp: Ramp, mut demand: Demand, first_s: f64, whole_s: f64) -> (Vec<f64>, u32) {
        let (mut starts, mut first, mut whole, mut most) = (Vec::new(), VecDeque::new(), VecDeque::new(), 0);
        for step in 0..6_000 {
            let now = f64::from(step) / 100.0;
            while first.front().is_some_and(|at| *at <= now) {
                first.pop_front();
                ramp.answered(demand, at(now));
            }
            while whole.front().is_some_and(|at| *at <= now) {
                whole.pop_front();
                demand.in_flight -= 1;
            }
            while ramp.admits(demand, at(now)) == Admission::Now && starts.len() < 100_000 {
                ramp.started(demand, at(now));
                demand.in_flight += 1;
                most = most.max(demand.in_flight);
                starts.push(now);
                first.push_back(now + first_s);
                whole.push_back(now + whole_s);
            }
        }
        (starts, most)
    }

    fn most_in_a_second(starts: &[f64]) -> u32 {
        let (mut first, mut most) = (0, 0);
        for (last, at) in starts.iter().enumerate() {
            while *at >= starts[first] + 1.0 {
                first += 1;
            }
            most = most.max(last + 1 - first);
        }
        u32::try_from(most).unwrap_or(u32::MAX)
    }

    fn reopened() -> Ramp {
        let mut ramp = Ramp::default();
        ramp.reopened();
        ramp
    }

    #[test]
    fn a_hundred_a_second_that_return_to_one_fresh_worker_never_fill_more_than_its_slots() {
        let (starts, most) = stampede(reopened(), demand(100.0), 0.5, 4.0);
        assert!(most <= 36, "{most} in flight");
        assert!(starts.len() > 400, "and it is used: {}", starts.len());
        assert!(starts.iter().filter(|at| **at < 0.5).count() <= 4, "before the first answer it is given four");
    }

    #[test]
    fn the_window_grows_with_answers_not_with_time() {
        let (starts, most) = stampede(reopened(), demand(100.0), 1_000.0, 1_000.0);
        assert_eq!((starts.len(), most), (4, 4));
    }

    #[test]
    fn an_upstream_that_was_never_away_is_limited_by_its_slots_alone() {
        let free = Demand { ready: None, slots: None, ..demand(1.0) };
        assert_eq!(Ramp::default().most_in_flight(free), None);
        assert_eq!(Ramp::default().most_in_flight(demand(1.0)), Some(36));
        let cold = Demand { ready: Some(0), ..demand(1.0) };
        assert_eq!(Ramp::default().most_in_flight(cold), Some(4), "whose scaler is to see that it is wanted");
        let mut ramp = Ramp::default();
        for _ in 0..100 {
            assert_eq!(ramp.admits(free, at(0.0)), Admission::Now);
            ramp.started(free, at(0.0));
        }
    }

    #[test]
    fn a_ramp_ends_once_it_limits_nothing() {
        for (slots, answers) in [(Some(30), 26), (None, 4)] {
            let demand = Demand { slots, in_flight: 3, ..demand(5.0) };
            let mut ramp = reopened();
            (1..answers).for_each(|_| ramp.answered(demand, at(0.0)));
            assert!(ramp.is_ramping(), "{slots:?}");
            ramp.answered(demand, at(0.0));
            assert!(!ramp.is_ramping(), "{slots:?}");
        }
    }

    #[test]
    fn a_failure_while_it_grows_halves_it() {
        let mut ramp = reopened();
        (0..12).for_each(|_| ramp.answered(demand(5.0), at(0.0)));
        ramp.failed();
        assert_eq!(ramp.most_in_flight(demand(5.0)), Some(8));
        (0..9).for_each(|_| ramp.failed());
        assert_eq!(ramp.most_in_flight(demand(5.0)), Some(1), "one call always finds out");
        (0..3).for_each(|_| ramp.answered(demand(5.0), at(0.0)));
        assert_eq!(ramp.most_in_flight(demand(5.0)), Some(4));
    }

    #[test]
    fn a_ramp_lasts_as_long_as_there_is_something_to_catch_up_with() {
        let busy = demand(10.0);
        let mut ramp = reopened();
        let mut start = |now: f64| {
            let is_now = ramp.admits(busy, at(now)) == Admission::Now;
            if is_now {
                ramp.started(busy, at(now));
            }
            ramp.answered(busy, at(now));
            is_now
        };
        assert_eq!((0..60).filter(|_| start(1.0)).count(), 2, "none had been earned before");
        let in_ten_seconds = (0..1_000).filter(|step| start(1.0 + f64::from(*step) / 100.0)).count();
        assert!((120..=126).contains(&in_ten_seconds), "1.25 of ten a second: {in_ten_seconds}");
        ramp.answered(busy, at(20.0));
        assert!(!ramp.is_ramping(), "nobody came for nine seconds");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 48, ..ProptestConfig::default() })]

        #[test]
        fn no_second_sees_more_than_half_as_much_again_and_three(
            per_second in 0.05_f64..60.0, first in 0.05_f64..3.0, more in 0.0_f64..8.0, workers in 1_u32..4,
            is_known: bool,
        ) {
            let slots = is_known.then_some(30);
            let demand = Demand { ready: Some(workers), slots, ..demand(per_second) };
            let (starts, _) = stampede(reopened(), demand, first, first + more);
            let most = most_in_a_second(&starts);
            prop_assert!(f64::from(most) <= 1.5 * per_second + 3.0, "{} at {} a second", most, per_second);
            prop_assert!(!starts.is_empty());
        }
    }
}

//! A three-state breaker: closed, open, half-open with one probe at a time.
//!
//! It opens on a run of failures, or when half of the calls in the last ten seconds failed: a run alone never sees an
//! upstream that fails every second call, a rate alone needs many calls to see a dead one. Exact counts per second instead of
//! a moving average, whose memory depends on the rate of calls. Pure: time and chance are passed in.

use std::time::Duration;

use provider::Time;
use rand::{Rng, RngExt};

/// A run of this many failures opens the breaker.
const MAX_RUN: u32 = 5;
/// The share of failures is judged from this many calls on.
const MIN_CALLS: u32 = 20;
const WINDOW_S: usize = 10;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Kept short, because the pause is also how long a recovered upstream stays unused.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Where a breaker stands, for metrics and explanations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls pass.
    Closed,
    /// One call at a time is let through to see.
    HalfOpen,
    /// No call passes.
    Open,
}

/// Whether a call may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Yes,
    /// As the one probe.
    Probe,
    /// Not before then.
    NotBefore(Time),
}

#[derive(Debug)]
enum State {
    Closed { run: u32, window: Window },
    Open { until: Time, pauses: u32 },
    HalfOpen { is_probing: bool, pauses: u32 },
}

/// The breaker of one upstream.
#[derive(Debug)]
pub(crate) struct Breaker {
    state: State,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed { run: 0, window: Window::default() } }
    }
}

impl Breaker {
    pub(crate) fn state(&self, now: Time) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { until, .. } if now < until => BreakerState::Open,
            State::Open { .. } | State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Whether a call may pass now. Changes nothing.
    pub(crate) fn admits(&self, now: Time) -> Admission {
        match self.state {
            State::Closed { .. } => Admission::Yes,
            State::Open { until, .. } if now < until => Admission::NotBefore(until),
            State::Open { .. } | State::HalfOpen { is_probing: false, .. } => Admission::Probe,
            State::HalfOpen { is_probing: true, .. } => Admission::NotBefore(now + FIRST_PAUSE),
        }
    }

    /// A call that was admitted begins. Returns whether it is the probe.
    pub(crate) fn begin(&mut self) -> bool {
        let pauses = match self.state {
            State::Closed { .. } => return false,
            State::Open { pauses, .. } | State::HalfOpen { pauses, .. } => pauses,
        };
        self.state = State::HalfOpen { is_probing: true, pauses };
        true
    }

    /// A call went well.
    pub(crate) fn succeeded(&mut self, probe: bool, now: Time) {
        match &mut self.state {
            State::Closed { run, window } => {
                *run = 0;
                window.count(now, false);
            }
            State::HalfOpen { .. } if probe => *self = Self::default(),
            // A call from before the breaker opened proves nothing about now.
            State::Open { .. } | State::HalfOpen { .. } => {}
        }
    }

    /// A call failed in a way that speaks against the upstream; `at_once` if no second failure is needed to believe it.
    pub(crate) fn failed(&mut self, probe: bool, at_once: bool, now: Time, rng: &mut dyn Rng) {
        match &mut self.state {
            State::Closed { run, window } => {
                *run += 1;
                window.count(now, true);
                if at_once || *run >= MAX_RUN || window.is_bad(now) {
                    self.open(0, now, rng);
                }
            }
            State::HalfOpen { pauses, .. } if probe => {
                let pauses = *pauses + 1;
                self.open(pauses, now, rng);
            }
            State::Open { .. } | State::HalfOpen { .. } => {}
        }
    }

    /// A call ended without saying anything about the upstream.
    pub(crate) fn released(&mut self, probe: bool) {
        if let State::HalfOpen { is_probing, .. } = &mut self.state
            && probe
        {
            *is_probing = false;
        }
    }

    fn open(&mut self, pauses: u32, now: Time, rng: &mut dyn Rng) {
        let pause = FIRST_PAUSE.saturating_mul(1 << pauses.min(10)).min(LONGEST_PAUSE);
        // Jitter, so that several routers do not probe in step.
        let until = now + pause.mul_f64(rng.random_range(0.75..1.25));
        self.state = State::Open { until, pauses };
    }
}

/// Calls and failures of the last ten seconds, second by second.
#[derive(Debug, Default)]
struct Window {
    start: Option<Time>,
    /// The second since `start` that each bucket holds.
    seconds: [u64; WINDOW_S],
    calls: [u32; WINDOW_S],
    failures: [u32; WINDOW_S],
}

impl Window {
    fn second(&mut self, now: Time) -> u64 {
        (now - *self.start.get_or_insert(now)).as_secs()
    }

    fn count(&mut self, now: Time, failed: bool) {
        let second = self.second(now);
        #[expect(clippy::cast_possible_truncation, reason = "a remainder below ten")]
        let at = (second % WINDOW_S as u64) as usize;
        if self.seconds[at] != second {
            (self.seconds[at], self.calls[at], self.failures[at]) = (second, 0, 0);
        }
        self.calls[at] += 1;
        self.failures[at] += u32::from(failed);
    }

    fn is_bad(&mut self, now: Time) -> bool {
        let second = self.second(now);
        let recent = |at: &usize| second - self.seconds[*at].min(second) < WINDOW_S as u64;
        let calls: u32 = (0..WINDOW_S).filter(recent).map(|at| self.calls[at]).sum();
        let failures: u32 = (0..WINDOW_S).filter(recent).map(|at| self.failures[at]).sum();
        calls >= MIN_CALLS && failures * 2 >= calls
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::SmallRng};

    use super::*;

    struct Bench {
        breaker: Breaker,
        now: Time,
        rng: SmallRng,
    }

    impl Bench {
        fn new() -> Self {
            Self { breaker: Breaker::default(), now: Time::ZERO, rng: SmallRng::seed_from_u64(1) }
        }

        fn fail(&mut self, times: u32) {
            for _ in 0..times {
                let probe = self.breaker.begin();
                self.breaker.failed(probe, false, self.now, &mut self.rng);
            }
        }

        fn succeed(&mut self) {
            let probe = self.breaker.begin();
            self.breaker.succeeded(probe, self.now);
        }

        fn pass(&mut self, seconds: f64) {
            self.now += Duration::from_secs_f64(seconds);
        }

        fn state(&self) -> BreakerState {
            self.breaker.state(self.now)
        }
    }

    #[test]
    fn a_run_of_failures_opens_it_and_one_good_probe_closes_it() {
        let mut bench = Bench::new();
        bench.fail(4);
        assert_eq!(bench.state(), BreakerState::Closed);
        bench.fail(1);
        assert_eq!(bench.state(), BreakerState::Open);
        bench.pass(1.3);
        assert_eq!(bench.breaker.admits(bench.now), Admission::Probe);
        assert!(bench.breaker.begin());
        assert!(matches!(bench.breaker.admits(bench.now), Admission::NotBefore(_)), "one probe at a time");
        bench.breaker.succeeded(true, bench.now);
        assert_eq!(bench.state(), BreakerState::Closed);
    }

    #[test]
    fn half_of_the_calls_failing_opens_it() {
        let mut bench = Bench::new();
        for _ in 0..MIN_CALLS / 2 {
            bench.fail(1);
            assert_eq!(bench.state(), BreakerState::Closed);
            bench.succeed();
            bench.pass(0.1);
        }
        bench.fail(1);
        assert_eq!(bench.state(), BreakerState::Open);
    }

    #[test]
    fn a_tenth_of_the_calls_failing_does_not() {
        let mut bench = Bench::new();
        for call in 0..1_000 {
            if call % 10 == 0 {
                bench.fail(1);
            } else {
                bench.succeed();
            }
            bench.pass(0.01);
        }
        assert_eq!(bench.state(), BreakerState::Closed);
    }

    #[test]
    fn failed_probes_pause_longer_but_never_very_long() {
        let mut bench = Bench::new();
        bench.fail(5);
        for _ in 0..12 {
            bench.pass(LONGEST_PAUSE.as_secs_f64() * 1.25);
            assert_eq!(bench.breaker.admits(bench.now), Admission::Probe);
            bench.fail(1);
            assert_eq!(bench.state(), BreakerState::Open);
        }
    }

    #[test]
    fn a_probe_that_proves_nothing_makes_room_for_the_next() {
        let mut bench = Bench::new();
        bench.fail(5);
        bench.pass(2.0);
        assert!(bench.breaker.begin());
        bench.breaker.released(true);
        assert_eq!(bench.breaker.admits(bench.now), Admission::Probe);
    }

    #[test]
    fn results_from_before_it_opened_change_nothing() {
        let mut bench = Bench::new();
        bench.fail(5);
        bench.breaker.succeeded(false, bench.now);
        assert_eq!(bench.state(), BreakerState::Open);
    }
}

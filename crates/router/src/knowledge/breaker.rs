//! A three-state breaker whose successes count at the first token.
//!
//! It opens on a run of failures, or when half of the calls in the last ten seconds failed: a rule for runs alone would
//! never detect an upstream that fails every second call, and a rule for the rate alone needs many calls to detect a
//! dead one.
//!
//! * **A success is a first token**, not a complete answer: beside streams of 20 s, five failures of 5 % of the calls
//!   would otherwise come before the first success. A call that breaks off after its first token is taken back as a
//!   success.
//! * **A timeout counts only if no call that began later was answered**: otherwise the prompt was long.
//! * **What fails together counts once for the run**: calls that were under way when the last failure was counted, and
//!   fail within a second of it, met one event (a worker that died, five long prompts sent at once). Calls that began
//!   after it are further evidence at any rate.
//! * **A first token while it is open** shows that the upstream answers: the next probe need not wait for the pause to
//!   end.
//!
//! Of several replicas one probes: what others report of theirs opens a closed breaker, and puts off the probe of an open one
//! until that other one has shown what it finds, but by no more than [`LONGEST_DEFERRED`]. An opening that was only learned is
//! not passed on.
//!
//! Pauses are short, since a pause is also how long a recovered upstream stays unused. Pure: time and chance are passed
//! in.

use std::time::Duration;

use rand::{Rng, RngExt};

use provider::Time;

use crate::peers::{ElsewhereBreaker, PeerBreaker, millis};

/// A run of failures of this weight opens the breaker.
const MAX_RUN: u32 = 5;
/// The weight of a timeout in a run of failures. It takes long to show, and other calls are then likely to be timing
/// out as well.
const TIMEOUT_WEIGHT: u32 = 2;
/// Failures of calls that were under way together count once within this time.
const TOGETHER: Duration = Duration::from_secs(1);
/// The share of failures is judged from this many calls on.
const MIN_CALLS: u32 = 20;
const SECONDS: usize = 10;
const SECOND_NS: u64 = 1_000_000_000;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const GROWTH: f64 = 1.6;
/// The longest pause where failures show at once: the one request that probes then loses little time.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The longest pause where a failure shows only after a time-out, or where nothing will change soon.
const LONGEST_PAUSE_OF_SLOW: Duration = Duration::from_secs(8);
/// Jitter, so that several routers do not probe in step.
const JITTER: std::ops::Range<f64> = 0.9..1.1;

/// For how long after another replica's probe may begin the own one is put off: until its begin is known here.
pub(crate) const AFTER_OTHERS: Duration = Duration::from_secs(1);
/// However long others probe, the own probe is put off by no more than this since the breaker opened: what they find may be a
/// fault of their own.
const LONGEST_DEFERRED: Duration = Duration::from_secs(10);

/// Where a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Calls pass.
    Closed,
    /// One call at a time is let through to see.
    HalfOpen,
    /// No call passes before then.
    Open(Time),
}

/// How a call failed, as far as the breaker is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It failed.
    Failed,
    /// Its first token did not come in time.
    TimedOut {
        /// Whether a call that began later was answered.
        is_overtaken: bool,
    },
    /// It broke off after its first token.
    BrokeOff,
    /// The failure does not pass by itself, such as a refused key: one is enough to open the breaker.
    Certain,
}

#[derive(Debug, Clone)]
enum Inner {
    Closed,
    /// A probe is put off until `probes_by` at the latest. `is_learned`: another replica's breaker opened it.
    Open {
        until: Time,
        probes_by: Time,
        pauses: i32,
        is_learned: bool,
    },
    HalfOpen {
        is_probing: bool,
        pauses: i32,
    },
}

/// The breaker of one upstream.
#[derive(Debug, Clone)]
pub(crate) struct Breaker {
    inner: Inner,
    run: u32,
    /// Answers that broke off without a complete one between, and first tokens since the first of them.
    broken_off: u32,
    answered_meanwhile: u32,
    /// When the last failure was counted.
    failed_at: Option<Time>,
    window: Window,
}

impl Default for Breaker {
    fn default() -> Self {
        let window = Window::default();
        Self { inner: Inner::Closed, run: 0, broken_off: 0, answered_meanwhile: 0, failed_at: None, window }
    }
}

impl Breaker {
    /// Where it stands.
    pub(crate) fn state(&self, now: Time) -> State {
        match self.inner {
            Inner::Closed => State::Closed,
            Inner::Open { until, .. } if now < until => State::Open(until),
            Inner::Open { .. } | Inner::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// Whether a call may pass now: always when closed, as the one probe when half-open.
    pub(crate) fn admits(&self, now: Time) -> bool {
        match self.inner {
            Inner::Closed => true,
            Inner::Open { until, .. } => now >= until,
            Inner::HalfOpen { is_probing, .. } => !is_probing,
        }
    }

    /// A call that was admitted begins. Returns whether it is the probe.
    pub(crate) fn begin(&mut self) -> bool {
        let pauses = match self.inner {
            Inner::Closed => return false,
            Inner::Open { pauses, .. } | Inner::HalfOpen { pauses, .. } => pauses,
        };
        self.inner = Inner::HalfOpen { is_probing: true, pauses };
        true
    }

    /// The first token of a call came. Returns whether that closed the breaker.
    pub(crate) fn answered(&mut self, probe: bool, now: Time) -> bool {
        match &mut self.inner {
            Inner::Closed => {
                self.run = 0;
                self.answered_meanwhile += 1;
                self.window.count(now, 1, 0);
                false
            }
            Inner::HalfOpen { .. } if probe => {
                *self = Self::default();
                true
            }
            Inner::HalfOpen { .. } => false,
            Inner::Open { until, .. } => {
                *until = now.min(*until);
                false
            }
        }
    }

    /// An answer is complete.
    pub(crate) fn completed(&mut self) {
        self.broken_off = 0;
    }

    /// A call that began at `began` failed in a way that counts against the upstream. Returns whether that opened the
    /// breaker.
    pub(crate) fn failed(&mut self, kind: Kind, probe: bool, began: Time, now: Time, rng: &mut dyn Rng) -> bool {
        if matches!(kind, Kind::TimedOut { is_overtaken: true }) {
            self.released(probe);
            return false;
        }
        let pauses = match self.inner {
            Inner::Closed => 0,
            Inner::HalfOpen { pauses, .. } if probe => pauses + 1,
            // A call from before it opened is no new evidence.
            Inner::Open { .. } | Inner::HalfOpen { .. } => return false,
        };
        if matches!(self.inner, Inner::Closed) && !self.is_too_much(kind, began, now) {
            return false;
        }
        let longest = match kind {
            Kind::Failed | Kind::BrokeOff => LONGEST_PAUSE,
            Kind::TimedOut { .. } | Kind::Certain => LONGEST_PAUSE_OF_SLOW,
        };
        let pause = FIRST_PAUSE.mul_f64(GROWTH.powi(pauses.min(20))).min(longest);
        let until = now + pause.mul_f64(rng.random_range(JITTER));
        self.inner = Inner::Open { until, probes_by: now + LONGEST_DEFERRED, pauses, is_learned: false };
        true
    }

    /// A call ended without saying anything about the upstream.
    pub(crate) fn released(&mut self, probe: bool) {
        if let Inner::HalfOpen { is_probing, .. } = &mut self.inner
            && probe
        {
            *is_probing = false;
        }
    }

    /// Something else shows that the upstream may be back, such as workers that came up: a probe may go at once.
    pub(crate) fn may_be_back(&mut self, now: Time) {
        if let Inner::Open { until, probes_by, .. } = &mut self.inner {
            *until = now.min(*until);
            *probes_by = *until;
        }
    }

    /// Where it stands by the replica's own calls, for the others.
    pub(crate) fn report(&self, now: Time) -> PeerBreaker {
        match self.inner {
            Inner::Closed | Inner::Open { is_learned: true, .. } => PeerBreaker::Closed,
            Inner::Open { until, .. } if now < until => PeerBreaker::Open { for_ms: millis(until - now) },
            Inner::HalfOpen { is_probing: true, .. } => PeerBreaker::Probing,
            Inner::Open { .. } | Inner::HalfOpen { .. } => PeerBreaker::HalfOpen,
        }
    }

    /// Whether it is open only because another replica's is.
    pub(crate) fn is_learned(&self) -> bool {
        matches!(self.inner, Inner::Open { is_learned: true, .. })
    }

    /// Another replica's breaker is open, or probes. `has_answered`: the upstream has answered this replica more lately than that one.
    pub(crate) fn learn(&mut self, other: &ElsewhereBreaker, has_answered: bool, now: Time) {
        let (until, is_probing) = (other.until.unwrap_or(now), other.until.is_none());
        let after = if is_probing || other.goes_first { until + AFTER_OTHERS } else { until };
        match &mut self.inner {
            Inner::Closed if !has_answered && until > now => {
                let probes_by = now + LONGEST_DEFERRED;
                self.inner = Inner::Open { until: after.min(probes_by), probes_by, pauses: 0, is_learned: true };
            }
            Inner::Open { until, probes_by, .. } if is_probing || other.goes_first => {
                *until = after.min(*probes_by).max(*until);
            }
            Inner::Closed | Inner::Open { .. } | Inner::HalfOpen { .. } => {}
        }
    }

    /// Counts a failure while closed. Returns whether the breaker must open.
    fn is_too_much(&mut self, kind: Kind, began: Time, now: Time) -> bool {
        let is_together = self.failed_at.is_some_and(|at| began < at && now - at < TOGETHER);
        if !is_together {
            self.failed_at = Some(now);
        }
        let weight = u32::from(!is_together);
        match kind {
            Kind::Certain => return true,
            Kind::TimedOut { .. } => {
                self.run += weight * TIMEOUT_WEIGHT;
                self.window.count(now, weight, weight);
            }
            Kind::Failed => {
                self.run += weight;
                self.window.count(now, 1, 1);
            }
            Kind::BrokeOff => {
                // The first token of this call was counted before.
                self.answered_meanwhile = if self.broken_off == 0 { 1 } else { self.answered_meanwhile };
                self.broken_off += weight;
                self.window.count(now, 0, 1);
            }
        }
        let keeps_breaking = self.broken_off >= MAX_RUN && 2 * self.broken_off >= self.answered_meanwhile;
        self.run >= MAX_RUN || keeps_breaking || self.window.is_bad(now)
    }
}

/// Calls and failures of the last ten seconds, second by second.
///
/// Exact counts, since the memory of a moving average depends on the rate of calls.
#[derive(Debug, Clone, Default)]
struct Window {
    /// The second that each element counts.
    seconds: [u64; SECONDS],
    calls: [u32; SECONDS],
    failures: [u32; SECONDS],
}

impl Window {
    fn count(&mut self, now: Time, calls: u32, failures: u32) {
        let second = now.as_nanos() / SECOND_NS;
        let at = (second % SECONDS as u64) as usize;
        if self.seconds[at] != second {
            (self.seconds[at], self.calls[at], self.failures[at]) = (second, 0, 0);
        }
        self.calls[at] += calls;
        self.failures[at] += failures;
    }

    fn is_bad(&self, now: Time) -> bool {
        let second = now.as_nanos() / SECOND_NS;
        let recent = |at: &usize| second.saturating_sub(self.seconds[*at]) < SECONDS as u64;
        let calls: u32 = (0..SECONDS).filter(recent).map(|at| self.calls[at]).sum();
        let failures: u32 = (0..SECONDS).filter(recent).map(|at| self.failures[at]).sum();
        calls.max(failures) >= MIN_CALLS && failures * 2 >= calls
    }
}

#[cfg(test)]
mod tests;

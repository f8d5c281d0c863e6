//! What is known of an upstream: whether it works, how fast, how full, and when it takes calls again. Pure: time and chance
//! are passed in.

use std::time::Duration;

use provider::{Capacity, Error, ErrorKind, Quota, Time};
use rand::Rng;

use super::{Blocked, Snapshot, Status, UpstreamSpec};
use crate::{
    breaker::{Admission, Breaker},
    doubt::Doubt,
    load::PeakEwma,
    workers::Workers,
};

/// How long to stay away after a refusal that did not say.
const QUOTA_PAUSE: Duration = Duration::from_secs(10);
const OVERLOAD_PAUSE: Duration = Duration::from_secs(1);
/// Longest stay away: a quota that resets tomorrow is looked at again in a minute, at the price of one refusal.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// How often refusals are news.
const REFUSAL_NEWS_PAUSE: Duration = Duration::from_mins(1);
/// What headers said of our allowance is forgotten after this long: windows are rarely longer, and reset meanwhile.
const QUOTA_MEMORY: Duration = Duration::from_mins(1);

/// What is known of an upstream; survives a change of its configuration.
#[derive(Debug, Default)]
pub(crate) struct State {
    breaker: Breaker,
    /// Failures that may be the fault of the requests that met them.
    doubt: Doubt,
    /// The same of failures amid an answer, about which only complete answers decide.
    doubt_amid: Doubt,
    streamed: PeakEwma,
    whole: PeakEwma,
    in_flight: u32,
    parked_until: Option<Time>,
    last_success: Option<Time>,
    refusal_told_at: Option<Time>,
    quota: Option<(Quota, Time)>,
    workers: Workers,
}

/// What tells whether a call shows anything about another one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    /// Tells the request from others, if that is known.
    pub(crate) by: Option<u64>,
    /// When the call began.
    pub(crate) began: Time,
}

/// A failure that may be the fault of the request that met it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doubtful {
    pub(crate) origin: Origin,
    /// When it failed.
    pub(crate) at: Time,
    /// Whether content had come.
    pub(crate) is_amid: bool,
    pub(crate) stream: bool,
}

/// A call that failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failed<'a> {
    pub(crate) error: &'a Error,
    pub(crate) origin: Origin,
    /// Whether it was a half-open breaker's probe.
    pub(crate) is_probe: bool,
    pub(crate) stream: bool,
}

impl State {
    /// What is known now. `stream` chooses between the times of streamed and whole answers.
    pub(crate) fn snapshot(&self, spec: &UpstreamSpec, stream: bool, now: Time) -> Snapshot {
        let load = if stream { &self.streamed } else { &self.whole };
        Snapshot {
            in_flight: self.in_flight,
            first_token: load.get(now),
            stream_first_token: self.streamed.get(now),
            is_ready: self.workers.is_ready(now),
            blocked: self.blocked(spec, now),
        }
    }

    /// Why no call can start now.
    pub(crate) fn blocked(&self, spec: &UpstreamSpec, now: Time) -> Option<Blocked> {
        let parked = self.parked_until.filter(|until| *until > now);
        match (self.breaker.admits(now), parked) {
            (Admission::NotBefore(broken), Some(parked)) if parked > broken => Some(Blocked::Parked(parked)),
            (Admission::NotBefore(until), _) => Some(Blocked::Broken(until)),
            (Admission::Yes | Admission::Probe, Some(until)) => Some(Blocked::Parked(until)),
            (Admission::Yes | Admission::Probe, None) => {
                (self.in_flight >= spec.max_in_flight).then_some(Blocked::Full)
            }
        }
    }

    /// Whether it takes calls, full or not.
    pub(crate) fn takes_calls(&self, spec: &UpstreamSpec, now: Time) -> bool {
        self.blocked(spec, now).is_none_or(|blocked| blocked == Blocked::Full)
    }

    /// What operators want to know.
    pub(crate) fn status(&mut self, spec: &UpstreamSpec, now: Time) -> Status {
        self.count_workers(spec, now);
        Status {
            in_flight: self.in_flight,
            breaker: self.breaker.state(now),
            capacity: self.workers.capacity(now),
            quota: self.quota.filter(|(_, at)| now - *at <= QUOTA_MEMORY).map(|(quota, _)| quota),
            worker_time: spec.gpu_rate().map(|_| self.workers.time()),
        }
    }

    /// Whether no worker is ready, one that still loads its model included; false if that is unknown.
    pub(crate) fn is_cold(&self, now: Time) -> bool {
        self.workers.is_cold(now)
    }

    /// Counts the worker time until now. To be called before anything changes that the sum depends on.
    fn count_workers(&mut self, spec: &UpstreamSpec, now: Time) {
        match spec.gpu_rate() {
            Some(rate) => self.workers.count(self.in_flight, rate, now),
            None => self.workers.pause(),
        }
    }

    /// Whether it is time to ask for its capacity; if so, it counts as asked.
    pub(crate) fn is_capacity_due(&mut self, spec: &UpstreamSpec, now: Time) -> bool {
        self.workers.is_due(spec.capacity_poll, now)
    }

    /// Records what it said of its workers.
    pub(crate) fn record_capacity(&mut self, spec: &UpstreamSpec, capacity: Capacity, now: Time) {
        self.count_workers(spec, now);
        self.workers.record(capacity, spec.capacity_poll, now);
    }

    /// A call begins that is not blocked. Returns whether it is a half-open breaker's probe.
    pub(crate) fn begin(&mut self, spec: &UpstreamSpec, now: Time) -> bool {
        self.count_workers(spec, now);
        self.in_flight += 1;
        self.breaker.begin()
    }

    /// The first token came. That is all that a probe is to find out: the rest of a long answer would keep others waiting.
    pub(crate) fn first_token(&mut self, spec: &UpstreamSpec, origin: Origin, stream: bool, is_probe: bool, now: Time) {
        let load = if stream { &mut self.streamed } else { &mut self.whole };
        load.record(now - origin.began, now);
        self.last_success = Some(now);
        self.doubt.went_well(origin.by, origin.began);
        self.count_workers(spec, now);
        self.workers.answered(now);
        if is_probe {
            self.breaker.succeeded(true, now);
        }
    }

    /// It said what is left of our allowance. Where a call failed, its error says for how long to stay away.
    pub(crate) fn record_quota(&mut self, quota: Quota, now: Time) {
        if quota == Quota::default() {
            return;
        }
        self.quota = Some((quota, now));
        if let Some(pause) = quota.exhausted_for {
            self.park(pause, now);
        }
    }

    /// A call is over.
    pub(crate) fn end(&mut self, spec: &UpstreamSpec, now: Time) {
        self.count_workers(spec, now);
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// A call went well.
    pub(crate) fn succeeded(&mut self, origin: Origin, now: Time) {
        self.breaker.succeeded(false, now);
        self.last_success = Some(now);
        self.doubt.went_well(origin.by, origin.began);
        self.doubt_amid.went_well(origin.by, origin.began);
    }

    /// A call ended without saying anything about the upstream's health.
    pub(crate) fn released(&mut self, is_probe: bool) {
        self.breaker.released(is_probe);
    }

    /// A call failed: health moves as the kind of error demands, and what the upstream asked for is honoured.
    pub(crate) fn failed(&mut self, failed: &Failed<'_>, now: Time, rng: &mut dyn Rng) {
        let Failed { error, origin: Origin { by, began }, is_probe, stream } = *failed;
        if let Some(pause) = pause(error) {
            self.park(pause, now);
        }
        if !error.kind.counts_against_health() {
            self.breaker.released(is_probe);
            return;
        }
        let count = self.doubt.failed(by, began);
        let load = if stream { &mut self.streamed } else { &mut self.whole };
        load.penalise(now);
        let at_once = matches!(error.kind, ErrorKind::Auth | ErrorKind::NotFound);
        for _ in 0..count {
            self.breaker.failed(is_probe, at_once, now, rng);
        }
    }

    /// A call of the request `by` failed in a way that may be its own fault. What that means shows when the request is over.
    pub(crate) fn noted(&mut self, by: Option<u64>, now: Time) {
        self.doubt.note(by, now);
    }

    /// Whether there is a doubtful failure about which the next success decides.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.doubt.is_open()
    }

    /// A request is over, and this upstream failed a call of it in a way that may have been the request's own fault.
    pub(crate) fn suspected(&mut self, failure: &Doubtful, now: Time, rng: &mut dyn Rng) {
        let Doubtful { origin: Origin { by, began }, at, is_amid, stream } = *failure;
        let doubt = if is_amid { &mut self.doubt_amid } else { &mut self.doubt };
        if doubt.has_served_another(by, at) {
            return;
        }
        let count = doubt.suspect(by, began, now);
        if count == 0 {
            return;
        }
        let load = if stream { &mut self.streamed } else { &mut self.whole };
        load.penalise(now);
        for _ in 0..count {
            self.breaker.failed(false, false, now, rng);
        }
    }

    /// Whether a refusal of a single request is worth a word: the first is, and one a minute.
    pub(crate) fn is_refusal_news(&mut self, now: Time) -> bool {
        let is_news = self.refusal_told_at.is_none_or(|at| now - at >= REFUSAL_NEWS_PAUSE);
        if is_news {
            self.refusal_told_at = Some(now);
        }
        is_news
    }

    /// Whether anybody got anything from it since `since`.
    pub(crate) fn succeeded_since(&self, since: Time) -> bool {
        self.last_success.is_some_and(|at| at >= since)
    }

    /// Whether a request other than `by`, called at or after `since`, went well.
    pub(crate) fn has_served_another(&self, by: Option<u64>, since: Time) -> bool {
        self.doubt.has_served_another(by, since)
    }

    fn park(&mut self, pause: Duration, now: Time) {
        self.parked_until = self.parked_until.max(Some(now + pause.min(LONGEST_PAUSE)));
    }
}

/// How long to leave an upstream alone after a failure. A refusal of one request is no reason to, whatever its headers say.
fn pause(error: &Error) -> Option<Duration> {
    let asked = error.retry_after;
    match error.kind {
        ErrorKind::RateLimited => Some(asked.unwrap_or(QUOTA_PAUSE)),
        ErrorKind::Overloaded => Some(asked.unwrap_or(OVERLOAD_PAUSE)),
        ErrorKind::Auth
        | ErrorKind::NotFound
        | ErrorKind::Connect
        | ErrorKind::Timeout(_)
        | ErrorKind::Unavailable
        | ErrorKind::Interrupted
        | ErrorKind::Protocol => asked,
        ErrorKind::InvalidRequest
        | ErrorKind::ContextOverflow
        | ErrorKind::Unsupported
        | ErrorKind::Refused
        | ErrorKind::NoMemory => None,
    }
}

//! What is known of an upstream: whether it works, how fast, how full, and when it takes calls again. Pure: time and chance
//! are passed in.

use std::time::Duration;

use provider::{Capacity, Error, ErrorKind, Phase, Quota, Time};
use rand::Rng;

use super::{
    Ask, Blocked, BreakerState, Snapshot, Status, UpstreamSpec,
    supply::{Claimed, Outlook, Supply},
};
use crate::{
    doubt::Doubt,
    knowledge::{
        breaker::{Breaker, Kind, State as Standing},
        park::Park,
        ramp::Admission,
    },
    workers::Workers,
};

/// When an upstream is looked at again whose probe is under way.
const PROBE_PAUSE: Duration = Duration::from_millis(200);
/// A quota that resets tomorrow is looked at again in a minute, at the price of one refusal.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// How often refusals are news.
const REFUSAL_NEWS_PAUSE: Duration = Duration::from_mins(1);
/// What headers said of our allowance is forgotten after this long: windows are rarely longer, and reset meanwhile.
const QUOTA_MEMORY: Duration = Duration::from_mins(1);

/// What is known of an upstream; survives a change of its configuration.
#[derive(Debug)]
pub(crate) struct State {
    breaker: Breaker,
    /// Failures that may be the fault of the requests that met them.
    doubt: Doubt,
    /// The same of failures amid an answer, about which only complete answers decide.
    doubt_amid: Doubt,
    park: Park,
    /// Its headers said that our allowance is used up until then.
    spent_until: Option<Time>,
    supply: Supply,
    in_flight: u32,
    last_success: Option<Time>,
    /// When a call failed last since one went well.
    failed_at: Option<Time>,
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

/// A call that was let in, until it is over.
#[derive(Debug)]
pub(crate) struct Call {
    /// Whether it is a half-open breaker's probe that has shown nothing yet.
    pub(crate) is_probe: bool,
    /// Whether it finds out if the upstream still asks to be left alone.
    finds_out: bool,
    claimed: Claimed,
    answered: Option<Time>,
}

/// A failure that may be the fault of the request that met it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doubtful {
    pub(crate) origin: Origin,
    /// When it failed.
    pub(crate) at: Time,
    /// Whether content had come.
    pub(crate) is_amid: bool,
}

impl State {
    pub(crate) fn new(spec: &UpstreamSpec) -> Self {
        Self {
            breaker: Breaker::default(),
            doubt: Doubt::default(),
            doubt_amid: Doubt::default(),
            park: Park::default(),
            spent_until: None,
            supply: Supply::new(spec.limits),
            in_flight: 0,
            last_success: None,
            failed_at: None,
            refusal_told_at: None,
            quota: None,
            workers: Workers::default(),
        }
    }

    /// What can be taken of it.
    pub(crate) fn supply(&self) -> &Supply {
        &self.supply
    }

    /// What would become of a request now.
    pub(crate) fn outlook(&self, spec: &UpstreamSpec, ask: &Ask, limit: Option<Duration>, now: Time) -> Outlook {
        self.supply.outlook(spec, self.in_flight, ask, limit, now)
    }

    /// What a failure counts as in seconds, so that an upstream that fails fast does not look fast.
    pub(crate) fn penalty_s(&self, now: Time) -> f64 {
        const PENALTY_S: f64 = 5.0;
        const FADING_S: f64 = 10.0;
        self.failed_at.map_or(0.0, |at| PENALTY_S * (-(now - at).as_secs_f64() / FADING_S).exp())
    }

    /// A request could go to it. Returns nothing until one does.
    pub(crate) fn passed(&mut self, spec: &UpstreamSpec, chosen_late: (bool, bool), now: Time) {
        self.supply.passed(spec, self.in_flight, chosen_late, now);
    }

    /// Calls in flight.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// What is known now. `stream` chooses between the times of streamed and whole answers.
    pub(crate) fn snapshot(&self, spec: &UpstreamSpec, stream: bool, ask: &Ask, now: Time) -> Snapshot {
        let outlook = self.outlook(spec, ask, None, now);
        let known = |time: Duration| self.supply.has_answered().then_some(time);
        Snapshot {
            in_flight: self.in_flight,
            first_token: known(if stream { outlook.first_token } else { outlook.end }),
            stream_first_token: known(outlook.first_token),
            is_ready: outlook.is_cold.map(|is_cold| !is_cold),
            blocked: self.blocked(spec, true, ask, now),
        }
    }

    /// Why no call can start now. `is_alone` says that nobody else could serve the request.
    pub(crate) fn blocked(&self, spec: &UpstreamSpec, is_alone: bool, ask: &Ask, now: Time) -> Option<Blocked> {
        self.closed(now).or_else(|| match self.supply.room(spec, self.in_flight, is_alone, ask, now) {
            Admission::Now => None,
            // It has just come back, and is given more with every answer.
            Admission::At(at) => Some(Blocked::Broken(at)),
            Admission::Full => Some(Blocked::Full),
        })
    }

    /// Why it takes no calls, however few it has.
    fn closed(&self, now: Time) -> Option<Blocked> {
        let broken = match self.breaker.state(now) {
            Standing::Open(until) => Some(until),
            Standing::Closed | Standing::HalfOpen if self.breaker.admits(now) => None,
            Standing::Closed | Standing::HalfOpen => Some(now + PROBE_PAUSE),
        };
        let spent = self.spent_until.filter(|until| *until > now);
        match (broken, self.park.until(now).max(spent)) {
            (Some(broken), Some(parked)) if parked > broken => Some(Blocked::Parked(parked)),
            (Some(until), _) => Some(Blocked::Broken(until)),
            (None, Some(until)) => Some(Blocked::Parked(until)),
            (None, None) => None,
        }
    }

    /// Whether it takes calls, full or not.
    pub(crate) fn takes_calls(&self, now: Time) -> bool {
        self.closed(now).is_none()
    }

    /// Where its breaker stands.
    pub(crate) fn breaker(&self, now: Time) -> BreakerState {
        match self.breaker.state(now) {
            Standing::Closed => BreakerState::Closed,
            Standing::HalfOpen => BreakerState::HalfOpen,
            Standing::Open(_) => BreakerState::Open,
        }
    }

    /// What operators want to know.
    pub(crate) fn status(&mut self, spec: &UpstreamSpec, now: Time) -> Status {
        self.count_workers(spec, now);
        Status {
            in_flight: self.in_flight,
            breaker: self.breaker(now),
            capacity: self.workers.capacity(now),
            quota: self.quota.filter(|(_, at)| now - *at <= QUOTA_MEMORY).map(|(quota, _)| quota),
            worker_time: spec.gpu_rate().map(|_| self.workers.time()),
        }
    }

    /// Whether no worker is ready, one that still loads its model included; false if that is unknown.
    pub(crate) fn is_cold(&self, now: Time) -> bool {
        self.supply.is_cold(now) == Some(true)
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
        if self.supply.was_unknown(spec, now) {
            self.breaker.may_be_back(now);
        }
        self.workers.record(capacity, spec.capacity_poll, now);
        self.supply.record_capacity(spec, self.in_flight, capacity, now);
    }

    /// A call begins that is not blocked.
    pub(crate) fn begin(&mut self, spec: &UpstreamSpec, ask: &Ask, now: Time) -> Call {
        self.count_workers(spec, now);
        let claimed = self.supply.begin(spec, self.in_flight, ask, now);
        self.in_flight += 1;
        Call { is_probe: self.breaker.begin(), finds_out: self.park.begin(), claimed, answered: None }
    }

    /// The first token came. That is all that a probe is to find out: the rest of a long answer would keep others waiting.
    pub(crate) fn first_token(
        &mut self,
        spec: &UpstreamSpec,
        (call, origin): (&mut Call, Origin),
        (quota, stream): (Quota, bool),
        now: Time,
    ) {
        (self.last_success, self.failed_at) = (Some(now), None);
        self.doubt.went_well(origin.by, origin.began);
        self.count_workers(spec, now);
        self.workers.answered(now);
        self.park.taken(now);
        call.finds_out = false;
        call.answered = Some(now);
        self.supply.answered(spec, self.in_flight, &mut call.claimed, (quota, stream), now);
        if self.breaker.answered(std::mem::take(&mut call.is_probe), now) {
            self.supply.reopened();
        }
        self.record_quota(quota, now);
    }

    /// It said what is left of our allowance. Where a call failed, its error says for how long to stay away.
    fn record_quota(&mut self, quota: Quota, now: Time) {
        if quota == Quota::default() {
            return;
        }
        self.quota = Some((quota, now));
        if let Some(pause) = quota.exhausted_for {
            self.spent_until = self.spent_until.max(Some(now + pause.min(LONGEST_PAUSE)));
        }
    }

    /// A call is over.
    fn end(&mut self, spec: &UpstreamSpec, now: Time) {
        self.count_workers(spec, now);
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// An answer is complete; it had so many tokens, if that is known.
    pub(crate) fn succeeded(
        &mut self,
        spec: &UpstreamSpec,
        (call, origin): (&Call, Origin),
        (tokens, stream): (Option<u64>, bool),
        now: Time,
    ) {
        self.breaker.completed();
        self.last_success = Some(now);
        self.doubt.went_well(origin.by, origin.began);
        self.doubt_amid.went_well(origin.by, origin.began);
        let took = call.answered.map_or(Duration::ZERO, |at| now - at);
        self.supply.completed(tokens, took, stream, now);
        self.end(spec, now);
    }

    /// A call ended without saying anything about the upstream's health.
    pub(crate) fn released(&mut self, spec: &UpstreamSpec, call: &mut Call, now: Time) {
        self.breaker.released(call.is_probe);
        self.park.released(call.finds_out);
        self.supply.ended(&mut call.claimed, false, now);
        self.end(spec, now);
    }

    /// A call failed: health moves as the kind of error demands, and what the upstream asked for is honoured.
    pub(crate) fn failed(
        &mut self,
        spec: &UpstreamSpec,
        (call, origin): (&mut Call, Origin),
        error: &Error,
        now: Time,
        rng: &mut dyn Rng,
    ) {
        let Origin { by, began } = origin;
        let is_refused = matches!(error.kind, ErrorKind::RateLimited | ErrorKind::Overloaded);
        let bucket = match error.kind {
            ErrorKind::RateLimited => self.supply.refused(&mut call.claimed, Quota::default(), now),
            _ => None,
        };
        let asked = error.retry_after.filter(|_| !error.kind.is_refusal() && error.kind != ErrorKind::NoMemory);
        if is_refused || asked.is_some() {
            self.park.refused(call.finds_out, asked, bucket, began, now);
        } else {
            self.park.released(call.finds_out);
        }
        let counts = error.kind.counts_against_health();
        self.supply.ended(&mut call.claimed, counts, now);
        if !counts {
            self.breaker.released(call.is_probe);
            self.end(spec, now);
            return;
        }
        self.failed_at = Some(now);
        let kind = match error.kind {
            ErrorKind::Auth | ErrorKind::NotFound => Kind::Certain,
            ErrorKind::Timeout(Phase::FirstToken) => {
                Kind::TimedOut { is_overtaken: self.last_success.is_some_and(|at| at >= began) && !call.is_probe }
            }
            _ if call.answered.is_some() => Kind::BrokeOff,
            _ => Kind::Failed,
        };
        for nth in 0..self.doubt.failed(by, began) {
            // What was in doubt before is evidence of its own.
            let began = if nth == 0 { began } else { now };
            self.breaker.failed(kind, call.is_probe, began, now, rng);
        }
        self.end(spec, now);
    }

    /// A call of the request `by` failed in a way that may be its own fault. What that means shows when the request is over.
    pub(crate) fn noted(&mut self, spec: &UpstreamSpec, call: &mut Call, by: Option<u64>, now: Time) {
        self.doubt.note(by, now);
        self.park.released(call.finds_out);
        self.supply.ended(&mut call.claimed, false, now);
        self.end(spec, now);
    }

    /// Whether there is a doubtful failure about which the next success decides.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.doubt.is_open()
    }

    /// A request is over, and this upstream failed a call of it in a way that may have been the request's own fault.
    pub(crate) fn suspected(&mut self, failure: &Doubtful, now: Time, rng: &mut dyn Rng) {
        let Doubtful { origin: Origin { by, began }, at, is_amid } = *failure;
        let doubt = if is_amid { &mut self.doubt_amid } else { &mut self.doubt };
        if doubt.has_served_another(by, at) {
            return;
        }
        for nth in 0..doubt.suspect(by, began, now) {
            let began = if nth == 0 { began } else { now };
            let kind = if is_amid { Kind::BrokeOff } else { Kind::Failed };
            self.breaker.failed(kind, false, began, now, rng);
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
}

//! What is known of an upstream: whether it works, how fast, how full, and when it takes calls again. Pure: time and chance
//! are passed in.

mod cut_short;
mod elsewhere;

use std::time::Duration;

use provider::{Capacity, Error, ErrorKind, Phase, Quota, Time};
use rand::Rng;

use cut_short::CutShort;

use super::{
    Blocked, BreakerState, RequestNeeds, Snapshot, Status, UpstreamSpec,
    supply::{Claimed, Outlook, Supply, Unanswered},
    warm_up::UnderWay,
};
use crate::{
    knowledge::{
        breaker::{self, Breaker, Kind},
        first_token::Load,
        park::Park,
        ramp::Admission,
    },
    unattributed::UnattributedFailures,
    workers::Workers,
};

/// After this time an upstream whose probe is under way is considered again.
const PROBE_PAUSE: Duration = Duration::from_millis(200);
/// The longest time for which a used-up quota in headers keeps calls away. One that resets tomorrow is tried again
/// after this minute, at the price of one refusal.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// A refusal by an upstream is logged at most this often.
const REFUSAL_LOG_INTERVAL: Duration = Duration::from_mins(1);
/// A rate-limit status from headers is forgotten after this time: windows are rarely longer, and have been reset by
/// then.
const QUOTA_MEMORY: Duration = Duration::from_mins(1);

/// What is known of an upstream; survives a change of its configuration.
#[derive(Debug)]
pub(crate) struct State {
    breaker: Breaker,
    /// Failures before content that are not attributed to the upstream or the request yet.
    unattributed: UnattributedFailures,
    /// The same for failures after content had come: only a complete answer or another such failure decides about them.
    unattributed_after_content: UnattributedFailures,
    park: Park,
    /// Whether it is parked because it had no room. Where our allowance was used up, the mirrored limit is enough.
    was_overloaded: bool,
    /// According to its headers, our allowance is used up until then.
    spent_until: Option<Time>,
    supply: Supply,
    in_flight: u32,
    /// How many of them are calls of the router's own that start a worker.
    warm_ups: u32,
    /// Permits that are reserved for requests that were held and decide next.
    reserved: u32,
    last_success: Option<Time>,
    /// Calls that were [cut short](cut_short) since it answered last.
    cut_short: Option<CutShort>,
    /// Calls under way whose first token has come.
    answering: u32,
    /// When a call failed last since one went well.
    failed_at: Option<Time>,
    refusal_logged_at: Option<Time>,
    quota: Option<(Quota, Time)>,
    workers: Workers,
    /// How often a probe closed the breaker.
    recoveries: u32,
}

/// Which request a call belongs to, and when it began: decides whether it is evidence about another call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    /// The request's fingerprint, if it is known.
    pub(crate) by: Option<u64>,
    /// When the call began.
    pub(crate) began: Time,
}

/// A call that was let in, until it is over.
#[derive(Debug)]
pub(crate) struct Call {
    /// Whether it is a half-open breaker's probe that has shown nothing yet.
    pub(crate) is_probe: bool,
    /// Whether it is the one call that is let in after a park, to see whether the upstream still refuses.
    is_park_probe: bool,
    /// Whether it is one of the router's own that starts a worker.
    is_warm_up: bool,
    claimed: Claimed,
    answered: Option<Time>,
}

/// A failure that either the upstream or the request may have caused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnattributedFailure {
    pub(crate) origin: Origin,
    /// When it failed.
    pub(crate) at: Time,
    /// Whether content had come.
    pub(crate) has_content: bool,
}

impl State {
    pub(crate) fn new(spec: &UpstreamSpec) -> Self {
        Self {
            breaker: Breaker::default(),
            unattributed: UnattributedFailures::default(),
            unattributed_after_content: UnattributedFailures::default(),
            park: Park::default(),
            was_overloaded: false,
            spent_until: None,
            supply: Supply::new(spec),
            in_flight: 0,
            warm_ups: 0,
            reserved: 0,
            last_success: None,
            cut_short: None,
            answering: 0,
            failed_at: None,
            refusal_logged_at: None,
            quota: None,
            workers: Workers::default(),
            recoveries: 0,
        }
    }

    /// A request has come of which this part, 0 to 1, would go here if all targets worked.
    pub(crate) fn expects(&mut self, part: f64, now: Time) {
        self.supply.expects(part, now);
    }

    /// Its configuration may have changed.
    pub(crate) fn configure(&mut self, spec: &UpstreamSpec, now: Time) {
        self.supply.configure(spec, now);
    }

    /// What can be taken of it.
    pub(crate) fn supply(&self) -> &Supply {
        &self.supply
    }

    /// What it has to do now.
    pub(crate) fn load(&self, spec: &UpstreamSpec, now: Time) -> Load {
        self.supply.load(spec, self.in_flight, now)
    }

    /// What a request could expect there now, with this load.
    pub(crate) fn outlook(&self, load: Load, needs: &RequestNeeds, limit: Option<Duration>, now: Time) -> Outlook {
        self.supply.outlook(load, needs, limit, now)
    }

    /// Seconds that are added to the predicted time after a failure, so that an upstream that fails fast does not look
    /// fast.
    pub(crate) fn penalty_s(&self, now: Time) -> f64 {
        const PENALTY_S: f64 = 5.0;
        const FADING_S: f64 = 10.0;
        self.failed_at.map_or(0.0, |at| PENALTY_S * (-(now - at).as_secs_f64() / FADING_S).exp())
    }

    /// A request could have gone to it, whose first token was predicted to be late or not. `is_chosen`: it goes there.
    pub(crate) fn passed(&mut self, is_late: bool, is_chosen: bool) {
        self.supply.passed(is_late, is_chosen);
    }

    /// A request has come that could go to it, and is predicted to be late or not.
    pub(crate) fn asks(&mut self, spec: &UpstreamSpec, is_late: bool, now: Time) {
        self.supply.asks(spec, self.in_flight, is_late, now);
    }

    /// Reserves a permit for a request that was held and decides next.
    pub(crate) fn reserve(&mut self) {
        self.reserved += 1;
    }

    /// A permit is reserved no longer.
    pub(crate) fn unreserve(&mut self) {
        self.reserved = self.reserved.saturating_sub(1);
    }

    /// Calls in flight.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// What is known now. `stream` chooses between the times of streamed and whole answers.
    pub(crate) fn snapshot(&self, spec: &UpstreamSpec, stream: bool, needs: &RequestNeeds, now: Time) -> Snapshot {
        let load = self.load(spec, now);
        let outlook = self.outlook(load, needs, None, now);
        let known = |time: Duration| self.supply.has_answered().then_some(time);
        Snapshot {
            in_flight: self.in_flight,
            first_token: known(if stream { outlook.first_token } else { outlook.end }),
            stream_first_token: known(outlook.first_token),
            is_ready: outlook.is_cold.map(|is_cold| !is_cold),
            blocked: self.blocked(spec, load, true, needs, now),
        }
    }

    /// Why no call can start now, with this load. `is_alone`: no other target could serve the request.
    pub(crate) fn blocked(
        &self,
        spec: &UpstreamSpec,
        load: Load,
        is_alone: bool,
        needs: &RequestNeeds,
        now: Time,
    ) -> Option<Blocked> {
        let taken = load.in_flight + if needs.has_offer { 0 } else { self.reserved };
        let load = Load { in_flight: taken, ..load };
        self.closed(now).or_else(|| match self.supply.room(spec, load, is_alone, now) {
            Admission::Now => None,
            // It is in its ramp: it gets more calls with every answer.
            Admission::At(at) => Some(Blocked::Broken(at)),
            Admission::Full => Some(Blocked::Full),
        })
    }

    /// Why it takes no calls, however few it has.
    fn closed(&self, now: Time) -> Option<Blocked> {
        let broken = match self.breaker.state(now) {
            breaker::State::Open(until) => Some(until),
            breaker::State::Closed | breaker::State::HalfOpen if self.breaker.admits(now) => None,
            breaker::State::Closed | breaker::State::HalfOpen => Some(now + PROBE_PAUSE),
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
            breaker::State::Closed => BreakerState::Closed,
            breaker::State::HalfOpen => BreakerState::HalfOpen,
            breaker::State::Open(_) => BreakerState::Open,
        }
    }

    /// Its state, for metrics and the console.
    pub(crate) fn status(&mut self, spec: &UpstreamSpec, now: Time) -> Status {
        self.count_workers(spec, now);
        Status {
            in_flight: self.in_flight,
            breaker: self.breaker(now),
            is_breaker_learned: self.breaker.is_learned(),
            is_capacity_learned: self.workers.is_learned(),
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
            Some(rate) => self.workers.count(self.supply.with_others(self.in_flight), rate, now),
            None => self.workers.pause(),
        }
    }

    /// Whether it is time to ask for its capacity; if so, it counts as asked.
    pub(crate) fn is_capacity_due(&mut self, spec: &UpstreamSpec, now: Time) -> bool {
        self.workers.is_due(spec.capacity_poll, now)
    }

    /// Records the workers that it reported.
    pub(crate) fn record_capacity(&mut self, spec: &UpstreamSpec, capacity: Capacity, now: Time) {
        self.count_workers(spec, now);
        if self.supply.was_unknown(spec, now) {
            self.breaker.may_be_back(now);
        }
        self.workers.record(capacity, spec.capacity_poll, now);
        self.supply.record_capacity(spec, self.in_flight, capacity, now);
    }

    /// A call of a request begins that is not blocked.
    pub(crate) fn begin(&mut self, spec: &UpstreamSpec, needs: &RequestNeeds, now: Time) -> Call {
        self.supply.used();
        self.let_in(spec, needs, false, now)
    }

    fn let_in(&mut self, spec: &UpstreamSpec, needs: &RequestNeeds, is_warm_up: bool, now: Time) -> Call {
        self.count_workers(spec, now);
        let claimed = self.supply.begin(spec, self.in_flight, needs, now);
        self.in_flight += 1;
        let (is_probe, is_park_probe) = (self.breaker.begin(), self.park.begin());
        Call { is_probe, is_park_probe, is_warm_up, claimed, answered: None }
    }

    /// A request went elsewhere that would have come here, were a worker ready.
    pub(crate) fn wanted(&mut self, now: Time) {
        self.supply.wanted(now);
    }

    /// Whether a call of the router's own is due that starts a worker.
    pub(crate) fn is_warm_up_due(&self, spec: &UpstreamSpec, needs: &RequestNeeds, now: Time) -> bool {
        self.is_cold(now)
            && self.blocked(spec, self.load(spec, now), true, needs, now).is_none()
            && self.supply.is_warm_up_due(
                spec,
                UnderWay { all: self.supply.with_others(self.in_flight), warm_ups: self.warm_ups },
                needs,
                now,
            )
    }

    /// Such a call begins.
    pub(crate) fn begin_warm_up(&mut self, spec: &UpstreamSpec, needs: &RequestNeeds, now: Time) -> Call {
        self.supply.begin_warm_up(spec, now);
        self.warm_ups += 1;
        self.let_in(spec, needs, true, now)
    }

    /// The first token came. It ends a probe: to wait for the rest of a long answer would keep other requests waiting.
    pub(crate) fn first_token(
        &mut self,
        spec: &UpstreamSpec,
        (call, origin): (&mut Call, Origin),
        (quota, stream): (Quota, bool),
        now: Time,
    ) {
        (self.last_success, self.failed_at) = (Some(now), None);
        self.unattributed.succeeded(origin.by, origin.began);
        self.count_workers(spec, now);
        self.workers.answered(now);
        if self.park.taken(std::mem::take(&mut call.is_park_probe), now) && std::mem::take(&mut self.was_overloaded) {
            self.supply.reopened();
        }
        self.begin_answer(call, now);
        self.supply.answered(spec, self.in_flight, &mut call.claimed, (quota, stream), now);
        if self.breaker.answered(std::mem::take(&mut call.is_probe), now) {
            self.recoveries += 1;
            self.supply.reopened();
        }
        self.record_quota(quota, now);
    }

    /// Records the rate-limit status of an answer. After a failed call, the pause is taken from the error instead.
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
    fn end(&mut self, spec: &UpstreamSpec, call: &Call, now: Time) {
        self.count_workers(spec, now);
        self.in_flight = self.in_flight.saturating_sub(1);
        self.end_answer(call);
        self.warm_ups = self.warm_ups.saturating_sub(u32::from(call.is_warm_up));
        if self.in_flight == 0 {
            self.supply.rests(now);
        }
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
        self.unattributed.succeeded(origin.by, origin.began);
        self.unattributed_after_content.succeeded(origin.by, origin.began);
        let took = call.answered.map_or(Duration::ZERO, |at| now - at);
        self.supply.completed(tokens, took, stream, now);
        self.end(spec, call, now);
    }

    /// A call ended in a way that is no evidence about the upstream's health.
    pub(crate) fn released(&mut self, spec: &UpstreamSpec, call: &mut Call, now: Time) {
        self.breaker.released(call.is_probe);
        self.park.released(call.is_park_probe);
        self.supply.ended(&mut call.claimed, Unanswered { is_failure: false, may_be_counted: true }, now);
        self.end(spec, call, now);
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
        let asked = error.retry_after.filter(|_| !error.kind.is_refusal() && !error.kind.is_ours());
        if is_refused || asked.is_some() {
            self.was_overloaded |= error.kind != ErrorKind::RateLimited;
            self.park.refused(call.is_park_probe, asked, bucket, began, now);
        } else {
            self.park.released(call.is_park_probe);
        }
        let counts = error.kind.counts_against_health();
        let may_be_counted = matches!(
            error.kind,
            ErrorKind::Timeout(_) | ErrorKind::Interrupted | ErrorKind::Protocol | ErrorKind::NoMemory
        );
        self.supply.ended(&mut call.claimed, Unanswered { is_failure: counts, may_be_counted }, now);
        if !counts {
            self.breaker.released(call.is_probe);
            self.end(spec, call, now);
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
        for nth in 0..self.unattributed.failed(by, began) {
            // The first is this failure; the second is an earlier one that is attributed only now, which counts as a
            // separate event.
            let began = if nth == 0 { began } else { now };
            self.breaker.failed(kind, call.is_probe, began, now, rng);
        }
        self.end(spec, call, now);
    }

    /// A call of the request `by` failed in a way that the request may have caused. It is attributed once the request
    /// is over.
    pub(crate) fn failed_unattributed(&mut self, spec: &UpstreamSpec, call: &mut Call, by: Option<u64>, now: Time) {
        self.unattributed.record_pending(by, now);
        self.park.released(call.is_park_probe);
        self.supply.ended(&mut call.claimed, Unanswered { is_failure: false, may_be_counted: false }, now);
        self.end(spec, call, now);
    }

    /// Whether there is an unattributed failure that a success could clear.
    pub(crate) fn has_unattributed_failure(&self) -> bool {
        self.unattributed.has_undecided()
    }

    /// A request is over, and this upstream failed a call of it in a way that the request may have caused.
    pub(crate) fn record_unattributed(&mut self, failure: &UnattributedFailure, now: Time, rng: &mut dyn Rng) {
        let UnattributedFailure { origin: Origin { by, began }, at, has_content } = *failure;
        let failures = if has_content { &mut self.unattributed_after_content } else { &mut self.unattributed };
        if failures.has_served_other_request_since(by, at) {
            return;
        }
        for nth in 0..failures.record(by, began, now) {
            let began = if nth == 0 { began } else { now };
            let kind = if has_content { Kind::BrokeOff } else { Kind::Failed };
            self.breaker.failed(kind, false, began, now, rng);
        }
    }

    /// Whether to log this refusal of a single request: the first one is logged, and then at most one a minute.
    pub(crate) fn should_log_refusal(&mut self, now: Time) -> bool {
        let is_due = self.refusal_logged_at.is_none_or(|at| now - at >= REFUSAL_LOG_INTERVAL);
        if is_due {
            self.refusal_logged_at = Some(now);
        }
        is_due
    }

    /// Whether any request got content from it at or after `since`.
    pub(crate) fn succeeded_since(&self, since: Time) -> bool {
        self.last_success.is_some_and(|at| at >= since)
    }

    /// Whether a request other than `by`, called at or after `since`, succeeded.
    pub(crate) fn has_served_other_request_since(&self, by: Option<u64>, since: Time) -> bool {
        self.unattributed.has_served_other_request_since(by, since)
    }
}

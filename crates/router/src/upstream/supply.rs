//! What an upstream can take and how fast it answers: workers, cold starts, limits, and the work that waits there.
//!
//! Pure: the time is passed in. A call's part of it is a [`Claimed`], which is given back once.

mod elsewhere;

use std::time::Duration;

use provider::{Capacity, NanoUsd, Quota, Time};

use super::{
    RequestNeeds, UpstreamSpec,
    scaler_demand::ScalerDemand,
    warm_up::{LEAST_DEMAND, Purpose, UnderWay, WarmUps},
};
use crate::{
    knowledge::{
        bucket::Fit,
        capacity::Workers,
        cold_start::ColdStarts,
        decode::Decode,
        duration,
        first_token::{FirstToken, Load, Pending, Prediction},
        quota::{Allowance, Claim, Debit},
        ramp::{Admission, Demand, Ramp},
        rate::Rate,
        real,
    },
    peers::{PeerLoad, Totals},
};

/// A target without a ready worker gets a call, which starts one, only after this time and this many requests since the
/// last such call: one client in so many waits for a cold start.
const PROBE_EVERY: Duration = Duration::from_secs(2);
const PROBE_AFTER: u32 = 10;
/// The same, since its last call, for a target with a ready worker that is thought to be late: under load a call a second finds
/// out, and where few requests come at most every other one.
const PROBE_WARM: [(Duration, u32); 2] = [(Duration::from_secs(1), 20), (Duration::from_secs(10), 1)];

/// No request is sent where it would wait longer than this for a slot, to show demand to a scaler.
const MAX_WAIT_TO_SHOW_DEMAND_S: f64 = 4.0;
/// What a first token may take where no SLO is configured, as far as cold starts are concerned.
const USUAL_LIMIT: Duration = Duration::from_secs(2);

/// What a start is taken to cost where the price of a second is unknown: 20 s of a small GPU.
const USUAL_START: NanoUsd = NanoUsd(5_000_000);

/// What is known of what an upstream can take.
#[derive(Debug)]
pub(crate) struct Supply {
    capacity: Workers,
    starts: ColdStarts,
    first_token: FirstToken,
    decode: Decode,
    ramp: Ramp,
    /// Requests that would go here if all targets worked, whatever their model.
    expected: Rate,
    /// The same, for the question whether they pay for a worker.
    lasting: Rate<60>,
    scaler_demand: ScalerDemand,
    warm_ups: WarmUps,
    allowance: Allowance,
    began_at: Option<Time>,
    /// Requests that passed by since its last call, and since the last one that was thought to be late.
    passed: u32,
    passed_since_late: u32,
    has_answered: bool,
    /// What this replica's calls came to, as far as no other part counts it.
    totals: Totals,
    /// What it does for other replicas, and how many of their requests would go here if all targets worked.
    elsewhere: PeerLoad,
    expected_elsewhere: Rate,
}

/// What a call has claimed of it.
#[derive(Debug)]
pub(crate) struct Claimed {
    pending: Option<Pending>,
    debit: Option<Debit>,
}

/// How a call ended that was not answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unanswered {
    /// Whether it counts as a failure of the upstream.
    pub(crate) is_failure: bool,
    /// Whether the provider may have counted it against our limits: it was sent, and nothing says that it was not taken.
    pub(crate) may_be_counted: bool,
}

/// What would become of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outlook {
    pub(crate) prediction: Prediction,
    /// The probability that its first token would be late.
    pub(crate) miss: f64,
    /// When its first token would come; when no worker is ready, once one is.
    pub(crate) first_token: Duration,
    /// The time to the first token of a call without a prompt in seconds, if nothing waited there.
    pub(crate) base_s: f64,
    /// The same of this call.
    pub(crate) alone_s: f64,
    /// When its answer would end.
    pub(crate) end: Duration,
    /// Whether no worker is ready.
    pub(crate) is_cold: Option<bool>,
    /// Whether calls go there at this moment so that its scaler sees the demand.
    pub(crate) shows_demand: bool,
    /// For how long its idle workers still run on; `None` if they have work, or are not stopped.
    pub(crate) idle_left: Option<Duration>,
    /// Whether a call may probe it: its last one is long ago, and no other call waits there.
    pub(crate) may_probe: bool,
}

impl Supply {
    pub(crate) fn new(spec: &UpstreamSpec) -> Self {
        Self {
            capacity: Workers::new(spec.idle_timeout()),
            starts: ColdStarts::default(),
            first_token: FirstToken::default(),
            decode: Decode::default(),
            ramp: Ramp::default(),
            expected: Rate::default(),
            lasting: Rate::default(),
            scaler_demand: ScalerDemand::default(),
            warm_ups: WarmUps::default(),
            allowance: Allowance::new(spec.limits, Time::ZERO),
            began_at: None,
            passed: 0,
            passed_since_late: PROBE_AFTER,
            has_answered: false,
            totals: Totals::default(),
            elsewhere: PeerLoad::default(),
            expected_elsewhere: Rate::default(),
        }
    }

    /// What it has to do, with so many calls of this replica in flight.
    pub(crate) fn load(&self, spec: &UpstreamSpec, in_flight: u32, now: Time) -> Load {
        let (ready, queued) = (self.ready_workers(now), self.queued(now));
        let in_flight = self.with_others(in_flight);
        Load { in_flight, elsewhere: self.elsewhere.in_flight, ready, slots: spec.worker_slots, queued }
    }

    fn demand(&self, load: Load, now: Time) -> Demand {
        let Load { in_flight, elsewhere, ready, slots, .. } = load;
        Demand { in_flight, elsewhere, ready, slots, per_second: self.expected.per_second(now) }
    }

    /// A request has come of which this part, 0 to 1, would go here if all targets worked.
    pub(crate) fn expects(&mut self, part: f64, now: Time) {
        self.totals.expected += part;
        self.expected.record(part, now);
        self.lasting.record(part, now);
    }

    /// Requests a second that would go here if all targets worked, as far as they have lasted for a minute.
    pub(crate) fn lasting_per_second(&self, now: Time) -> f64 {
        self.lasting.lasting(now)
    }

    /// A call of a request begins.
    pub(crate) fn used(&mut self) {
        self.totals.calls += 1.0;
        self.warm_ups.used();
    }

    /// A request went elsewhere that would have come here, were a worker ready.
    pub(crate) fn wanted(&mut self, now: Time) {
        self.totals.wanted += 1.0;
        self.warm_ups.wanted(now);
    }

    /// Whether enough requests ask for a call that starts a worker, and it may cost what it does. No worker is ready.
    pub(crate) fn is_warm_up_due(&self, spec: &UpstreamSpec, calls: UnderWay, needs: &RequestNeeds, now: Time) -> bool {
        self.expected.count(now) + self.expected_elsewhere.count(now) >= LEAST_DEMAND
            && matches!(self.fits(needs.limited_tokens, Claim::Failover, now), Fit::Now)
            && self.warm_ups.is_due(&self.purpose(spec, now), calls, now)
    }

    /// Such a call begins.
    pub(crate) fn begin_warm_up(&mut self, spec: &UpstreamSpec, now: Time) {
        let purpose = self.purpose(spec, now);
        if self.warm_ups.begin(&purpose, now) {
            self.totals.warm_ups += 1.0;
            self.totals.warm_up_nano_usd += real(purpose.price.0);
        }
    }

    /// What a warm-up call would do at this moment.
    fn purpose(&self, spec: &UpstreamSpec, now: Time) -> Purpose {
        let takes = self.starts.remaining(0.5, now) + spec.idle_timeout();
        let price = spec.gpu_rate().map_or(USUAL_START, |per_second| per_second.cost_of(takes));
        let is_coming = self.capacity.on_their_way(now).is_some_and(|(coming, _)| coming > 0);
        let is_running = self.capacity.report(now).is_some_and(|(capacity, _)| capacity.running > Some(0));
        Purpose { price, most_per_hour: spec.warm_up_usd_per_hour, is_coming, is_running }
    }

    /// Workers that can take a call now; `None` if unknown.
    pub(crate) fn ready_workers(&self, now: Time) -> Option<u32> {
        self.capacity.ready(now)
    }

    /// Jobs that wait for a worker, by its last report; `None` if unknown.
    fn queued(&self, now: Time) -> Option<u32> {
        self.capacity.report(now).and_then(|(capacity, _)| capacity.queued)
    }

    /// Whether no worker is ready; `None` if that is unknown.
    pub(crate) fn is_cold(&self, now: Time) -> Option<bool> {
        self.capacity.is_cold(now)
    }

    /// Whether anything was ever answered.
    pub(crate) fn has_answered(&self) -> bool {
        self.has_answered
    }

    /// Whether one more call has room. A cold upstream that is the only one for a request is given what its queue
    /// takes.
    pub(crate) fn room(&self, spec: &UpstreamSpec, load: Load, is_alone: bool, now: Time) -> Admission {
        let Load { in_flight, ready, .. } = load;
        if in_flight >= spec.max_in_flight {
            return Admission::Full;
        }
        if is_alone && ready == Some(0) {
            return Admission::Now;
        }
        // The rate limits only what comes back.
        let Load { elsewhere, slots, .. } = load;
        let per_second = if self.ramp.is_ramping() { self.expected.per_second(now) } else { 0.0 };
        self.ramp.admits(Demand { in_flight, elsewhere, ready, slots, per_second }, now)
    }

    /// Its configuration may have changed.
    pub(crate) fn configure(&mut self, spec: &UpstreamSpec, now: Time) {
        self.allowance.configure(spec.limits, now);
        self.capacity.configure(spec.idle_timeout());
    }

    /// When a call has room in the limits.
    pub(crate) fn fits(&self, limited_tokens: u64, claim: Claim, now: Time) -> Fit {
        self.allowance.fits(limited_tokens, claim, now)
    }

    /// What would become of a request.
    pub(crate) fn outlook(&self, load: Load, needs: &RequestNeeds, limit: Option<Duration>, now: Time) -> Outlook {
        let is_cold = load.ready.map(|ready| ready == 0);
        let mut prediction = self.first_token.predict(needs.prompt_tokens, load, now);
        let mut miss = limit.map_or(0.0, |limit| prediction.late(limit));
        if is_cold == Some(true) {
            miss = miss.max(self.starts.late(limit.unwrap_or(USUAL_LIMIT), now));
            prediction = prediction.after(self.starts.remaining(0.5, now));
        }
        let first_token = prediction.median();
        let quiet = self.began_at.map_or(Duration::MAX, |at| now - at);
        let is_untried = if is_cold == Some(true) {
            quiet >= PROBE_EVERY && self.passed_since_late >= PROBE_AFTER
        } else {
            PROBE_WARM.iter().any(|(every, after)| quiet >= *every && self.passed >= *after)
        };
        Outlook {
            prediction,
            miss,
            first_token,
            base_s: self.first_token.base_s(),
            alone_s: self.first_token.alone_s(needs.prompt_tokens),
            end: self.decode.answer_time(first_token, needs.completion_tokens),
            is_cold,
            idle_left: self.capacity.idle_left(now),
            shows_demand: self.scaler_demand.is_on(now)
                && prediction.wait_s < MAX_WAIT_TO_SHOW_DEMAND_S
                && !prediction.is_silent,
            may_probe: is_untried && self.first_token.is_idle(),
        }
    }

    /// How long it takes to answer a request if nothing else waits there: to the first token of a stream, or to the end of the longest
    /// whole answer that the request allows.
    pub(crate) fn time_alone(&self, needs: &RequestNeeds, stream: bool) -> Duration {
        let first_token = duration(self.first_token.alone_s(needs.prompt_tokens));
        if stream { first_token } else { self.decode.answer_time(first_token, real(needs.longest_answer)) }
    }

    /// A request could have gone here. `is_late`: it was predicted to be late.
    pub(crate) fn passed(&mut self, is_late: bool, is_chosen: bool) {
        self.passed = if is_chosen { 0 } else { self.passed.saturating_add(1) };
        self.passed_since_late = if is_chosen && is_late { 0 } else { self.passed_since_late.saturating_add(1) };
    }

    /// A request has come that could go here, and is predicted to be late or not. However often it decides again, it is demand once.
    pub(crate) fn asks(&mut self, spec: &UpstreamSpec, in_flight: u32, is_late: bool, now: Time) {
        let in_flight = self.with_others(in_flight);
        let workers = self.capacity.ready(now).zip(self.capacity.on_their_way(now));
        // Where the workers are more than half full, the scaler sees the demand already.
        let is_seen = |ready: u32| {
            spec.worker_slots.is_some_and(|slots| u64::from(in_flight) * 2 > u64::from(ready) * u64::from(slots))
        };
        let workers = workers.filter(|(ready, _)| !is_seen(*ready));
        self.scaler_demand.passed(is_late, workers.map(|(ready, (coming, _))| (ready, coming)), now);
    }

    /// A call begins. `in_flight` is without it.
    pub(crate) fn begin(&mut self, spec: &UpstreamSpec, in_flight: u32, needs: &RequestNeeds, now: Time) -> Claimed {
        let load = self.load(spec, in_flight, now);
        self.began_at = Some(now);
        let demand = self.demand(load, now);
        self.ramp.started(demand, now);
        if load.ready == Some(0) && !self.capacity.is_in_doubt(now) {
            self.starts.called(now);
        }
        let pending = Some(self.first_token.begin(needs.prompt_tokens, load, now));
        self.capacity.called(now);
        Claimed { pending, debit: Some(self.allowance.debit(needs.limited_tokens, now)) }
    }

    /// The first token of a call came, or the whole answer.
    pub(crate) fn answered(
        &mut self,
        spec: &UpstreamSpec,
        in_flight: u32,
        claimed: &mut Claimed,
        (quota, stream): (Quota, bool),
        now: Time,
    ) {
        self.has_answered = true;
        self.totals.first_tokens += 1.0;
        if self.ramp.is_ramping() {
            let demand = self.demand(self.load(spec, in_flight, now), now);
            self.ramp.answered(demand, now);
        }
        if let Some(pending) = claimed.pending.take() {
            if stream {
                self.first_token.answered(pending, now);
            } else {
                self.first_token.answered_whole(pending, now);
            }
        }
        self.capacity.answered(now);
        self.starts.answered(now);
        if let Some(debit) = claimed.debit.take() {
            self.allowance.taken(debit, quota, now);
        }
    }

    /// An answer is complete: so many tokens in the time since its first one.
    pub(crate) fn completed(&mut self, tokens: Option<u64>, took: Duration, stream: bool, now: Time) {
        self.totals.completed += 1.0;
        self.first_token.completed(now);
        if let Some(tokens) = tokens.filter(|_| stream) {
            self.decode.streamed(tokens.saturating_sub(1), took);
        }
    }

    /// A call ended without an answer.
    pub(crate) fn ended(&mut self, claimed: &mut Claimed, how: Unanswered, now: Time) {
        if let Some(pending) = claimed.pending.take() {
            self.first_token.gave_up(pending, now);
        } else {
            self.totals.completed += 1.0;
            self.first_token.completed(now);
        }
        if how.is_failure {
            self.ramp.failed();
        }
        match claimed.debit.take() {
            Some(debit) if how.may_be_counted => self.allowance.abandoned(&debit),
            Some(debit) => self.allowance.failed(debit, now),
            None => {}
        }
    }

    /// A call was refused because the allowance is used up. Returns for how long, as far as the mirrored buckets show.
    pub(crate) fn refused(&mut self, claimed: &mut Claimed, quota: Quota, now: Time) -> Option<Duration> {
        self.allowance.refused(claimed.debit.take()?, quota, now)
    }

    /// Whether the last poll of its workers got no report, or there never was one.
    pub(crate) fn was_unknown(&self, spec: &UpstreamSpec, now: Time) -> bool {
        self.capacity.report(now).is_none_or(|(_, age)| age > spec.capacity_poll.mul_f64(1.5))
    }

    /// Records the workers that it reported.
    pub(crate) fn record_capacity(&mut self, spec: &UpstreamSpec, in_flight: u32, capacity: Capacity, now: Time) {
        let in_flight = self.with_others(in_flight);
        let was_cold = self.capacity.is_cold(now).map(|is_cold| is_cold && !self.capacity.is_in_doubt(now));
        let start = self.starts.remaining(0.5, now);
        self.capacity.polled(capacity, spec.capacity_poll, start, now);
        let served = self.capacity.ready(now).zip(spec.worker_slots).map(|(ready, slots)| ready.saturating_mul(slots));
        if capacity.queued == Some(0) && served.is_some_and(|served| in_flight >= served + served / 10) {
            self.capacity.one_more_ready();
        }
        if let Some((queued, slots)) = capacity.queued.filter(|queued| *queued > 0).zip(spec.worker_slots) {
            // To the nearest: some of ours are on their way, neither queued nor served.
            let serving = ((in_flight.saturating_sub(queued) + slots / 2) / slots.max(1)).max(1);
            self.capacity.only_ready(serving, now + spec.capacity_poll.mul_f64(1.5), now);
        }
        let Some((ready, (coming, age))) = self.capacity.ready(now).zip(self.capacity.on_their_way(now)) else {
            return;
        };
        self.starts.polled(ready, coming, age, now);
        match (was_cold, ready) {
            (_, 0) => self.first_token.record_cold(now),
            (Some(true), _) => self.ramp.reopened(),
            (Some(false) | None, _) => {}
        }
    }

    /// No call of this replica is under way any more.
    pub(crate) fn rests(&mut self, now: Time) {
        if self.elsewhere.in_flight == 0 {
            self.capacity.rests(now);
        }
    }

    /// Its breaker closed.
    pub(crate) fn reopened(&mut self) {
        self.ramp.reopened();
    }
}

impl Outlook {
    /// Whether a call would have to wait for others to end, or for a worker.
    pub(crate) fn has_slot(&self) -> bool {
        self.is_cold != Some(true) && self.prediction.wait_s <= 0.0 && !self.prediction.is_silent
    }
}

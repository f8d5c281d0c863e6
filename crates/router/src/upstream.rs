//! One upstream: what is configured of it, and what is known of it at this moment.

use std::time::Duration;

use parking_lot::Mutex;
use provider::{Capacity, Error, ErrorKind, Features, Operation, PicoUsd, Provider, Quota, Tariff, UpstreamId};
use rand::Rng;
use tokio::time::Instant;

use crate::{
    breaker::{Admission, Breaker, BreakerState},
    doubt::Doubt,
    load::PeakEwma,
    workers::{WorkerTime, Workers},
};

/// How long to stay away after a refusal that did not say.
const QUOTA_PAUSE: Duration = Duration::from_secs(10);
const OVERLOAD_PAUSE: Duration = Duration::from_secs(1);
/// Longest stay away: a quota that resets tomorrow is looked at again in a minute, at the price of one refusal.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// How often the log tells of refusals.
const REFUSAL_LOG_PAUSE: Duration = Duration::from_mins(1);
/// Time that the capacity may take to come, however often it is asked for.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);
/// What headers said of our allowance is forgotten after this long: windows are rarely longer, and reset meanwhile.
const QUOTA_MEMORY: Duration = Duration::from_mins(1);

/// Limits on the phases of a call.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From sending the request to the first token of a stream.
    pub first_token: Duration,
    /// Between two events of a stream.
    pub gap: Duration,
}

/// What is configured of an upstream.
pub struct UpstreamSpec {
    /// Its name.
    pub id: UpstreamId,
    /// The kind of provider, as named in the configuration.
    pub provider_name: &'static str,
    /// What its model is called there.
    pub served_model: String,
    /// The adapter.
    pub provider: std::sync::Arc<dyn Provider>,
    /// How it charges, if known.
    pub tariff: Option<Tariff>,
    /// What it serves.
    pub operations: Vec<Operation>,
    /// What it can do.
    pub features: Features,
    /// Its context in tokens, if known.
    pub context_tokens: Option<u64>,
    /// Most calls at a time.
    pub max_in_flight: u32,
    /// Limits on the phases of a call.
    pub timeouts: Timeouts,
    /// How often to ask for its capacity.
    pub capacity_poll: Duration,
}

/// An upstream at work.
pub struct Upstream {
    /// What is configured.
    pub spec: UpstreamSpec,
    state: std::sync::Arc<Mutex<State>>,
}

/// What is known of an upstream; survives a change of its configuration.
#[derive(Default)]
struct State {
    breaker: Breaker,
    /// Failures that may be the fault of the requests that met them.
    doubt: Doubt,
    /// The same of failures amid an answer, about which only complete answers decide.
    doubt_amid: Doubt,
    streamed: PeakEwma,
    whole: PeakEwma,
    in_flight: u32,
    parked_until: Option<Instant>,
    last_success: Option<Instant>,
    refusal_logged_at: Option<Instant>,
    quota: Option<(Quota, Instant)>,
    workers: Workers,
}

impl State {
    fn park(&mut self, pause: Duration, now: Instant) {
        self.parked_until = self.parked_until.max(Some(now + pause.min(LONGEST_PAUSE)));
    }
}

/// What tells whether a call shows anything about another one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    /// Tells the request from others, if that is known.
    pub(crate) by: Option<u64>,
    /// When the call began.
    pub(crate) began: Instant,
}

/// A failure that may be the fault of the request that met it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doubtful {
    pub(crate) origin: Origin,
    /// When it failed.
    pub(crate) at: Instant,
    /// Whether content had come.
    pub(crate) is_amid: bool,
    pub(crate) stream: bool,
}

/// A call that failed.
pub(crate) struct Failure<'a> {
    pub(crate) error: &'a Error,
    /// Tells the request from others, if that is known.
    pub(crate) by: Option<u64>,
    /// When the call began.
    pub(crate) began: Instant,
    /// Whether it was a half-open breaker's probe.
    pub(crate) probe: bool,
    pub(crate) stream: bool,
}

/// An upstream at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot {
    /// Calls in flight.
    pub in_flight: u32,
    /// Predicted time to the first token, of a whole answer to its end; `None` if none was seen.
    pub first_token: Option<Duration>,
    /// Predicted time to the first token of a stream, whatever was asked for.
    pub stream_first_token: Option<Duration>,
    /// Whether a worker is up; `None` if unknown.
    pub is_ready: Option<bool>,
    /// Why no call can start now, and when that may end.
    pub blocked: Option<Blocked>,
}

/// An upstream at one moment, as operators see it.
#[derive(Debug, Clone, Copy)]
pub struct Status {
    /// Calls in flight.
    pub in_flight: u32,
    /// Where the breaker stands.
    pub breaker: BreakerState,
    /// Its workers and queue; all unknown if the last word is old.
    pub capacity: Capacity,
    /// What its headers last said of our allowance; `None` if that is old.
    pub quota: Option<Quota>,
    /// The worker time that was billed, for upstreams that bill it.
    pub worker_time: Option<WorkerTime>,
    /// Whether it takes calls, full or not.
    pub takes_calls: bool,
}

/// Why an upstream takes no call at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    /// Its breaker is open until then.
    Broken(Instant),
    /// It asked us to stay away until then.
    Parked(Instant),
    /// It has as many calls as it may.
    Full,
}

impl Upstream {
    /// An upstream, with the state of its predecessor of the same name, if any.
    pub(crate) fn new(spec: UpstreamSpec, predecessor: Option<&Self>) -> Self {
        let state = predecessor.map_or_else(Default::default, |old| old.state.clone());
        Self { spec, state }
    }

    /// What is known now. `stream` chooses between the times of streamed and whole answers.
    pub fn snapshot(&self, stream: bool, now: Instant) -> Snapshot {
        let state = self.state.lock();
        let load = if stream { &state.streamed } else { &state.whole };
        Snapshot {
            in_flight: state.in_flight,
            first_token: load.get(now),
            stream_first_token: state.streamed.get(now),
            is_ready: state.workers.is_ready(now),
            blocked: self.blocked_in(&state, now),
        }
    }

    fn blocked_in(&self, state: &State, now: Instant) -> Option<Blocked> {
        let parked = state.parked_until.filter(|until| *until > now);
        match (state.breaker.admits(now), parked) {
            (Admission::NotBefore(broken), Some(parked)) if parked > broken => Some(Blocked::Parked(parked)),
            (Admission::NotBefore(until), _) => Some(Blocked::Broken(until)),
            (Admission::Yes | Admission::Probe, Some(until)) => Some(Blocked::Parked(until)),
            (Admission::Yes | Admission::Probe, None) => {
                (state.in_flight >= self.spec.max_in_flight).then_some(Blocked::Full)
            }
        }
    }

    /// What operators want to know.
    pub fn status(&self, now: Instant) -> Status {
        let mut state = self.state.lock();
        self.count_workers(&mut state, now);
        Status {
            in_flight: state.in_flight,
            breaker: state.breaker.state(now),
            capacity: state.workers.capacity(now),
            quota: state.quota.filter(|(_, at)| now.duration_since(*at) <= QUOTA_MEMORY).map(|(quota, _)| quota),
            worker_time: self.gpu_rate().map(|_| state.workers.time()),
            takes_calls: self.blocked_in(&state, now).is_none_or(|blocked| blocked == Blocked::Full),
        }
    }

    /// Whether no worker is up at all, as far as is known.
    pub(crate) fn is_down(&self, now: Instant) -> bool {
        self.state.lock().workers.capacity(now).is_ready() == Some(false)
    }

    /// What a second of a running worker costs, where that is what is paid for.
    fn gpu_rate(&self) -> Option<PicoUsd> {
        match self.spec.tariff {
            Some(Tariff::GpuSeconds { per_second, .. }) => Some(per_second),
            Some(Tariff::Tokens(_)) | None => None,
        }
    }

    fn count_workers(&self, state: &mut State, now: Instant) {
        match self.gpu_rate() {
            Some(rate) => state.workers.count(state.in_flight, rate, now),
            None => state.workers.pause(),
        }
    }

    /// Asks for the capacity, if it is time to.
    pub(crate) async fn poll_capacity(&self, now: Instant) {
        let poll = self.spec.capacity_poll;
        if !self.state.lock().workers.is_due(poll, now) {
            return;
        }
        let asked = tokio::time::timeout(poll.max(LEAST_PATIENCE), self.spec.provider.capacity()).await;
        match asked {
            Ok(Ok(capacity)) => {
                let now = Instant::now();
                let mut state = self.state.lock();
                self.count_workers(&mut state, now);
                state.workers.heard(capacity, poll, now);
            }
            Ok(Err(error)) => tracing::debug!(upstream = %self.spec.id, %error, "capacity is unknown"),
            Err(_) => tracing::debug!(upstream = %self.spec.id, "capacity is unknown: no answer in time"),
        }
    }

    /// A call begins, unless the upstream was blocked since its snapshot was taken. Returns whether it is a half-open
    /// breaker's probe.
    pub(crate) fn begin(&self, now: Instant) -> Result<bool, Blocked> {
        let mut state = self.state.lock();
        if let Some(blocked) = self.blocked_in(&state, now) {
            return Err(blocked);
        }
        self.count_workers(&mut state, now);
        state.in_flight += 1;
        Ok(state.breaker.begin())
    }

    /// The first token came. That is all that a probe is to find out: the rest of a long answer would keep others waiting.
    pub(crate) fn first_token(&self, origin: Origin, stream: bool, probe: bool, now: Instant) {
        let mut state = self.state.lock();
        let load = if stream { &mut state.streamed } else { &mut state.whole };
        load.record(now.duration_since(origin.began), now);
        state.last_success = Some(now);
        state.doubt.went_well(origin.by, origin.began);
        self.count_workers(&mut state, now);
        state.workers.answered(now);
        if probe {
            state.breaker.succeeded(true, now);
        }
    }

    /// The upstream said what is left of our allowance. Where a call failed, its error says for how long to stay away.
    pub(crate) fn record_quota(&self, quota: Quota, now: Instant) {
        if quota == Quota::default() {
            return;
        }
        let mut state = self.state.lock();
        state.quota = Some((quota, now));
        if let Some(pause) = quota.exhausted_for {
            state.park(pause, now);
        }
    }

    /// A call is over.
    pub(crate) fn end(&self, now: Instant) {
        let mut state = self.state.lock();
        self.count_workers(&mut state, now);
        state.in_flight = state.in_flight.saturating_sub(1);
    }

    /// A call went well.
    pub(crate) fn succeeded(&self, origin: Origin, now: Instant) {
        let mut state = self.state.lock();
        state.breaker.succeeded(false, now);
        state.last_success = Some(now);
        state.doubt.went_well(origin.by, origin.began);
        state.doubt_amid.went_well(origin.by, origin.began);
    }

    /// A call ended without saying anything about the upstream's health.
    pub(crate) fn released(&self, probe: bool) {
        self.state.lock().breaker.released(probe);
    }

    /// A call failed. Charges health as the kind of error demands, and honours what the upstream asked for.
    pub(crate) fn failed(&self, failure: &Failure<'_>, now: Instant, rng: &mut dyn Rng) {
        let error = failure.error;
        let mut state = self.state.lock();
        if let Some(pause) = pause(failure) {
            state.park(pause, now);
        }
        if !error.kind.counts_against_health() {
            self.log_refusal(&mut state, error, now);
            state.breaker.released(failure.probe);
            return;
        }
        let count = state.doubt.failed(failure.by, failure.began);
        let load = if failure.stream { &mut state.streamed } else { &mut state.whole };
        load.penalise(now);
        let at_once = matches!(error.kind, ErrorKind::Auth | ErrorKind::NotFound);
        for _ in 0..count {
            state.breaker.failed(failure.probe, at_once, now, rng);
        }
    }

    /// A call of the request `by` failed in a way that may be its own fault. What that means shows when the request is over.
    pub(crate) fn noted(&self, by: Option<u64>, now: Instant) {
        self.state.lock().doubt.note(by, now);
    }

    /// Whether there is a doubtful failure about which the next success decides.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.state.lock().doubt.is_open()
    }

    /// A request is over, and this upstream failed a call of it in a way that may have been the request's own fault.
    pub(crate) fn suspected(&self, failure: &Doubtful, now: Instant, rng: &mut dyn Rng) {
        let Doubtful { origin: Origin { by, began }, at, is_amid, stream } = *failure;
        let mut state = self.state.lock();
        let doubt = if is_amid { &mut state.doubt_amid } else { &mut state.doubt };
        if doubt.has_served_another(by, at) {
            return;
        }
        let count = doubt.suspect(by, began, now);
        if count == 0 {
            return;
        }
        let load = if stream { &mut state.streamed } else { &mut state.whole };
        load.penalise(now);
        for _ in 0..count {
            state.breaker.failed(false, false, now, rng);
        }
    }

    /// Says that the upstream refuses requests in a way that may be a mistake of the configuration. Not its words: they may
    /// quote a prompt.
    fn log_refusal(&self, state: &mut State, error: &Error, now: Instant) {
        let is_due = state.refusal_logged_at.is_none_or(|at| now.duration_since(at) >= REFUSAL_LOG_PAUSE);
        if error.kind != ErrorKind::Refused || !is_due {
            return;
        }
        state.refusal_logged_at = Some(now);
        tracing::warn!(
            upstream = %self.spec.id,
            status = error.status,
            "the upstream refused a request that others may take: if it refuses all, look at its base_url, key and model"
        );
    }

    /// Whether anybody got anything from it since `since`.
    pub(crate) fn succeeded_since(&self, since: Instant) -> bool {
        self.state.lock().last_success.is_some_and(|at| at >= since)
    }

    /// Whether a request other than `by`, called at or after `since`, went well.
    pub(crate) fn has_served_another(&self, by: Option<u64>, since: Instant) -> bool {
        self.state.lock().doubt.has_served_another(by, since)
    }
}

/// How long to leave an upstream alone after a failure. A refusal of one request is no reason to, whatever its headers say.
fn pause(failure: &Failure<'_>) -> Option<Duration> {
    let asked = failure.error.retry_after;
    match failure.error.kind {
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

#[cfg(test)]
mod tests {
    use provider::{Call, Reply, Request};
    use rand::{SeedableRng, rngs::SmallRng};

    use super::*;

    struct Nobody;

    #[async_trait::async_trait]
    impl Provider for Nobody {
        async fn call(&self, _request: &Request, _call: &Call) -> Result<Reply, Error> {
            Err(Error::new(ErrorKind::Connect, "nobody is there"))
        }

        async fn capacity(&self) -> Result<Capacity, Error> {
            Ok(Capacity::default())
        }
    }

    /// Two models that share an upstream decide under locks of their own: both may have seen the last place.
    #[test]
    fn a_place_or_a_probe_that_both_saw_is_given_once() {
        let second = Duration::from_secs(1);
        let spec = UpstreamSpec {
            id: "a".into(),
            provider_name: "nobody",
            served_model: "m".to_owned(),
            provider: std::sync::Arc::new(Nobody),
            tariff: None,
            operations: Vec::new(),
            features: Features::default(),
            context_tokens: None,
            max_in_flight: 2,
            timeouts: Timeouts { first_token: second, gap: second },
            capacity_poll: second,
        };
        let (upstream, now) = (Upstream::new(spec, None), Instant::now());
        assert_eq!([(); 3].map(|()| upstream.begin(now)), [Ok(false), Ok(false), Err(Blocked::Full)]);
        upstream.end(now);
        let refused = Error::new(ErrorKind::Auth, "wrong key");
        let failure = Failure { error: &refused, by: None, began: now, probe: false, stream: true };
        upstream.failed(&failure, now, &mut SmallRng::seed_from_u64(1));
        let later = now + 2 * second;
        assert_eq!(upstream.begin(later), Ok(true));
        upstream.end(later);
        assert!(matches!(upstream.begin(later), Err(Blocked::Broken(_))));
    }
}

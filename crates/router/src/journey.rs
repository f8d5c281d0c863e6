//! One request on its way through attempts: counts them, judges what their failures say about health, and tells once how
//! the request ended, even if it is dropped.
//!
//! A 500 may be the fault of the request (a real vLLM answers some bad input so). Such a failure is kept as a suspicion until
//! the request is over. If another upstream refused it as bad input, or every attempt failed so (or was refused) and each
//! upstream that failed has served a different request since, it was at fault; its client is told, and nobody else hears of it.
//! In all other cases the upstream is suspected (`doubt`).

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use provider::{Error, ErrorKind, Phase, Request, UpstreamId};
use rand::rngs::SmallRng;
use tokio::time::Instant;

use crate::{
    attempt::{Attempt, Decision},
    event::{Event, EventSink, Failure, Outcome, Reason, RequestEnded, RequestOutcome, Subject},
    strategy::StrategyName,
    table::Model,
    upstream::{self, Origin, Upstream},
};

/// One failure may be chance: a worker that dies, say. So many, all while other requests went well, are not.
const CONVINCING: usize = 2;

/// What a request is doing.
#[derive(Clone, Copy)]
enum UnderWay {
    Deciding,
    /// It waits for an upstream since then.
    Calling(Instant),
    /// It waits for another chance since then.
    Waiting(Instant),
}

/// A failure that may be the request's own fault.
struct Suspicion {
    upstream: Arc<Upstream>,
    /// When the call began, and when it failed.
    began: Instant,
    at: Instant,
}

/// A request on its way.
pub(crate) struct Journey {
    pub(crate) subject: Arc<Subject>,
    pub(crate) sink: Arc<EventSink>,
    pub(crate) rng: SmallRng,
    pub(crate) attempts: u32,
    pub(crate) started: Instant,
    /// When the client's patience ends; shared by retries and fallbacks.
    pub(crate) deadline: Instant,
    model: Option<Arc<Model>>,
    config_version: Arc<str>,
    prompt_estimate: u64,
    /// Tells the request from others by what it says and who sent it; made when that matters.
    fingerprint: Option<u64>,
    /// The upstream of the latest attempt, and why it was chosen.
    last: Option<(UpstreamId, StrategyName, Reason)>,
    failures: Vec<Failure>,
    /// Time in calls that are over.
    upstream_time: Duration,
    /// What the request is doing if it is dropped now.
    under_way: UnderWay,
    wait_time: Duration,
    suspicions: Vec<Suspicion>,
    /// Whether an attempt failed in a way that cannot be the request's fault.
    failed_otherwise: bool,
    first_token: Option<Duration>,
    ended: bool,
}

impl Journey {
    pub(crate) fn new(
        subject: Arc<Subject>,
        sink: Arc<EventSink>,
        model: Option<Arc<Model>>,
        config_version: Arc<str>,
        rng: SmallRng,
        arrived: Instant,
    ) -> Self {
        Self {
            subject,
            sink,
            rng,
            attempts: 0,
            started: arrived,
            deadline: arrived,
            model,
            config_version,
            prompt_estimate: 0,
            fingerprint: None,
            last: None,
            failures: Vec::new(),
            upstream_time: Duration::ZERO,
            under_way: UnderWay::Deciding,
            wait_time: Duration::ZERO,
            suspicions: Vec::new(),
            failed_otherwise: false,
            first_token: None,
            ended: false,
        }
    }

    /// How long the prompt is thought to be, in tokens.
    pub(crate) fn expect_prompt(&mut self, tokens: u64) {
        self.prompt_estimate = tokens;
    }

    /// What the request says, which tells it from others.
    pub(crate) fn identify(&mut self, request: &Request) {
        let key = self.subject.key.as_deref().unwrap_or_default();
        self.fingerprint.get_or_insert_with(|| request.fingerprint(key));
    }

    /// Tells the request from others, if that is known.
    pub(crate) fn fingerprint(&self) -> Option<u64> {
        self.fingerprint
    }

    /// Why the latest attempt's upstream was chosen.
    pub(crate) fn last_reason(&self) -> Option<Reason> {
        self.last.as_ref().map(|(_, _, reason)| *reason)
    }

    /// An attempt begins.
    pub(crate) fn begin(&mut self, decision: Decision, now: Instant) -> Attempt {
        self.attempts += 1;
        self.settle_time(now);
        self.under_way = UnderWay::Calling(now);
        self.last = Some((decision.upstream.spec.id.clone(), decision.strategy, decision.reason));
        let after = self.failures.last().map(|failure| (failure.upstream.clone(), failure.kind));
        Attempt::new(decision, after, self.prompt_estimate, self.subject.clone(), self.sink.clone(), now)
    }

    /// The request waits for another chance.
    pub(crate) fn waits(&mut self, now: Instant) {
        self.settle_time(now);
        self.under_way = UnderWay::Waiting(now);
    }

    /// Books the time of what was under way.
    fn settle_time(&mut self, now: Instant) {
        match std::mem::replace(&mut self.under_way, UnderWay::Deciding) {
            UnderWay::Deciding => {}
            UnderWay::Calling(since) => self.upstream_time += now.duration_since(since),
            UnderWay::Waiting(since) => self.wait_time += now.duration_since(since),
        }
    }

    /// An attempt failed.
    pub(crate) fn failed(&mut self, attempt: &mut Attempt, error: &Error, now: Instant) {
        let (stream, probe) = (self.subject.stream, attempt.probe);
        let upstream = attempt.upstream.clone();
        let is_cold = error.kind == ErrorKind::Timeout(Phase::FirstToken) && upstream.is_down(now);
        // A probe is believed at once: its upstream was in doubt already, and others wait for what it finds.
        let is_doubtful = error.may_be_poison() && !probe;
        // What the router itself has no memory for says nothing of the upstream.
        let is_ours = error.kind == ErrorKind::NoMemory;
        // What is repeated at once says something only by how the repeat ends.
        if error.again.is_some() || is_cold || is_ours {
            upstream.released(probe);
        } else if is_doubtful && self.first_token.is_some() {
            // The request is over with this.
            let origin = Origin { by: self.fingerprint, began: attempt.started };
            let failure = upstream::Doubtful { origin, at: now, is_amid: true, stream };
            upstream.suspected(&failure, now, &mut self.rng);
        } else if is_doubtful {
            upstream.noted(self.fingerprint, now);
            self.suspicions.push(Suspicion { upstream, began: attempt.started, at: now });
        } else {
            let failure = upstream::Failure { error, by: self.fingerprint, began: attempt.started, probe, stream };
            upstream.failed(&failure, now, &mut self.rng);
            self.failed_otherwise |= !error.kind.is_refusal();
        }
        attempt.identified(&error.ids);
        let duration = now.duration_since(attempt.started);
        self.settle_time(now);
        self.failures.push(Failure {
            upstream: attempt.upstream.spec.id.clone(),
            kind: error.kind,
            status: error.status,
            ids: attempt.ids.clone(),
            duration,
        });
        attempt.end(Outcome::Failed(error.kind), now);
    }

    /// The answer is committed: the request is over for those that failed before.
    pub(crate) fn committed(&mut self, now: Instant) {
        self.first_token = Some(now.duration_since(self.started));
        self.suspect(now);
    }

    /// Each upstream that failed in a way that may have been the request's fault is suspected.
    fn suspect(&mut self, now: Instant) {
        let stream = self.subject.stream;
        for Suspicion { upstream, began, at } in std::mem::take(&mut self.suspicions) {
            let failure =
                upstream::Doubtful { origin: Origin { by: self.fingerprint, began }, at, is_amid: false, stream };
            upstream.suspected(&failure, now, &mut self.rng);
        }
    }

    /// Whether every attempt was refused or failed in a way that may be the request's fault, and each upstream that it failed at
    /// has served a different request since.
    fn is_at_fault(&self) -> bool {
        let is_cleared = |upstream: &Arc<Upstream>| {
            let mut failures = self.suspicions.iter().filter(|it| Arc::ptr_eq(&it.upstream, upstream));
            failures.any(|it| upstream.has_served_another(self.fingerprint, it.at))
        };
        !self.failed_otherwise
            && !self.suspicions.is_empty()
            && self.suspicions.iter().all(|suspicion| is_cleared(&suspicion.upstream))
    }

    /// Whether it is at fault so often that another repeat is not worth its price.
    pub(crate) fn is_poison(&self) -> bool {
        self.suspicions.len() >= CONVINCING && self.is_at_fault()
    }

    /// No attempt succeeded; `error` is what the client is told, if there was any attempt. Returns whether the request is
    /// the one to blame although no upstream says so.
    pub(crate) fn gave_up(&mut self, error: Option<&Error>, now: Instant) -> bool {
        let is_at_fault = self.is_at_fault();
        let was_refused = error.is_some_and(|error| error.kind == ErrorKind::InvalidRequest);
        if was_refused || is_at_fault {
            self.suspicions.clear();
        }
        self.suspect(now);
        is_at_fault
    }

    /// The request is over. Returns what must be done before the end of a complete answer is released.
    pub(crate) fn end(
        &mut self,
        outcome: RequestOutcome,
        serving: Option<&Attempt>,
        now: Instant,
    ) -> Option<BoxFuture<'static, ()>> {
        self.ended = true;
        let (upstream, strategy, reason) = self
            .last
            .take()
            .map_or((None, None, None), |(upstream, strategy, reason)| (Some(upstream), Some(strategy), Some(reason)));
        self.settle_time(now);
        let ended = RequestEnded {
            subject: self.subject.clone(),
            outcome,
            attempts: self.attempts,
            failures: std::mem::take(&mut self.failures),
            upstream,
            ids: serving.map(|attempt| attempt.ids.clone()).unwrap_or_default(),
            strategy,
            reason,
            usage: serving.and_then(|attempt| attempt.usage),
            cost: serving.and_then(Attempt::cost),
            estimate: serving.and_then(|attempt| attempt.estimate(outcome.of_attempt())),
            policies: self.model.as_ref().map(|model| model.policies.clone()).unwrap_or_default(),
            first_token: self.first_token,
            upstream_time: self.upstream_time,
            wait_time: self.wait_time,
            duration: now.duration_since(self.started),
            config_version: self.config_version.clone(),
        };
        self.sink.observer.on(&Event::RequestEnded(&ended));
        if outcome == RequestOutcome::Served { self.sink.observer.settle(&ended) } else { None }
    }
}

impl Drop for Journey {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        drop(self.end(self.sink.dropped_request(), None, Instant::now()));
    }
}

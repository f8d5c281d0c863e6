//! One request on its way through attempts: counts them, judges what their failures say about health, and tells once how
//! the request ended, even if it is dropped.
//!
//! A 500 may be the fault of the request (a real vLLM answers some bad input so). Such a failure is kept as a suspicion until
//! the request is over: another upstream served it, and the first was at fault; another refused it as bad input, or every
//! upstream failed alike while other requests went well, and it was poison.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use provider::{Error, ErrorKind, Phase};
use rand::rngs::SmallRng;
use tokio::time::Instant;

use crate::{
    attempt::Attempt,
    event::{Event, Observer, Outcome, Reason, RequestEnded, RequestOutcome, Subject},
    table::Model,
    upstream::Upstream,
};

/// Other requests must have gone well this recently for a request to pass as poison.
const RECENTLY: Duration = Duration::from_secs(5);

/// A failure that may be the request's own fault.
struct Suspicion {
    upstream: Arc<Upstream>,
    error: Error,
}

/// A request on its way.
pub(crate) struct Journey {
    pub(crate) subject: Arc<Subject>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) rng: SmallRng,
    pub(crate) attempts: u32,
    pub(crate) started: Instant,
    model: Option<Arc<Model>>,
    /// The upstream of the latest attempt, and why it was chosen.
    last: Option<(Arc<Upstream>, Reason)>,
    suspicions: Vec<Suspicion>,
    /// Whether an attempt failed in a way that cannot be the request's fault.
    failed_otherwise: bool,
    first_token: Option<Duration>,
    ended: bool,
}

impl Journey {
    pub(crate) fn new(
        subject: Arc<Subject>,
        observer: Arc<dyn Observer>,
        model: Option<Arc<Model>>,
        rng: SmallRng,
        now: Instant,
    ) -> Self {
        Self {
            subject,
            observer,
            rng,
            attempts: 0,
            started: now,
            model,
            last: None,
            suspicions: Vec::new(),
            failed_otherwise: false,
            first_token: None,
            ended: false,
        }
    }

    /// An attempt on `upstream` begins.
    pub(crate) fn begin(&mut self, upstream: Arc<Upstream>, probe: bool, reason: Reason, now: Instant) -> Attempt {
        self.attempts += 1;
        self.last = Some((upstream.clone(), reason));
        Attempt::new(upstream, probe, reason, self.subject.clone(), self.observer.clone(), now)
    }

    /// An attempt failed.
    pub(crate) fn failed(&mut self, attempt: &mut Attempt, error: &Error, now: Instant) {
        let (stream, probe) = (self.subject.stream, attempt.probe);
        let upstream = attempt.upstream.clone();
        let is_cold =
            error.kind == ErrorKind::Timeout(Phase::FirstToken) && upstream.capacity(now).is_ready() == Some(false);
        self.failed_otherwise |= !error.may_be_poison();
        // A probe is believed at once: its upstream was in doubt already, and others wait for what it finds.
        if error.may_be_poison() && !probe {
            self.suspicions.push(Suspicion { upstream, error: error.clone() });
        } else if is_cold {
            upstream.released(probe);
        } else {
            upstream.failed(error, probe, stream, now, &mut self.rng);
        }
        attempt.end(Outcome::Failed(error.kind), now);
    }

    /// The answer is committed: what went before it was not the request's fault.
    pub(crate) fn committed(&mut self, now: Instant) {
        self.first_token = Some(now.duration_since(self.started));
        for suspicion in std::mem::take(&mut self.suspicions) {
            self.charge(&suspicion, now);
        }
    }

    /// No attempt succeeded; `error` is what the client is told, if there was any attempt.
    pub(crate) fn gave_up(&mut self, error: Option<&Error>, now: Instant) {
        let suspicions = std::mem::take(&mut self.suspicions);
        let others_went_well = || {
            let since = self.started.checked_sub(RECENTLY);
            since.is_some_and(|since| suspicions.iter().any(|suspicion| suspicion.upstream.succeeded_since(since)))
        };
        let failed_alike = !self.failed_otherwise && others_went_well();
        let refused = error.is_some_and(|error| match error.kind {
            ErrorKind::InvalidRequest | ErrorKind::ContextOverflow | ErrorKind::Unsupported => true,
            ErrorKind::Auth
            | ErrorKind::NotFound
            | ErrorKind::RateLimited
            | ErrorKind::Overloaded
            | ErrorKind::Connect
            | ErrorKind::Timeout(_)
            | ErrorKind::Unavailable
            | ErrorKind::Interrupted
            | ErrorKind::Protocol => false,
        });
        if !(refused || failed_alike) {
            for suspicion in &suspicions {
                self.charge(suspicion, now);
            }
        }
    }

    fn charge(&mut self, suspicion: &Suspicion, now: Instant) {
        suspicion.upstream.failed(&suspicion.error, false, self.subject.stream, now, &mut self.rng);
    }

    /// The request is over. Returns what must be done before the end of a complete answer is released.
    pub(crate) fn end(
        &mut self,
        outcome: RequestOutcome,
        serving: Option<&Attempt>,
        now: Instant,
    ) -> Option<BoxFuture<'static, ()>> {
        self.ended = true;
        let usage = serving.and_then(|attempt| attempt.usage);
        let baseline =
            self.model.as_ref().and_then(|model| model.baseline.as_ref()?.spec.tariff.as_ref()?.list_price());
        let ended = RequestEnded {
            subject: self.subject.clone(),
            outcome,
            attempts: self.attempts,
            upstream: self.last.as_ref().map(|(upstream, _)| upstream.spec.id.clone()),
            reason: self.last.as_ref().map(|(_, reason)| *reason),
            usage,
            cost: serving.and_then(Attempt::cost),
            baseline_cost: baseline.zip(usage).map(|(price, usage)| price.cost(&usage)),
            first_token: self.first_token,
            duration: now.duration_since(self.started),
        };
        self.observer.on(&Event::RequestEnded(&ended));
        if outcome == RequestOutcome::Served { self.observer.settle(&ended) } else { None }
    }
}

impl Drop for Journey {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        drop(self.end(RequestOutcome::ClientGone, None, Instant::now()));
    }
}

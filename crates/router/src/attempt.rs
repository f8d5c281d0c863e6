//! The guard of one call to one upstream: it holds the place in flight, and says once how the call ended, even if it is dropped.

use std::{sync::Arc, time::Duration};

use provider::{NanoUsd, Usage};
use tokio::time::Instant;

use crate::{
    event::{AttemptEnded, Event, Outcome, Reason, Subject, Teller},
    upstream::Upstream,
};

/// A call in progress.
pub(crate) struct Attempt {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) started: Instant,
    /// Whether it is a half-open breaker's probe.
    pub(crate) probe: bool,
    pub(crate) reason: Reason,
    first_token: Option<Duration>,
    pub(crate) usage: Option<Usage>,
    subject: Arc<Subject>,
    teller: Arc<Teller>,
    ended: bool,
}

impl Attempt {
    /// A call that `upstream` has let in begins.
    pub(crate) fn new(
        upstream: Arc<Upstream>,
        probe: bool,
        reason: Reason,
        subject: Arc<Subject>,
        teller: Arc<Teller>,
        now: Instant,
    ) -> Self {
        Self { upstream, started: now, probe, reason, first_token: None, usage: None, subject, teller, ended: false }
    }

    /// The first token came.
    pub(crate) fn first_token(&mut self, now: Instant) {
        let after = now.duration_since(self.started);
        self.first_token = Some(after);
        self.upstream.first_token(self.subject.stream, std::mem::take(&mut self.probe), after, now);
    }

    /// Whether the upstream had as long as a stream may take to begin, and nobody got anything from it meanwhile. What
    /// runs into the request's deadline otherwise may just be long.
    pub(crate) fn is_stuck(&self, now: Instant) -> bool {
        now.duration_since(self.started) >= self.upstream.spec.timeouts.first_token
            && !self.upstream.succeeded_since(self.started)
    }

    /// The list price of what the upstream counted.
    pub(crate) fn cost(&self) -> Option<NanoUsd> {
        let price = self.upstream.spec.tariff.as_ref()?.list_price()?;
        Some(price.cost(&self.usage?))
    }

    /// The call is over. What that says about health is the caller's to judge.
    pub(crate) fn end(&mut self, outcome: Outcome, now: Instant) {
        self.ended = true;
        self.upstream.end();
        self.teller.observer.on(&Event::AttemptEnded(&AttemptEnded {
            subject: self.subject.clone(),
            upstream: self.upstream.spec.id.clone(),
            reason: self.reason,
            outcome,
            usage: self.usage,
            cost: self.cost(),
            first_token: self.first_token,
            duration: now.duration_since(self.started),
        }));
    }

    /// The client left or the router stopped, unless the call is over.
    pub(crate) fn abandon(&mut self, now: Instant) {
        if !self.ended {
            self.upstream.released(self.probe);
            self.end(self.teller.dropped_attempt(), now);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.abandon(Instant::now());
    }
}

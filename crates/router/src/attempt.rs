//! The guard of one call to one upstream: it holds the place in flight, and says once how the call ended, even if it is dropped.

use std::{sync::Arc, time::Duration};

use provider::{ErrorKind, Frame, FrameKind, NanoUsd, ReplyHead, UpstreamId, UpstreamIds, Usage};
use tokio::time::Instant;

use crate::{
    event::{AttemptEnded, Estimate, Event, EventSink, Outcome, Reason, Role, Route, Subject, Unreported},
    strategy::StrategyName,
    upstream::{Origin, Upstream},
};

/// Bytes of a token in a whole answer, its JSON included; only for answers that do not count their tokens.
const BYTES_PER_TOKEN: u64 = 4;

/// Why an upstream is called.
pub(crate) struct Decision {
    pub(crate) upstream: Arc<Upstream>,
    /// Whether the call is a half-open breaker's probe.
    pub(crate) probe: bool,
    pub(crate) role: Role,
    pub(crate) strategy: StrategyName,
    pub(crate) reason: Reason,
}

/// A call in progress.
pub(crate) struct Attempt {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) started: Instant,
    /// Whether it is a half-open breaker's probe.
    pub(crate) probe: bool,
    pub(crate) reason: Reason,
    role: Role,
    strategy: StrategyName,
    after: Option<(UpstreamId, ErrorKind)>,
    first_token: Option<Duration>,
    /// Whether the head of an answer came.
    has_reply: bool,
    pub(crate) usage: Option<Usage>,
    /// What the upstream calls the call.
    pub(crate) ids: UpstreamIds,
    /// Tokens of the prompt, by its size.
    prompt_estimate: u64,
    /// Tokens of the answer, by its pieces.
    answer_estimate: u64,
    subject: Arc<Subject>,
    sink: Arc<EventSink>,
    ended: bool,
}

impl Attempt {
    /// A call that its upstream has let in begins; `after` is what failed just before.
    pub(crate) fn new(
        decision: Decision,
        after: Option<(UpstreamId, ErrorKind)>,
        prompt_estimate: u64,
        subject: Arc<Subject>,
        sink: Arc<EventSink>,
        now: Instant,
    ) -> Self {
        let Decision { upstream, probe, role, strategy, reason } = decision;
        Self {
            upstream,
            started: now,
            probe,
            reason,
            role,
            strategy,
            after,
            first_token: None,
            has_reply: false,
            usage: None,
            ids: UpstreamIds::default(),
            prompt_estimate,
            answer_estimate: 0,
            subject,
            sink,
            ended: false,
        }
    }

    /// The first token came, of the request `by`.
    pub(crate) fn first_token(&mut self, by: Option<u64>, now: Instant) {
        self.first_token = Some(now.duration_since(self.started));
        self.upstream.first_token(self.origin(by), self.subject.stream, std::mem::take(&mut self.probe), now);
    }

    /// The call as one of the request `by`.
    pub(crate) fn origin(&self, by: Option<u64>) -> Origin {
        Origin { by, began: self.started }
    }

    /// The head of an answer came: from now on the upstream works.
    pub(crate) fn replied(&mut self, head: &ReplyHead) {
        self.has_reply = true;
        self.identified(&head.ids);
    }

    /// The upstream said what it calls the call. An error that says nothing of it leaves what the head said.
    pub(crate) fn identified(&mut self, ids: &UpstreamIds) {
        self.ids = ids.or(&self.ids);
    }

    /// A piece of the answer came.
    pub(crate) fn heard(&mut self, frame: &Frame) {
        self.usage = frame.usage.or(self.usage);
        self.answer_estimate += match frame.kind {
            FrameKind::Content => 1,
            // The bytes of embeddings are no tokens.
            FrameKind::Whole if self.subject.route == Route::Embeddings => 0,
            FrameKind::Whole => frame.bytes.len() as u64 / BYTES_PER_TOKEN,
            FrameKind::Opening | FrameKind::Finish | FrameKind::Usage | FrameKind::Done => 0,
        };
    }

    /// Whether the upstream had as long as a stream may take to begin, and nobody got anything from it meanwhile. What
    /// runs into the request's deadline otherwise may just be long.
    pub(crate) fn is_stuck(&self, now: Instant) -> bool {
        now.duration_since(self.started) >= self.upstream.spec.timeouts.first_token
            && !self.upstream.succeeded_since(self.started)
    }

    /// The list price of what the upstream counted.
    pub(crate) fn cost(&self) -> Option<NanoUsd> {
        self.price(&self.usage?)
    }

    fn price(&self, usage: &Usage) -> Option<NanoUsd> {
        Some(self.upstream.spec.tariff.as_ref()?.list_price()?.cost(usage))
    }

    /// What the call probably used if it ended so, unless the upstream said or did nothing.
    pub(crate) fn estimate(&self, outcome: Outcome) -> Option<Estimate> {
        if self.usage.is_some() {
            return None;
        }
        let has_answered = self.answer_estimate > 0;
        let reason = match outcome {
            Outcome::Served => Unreported::Missing,
            Outcome::ClientGone => Unreported::ClientGone,
            // Whoever is cut off amid its work may bill it; a refusal is not work.
            Outcome::Stopped | Outcome::Failed(ErrorKind::Timeout(_) | ErrorKind::Interrupted) => Unreported::Broken,
            // An answer for which the router has no memory was worked for all the same.
            Outcome::Failed(ErrorKind::NoMemory) if self.has_reply => Unreported::Broken,
            Outcome::Failed(_) if has_answered => Unreported::Broken,
            Outcome::Failed(_) => return None,
        };
        let usage =
            Usage { prompt_tokens: self.prompt_estimate, completion_tokens: self.answer_estimate, ..Usage::default() };
        Some(Estimate { reason, usage, cost: self.price(&usage) })
    }

    /// The call is over. What that says about health is the caller's to judge.
    pub(crate) fn end(&mut self, outcome: Outcome, now: Instant) {
        self.ended = true;
        self.upstream.end(now);
        self.sink.observer.on(&Event::AttemptEnded(&AttemptEnded {
            subject: self.subject.clone(),
            upstream: self.upstream.spec.id.clone(),
            role: self.role,
            after: self.after.take(),
            strategy: self.strategy,
            reason: self.reason,
            outcome,
            usage: self.usage,
            cost: self.cost(),
            estimate: self.estimate(outcome),
            ids: self.ids.clone(),
            first_token: self.first_token,
            duration: now.duration_since(self.started),
        }));
    }

    /// The client left or the router stopped, unless the call is over.
    pub(crate) fn abandon(&mut self, now: Instant) {
        if !self.ended {
            self.upstream.released(self.probe);
            self.end(self.sink.dropped_attempt(), now);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.abandon(Instant::now());
    }
}

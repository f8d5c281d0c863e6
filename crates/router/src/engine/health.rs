//! How the events of an attempt change its upstream's health, and which failures are attributed to the request instead.

use provider::{Error, ErrorKind, Phase, Quota, Time};
use rand::Rng;

use super::{Engine, fallback::patience};
use crate::{
    facts::Facts,
    request::{Attempt, RequestState, UnattributedAttempt},
    upstream::{Call, Origin, UnattributedFailure, Upstream},
};

/// A request that failed this often, while others succeeded, is poison: it causes its failures itself. Fewer failures
/// may be chance, such as a worker that dies.
const MIN_FAILURES_OF_POISON: usize = 2;

impl Engine {
    /// Content came: the answer is committed to the attempt. `quota` is the rate-limit status in the upstream's answer.
    pub fn first_token(&mut self, request: &mut RequestState, quota: Quota, now: Time, rng: &mut dyn Rng) {
        let Some(Attempt { target, started, .. }) = request.attempt else { return };
        let (origin, stream) = (request.origin(started), request.facts.stream);
        let Some(call) = &mut request.call else { return };
        let upstream = &request.model.targets()[target];
        self.state(upstream).first_token(&upstream.spec, (call, origin), (quota, stream), now);
        self.offer_room(upstream, now);
        request.is_committed = true;
        if let Some(conversation) = request.facts.conversation {
            self.model(&request.model).answered_turn(conversation, target, now);
        }
        if let Some(slo) = request.model.spec.slo_first_token.filter(|_| stream) {
            self.model(&request.model).answered(now - request.arrived > slo);
        }
        self.record_unattributed(request, now, rng);
    }

    /// The answer is complete; it had so many tokens, if that is known.
    pub fn served(&mut self, request: &mut RequestState, completion_tokens: Option<u64>, now: Time) {
        let Some((Attempt { target, started, .. }, call)) = request.take_call() else { return };
        let upstream = &request.model.targets()[target];
        let said = (completion_tokens, request.facts.stream);
        self.state(upstream).succeeded(&upstream.spec, (&call, request.origin(started)), said, now);
        self.offer_room(upstream, now);
        if let Some(tokens) = completion_tokens.filter(|_| request.facts.operation.generates()) {
            let Facts { prompt_tokens, choices, .. } = request.facts;
            self.model(&request.model).lengths.record(prompt_tokens, tokens / choices.max(1));
        }
    }

    /// The answer failed after content had come: the request is over.
    pub fn broke(&mut self, request: &mut RequestState, error: &Error, now: Time, rng: &mut dyn Rng) {
        let Some((attempt, call)) = request.take_call() else { return };
        self.judge(request, (attempt, call), error, now, rng);
        self.offer_room(&request.model.targets()[attempt.target], now);
    }

    /// The client left. That is no evidence about the upstream.
    pub fn left(&mut self, request: &mut RequestState, now: Time) {
        self.release(request, now);
        for called in [request.rival.take(), request.take_call()].into_iter().flatten() {
            self.give_back(request, called, now);
        }
    }

    /// A call is cancelled. That is no evidence about its upstream.
    pub(super) fn give_back(&mut self, request: &RequestState, called: (Attempt, Call), now: Time) {
        let (Attempt { target, .. }, mut call) = called;
        let upstream = &request.model.targets()[target];
        self.state(upstream).released(&upstream.spec, &mut call, now);
        self.offer_room(upstream, now);
    }

    /// Whether the attempt's upstream has an unattributed failure that a success could clear. If so, a success must be
    /// identified, because only one of a different request clears it.
    pub fn has_unattributed_failure(&mut self, request: &RequestState) -> bool {
        let Some(attempt) = &request.attempt else { return false };
        self.state(&request.model.targets()[attempt.target]).has_unattributed_failure()
    }

    /// Whether to log that an upstream refuses requests in a way that may be a mistake of the configuration: the first
    /// such refusal, and at most one a minute. If so, the refusal counts as logged.
    pub fn should_log_refusal(&mut self, upstream: &Upstream, error: &Error, now: Time) -> bool {
        error.kind == ErrorKind::Refused && error.again.is_none() && self.state(upstream).should_log_refusal(now)
    }

    /// A call failed and is over: attributes the failure.
    pub(super) fn judge(
        &mut self,
        request: &mut RequestState,
        (attempt, mut call): (Attempt, Call),
        error: &Error,
        now: Time,
        rng: &mut dyn Rng,
    ) {
        let Attempt { target, started, .. } = attempt;
        let origin = request.origin(started);
        let was_cut_short = was_cut_short(request, &attempt, error.kind, now);
        let is_no_evidence = was_cut_short && !self.is_unresponsive(request, &attempt, now);
        let upstream = &request.model.targets()[target];
        let is_probe = call.is_probe;
        let state = self.state(upstream);
        let is_overdue = error.kind == ErrorKind::Timeout(Phase::FirstToken);
        let is_cold = state.is_cold(now);
        if was_cut_short && !is_cold && state.had_time(&attempt.needs, request.facts.stream, started, now) {
            state.cut_short(started, now);
        }
        // A probe's failure counts at once: its upstream has failed already, and other requests wait for the result.
        let is_unattributed = error.may_be_poison() && !is_probe;
        // What the router itself ended is not the upstream's failure.
        // Where the call is repeated at once, only the end of the repeat is evidence.
        if error.again.is_some() || is_overdue && (is_cold || is_no_evidence) || error.kind.is_ours() {
            state.released(&upstream.spec, &mut call, now);
        } else if is_unattributed && request.is_committed {
            // Content has come, so the request is not repeated: it is over.
            state.record_unattributed(&UnattributedFailure { origin, at: now, has_content: true }, now, rng);
            state.released(&upstream.spec, &mut call, now);
        } else if is_unattributed {
            state.failed_unattributed(&upstream.spec, &mut call, origin.by, now);
            request.unattributed.push(UnattributedAttempt { target, began: started, at: now });
        } else {
            state.failed(&upstream.spec, (&mut call, origin), error, now, rng);
            request.failed_otherwise |= !error.kind.is_refusal();
        }
    }

    /// The request is over: records its unattributed failures at the upstreams that they happened at.
    fn record_unattributed(&mut self, request: &mut RequestState, now: Time, rng: &mut dyn Rng) {
        for UnattributedAttempt { target, began, at } in std::mem::take(&mut request.unattributed) {
            let origin = Origin { by: request.fingerprint, began };
            let failure = UnattributedFailure { origin, at, has_content: false };
            self.state(&request.model.targets()[target]).record_unattributed(&failure, now, rng);
        }
    }

    /// Whether every attempt was refused or failed in a way that the request may have caused, and each upstream that
    /// failed it has served a different request since.
    fn is_at_fault(&mut self, request: &RequestState) -> bool {
        let targets = request.model.targets();
        let failures = &request.unattributed;
        let mut is_cleared = |failure: &UnattributedAttempt| {
            let upstream = &targets[failure.target];
            let state = self.state(upstream);
            let mut failures = failures.iter().filter(|it| targets[it.target].key == upstream.key);
            failures.any(|it| state.has_served_other_request_since(request.fingerprint, it.at))
        };
        !request.failed_otherwise && !failures.is_empty() && failures.iter().all(&mut is_cleared)
    }

    /// Whether it caused so many failures that another repeat is not worth its price.
    pub(super) fn is_poison(&mut self, request: &RequestState) -> bool {
        request.unattributed.len() >= MIN_FAILURES_OF_POISON && self.is_at_fault(request)
    }

    /// No attempt succeeded; `error` is the one that the client gets, if there was any attempt. Returns whether the
    /// failures are attributed to the request although no upstream refused it as bad input.
    pub(super) fn close_unattributed_failures(
        &mut self,
        request: &mut RequestState,
        error: Option<&Error>,
        now: Time,
        rng: &mut dyn Rng,
    ) -> bool {
        let is_at_fault = self.is_at_fault(request);
        let was_refused = error.is_some_and(|error| error.kind == ErrorKind::InvalidRequest);
        if was_refused || is_at_fault {
            request.unattributed.clear();
        }
        self.record_unattributed(request, now, rng);
        is_at_fault
    }
}

/// Whether the attempt had less time for its first token than others have, because the request's deadline is before the model's own.
fn was_cut_short(request: &RequestState, attempt: &Attempt, kind: ErrorKind, now: Time) -> bool {
    let upstream = &request.model.targets()[attempt.target];
    matches!(kind, ErrorKind::Timeout(Phase::FirstToken | Phase::Deadline))
        && request.is_hurried
        && !request.is_committed
        && now - attempt.started < patience(upstream, &request.facts)
}

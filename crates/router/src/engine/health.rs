//! What the course of an attempt says about its upstream: which events move health, and which are the request's own fault.

use provider::{Error, ErrorKind, Phase, Quota, Time};
use rand::Rng;

use super::Engine;
use crate::{
    facts::Facts,
    request::{Attempt, RequestState, Suspicion},
    upstream::{Doubtful, Origin},
};

/// One failure may be chance: a worker that dies, say. So many, all while other requests went well, are not.
const CONVINCING: usize = 2;

impl Engine {
    /// Content came: the answer is committed to the attempt. `quota` is what the upstream said of our allowance.
    pub fn first_token(&mut self, request: &mut RequestState, quota: Quota, now: Time, rng: &mut dyn Rng) {
        let Some(Attempt { target, started, .. }) = request.attempt else { return };
        let (origin, stream) = (request.origin(started), request.facts.stream);
        let Some(call) = &mut request.call else { return };
        let upstream = &request.model.targets()[target];
        self.state(upstream).first_token(&upstream.spec, (call, origin), (quota, stream), now);
        request.is_committed = true;
        if let Some(slo) = request.model.spec.slo_first_token.filter(|_| stream) {
            self.model(&request.model).answered(now - request.arrived > slo);
        }
        self.suspect(request, now, rng);
    }

    /// The answer is complete; it had so many tokens, if that is known.
    pub fn served(&mut self, request: &mut RequestState, completion_tokens: Option<u64>, now: Time) {
        let Some((Attempt { target, started, .. }, call)) = request.attempt.take().zip(request.call.take()) else {
            return;
        };
        let upstream = &request.model.targets()[target];
        let said = (completion_tokens, request.facts.stream);
        self.state(upstream).succeeded(&upstream.spec, (&call, request.origin(started)), said, now);
        if let Some(tokens) = completion_tokens {
            let Facts { prompt_tokens, choices, .. } = request.facts;
            self.model(&request.model).lengths.record(prompt_tokens, tokens / choices.max(1));
        }
    }

    /// The answer failed after content had come: the request is over.
    pub fn broke(&mut self, request: &mut RequestState, error: &Error, now: Time, rng: &mut dyn Rng) {
        let _ended = self.judge(request, error, now, rng);
    }

    /// Nobody waits for the answer any more: that says nothing about the upstream.
    pub fn left(&mut self, request: &mut RequestState, now: Time) {
        self.release(request);
        let Some((Attempt { target, .. }, mut call)) = request.attempt.take().zip(request.call.take()) else { return };
        let upstream = &request.model.targets()[target];
        self.state(upstream).released(&upstream.spec, &mut call, now);
    }

    /// Whether the attempt's upstream has failed in a way about which the next success decides: then it matters whose that is.
    pub fn is_in_doubt(&mut self, request: &RequestState) -> bool {
        let Some(attempt) = &request.attempt else { return false };
        self.state(&request.model.targets()[attempt.target]).is_in_doubt()
    }

    /// Whether operators should be told that the attempt's upstream refuses requests in a way that may be a mistake of the
    /// configuration: of the first such refusal, and of one a minute. If so, they count as told.
    pub fn is_refusal_news(&mut self, request: &RequestState, error: &Error, now: Time) -> bool {
        let Some(attempt) = &request.attempt else { return false };
        error.kind == ErrorKind::Refused
            && error.again.is_none()
            && self.state(&request.model.targets()[attempt.target]).is_refusal_news(now)
    }

    /// The attempt failed and is over: decides what that says about its upstream. Returns it, if there was one.
    pub(super) fn judge(
        &mut self,
        request: &mut RequestState,
        error: &Error,
        now: Time,
        rng: &mut dyn Rng,
    ) -> Option<Attempt> {
        let (attempt, mut call) = request.attempt.take().zip(request.call.take())?;
        let Attempt { target, started, .. } = attempt;
        let origin = request.origin(started);
        let upstream = &request.model.targets()[target];
        let is_probe = call.is_probe;
        let state = self.state(upstream);
        let is_cold = error.kind == ErrorKind::Timeout(Phase::FirstToken) && state.is_cold(now);
        // A probe is believed at once: its upstream was in doubt already, and others wait for what it finds.
        let is_doubtful = error.may_be_poison() && !is_probe;
        // What the router itself has no memory for says nothing of the upstream.
        let is_ours = error.kind == ErrorKind::NoMemory;
        // What is repeated at once says something only by how the repeat ends.
        if error.again.is_some() || is_cold || is_ours {
            state.released(&upstream.spec, &mut call, now);
        } else if is_doubtful && request.is_committed {
            // The request is over with this.
            state.suspected(&Doubtful { origin, at: now, is_amid: true }, now, rng);
            state.released(&upstream.spec, &mut call, now);
        } else if is_doubtful {
            state.noted(&upstream.spec, &mut call, origin.by, now);
            request.suspicions.push(Suspicion { target, began: started, at: now });
        } else {
            state.failed(&upstream.spec, (&mut call, origin), error, now, rng);
            request.failed_otherwise |= !error.kind.is_refusal();
        }
        Some(attempt)
    }

    /// Each upstream that failed in a way that may have been the request's fault is suspected.
    fn suspect(&mut self, request: &mut RequestState, now: Time, rng: &mut dyn Rng) {
        for Suspicion { target, began, at } in std::mem::take(&mut request.suspicions) {
            let origin = Origin { by: request.fingerprint, began };
            let failure = Doubtful { origin, at, is_amid: false };
            self.state(&request.model.targets()[target]).suspected(&failure, now, rng);
        }
    }

    /// Whether every attempt was refused or failed in a way that may be the request's fault, and each upstream that it failed at
    /// has served a different request since.
    fn is_at_fault(&mut self, request: &RequestState) -> bool {
        let targets = request.model.targets();
        let suspicions = &request.suspicions;
        let mut is_cleared = |suspicion: &Suspicion| {
            let upstream = &targets[suspicion.target];
            let state = self.state(upstream);
            let mut failures = suspicions.iter().filter(|it| targets[it.target].key == upstream.key);
            failures.any(|it| state.has_served_another(request.fingerprint, it.at))
        };
        !request.failed_otherwise && !suspicions.is_empty() && suspicions.iter().all(&mut is_cleared)
    }

    /// Whether it is at fault so often that another repeat is not worth its price.
    pub(super) fn is_poison(&mut self, request: &RequestState) -> bool {
        request.suspicions.len() >= CONVINCING && self.is_at_fault(request)
    }

    /// No attempt succeeded; `error` is what the client is told, if there was any attempt. Returns whether the request is
    /// the one to blame although no upstream says so.
    pub(super) fn close_suspicions(
        &mut self,
        request: &mut RequestState,
        error: Option<&Error>,
        now: Time,
        rng: &mut dyn Rng,
    ) -> bool {
        let is_at_fault = self.is_at_fault(request);
        let was_refused = error.is_some_and(|error| error.kind == ErrorKind::InvalidRequest);
        if was_refused || is_at_fault {
            request.suspicions.clear();
        }
        self.suspect(request, now, rng);
        is_at_fault
    }
}

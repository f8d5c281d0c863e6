//! Requests with two calls under way.

use provider::{Error, Time};

use super::{Driver, Live};
use crate::policy::{Actions, AttemptId, RequestId};

impl Driver {
    /// The time for a second call has come.
    pub(super) fn hedge(&mut self, request: RequestId, actions: &mut Actions<'_>) {
        let Some(state) = &mut self.requests[request.index()].state else { return };
        let Some(start) = self.engine.hedge(state, Time::from_nanos(actions.now())) else { return };
        let rival = self.call(request, &start, actions);
        self.requests[request.index()].rival = Some(rival);
    }

    /// The first token of `winner` came. If another call is under way, that is cancelled.
    pub(super) fn won(&mut self, request: RequestId, winner: AttemptId, actions: &mut Actions<'_>) {
        let Live { state: Some(state), attempt, rival, .. } = &mut self.requests[request.index()] else { return };
        let (Some(first), Some(second)) = (*attempt, rival.take()) else { return };
        let (loser, target) = if winner == second { (first, state.rival()) } else { (second, state.attempt()) };
        let Some(target) = target.map(|attempt| attempt.target) else { return };
        *attempt = Some(winner);
        actions.cancel(loser);
        self.engine.won(state, target, Time::from_nanos(actions.now()));
    }

    /// `failed`, one of two calls under way, failed before its first token.
    pub(super) fn one_failed(&mut self, request: RequestId, failed: AttemptId, error: Error, now: Time) {
        let Live { state: Some(state), attempt, rival, .. } = &mut self.requests[request.index()] else { return };
        let Some(second) = rival.take() else { return };
        let called = if failed == second { state.rival() } else { state.attempt() };
        let Some(target) = called.map(|attempt| attempt.target) else { return };
        if failed != second {
            *attempt = Some(second);
        }
        self.engine.one_failed(state, target, error, now, &mut self.rng);
    }
}

//! The actions of a policy.

use super::{Attempt, End, NEVER, NOBODY, Nanos, Plan, SimEvent, State, World};
use crate::policy::{AttemptId, RequestId};

impl World {
    pub(crate) fn start(&mut self, request: RequestId, upstream: usize) -> AttemptId {
        self.call(request.0, upstream)
    }

    pub(crate) fn warm_up(&mut self, upstream: usize) -> AttemptId {
        self.call(NOBODY, upstream)
    }

    fn call(&mut self, request: u32, upstream: usize) -> AttemptId {
        let attempt = AttemptId(u32::try_from(self.attempts.len()).unwrap_or(u32::MAX));
        let record = self.record(request);
        let ordinal = record.attempts;
        record.attempts += 1;
        let number = u16::try_from(upstream).unwrap_or(u16::MAX);
        self.attempts.push(Attempt { request, upstream: number, ordinal, state: State::Travelling });
        self.running += 1;
        let travel = self.upstreams[upstream].travel(&self.job(attempt));
        self.timeline.plan(self.now + travel, SimEvent::Reach(attempt));
        attempt
    }

    pub(crate) fn cancel(&mut self, attempt: AttemptId) {
        let Attempt { request, upstream, state, .. } = self.attempts[attempt.index()];
        match state {
            State::Over => return,
            State::There => {
                let mut plan = Plan { upstream, now: self.now, timeline: &mut self.timeline };
                let consumed = self.upstreams[usize::from(upstream)].cancel(attempt, &mut plan);
                self.waste(attempt, consumed.unwrap_or_else(|| self.job(attempt).consumed_whole()));
            }
            State::Travelling | State::Failing(_) => {}
        }
        self.over(attempt);
        let record = self.record(request);
        if record.serving == Some(attempt) && record.end.is_none() {
            (record.serving, record.first_token) = (None, NEVER);
        }
    }

    pub(crate) fn wake_at(&mut self, at: Nanos, token: u64) {
        self.timeline.plan(at.max(self.now), SimEvent::Wake(token));
    }

    pub(crate) fn give_up(&mut self, request: RequestId) {
        if self.records[request.index()].end.is_none() {
            self.close(request.0, End::GivenUp);
        }
    }
}

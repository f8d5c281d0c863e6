//! A request with two calls under way.

use provider::{Error, Request};
use router::{Attempt, Start};

use super::{RequestContext, Which};
use crate::{attempt::SharedIds, event::Outcome};

impl RequestContext {
    /// Where the ids in the head of the answer to the latest call are recorded, since another one may begin beside it.
    pub(crate) fn share_ids(&mut self) -> SharedIds {
        self.latest.as_mut().map(|call| call.progress.share_ids()).unwrap_or_default()
    }

    /// The latest attempt; while two calls are under way, the first of them.
    pub(crate) fn attempt(&self) -> Option<Attempt> {
        self.latest.as_ref().map(|call| call.attempt)
    }

    /// No content has come by the time of the second call. Returns the call, and where the ids in the head of its
    /// answer are recorded, if the engine begins one.
    pub(crate) fn hedge(&mut self) -> Option<(Start, SharedIds)> {
        let now = self.clock.now();
        let start = self.engine(|engine, state, _| engine.hedge(state, now))?;
        let mut call = Box::new(self.new_call(start.attempt));
        let shared_ids = call.progress.share_ids();
        self.rival = Some(call);
        Some((start, shared_ids))
    }

    /// One of two calls under way failed before content came; without an error, its limit was reached. The request goes
    /// on with the other one.
    pub(crate) fn one_failed(&mut self, which: Which, request: &Request, error: Option<Error>) {
        let now = self.clock.now();
        let Some(attempt) = self.call(which).map(|call| call.attempt) else { return };
        let error = error.unwrap_or_else(|| self.overdue(&attempt));
        self.end_failed(which, request, &error, now);
        self.engine(|engine, state, rng| engine.one_failed(state, attempt.target, error, now, rng));
        let rival = self.rival.take();
        if which == Which::First {
            self.latest = rival.map(|call| *call);
        }
    }

    /// The answer of a call begins. If another one was under way, that is cancelled.
    pub(crate) fn won(&mut self, which: Which) {
        let now = self.clock.now();
        let Some(second) = self.rival.as_deref_mut() else { return };
        if let (Which::Second, Some(first)) = (which, &mut self.latest) {
            std::mem::swap(first, second);
        }
        if let Some(winner) = self.attempt() {
            self.engine(|engine, state, _| engine.won(state, winner.target, now));
        }
        self.end_call(Which::Second, Outcome::Lost, now);
        self.rival = None;
    }
}

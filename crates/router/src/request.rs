//! The state of one request between its events.
//!
//! A 500 may be the fault of the request: a real vLLM answers some bad input so. Such a failure is kept as a suspicion until
//! the request is over. If another upstream refused it as bad input, or every attempt failed so (or was refused) and each
//! upstream that failed has served a different request since, the request was at fault: its client is told, and no upstream's
//! health moves. In all other cases the upstream is suspected (`doubt`).

use std::sync::Arc;

use provider::{Adjustment, Error, Time};

use crate::{
    decision::{Reason, Role},
    error::RouterError,
    facts::{Facts, Named},
    history::History,
    table::Model,
    upstream::{Call, Origin},
};

/// A request on its way: [`Engine`](crate::Engine) takes it with every event.
#[derive(Debug)]
pub struct RequestState {
    pub(crate) model: Arc<Model>,
    pub(crate) facts: Facts,
    pub(crate) history: History,
    /// When the client's patience ends; shared by all attempts.
    pub(crate) deadline: Time,
    /// Tells the request from others by what it says and who sent it; known when that matters.
    pub(crate) fingerprint: Option<u64>,
    /// The call under way.
    pub(crate) attempt: Option<Attempt>,
    /// What it has claimed of its upstream.
    pub(crate) call: Option<Call>,
    /// When it came.
    pub(crate) arrived: Time,
    /// Whether it is held: no target is worth a call at this moment.
    pub(crate) is_held: bool,
    /// Since when it is held, but for the moments at which it looks for a target again.
    pub(crate) held_since: Option<Time>,
    /// Attempts that were paid for out of the retry budget, or needed no payment.
    pub(crate) paid: u32,
    /// How often it was repeated after a wait.
    pub(crate) repeats: u32,
    /// The failure to tell of, if all attempts fail.
    pub(crate) worst: Option<Box<Error>>,
    pub(crate) suspicions: Vec<Suspicion>,
    /// Whether an attempt failed in a way that cannot be the request's fault.
    pub(crate) failed_otherwise: bool,
    /// Whether content has come: nothing is repeated from then on.
    pub(crate) is_committed: bool,
}

/// A failure that may be the request's own fault.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Suspicion {
    /// The target that failed.
    pub(crate) target: usize,
    /// When the call began, and when it failed.
    pub(crate) began: Time,
    pub(crate) at: Time,
}

impl RequestState {
    /// A request to `model` that asks for `facts`, to be answered by `deadline`.
    pub fn new(model: Arc<Model>, facts: Facts, named: Option<Named>, deadline: Time) -> Self {
        let history = History::new(model.targets().len(), named);
        Self {
            model,
            facts,
            history,
            deadline,
            fingerprint: None,
            attempt: None,
            call: None,
            arrived: Time::ZERO,
            is_held: false,
            held_since: None,
            paid: 0,
            repeats: 0,
            worst: None,
            suspicions: Vec::new(),
            failed_otherwise: false,
            is_committed: false,
        }
    }

    /// The model that is asked for.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// What is asked for.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// When the client's patience ends.
    pub fn deadline(&self) -> Time {
        self.deadline
    }

    /// How many attempts were made.
    pub fn attempts(&self) -> u32 {
        self.history.attempts()
    }

    /// Whether content has come.
    pub fn is_committed(&self) -> bool {
        self.is_committed
    }

    /// The call under way, from its start until its end is told.
    pub fn attempt(&self) -> Option<&Attempt> {
        self.attempt.as_ref()
    }

    /// What tells the request from others, once that is known.
    pub fn fingerprint(&self) -> Option<u64> {
        self.fingerprint
    }

    /// Says what tells the request from others. To be known before a failure is told, and before a first token where the
    /// upstream is in doubt: without it, every request counts as another one.
    pub fn identify(&mut self, fingerprint: u64) {
        self.fingerprint = Some(fingerprint);
    }

    /// A call that began then as one of this request.
    pub(crate) fn origin(&self, began: Time) -> Origin {
        Origin { by: self.fingerprint, began }
    }
}

/// A call that the engine has let in. It is counted as in flight until an event ends it.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// The target's index among those of the model.
    pub target: usize,
    /// When it began.
    pub started: Time,
    /// What it is among the attempts of its request.
    pub role: Role,
    /// Why the target was chosen.
    pub reason: Reason,
}

/// A call to make.
#[derive(Debug)]
pub struct Start {
    /// The attempt.
    pub attempt: Attempt,
    /// When to lose patience, unless content has come.
    pub limit: Time,
    /// What to change of the request, because the target has refused it as it was.
    pub adjustment: Option<Adjustment>,
}

/// What to do next for a request.
#[derive(Debug)]
#[must_use]
pub enum Action {
    /// Call a target.
    Start(Start),
    /// Wait, then tell [`Engine::timer`](crate::Engine::timer).
    Wait {
        /// Until then.
        until: Time,
    },
    /// Tell the client that nobody serves it. The request is over.
    GiveUp(RouterError),
}

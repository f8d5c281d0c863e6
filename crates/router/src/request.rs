//! The state of one request between its events.
//!
//! A request may cause a 500 itself: a real vLLM answers some bad input with one. Such a failure stays unattributed
//! until the request is over. The failures are attributed to the request, so that no upstream's health changes, if
//! another upstream refused it as bad input, or if every attempt failed like this (or was refused) and each upstream
//! that failed has served a different request since. In all other cases each failure is recorded at its upstream
//! (`unattributed`).

use std::sync::Arc;

use provider::{Adjustment, Error, ErrorKind, Time};

use crate::{
    decision::{Reason, Role},
    engine::{Usable, Waiter},
    error::RouterError,
    facts::{Facts, Named},
    history::History,
    strategy::StrategyName,
    table::Model,
    upstream::{Call, Origin, RequestNeeds},
};

/// The state of a request that is not over; every event passes it to the [`Engine`](crate::Engine).
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct RequestState {
    pub(crate) model: Arc<Model>,
    pub(crate) facts: Facts,
    pub(crate) history: History,
    /// The deadline, shared by all attempts.
    pub(crate) deadline: Time,
    /// Whether that is before the model's own.
    pub(crate) is_hurried: bool,
    /// A hash of its content and its client's key. It is computed only when an event needs it.
    pub(crate) fingerprint: Option<u64>,
    /// The call under way.
    pub(crate) attempt: Option<Attempt>,
    /// What it has claimed of its upstream.
    pub(crate) call: Option<Call>,
    /// A second call under way, until one of the two has content or fails.
    pub(crate) rival: Option<(Attempt, Call)>,
    /// When it came.
    pub(crate) arrived: Time,
    /// What the driver knows it by.
    pub(crate) number: u64,
    /// Whether it is held: no target is worth a call at this moment.
    pub(crate) is_held: bool,
    /// Since when it is held, but for the moments at which it looks for a target again.
    pub(crate) held_since: Option<Time>,
    /// Which targets could ever serve it; known since it came while others were held, or since it is held.
    pub(crate) usable: Usable,
    /// When it looks for a target for the last time while it is held.
    pub(crate) last_look: Time,
    /// Until when it waits, unless it is woken.
    pub(crate) waits_until: Time,
    /// Attempts that the retry budget allowed, or that needed no budget.
    pub(crate) paid: u32,
    /// How often it was repeated after a wait.
    pub(crate) repeats: u32,
    /// The failure with the highest severity: the one that the client gets if all attempts fail.
    pub(crate) worst: Option<Box<Error>>,
    pub(crate) unattributed: Vec<UnattributedAttempt>,
    /// Whether an attempt failed in a way that cannot be the request's fault.
    pub(crate) failed_otherwise: bool,
    /// Whether content has come: nothing is repeated from then on.
    pub(crate) is_committed: bool,
}

/// A failed attempt that either the upstream or the request may have caused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnattributedAttempt {
    /// The target that failed.
    pub(crate) target: usize,
    /// When the call began, and when it failed.
    pub(crate) began: Time,
    pub(crate) at: Time,
}

impl RequestState {
    /// A request to `model` that asks for `facts`, to be answered by `deadline`.
    pub fn new(model: Arc<Model>, facts: Facts, named: Option<Named>, deadline: Time) -> Self {
        let history = History::new(model.targets().len(), named, facts.wishes.no_fallback);
        Self {
            model,
            facts,
            history,
            deadline,
            is_hurried: false,
            fingerprint: None,
            attempt: None,
            call: None,
            rival: None,
            arrived: Time::ZERO,
            number: 0,
            is_held: false,
            held_since: None,
            usable: Usable::default(),
            last_look: Time::ZERO,
            waits_until: Time::ZERO,
            paid: 0,
            repeats: 0,
            worst: None,
            unattributed: Vec::new(),
            failed_otherwise: false,
            is_committed: false,
        }
    }

    /// The same request with a number, by which [`take_woken`](crate::Engine::take_woken) names it. No other request of
    /// the engine may have it.
    #[must_use]
    pub fn numbered(self, number: u64) -> Self {
        Self { number, ..self }
    }

    /// The same request, whose deadline is before the model's own: that no upstream met it says little about them.
    #[must_use]
    pub fn hurried(self) -> Self {
        Self { is_hurried: true, ..self }
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Until when it waits, unless it is woken; the end of its latest wait if it does not wait.
    pub fn waits_until(&self) -> Time {
        self.waits_until
    }

    /// It as one of those that are held.
    pub(crate) fn waiter(&self) -> Waiter {
        let Self { facts, arrived, number, usable, .. } = self;
        Waiter { in_batch: facts.in_batch, arrived: *arrived, number: *number, team: facts.team, usable: *usable }
    }

    /// The model that is asked for.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// What is asked for.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What orders its targets.
    pub fn strategy(&self) -> StrategyName {
        self.model.strategy_for(&self.facts)
    }

    /// Whether the model's shares decided where it goes, among all targets. They did not for a client that named an upstream, wanted
    /// another strategy, or was held to a price that a target is beyond, nor where a target does not serve what is asked for.
    pub fn is_by_share(&self) -> bool {
        self.history.debit().is_some_and(|debit| debit.is_among_all)
    }

    /// The deadline of the whole request.
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

    /// The call under way, from its start until the event that ends it.
    pub fn attempt(&self) -> Option<&Attempt> {
        self.attempt.as_ref()
    }

    /// The second call, while two are under way.
    pub fn rival(&self) -> Option<&Attempt> {
        self.rival.as_ref().map(|(attempt, _)| attempt)
    }

    /// The only call under way is over.
    pub(crate) fn take_call(&mut self) -> Option<(Attempt, Call)> {
        self.attempt.take().zip(self.call.take())
    }

    /// Of two calls under way, the one to `target` is over. The other one is then the only one.
    pub(crate) fn take_one(&mut self, target: usize) -> Option<(Attempt, Call)> {
        let rival = self.rival.take()?;
        if rival.0.target == target {
            return Some(rival);
        }
        self.attempt.replace(rival.0).zip(self.call.replace(rival.1))
    }

    /// A call to `target` failed in this way: what that says about further ones.
    pub(crate) fn failed_at(&mut self, target: usize, kind: ErrorKind) {
        if !kind.repeats_here() {
            self.history.rule_out(target);
        }
        if kind == ErrorKind::ContextOverflow {
            self.history.overflowed(self.model.targets()[target].spec.context_tokens);
        }
    }

    /// Keeps the error if it has the highest severity so far.
    pub(crate) fn keep_worst(&mut self, error: Error) {
        if self.worst.as_ref().is_none_or(|known| error.kind.severity() >= known.kind.severity()) {
            self.worst = Some(Box::new(error));
        }
    }

    /// A hash of the request's content and its client's key, once it is known.
    pub fn fingerprint(&self) -> Option<u64> {
        self.fingerprint
    }

    /// Sets the fingerprint. Call it before [`failed`](crate::Engine::failed), and before
    /// [`first_token`](crate::Engine::first_token) where
    /// [`has_unattributed_failure`](crate::Engine::has_unattributed_failure): a request without one counts as different
    /// from every other.
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
    /// What it needs of its upstream.
    pub(crate) needs: RequestNeeds,
}

impl Attempt {
    /// How long its prompt is thought to be, in tokens.
    pub fn prompt_tokens(&self) -> u64 {
        self.needs.prompt_tokens
    }
}

/// A call to make.
#[derive(Debug)]
pub struct Start {
    /// The attempt.
    pub attempt: Attempt,
    /// When to cancel it, unless content has come.
    pub limit: Time,
    /// When to call [`Engine::hedge`](crate::Engine::hedge), unless content has come; `None` for never.
    pub hedge_at: Option<Time>,
    /// What to change of the request, because the target has refused it as it was.
    pub adjustment: Option<Adjustment>,
}

/// What to do next for a request.
#[derive(Debug)]
#[must_use]
pub enum Action {
    /// Call a target.
    Start(Start),
    /// Wait, then call [`Engine::timer`](crate::Engine::timer); sooner if [`Engine::take_woken`](crate::Engine::take_woken)
    /// names the request.
    Wait {
        /// Until then.
        until: Time,
    },
    /// Answer the client with this error: no upstream serves the request. It is over.
    GiveUp(RouterError),
}

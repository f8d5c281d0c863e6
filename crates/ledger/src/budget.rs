//! Budgets: what a key, a team or a model may cost in a day, a week or a month. What a call may cost is reserved before it
//! is made and replaced by what it did cost when it ends, so a limit is passed by no more than the calls under way were
//! estimated too low. Nothing is stored here: what was spent before this process began is asked of the ledger.

mod portion;
#[cfg(test)]
mod shared_tests;
mod state;
#[cfg(test)]
mod tests;
mod types;
mod window;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

pub use portion::{Granted, Report, Turn};
pub use types::{
    AtLimit, Budget, BudgetStatus, OverBudget, Raised, Room, Scope, Spender, SpentQuestion, Threshold, WhenAway,
};
pub use window::Period;

use crate::{AttemptKey, Dimension};
use portion::Fit;
use state::State;

/// All budgets.
#[derive(Default)]
pub struct Budgets {
    /// Whether there is a budget, so that a router without any takes no lock.
    are_set: AtomicBool,
    inner: Mutex<Inner>,
}

/// Whether other replicas can be asked for more of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asking {
    Possible,
    /// They were, and what they left is known.
    Answered,
    /// They were, and nothing came.
    Unanswered,
}

#[derive(Default)]
struct Inner {
    states: Vec<State>,
    /// The indexes of the budgets of a scope.
    of_scope: HashMap<Dimension, HashMap<Arc<str>, Vec<usize>>>,
    /// What calls under way have reserved, and of which budgets.
    open: HashMap<AttemptKey, (u64, Vec<u64>)>,
    /// The latest moment that was seen: no window begins again when a clock is put back.
    latest_ms: i64,
    /// When the first of them begins anew.
    next_ms: i64,
    last_id: u64,
    /// Set if replicas share the budgets.
    shared: Option<WhenAway>,
}

impl Budgets {
    /// Budgets that this process has for itself; with `shared`, those that it shares with other replicas, of which it may spend what
    /// it is granted.
    pub fn new(shared: Option<WhenAway>) -> Self {
        let inner = Inner { shared, ..Inner::default() };
        Self { are_set: AtomicBool::default(), inner: Mutex::new(inner) }
    }

    /// Puts these budgets in force. One that was there with the same scope, period and time zone keeps its use.
    pub fn set(&self, budgets: Vec<(Scope, Budget)>, now_ms: i64) {
        let mut inner = self.inner.lock();
        let now_ms = inner.advance(now_ms);
        let mut old = std::mem::take(&mut inner.states);
        inner.of_scope.clear();
        for (scope, budget) in budgets {
            let same = |state: &State| {
                state.scope == scope && state.budget.period == budget.period && state.budget.zone == budget.zone
            };
            let state = if let Some(at) = old.iter().position(same) {
                old.swap_remove(at).with(budget)
            } else {
                inner.last_id += 1;
                State::new(inner.last_id, scope, budget, inner.shared.is_some(), now_ms)
            };
            let at = inner.states.len();
            let names = inner.of_scope.entry(state.scope.dimension.clone()).or_default();
            names.entry(state.scope.name.clone()).or_default().push(at);
            inner.states.push(state);
        }
        inner.set_next();
        self.are_set.store(!inner.states.is_empty(), Ordering::Release);
    }

    /// Whether anything may be spent, without reserving any of it.
    ///
    /// # Errors
    /// With a budget that is used up.
    pub fn look(&self, spender: Spender<'_>, now_ms: i64) -> Result<Room, OverBudget> {
        if !self.are_set.load(Ordering::Acquire) {
            return Ok(Room::Any);
        }
        let mut inner = self.inner.lock();
        let now_ms = inner.advance(now_ms);
        let (mut room, shared) = (Room::Any, inner.shared);
        for at in inner.of(spender) {
            let state = &inner.states[at];
            if state.check(0, shared, Asking::Possible, now_ms)? == Fit::No {
                room = Room::Cheapest;
            }
        }
        Ok(room)
    }

    /// Reserves what a call may cost, `None` if it has no price, of every budget that it counts for, or of none of them.
    ///
    /// # Errors
    /// With a budget that has no room for it, or with those of which more must be asked for.
    pub fn reserve(
        &self,
        attempt: AttemptKey,
        spender: Spender<'_>,
        amount: Option<u64>,
        now_ms: i64,
    ) -> Result<(), OverBudget> {
        self.try_reserve(attempt, spender, amount, Asking::Possible, now_ms)
    }

    /// The same, when more has been asked for already; `is_answered` is whether there was an answer.
    ///
    /// # Errors
    /// With a budget that has no room for it, or whose use is not known.
    pub fn reserve_of_held(
        &self,
        attempt: AttemptKey,
        spender: Spender<'_>,
        amount: Option<u64>,
        is_answered: bool,
        now_ms: i64,
    ) -> Result<(), OverBudget> {
        let asking = if is_answered { Asking::Answered } else { Asking::Unanswered };
        self.try_reserve(attempt, spender, amount, asking, now_ms)
    }

    fn try_reserve(
        &self,
        attempt: AttemptKey,
        spender: Spender<'_>,
        amount: Option<u64>,
        asking: Asking,
        now_ms: i64,
    ) -> Result<(), OverBudget> {
        if !self.are_set.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut inner = self.inner.lock();
        inner.advance(now_ms);
        let amount = amount.unwrap_or_default();
        let budgets: Vec<usize> = inner.of(spender).collect();
        let (shared, now_ms) = (inner.shared, inner.latest_ms);
        let mut short = Vec::new();
        for at in &budgets {
            if inner.states[*at].check(amount, shared, asking, now_ms)? == Fit::Ask {
                short.push((inner.states[*at].id, amount.max(1)));
            }
        }
        if !short.is_empty() {
            return Err(OverBudget::Short(short));
        }
        let mut ids = Vec::with_capacity(budgets.len());
        for at in budgets {
            inner.states[at].reserve(amount);
            ids.push(inner.states[at].id);
        }
        if !ids.is_empty() {
            inner.open.insert(attempt, (amount, ids));
        }
        Ok(())
    }

    /// A call is over and has cost so much, `None` if that is not known: what was reserved for it is free again. Returns the
    /// thresholds that are passed with it.
    pub fn settle(&self, attempt: AttemptKey, spender: Spender<'_>, cost: Option<u64>, now_ms: i64) -> Vec<Threshold> {
        if !self.are_set.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut inner = self.inner.lock();
        inner.advance(now_ms);
        if let Some((amount, ids)) = inner.open.remove(&attempt) {
            for state in inner.states.iter_mut().filter(|state| ids.contains(&state.id)) {
                state.reserved = state.reserved.saturating_sub(amount);
            }
        }
        let Some(cost) = cost.filter(|cost| *cost > 0) else { return Vec::new() };
        let budgets: Vec<usize> = inner.of(spender).collect();
        let passed = budgets.into_iter().filter_map(|at| {
            let percent = inner.states[at].settle(cost)?;
            Some(Threshold { percent, status: inner.states[at].status() })
        });
        passed.collect()
    }

    /// What must be asked of the ledger: for `all` budgets, or only for those whose use nobody knows. The answer must hold
    /// every call that was settled before this.
    pub fn questions(&self, all: bool, now_ms: i64) -> Vec<SpentQuestion> {
        let mut inner = self.inner.lock();
        let now_ms = inner.advance(now_ms);
        let states = inner.states.iter_mut().filter(|state| all || state.is_unknown());
        let ask = |state: &mut State| {
            state.ask();
            let (id, scope, from_ms) = (state.id, state.scope.clone(), state.window.from_ms);
            SpentQuestion { id, scope, from_ms, until_ms: now_ms }
        };
        states.map(ask).collect()
    }

    /// What the ledger says; `None` if it could not say. Returns the threshold that is passed with it.
    pub fn answer(&self, question: &SpentQuestion, spent_nano_usd: Option<u64>) -> Option<Threshold> {
        let mut inner = self.inner.lock();
        let state = inner.states.iter_mut().find(|state| state.id == question.id)?;
        let Some(spent) = spent_nano_usd else {
            state.give_up();
            return None;
        };
        let percent = state.answer(spent)?;
        Some(Threshold { percent, status: state.status() })
    }

    /// What is to be reported of shared budgets: of those of which more is needed, by their ids, in nano-dollars, and of all others
    /// unless that is the only reason. Each report must be answered, or given up, before the next one.
    pub fn reports(&self, turn: Turn, needs: &[(u64, u64)], now_ms: i64) -> Vec<Report> {
        let mut inner = self.inner.lock();
        let now_ms = inner.advance(now_ms);
        let report = |state: &mut State| {
            let needed = needs.iter().find(|(id, _)| *id == state.id).map(|(_, amount)| *amount);
            let is_due = turn != Turn::Needed || needed.is_some();
            is_due.then(|| state.report(turn, needed.unwrap_or(0), now_ms)).flatten()
        };
        inner.states.iter_mut().filter_map(report).collect()
    }

    /// The answer to a report. What is held by it is valid for so long from the report on. Returns the threshold that is passed with it.
    pub fn grant(&self, report: &Report, granted: &Granted, validity: Duration, now_ms: i64) -> Option<Threshold> {
        let mut inner = self.inner.lock();
        let now_ms = inner.advance(now_ms);
        let state = inner.states.iter_mut().find(|state| state.id == report.id)?;
        let percent = state.grant(report, granted, validity, now_ms)?;
        Some(Threshold { percent, status: state.status() })
    }

    /// What replicas knew of their budgets together was lost: the ledger must be asked again.
    pub fn lose(&self) {
        self.inner.lock().states.iter_mut().filter_map(|state| state.portion.as_mut()).for_each(portion::Portion::lose);
    }

    /// The ledger's answers since the last time, for the other replicas: which budgets, when their windows began, and what was spent.
    pub fn take_answers(&self) -> Vec<(Scope, Period, i64, u64)> {
        let mut inner = self.inner.lock();
        let answer = |state: &mut State| {
            Some((state.scope.clone(), state.budget.period, state.window.from_ms, state.answered.take()?))
        };
        inner.states.iter_mut().filter_map(answer).collect()
    }

    /// The budgets that replicas share, and when their windows began.
    pub fn shared_windows(&self) -> Vec<(Scope, Period, i64)> {
        let inner = self.inner.lock();
        let shared = inner.states.iter().filter(|state| state.portion.is_some());
        shared.map(|state| (state.scope.clone(), state.budget.period, state.window.from_ms)).collect()
    }

    /// How far each budget is used.
    pub fn status(&self, now_ms: i64) -> Vec<BudgetStatus> {
        let mut inner = self.inner.lock();
        inner.advance(now_ms);
        inner.states.iter().map(State::status).collect()
    }
}

impl Inner {
    /// Begins budgets anew whose time has come. Returns the moment.
    fn advance(&mut self, now_ms: i64) -> i64 {
        self.latest_ms = self.latest_ms.max(now_ms);
        if self.latest_ms >= self.next_ms {
            for state in &mut self.states {
                state.advance(self.latest_ms);
            }
            self.set_next();
        }
        self.latest_ms
    }

    fn set_next(&mut self) {
        self.next_ms = self.states.iter().map(State::next_ms).min().unwrap_or(i64::MAX);
    }

    /// The indexes of the budgets that count what this one spends.
    fn of<'a>(&'a self, spender: Spender<'a>) -> impl Iterator<Item = usize> + 'a {
        let of_name = |(dimension, name): (Dimension, &str)| self.of_scope.get(&dimension)?.get(name);
        spender.names().filter_map(of_name).flatten().copied()
    }
}

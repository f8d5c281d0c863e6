//! Budgets: what a key, a team or a model may cost in a day, a week or a month. What a call may cost is reserved before it
//! is made and replaced by what it did cost when it ends, so a limit is passed by no more than the calls under way were
//! estimated too low. Nothing is stored here: what was spent before this process began is asked of the ledger.

mod state;
#[cfg(test)]
mod tests;
mod window;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use jiff::tz::TimeZone;
use parking_lot::Mutex;

pub use window::Period;

use crate::{AttemptKey, Dimension};
use state::State;

/// What a budget limits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The client's key, its team, or the public model.
    pub dimension: Dimension,
    /// Its name.
    pub name: Arc<str>,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.dimension, self.name)
    }
}

/// What happens to requests whose budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtLimit {
    /// They are refused.
    Refuse,
    /// They are served by the cheapest upstream alone, and cost more than the budget.
    Cheapest,
}

/// What budgets say about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Any upstream may serve it.
    Any,
    /// The cheapest one may: a budget is used up that says so.
    Cheapest,
}

/// A limit that holds instead of the usual one until a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raised {
    /// The most that may be spent, in nano-dollars.
    pub limit_nano_usd: u64,
    /// In milliseconds since 1970.
    pub until_ms: i64,
}

/// A limit on what is spent.
#[derive(Debug, Clone, PartialEq)]
pub struct Budget {
    /// The most that may be spent, in nano-dollars.
    pub limit_nano_usd: u64,
    /// Another limit for a while.
    pub raised: Option<Raised>,
    /// How often it begins anew.
    pub period: Period,
    /// Whose days and months these are.
    pub zone: TimeZone,
    /// Thresholds that are reported when spend passes them, in percent of the limit, ascending.
    pub warn_at_percent: Vec<u8>,
    /// What happens when it is used up.
    pub at_limit: AtLimit,
}

/// Who spends, on what.
#[derive(Debug, Clone, Copy)]
pub struct Spender<'a> {
    /// The client's key.
    pub key: Option<&'a str>,
    /// Its team.
    pub team: Option<&'a str>,
    /// The public model.
    pub model: Option<&'a str>,
}

impl<'a> Spender<'a> {
    fn names(self) -> impl Iterator<Item = (Dimension, &'a str)> {
        let all = [(Dimension::Key, self.key), (Dimension::Team, self.team), (Dimension::Model, self.model)];
        all.into_iter().filter_map(|(dimension, name)| Some((dimension, name?)))
    }
}

/// Why a budget refuses a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OverBudget {
    /// What was spent is not known yet.
    Unknown(Scope),
    /// Its limit leaves no room, what calls under way may cost included.
    Reached {
        /// The budget by then.
        status: BudgetStatus,
        /// What the call may cost, if that is known.
        needed_nano_usd: u64,
    },
}

/// A budget passed one of its thresholds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threshold {
    /// In percent of the limit.
    pub percent: u8,
    /// The budget by then.
    pub status: BudgetStatus,
}

/// How far a budget is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetStatus {
    /// What it limits.
    pub scope: Scope,
    /// How often it begins anew.
    pub period: Period,
    /// The most that may be spent.
    pub limit_nano_usd: u64,
    /// What was spent since it began; `None` until that is known.
    pub spent_nano_usd: Option<u64>,
    /// What calls under way may cost.
    pub reserved_nano_usd: u64,
    /// When it began, in milliseconds since 1970.
    pub from_ms: i64,
    /// When it begins anew.
    pub until_ms: i64,
}

/// A sum that a budget needs from the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpentQuestion {
    /// Which budget asks.
    pub id: u64,
    /// Whose calls.
    pub scope: Scope,
    /// That ended from this moment on, in milliseconds since 1970.
    pub from_ms: i64,
    /// And before this one.
    pub until_ms: i64,
}

/// All budgets.
#[derive(Default)]
pub struct Budgets {
    /// Whether there is a budget, so that a router without any takes no lock.
    are_set: AtomicBool,
    inner: Mutex<Inner>,
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
}

impl Budgets {
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
                State::new(inner.last_id, scope, budget, now_ms)
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
        inner.advance(now_ms);
        let mut room = Room::Any;
        for at in inner.of(spender) {
            let state = &inner.states[at];
            state.check(0)?;
            if state.has_room(0) != Some(true) {
                room = Room::Cheapest;
            }
        }
        Ok(room)
    }

    /// Reserves what a call may cost, `None` if it has no price, of every budget that it counts for, or of none of them.
    ///
    /// # Errors
    /// With a budget that has no room for it.
    pub fn reserve(
        &self,
        attempt: AttemptKey,
        spender: Spender<'_>,
        amount: Option<u64>,
        now_ms: i64,
    ) -> Result<(), OverBudget> {
        if !self.are_set.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut inner = self.inner.lock();
        inner.advance(now_ms);
        let amount = amount.unwrap_or_default();
        let budgets: Vec<usize> = inner.of(spender).collect();
        budgets.iter().try_for_each(|at| inner.states[*at].check(amount))?;
        let mut ids = Vec::with_capacity(budgets.len());
        for at in budgets {
            inner.states[at].reserved = inner.states[at].reserved.saturating_add(amount);
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

impl State {
    fn check(&self, amount: u64) -> Result<(), OverBudget> {
        match self.has_room(amount) {
            _ if self.budget.at_limit == AtLimit::Cheapest => Ok(()),
            Some(true) => Ok(()),
            Some(false) => Err(OverBudget::Reached { status: self.status(), needed_nano_usd: amount }),
            None => Err(OverBudget::Unknown(self.scope.clone())),
        }
    }

    fn status(&self) -> BudgetStatus {
        BudgetStatus {
            scope: self.scope.clone(),
            period: self.budget.period,
            limit_nano_usd: self.limit_nano_usd(),
            spent_nano_usd: self.spent(),
            reserved_nano_usd: self.reserved,
            from_ms: self.window.from_ms,
            until_ms: self.window.until_ms,
        }
    }
}

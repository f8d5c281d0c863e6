//! What budgets are, and what they say.

use std::{fmt, sync::Arc};

use jiff::tz::TimeZone;

use super::Period;
use crate::Dimension;

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
    pub(super) fn names(self) -> impl Iterator<Item = (Dimension, &'a str)> {
        let all = [(Dimension::Key, self.key), (Dimension::Team, self.team), (Dimension::Model, self.model)];
        all.into_iter().filter_map(|(dimension, name)| Some((dimension, name?)))
    }
}

/// What becomes of budgets that replicas share while this one cannot ask for more of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenAway {
    /// What the process holds of them is spent; what needs more is refused.
    Refuse,
    /// The process goes on with what it has spent, and what the ledger says of the others.
    Own,
}

/// Why a budget refuses a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OverBudget {
    /// More of these budgets must be asked for than this process holds: their ids, and what is needed of each in nano-dollars.
    Short(Vec<(u64, u64)>),
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

//! What one budget has been used for.

use super::{
    Asking, AtLimit, Budget, BudgetStatus, OverBudget, Scope, WhenAway,
    portion::{Fit, Portion},
    window::Window,
};

/// How far one budget is used.
#[derive(Debug)]
pub(super) struct State {
    /// Identifies it; no later budget gets the same one.
    pub(super) id: u64,
    pub(super) scope: Scope,
    pub(super) budget: Budget,
    pub(super) window: Window,
    /// What calls cost that ended in the window before the ledger was asked; `None` until that is known.
    recorded: Option<u64>,
    /// What calls cost that were settled since then.
    settled: u64,
    /// The ledger is being asked again, and so much was settled meanwhile.
    asked: Option<u64>,
    /// What calls under way may cost.
    pub(super) reserved: u64,
    /// How many of the thresholds were passed in this window.
    passed: usize,
    /// What this process may spend of it, where replicas share it.
    pub(super) portion: Option<Portion>,
    /// The ledger's own last answer, for the other replicas.
    pub(super) answered: Option<u64>,
}

impl State {
    /// One whose use is not known yet.
    pub(super) fn new(id: u64, scope: Scope, budget: Budget, is_shared: bool, now_ms: i64) -> Self {
        Self {
            id,
            scope,
            window: budget.period.window(&budget.zone, now_ms),
            budget,
            recorded: None,
            settled: 0,
            asked: None,
            reserved: 0,
            passed: 0,
            portion: is_shared.then(|| Portion::new(now_ms)),
            answered: None,
        }
    }

    /// The same use under another budget of the same period.
    pub(super) fn with(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }

    /// Begins anew if it is time to.
    pub(super) fn advance(&mut self, now_ms: i64) {
        if self.budget.raised.is_some_and(|raised| now_ms >= raised.until_ms) {
            self.budget.raised = None;
        }
        if now_ms < self.window.until_ms {
            return;
        }
        self.window = self.budget.period.window(&self.budget.zone, now_ms);
        // No call in the ledger can have ended in a window that begins now.
        (self.recorded, self.settled, self.asked, self.passed) = (Some(0), 0, None, 0);
        self.answered = None;
        if let Some(portion) = &mut self.portion {
            portion.begin_anew();
        }
    }

    /// When it changes next.
    pub(super) fn next_ms(&self) -> i64 {
        self.budget.raised.map_or(self.window.until_ms, |raised| raised.until_ms.min(self.window.until_ms))
    }

    /// The most that may be spent at this moment.
    pub(super) fn limit_nano_usd(&self) -> u64 {
        self.budget.raised.map_or(self.budget.limit_nano_usd, |raised| raised.limit_nano_usd)
    }

    /// What was spent in this window; `None` until that is known.
    pub(super) fn spent(&self) -> Option<u64> {
        self.portion.as_ref().and_then(Portion::spent_by_all).or(self.own_spent())
    }

    /// The same, by what the ledger said and what this process has settled since.
    pub(super) fn own_spent(&self) -> Option<u64> {
        self.recorded.map(|recorded| recorded.saturating_add(self.settled))
    }

    /// Whether so much more may be spent; `None` until that is known.
    pub(super) fn has_room(&self, amount: u64) -> Option<bool> {
        let used = self.own_spent()?.saturating_add(self.reserved);
        let limit = self.limit_nano_usd();
        Some(used < limit && used.saturating_add(amount) <= limit)
    }

    /// A call has cost so much. Returns the threshold that was passed with it, in percent of the limit.
    pub(super) fn settle(&mut self, cost: u64) -> Option<u8> {
        self.settled = self.settled.saturating_add(cost);
        self.asked = self.asked.map(|settled| settled.saturating_add(cost));
        if let Some(portion) = &mut self.portion {
            portion.spend(cost);
        }
        self.pass()
    }

    /// The ledger is asked now.
    pub(super) fn ask(&mut self) {
        self.asked = Some(0);
    }

    /// The sum that was asked for. Returns the threshold that was passed with it, in percent of the limit.
    pub(super) fn answer(&mut self, recorded: u64) -> Option<u8> {
        let (before, settled) = (self.own_spent(), self.asked.take()?);
        self.answered = Some(recorded);
        if let Some(portion) = &mut self.portion {
            portion.refresh();
        }
        // Within a window spend does not fall: what the process has counted and the ledger does not have yet stays counted.
        let recorded = recorded.max(before.unwrap_or_default().saturating_sub(settled));
        (self.recorded, self.settled) = (Some(recorded), settled);
        self.pass()
    }

    /// Whether nobody knows what was spent, and nobody has been asked.
    pub(super) fn is_unknown(&self) -> bool {
        let is_fresh = self.portion.as_ref().is_none_or(Portion::is_fresh);
        (self.recorded.is_none() || !is_fresh) && self.asked.is_none()
    }

    /// The ledger could not say.
    pub(super) fn give_up(&mut self) {
        self.asked = None;
    }

    /// The highest threshold that was passed and not reported yet.
    pub(super) fn pass(&mut self) -> Option<u8> {
        let (spent, limit) = (u128::from(self.spent()?), u128::from(self.limit_nano_usd()));
        let is_passed = |percent: &&u8| spent * 100 >= limit * u128::from(**percent);
        let passed = self.budget.warn_at_percent.iter().take_while(is_passed).count();
        if passed <= self.passed {
            return None;
        }
        self.passed = passed;
        self.budget.warn_at_percent.get(passed - 1).copied()
    }

    /// Whether a call fits, or more must be asked for. A call that does not fit is an error, unless the cheapest upstream may serve it.
    pub(super) fn check(
        &self,
        amount: u64,
        shared: Option<WhenAway>,
        asking: Asking,
        now_ms: i64,
    ) -> Result<Fit, OverBudget> {
        let own = match self.has_room(amount) {
            Some(true) => Fit::Yes,
            Some(false) => Fit::No,
            None => Fit::Lapsed,
        };
        let held = self.portion.as_ref().map(|portion| portion.fit(self.reserved, amount, now_ms));
        let fit = match (held, asking) {
            (None, _) => own,
            (Some(fit @ (Fit::Yes | Fit::No)), _) => fit,
            (Some(Fit::Ask), Asking::Possible) => Fit::Ask,
            (Some(Fit::Ask), Asking::Answered) if self.portion.as_ref().is_some_and(Portion::is_granted) => Fit::No,
            (Some(Fit::Lapsed | Fit::Ask), _) if shared == Some(WhenAway::Own) => own,
            (Some(Fit::Lapsed), Asking::Possible) => Fit::Ask,
            (Some(Fit::Lapsed | Fit::Ask), Asking::Answered | Asking::Unanswered) => Fit::Lapsed,
        };
        match fit {
            Fit::Yes | Fit::Ask => Ok(fit),
            Fit::No | Fit::Lapsed if self.budget.at_limit == AtLimit::Cheapest => Ok(Fit::No),
            Fit::No => Err(self.reached(amount)),
            Fit::Lapsed => Err(OverBudget::Unknown(self.scope.clone())),
        }
    }

    fn reached(&self, amount: u64) -> OverBudget {
        OverBudget::Reached { status: self.status(), needed_nano_usd: amount }
    }

    pub(super) fn reserve(&mut self, amount: u64) {
        self.reserved = self.reserved.saturating_add(amount);
        if let Some(portion) = &mut self.portion {
            portion.want(amount);
        }
    }

    pub(super) fn status(&self) -> BudgetStatus {
        BudgetStatus {
            scope: self.scope.clone(),
            period: self.budget.period,
            limit_nano_usd: self.limit_nano_usd(),
            spent_nano_usd: self.spent(),
            reserved_nano_usd: self.reserved.saturating_add(self.portion.as_ref().map_or(0, Portion::held_by_others)),
            from_ms: self.window.from_ms,
            until_ms: self.window.until_ms,
        }
    }
}

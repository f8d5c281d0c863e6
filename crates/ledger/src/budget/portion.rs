//! The portion of a budget that this process may spend, where several replicas of the router share it. What is reserved here and what
//! was spent since the last report must fit into what the process holds, so all replicas together stay within the limit.

use std::time::Duration;

use super::{Period, Scope, state::State};

/// A replica holds as much as it reserves in so many reports of all budgets, so that it can go on while it has no answer.
const REPORTS_AHEAD: u64 = 60;
/// But without needing it no more than this part of the limit, in percent.
const MOST_IDLE_PERCENT: u64 = 1;
/// How long an answer that leaves nothing is believed, so that refusals ask nobody.
const NOTHING_LEFT_MS: i64 = 250;

/// What a replica reports of one window of a budget, and asks for. Amounts are in nano-dollars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Identifies the budget in this process.
    pub id: u64,
    /// What it limits.
    pub scope: Scope,
    /// How often it begins anew.
    pub period: Period,
    /// When its window began, in milliseconds since 1970.
    pub from_ms: i64,
    /// When it begins anew.
    pub until_ms: i64,
    /// Grows with each report that says something new.
    pub number: u64,
    /// What was spent since the report before.
    pub spent: u64,
    /// What this process keeps of what it holds, beside what it has spent.
    pub keeps: u64,
    /// What it would like to hold beyond that.
    pub more: u64,
    /// What it needs of that.
    pub needs: u64,
    /// The limit.
    pub limit: u64,
    /// When it was made, in milliseconds since 1970, by a clock that does not go back.
    pub at_ms: i64,
    /// What all replicas have spent, as far as the ledger says; `None` while it has to be asked.
    pub known: Option<u64>,
}

/// The answer to a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// What the process holds now.
    pub held: u64,
    /// What all replicas have spent; `None` if nobody knows yet, and then the report counts for nothing.
    pub spent: Option<u64>,
    /// What the others hold.
    pub others: u64,
    /// Whether more is granted, where anything is left: not while nobody knows what is held or spent.
    pub grants: bool,
}

/// Why budgets are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// More of some is needed.
    Needed,
    /// It is time: what is held beyond what is used of late is given back.
    Regular,
    /// The process ends: all that is not used is given back.
    Last,
}

/// Whether a call fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    Yes,
    No,
    /// More must be asked for.
    Ask,
    /// What the process holds is not valid any more, or not yet.
    Lapsed,
}

/// What this process holds of a budget.
#[derive(Debug, Default)]
pub(super) struct Portion {
    /// What may be spent and reserved, of what is not acknowledged as spent.
    held: u64,
    /// Until when that holds, in milliseconds since 1970.
    valid_until_ms: i64,
    number: u64,
    /// What the last report said was spent, until it is acknowledged.
    reported: Option<u64>,
    /// What was spent since then.
    unreported: u64,
    /// Whether the ledger has been asked since the replicas' data were lost, or the window has begun since then.
    is_fresh: bool,
    /// What was reserved since the last report of all budgets.
    wanted: u64,
    /// What is usually reserved between two of them: the most, fading.
    pace: u64,
    /// What all replicas have spent, and what the others hold, by the last answer.
    all: Option<(u64, u64)>,
    /// What the last answer left for everybody, and when it came.
    left: (u64, i64),
    /// Whether that answer would have granted it.
    grants: bool,
}

impl Portion {
    /// One of a budget that is new here. Reports of an earlier one of the same name have lower numbers.
    pub(super) fn new(now_ms: i64) -> Self {
        Self { number: u64::try_from(now_ms).unwrap_or(0), ..Self::default() }
    }

    /// In the next window nothing is held, and nothing is spent.
    pub(super) fn begin_anew(&mut self) {
        *self = Self { number: self.number, is_fresh: true, ..Self::default() };
    }

    /// The data of the replicas were lost: the ledger must be asked again.
    pub(super) fn lose(&mut self) {
        self.is_fresh = false;
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// The ledger has been asked.
    pub(super) fn refresh(&mut self) {
        self.is_fresh = true;
    }

    pub(super) fn spend(&mut self, amount: u64) {
        self.unreported = self.unreported.saturating_add(amount);
    }

    pub(super) fn want(&mut self, amount: u64) {
        self.wanted = self.wanted.saturating_add(amount);
    }

    /// What this process has spent and no answer has acknowledged.
    fn unacknowledged(&self) -> u64 {
        self.reported.unwrap_or(0).saturating_add(self.unreported)
    }

    /// What all replicas have spent, as far as this one knows.
    pub(super) fn spent_by_all(&self) -> Option<u64> {
        Some(self.all?.0.saturating_add(self.unacknowledged()))
    }

    /// Whether more would have been granted by the last answer, had anything been left.
    pub(super) fn is_granted(&self) -> bool {
        self.grants
    }

    /// What the others hold.
    pub(super) fn held_by_others(&self) -> u64 {
        self.all.map_or(0, |(_, others)| others)
    }

    /// Whether a call that may cost so much fits beside what is reserved.
    pub(super) fn fit(&self, reserved: u64, amount: u64, now_ms: i64) -> Fit {
        if self.valid_until_ms <= now_ms {
            return Fit::Lapsed;
        }
        // A call that has no price needs that anything is left.
        let needed = reserved.saturating_add(self.unacknowledged()).saturating_add(amount.max(1));
        if needed <= self.held {
            return Fit::Yes;
        }
        let (left, at_ms) = self.left;
        let is_believed = now_ms < at_ms.saturating_add(NOTHING_LEFT_MS);
        if is_believed && needed - self.held > left { Fit::No } else { Fit::Ask }
    }
}

impl State {
    /// What is to be reported of the budget, of which `needs` does not fit.
    pub(super) fn report(&mut self, turn: Turn, needs: u64, now_ms: i64) -> Option<Report> {
        let (limit, reserved, spent) = (self.limit_nano_usd(), self.reserved, self.own_spent());
        let portion = self.portion.as_mut()?;
        // Settled after the ledger was asked, and to be reported.
        let known = spent.filter(|_| portion.is_fresh).map(|spent| spent.saturating_sub(portion.unacknowledged()));
        if portion.reported.is_none() && portion.unreported > 0 {
            portion.number += 1;
            portion.reported = Some(std::mem::take(&mut portion.unreported));
        }
        let reported = portion.reported.unwrap_or(0);
        let used = reserved.saturating_add(portion.unreported);
        if portion.valid_until_ms <= now_ms {
            portion.held = used.saturating_add(reported);
        }
        if turn == Turn::Regular {
            portion.pace = std::mem::take(&mut portion.wanted).max(portion.pace - portion.pace.div_ceil(8));
        }
        let idle = match turn {
            Turn::Needed | Turn::Regular => {
                portion.pace.saturating_mul(REPORTS_AHEAD).min(limit / 100 * MOST_IDLE_PERCENT)
            }
            Turn::Last => 0,
        };
        let free = portion.held.saturating_sub(reported).saturating_sub(used);
        if turn != Turn::Needed {
            portion.held -= free.saturating_sub(idle);
        }
        let needs = needs.saturating_sub(free);
        Some(Report {
            id: self.id,
            scope: self.scope.clone(),
            period: self.budget.period,
            from_ms: self.window.from_ms,
            until_ms: self.window.until_ms,
            number: portion.number,
            spent: reported,
            keeps: portion.held.saturating_sub(reported),
            more: needs.saturating_add(idle.saturating_sub(free)),
            needs,
            limit,
            at_ms: now_ms,
            known,
        })
    }

    /// The answer to a report, which is valid for so long from then on. Returns the threshold that was passed with it, in percent of the
    /// limit.
    pub(super) fn grant(&mut self, report: &Report, granted: &Granted, validity: Duration, now_ms: i64) -> Option<u8> {
        let limit = self.limit_nano_usd();
        let portion = self.portion.as_mut().filter(|_| report.from_ms == self.window.from_ms)?;
        if let Some(spent) = granted.spent {
            if portion.number == report.number {
                portion.reported = None;
            }
            portion.all = Some((spent, granted.others));
            let given = spent.saturating_add(granted.others).saturating_add(granted.held);
            portion.left = (limit.saturating_sub(given), now_ms);
        }
        portion.held = granted.held.saturating_add(portion.reported.unwrap_or(0));
        portion.grants = granted.grants;
        let validity_ms = i64::try_from(validity.as_millis()).unwrap_or(i64::MAX);
        portion.valid_until_ms = report.at_ms.saturating_add(validity_ms);
        self.pass()
    }
}

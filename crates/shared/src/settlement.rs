//! What is settled of limits: tokens of calls that are over, and calls that are under way no more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::limits::{Demand, Limits, Rate};

/// What the server has yet to be told.
#[derive(Default)]
pub(crate) struct Settlements {
    /// Calls under way by owner. They are told as a number, not as a change.
    under_way: BTreeMap<Arc<str>, u32>,
    /// The owners whose number the server may not know.
    changed: BTreeSet<Arc<str>>,
    /// Tokens that are in no settlement yet.
    tokens: BTreeMap<Arc<str>, (Rate, i64)>,
    /// What was sent and not acknowledged. It is sent again, with its number, so that it counts once.
    sent: BTreeMap<Arc<str>, (Rate, i64)>,
    number: u64,
}

/// One settlement.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settlement {
    pub(crate) number: u64,
    pub(crate) lines: Vec<Line>,
}

/// What is settled of one owner's limits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) owner: Arc<str>,
    /// Tokens used; negative if they are given back.
    pub(crate) tokens: i64,
    /// The limit that counts them.
    pub(crate) rate: Option<Rate>,
    pub(crate) under_way: u32,
}

impl Settlements {
    /// The server has counted these calls as under way.
    pub(crate) fn begun(&mut self, demands: &[Demand]) {
        for demand in demands.iter().filter(|demand| demand.limits.concurrent.is_some()) {
            *self.under_way.entry(demand.owner.clone()).or_default() += demand.begins;
        }
    }

    /// Nobody knows whether the server has counted these.
    pub(crate) fn doubtful(&mut self, demands: &[Demand]) {
        let limited = demands.iter().filter(|demand| demand.limits.concurrent.is_some());
        self.changed.extend(limited.map(|demand| demand.owner.clone()));
    }

    /// So many calls are under way no more, and so many tokens were used; negative if they are given back.
    pub(crate) fn ended(&mut self, owner: &Arc<str>, limits: &Limits, calls: u32, tokens: i64) {
        if calls > 0 && limits.concurrent.is_some() {
            let left = self.under_way.get(owner).copied().unwrap_or(0).saturating_sub(calls);
            if left == 0 {
                self.under_way.remove(owner)
            } else {
                self.under_way.insert(owner.clone(), left)
            };
            self.changed.insert(owner.clone());
        }
        if let Some(rate) = limits.tokens.filter(|_| tokens != 0) {
            let pending = self.tokens.entry(owner.clone()).or_insert((rate, 0));
            *pending = (rate, pending.1.saturating_add(tokens));
        }
    }

    /// What is to be sent now.
    pub(crate) fn next(&mut self) -> Option<Settlement> {
        if self.sent.is_empty() && !self.tokens.is_empty() {
            self.sent = std::mem::take(&mut self.tokens);
            self.number += 1;
        }
        let owners: BTreeSet<&Arc<str>> = self.sent.keys().chain(&self.changed).collect();
        let line = |owner: &Arc<str>| {
            let sent = self.sent.get(owner);
            Line {
                owner: owner.clone(),
                tokens: sent.map_or(0, |(_, tokens)| *tokens),
                rate: sent.map(|(rate, _)| *rate),
                under_way: self.under_way.get(owner).copied().unwrap_or(0),
            }
        };
        let lines: Vec<Line> = owners.into_iter().map(line).collect();
        (!lines.is_empty()).then_some(Settlement { number: self.number, lines })
    }

    /// It is done.
    pub(crate) fn acknowledge(&mut self, settlement: &Settlement) {
        self.sent.clear();
        self.changed.retain(|owner| settlement.lines.iter().all(|line| line.owner != *owner));
    }

    /// All owners with calls under way are to be told again: the server may have lost them.
    pub(crate) fn repeat(&mut self) {
        self.changed.extend(self.under_way.keys().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        let rate = Some(Rate { per_minute: 600, burst: 60 });
        Limits { calls: rate, tokens: rate, concurrent: Some(5) }
    }

    fn demand(owner: &str, calls: u32) -> Demand {
        Demand { owner: owner.into(), limits: limits(), calls, begins: calls, tokens: 0 }
    }

    #[test]
    fn what_was_not_acknowledged_is_sent_again_with_its_number_and_calls_as_they_are_now() {
        let mut settlements = Settlements::default();
        let owner: Arc<str> = "key:web".into();
        settlements.begun(&[demand("key:web", 3)]);
        assert_eq!(settlements.next(), None, "the server knows of them");
        settlements.ended(&owner, &limits(), 1, 40);
        let line = |tokens, under_way| vec![Line { owner: owner.clone(), tokens, rate: limits().tokens, under_way }];
        assert_eq!(settlements.next(), Some(Settlement { number: 1, lines: line(40, 2) }));
        // No answer comes; meanwhile another call ends.
        settlements.ended(&owner, &limits(), 1, -5);
        let again = settlements.next().expect("it is sent again");
        assert_eq!(again, Settlement { number: 1, lines: line(40, 1) });
        settlements.acknowledge(&again);
        assert_eq!(settlements.next(), Some(Settlement { number: 2, lines: line(-5, 1) }));
    }

    #[test]
    fn calls_of_which_nobody_knows_whether_they_were_counted_are_told_as_a_number() {
        let mut settlements = Settlements::default();
        settlements.begun(&[demand("key:web", 2)]);
        settlements.doubtful(&[demand("key:web", 7), demand("key:other", 1)]);
        let told: Vec<_> = settlements.next().into_iter().flat_map(|settlement| settlement.lines).collect();
        let told: Vec<_> = told.iter().map(|line| (&*line.owner, line.under_way)).collect();
        assert_eq!(told, [("key:other", 0), ("key:web", 2)]);
    }
}

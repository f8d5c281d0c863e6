//! Budgets that replicas share, on a model of the server that they share. The server itself is tested in `crates/shared`.

use std::{collections::BTreeMap, time::Duration};

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::{AttemptKey, RequestKey};

const SPENDER: Spender<'static> = Spender { key: None, team: Some("search"), model: None };
/// How long what is granted is valid.
const VALIDITY: Duration = Duration::from_secs(5);
const VALID_MS: i64 = 5_000;
const DAY_MS: i64 = 86_400_000;

fn scope() -> Scope {
    Scope { dimension: Dimension::Team, name: "search".into() }
}

fn budget(limit_nano_usd: u64) -> Budget {
    Budget {
        limit_nano_usd,
        raised: None,
        period: Period::Day,
        zone: TimeZone::UTC,
        warn_at_percent: Vec::new(),
        at_limit: AtLimit::Refuse,
    }
}

fn attempt(number: u64) -> AttemptKey {
    AttemptKey { request: RequestKey { writer: 1, number }, attempt: 1 }
}

/// What the server knows of one budget.
#[derive(Default)]
struct Server {
    spent: Option<u64>,
    /// Another one when the data were lost.
    epoch: u32,
    held: BTreeMap<usize, u64>,
    numbers: BTreeMap<usize, u64>,
    /// Nothing more is granted before then.
    grants_from_ms: i64,
    /// What replicas held when everything was lost that have not reported since.
    forgotten: BTreeMap<usize, u64>,
    /// The same of those that reported too late.
    reported_late: u64,
}

impl Server {
    /// As the script does it.
    fn answer(&mut self, replica: usize, epoch: u32, report: &Report, now_ms: i64) -> Granted {
        if self.spent.is_none() && epoch == self.epoch {
            self.spent = report.known;
        }
        let is_new = report.number > self.numbers.get(&replica).copied().unwrap_or(0);
        let uncounted = if is_new && self.spent.is_none() { report.spent } else { 0 };
        if let Some(spent) = self.spent.as_mut().filter(|_| is_new) {
            *spent += report.spent;
            self.numbers.insert(replica, report.number);
        }
        let others = self.held.iter().filter(|(other, _)| **other != replica).map(|(_, held)| held).sum();
        let mut held = report.keeps;
        let grants = self.spent.is_some() && epoch == self.epoch && now_ms >= self.grants_from_ms;
        if let Some(spent) = self.spent.filter(|_| grants) {
            let left = report.limit.saturating_sub(spent + others + report.keeps);
            held += report.more.min(report.needs.max(left / 2)).min(left);
        }
        self.held.insert(replica, held + uncounted);
        let forgotten = self.forgotten.remove(&replica).filter(|_| now_ms >= self.grants_from_ms);
        self.reported_late += forgotten.unwrap_or(0);
        Granted { held, spent: self.spent, others, grants }
    }

    fn lose_everything(&mut self, now_ms: i64) {
        let mut forgotten = std::mem::take(&mut self.forgotten);
        if now_ms >= self.grants_from_ms {
            self.reported_late += std::mem::take(&mut forgotten).values().sum::<u64>();
        }
        forgotten.extend(std::mem::take(&mut self.held));
        let reported_late = self.reported_late;
        let (grants_from_ms, epoch) = (now_ms + VALID_MS, self.epoch + 1);
        *self = Self { epoch, grants_from_ms, forgotten, reported_late, ..Self::default() };
    }
}

/// A replica, and the epoch of the server that it knows.
struct Replica {
    budgets: Budgets,
    nth: usize,
    epoch: u32,
}

impl Replica {
    /// One whose ledger says that nothing is spent.
    fn new(nth: usize, limit: u64, now_ms: i64) -> Self {
        let budgets = Budgets::new(Some(WhenAway::Refuse));
        budgets.set(vec![(scope(), budget(limit))], now_ms);
        ask_ledger(&budgets, 0, now_ms);
        Self { budgets, nth, epoch: 0 }
    }

    /// Reports to the server; `arrives` is whether the answer does.
    fn report(&self, server: &mut Server, turn: Turn, needs: &[(u64, u64)], arrives: bool, now_ms: i64) {
        for report in self.budgets.reports(turn, needs, now_ms) {
            let granted = server.answer(self.nth, self.epoch, &report, now_ms);
            if arrives {
                self.budgets.grant(&report, &granted, VALIDITY, now_ms);
            }
        }
    }

    /// Learns after a report which epoch it is, and asks the ledger again if that is another one.
    fn learn(&mut self, server: &Server, spent: u64, now_ms: i64) {
        if self.epoch != server.epoch {
            self.epoch = server.epoch;
            self.budgets.lose();
            ask_ledger(&self.budgets, spent, now_ms);
        }
    }

    /// Reserves as the router does: from what is held, else after asking for more.
    fn reserve(&self, server: &mut Server, number: u64, amount: u64, now_ms: i64) -> bool {
        match self.budgets.reserve(attempt(number), SPENDER, Some(amount), now_ms) {
            Ok(()) => true,
            Err(OverBudget::Short(needs)) => {
                self.report(server, Turn::Needed, &needs, true, now_ms);
                self.budgets.reserve_of_held(attempt(number), SPENDER, Some(amount), true, now_ms).is_ok()
            }
            Err(OverBudget::Unknown(_) | OverBudget::Reached { .. }) => false,
        }
    }
}

fn ask_ledger(budgets: &Budgets, spent: u64, now_ms: i64) {
    for question in budgets.questions(false, now_ms) {
        budgets.answer(&question, Some(spent));
    }
}

#[test]
fn two_replicas_let_through_together_exactly_what_a_budget_pays_for() {
    let now = 100 * DAY_MS;
    let mut server = Server::default();
    let replicas = [Replica::new(0, 1_000, now), Replica::new(1, 1_000, now)];
    let admitted = (0..1_000).filter(|number| {
        let nth = usize::try_from(number % 2).expect("0 or 1");
        replicas[nth].reserve(&mut server, *number, 10, now)
    });
    assert_eq!(admitted.count(), 100);
}

#[test]
fn what_one_replica_needs_no_more_another_one_gets() {
    let now = 100 * DAY_MS;
    let mut server = Server::default();
    let replicas = [Replica::new(0, 1_000, now), Replica::new(1, 1_000, now)];
    assert!(replicas[0].reserve(&mut server, 1, 900, now));
    assert!(!replicas[1].reserve(&mut server, 1, 200, now));
    replicas[0].budgets.settle(attempt(1), SPENDER, Some(300), now);
    replicas[0].report(&mut server, Turn::Regular, &[], true, now);
    // It keeps a hundredth of the limit, to go on with.
    assert!(replicas[1].reserve(&mut server, 2, 690, now + 300));
    assert!(!replicas[0].reserve(&mut server, 2, 11, now + 300));
    replicas[1].report(&mut server, Turn::Regular, &[], true, now + 300);
    assert_eq!(replicas[1].budgets.status(now + 300)[0].spent_nano_usd, Some(300), "by all of them");
}

#[test]
fn without_an_answer_what_is_held_lapses_and_the_configuration_says_what_then() {
    let now = 100 * DAY_MS;
    let mut server = Server::default();
    let refuses = Replica::new(0, 1_000, now);
    assert!(refuses.reserve(&mut server, 1, 10, now));
    let later = now + VALID_MS;
    let asked = refuses.budgets.reserve(attempt(2), SPENDER, Some(1), later);
    assert!(matches!(asked, Err(OverBudget::Short(_))), "{asked:?}");
    assert_eq!(
        refuses.budgets.reserve_of_held(attempt(2), SPENDER, Some(1), false, later),
        Err(OverBudget::Unknown(scope()))
    );
    // What is under way is still held when the server is back, and its cost is not lost.
    refuses.budgets.settle(attempt(1), SPENDER, Some(10), later);
    refuses.report(&mut server, Turn::Regular, &[], true, later);
    assert_eq!(server.spent, Some(10));

    let goes_on = Budgets::new(Some(WhenAway::Own));
    goes_on.set(vec![(scope(), budget(100))], now);
    ask_ledger(&goes_on, 60, now);
    assert_eq!(goes_on.reserve(attempt(1), SPENDER, Some(40), now), Ok(()));
    assert!(matches!(goes_on.reserve(attempt(2), SPENDER, Some(1), now), Err(OverBudget::Reached { .. })));
}

#[test]
fn in_the_next_window_replicas_begin_with_nothing_spent_and_nothing_held() {
    let now = 100 * DAY_MS;
    let mut server = Server::default();
    let replica = Replica::new(0, 100, now);
    assert!(replica.reserve(&mut server, 1, 100, now));
    replica.budgets.settle(attempt(1), SPENDER, Some(100), now);
    assert!(!replica.reserve(&mut server, 2, 1, now));
    let tomorrow = now + DAY_MS;
    let [report] = &replica.budgets.reports(Turn::Regular, &[], tomorrow)[..] else { panic!("one budget") };
    assert_eq!((report.from_ms, report.spent, report.keeps, report.known), (tomorrow, 0, 0, Some(0)));
    assert!(replica.reserve(&mut Server::default(), 2, 100, tomorrow));
}

proptest! {
    /// Whatever is lost or late: replicas never spend more together than the limit, if no call costs more than was reserved for it, and
    /// what those held that did not report in time after everything was lost.
    #[test]
    fn replicas_together_stay_within_the_limit(
        steps in prop::collection::vec((0_usize..3, 0_u8..13, 1_u64..300, 0_i64..2_000), 1..250),
    ) {
        const LIMIT: u64 = 2_000;
        let mut now = 100 * DAY_MS;
        let mut server = Server::default();
        let mut replicas = [0, 1, 2].map(|nth| Replica::new(nth, LIMIT, now));
        let (mut open, mut spent): (Vec<(usize, u64, u64)>, u64) = (Vec::new(), 0);
        for (number, (nth, what, amount, passes)) in (0_u64..).zip(steps) {
            let replica = &mut replicas[nth];
            match what {
                0..=5 => {
                    if replica.reserve(&mut server, number, amount, now) {
                        open.push((nth, number, amount));
                    }
                }
                6..=8 => {
                    if let Some(at) = open.iter().position(|(of, ..)| *of == nth) {
                        let (_, number, reserved) = open.swap_remove(at);
                        let cost = reserved.min(amount);
                        replica.budgets.settle(attempt(number), SPENDER, Some(cost), now);
                        spent += cost;
                    }
                }
                9 => replica.report(&mut server, Turn::Regular, &[], true, now),
                10 => replica.report(&mut server, Turn::Regular, &[], false, now),
                11 => replica.learn(&server, spent, now),
                _ => server.lose_everything(now),
            }
            now += passes;
            let reserved: u64 = open.iter().map(|(.., amount)| amount).sum();
            let forgotten = server.forgotten.values().sum::<u64>() + server.reported_late;
            prop_assert!(spent + reserved <= LIMIT + forgotten, "{spent} + {reserved}, forgotten {forgotten}");
        }
    }
}

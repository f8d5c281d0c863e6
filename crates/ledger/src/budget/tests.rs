//! Budgets in virtual time: what they let through, when they begin anew, and what they learn from the ledger.

use jiff::{Timestamp, tz::TimeZone};
use proptest::prelude::*;

use super::*;
use crate::RequestKey;

const TEAM: Spender<'static> = Spender { key: Some("k"), team: Some("search"), model: Some("m") };

fn at(time: &str) -> i64 {
    time.parse::<Timestamp>().expect(time).as_millisecond()
}

fn scope(dimension: Dimension, name: &str) -> Scope {
    Scope { dimension, name: name.into() }
}

fn budget(limit_nano_usd: u64, period: Period) -> Budget {
    Budget {
        limit_nano_usd,
        raised: None,
        period,
        zone: TimeZone::UTC,
        warn_at_percent: vec![50, 80],
        at_limit: AtLimit::Refuse,
    }
}

fn attempt(number: u64) -> AttemptKey {
    AttemptKey { request: RequestKey { writer: 1, number }, attempt: 1 }
}

/// Budgets whose use is known: nothing yet.
fn budgets(of: Vec<(Scope, Budget)>, now_ms: i64) -> Budgets {
    let budgets = Budgets::default();
    budgets.set(of, now_ms);
    for question in budgets.questions(false, now_ms) {
        assert_eq!(budgets.answer(&question, Some(0)), None);
    }
    budgets
}

fn of_team(limit_nano_usd: u64, now_ms: i64) -> Budgets {
    budgets(vec![(scope(Dimension::Team, "search"), budget(limit_nano_usd, Period::Month))], now_ms)
}

fn spent(budgets: &Budgets, now_ms: i64) -> Vec<(Option<u64>, u64)> {
    let status = budgets.status(now_ms);
    status.iter().map(|status| (status.spent_nano_usd, status.reserved_nano_usd)).collect()
}

#[test]
fn exactly_what_a_budget_pays_for_is_let_through_at_once() {
    let now = at("2026-11-27T12:00:00Z");
    let budgets = of_team(1_000, now);
    let admitted = (0..1_000).filter(|number| budgets.reserve(attempt(*number), TEAM, Some(10), now).is_ok()).count();
    assert_eq!(admitted, 100);
    let refused = budgets.reserve(attempt(5_000), TEAM, Some(10), now);
    let Err(OverBudget::Reached { status, needed_nano_usd: 10 }) = refused else { panic!("{refused:?}") };
    assert_eq!((status.spent_nano_usd, status.reserved_nano_usd, status.limit_nano_usd), (Some(0), 1_000, 1_000));
    assert_eq!(status.until_ms, at("2026-12-01T00:00:00Z"));
}

#[test]
fn what_a_call_did_cost_replaces_what_was_reserved_for_it() {
    let now = at("2026-11-27T12:00:00Z");
    let budgets = of_team(1_000, now);
    for (number, cost) in [(1, Some(100)), (2, Some(0)), (3, None)] {
        budgets.reserve(attempt(number), TEAM, Some(300), now).expect("room");
        budgets.settle(attempt(number), TEAM, cost, now);
        // A second end of the same call gives nothing back twice.
        budgets.settle(attempt(number), TEAM, None, now);
    }
    assert_eq!(spent(&budgets, now), [(Some(100), 0)]);
    budgets.reserve(attempt(4), TEAM, Some(901), now).expect_err("no room for so much");
    budgets.reserve(attempt(4), TEAM, Some(900), now).expect("room for the rest");
}

#[test]
fn a_call_without_a_price_is_refused_only_when_nothing_is_left() {
    let now = at("2026-11-27T12:00:00Z");
    let budgets = of_team(100, now);
    budgets.reserve(attempt(1), TEAM, None, now).expect("something is left");
    budgets.reserve(attempt(2), TEAM, Some(100), now).expect("room");
    budgets.reserve(attempt(3), TEAM, None, now).expect_err("nothing is left");
    budgets.look(TEAM, now).expect_err("nothing is left");
}

#[test]
fn a_call_needs_room_in_every_budget_that_counts_it_and_takes_nothing_if_one_has_none() {
    let now = at("2026-11-27T12:00:00Z");
    let three = [(Dimension::Key, "k", 1_000), (Dimension::Team, "search", 50), (Dimension::Model, "other", 1)];
    let three = three.map(|(dimension, name, limit)| (scope(dimension, name), budget(limit, Period::Day)));
    let budgets = budgets(three.to_vec(), now);
    let refused = budgets.reserve(attempt(1), TEAM, Some(60), now);
    assert!(
        matches!(&refused, Err(OverBudget::Reached { status, .. }) if status.scope == scope(Dimension::Team, "search")),
        "{refused:?}"
    );
    assert_eq!(spent(&budgets, now), [(Some(0), 0), (Some(0), 0), (Some(0), 0)]);
    budgets.reserve(attempt(1), TEAM, Some(40), now).expect("room in both");
    assert_eq!(spent(&budgets, now), [(Some(0), 40), (Some(0), 40), (Some(0), 0)]);
    // Nobody's budget counts a call without key and team of another model.
    let nobody = Spender { key: None, team: None, model: Some("m") };
    budgets.reserve(attempt(2), nobody, Some(1_000_000), now).expect("no budget");
}

#[test]
fn nothing_is_granted_before_the_ledger_has_said_what_was_spent() {
    let now = at("2026-11-27T12:00:00Z");
    let budgets = Budgets::default();
    budgets.set(vec![(scope(Dimension::Team, "search"), budget(1_000, Period::Week))], now);
    let unknown = OverBudget::Unknown(scope(Dimension::Team, "search"));
    assert_eq!(budgets.reserve(attempt(1), TEAM, Some(1), now), Err(unknown.clone()));
    let [question] = &budgets.questions(false, now)[..] else { panic!("one question") };
    assert_eq!((question.from_ms, question.until_ms), (at("2026-11-23T00:00:00Z"), now));
    assert_eq!(budgets.questions(false, now), [], "it is asked once");
    assert_eq!(budgets.answer(question, None), None);
    assert_eq!(budgets.look(TEAM, now), Err(unknown), "the ledger could not say");
    let [question] = &budgets.questions(false, now)[..] else { panic!("it is asked again") };
    // A call that began before the budget and ends while the ledger is asked.
    budgets.settle(attempt(9), TEAM, Some(70), now + 5);
    budgets.answer(question, Some(400));
    assert_eq!(spent(&budgets, now), [(Some(470), 0)]);
    // What other processes spent comes with the next answer.
    let [question] = &budgets.questions(true, now + 60_000)[..] else { panic!("it is asked again") };
    budgets.settle(attempt(10), TEAM, Some(5), now + 60_001);
    budgets.answer(question, Some(600));
    assert_eq!(spent(&budgets, now), [(Some(605), 0)]);
}

#[test]
fn a_budget_begins_anew_and_keeps_what_is_reserved() {
    let now = at("2026-11-30T23:59:59.999Z");
    let budgets = of_team(1_000, now);
    budgets.reserve(attempt(1), TEAM, Some(600), now).expect("room");
    budgets.settle(attempt(1), TEAM, Some(600), now);
    budgets.reserve(attempt(2), TEAM, Some(400), now).expect("room");
    let [question] = &budgets.questions(true, now)[..] else { panic!("one question") };
    let later = now + 1;
    assert_eq!(spent(&budgets, later), [(Some(0), 400)]);
    budgets.answer(question, Some(999));
    assert_eq!(spent(&budgets, later), [(Some(0), 400)], "the answer is about the month before");
    budgets.settle(attempt(2), TEAM, Some(350), later);
    assert_eq!(spent(&budgets, later), [(Some(350), 0)]);
    assert_eq!(spent(&budgets, now), [(Some(350), 0)], "a clock that is put back opens nothing again");
}

#[test]
fn another_limit_keeps_the_use_and_another_period_asks_for_it() {
    let now = at("2026-11-27T12:00:00Z");
    let budgets = of_team(1_000, now);
    budgets.reserve(attempt(1), TEAM, Some(300), now).expect("room");
    budgets.settle(attempt(2), TEAM, Some(500), now);
    budgets.set(vec![(scope(Dimension::Team, "search"), budget(700, Period::Month))], now);
    assert_eq!(spent(&budgets, now), [(Some(500), 300)]);
    budgets.set(vec![(scope(Dimension::Team, "search"), budget(700, Period::Day))], now);
    assert_eq!(spent(&budgets, now), [(None, 0)]);
    // The end of a call that reserved of a budget that is gone.
    budgets.settle(attempt(1), TEAM, Some(200), now);
    assert_eq!(budgets.questions(false, now).len(), 1);
    budgets.set(Vec::new(), now);
    budgets.reserve(attempt(3), TEAM, Some(u64::MAX), now).expect("no budget");
}

#[test]
fn each_threshold_is_reported_once_in_a_window() {
    let now = at("2026-11-27T12:00:00Z");
    let budgets = of_team(1_000, now);
    let spend = |cost, now| -> Vec<u8> {
        budgets.settle(attempt(1), TEAM, Some(cost), now).iter().map(|threshold| threshold.percent).collect()
    };
    let passed: Vec<_> = [499, 1, 100, 400].map(|cost| spend(cost, now)).into_iter().collect();
    assert_eq!(passed, [vec![], vec![50], vec![], vec![80]]);
    assert_eq!(spend(900, at("2026-12-01T00:00:00Z")), [80], "of several, the highest");
}

#[test]
fn days_weeks_and_months_are_those_of_the_time_zone() {
    let berlin = TimeZone::get("Europe/Berlin").expect("a zone");
    let window = |period: Period, now| {
        let window = period.window(&berlin, at(now));
        (Timestamp::from_millisecond(window.from_ms).unwrap(), Timestamp::from_millisecond(window.until_ms).unwrap())
    };
    let times = |from: &str, until: &str| (from.parse().unwrap(), until.parse().unwrap());
    // 25 hours, when clocks are put back.
    let day = window(Period::Day, "2026-10-25T12:00:00Z");
    assert_eq!(day, times("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"));
    let week = window(Period::Week, "2026-11-29T22:59:59Z");
    assert_eq!(week, times("2026-11-22T23:00:00Z", "2026-11-29T23:00:00Z"));
    let month = window(Period::Month, "2026-10-31T23:00:00Z");
    assert_eq!(month, times("2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z"));
    // Midnight is left out there on the last Saturday of March.
    let nuuk = TimeZone::get("America/Nuuk").expect("a zone");
    let skipped = Period::Day.window(&nuuk, at("2027-03-28T12:00:00Z"));
    assert!(skipped.from_ms < at("2027-03-28T12:00:00Z") && skipped.until_ms > at("2027-03-28T12:00:00Z"));
}

#[test]
fn a_raised_limit_holds_until_its_end() {
    let now = at("2026-11-27T12:00:00Z");
    let raised = Raised { limit_nano_usd: 150, until_ms: now + 1_000 };
    let budgets = budgets(
        vec![(scope(Dimension::Team, "search"), Budget { raised: Some(raised), ..budget(100, Period::Day) })],
        now,
    );
    budgets.reserve(attempt(1), TEAM, Some(120), now + 999).expect("room in the raised limit");
    budgets.settle(attempt(1), TEAM, Some(90), now + 999);
    budgets.reserve(attempt(2), TEAM, Some(20), now + 1_000).expect_err("no room in the usual one");
    budgets.reserve(attempt(2), TEAM, Some(10), now + 1_000).expect("room for the rest");
    assert_eq!(budgets.status(now + 1_000)[0].limit_nano_usd, 100);
}

#[test]
fn a_budget_that_says_so_leaves_the_cheapest_upstream_when_it_is_used_up() {
    let now = at("2026-11-27T12:00:00Z");
    let cheapest = Budget { at_limit: AtLimit::Cheapest, ..budget(100, Period::Day) };
    let budgets = budgets(vec![(scope(Dimension::Team, "search"), cheapest)], now);
    assert_eq!(budgets.look(TEAM, now), Ok(Room::Any));
    budgets.reserve(attempt(1), TEAM, Some(100), now).expect("room");
    assert_eq!(budgets.look(TEAM, now), Ok(Room::Cheapest));
    budgets.reserve(attempt(2), TEAM, Some(100), now).expect("beyond the budget, as it says");
    budgets.settle(attempt(1), TEAM, Some(10), now);
    budgets.settle(attempt(2), TEAM, Some(10), now);
    assert_eq!(budgets.look(TEAM, now), Ok(Room::Any));
}

proptest! {
    /// Over four years, each moment is in exactly one window, and one ends where the next begins.
    #[test]
    fn windows_have_neither_gaps_nor_overlaps(
        hours in 0_i64..35_000,
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "Australia/Lord_Howe"]),
        period in prop::sample::select(vec![Period::Day, Period::Week, Period::Month]),
    ) {
        let zone = TimeZone::get(zone).expect("a zone");
        let now = at("2024-01-01T00:00:00Z") + hours * 3_600_000 + 1_234;
        let window = period.window(&zone, now);
        prop_assert!(window.from_ms <= now && now < window.until_ms);
        prop_assert_eq!(period.window(&zone, window.from_ms), window);
        prop_assert_eq!(period.window(&zone, window.until_ms - 1), window);
        prop_assert_eq!(period.window(&zone, window.until_ms).from_ms, window.until_ms);
        prop_assert_eq!(period.window(&zone, window.from_ms - 1).until_ms, window.from_ms);
    }

    /// Whatever the order of calls, ends and refusals, the sum of what is reserved is that of the calls under way, and spend
    /// passes the limit by no more than they were estimated too low.
    #[test]
    fn spend_passes_a_limit_only_by_what_was_estimated_too_low(
        calls in prop::collection::vec((0_u64..300, 0_u64..400, any::<bool>()), 1..200),
    ) {
        let now = at("2026-11-27T12:00:00Z");
        let budgets = of_team(2_000, now);
        let (mut open, mut too_low): (Vec<(u64, u64, u64)>, u64) = (Vec::new(), 0);
        for (number, (estimate, cost, ends)) in (0_u64..).zip(calls) {
            if budgets.reserve(attempt(number), TEAM, Some(estimate), now).is_ok() {
                open.push((number, estimate, cost));
            }
            if ends && let Some((number, estimate, cost)) = open.pop() {
                budgets.settle(attempt(number), TEAM, Some(cost), now);
                too_low += cost.saturating_sub(estimate);
            }
            let [(Some(spent), reserved)] = spent(&budgets, now)[..] else { panic!("one budget") };
            prop_assert_eq!(reserved, open.iter().map(|(_, estimate, _)| estimate).sum::<u64>());
            prop_assert!(spent + reserved <= 2_000 + too_low, "{spent} + {reserved}, {too_low}");
        }
    }
}

//! Sums say what rows say, whatever comes late or twice, while they are made, and after rows are deleted.

use std::collections::{BTreeMap, HashSet};

use jiff::tz::TimeZone;
use proptest::{
    collection::vec,
    prelude::*,
    sample::{select, subsequence},
    test_runner::{Config, TestCaseError, TestRunner},
};

use super::{both::on_both, *};
use crate::{
    report::DAY_MS,
    store::{self, Rows, Store, StoreError, rollup::HOUR_MS, upkeep::Upkeep},
};

on_both! {
    sums_say_what_rows_say,
    sums_are_made_of_rows_that_were_there_before_while_others_come,
    deleted_rows_leave_their_sums_and_what_comes_twice_then_is_refused,
    what_budgets_ask_is_what_the_rows_of_their_windows_say,
    a_batch_that_fails_leaves_neither_rows_nor_sums,
    writers_at_the_same_time_lose_and_double_nothing,
    rows_that_no_sum_has_are_not_deleted_before_it_has,
    absurd_amounts_do_not_stop_the_drain,
    a_budget_counts_the_whole_hour_where_its_rows_are_deleted,
}

/// The first day of the rows in these tests.
const FIRST_DAY: i64 = 20_775;
const DAYS: i64 = 5;
const BEGIN_MS: i64 = FIRST_DAY * DAY_MS;
/// Some days later.
const NOW_MS: i64 = BEGIN_MS + 40 * DAY_MS;

/// A call and its request.
#[derive(Debug, Clone)]
struct Case {
    attempt: Attempt<'static>,
    request: Request<'static>,
}

fn cases() -> impl Strategy<Value = Vec<Case>> {
    let labels = (
        select(vec![None, Some("search"), Some("ads")]),
        select(vec![None, Some("a"), Some("b")]),
        select(vec![Some("m"), Some("n"), None]),
        select(vec![None, Some("env=prod"), Some("env=prod,feature=é'\"")]),
    );
    let labels = labels.prop_map(|(team, key, model, tags)| Labels { team, key, model, tags, ..LABELS });
    let call = (
        select(vec!["primary", "hedge", "warm_up"]),
        select(vec!["served", "refused", "timeout_gap"]),
        select(vec![None, Some(UsageSource::Reported), Some(UsageSource::Estimated), Some(UsageSource::Unknown)]),
        prop::option::of(0..1_000_000_u64),
        select(vec!["u", "v"]),
        0..3_u32,
    );
    let tokens = (0..500_u64, prop::option::of(0..100_u64), 0..500_u64, prop::option::of(0..100_u64));
    // Often at the very edge of an hour.
    let moment = (0..DAYS * DAY_MS, select(vec![None, Some(0), Some(1), Some(HOUR_MS - 1)]))
        .prop_map(|(at_ms, edge)| BEGIN_MS + edge.map_or(at_ms, |edge| at_ms.div_euclid(HOUR_MS) * HOUR_MS + edge));
    let baselines = select(vec![vec![], vec![("split", 7)], vec![("all:u", 5), ("split", 9)]]);
    let case = (labels, call, tokens, moment, baselines, 1..4_u64).prop_map(
        |(labels, call, tokens, ended_at_ms, baselines, writer)| {
            let (role, outcome, usage_source, cost, upstream, other) = call;
            let (prompt, cached, completion, reasoning) = tokens;
            let tokens = Tokens { prompt, cached, completion, reasoning };
            let attempt = Attempt {
                ended_at_ms,
                labels,
                role,
                outcome,
                usage_source,
                upstream,
                tokens: usage_source.map(|_| tokens),
                cost_nano_usd: cost.filter(|_| usage_source.is_some()),
                price_version: cost.map(|cost| if cost % 2 == 0 { ":1,1,1,1" } else { "2026-11-01:2,2,2,2" }),
                ..attempt(AttemptKey { attempt: other + 1, ..key(writer, 0) })
            };
            let request = Request { ended_at_ms, labels, outcome, baselines, ..request(key(writer, 0).request) };
            Case { attempt, request }
        },
    );
    vec(case, 1..60).prop_map(|mut cases| {
        for (case, number) in cases.iter_mut().zip(1..) {
            case.attempt.key.request.number = number;
            case.request.key.number = number;
        }
        cases
    })
}

/// What is asked: by what, from when until when, and of which team.
fn queries() -> impl Strategy<Value = Query> {
    let dimensions = vec![
        Dimension::Team,
        Dimension::Key,
        Dimension::Model,
        Dimension::Upstream,
        Dimension::Route,
        Dimension::Role,
        Dimension::Day,
        Dimension::Tag("env".to_owned()),
        Dimension::Tags,
        Dimension::UsageSource,
        Dimension::PriceVersion,
    ];
    let edge = || (-DAY_MS..(DAYS + 1) * DAY_MS, select(vec![1, HOUR_MS, DAY_MS]));
    let team = vec(Just((Dimension::Team, "search".to_owned())), 0..2);
    (subsequence(dimensions, 0..4), edge(), edge(), team).prop_map(|(by, from, until, of)| {
        let at = |(at, unit): (i64, i64)| BEGIN_MS + at.div_euclid(unit) * unit;
        let (from, until) = (at(from), at(until));
        Query { by, since_ms: from.min(until), until_ms: from.max(until), of }
    })
}

/// What the rows say, without the store.
fn expected(cases: &[Case], query: &Query) -> Vec<Spend> {
    let mut found: BTreeMap<Vec<Option<String>>, Spend> = BTreeMap::new();
    for row in cases.iter().map(|case| case.attempt) {
        let Attempt { ended_at_ms, labels, role, outcome, usage_source, tokens, cost_nano_usd, .. } = row;
        let is_of = query.of.iter().all(|(_, team)| labels.team == Some(team));
        if !is_of || !(query.since_ms..query.until_ms).contains(&ended_at_ms) {
            continue;
        }
        let labels: Vec<_> = query.by.iter().map(|by| label(by, &row)).collect();
        let is_served = outcome == "served" && role != "warm_up";
        let (tokens, cost) = (tokens.unwrap_or_default(), cost_nano_usd.unwrap_or_default());
        let if_source = |source| if usage_source == Some(source) { cost } else { 0 };
        let spend = found.entry(labels.clone()).or_insert_with(|| Spend { labels, ..Spend::default() });
        spend.add(&Spend {
            labels: Vec::new(),
            calls: 1,
            answers: u64::from(is_served),
            prompt_tokens: tokens.prompt,
            cached_tokens: tokens.cached.unwrap_or_default(),
            completion_tokens: tokens.completion,
            reasoning_tokens: tokens.reasoning.unwrap_or_default(),
            cost_nano_usd: cost,
            wasted_nano_usd: if is_served { 0 } else { cost },
            estimated_nano_usd: if_source(UsageSource::Estimated),
            unknown_nano_usd: if_source(UsageSource::Unknown),
            unpriced_calls: u64::from(usage_source.is_some() && cost_nano_usd.is_none()),
        });
    }
    if query.by.is_empty() && found.is_empty() {
        found.insert(Vec::new(), Spend::default());
    }
    found.into_values().collect()
}

fn expected_baselines(cases: &[Case], query: &Query) -> Vec<Baseline> {
    let mut found = BTreeMap::<_, (u64, u64)>::new();
    for Request { ended_at_ms, labels, outcome, baselines, .. } in cases.iter().map(|case| &case.request) {
        let is_of = query.of.iter().all(|(_, team)| labels.team == Some(team));
        if !is_of || *outcome != "served" || !(query.since_ms..query.until_ms).contains(ended_at_ms) {
            continue;
        }
        let as_call = Attempt { labels: *labels, ended_at_ms: *ended_at_ms, ..attempt(key(1, 1)) };
        let labels: Vec<_> = query.by.iter().map(|by| label(by, &as_call)).collect();
        for (policy, cost) in baselines {
            let sum = found.entry((labels.clone(), policy)).or_default();
            *sum = (sum.0 + 1, sum.1 + cost);
        }
    }
    let baseline = |((labels, policy), (answers, cost_nano_usd)): ((_, &&str), _)| Baseline {
        labels,
        policy: (*policy).to_owned(),
        answers,
        cost_nano_usd,
    };
    found.into_iter().map(baseline).collect()
}

fn label(by: &Dimension, row: &Attempt<'_>) -> Option<String> {
    let labels = &row.labels;
    let label = match by {
        Dimension::Team => labels.team,
        Dimension::Key => labels.key,
        Dimension::Model => labels.model,
        Dimension::Upstream => Some(row.upstream),
        Dimension::Route => Some(labels.route),
        Dimension::Role => Some(row.role),
        Dimension::Tags => labels.tags,
        Dimension::Tag(_) => labels.tags.map(|_| "prod"),
        Dimension::UsageSource => row.usage_source.map(UsageSource::as_str),
        Dimension::PriceVersion => row.price_version,
        Dimension::Day => return Some(store::upkeep::date(row.ended_at_ms.div_euclid(DAY_MS))),
    };
    label.map(str::to_owned)
}

/// What an answer has as well as a call.
const OF_ANSWERS: [Dimension; 6] =
    [Dimension::Team, Dimension::Key, Dimension::Model, Dimension::Route, Dimension::Day, Dimension::Tags];

/// Rows as the drain brings them.
fn rows(cases: &[Case]) -> Rows<'_> {
    Rows {
        attempts: cases.iter().map(|case| case.attempt).collect(),
        requests: cases.iter().map(|case| case.request.clone()).collect(),
        ..Rows::default()
    }
}

fn check(scratch: &Scratch, cases: &[Case], query: &Query) -> Result<(), TestCaseError> {
    let mut spend = scratch.spend(query);
    spend.sort_by(|one, other| one.labels.cmp(&other.labels));
    prop_assert_eq!(spend, expected(cases, query), "spend of {:?}", query);
    if query.by.iter().all(|by| OF_ANSWERS.contains(by)) {
        let mut baselines = scratch.baselines(query);
        let key = |baseline: &Baseline| (baseline.labels.clone(), baseline.policy.clone());
        baselines.sort_by_key(key);
        prop_assert_eq!(baselines, expected_baselines(cases, query), "baselines of {:?}", query);
    }
    Ok(())
}

const SUMS: &str =
    "DELETE FROM attempt_hours; DELETE FROM attempt_days; DELETE FROM request_hours; DELETE FROM request_days;
    DELETE FROM attempt_ranges; DELETE FROM rollup_due";

/// A database without rows.
fn emptied(scratch: &Scratch) -> Box<dyn Store> {
    let store = store::open(&scratch.location).expect("a store");
    scratch.execute(&format!(
        "DELETE FROM attempts; DELETE FROM requests; {SUMS}; UPDATE retention SET rows_from_day = 0, set_at_ms = 0"
    ));
    store
}

/// Steps until there is nothing to do.
fn keep_up(store: &mut dyn Store, upkeep: &mut Upkeep, now_ms: i64) {
    // Rows are deleted a minute after that was decided.
    for now_ms in [now_ms, now_ms + 61_000] {
        let mut steps = 0;
        while upkeep.step(&mut *store, now_ms).expect("a step") {
            steps += 1;
            assert!(steps < 10_000, "it does not end");
        }
    }
}

fn keeping(rows_days: u32, hours_days: u32) -> Upkeep {
    Upkeep::new(Retention { rows_days: Some(rows_days), hours_days: Some(hours_days) }, 3)
}

fn run<S: Strategy + Send>(strategy: S, test: impl Fn(S::Value) -> Result<(), TestCaseError> + Send) {
    aside(move || {
        let config = Config::default();
        let config = Config { cases: config.cases / 32, failure_persistence: None, ..config };
        let mut runner = TestRunner::new(config);
        if let Err(error) = runner.run(&strategy, test) {
            panic!("{error}");
        }
    });
}

async fn sums_say_what_rows_say(scratch: Scratch) {
    let input = (cases(), vec(queries(), 4), vec(any::<prop::sample::Index>(), 10));
    run(input, |(cases, queries, again)| {
        let mut store = emptied(&scratch);
        let (first, second) = cases.split_at(cases.len() / 2);
        store.write(&rows(first)).expect("written");
        // Some of them twice, together with others, and some twice in a batch.
        let again: Vec<_> = again.iter().map(|index| index.get(&cases).clone()).collect();
        let batch: Vec<_> = second.iter().chain(&again).cloned().collect();
        store.write(&rows(&batch)).expect("written");
        store.write(&Rows { may_be_twice: true, ..rows(&cases) }).expect("written");
        let unknown = Rows { unknown: cases.iter().map(|case| case.attempt).collect(), ..Rows::default() };
        store.write(&unknown).expect("written");
        queries.iter().try_for_each(|query| check(&scratch, &cases, query))
    });
}

/// As after an upgrade: rows without sums, then others of the same days, and questions amid all that.
async fn sums_are_made_of_rows_that_were_there_before_while_others_come(scratch: Scratch) {
    run((cases(), vec(queries(), 3)), |(cases, queries)| {
        let mut store = emptied(&scratch);
        let (before, after) = cases.split_at(cases.len() / 2);
        store.write(&rows(before)).expect("written");
        scratch.execute(&format!(
            "{SUMS}; INSERT INTO rollup_due SELECT DISTINCT 'attempts', day, -1, 0 FROM attempts;
            INSERT INTO rollup_due SELECT DISTINCT 'requests', day, -1, 0 FROM requests"
        ));
        let mut upkeep = Upkeep::new(Retention::default(), 2);
        for (nth, case) in after.iter().enumerate() {
            store.write(&rows(std::slice::from_ref(case))).expect("written");
            store.write(&rows(&cases[..nth])).expect("written");
            upkeep.step(&mut *store, NOW_MS).expect("a step");
            if nth % 5 == 0 {
                let there: Vec<_> = before.iter().chain(&after[..=nth]).cloned().collect();
                check(&scratch, &there, &queries[nth % queries.len()])?;
            }
        }
        keep_up(&mut *store, &mut upkeep, NOW_MS);
        prop_assert_eq!(scratch.figure("SELECT count(*) FROM rollup_due"), 0);
        queries.iter().try_for_each(|query| check(&scratch, &cases, query))
    });
}

async fn deleted_rows_leave_their_sums_and_what_comes_twice_then_is_refused(scratch: Scratch) {
    let kept = (0..=DAYS, 0..=DAYS);
    run((cases(), vec(queries(), 6), kept), |(cases, queries, kept)| {
        let mut store = emptied(&scratch);
        store.write(&rows(&cases)).expect("written");
        // So many of the days in these tests are not kept.
        let (rows_gone, hours_gone) = (kept.0.max(kept.1), kept.0.min(kept.1));
        let days = |gone: i64| u32::try_from(40 - gone).expect("days");
        keep_up(&mut *store, &mut keeping(days(rows_gone), days(hours_gone)), NOW_MS);
        let first_kept = FIRST_DAY + rows_gone;
        let is_kept = |case: &&Case| case.attempt.ended_at_ms >= first_kept * DAY_MS;
        let left = i64::try_from(cases.iter().filter(is_kept).count()).expect("a number");
        for table in ["attempts", "requests"] {
            prop_assert_eq!(scratch.figure(&format!("SELECT count(*) FROM {table}")), left);
        }
        let days: HashSet<_> = cases.iter().map(|case| case.attempt.ended_at_ms.div_euclid(DAY_MS)).collect();
        let folded = days.iter().filter(|day| **day < FIRST_DAY + hours_gone).count();
        let by_day = scratch.figure("SELECT count(DISTINCT day) FROM attempt_days");
        prop_assert_eq!(by_day, i64::try_from(folded).expect("a number"));

        let late = store.write(&Rows { may_be_twice: true, ..rows(&cases) }).expect("written");
        prop_assert_eq!(late, 2 * (cases.len() as u64 - u64::try_from(left).expect("a number")));
        for query in &queries {
            match aside(|| crate::spend(&scratch.location, query)) {
                Ok(_) => check(&scratch, &cases, query)?,
                Err(StoreError::Inexact(_)) => {
                    let is_amid = |at_ms: i64| at_ms.rem_euclid(DAY_MS) != 0 && at_ms < first_kept * DAY_MS;
                    prop_assert!(is_amid(query.since_ms) || is_amid(query.until_ms), "{:?}", query);
                }
                Err(error) => panic!("{error}"),
            }
        }
        // What is late, but not from a journal that may have been brought before, counts.
        let mut cases = cases;
        let mut late = cases[0].clone();
        late.attempt.key = key(9, 1);
        late.request.key = late.attempt.key.request;
        store.write(&rows(std::slice::from_ref(&late))).expect("written");
        cases.push(late);
        keep_up(&mut *store, &mut keeping(30, 30), NOW_MS);
        let whole = Query { by: vec![Dimension::Day], since_ms: BEGIN_MS, until_ms: NOW_MS, of: Vec::new() };
        check(&scratch, &cases, &whole)
    });
}

async fn what_budgets_ask_is_what_the_rows_of_their_windows_say(scratch: Scratch) {
    const ZONES: [&str; 6] =
        ["UTC", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns", "Australia/Lord_Howe", "America/New_York"];
    let windows =
        vec((select(ZONES.to_vec()), select(vec![Period::Day, Period::Week, Period::Month]), 0..DAYS * DAY_MS), 6);
    run((cases(), windows), |(cases, windows)| {
        let mut store = emptied(&scratch);
        store.write(&rows(&cases)).expect("written");
        for (zone, period, at_ms) in windows {
            let now_ms = BEGIN_MS + at_ms;
            let window = period.window(&TimeZone::get(zone).expect(zone), now_ms);
            let by = vec![Dimension::Key, Dimension::Team, Dimension::Model];
            check(&scratch, &cases, &Query { by, since_ms: window.from_ms, until_ms: now_ms, of: Vec::new() })?;
        }
        Ok(())
    });
}

fn example(number: u64) -> Case {
    Case { attempt: attempt(key(7, number)), request: request(key(7, number).request) }
}

/// Whatever kills a process amid a batch, also between the rows and the sums.
async fn a_batch_that_fails_leaves_neither_rows_nor_sums(scratch: Scratch) {
    aside(|| {
        let mut store = emptied(&scratch);
        store.write(&rows(&[example(1)])).expect("written");
        scratch.execute("ALTER TABLE request_hours RENAME TO elsewhere");
        store.write(&rows(&[example(2)])).expect_err("no table");
        scratch.execute("ALTER TABLE elsewhere RENAME TO request_hours");
        for (count, of) in [("count(*)", "attempts"), ("count(*)", "requests"), ("sum(calls)", "attempt_hours")] {
            assert_eq!(scratch.figure(&format!("SELECT {count} FROM {of}")), 1, "{of}");
        }
        store.write(&rows(&[example(2)])).expect("written");
        assert_eq!(scratch.figure("SELECT sum(calls) FROM attempt_hours"), 2);
    });
}

async fn writers_at_the_same_time_lose_and_double_nothing(scratch: Scratch) {
    const EACH: u64 = 60;
    aside(|| {
        drop(emptied(&scratch));
        thread::scope(|scope| {
            for writer in 1..=4 {
                let location = &scratch.location;
                scope.spawn(move || {
                    let mut store = store::open(location).expect("a store");
                    for number in 1..=EACH {
                        let mut own = example(number);
                        // Two of them bring the same rows.
                        own.attempt.key.request.writer = writer / 2;
                        own.request.key.writer = writer / 2;
                        store.write(&rows(&[own])).expect("written");
                    }
                });
            }
        });
        let kept = Retention { rows_days: None, hours_days: Some(1) };
        let mut store = store::open(&scratch.location).expect("a store");
        for (calls, requests) in [("attempt_hours", "request_hours"), ("attempt_days", "request_days")] {
            let writers = 3;
            assert_eq!(scratch.figure(&format!("SELECT sum(calls) FROM {calls}")), writers * EACH.cast_signed());
            let of = format!("SELECT sum(requests) FROM {requests} WHERE policy = ''");
            assert_eq!(scratch.figure(&of), writers * EACH.cast_signed());
            let rows = scratch.figure("SELECT count(*) FROM attempts");
            assert_eq!(rows, writers * EACH.cast_signed());
            keep_up(&mut *store, &mut Upkeep::new(kept, 1_000), NOW_MS);
        }
        assert_eq!(scratch.figure("SELECT count(*) FROM attempt_days"), 1);
        assert_eq!(scratch.figure("SELECT count(*) FROM attempt_hours"), 0);
    });
}

/// A router of an earlier version wrote rows and no sums.
async fn rows_that_no_sum_has_are_not_deleted_before_it_has(scratch: Scratch) {
    aside(|| {
        let mut store = emptied(&scratch);
        store.write(&rows(&[example(1), example(2)])).expect("written");
        scratch.execute(SUMS);
        store.write(&rows(&[example(3)])).expect("written");
        keep_up(&mut *store, &mut keeping(2, 10_000), NOW_MS);
        assert_eq!(scratch.figure("SELECT count(*) FROM attempts"), 0);
        let whole = Query { by: vec![Dimension::Day], since_ms: 0, until_ms: NOW_MS, of: Vec::new() };
        check(&scratch, &[example(1), example(2), example(3)], &whole).expect("the sums");
    });
}

/// An upstream may say that it used any number of tokens.
async fn absurd_amounts_do_not_stop_the_drain(scratch: Scratch) {
    aside(|| {
        let mut store = emptied(&scratch);
        for number in 1..=3 {
            let mut case = example(number);
            case.attempt.tokens =
                Some(Tokens { prompt: u64::MAX, cached: None, completion: u64::MAX, reasoning: None });
            store.write(&rows(&[case])).expect("written");
        }
        assert_eq!(scratch.figure("SELECT prompt_tokens FROM attempt_hours"), i64::MAX);
        assert_eq!(scratch.figure("SELECT calls FROM attempt_hours"), 3);
    });
}

/// In Kathmandu days begin at a quarter past an hour.
async fn a_budget_counts_the_whole_hour_where_its_rows_are_deleted(scratch: Scratch) {
    let zone = TimeZone::get("Asia/Kathmandu").expect("a zone");
    let now_ms = attempt(key(7, 1)).ended_at_ms;
    let from_ms = Period::Month.window(&zone, now_ms).from_ms;
    let of =
        |number, at_ms| Case { attempt: Attempt { ended_at_ms: at_ms, ..example(number).attempt }, ..example(number) };
    let cases = [of(1, from_ms - 1), of(2, from_ms), of(3, now_ms - 1), of(4, from_ms - HOUR_MS)];
    let spent = || {
        let ledger = scratch.open(8);
        let budgets = Budgets::default();
        let budget = Budget {
            limit_nano_usd: 5_000,
            raised: None,
            period: Period::Month,
            zone: zone.clone(),
            warn_at_percent: Vec::new(),
            at_limit: AtLimit::Refuse,
        };
        let scope = Scope { dimension: Dimension::Team, name: "search".into() };
        budgets.set(vec![(scope, budget)], now_ms);
        ledger.refresh(&budgets, false, now_ms, Duration::from_secs(30));
        ledger.close();
        budgets.status(now_ms)[0].spent_nano_usd
    };
    aside(|| {
        let mut store = emptied(&scratch);
        store.write(&rows(&cases)).expect("written");
        assert_eq!(spent(), Some(600), "exactly the window");
        keep_up(&mut *store, &mut keeping(2, 10_000), now_ms);
        assert_eq!(spent(), Some(900), "the hour in which it begins");
        keep_up(&mut *store, &mut keeping(2, 2), now_ms);
        assert_eq!(spent(), Some(1_200), "the day in which it begins");
    });
}

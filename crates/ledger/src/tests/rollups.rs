//! Sums say what rows say, whatever comes late or twice, while they are made, and after rows are deleted.

mod expected;
mod upkeep;

use std::collections::HashSet;

use jiff::tz::TimeZone;
use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{Config, TestCaseError, TestRunner},
};

use super::{both::on_both, *};
use crate::{
    Snapshot, Tariffs,
    report::{DAY_MS, Statement},
    store::{self, Rows, Store, StoreError, rollup::HOUR_MS, upkeep::Upkeep},
};
use expected::{BEGIN_MS, Case, DAYS, FIRST_DAY, NOW_MS, OF_ANSWERS, cases, expected, expected_baselines, queries};
use upkeep::{
    hours_become_days_in_steps_while_calls_come, rows_stay_whose_sums_have_more_than_they,
    rows_that_came_late_from_an_earlier_version_are_summed_up_after_the_upgrade,
    rows_that_come_while_those_of_their_day_are_deleted_are_deleted_as_well,
    rows_that_no_sum_has_are_not_deleted_before_it_has,
};

on_both! {
    sums_say_what_rows_say,
    sums_are_made_of_rows_that_were_there_before_while_others_come,
    a_ledger_of_an_earlier_version_is_read_then_brought_up_to_date_and_summed_up,
    deleted_rows_leave_their_sums_and_what_comes_twice_then_is_refused,
    what_budgets_ask_is_what_the_rows_of_their_windows_say,
    a_batch_that_fails_leaves_neither_rows_nor_sums,
    writers_at_the_same_time_lose_and_double_nothing,
    rows_that_no_sum_has_are_not_deleted_before_it_has,
    rows_that_came_late_from_an_earlier_version_are_summed_up_after_the_upgrade,
    rows_that_come_while_those_of_their_day_are_deleted_are_deleted_as_well,
    rows_stay_whose_sums_have_more_than_they,
    absurd_amounts_do_not_stop_the_drain,
    questions_end_in_time,
    hours_become_days_in_steps_while_calls_come,
    answers_of_a_snapshot_are_of_one_moment,
    a_budget_counts_the_whole_hour_where_its_rows_are_deleted,
}

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

/// Fewer cases in Postgres, where each question makes a connection.
fn run<S: Strategy + Send>(
    scratch: &Scratch,
    strategy: S,
    test: impl Fn(S::Value) -> Result<(), TestCaseError> + Send,
) {
    aside(move || {
        let config = Config::default();
        let share = if scratch.postgres.is_some() { 96 } else { 32 };
        let config = Config { cases: config.cases / share, failure_persistence: None, ..config };
        let mut runner = TestRunner::new(config);
        if let Err(error) = runner.run(&strategy, test) {
            panic!("{error}");
        }
    });
}

async fn sums_say_what_rows_say(scratch: Scratch) {
    let input = (cases(), vec(queries(), 4), vec(any::<prop::sample::Index>(), 10));
    run(&scratch, input, |(cases, queries, again)| {
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
    run(&scratch, (cases(), vec(queries(), 3)), |(cases, queries)| {
        let mut store = emptied(&scratch);
        let (before, after) = cases.split_at(cases.len() / 2);
        store.write(&rows(before)).expect("written");
        scratch.execute(&format!(
            "{SUMS}; INSERT INTO rollup_due SELECT DISTINCT 'attempts', day, -1, 0 FROM attempts;
            INSERT INTO rollup_due SELECT DISTINCT 'requests', day, -1, 0 FROM requests"
        ));
        let mut upkeep = Upkeep::new(Retention::default(), 2);
        for (nth, query) in (3..after.len()).step_by(3).zip(queries.iter().cycle()) {
            // Some of them twice, some as they were before.
            store.write(&rows(&after[nth - 3..nth])).expect("written");
            store.write(&rows(&cases[nth / 2..before.len() + nth])).expect("written");
            upkeep.step(&mut *store, NOW_MS).expect("a step");
            check(&scratch, &cases[..before.len() + nth], query)?;
        }
        store.write(&rows(after)).expect("written");
        keep_up(&mut *store, &mut upkeep, NOW_MS);
        prop_assert_eq!(scratch.figure("SELECT count(*) FROM rollup_due"), 0);
        queries.iter().try_for_each(|query| check(&scratch, &cases, query))
    });
}

async fn a_ledger_of_an_earlier_version_is_read_then_brought_up_to_date_and_summed_up(scratch: Scratch) {
    const OF_KEYS: [&str; 4] = ["audit", "key_secrets", "keys", "teams"];
    const TABLES: [&str; 8] = [
        "attempt_hours",
        "attempt_days",
        "request_hours",
        "request_days",
        "attempt_ranges",
        "rollup_due",
        "retention",
        "gpu_hours",
    ];
    run(&scratch, (cases(), vec(queries(), 3), 1..=3), |(mut cases, queries, version)| {
        // Tags came with the third.
        for case in cases.iter_mut().filter(|_| version < 3) {
            (case.attempt.labels.tags, case.request.labels.tags) = (None, None);
        }
        emptied(&scratch).write(&rows(&cases)).expect("written");
        let mut steps = vec![format!("DROP TABLE {}", TABLES.join("; DROP TABLE "))];
        steps.extend(["attempts", "requests"].map(|table| format!("ALTER TABLE {table} DROP COLUMN requested")));
        if version < 3 {
            steps.extend(["attempts", "requests"].map(|table| format!("ALTER TABLE {table} DROP COLUMN tags")));
        }
        if version < 2 {
            steps.extend(OF_KEYS.map(|table| format!("DROP TABLE {table}")));
        }
        steps.push(match &scratch.location {
            Location::Sqlite(_) => format!("PRAGMA user_version = {version}"),
            Location::Postgres(_) => format!("UPDATE llm_router_ledger SET version = {version}"),
        });
        scratch.execute(&steps.join("; "));
        queries.iter().try_for_each(|query| check(&scratch, &cases, query))?;
        let mut store = store::open(&scratch.location).expect("a store");
        let due = scratch.figure(&format!("SELECT count(*) FROM rollup_due WHERE day < {}", FIRST_DAY + DAYS));
        prop_assert!(due > 0);
        queries.iter().try_for_each(|query| check(&scratch, &cases, query))?;
        keep_up(&mut *store, &mut Upkeep::new(Retention::default(), 7), NOW_MS);
        let calls = scratch.figure("SELECT sum(calls) FROM attempt_hours");
        prop_assert_eq!(calls, i64::try_from(cases.len()).expect("a number"));
        queries.iter().try_for_each(|query| check(&scratch, &cases, query))
    });
}

async fn deleted_rows_leave_their_sums_and_what_comes_twice_then_is_refused(scratch: Scratch) {
    let kept = (0..=DAYS, 0..=DAYS);
    run(&scratch, (cases(), vec(queries(), 6), kept), |(cases, queries, kept)| {
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
    run(&scratch, (cases(), windows), |(cases, windows)| {
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
        // As after an upgrade: sums of the day are made meanwhile.
        scratch.execute(&format!(
            "INSERT INTO rollup_due VALUES ('attempts', {FIRST_DAY}, -1, 0), ('requests', {FIRST_DAY}, -1, 0)"
        ));
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut store = store::open(&scratch.location).expect("a store");
                let mut upkeep = Upkeep::new(Retention::default(), 5);
                for _ in 0..60 {
                    upkeep.step(&mut *store, NOW_MS).expect("a step");
                    thread::sleep(Duration::from_millis(3));
                }
            });
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
        keep_up(&mut *store, &mut Upkeep::new(Retention::default(), 1_000), NOW_MS);
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

/// An upstream may say that it used any number of tokens, and an earlier version wrote it down.
async fn absurd_amounts_do_not_stop_the_drain(scratch: Scratch) {
    aside(|| {
        let mut store = emptied(&scratch);
        let mut absurd = example(1);
        let most = Some(u64::MAX);
        absurd.attempt.tokens = Some(Tokens { prompt: u64::MAX, cached: most, completion: u64::MAX, reasoning: most });
        absurd.attempt.cost_nano_usd = most;
        absurd.request.baselines = vec![("split", u64::MAX)];
        for number in 1..=3 {
            absurd.attempt.key = key(7, number);
            absurd.request.key = absurd.attempt.key.request;
            store.write(&rows(std::slice::from_ref(&absurd))).expect("written");
        }
        let query = Query { by: Vec::new(), since_ms: 0, until_ms: NOW_MS, of: Vec::new() };
        let of_workers = Tariffs::new([("u".to_owned(), vec![(String::new(), true)])]);
        let check = |when: &str| {
            let spend = &scratch.spend(&query)[0];
            let (tokens, nano_usd) = (3 << 40, 3 << 44);
            assert_eq!((spend.calls, spend.prompt_tokens, spend.reasoning_tokens), (3, tokens, tokens), "{when}");
            assert_eq!(
                (spend.cost_nano_usd, scratch.baselines(&query)[0].cost_nano_usd),
                (nano_usd, nano_usd),
                "{when}"
            );
            aside(|| crate::gpu(&scratch.location, &query, &of_workers, NOW_MS)).expect(when);
        };
        check("as they are written");
        let most = i64::MAX;
        scratch.execute(&format!(
            "{SUMS}; UPDATE attempts SET prompt_tokens = {most}, cached_tokens = {most}, completion_tokens = {most},
            reasoning_tokens = {most}, cost_nano_usd = {most}; UPDATE requests SET baselines = '{{\"split\": {most}}}';
            INSERT INTO rollup_due VALUES ('attempts', {FIRST_DAY}, -1, 0), ('requests', {FIRST_DAY}, -1, 0)"
        ));
        check("as an earlier version wrote them");
        keep_up(&mut *store, &mut Upkeep::new(Retention::default(), 2), NOW_MS);
        check("summed up");
        keep_up(&mut *store, &mut keeping(2, 2), NOW_MS);
        assert_eq!(scratch.figure("SELECT count(*) FROM attempt_hours"), 0);
        check("by day");
    });
}

async fn questions_end_in_time(scratch: Scratch) {
    const WITHOUT_END: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT CAST(count(*) AS bigint) FROM n WHERE i < 0";
    aside(|| {
        drop(emptied(&scratch));
        let query = Query { by: Vec::new(), since_ms: 0, until_ms: NOW_MS, of: Vec::new() };
        let longest = Duration::from_millis(100);
        let mut snapshot = Snapshot::open(&scratch.location, Some(longest)).expect("a ledger");
        let endless = Statement { sql: WITHOUT_END.to_owned(), parameters: Vec::new() };
        let answer = snapshot.ask(|reports| reports.ask(&endless));
        assert!(matches!(answer, Err(StoreError::TooSlow(_))), "{answer:?}");
        // The time is that of all questions.
        assert!(matches!(snapshot.spend(&query), Err(StoreError::TooSlow(_))));
        Snapshot::open(&scratch.location, None).expect("a ledger").spend(&query).expect("an answer");
    });
}

async fn answers_of_a_snapshot_are_of_one_moment(scratch: Scratch) {
    aside(|| {
        let mut store = emptied(&scratch);
        store.write(&rows(&[example(1)])).expect("written");
        let query = Query { by: Vec::new(), since_ms: 0, until_ms: NOW_MS, of: Vec::new() };
        let mut snapshot = Snapshot::open(&scratch.location, None).expect("a ledger");
        assert_eq!(snapshot.spend(&query).expect("an answer")[0].calls, 1);
        store.write(&rows(&[example(2)])).expect("written");
        assert_eq!(snapshot.baselines(&query).expect("an answer")[0].answers, 1);
        assert_eq!(scratch.baselines(&query)[0].answers, 2);
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

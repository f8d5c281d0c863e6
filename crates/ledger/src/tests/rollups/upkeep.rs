//! Sums by day, and rows that are deleted, while others come.

use super::*;

/// A router of an earlier version wrote rows and no sums.
pub(super) async fn rows_that_no_sum_has_are_not_deleted_before_it_has(scratch: Scratch) {
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

/// The sums of the last day were made, but those of the day before lack a row, and those of another a cost.
pub(super) async fn rows_that_came_late_from_an_earlier_version_are_summed_up_after_the_upgrade(scratch: Scratch) {
    let at = |number, days: i64| {
        let mut case = example(number);
        case.attempt.ended_at_ms += days * DAY_MS;
        case.request.ended_at_ms += days * DAY_MS;
        case
    };
    aside(|| {
        let mut store = emptied(&scratch);
        let cases = [at(1, 0), at(2, 1), at(3, 1), at(4, 2)];
        store.write(&rows(&cases)).expect("written");
        let (second, hour) = (FIRST_DAY + 1, "hour / 24");
        scratch.execute(&format!(
            "UPDATE attempt_hours SET cost_nano_usd = cost_nano_usd - 1 WHERE {hour} = {FIRST_DAY};
            UPDATE request_hours SET requests = requests - 1 WHERE {hour} = {second};
            DELETE FROM attempt_hours WHERE {hour} > {second};
            INSERT INTO rollup_due VALUES ('attempts', {}, -1, 0)",
            FIRST_DAY + 2
        ));
        let now_ms = (FIRST_DAY + 3) * DAY_MS + 2 * HOUR_MS;
        keep_up(&mut *store, &mut Upkeep::new(Retention::default(), 2), now_ms);
        let whole = Query { by: vec![Dimension::Day], since_ms: 0, until_ms: NOW_MS, of: Vec::new() };
        check(&scratch, &cases, &whole).expect("the sums");
    });
}

pub(super) async fn rows_that_come_while_those_of_their_day_are_deleted_are_deleted_as_well(scratch: Scratch) {
    aside(|| {
        let mut store = emptied(&scratch);
        let mut cases: Vec<_> = (2..12).map(example).collect();
        store.write(&rows(&cases)).expect("written");
        let mut upkeep = keeping(2, 10_000);
        let left = || scratch.figure("SELECT count(*) FROM attempts");
        while left() > 5 {
            upkeep.step(&mut *store, NOW_MS).expect("a step");
            upkeep.step(&mut *store, NOW_MS + 61_000).expect("a step");
        }
        cases.push(example(1));
        store.write(&rows(&[example(1)])).expect("written");
        keep_up(&mut *store, &mut upkeep, NOW_MS + 61_000);
        keep_up(&mut *store, &mut upkeep, NOW_MS + 61_000);
        assert_eq!((left(), scratch.figure("SELECT count(*) FROM requests")), (0, 0));
        let whole = Query { by: vec![Dimension::Day], since_ms: 0, until_ms: NOW_MS, of: Vec::new() };
        check(&scratch, &cases, &whole).expect("the sums");
    });
}

pub(super) async fn rows_stay_whose_sums_have_more_than_they(scratch: Scratch) {
    aside(|| {
        let mut store = emptied(&scratch);
        store.write(&rows(&[example(1), example(2)])).expect("written");
        for (more, less) in [("calls = calls + 1", "calls = calls - 1"), ("cost_nano_usd = 601", "cost_nano_usd = 600")]
        {
            scratch.execute(&format!("UPDATE attempt_hours SET {more}"));
            keep_up(&mut *store, &mut keeping(2, 10_000), NOW_MS);
            assert_eq!(scratch.figure("SELECT count(*) FROM attempts"), 2, "{more}");
            scratch.execute(&format!("UPDATE attempt_hours SET {less}"));
        }
        keep_up(&mut *store, &mut keeping(2, 10_000), NOW_MS);
        assert_eq!(scratch.figure("SELECT count(*) FROM attempts"), 0);
    });
}

/// Each call is in an hour or in a day at every moment.
pub(super) async fn hours_become_days_in_steps_while_calls_come(scratch: Scratch) {
    const EACH: u64 = 40;
    let at = |writer: u64, number: u64| {
        let mut case = example(number);
        (case.attempt.key.request.writer, case.request.key.writer) = (writer, writer);
        let ended_at_ms = BEGIN_MS + i64::try_from(number % 24).expect("an hour") * HOUR_MS;
        (case.attempt.ended_at_ms, case.request.ended_at_ms) = (ended_at_ms, ended_at_ms);
        case
    };
    aside(|| {
        let mut store = emptied(&scratch);
        let mut cases: Vec<_> = (1..=EACH).map(|number| at(1, number)).collect();
        store.write(&rows(&cases)).expect("written");
        let query = Query { by: vec![Dimension::Day], since_ms: BEGIN_MS, until_ms: NOW_MS, of: Vec::new() };
        let mut upkeep = Upkeep::new(Retention { rows_days: None, hours_days: Some(1) }, 5);
        upkeep.step(&mut *store, NOW_MS).expect("a step");
        assert_eq!(scratch.figure("SELECT count(*) FROM attempt_hours"), 24 - 5);
        check(&scratch, &cases, &query).expect("the sums");
        thread::scope(|scope| {
            for writer in 2..=3 {
                let (location, at) = (&scratch.location, &at);
                scope.spawn(move || {
                    let mut store = store::open(location).expect("a store");
                    for number in 1..=EACH {
                        store.write(&rows(&[at(writer, number)])).expect("written");
                    }
                });
            }
            for _ in 0..60 {
                upkeep.step(&mut *store, NOW_MS).expect("a step");
            }
        });
        cases.extend((2..=3).flat_map(|writer| (1..=EACH).map(move |number| at(writer, number))));
        check(&scratch, &cases, &query).expect("the sums");
        keep_up(&mut *store, &mut upkeep, NOW_MS);
        assert_eq!(scratch.figure("SELECT count(*) FROM attempt_hours"), 0);
        check(&scratch, &cases, &query).expect("the sums");
    });
}

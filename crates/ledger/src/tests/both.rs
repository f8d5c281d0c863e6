//! What holds for every store: each test runs on SQLite, and on a Postgres server if `LLM_ROUTER_TEST_POSTGRES` says where one is.

mod gpu;

use super::*;
use gpu::{
    reserved_tokens_weigh_nothing, the_cost_of_an_hour_is_shared_out_to_its_calls,
    the_hour_of_a_killed_process_is_brought_to_the_store, the_latest_row_of_each_process_counts,
};

/// Runs each test on both stores.
macro_rules! on_both {
    ($($test:ident,)+) => {
        mod sqlite {
            use super::Scratch;
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(Scratch::new(stringify!($test))).await;
                }
            )+
        }

        mod postgres {
            use super::Scratch;
            $(
                #[tokio::test]
                #[ignore = "needs a Postgres server: tests/ledger/postgres.py starts one"]
                async fn $test() {
                    super::$test(Scratch::in_postgres(stringify!($test))).await;
                }
            )+
        }
    };
}

pub(super) use on_both;

on_both! {
    what_was_appended_is_in_the_store_after_a_close_and_no_journal_is_left,
    what_a_killed_process_had_written_is_brought_to_the_store_by_the_next_one,
    a_journal_that_is_brought_twice_changes_nothing,
    the_journal_of_a_process_that_lives_is_left_alone,
    spend_is_summed_up_by_what_is_asked_for,
    baselines_are_those_of_served_answers_in_the_time_and_team_asked_for,
    a_killed_process_with_many_files_is_recovered_and_a_gap_is_no_obstacle,
    a_call_that_ended_after_midnight_is_not_recorded_as_unknown_as_well,
    a_call_that_is_under_way_when_the_process_stops_in_order_is_on_record,
    a_store_that_is_held_by_another_one_stops_nothing_and_loses_nothing,
    tables_that_others_lock_do_not_stop_the_start,
    budgets_learn_what_was_spent,
    processes_that_open_a_new_one_at_once_all_find_it_made,
    odd_texts_are_taken,
    tags_are_in_the_rows_of_calls_and_requests_also_of_a_killed_process,
    requested_names_are_in_the_rows_of_calls_and_requests_and_in_no_sum,
    spend_and_baselines_are_told_apart_by_a_tag_and_selected_by_it,
    keys_are_changed_and_every_change_is_on_record,
    the_latest_row_of_each_process_counts,
    the_hour_of_a_killed_process_is_brought_to_the_store,
    the_cost_of_an_hour_is_shared_out_to_its_calls,
    reserved_tokens_weigh_nothing,
}

async fn what_was_appended_is_in_the_store_after_a_close_and_no_journal_is_left(scratch: Scratch) {
    let ledger = scratch.open(7);
    for number in 1..=1000 {
        ledger.append(&entries(7, number)).await.expect("written");
    }
    ledger.close();
    assert_eq!(scratch.figure("SELECT count(*) FROM requests"), 1000);
    assert_eq!(scratch.figure("SELECT sum(cost_nano_usd) FROM attempts WHERE team = 'search'"), 300_000);
    let query = Query { by: Vec::new(), since_ms: 0, until_ms: i64::MAX / 2, of: Vec::new() };
    assert_eq!(scratch.baselines(&query)[0].cost_nano_usd, 1_500_000);
    assert_eq!(scratch.figure("SELECT count(DISTINCT day) FROM attempts WHERE day = 20775"), 1);
    assert_eq!(scratch.journals(), 0);
}

/// The folder of a process that was killed is as that process left it, without a lock.
async fn what_a_killed_process_had_written_is_brought_to_the_store_by_the_next_one(scratch: Scratch) {
    let journal = Journal::open(&scratch.journal(), 7, Arc::new(Ignored)).expect("a journal");
    journal.append(&entries(7, 1)).await.expect("written");
    journal.append(&[Entry::Intent(intent(key(7, 2)))]).await.expect("written");
    drop(journal);

    scratch.open(8).close();
    assert_eq!(scratch.figure("SELECT count(*) FROM requests"), 1);
    assert_eq!(scratch.figure("SELECT count(*) FROM attempts"), 2);
    let unknown = "FROM attempts WHERE outcome = 'unknown' AND usage_source = 'unknown'";
    assert_eq!(scratch.figure(&format!("SELECT number {unknown}")), 2);
    assert_eq!(scratch.figure(&format!("SELECT cost_nano_usd {unknown}")), 700);
    assert_eq!(scratch.figure(&format!("SELECT completion_tokens {unknown}")), 50);
    assert_eq!(scratch.journals(), 0);
}

/// A process may die after its rows are in the store and before their journal is removed.
async fn a_journal_that_is_brought_twice_changes_nothing(scratch: Scratch) {
    for _ in 0..2 {
        let journal = Journal::open(&scratch.journal(), 7, Arc::new(Ignored)).expect("a journal");
        (1..=10).for_each(|number| drop(journal.append(&entries(7, number))));
        drop(journal);
        scratch.open(8).close();
        assert_eq!(scratch.figure("SELECT count(*) FROM requests"), 10);
        assert_eq!(scratch.figure("SELECT sum(cost_nano_usd) FROM attempts"), 3_000);
    }
}

async fn the_journal_of_a_process_that_lives_is_left_alone(scratch: Scratch) {
    let journal = Journal::open(&scratch.journal(), 7, Arc::new(Ignored)).expect("a journal");
    journal.append(&[Entry::Intent(intent(key(7, 1)))]).await.expect("written");
    scratch.open(8).close();
    assert_eq!((scratch.figure("SELECT count(*) FROM attempts"), scratch.journals()), (0, 1));
}

async fn spend_is_summed_up_by_what_is_asked_for(scratch: Scratch) {
    let ledger = scratch.open(7);
    let row = attempt(key(7, 1));
    let others = [
        Attempt { key: key(7, 2), outcome: "timeout_gap", usage_source: Some(UsageSource::Estimated), ..row },
        Attempt { key: key(7, 3), role: "warm_up", labels: Labels { team: None, key: None, ..LABELS }, ..row },
        Attempt { key: key(7, 4), cost_nano_usd: None, ..row },
        Attempt { key: key(7, 5), outcome: "refused", usage_source: None, tokens: None, cost_nano_usd: None, ..row },
        Attempt { key: key(7, 6), ended_at_ms: row.ended_at_ms + 86_400_000, ..row },
    ];
    for row in [row].into_iter().chain(others) {
        ledger.append(&[Entry::Attempt(row)]).await.expect("written");
    }
    let unknown = Entry::Attempt(intent(key(7, 7)).unknown());
    ledger.append(&[unknown]).await.expect("written");
    ledger.close();
    let ask = |by: &[Dimension], until_ms| {
        let query = Query { by: by.to_vec(), since_ms: 1_795_000_000_000, until_ms, of: Vec::new() };
        scratch.spend(&query)
    };
    let some = |label: &str| Some(label.to_owned());
    // Until the day's end: all but the sixth.
    let rows = ask(&[Dimension::Team, Dimension::Model], 1_795_046_400_000);
    let of_team = Spend {
        labels: vec![some("search"), some("m")],
        calls: 5,
        answers: 2,
        prompt_tokens: 3 * 90 + 100,
        cached_tokens: 30,
        completion_tokens: 3 * 5 + 50,
        reasoning_tokens: 6,
        cost_nano_usd: 300 + 300 + 700,
        wasted_nano_usd: 300 + 700,
        estimated_nano_usd: 300,
        unknown_nano_usd: 700,
        unpriced_calls: 1,
    };
    let of_nobody = Spend {
        labels: vec![None, some("m")],
        calls: 1,
        prompt_tokens: 90,
        cached_tokens: 10,
        completion_tokens: 5,
        reasoning_tokens: 2,
        cost_nano_usd: 300,
        wasted_nano_usd: 300,
        ..Spend::default()
    };
    assert_eq!(rows, [of_team.clone(), of_nobody.clone()], "the most expensive first");
    let mut total = Spend::default();
    total.add(&of_team);
    total.add(&of_nobody);
    assert_eq!(ask(&[], 1_795_046_400_000), [total]);
    let days: Vec<_> =
        ask(&[Dimension::Day], i64::MAX / 2).into_iter().map(|spend| (spend.labels, spend.calls)).collect();
    assert_eq!(days, [(vec![some("2026-11-18")], 6), (vec![some("2026-11-19")], 1)]);
}

async fn baselines_are_those_of_served_answers_in_the_time_and_team_asked_for(scratch: Scratch) {
    let ledger = scratch.open(7);
    let of = |number, team, outcome, ended_at_ms| Request {
        outcome,
        ended_at_ms,
        labels: Labels { team: Some(team), ..LABELS },
        ..request(RequestKey { writer: 7, number })
    };
    let at = 1_795_000_001_000;
    let rows = [of(1, "search", "served", at), of(2, "search", "served", at), of(3, "search", "failed", at)];
    for row in rows.into_iter().chain([of(4, "ads", "served", at), of(5, "search", "served", at + 1_000)]) {
        ledger.append(&[Entry::Request(row)]).await.expect("written");
    }
    ledger.close();
    let query = Query {
        by: vec![Dimension::Key],
        since_ms: at,
        until_ms: at + 1_000,
        of: vec![(Dimension::Team, "search".to_owned())],
    };
    let labels = vec![Some("k".to_owned())];
    let baseline = |policy: &str, cost_nano_usd| Baseline {
        labels: labels.clone(),
        policy: policy.to_owned(),
        answers: 2,
        cost_nano_usd,
    };
    assert_eq!(scratch.baselines(&query), [baseline("all-cerebras", 3_000), baseline("static \"80/20\"", 1_600)]);
}

async fn a_killed_process_with_many_files_is_recovered_and_a_gap_is_no_obstacle(scratch: Scratch) {
    let settings = JournalSettings { file_bytes: 1024, ..scratch.journal() };
    let journal = Journal::open(&settings, 7, Arc::new(Ignored)).expect("a journal");
    for number in 1..=50 {
        journal.append(&entries(7, number)).await.expect("written");
    }
    let folder = journal.folder().path().to_owned();
    drop(journal);
    fs::remove_file(folder.join("0000000000000003.journal")).expect("removed");
    scratch.open(8).close();
    let stored = scratch.figure("SELECT count(*) FROM requests");
    assert!((40..50).contains(&stored), "all but one file: {stored}");
    assert_eq!(scratch.journals(), 0);
}

async fn a_call_that_ended_after_midnight_is_not_recorded_as_unknown_as_well(scratch: Scratch) {
    let ledger = scratch.open(7);
    let day_ms = 86_400_000;
    let ended = Attempt { ended_at_ms: intent(key(7, 1)).begins_at_ms + day_ms, ..attempt(key(7, 1)) };
    ledger.append(&[Entry::Attempt(ended)]).await.expect("written");
    ledger.close();
    let journal = Journal::open(&scratch.journal(), 7, Arc::new(Ignored)).expect("a journal");
    journal.append(&[Entry::Intent(intent(key(7, 1)))]).await.expect("written");
    journal.append(&[Entry::Intent(intent(key(7, 2)))]).await.expect("written");
    drop(journal);
    scratch.open(8).close();
    assert_eq!(scratch.figure("SELECT count(*) FROM attempts WHERE number = 1"), 1);
    assert_eq!(scratch.figure("SELECT count(*) FROM attempts WHERE outcome = 'unknown'"), 1);
}

async fn a_call_that_is_under_way_when_the_process_stops_in_order_is_on_record(scratch: Scratch) {
    let ledger = scratch.open(7);
    ledger.append(&[Entry::Intent(intent(key(7, 1)))]).await.expect("written");
    ledger.close();
    assert_eq!(scratch.figure("SELECT count(*) FROM attempts WHERE outcome = 'unknown'"), 1);
    assert_eq!(scratch.journals(), 0);
}

async fn a_store_that_is_held_by_another_one_stops_nothing_and_loses_nothing(scratch: Scratch) {
    let ledger = scratch.open(7);
    let held = scratch.hold();
    for number in 1..=100 {
        ledger.append(&entries(7, number)).await.expect("written");
    }
    assert!(ledger.backlog_bytes() > 0);
    held.release();
    ledger.close();
    assert_eq!((scratch.figure("SELECT count(*) FROM requests"), ledger.backlog_bytes()), (100, 0));
}

/// In Postgres others can lock a table for long, and the router must start all the same.
async fn tables_that_others_lock_do_not_stop_the_start(scratch: Scratch) {
    if scratch.postgres.is_none() {
        return;
    }
    scratch.open(7).close();
    scratch.execute(
        "ALTER TABLE attempts DROP COLUMN requested; ALTER TABLE requests DROP COLUMN requested;
        ALTER TABLE attempts DROP COLUMN tags; ALTER TABLE requests DROP COLUMN tags; DROP TABLE gpu_hours, attempt_hours,
        attempt_days, request_hours, request_days, attempt_ranges, rollup_due, retention;
        UPDATE llm_router_ledger SET version = 2",
    );
    let held = scratch.hold();
    let error = aside(|| Keys::open(&scratch.location).map(drop)).expect_err("locked");
    assert!(error.to_string().contains("others have locked them"), "{error}");
    let ledger = scratch.open(8);
    ledger.append(&entries(8, 1)).await.expect("written");
    held.release();
    ledger.close();
    assert_eq!(scratch.figure("SELECT count(*) FROM attempts WHERE tags IS NULL"), 1);
}

async fn budgets_learn_what_was_spent(scratch: Scratch) {
    let before = scratch.open(7);
    for number in 1..=10 {
        before.append(&entries(7, number)).await.expect("written");
    }
    before.close();
    let now_ms = attempt(key(7, 1)).ended_at_ms + 1;
    let ledger = scratch.open(8);
    ledger.append(&entries(8, 1)).await.expect("written");
    let budgets = Budgets::default();
    let budget = |limit_nano_usd| Budget {
        limit_nano_usd,
        raised: None,
        period: Period::Month,
        zone: jiff::tz::TimeZone::UTC,
        warn_at_percent: vec![50],
        at_limit: AtLimit::Refuse,
    };
    let scope = |dimension, name: &str| Scope { dimension, name: name.into() };
    let of = [(scope(Dimension::Team, "search"), budget(5_000)), (scope(Dimension::Model, "other"), budget(1))];
    budgets.set(of.to_vec(), now_ms);
    let passed = aside(|| ledger.refresh(&budgets, false, now_ms, Duration::from_secs(30)));
    assert_eq!(passed.iter().map(|threshold| threshold.percent).collect::<Vec<_>>(), [50]);
    let spent: Vec<_> = budgets.status(now_ms).iter().map(|status| status.spent_nano_usd).collect();
    assert_eq!(spent, [Some(3_300), Some(0)]);
    aside(|| ledger.close());
}

async fn processes_that_open_a_new_one_at_once_all_find_it_made(scratch: Scratch) {
    let open = |writer| {
        let journal = JournalSettings { folder: scratch.folder.join(format!("journal-{writer}")), ..scratch.journal() };
        Ledger::open(&LedgerSettings { journal, ..scratch.settings() }, writer, Arc::new(Ignored))
            .map(|ledger| ledger.close())
    };
    let opened: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|writer| scope.spawn(move || open(writer))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(opened.iter().all(Result::is_ok), "{opened:?}");
}

async fn odd_texts_are_taken(scratch: Scratch) {
    let ledger = scratch.open(7);
    for (number, text) in (1..).zip(["a\0b", "'; DROP TABLE attempts; --", "\\", "é\u{10ffff}", ""]) {
        let row = Attempt { upstream_call: Some(text), ..attempt(key(7, number)) };
        ledger.append(&[Entry::Attempt(row)]).await.expect("written");
    }
    ledger.close();
    assert_eq!(scratch.figure("SELECT count(*) FROM attempts WHERE upstream_call IS NOT NULL"), 5);
}

async fn tags_are_in_the_rows_of_calls_and_requests_also_of_a_killed_process(scratch: Scratch) {
    let labels = Labels { tags: Some("env=prod,feature=search"), ..LABELS };
    let journal = Journal::open(&scratch.journal(), 7, Arc::new(Ignored)).expect("a journal");
    let ended = Attempt { labels, ..attempt(key(7, 1)) };
    let served = Request { labels, ..request(ended.key.request) };
    journal.append(&[Entry::Attempt(ended), Entry::Request(served)]).await.expect("written");
    journal.append(&[Entry::Intent(Intent { labels, ..intent(key(7, 2)) })]).await.expect("written");
    journal.append(&entries(7, 3)).await.expect("written");
    drop(journal);
    scratch.open(8).close();
    for (tags, attempts, requests) in [("= 'env=prod,feature=search'", 2, 1), ("IS NULL", 1, 1)] {
        let rows = |table: &str| scratch.figure(&format!("SELECT count(*) FROM {table} WHERE tags {tags}"));
        assert_eq!((rows("attempts"), rows("requests")), (attempts, requests), "{tags}");
    }
}

async fn requested_names_are_in_the_rows_of_calls_and_requests_and_in_no_sum(scratch: Scratch) {
    let journal = Journal::open(&scratch.journal(), 7, Arc::new(Ignored)).expect("a journal");
    for (number, requested) in (1..).zip([Some("claude-opus-4-5"), Some("claude-haiku-4-5"), None]) {
        let labels = Labels { requested, ..LABELS };
        let ended = Attempt { labels, ..attempt(key(7, number)) };
        let served = Request { labels, ..request(ended.key.request) };
        journal.append(&[Entry::Attempt(ended), Entry::Request(served)]).await.expect("written");
    }
    drop(journal);
    scratch.open(8).close();
    for table in ["attempts", "requests"] {
        for (requested, rows) in [("= 'claude-opus-4-5'", 1), ("= 'claude-haiku-4-5'", 1), ("IS NULL", 1)] {
            let sql = format!("SELECT count(*) FROM {table} WHERE model = 'm' AND requested {requested}");
            assert_eq!(scratch.figure(&sql), rows, "{table} {requested}");
        }
    }
    // Names of clients' choice must not make rows without end where rows are kept for good.
    assert_eq!(scratch.figure("SELECT count(*) FROM attempt_hours"), 1);
    assert_eq!(scratch.figure("SELECT count(*) FROM request_hours WHERE policy = ''"), 1);
}

async fn spend_and_baselines_are_told_apart_by_a_tag_and_selected_by_it(scratch: Scratch) {
    let ledger = scratch.open(7);
    let tagged = ["env=prod,feature=search", "env=test,feature=search", "feature=chat", "myfeature=chat", "env=prod"];
    for (number, tags) in (1..).zip(tagged.map(Some).into_iter().chain([None])) {
        let labels = Labels { tags, ..LABELS };
        let row = Attempt { labels, cost_nano_usd: Some(number), ..attempt(key(7, number)) };
        let served = Request { labels, ..request(row.key.request) };
        ledger.append(&[Entry::Attempt(row), Entry::Request(served)]).await.expect("written");
    }
    ledger.close();
    let feature = Dimension::Tag("feature".to_owned());
    let ask = |by: &[&Dimension], of: &[(&str, &str)]| Query {
        by: by.iter().map(|dimension| (*dimension).clone()).collect(),
        since_ms: 0,
        until_ms: i64::MAX / 2,
        of: of.iter().map(|(tag, value)| (Dimension::Tag((*tag).to_owned()), (*value).to_owned())).collect(),
    };
    let spend = |query: &Query| -> Vec<_> {
        let rows = scratch.spend(query).into_iter();
        rows.map(|row| (row.labels.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>(), row.cost_nano_usd))
            .collect()
    };
    let row = |labels: &[&str], cost| (labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>(), cost);
    let of_features = [row(&[""], 4 + 5 + 6), row(&["chat"], 3), row(&["search"], 1 + 2)];
    assert_eq!(spend(&ask(&[&feature], &[])), of_features);
    let by_both = spend(&ask(&[&Dimension::Team, &feature], &[("env", "prod")]));
    assert_eq!(by_both, [row(&["search", ""], 5), row(&["search", "search"], 1)]);
    assert_eq!(spend(&ask(&[], &[("env", "prod"), ("feature", "search")])), [row(&[], 1)]);
    assert_eq!(spend(&ask(&[&Dimension::Tags], &[("feature", "chat")])), [row(&["feature=chat"], 3)]);
    let price = ":20000,20000,20000,20000";
    let by_price = spend(&ask(&[&Dimension::UsageSource, &Dimension::PriceVersion], &[]));
    assert_eq!(by_price, [row(&["reported", price], 21)]);
    assert_eq!(spend(&ask(&[&Dimension::Tag("it's".to_owned())], &[])), [row(&[""], 21)], "no name is a statement");
    let baselines = scratch.baselines(&ask(&[&feature], &[("env", "prod")]));
    let found: Vec<_> = baselines.iter().map(|row| (row.labels[0].as_deref(), row.answers)).collect();
    assert_eq!(found, [(None, 1), (Some("search"), 1), (None, 1), (Some("search"), 1)], "of two policies");
}

async fn keys_are_changed_and_every_change_is_on_record(scratch: Scratch) {
    aside(|| {
        let mut keys = Keys::open(&scratch.location).expect("a database");
        assert_eq!(
            (keys.revision().expect("an answer"), keys.directory().expect("an answer")),
            (0, Directory::default())
        );
        let change = |at_ms| Change { actor: "the tests", at_ms };
        let secret = |digit: &str| SecretRecord { sha256: digit.repeat(64), expires_at_ms: None };
        let key = KeyRecord {
            id: "web".to_owned(),
            team: "search".to_owned(),
            terms: "{}".to_owned(),
            created_at_ms: 10,
            expires_at_ms: Some(9_000),
            disabled_at_ms: None,
            secrets: vec![secret("a")],
        };
        keys.create(&key, change(10)).expect("made");
        let again = keys.create(&KeyRecord { secrets: vec![secret("b")], ..key.clone() }, change(11));
        assert!(matches!(again, Err(KeyError::Exists(_))), "{again:?}");
        assert_eq!(keys.directory().expect("an answer").keys, std::slice::from_ref(&key));
        keys.rotate("web", &secret("c"), 500, change(20)).expect("rotated");
        keys.rotate("web", &secret("d"), 400, change(30)).expect("rotated");
        keys.set_disabled("web", true, change(40)).expect("disabled");
        keys.set_terms("web", "{\"direct\": true}", change(50)).expect("changed");
        keys.set_team("search", "{}", change(60)).expect("set");
        keys.set_team("search", "{\"limits\": {}}", change(70)).expect("set");
        for unknown in [
            keys.rotate("app", &secret("e"), 1, change(80)),
            keys.set_disabled("app", true, change(80)),
            keys.set_terms("app", "{}", change(80)),
        ] {
            assert!(matches!(&unknown, Err(KeyError::Unknown(what)) if what == "key \"app\""), "{unknown:?}");
        }
        // Another process sees the same.
        let mut others = Keys::open(&scratch.location).expect("a database");
        let directory = others.directory().expect("an answer");
        let until = |digit: &str, expires_at_ms| SecretRecord { expires_at_ms, ..secret(digit) };
        let changed = KeyRecord {
            terms: "{\"direct\": true}".to_owned(),
            disabled_at_ms: Some(40),
            secrets: vec![until("a", Some(400)), until("c", Some(400)), until("d", None)],
            ..key
        };
        let team = TeamRecord { id: "search".to_owned(), terms: "{\"limits\": {}}".to_owned() };
        assert_eq!(directory, Directory { revision: 7, keys: vec![changed], teams: vec![team] });
        keys.set_disabled("web", false, change(90)).expect("enabled");
        assert_eq!(others.directory().expect("an answer").keys[0].disabled_at_ms, None);
        let audit = others.audit(3).expect("an answer");
        let said: Vec<_> = audit.iter().map(|change| (change.number, change.at_ms, change.action.as_str())).collect();
        assert_eq!(said, [(8, 90, "key_enabled"), (7, 70, "team_changed"), (6, 60, "team_changed")]);
        assert_eq!((audit[1].actor.as_str(), audit[1].detail.as_str()), ("the tests", "{\"limits\": {}}"));
    });
}

//! From entries to rows: what a process leaves behind, in whatever way it ends.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use rusqlite::Connection;

use crate::{
    Attempt, AttemptKey, Baseline, Dimension, Durability, Entry, FILE_BYTES, Intent, JournalSettings, Labels, Ledger,
    LedgerSettings, NotWritten, OpenError, Progress, Query, Request, RequestKey, Spend, Tokens, UsageSource,
    journal::Journal,
};

/// A folder that is gone after the test.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("llm-router-ledger-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub(crate) fn journal(&self) -> JournalSettings {
        JournalSettings {
            folder: self.0.join("journal"),
            durability: Durability::Process,
            max_bytes: 1 << 30,
            file_bytes: FILE_BYTES,
        }
    }

    fn settings(&self) -> LedgerSettings {
        LedgerSettings { path: self.0.join("ledger.db"), journal: self.journal() }
    }

    fn open(&self, writer: u64) -> Ledger {
        Ledger::open(&self.settings(), writer, Arc::new(Ignored)).expect("a ledger")
    }

    /// One figure from the store.
    fn figure(&self, query: &str) -> i64 {
        let connection = Connection::open(self.0.join("ledger.db")).expect("a store");
        connection.query_row(query, [], |row| row.get(0)).expect(query)
    }

    /// The folders of processes in the journal.
    fn journals(&self) -> usize {
        fs::read_dir(self.0.join("journal")).expect("a folder").count()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

pub(crate) struct Ignored;

impl Progress for Ignored {
    fn stored(&self, _rows: u64) {}
    fn not_written(&self, _entries: u64) {}
    fn store_failed(&self) {}
    fn waiting(&self, _bytes: u64) {}
}

/// Waits for something to come true; fails after a time that no healthy run needs.
async fn eventually(mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("waited in vain");
}

const LABELS: Labels<'static> =
    Labels { request_id: "r", team: Some("search"), key: Some("k"), model: Some("m"), route: "chat" };

fn key(writer: u64, number: u64) -> AttemptKey {
    AttemptKey { request: RequestKey { writer, number }, attempt: 1 }
}

fn intent(key: AttemptKey) -> Intent<'static> {
    let reserved = Tokens { prompt: 100, cached: None, completion: 50, reasoning: None };
    Intent {
        key,
        begins_at_ms: 1_795_000_000_000,
        labels: LABELS,
        upstream: "u",
        role: "primary",
        reason: "share",
        reserved,
        reserved_nano_usd: Some(700),
        price_version: Some(":20000,20000,20000,20000"),
    }
}

fn attempt(key: AttemptKey) -> Attempt<'static> {
    Attempt {
        key,
        ended_at_ms: 1_795_000_001_000,
        labels: LABELS,
        upstream: "u",
        role: "primary",
        reason: "share",
        outcome: "served",
        usage_source: Some(UsageSource::Reported),
        tokens: Some(Tokens { prompt: 90, cached: Some(10), completion: 5, reasoning: Some(2) }),
        cost_nano_usd: Some(300),
        price_version: Some(":20000,20000,20000,20000"),
        upstream_call: None,
        first_token_us: Some(20_000),
        duration_us: 90_000,
    }
}

fn request(key: RequestKey) -> Request<'static> {
    Request {
        key,
        ended_at_ms: 1_795_000_001_000,
        labels: LABELS,
        is_stream: true,
        strategy: Some("balanced"),
        reason: Some("share"),
        outcome: "served",
        error: "",
        attempts: 1,
        upstream: Some("u"),
        first_token_us: Some(20_000),
        duration_us: 95_000,
        baselines: vec![("all-cerebras", 1_500), ("static \"80/20\"", 800)],
        config_version: "v1",
    }
}

pub(crate) fn entries(writer: u64, number: u64) -> [Entry<'static>; 3] {
    let key = key(writer, number);
    [Entry::Intent(intent(key)), Entry::Attempt(attempt(key)), Entry::Request(request(key.request))]
}

#[tokio::test]
async fn what_was_appended_is_in_the_store_after_a_close_and_no_journal_is_left() {
    let scratch = Scratch::new("close");
    let ledger = scratch.open(7);
    for number in 1..=1000 {
        ledger.append(&entries(7, number)).await.expect("written");
    }
    ledger.close();
    assert_eq!(scratch.figure("SELECT count(*) FROM requests"), 1000);
    assert_eq!(scratch.figure("SELECT sum(cost_nano_usd) FROM attempts WHERE team = 'search'"), 300_000);
    assert_eq!(scratch.figure("SELECT sum(baselines ->> 'all-cerebras') FROM requests"), 1_500_000);
    assert_eq!(scratch.figure("SELECT count(DISTINCT day) FROM attempts WHERE day = 20775"), 1);
    assert_eq!(scratch.journals(), 0);
}

/// The folder of a process that was killed is as that process left it, without a lock.
#[tokio::test]
async fn what_a_killed_process_had_written_is_brought_to_the_store_by_the_next_one() {
    let scratch = Scratch::new("kill");
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
#[tokio::test]
async fn a_journal_that_is_brought_twice_changes_nothing() {
    let scratch = Scratch::new("twice");
    for _ in 0..2 {
        let journal = Journal::open(&scratch.journal(), 7, Arc::new(Ignored)).expect("a journal");
        (1..=10).for_each(|number| drop(journal.append(&entries(7, number))));
        drop(journal);
        scratch.open(8).close();
        assert_eq!(scratch.figure("SELECT count(*) FROM requests"), 10);
        assert_eq!(scratch.figure("SELECT sum(cost_nano_usd) FROM attempts"), 3_000);
    }
}

#[tokio::test]
async fn the_journal_of_a_process_that_lives_is_left_alone() {
    let scratch = Scratch::new("alive");
    let journal = Journal::open(&scratch.journal(), 7, Arc::new(Ignored)).expect("a journal");
    journal.append(&[Entry::Intent(intent(key(7, 1)))]).await.expect("written");
    scratch.open(8).close();
    assert_eq!((scratch.figure("SELECT count(*) FROM attempts"), scratch.journals()), (0, 1));
}

#[tokio::test]
async fn while_another_process_holds_the_store_nothing_waits_and_nothing_is_lost() {
    let scratch = Scratch::new("locked");
    let ledger = scratch.open(7);
    let other = Connection::open(scratch.0.join("ledger.db")).expect("a store");
    other.execute_batch("BEGIN EXCLUSIVE").expect("locked");
    for number in 1..=100 {
        ledger.append(&entries(7, number)).await.expect("written");
    }
    assert!(ledger.backlog_bytes() > 0);
    other.execute_batch("COMMIT").expect("unlocked");
    ledger.close();
    assert_eq!((scratch.figure("SELECT count(*) FROM requests"), ledger.backlog_bytes()), (100, 0));
}

#[tokio::test]
async fn beyond_its_bound_the_journal_takes_nothing_until_the_store_has_caught_up() {
    let scratch = Scratch::new("bound");
    let mut settings = scratch.settings();
    settings.journal.max_bytes = 4096;
    let ledger = Arc::new(Ledger::open(&settings, 7, Arc::new(Ignored)).expect("a ledger"));
    let other = Connection::open(scratch.0.join("ledger.db")).expect("a store");
    other.execute_batch("BEGIN EXCLUSIVE").expect("locked");
    let mut taken = 0;
    while ledger.append(&entries(7, taken + 1)).await.is_ok() {
        taken += 1;
        assert!(taken < 1_000, "far beyond the bound");
    }
    assert_eq!(ledger.append(&entries(7, taken + 1)).await, Err(NotWritten));
    other.execute_batch("COMMIT").expect("unlocked");
    while ledger.append(&entries(7, taken + 1)).await.is_err() {}
    ledger.close();
    assert_eq!(scratch.figure("SELECT count(*) FROM requests"), i64::try_from(taken).unwrap() + 1);
}

#[test]
fn a_file_of_somebody_else_is_refused_and_stays_as_it_is() {
    let scratch = Scratch::new("foreign");
    let path = scratch.0.join("ledger.db");
    Connection::open(&path).expect("a file").execute_batch("CREATE TABLE notes (text TEXT)").expect("a table");
    let before = fs::read(&path).expect("a file");
    let error = Ledger::open(&scratch.settings(), 7, Arc::new(Ignored)).err().expect("refused");
    assert!(matches!(&error, OpenError::Store(_)), "{error}");
    assert!(error.to_string().contains("not a ledger"), "{error}");
    assert!(fs::read(&path).expect("a file") == before, "the file was changed");
}

#[test]
fn a_ledger_of_a_newer_version_is_refused() {
    let scratch = Scratch::new("newer");
    scratch.open(7).close();
    let connection = Connection::open(scratch.0.join("ledger.db")).expect("a store");
    connection.pragma_update(None, "user_version", 99).expect("set");
    let error = Ledger::open(&scratch.settings(), 8, Arc::new(Ignored)).err().expect("refused");
    assert!(error.to_string().contains("newer version"), "{error}");
}

#[tokio::test]
async fn spend_is_summed_up_by_what_is_asked_for() {
    let scratch = Scratch::new("spend");
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
        let query = Query { by: by.to_vec(), since_ms: 1_795_000_000_000, until_ms, team: None };
        crate::spend(&scratch.0.join("ledger.db"), &query).expect("an answer")
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
    assert_eq!(rows, [of_team.clone(), of_nobody.clone()], "the dearest first");
    let mut total = Spend::default();
    total.add(&of_team);
    total.add(&of_nobody);
    assert_eq!(ask(&[], 1_795_046_400_000), [total]);
    let days: Vec<_> =
        ask(&[Dimension::Day], i64::MAX / 2).into_iter().map(|spend| (spend.labels, spend.calls)).collect();
    assert_eq!(days, [(vec![some("2026-11-18")], 6), (vec![some("2026-11-19")], 1)]);
}

#[tokio::test]
async fn baselines_are_those_of_served_answers_in_the_time_and_team_asked_for() {
    let scratch = Scratch::new("baselines");
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
    let query = Query { by: vec![Dimension::Key], since_ms: at, until_ms: at + 1_000, team: Some("search".to_owned()) };
    let labels = vec![Some("k".to_owned())];
    let baseline = |policy: &str, cost_nano_usd| Baseline {
        labels: labels.clone(),
        policy: policy.to_owned(),
        answers: 2,
        cost_nano_usd,
    };
    assert_eq!(
        crate::baselines(&scratch.0.join("ledger.db"), &query).expect("an answer"),
        [baseline("all-cerebras", 3_000), baseline("static \"80/20\"", 1_600)]
    );
}

#[test]
fn an_empty_file_is_no_ledger_yet() {
    let scratch = Scratch::new("empty");
    let path = scratch.0.join("ledger.db");
    fs::write(&path, "").expect("written");
    let query = Query { by: Vec::new(), since_ms: 0, until_ms: 1, team: None };
    let error = crate::spend(&path, &query).expect_err("refused").to_string();
    assert!(error.contains("no ledger yet"), "{error}");
}

/// Files of a few entries each, and a call that is under way for all that time.
#[tokio::test]
async fn files_are_removed_as_they_are_brought_to_the_store_but_not_while_a_call_in_them_is_open() {
    let scratch = Scratch::new("rotation");
    let mut settings = scratch.settings();
    settings.journal.file_bytes = 1024;
    let ledger = Ledger::open(&settings, 7, Arc::new(Ignored)).expect("a ledger");
    let files = || {
        let folder = fs::read_dir(scratch.0.join("journal/0000000000000007")).expect("a folder");
        let mut names: Vec<_> = folder.map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        names
    };
    ledger.append(&[Entry::Intent(intent(key(7, 1_000_000)))]).await.expect("written");
    for number in 1..=200 {
        ledger.append(&entries(7, number)).await.expect("written");
    }
    eventually(|| ledger.backlog_bytes() == 0).await;
    assert!(files().len() > 20, "the first one is kept, and all after it: {:?}", files().len());
    ledger.append(&[Entry::Attempt(attempt(key(7, 1_000_000)))]).await.expect("written");
    eventually(|| files().len() <= 4).await;
    ledger.close();
    assert_eq!(scratch.figure("SELECT count(*) FROM attempts WHERE outcome = 'served'"), 201);
    assert_eq!(scratch.journals(), 0);
}

#[tokio::test]
async fn a_killed_process_with_many_files_is_recovered_and_a_gap_is_no_obstacle() {
    let scratch = Scratch::new("gap");
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

/// A file that is there already stands for a disk that is full for a moment.
#[tokio::test]
async fn the_end_of_a_call_that_could_not_be_written_is_written_later_and_its_intent_is_not() {
    let scratch = Scratch::new("later");
    let mut settings = scratch.settings();
    settings.journal.file_bytes = 1;
    let ledger = Ledger::open(&settings, 7, Arc::new(Ignored)).expect("a ledger");
    let block = |number: u32| {
        fs::write(scratch.0.join(format!("journal/0000000000000007/{number:016}.journal")), "").expect("a file");
    };
    block(1);
    let [_, end, request] = entries(7, 1);
    assert_eq!(ledger.append(&[end, request]).await, Err(NotWritten));
    ledger.append(&entries(7, 2)).await.expect("written");
    block(5);
    block(6);
    let mut tries = 0;
    while ledger.append(&[Entry::Intent(intent(key(7, 3)))]).await.is_ok() {
        tries += 1;
        assert!(tries < 100, "nothing is in the way");
    }
    ledger.close();
    assert_eq!(scratch.figure("SELECT count(*) FROM requests"), 2);
    assert_eq!(scratch.figure("SELECT count(*) FROM attempts WHERE number = 1"), 1);
    assert_eq!(scratch.journals(), 0);
}

#[tokio::test]
async fn a_call_that_ended_after_midnight_is_not_recorded_as_unknown_as_well() {
    let scratch = Scratch::new("midnight");
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

#[tokio::test]
async fn a_call_that_is_under_way_when_the_process_stops_in_order_is_on_record() {
    let scratch = Scratch::new("under-way");
    let ledger = scratch.open(7);
    ledger.append(&[Entry::Intent(intent(key(7, 1)))]).await.expect("written");
    ledger.close();
    assert_eq!(scratch.figure("SELECT count(*) FROM attempts WHERE outcome = 'unknown'"), 1);
    assert_eq!(scratch.journals(), 0);
}

#[tokio::test]
async fn a_journal_of_which_a_part_cannot_be_read_is_kept() {
    let scratch = Scratch::new("kept");
    let journal = Journal::open(&scratch.journal(), 7, Arc::new(Ignored)).expect("a journal");
    for number in 1..=3 {
        journal.append(&entries(7, number)).await.expect("written");
    }
    let file = journal.folder().path().join("0000000000000000.journal");
    drop(journal);
    let mut bytes = fs::read(&file).expect("a file");
    let last = bytes.len() - 10;
    bytes[last] ^= 1;
    fs::write(&file, &bytes).expect("written");
    for _ in 0..2 {
        scratch.open(8).close();
        assert_eq!(scratch.figure("SELECT count(*) FROM requests"), 2);
        let kept = scratch.0.join("journal/0000000000000007.damaged/0000000000000000.journal");
        assert!(fs::read(kept).expect("a file") == bytes, "it is as it was");
    }
}

#[test]
fn what_is_no_journal_is_left_alone() {
    let scratch = Scratch::new("alone");
    let others = ["db", "2026", "cafe", "0000000000000009"];
    for name in others {
        fs::create_dir_all(scratch.0.join("journal").join(name)).expect("a folder");
        if name == "cafe" {
            fs::write(scratch.0.join("journal/cafe/lock"), "").expect("a file");
        }
        fs::write(scratch.0.join("journal").join(name).join("data"), "data").expect("a file");
    }
    scratch.open(8).close();
    for name in others {
        assert!(scratch.0.join("journal").join(name).join("data").exists(), "{name}");
    }
    assert!(scratch.0.join("journal/cafe/lock").exists());
}

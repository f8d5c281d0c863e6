//! From entries to rows: what a process leaves behind, in whatever way it ends.

mod both;
mod rollups;

use std::{
    any::Any,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rusqlite::Connection;

use crate::{
    AtLimit, Attempt, AttemptKey, Baseline, Budget, Budgets, Change, Dimension, Directory, Durability, Entry,
    FILE_BYTES, Intent, JournalSettings, KeyError, KeyRecord, Keys, Labels, Ledger, LedgerSettings, Location,
    NotWritten, OpenError, Period, Progress, Query, Request, RequestKey, Retention, Scope, SecretRecord, Spend,
    TeamRecord, Tokens, UsageSource, journal::Journal,
};

/// A ledger's folder, and its database: both are gone after the test.
pub(crate) struct Scratch {
    pub(crate) folder: PathBuf,
    location: Location,
    /// The server and the schema of a Postgres database.
    postgres: Option<(String, String)>,
}

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("llm-router-ledger-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).expect("a folder");
        let location = Location::Sqlite(folder.join("ledger.db"));
        Self { folder, location, postgres: None }
    }

    /// One in a schema of its own.
    fn in_postgres(name: &str) -> Self {
        let mut scratch = Self::new(name);
        #[expect(clippy::disallowed_methods, reason = "where the server of the tests is")]
        let server =
            std::env::var("LLM_ROUTER_TEST_POSTGRES").expect("LLM_ROUTER_TEST_POSTGRES is the URL of a server");
        let schema: String = format!("t{}_{name}", std::process::id()).chars().take(60).collect();
        let url = format!("{server}?options=-c%20search_path%3D{schema}");
        scratch.location = Location::Postgres(url.parse().expect("a URL"));
        scratch.postgres = Some((server, schema.clone()));
        scratch.execute(&format!("DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}"));
        scratch
    }

    pub(crate) fn journal(&self) -> JournalSettings {
        JournalSettings {
            folder: self.folder.join("journal"),
            durability: Durability::Process,
            max_bytes: 1 << 30,
            file_bytes: FILE_BYTES,
        }
    }

    fn settings(&self) -> LedgerSettings {
        LedgerSettings {
            location: self.location.clone(),
            journal: self.journal(),
            retention: Retention::default(),
            clock: || 0,
        }
    }

    fn open(&self, writer: u64) -> Ledger {
        Ledger::open(&self.settings(), writer, Arc::new(Ignored)).expect("a ledger")
    }

    fn spend(&self, query: &Query) -> Vec<Spend> {
        aside(|| crate::spend(&self.location, query)).expect("an answer")
    }

    fn baselines(&self, query: &Query) -> Vec<Baseline> {
        aside(|| crate::baselines(&self.location, query)).expect("an answer")
    }

    /// One figure from the store.
    fn figure(&self, query: &str) -> i64 {
        if let Some((server, schema)) = &self.postgres {
            let query = format!("SET search_path TO {schema}; SELECT CAST(({query}) AS bigint)");
            let rows = aside(|| client(server).simple_query(&query)).expect("an answer");
            let text = rows.iter().find_map(|row| match row {
                postgres::SimpleQueryMessage::Row(row) => row.get(0),
                _ => None,
            });
            return text.expect("a figure").parse().expect("a number");
        }
        let connection = Connection::open(self.folder.join("ledger.db")).expect("a store");
        connection.query_row(query, [], |row| row.get(0)).expect(query)
    }

    fn execute(&self, statements: &str) {
        if let Some((server, schema)) = &self.postgres {
            let statements = format!("SET search_path TO {schema}; {statements}");
            aside(|| client(server).batch_execute(&statements)).expect(&statements);
        } else {
            let connection = Connection::open(self.folder.join("ledger.db")).expect("a store");
            connection.execute_batch(statements).expect(statements);
        }
    }

    /// Keeps the tables locked.
    fn hold(&self) -> Held {
        let (release, released) = channel::<()>();
        let (taken, is_taken) = channel();
        let (postgres, path) = (self.postgres.clone(), self.folder.join("ledger.db"));
        let thread = thread::spawn(move || {
            // Whoever holds the lock lets it go with the connection.
            let _connection: Box<dyn Any> = if let Some((server, schema)) = postgres {
                let mut client = client(&server);
                let lock = format!("BEGIN; SET search_path TO {schema}; LOCK TABLE attempts IN EXCLUSIVE MODE");
                client.batch_execute(&lock).expect("locked");
                Box::new(client)
            } else {
                let connection = Connection::open(path).expect("a store");
                connection.execute_batch("BEGIN EXCLUSIVE").expect("locked");
                Box::new(connection)
            };
            taken.send(()).expect("somebody waits");
            // An error as well: nobody waits any more.
            let _ = released.recv();
        });
        is_taken.recv().expect("locked");
        Held { release, thread }
    }

    /// The folders of processes in the journal.
    fn journals(&self) -> usize {
        fs::read_dir(self.folder.join("journal")).expect("a folder").count()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
        if let Some((_, schema)) = &self.postgres {
            self.execute(&format!("DROP SCHEMA IF EXISTS {schema} CASCADE"));
        }
    }
}

/// Does what blocks where no runtime is.
fn aside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join()).expect("no panic")
}

fn client(server: &str) -> postgres::Client {
    postgres::Client::connect(server, postgres::NoTls).expect("a server")
}

/// Tables that are locked.
struct Held {
    release: Sender<()>,
    thread: JoinHandle<()>,
}

impl Held {
    fn release(self) {
        drop(self.release);
        self.thread.join().expect("released");
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

const LABELS: Labels<'static> = Labels {
    request_id: "r",
    team: Some("search"),
    key: Some("k"),
    model: Some("m"),
    route: "chat",
    tags: None,
    requested: None,
};

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
async fn beyond_its_bound_the_journal_takes_nothing_until_the_store_has_caught_up() {
    let scratch = Scratch::new("bound");
    let mut settings = scratch.settings();
    settings.journal.max_bytes = 4096;
    let ledger = Arc::new(Ledger::open(&settings, 7, Arc::new(Ignored)).expect("a ledger"));
    let other = Connection::open(scratch.folder.join("ledger.db")).expect("a store");
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
    let path = scratch.folder.join("ledger.db");
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
    let connection = Connection::open(scratch.folder.join("ledger.db")).expect("a store");
    connection.pragma_update(None, "user_version", 99).expect("set");
    let error = Ledger::open(&scratch.settings(), 8, Arc::new(Ignored)).err().expect("refused");
    assert!(error.to_string().contains("newer version"), "{error}");
}

/// As the version before tags left it: its rows stay, and have none.
#[test]
fn a_ledger_of_an_earlier_version_is_read_and_brought_up_to_date() {
    let scratch = Scratch::new("earlier");
    let earlier = Connection::open(scratch.folder.join("ledger.db")).expect("a file");
    for step in [include_str!("store/sqlite/1.sql"), include_str!("store/sqlite/2.sql")] {
        earlier.execute_batch(step).expect("a step");
    }
    earlier.pragma_update(None, "application_id", 0x6c6c_726c).expect("set");
    earlier.pragma_update(None, "user_version", 2).expect("set");
    let row = "INSERT INTO attempts (day, writer, number, attempt, ended_at_ms, request_id, route, upstream, role, reason,
        outcome, cost_nano_usd, duration_us) VALUES (20775, 1, 1, 1, 1795000001000, 'r', 'chat', 'u', 'primary', 'share',
        'served', 300, 1)";
    earlier.execute(row, []).expect("a row");
    drop(earlier);
    let by = vec![Dimension::Tag("feature".to_owned()), Dimension::Tags];
    let query = Query { by, since_ms: 0, until_ms: i64::MAX / 2, of: Vec::new() };
    for _ in 0..2 {
        let rows = scratch.spend(&query);
        assert_eq!(rows.iter().map(|row| row.cost_nano_usd).collect::<Vec<_>>(), [300]);
        assert_eq!((rows[0].labels.as_slice(), scratch.baselines(&query)), (&[None, None][..], Vec::new()));
        scratch.open(8).close();
    }
}

#[test]
fn an_empty_file_is_no_ledger_yet() {
    let scratch = Scratch::new("empty");
    let path = scratch.folder.join("ledger.db");
    fs::write(&path, "").expect("written");
    let query = Query { by: Vec::new(), since_ms: 0, until_ms: 1, of: Vec::new() };
    let error = crate::spend(&Location::Sqlite(path), &query).expect_err("refused").to_string();
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
        let folder = fs::read_dir(scratch.folder.join("journal/0000000000000007")).expect("a folder");
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

/// A file that is there already stands for a disk that is full for a moment.
#[tokio::test]
async fn the_end_of_a_call_that_could_not_be_written_is_written_later_and_its_intent_is_not() {
    let scratch = Scratch::new("later");
    let mut settings = scratch.settings();
    settings.journal.file_bytes = 1;
    let ledger = Ledger::open(&settings, 7, Arc::new(Ignored)).expect("a ledger");
    let block = |number: u32| {
        fs::write(scratch.folder.join(format!("journal/0000000000000007/{number:016}.journal")), "").expect("a file");
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
        let kept = scratch.folder.join("journal/0000000000000007.damaged/0000000000000000.journal");
        assert!(fs::read(kept).expect("a file") == bytes, "it is as it was");
    }
}

#[test]
fn what_is_no_journal_is_left_alone() {
    let scratch = Scratch::new("alone");
    let others = ["db", "2026", "cafe", "0000000000000009"];
    for name in others {
        fs::create_dir_all(scratch.folder.join("journal").join(name)).expect("a folder");
        if name == "cafe" {
            fs::write(scratch.folder.join("journal/cafe/lock"), "").expect("a file");
        }
        fs::write(scratch.folder.join("journal").join(name).join("data"), "data").expect("a file");
    }
    scratch.open(8).close();
    for name in others {
        assert!(scratch.folder.join("journal").join(name).join("data").exists(), "{name}");
    }
    assert!(scratch.folder.join("journal/cafe/lock").exists());
}

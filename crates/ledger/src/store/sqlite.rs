//! The embedded store: one SQLite file, written by one connection.

mod read;
mod sql;
mod write;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

pub(crate) use read::Reader;

use super::{Rows, Store, StoreError};

/// "llrl" in ASCII: distinguishes a ledger from other SQLite files.
const APPLICATION_ID: i32 = 0x6c6c_726c;
/// The steps from an empty file to the present schema, in order. A step is never changed: what differs is a step more.
const MIGRATIONS: &[&str] = &[
    include_str!("sqlite/1.sql"),
    include_str!("sqlite/2.sql"),
    include_str!("sqlite/3.sql"),
    include_str!("sqlite/4.sql"),
    include_str!("sqlite/5.sql"),
    include_str!("sqlite/6.sql"),
];
/// Versions before 3.51.3 can damage a file whose log is reset while two connections use it
/// (<https://sqlite.org/wal.html#walresetbug>).
const LEAST_VERSION: i32 = 3_051_003;
/// How long another process that uses the file may hold it.
const BUSY: Duration = Duration::from_secs(5);

/// A SQLite file.
pub(crate) struct Sqlite {
    connection: Connection,
    path: PathBuf,
}

impl Sqlite {
    /// Opens a file, or makes it, and brings its schema up to date.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Sqlite { path: path.to_owned(), source };
        if rusqlite::version_number() < LEAST_VERSION {
            return Err(StoreError::Foreign(format!("SQLite {} is too old: use 3.51.3 or newer", rusqlite::version())));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(BUSY).map_err(failed)?;
        // First, because it refuses a file of somebody else, which is to stay as it is.
        patiently(|| migrate(&mut connection, path))?;
        patiently(|| prepare(&connection).map_err(failed))?;
        Ok(Self { connection, path: path.to_owned() })
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { path: self.path.clone(), source }
    }
}

impl Store for Sqlite {
    fn write(&mut self, rows: &Rows<'_>) -> Result<u64, StoreError> {
        write::rows(&mut self.connection, rows).map_err(|source| self.failed(source))
    }
}

/// Repeats what found the file held by another process, for up to [`BUSY`]. SQLite itself does not wait where the journal's
/// mode changes, because two connections that both wait to change it would wait for ever
/// (<https://sqlite.org/c3ref/busy_handler.html>).
fn patiently<T>(mut step: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
    const PAUSE: Duration = Duration::from_millis(20);
    let mut left = BUSY;
    loop {
        match step() {
            Err(error) if error.is_busy() && left >= PAUSE => left -= PAUSE,
            ended => return ended,
        }
        std::thread::sleep(PAUSE);
    }
}

/// Sets what each connection needs. A commit outlives the machine, because the journal does not keep what is committed; no
/// request waits for it.
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        tracing::warn!(
            mode,
            "the ledger's file system allows no write-ahead log: reports and the router wait for each other"
        );
    }
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// How many steps the schema of a file has had; an error if it is not a ledger, or one of a newer version.
fn check(connection: &Connection, path: &Path) -> Result<usize, StoreError> {
    let failed = |source| StoreError::Sqlite { path: path.to_owned(), source };
    let foreign = |what: &str| StoreError::Foreign(format!("{}: {what}", path.display()));
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(failed);
    let (id, version) = (number("application_id")?, number("user_version")?);
    let is_empty = || connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0));
    let is_ours = id == APPLICATION_ID || id == 0 && version == 0 && is_empty().map_err(failed)?;
    if !is_ours {
        return Err(foreign("this SQLite file is not a ledger"));
    }
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    if done > MIGRATIONS.len() {
        return Err(foreign("this ledger was written by a newer version of llm-router"));
    }
    Ok(done)
}

/// Takes the steps that the file has not had.
fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::Sqlite { path: path.to_owned(), source };
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(failed)?;
    let done = check(&transaction, path)?;
    for step in &MIGRATIONS[done..] {
        transaction.execute_batch(step).map_err(failed)?;
    }
    let steps = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
    transaction.pragma_update(None, "user_version", steps).map_err(failed)?;
    transaction.commit().map_err(failed)
}

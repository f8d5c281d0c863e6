//! Where rows are kept for good.

mod columns;
mod gpu_hours;
mod postgres;
pub(crate) mod rollup;
mod sqlite;
mod sums;
pub(crate) mod upkeep;

use std::{fmt, path::PathBuf, time::Duration};

pub use self::postgres::{PostgresUrl, PostgresUrlError};
use self::{postgres::Postgres, sqlite::Sqlite};
use crate::{
    entry::{Attempt, Request},
    gpu::GpuHour,
    report::{Baseline, Dialect, Parameter, Query, Spend, Statement},
};

/// The steps of both databases that brought the columns of tags, and the sums.
const FIRST_WITH_TAGS: usize = 3;
const FIRST_WITH_SUMS: usize = 4;

/// Rows that are written together.
#[derive(Debug, Default)]
pub(crate) struct Rows<'a> {
    pub(crate) attempts: Vec<Attempt<'a>>,
    pub(crate) requests: Vec<Request<'a>>,
    /// Calls whose end nobody saw: not written if the end of the call is there, whatever its day.
    pub(crate) unknown: Vec<Attempt<'a>>,
    /// One for each hour, upstream and process: a later one replaces what is there.
    pub(crate) gpu_hours: Vec<GpuHour<'a>>,
    /// They are from the journal of a process that is gone, and most of them may be there already: those of days whose rows are
    /// deleted are not written, because nobody knows whether they were.
    pub(crate) may_be_twice: bool,
}

impl Rows<'_> {
    pub(crate) fn len(&self) -> usize {
        self.attempts.len() + self.requests.len() + self.unknown.len() + self.gpu_hours.len()
    }
}

/// Which database a ledger is in.
#[derive(Debug, Clone)]
pub enum Location {
    /// This file.
    Sqlite(PathBuf),
    /// This server's.
    Postgres(PostgresUrl),
}

impl fmt::Display for Location {
    /// Without a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "{}", path.display()),
            Self::Postgres(url) => write!(f, "{url}"),
        }
    }
}

/// Why the store failed. The message has no values of rows.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is not a ledger, or one of a newer version.
    #[error("{0}")]
    Foreign(String),
    /// A question whose rows are deleted, and that their sums cannot answer exactly.
    #[error("{0}")]
    Inexact(String),
    /// The questions took longer than they may.
    #[error("the ledger's database did not answer within {} s", .0.as_secs())]
    TooSlow(Duration),
    /// SQLite failed.
    #[error("{path}: {source}", path = .path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: rusqlite::Error,
    },
    /// Postgres failed, or cannot be reached.
    #[error("{message}")]
    Postgres {
        /// Which database, and what it said.
        message: String,
        /// Whether it may work by itself a little later.
        is_out_of_reach: bool,
    },
}

impl StoreError {
    /// Whether another process holds the SQLite file at this moment.
    fn is_busy(&self) -> bool {
        matches!(self, Self::Sqlite { source, .. } if source.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy))
    }
}

/// A database. Used by one thread at a time.
pub(crate) trait Store: Sql {
    /// Writes rows, all or none, and adds them to the sums. A row that is there already stays as it is: rows may come twice. Returns
    /// how many were not written because they came too late.
    fn write(&mut self, rows: &Rows<'_>) -> Result<u64, StoreError>;
}

/// A database that is asked, about one moment. Used by one thread at a time, also while others write it.
pub(crate) trait Reports {
    /// Stops the question that is being asked, from another thread, where the database does not do so by itself in time.
    fn interrupt(&self) -> Box<dyn Fn() + Send>;

    /// What the ledger says about spend.
    fn spend(&mut self, query: &Query) -> Result<Vec<Spend>, StoreError>;

    /// What it says about other policies.
    fn baselines(&mut self, query: &Query) -> Result<Vec<Baseline>, StoreError>;

    /// Its language.
    fn dialect(&self) -> Dialect;

    /// The rows of a statement that both databases understand, whose columns are texts and numbers of 64 bits.
    fn ask(&mut self, statement: &Statement) -> Result<Vec<Vec<Parameter>>, StoreError>;
}

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    /// Changes of keys and teams take turns.
    Change,
    /// One process at a time: while another one has it, nothing is done.
    Upkeep,
}

/// A database as a place for statements. Used by one thread at a time.
pub(crate) trait Sql: Send {
    /// Does work, all of it or none.
    fn transaction(
        &mut self,
        access: Access,
        work: &mut dyn FnMut(&mut dyn Statements) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;
}

/// Statements that both databases understand, with parameters `$1`, `$2`, each used in its order.
pub(crate) trait Statements {
    /// Where the databases differ.
    fn dialect(&self) -> Dialect;

    /// Returns how many rows were changed.
    fn execute(&mut self, sql: &str, parameters: &[Parameter]) -> Result<u64, StoreError>;

    fn query(&mut self, sql: &str, parameters: &[Parameter]) -> Result<Vec<Vec<Parameter>>, StoreError>;
}

/// Opens a database for statements, and brings its tables up to date.
pub(crate) fn sql(location: &Location) -> Result<Box<dyn Sql>, StoreError> {
    Ok(match location {
        Location::Sqlite(path) => Box::new(Sqlite::open(path)?),
        Location::Postgres(url) => Box::new(Postgres::connected(url)?),
    })
}

/// Opens a database for writing, and brings its tables up to date.
pub(crate) fn open(location: &Location) -> Result<Box<dyn Store>, StoreError> {
    Ok(match location {
        Location::Sqlite(path) => Box::new(Sqlite::open(path)?),
        Location::Postgres(url) => Box::new(Postgres::open(url)?),
    })
}

/// Opens a database for reading. A question ends after so long, or when it is interrupted.
pub(crate) fn reports(location: &Location, longest: Option<Duration>) -> Result<Box<dyn Reports>, StoreError> {
    Ok(match location {
        Location::Sqlite(path) => Box::new(sqlite::Reader::open(path)?),
        Location::Postgres(url) => Box::new(postgres::Reader::open(url, longest)?),
    })
}

//! Where rows are kept for good.

mod sqlite;

use std::path::PathBuf;

pub(crate) use sqlite::{Sqlite, baselines, spend};

use crate::entry::{Attempt, Request};

/// Rows that are written together.
#[derive(Debug, Default)]
pub(crate) struct Rows<'a> {
    pub(crate) attempts: Vec<Attempt<'a>>,
    pub(crate) requests: Vec<Request<'a>>,
    /// Calls whose end nobody saw: not written if the end of the call is there, whatever its day.
    pub(crate) unknown: Vec<Attempt<'a>>,
}

impl Rows<'_> {
    pub(crate) fn len(&self) -> usize {
        self.attempts.len() + self.requests.len() + self.unknown.len()
    }
}

/// Why the store failed. The message has no values of rows.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is not a ledger, or one of a newer version.
    #[error("{0}")]
    Foreign(String),
    /// The database failed.
    #[error("{path}: {source}", path = .path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: rusqlite::Error,
    },
}

/// A database. Used by one thread at a time.
pub(crate) trait Store: Send {
    /// Writes rows, all or none. A row that is there already stays as it is: rows may come twice.
    fn write(&mut self, rows: &Rows<'_>) -> Result<(), StoreError>;
}

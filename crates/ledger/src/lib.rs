//! What happened and what it cost, on record: one row for each call to an upstream, and one for each request.
//!
//! Entries go to a [journal](journal) first, which takes microseconds and outlives the process; a thread brings them from
//! there to the store. So a request never waits for the store, and a store that is away loses nothing. An intent is
//! written before each call: when the process dies, what it was asking for is on record as `unknown`, at the cost that was
//! reserved for it. A row has the key that its entry was given, so that bringing it twice changes nothing.

mod drain;
mod entry;
mod journal;
mod report;
mod store;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{Builder, JoinHandle},
};

use parking_lot::Mutex;

use crate::{
    drain::{Drain, Stop},
    journal::Journal,
    store::Sqlite,
};
pub use crate::{
    entry::{Attempt, AttemptKey, Entry, Intent, Labels, Request, RequestKey, Tokens, UsageSource},
    journal::{Durability, FILE_BYTES, JournalSettings, NotWritten, Written},
    report::{Baseline, Dimension, Query, Spend},
    store::StoreError,
};

/// Is told what becomes of entries, by the ledger's threads.
pub trait Progress: Send + Sync {
    /// So many rows are in the store.
    fn stored(&self, rows: u64);
    /// The journal did not take so many entries.
    fn not_written(&self, entries: u64);
    /// The store failed; it is tried again.
    fn store_failed(&self);
    /// So many bytes of the journal are not in the store yet.
    fn waiting(&self, bytes: u64);
}

/// What a ledger needs to know.
#[derive(Debug, Clone)]
pub struct LedgerSettings {
    /// The SQLite file; made if it is not there.
    pub path: PathBuf,
    /// The journal before it.
    pub journal: JournalSettings,
}

/// Why a ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its journal.
    #[error("{folder}: {source}", folder = .folder.display())]
    Journal {
        /// Where it was to be.
        folder: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// What the ledger in a SQLite file says about spend, the dearest first. It can be asked while a router writes it.
pub fn spend(path: &Path, query: &Query) -> Result<Vec<Spend>, StoreError> {
    store::spend(path, query)
}

/// What the answers in the ledger would have cost under other policies, at the prices of their moments. Upstreams and roles are
/// those of calls, not of answers: they cannot be told apart here.
pub fn baselines(path: &Path, query: &Query) -> Result<Vec<Baseline>, StoreError> {
    store::baselines(path, query)
}

/// How many journals in this folder belong to processes that are gone: they are not in the store yet.
pub fn journals_left(folder: &Path) -> io::Result<usize> {
    Ok(journal::orphans(folder)?.len())
}

/// Takes entries and brings them to the store.
pub struct Ledger {
    journal: Arc<Journal>,
    stop: Arc<Stop>,
    drain: Mutex<Option<JoinHandle<()>>>,
}

impl Ledger {
    /// Opens the store and begins a journal for this process, which `writer`, below 2⁶³ and drawn at random, identifies.
    /// What earlier processes left in their journals is brought to the store meanwhile.
    pub fn open(settings: &LedgerSettings, writer: u64, progress: Arc<dyn Progress>) -> Result<Self, OpenError> {
        let store = Box::new(Sqlite::open(&settings.path)?);
        let parent = settings.journal.folder.clone();
        let failed = |source| OpenError::Journal { folder: parent.clone(), source };
        let journal = Arc::new(Journal::open(&settings.journal, writer, progress.clone()).map_err(failed)?);
        let stop = Arc::<Stop>::default();
        let drain = Drain { store, journal: journal.clone(), progress, stop: stop.clone(), chunks_after_stop: 0 };
        let folder = parent.clone();
        let thread = Builder::new().name("ledger".into()).spawn(move || drain.run(&folder));
        Ok(Self { journal, stop, drain: Mutex::new(Some(thread.map_err(failed)?)) })
    }

    /// Puts entries on record, all together or none of them.
    pub fn append(&self, entries: &[Entry<'_>]) -> Written {
        self.journal.append(entries)
    }

    /// Bytes of the journal that are not in the store yet.
    pub fn backlog_bytes(&self) -> u64 {
        self.journal.backlog_bytes()
    }

    /// Takes no more entries, and returns when those that it took are in the store. If the store fails, they stay in the
    /// journal, for the next process.
    pub fn close(&self) {
        self.journal.close();
        self.stop.set();
        if let Some(drain) = self.drain.lock().take() {
            drop(drain.join());
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.close();
    }
}

//! What happened and what it cost, on record: one row for each call to an upstream, and one for each request.
//!
//! Entries go to a [journal](journal) first, which takes microseconds and outlives the process; a thread brings them from
//! there to the store. So a request never waits for the store, and a store that is away loses nothing. An intent is
//! written before each call: when the process dies, what it was asking for is on record as `unknown`, at the cost that was
//! reserved for it. A row has the key that its entry was given, so that bringing it twice changes nothing. With each new row the
//! sums of its hour grow, which answer what is asked, also when rows are deleted after their time.

mod budget;
mod drain;
mod entry;
mod gpu;
mod journal;
mod keys;
mod report;
mod store;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::channel,
    },
    thread::{Builder, JoinHandle, sleep},
    time::Duration,
};

use parking_lot::Mutex;

pub use crate::{
    budget::{
        AtLimit, Budget, BudgetStatus, Budgets, Granted, OverBudget, Period, Raised, Report, Room, Scope, Spender,
        SpentQuestion, Threshold, Turn, WhenAway,
    },
    entry::{Attempt, AttemptKey, Entry, Intent, Labels, Request, RequestKey, Tokens, UsageSource},
    gpu::{GpuHour, GpuReport, GpuShare, GpuTime, GpuUpstream, Tariffs, closed_until_ms, day},
    journal::{Durability, FILE_BYTES, JournalSettings, NotWritten, Prepared, Written},
    keys::{AuditRecord, Change, Directory, KeyError, KeyRecord, Keys, SecretRecord, TeamRecord},
    report::{Baseline, Dimension, Query, Snapshot, Spend},
    store::{Location, PostgresUrl, PostgresUrlError, StoreError, rollup::HOUR_MS, upkeep::Retention},
};
use crate::{
    drain::{Drain, Stop},
    journal::Journal,
    report::DAY_MS,
    store::upkeep::{ROWS_A_STEP, Upkeep},
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
    /// The database; a SQLite file is made if it is not there.
    pub location: Location,
    /// The journal before it.
    pub journal: JournalSettings,
    /// How long what is kept in the database.
    pub retention: Retention,
    /// The time of day, in milliseconds since 1970.
    pub clock: fn() -> i64,
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

/// [`Snapshot::spend`] for a single question.
pub fn spend(location: &Location, query: &Query) -> Result<Vec<Spend>, StoreError> {
    Snapshot::open(location, None)?.spend(query)
}

/// [`Snapshot::baselines`] for a single question.
pub fn baselines(location: &Location, query: &Query) -> Result<Vec<Baseline>, StoreError> {
    Snapshot::open(location, None)?.baselines(query)
}

/// [`Snapshot::gpu`] for a single question.
pub fn gpu(location: &Location, query: &Query, tariffs: &Tariffs, now_ms: i64) -> Result<GpuReport, StoreError> {
    Snapshot::open(location, None)?.gpu(query, tariffs, now_ms)
}

/// How long a question about what was spent waits before it looks how far the journal is: the end of a call is counted by budgets a
/// moment before it is written.
const COUNTED_TO_WRITTEN: Duration = Duration::from_millis(100);
/// What a budget may limit.
const SCOPES: [Dimension; 3] = [Dimension::Key, Dimension::Team, Dimension::Model];
/// How often it looks again.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(10);
/// How long the database may take to say what was spent in a window, which may be a month of rows without sums.
const LONGEST_QUESTION: Duration = Duration::from_mins(2);
/// How long an opening waits for the database, which may accept a connection and then say nothing.
const LONGEST_OPENING: Duration = Duration::from_secs(20);
/// How long a close waits for what is not in the store.
const LONGEST_CLOSE: Duration = Duration::from_mins(1);

/// How many journals in this folder belong to processes that are gone: they are not in the store yet.
pub fn journals_left(folder: &Path) -> io::Result<usize> {
    Ok(journal::orphans(folder)?.len())
}

/// Takes entries and brings them to the store.
pub struct Ledger {
    journal: Arc<Journal>,
    stop: Arc<Stop>,
    drain: Mutex<Option<JoinHandle<()>>>,
    location: Location,
    /// Whether the last question about what was spent had no answer: it is logged once.
    is_silent: AtomicBool,
}

impl Ledger {
    /// Opens the store and begins a journal for this process, which `writer`, below 2⁶³ and drawn at random, identifies.
    /// What earlier processes left in their journals is brought to the store meanwhile.
    pub fn open(settings: &LedgerSettings, writer: u64, progress: Arc<dyn Progress>) -> Result<Self, OpenError> {
        let folder = settings.journal.folder.clone();
        let failed = |source| OpenError::Journal { folder: folder.clone(), source };
        let stop = Arc::<Stop>::default();
        let (opened, result) = channel();
        let (begin, journals) = channel::<Arc<Journal>>();
        let (location, parent) = (settings.location.clone(), folder.clone());
        let (for_drain, stop_drain) = (progress.clone(), stop.clone());
        let (retention, clock) = (settings.retention, settings.clock);
        // The thread that uses the store opens it: a client of Postgres must not be used where a runtime is.
        let thread = Builder::new().name("ledger".into()).spawn(move || {
            let store = match store::open(&location) {
                Ok(store) => store,
                Err(error) => return drop(opened.send(Err(error))),
            };
            drop(opened.send(Ok(())));
            if let Ok(journal) = journals.recv() {
                let drain = Drain {
                    store,
                    journal,
                    progress: for_drain,
                    stop: stop_drain,
                    chunks_after_stop: 0,
                    upkeep: Upkeep::new(retention, ROWS_A_STEP),
                    clock,
                    next_upkeep_ms: 0,
                };
                drain.run(&parent);
            }
        });
        let thread = thread.map_err(failed)?;
        let opened = result.recv_timeout(LONGEST_OPENING);
        opened
            .map_err(|_| failed(io::Error::new(io::ErrorKind::TimedOut, "the ledger's database does not answer")))??;
        let journal = Arc::new(Journal::open(&settings.journal, writer, progress).map_err(failed)?);
        drop(begin.send(journal.clone()));
        Ok(Self {
            journal,
            stop,
            drain: Mutex::new(Some(thread)),
            location: settings.location.clone(),
            is_silent: AtomicBool::new(false),
        })
    }

    /// Puts entries on record, all together or none of them.
    pub fn append(&self, entries: &[Entry<'_>]) -> Written {
        self.journal.append(entries)
    }

    /// An intent that is put on record later, if at all.
    pub fn prepare(&self, intent: &Intent<'_>) -> Prepared {
        Prepared::new(intent)
    }

    /// Puts a prepared intent on record.
    pub fn append_prepared(&self, prepared: &Prepared) -> Written {
        self.journal.append_prepared(prepared)
    }

    /// Bytes of the journal that are not in the store yet.
    pub fn backlog_bytes(&self) -> u64 {
        self.journal.backlog_bytes()
    }

    /// Bytes of the journal that were written since the start, and how many of them are in the store. What was written when the first one
    /// was read is in the store once the second one has reached that.
    pub fn progress_bytes(&self) -> (u64, u64) {
        // In this order: otherwise more could be in the store than was written.
        let released = self.journal.released_bytes();
        (self.journal.written_bytes().max(released), released)
    }

    /// The database.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Brings what was spent to budgets: to `all`, or only to those whose use nobody knows. Waits until what was written before is
    /// in the store, at most for `longest`. Returns the thresholds that are passed with it.
    pub fn refresh(&self, budgets: &Budgets, all: bool, now_ms: i64, longest: Duration) -> Vec<Threshold> {
        let questions = budgets.questions(all, now_ms);
        if questions.is_empty() {
            return Vec::new();
        }
        let is_whole = self.catch_up(longest);
        if !is_whole && !self.is_silent.swap(true, Ordering::AcqRel) {
            tracing::warn!(
                "what was spent cannot be told yet: the ledger's store lacks calls that are in its journals"
            );
        }
        // One question to the database for each window, however many budgets have it.
        let mut sums: HashMap<(i64, i64), Option<Vec<Spend>>> = HashMap::new();
        let passed = questions.iter().filter_map(|question| {
            let window = (question.from_ms, question.until_ms);
            let sums = sums.entry(window).or_insert_with(|| is_whole.then(|| self.spent(window)).flatten());
            let of_scope = |spend: &&Spend| {
                let at = SCOPES.iter().position(|dimension| *dimension == question.scope.dimension);
                at.is_some_and(|at| spend.labels[at].as_deref() == Some(&*question.scope.name))
            };
            let spent = sums.as_ref().map(|sums| sums.iter().filter(of_scope).map(|spend| spend.cost_nano_usd).sum());
            budgets.answer(question, spent)
        });
        passed.collect()
    }

    /// What was spent from one moment until another, grouped by what budgets may limit. Where the rows of the first hour, or the
    /// hours of the first day, are not kept any more, all of it counts.
    fn spent(&self, (since_ms, until_ms): (i64, i64)) -> Option<Vec<Spend>> {
        let ask = |unit_ms: i64| {
            let since_ms = since_ms.div_euclid(unit_ms) * unit_ms;
            let query = Query { by: SCOPES.to_vec(), since_ms, until_ms, of: Vec::new() };
            Snapshot::open(&self.location, Some(LONGEST_QUESTION))?.spend(&query)
        };
        let mut answer = ask(1);
        for unit_ms in [HOUR_MS, DAY_MS] {
            if matches!(answer, Err(StoreError::Inexact(_))) {
                answer = ask(unit_ms);
            }
        }
        match answer {
            Ok(spend) => {
                self.is_silent.store(false, Ordering::Release);
                Some(spend)
            }
            Err(error) => {
                if !self.is_silent.swap(true, Ordering::AcqRel) {
                    tracing::warn!(%error, "the ledger cannot say what was spent: it is asked again");
                }
                None
            }
        }
    }

    /// Waits until what processes before this one left, and what this one has written by now, is in the store.
    fn catch_up(&self, longest: Duration) -> bool {
        let mut pauses = longest.as_millis() / CATCH_UP_PAUSE.as_millis();
        sleep(COUNTED_TO_WRITTEN);
        let written = self.journal.written_bytes();
        while !self.stop.has_recovered() || self.journal.released_bytes() < written {
            if pauses == 0 || self.stop.is_set() {
                return false;
            }
            pauses -= 1;
            sleep(CATCH_UP_PAUSE);
        }
        true
    }

    /// Takes no more entries, and returns when those that it took are in the store. If the store fails or hangs, they stay in the
    /// journal, for the next process.
    pub fn close(&self) {
        self.journal.close();
        self.stop.set();
        let Some(drain) = self.drain.lock().take() else { return };
        let mut pauses = LONGEST_CLOSE.as_millis() / CATCH_UP_PAUSE.as_millis();
        while !drain.is_finished() {
            if pauses == 0 {
                return tracing::error!("the ledger's store hangs: its journal is left to the next process");
            }
            pauses -= 1;
            sleep(CATCH_UP_PAUSE);
        }
        drop(drain.join());
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.close();
    }
}

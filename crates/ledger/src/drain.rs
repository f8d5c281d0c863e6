//! Brings what is in journals to the store, in a thread of its own: that of this process as it is written, and before
//! that, those of processes that are gone. While the store fails, the journal grows and nothing else happens.

use std::{
    collections::HashMap,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

use crate::{
    Progress,
    entry::{Attempt, AttemptKey, Entry, Intent},
    journal::{Folder, Journal, Position, Reader, orphans},
    store::{Rows, Store, upkeep::Upkeep},
};

/// How often the journal is looked at.
const PERIOD: Duration = Duration::from_millis(50);
/// The same while answers wait for the store.
const SHORT_PERIOD: Duration = Duration::from_millis(2);
/// Journals of processes that have ended meanwhile are looked for after so long without work.
const LOOK_FOR_OTHERS: Duration = Duration::from_secs(30);
/// A stop waits for so many chunks of them, of a megabyte each; the rest is left to the next process.
const MOST_AFTER_STOP: u32 = 64;
/// How often it is looked whether there is upkeep to do, and how long the steps are apart while there is, so that rows come first.
const UPKEEP_MS: (i64, i64) = (60_000, 100);
/// The first and the longest pause before the store is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Ends the thread, or cuts its pauses short.
#[derive(Default)]
pub(crate) struct Stop {
    is_set: Mutex<bool>,
    set: Condvar,
    has_recovered: AtomicBool,
}

impl Stop {
    /// The thread ends when it has brought everything to the store, or has failed to once more.
    pub(crate) fn set(&self) {
        *self.is_set.lock() = true;
        self.set.notify_all();
    }

    pub(crate) fn is_set(&self) -> bool {
        *self.is_set.lock()
    }

    /// Whether the journals of earlier processes are in the store, as far as they could be found and read.
    pub(crate) fn has_recovered(&self) -> bool {
        self.has_recovered.load(Ordering::Acquire)
    }

    fn pause(&self, pause: Duration) {
        let mut is_set = self.is_set.lock();
        if !*is_set {
            self.set.wait_for(&mut is_set, pause);
        }
    }
}

/// The thread's own.
pub(crate) struct Drain {
    pub(crate) store: Box<dyn Store>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) progress: Arc<dyn Progress>,
    pub(crate) stop: Arc<Stop>,
    /// Chunks of journals of other processes that were read after the stop.
    pub(crate) chunks_after_stop: u32,
    pub(crate) upkeep: Upkeep,
    /// The time of day, in milliseconds since 1970.
    pub(crate) clock: fn() -> i64,
    /// When it is looked for upkeep.
    pub(crate) next_upkeep_ms: i64,
}

/// A journal that is read.
struct Source<'a> {
    folder: &'a Folder,
    reader: Reader,
    /// Calls that have begun and not ended: the number of the file that the intent stands in, and its bytes.
    open: HashMap<AttemptKey, (u64, Vec<u8>)>,
    /// The number of the oldest file that is left.
    oldest: u64,
    /// Files with an entry that cannot be understood.
    odd: Vec<u64>,
}

impl<'a> Source<'a> {
    fn new(folder: &'a Folder, first: u64) -> Self {
        Self { folder, reader: Reader::new(first), open: HashMap::new(), oldest: first, odd: Vec::new() }
    }

    fn is_damaged(&self, file: u64) -> bool {
        self.odd.contains(&file) || self.reader.damaged().contains(&file)
    }

    /// Removes the files before `current` that hold no intent of an open call, the oldest first: the end of a call stands
    /// behind its intent.
    fn remove_done(&mut self, current: u64) {
        let needed = self.open.values().map(|(file, _)| *file).min().unwrap_or(current).min(current);
        while self.oldest < needed {
            if let Err(error) = self.folder.retire_file(self.oldest, self.is_damaged(self.oldest)) {
                tracing::warn!(%error, "a file of the ledger's journal cannot be removed");
                return;
            }
            self.oldest += 1;
        }
    }

    /// Rows of a file came so late that those of their days are deleted: the file is kept, because they may be in no sum.
    fn keep_late(&mut self, file: u64, rows: u64) {
        tracing::error!(
            rows,
            "rows came after those of their days were deleted: nobody knows whether the sums have them, and their journal file is kept"
        );
        if !self.odd.contains(&file) {
            self.odd.push(file);
        }
    }

    /// The rows of calls whose end nobody will see.
    fn unknown(&self) -> Vec<Attempt<'_>> {
        let intents = self.open.values().filter_map(|(_, payload)| intent(payload));
        intents.map(|intent| intent.unknown()).collect()
    }

    /// Removes the folder, whose entries are in the store; what could not be read is kept.
    fn retire(&self) -> io::Result<()> {
        if self.odd.is_empty() && self.reader.damaged().is_empty() {
            return self.folder.remove();
        }
        let kept = self.folder.set_aside()?;
        tracing::error!(kept = %kept.display(), "a part of the journal is not in the ledger: it is kept for a look");
        Ok(())
    }
}

impl Drain {
    /// Runs until it is stopped.
    pub(crate) fn run(mut self, parent: &Path) {
        self.recover_all(parent);
        self.stop.has_recovered.store(true, Ordering::Release);
        let journal = self.journal.clone();
        let mut source = Source::new(journal.folder(), 0);
        let period = if journal.waits_for_store() { SHORT_PERIOD } else { PERIOD };
        let mut idle = Duration::ZERO;
        loop {
            let is_last = self.stop.is_set();
            self.progress.waiting(journal.backlog_bytes());
            if !is_last {
                self.keep_up();
            }
            match self.take(&mut source, (journal.written(), false)) {
                Ok(Some((file, bytes))) => {
                    journal.release(bytes);
                    source.remove_done(file);
                }
                Ok(None) if is_last => break,
                Ok(None) => {
                    idle += period;
                    if idle >= LOOK_FOR_OTHERS {
                        idle = Duration::ZERO;
                        self.recover_all(parent);
                    }
                    self.stop.pause(period);
                }
                Err(error) => {
                    tracing::error!(%error, "the ledger's journal cannot be brought to the store");
                    if self.stop.is_set() {
                        return;
                    }
                    self.stop.pause(PAUSES.1);
                }
            }
        }
        // The process ends, and with it the calls that are still under way.
        if let Err(error) = self.end(&mut source, false) {
            tracing::error!(%error, "the ledger's journal is left to the next process");
        }
    }

    /// Does a step of the store's upkeep, if it is time to.
    fn keep_up(&mut self) {
        let now_ms = (self.clock)();
        // A clock that is put back far delays nothing.
        if now_ms < self.next_upkeep_ms && self.next_upkeep_ms - now_ms <= UPKEEP_MS.0 {
            return;
        }
        let pause_ms = match self.upkeep.step(&mut *self.store, now_ms) {
            Ok(true) => UPKEEP_MS.1,
            Ok(false) => UPKEEP_MS.0,
            Err(error) => {
                tracing::error!(%error, "the upkeep of the ledger's database failed: it is tried again");
                UPKEEP_MS.0
            }
        };
        self.next_upkeep_ms = now_ms + pause_ms;
    }

    /// Brings the journals of processes that are gone to the store. There may be more later: in a rolling restart, the process
    /// before this one still runs when this one begins.
    fn recover_all(&mut self, parent: &Path) {
        let orphans = match orphans(parent) {
            Ok(orphans) => orphans,
            Err(error) => return tracing::error!(%error, "journals of earlier processes cannot be found"),
        };
        for folder in &orphans {
            let path = folder.path().display();
            match self.recover(folder) {
                Ok(Some(unknown)) => tracing::info!(unknown, "the journal of an earlier process is in the ledger"),
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(%path, %error, "the journal of an earlier process is not in the ledger yet");
                    if self.stop.is_set() {
                        return;
                    }
                }
            }
        }
    }

    /// Brings the journal of a process that is gone to the store, and removes it. Returns how many calls were under way when
    /// that process ended; `None` if the thread is to end first.
    fn recover(&mut self, folder: &Folder) -> io::Result<Option<usize>> {
        let numbers = folder.numbers()?;
        let mut source = Source::new(folder, numbers.first().copied().unwrap_or_default());
        if let Some(last) = numbers.last() {
            while self.take(&mut source, (Position { file: *last, bytes: u64::MAX }, true))?.is_some() {
                if self.stop.is_set() {
                    self.chunks_after_stop += 1;
                }
                if self.chunks_after_stop > MOST_AFTER_STOP {
                    return Ok(None);
                }
            }
        }
        self.end(&mut source, true)?;
        Ok(Some(source.open.len()))
    }

    /// All entries were taken, and none will come.
    fn end(&mut self, source: &mut Source<'_>, may_be_twice: bool) -> io::Result<()> {
        let late = self.write(&Rows { unknown: source.unknown(), may_be_twice, ..Rows::default() })?;
        if late > 0 {
            source.keep_late(source.oldest, late);
        }
        source.retire()
    }

    /// Brings the next entries before `end` to the store, which may have them already. Returns the number of the file that they stand
    /// in and their bytes; `None` if there are none.
    fn take(
        &mut self,
        source: &mut Source<'_>,
        (end, may_be_twice): (Position, bool),
    ) -> io::Result<Option<(u64, u64)>> {
        let Some(chunk) = source.reader.next(source.folder, end)? else { return Ok(None) };
        let mut rows = Rows { may_be_twice, ..Rows::default() };
        for entry in chunk.entries() {
            match entry {
                Some((Entry::Intent(intent), payload)) => {
                    source.open.insert(intent.key, (chunk.file, payload.to_vec()));
                }
                Some((Entry::Attempt(attempt), _)) => {
                    source.open.remove(&attempt.key);
                    rows.attempts.push(attempt);
                }
                Some((Entry::Request(request), _)) => rows.requests.push(request),
                Some((Entry::GpuHour(hour), _)) => hour.put_in(&mut rows.gpu_hours),
                None if source.odd.contains(&chunk.file) => {}
                None => {
                    tracing::error!("an entry of the ledger's journal cannot be understood");
                    source.odd.push(chunk.file);
                }
            }
        }
        let taken = (chunk.file, chunk.bytes());
        let late = self.write(&rows)?;
        if late > 0 {
            source.keep_late(taken.0, late);
        }
        Ok(Some(taken))
    }

    /// Writes rows, however often that has to be tried; fails only if the thread is to end. Returns how many came too late.
    fn write(&mut self, rows: &Rows<'_>) -> io::Result<u64> {
        if rows.len() == 0 {
            return Ok(0);
        }
        let mut pause = PAUSES.0;
        let late = loop {
            let error = match self.store.write(rows) {
                Ok(late) => break late,
                Err(error) => error,
            };
            self.progress.store_failed();
            self.progress.waiting(self.journal.backlog_bytes());
            if pause == PAUSES.0 {
                tracing::error!(%error, "the ledger's store failed: its journal keeps the rows until it works");
            }
            if self.stop.is_set() {
                return Err(io::Error::other(error));
            }
            self.stop.pause(pause);
            pause = (pause * 2).min(PAUSES.1);
        };
        if pause != PAUSES.0 {
            tracing::info!("the ledger's store works again");
        }
        self.progress.stored(rows.len() as u64 - late);
        Ok(late)
    }
}

fn intent(payload: &[u8]) -> Option<Intent<'_>> {
    match crate::journal::decode(payload)? {
        Entry::Intent(intent) => Some(intent),
        Entry::Attempt(_) | Entry::Request(_) | Entry::GpuHour(_) => None,
    }
}

//! Brings what is in journals to the store, in a thread of its own: that of this process as it is written, and before
//! that, those of processes that are gone. While the store fails, the journal grows and nothing else happens.

use std::{collections::HashMap, io, path::Path, sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};

use crate::{
    Progress,
    entry::{AttemptKey, Entry, Intent},
    journal::{Folder, Journal, Place, Reader, orphans},
    store::{Rows, Store, StoreError},
};

/// How often the journal is looked at.
const PERIOD: Duration = Duration::from_millis(50);
/// The first and the longest pause before the store is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Ends the thread, or cuts its pauses short.
#[derive(Default)]
pub(crate) struct Stop {
    is_set: Mutex<bool>,
    set: Condvar,
}

impl Stop {
    /// The thread ends when it has brought everything to the store, or has failed to once more.
    pub(crate) fn set(&self) {
        *self.is_set.lock() = true;
        self.set.notify_all();
    }

    fn is_set(&self) -> bool {
        *self.is_set.lock()
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
    pub(crate) progress: Arc<dyn Progress>,
    pub(crate) stop: Arc<Stop>,
}

/// Calls that have begun and not ended, by the journal.
type Open = HashMap<AttemptKey, (u64, Vec<u8>)>;

impl Drain {
    /// Runs until it is stopped.
    pub(crate) fn run(mut self, journal: &Journal, parent: &Path) {
        match orphans(parent) {
            Ok(orphans) => orphans.iter().for_each(|folder| self.recover(folder)),
            Err(error) => tracing::error!(%error, "journals of earlier processes cannot be found"),
        }
        let folder = journal.folder();
        let mut reader = Reader::new(0);
        let (mut open, mut oldest) = (Open::new(), 0);
        loop {
            let is_last = self.stop.is_set();
            self.progress.waiting(journal.backlog_bytes());
            match self.take(&mut reader, folder, journal.written(), &mut open) {
                Ok(Some((file, bytes))) => {
                    journal.release(bytes);
                    oldest = remove_done(folder, oldest, file, &open);
                }
                Ok(None) if is_last => break,
                Ok(None) => self.stop.pause(PERIOD),
                Err(error) => {
                    tracing::error!(%error, "the ledger's journal cannot be brought to the store");
                    if self.stop.is_set() {
                        return;
                    }
                    self.stop.pause(PAUSES.1);
                }
            }
        }
        if open.is_empty()
            && let Err(error) = folder.remove()
        {
            tracing::warn!(%error, "the ledger's journal is in the store, and cannot be removed");
        }
    }

    /// Brings the journal of a process that is gone to the store, and removes it.
    fn recover(&mut self, folder: &Folder) {
        let mut open = Open::new();
        let recovered = self.take_all(folder, &mut open).and_then(|()| {
            let intents = open.values().filter_map(|(_, payload)| intent(payload));
            let attempts: Vec<_> = intents.map(|intent| intent.unknown()).collect();
            let count = attempts.len();
            self.write(&Rows { attempts, requests: Vec::new() })?;
            Ok(count)
        });
        let path = folder.path().to_owned();
        match recovered.and_then(|count| folder.remove().map(|()| count)) {
            Ok(unknown) => tracing::info!(unknown, "the journal of an earlier process is in the ledger"),
            Err(error) => {
                tracing::error!(folder = %path.display(), %error, "the journal of an earlier process is not in the ledger yet");
            }
        }
    }

    fn take_all(&mut self, folder: &Folder, open: &mut Open) -> io::Result<()> {
        let numbers = folder.numbers()?;
        let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else { return Ok(()) };
        let mut reader = Reader::new(*first);
        while self.take(&mut reader, folder, Place { file: *last, bytes: u64::MAX }, open)?.is_some() {}
        Ok(())
    }

    /// Brings the next entries to the store. Returns the number of the file that they stand in and their bytes; `None` if
    /// there are none.
    fn take(
        &mut self,
        reader: &mut Reader,
        folder: &Folder,
        end: Place,
        open: &mut Open,
    ) -> io::Result<Option<(u64, u64)>> {
        let Some(chunk) = reader.next(folder, end)? else { return Ok(None) };
        let mut rows = Rows::default();
        for (entry, payload) in chunk.entries() {
            match entry {
                Entry::Intent(intent) => drop(open.insert(intent.key, (chunk.file, payload.to_vec()))),
                Entry::Attempt(attempt) => {
                    open.remove(&attempt.key);
                    rows.attempts.push(attempt);
                }
                Entry::Request(request) => rows.requests.push(request),
            }
        }
        self.write(&rows)?;
        Ok(Some((chunk.file, chunk.bytes())))
    }

    /// Writes rows, however often that has to be tried; fails only if the thread is to end.
    fn write(&mut self, rows: &Rows<'_>) -> io::Result<()> {
        let mut pause = PAUSES.0;
        while let Err(error) = self.store.write(rows) {
            self.progress.store_failed();
            if pause == PAUSES.0 {
                tracing::error!(%error, "the ledger's store failed: its journal keeps the rows until it works");
            }
            if self.stop.is_set() {
                return Err(io::Error::other(error));
            }
            self.stop.pause(pause);
            pause = (pause * 2).min(PAUSES.1);
        }
        if pause != PAUSES.0 {
            tracing::info!("the ledger's store works again");
        }
        self.progress.stored(rows.len() as u64);
        Ok(())
    }
}

fn intent(payload: &[u8]) -> Option<Intent<'_>> {
    match crate::journal::decode(payload)? {
        Entry::Intent(intent) => Some(intent),
        Entry::Attempt(_) | Entry::Request(_) => None,
    }
}

/// Removes the files before `current` that hold no intent of an open call, from `oldest` on. Returns the oldest that is
/// left. A file is kept as long as one before it: the end of a call stands behind its intent.
fn remove_done(folder: &Folder, oldest: u64, current: u64, open: &Open) -> u64 {
    let needed = open.values().map(|(file, _)| *file).min().unwrap_or(current).min(current);
    for number in oldest..needed {
        if let Err(error) = folder.remove_file(number) {
            tracing::warn!(%error, "a file of the ledger's journal cannot be removed");
        }
    }
    needed.max(oldest)
}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        Self::other(error)
    }
}

//! The journal: what is put on record goes here first, so that a request never waits for the store.
//!
//! A process appends to files of its own, in a folder of its own that it holds a lock on. One thread writes: it takes all
//! entries that came while it wrote the last ones, and writes them at once. An entry is *written* when the operating
//! system has its bytes; it then outlives the process, however that dies. Another thread forces the bytes to the disk once
//! a second, so that they outlive the machine as well; with [`Durability::Disk`] an entry waits for that.

mod batch;
mod file;
mod frame;
mod reader;
mod sync;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::Arc,
    thread::{Builder, JoinHandle},
};

use batch::Batch;
pub use batch::{NotWritten, Written};
use file::{Files, Unsynced};
pub(crate) use file::{Folder, orphans};
pub(crate) use frame::decode;
use parking_lot::{Condvar, Mutex};
pub(crate) use reader::Reader;
use sync::Stop;
use writer::Writer;

use crate::{
    Progress,
    entry::{Entry, Intent},
};

/// More bytes than this do not wait for the disk: entries that find so many fail at once.
const MAX_PENDING: usize = 64 << 20;

thread_local! {
    /// Where this thread encodes its entries.
    static ENCODED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// An intent that may be put on record later.
#[derive(Debug)]
pub struct Prepared(Option<Vec<u8>>);

impl Prepared {
    pub(crate) fn new(intent: &Intent<'_>) -> Self {
        let mut encoded = Vec::new();
        Self(frame::encode(&Entry::Intent(*intent), &mut encoded).then_some(encoded))
    }
}

/// How safe an entry is once it counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It outlives the process. The last second may be lost when the machine loses power.
    Process,
    /// It outlives the machine.
    Disk,
    /// It is in the store, for ends of calls and requests: they outlive the machine and its disk. Intents are as with
    /// [`Self::Process`].
    Store,
}

/// What a journal needs to know.
#[derive(Debug, Clone)]
pub struct JournalSettings {
    /// Where the folders of all processes are.
    pub folder: PathBuf,
    /// How safe entries are.
    pub durability: Durability,
    /// Once so many bytes wait for the store, no intent is taken.
    pub max_bytes: u64,
    /// A file that has grown to this is followed by the next one: [`FILE_BYTES`] but in tests.
    pub file_bytes: u64,
}

/// The usual size of a file.
pub const FILE_BYTES: u64 = 16 << 20;

/// A position in the journal of a process: so many bytes of that file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    /// The file's number, from 0.
    pub(crate) file: u64,
    pub(crate) bytes: u64,
}

/// What the threads share.
struct Shared {
    pending: Mutex<Pending>,
    /// Wakes the writer.
    wake: Condvar,
    reached: Mutex<Reached>,
}

/// Entries that wait to be written.
struct Pending {
    bytes: Vec<u8>,
    /// How often some were added.
    appends: u32,
    batch: Arc<Batch>,
    is_writer_waiting: bool,
    is_stopping: bool,
}

/// How far the journal is.
#[derive(Default)]
struct Reached {
    written: Position,
    /// Bytes that were written in all.
    written_bytes: u64,
    /// Of these, those that need not be kept any more.
    released_bytes: u64,
    /// The batches that are not in the store yet, each with the number of bytes up to its end, if anybody waits for that.
    unstored: VecDeque<(u64, Arc<Batch>)>,
}

/// Takes entries.
pub(crate) struct Journal {
    shared: Arc<Shared>,
    folder: Arc<Folder>,
    max_bytes: u64,
    durability: Durability,
    progress: Arc<dyn Progress>,
    stop_sync: Arc<Stop>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Journal {
    /// Makes the folder of this process, which `writer` identifies, and starts the thread that writes.
    pub(crate) fn open(settings: &JournalSettings, writer: u64, progress: Arc<dyn Progress>) -> io::Result<Self> {
        let folder = Arc::new(Folder::create(&settings.folder, writer)?);
        let pending = Pending {
            bytes: Vec::new(),
            appends: 0,
            batch: Arc::default(),
            is_writer_waiting: false,
            is_stopping: false,
        };
        let shared = Shared { pending: Mutex::new(pending), wake: Condvar::new(), reached: Mutex::default() };
        let shared = Arc::new(shared);
        let unsynced = Unsynced::default();
        let files = Files::create(folder.clone(), settings, unsynced.clone())?;
        let durability = settings.durability;
        let writer = Writer { files, waits_for_store: durability == Durability::Store, progress: progress.clone() };
        let for_writer = shared.clone();
        let stop_sync = Arc::<Stop>::default();
        let (for_sync, synced) = (stop_sync.clone(), folder.clone());
        let threads = vec![
            thread("journal").spawn(move || writer.run(&for_writer))?,
            thread("journal-sync").spawn(move || sync::run(&for_sync, &unsynced, &synced))?,
        ];
        let (max_bytes, threads) = (settings.max_bytes, Mutex::new(threads));
        Ok(Self { shared, folder, max_bytes, durability, progress, stop_sync, threads })
    }

    /// Leaves entries to the thread, which writes them all together. If they cannot be written, an intent is forgotten, as
    /// its call is not to be made; ends of calls and requests wait in memory and are written when the disk takes them.
    pub(crate) fn append(&self, entries: &[Entry<'_>]) -> Written {
        let begins = matches!(entries, [Entry::Intent(_), ..]);
        ENCODED.with_borrow_mut(|encoded| {
            encoded.clear();
            let is_whole = entries.iter().all(|entry| frame::encode(entry, encoded));
            self.append_encoded(is_whole.then_some(&**encoded), entries.len() as u64, begins)
        })
    }

    /// Puts a prepared intent on record.
    pub(crate) fn append_prepared(&self, prepared: &Prepared) -> Written {
        self.append_encoded(prepared.0.as_deref(), 1, true)
    }

    /// `None` stands for what cannot be encoded.
    fn append_encoded(&self, encoded: Option<&[u8]>, entries: u64, begins: bool) -> Written {
        let is_full = begins && self.backlog_bytes() >= self.max_bytes;
        let batch = encoded.filter(|_| !is_full).and_then(|encoded| self.shared.append(encoded));
        if batch.is_none() {
            self.progress.not_written(entries);
        }
        Written::new(batch, !begins && self.durability == Durability::Store)
    }

    /// The position up to which entries are written.
    pub(crate) fn written(&self) -> Position {
        self.shared.reached.lock().written
    }

    /// Bytes that are written and not yet released.
    pub(crate) fn backlog_bytes(&self) -> u64 {
        self.shared.reached.lock().backlog_bytes()
    }

    /// Bytes that were written since the start.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.shared.reached.lock().written_bytes
    }

    /// Of these, those that are released.
    pub(crate) fn released_bytes(&self) -> u64 {
        self.shared.reached.lock().released_bytes
    }

    /// So many bytes more need not be kept.
    pub(crate) fn release(&self, bytes: u64) {
        let mut reached = self.shared.reached.lock();
        reached.released_bytes += bytes;
        let released = reached.released_bytes;
        while let Some((_, batch)) = reached.unstored.pop_front_if(|(end, _)| *end <= released) {
            batch.stored();
        }
    }

    /// Whether answers wait for the store.
    pub(crate) fn waits_for_store(&self) -> bool {
        self.durability == Durability::Store
    }

    /// The folder of this process.
    pub(crate) fn folder(&self) -> &Arc<Folder> {
        &self.folder
    }

    /// Writes the entries that are there, and takes no more.
    pub(crate) fn close(&self) {
        self.shared.pending.lock().is_stopping = true;
        self.shared.wake.notify_all();
        for (nth, thread) in self.threads.lock().drain(..).enumerate() {
            // The last bytes are forced to the disk when the first thread has written them.
            if nth == 1 {
                self.stop_sync.set();
            }
            drop(thread.join());
        }
    }
}

fn thread(name: &str) -> Builder {
    Builder::new().name(name.into())
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// Adds entries to those that wait. Returns the batch that they are in; `None` if they are not taken.
    fn append(&self, encoded: &[u8]) -> Option<Arc<Batch>> {
        let mut pending = self.pending.lock();
        if pending.is_stopping || pending.bytes.len() + encoded.len() > MAX_PENDING {
            return None;
        }
        pending.bytes.extend_from_slice(encoded);
        pending.appends += 1;
        if pending.is_writer_waiting {
            pending.is_writer_waiting = false;
            self.wake.notify_all();
        }
        Some(pending.batch.clone())
    }
}

impl Reached {
    fn backlog_bytes(&self) -> u64 {
        self.written_bytes.saturating_sub(self.released_bytes)
    }
}

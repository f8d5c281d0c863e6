//! The thread that writes.

use std::{sync::Arc, time::Duration};

use parking_lot::MutexGuard;

use super::{Batch, Pending, Position, Reached, Shared, file::Files, frame};
use crate::Progress;

/// A buffer that has grown beyond this is not kept.
const KEPT_BUFFER: usize = 1 << 20;
/// More bytes of ends than this do not wait in memory until the disk takes them.
const MOST_KEPT: usize = 64 << 20;
/// While several come at once, this much longer is waited for more: a write and a wake-up for each entry would cost several
/// times as much as the entry.
const GATHER: Duration = Duration::from_micros(200);
/// How often ends that the disk did not take are tried again, if no entry comes.
const RETRY: Duration = Duration::from_millis(100);

/// The thread's own.
pub(super) struct Writer {
    pub(super) files: Files,
    /// Whether anybody waits for the store.
    pub(super) waits_for_store: bool,
    pub(super) progress: Arc<dyn Progress>,
}

impl Writer {
    /// Writes until the journal is closed.
    pub(super) fn run(mut self, shared: &Shared) {
        // Begins with ends of calls and requests that could not be written: what was spent is not forgotten because the
        // disk was full for a while.
        let mut bytes = Vec::new();
        let (mut is_failing, mut is_busy) = (false, false);
        while let Some((batch, appends)) = shared.next(&mut bytes, is_busy) {
            is_busy = appends > 1;
            let written = self.files.append(&bytes);
            match &written {
                Ok(position) => {
                    let unstored = self.waits_for_store.then(|| batch.clone());
                    shared.reached.lock().advance(*position, bytes.len() as u64, unstored);
                    bytes.clear();
                    bytes.shrink_to(KEPT_BUFFER);
                    if is_failing {
                        tracing::info!("the ledger's journal is written again");
                    }
                }
                Err(error) => {
                    if !is_failing {
                        let folder = self.files.folder().display();
                        tracing::error!(%folder, %error, "the ledger's journal cannot be written: no call is made without a record, unless on_journal_failure is release");
                    }
                    self.progress.not_written(frame::keep_ends(&mut bytes, MOST_KEPT));
                }
            }
            is_failing = written.is_err();
            batch.end(written.is_ok());
        }
        self.progress.not_written(frame::count(&bytes));
    }
}

impl Shared {
    /// Waits for entries and adds them to `bytes`; where some are there already, only for a while. Returns how often
    /// something was appended; `None` if nothing will come any more.
    fn next(&self, bytes: &mut Vec<u8>, is_busy: bool) -> Option<(Arc<Batch>, u32)> {
        let mut pending = self.pending.lock();
        while pending.bytes.is_empty() {
            if pending.is_stopping {
                return None;
            }
            pending.is_writer_waiting = true;
            if bytes.is_empty() {
                self.wake.wait(&mut pending);
            } else if self.wake.wait_for(&mut pending, RETRY).timed_out() {
                break;
            }
        }
        if is_busy && !pending.is_stopping {
            MutexGuard::unlocked(&mut pending, || std::thread::sleep(GATHER));
        }
        Some(pending.take(bytes))
    }
}

impl Pending {
    fn take(&mut self, bytes: &mut Vec<u8>) -> (Arc<Batch>, u32) {
        self.is_writer_waiting = false;
        if bytes.is_empty() {
            std::mem::swap(&mut self.bytes, bytes);
        } else {
            bytes.append(&mut self.bytes);
        }
        (std::mem::take(&mut self.batch), std::mem::take(&mut self.appends))
    }
}

impl Reached {
    fn advance(&mut self, written: Position, bytes: u64, unstored: Option<Arc<Batch>>) {
        self.written = written;
        self.written_bytes += bytes;
        self.unstored.extend(unstored.map(|batch| (self.written_bytes, batch)));
    }
}

//! The thread that writes.

use std::{io, sync::Arc};

use super::{Batch, Pending, Place, Reached, Shared, file::Files};
use crate::Progress;

/// A buffer that has grown beyond this is not kept.
const KEPT_BUFFER: usize = 1 << 20;

/// The thread's own.
pub(super) struct Writer {
    pub(super) files: Files,
    /// Most bytes that wait for the store.
    pub(super) max_bytes: u64,
    pub(super) progress: Arc<dyn Progress>,
}

impl Writer {
    /// Writes until the journal is closed.
    pub(super) fn run(mut self, shared: &Shared) {
        let mut bytes = Vec::new();
        let mut is_failing = false;
        while let Some((batch, entries)) = shared.next(&mut bytes) {
            let written = self.write(&bytes, shared);
            batch.end(written.is_ok());
            match &written {
                Ok(()) if is_failing => tracing::info!("the ledger's journal is written again"),
                Err(error) if !is_failing => tracing::error!(%error, "the ledger's journal cannot be written"),
                Ok(()) | Err(_) => {}
            }
            if written.is_err() {
                self.progress.not_written(entries);
            }
            is_failing = written.is_err();
            bytes.clear();
            bytes.shrink_to(KEPT_BUFFER);
        }
    }

    fn write(&mut self, bytes: &[u8], shared: &Shared) -> io::Result<()> {
        let length = bytes.len() as u64;
        if shared.reached.lock().backlog_bytes() + length > self.max_bytes {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "too many bytes wait for the store"));
        }
        let place = self.files.append(bytes)?;
        shared.reached.lock().advance(place, length);
        Ok(())
    }
}

impl Shared {
    /// Waits for entries and exchanges them for the empty `bytes`; `None` if there are none and none will come.
    fn next(&self, bytes: &mut Vec<u8>) -> Option<(Arc<Batch>, u64)> {
        let mut pending = self.pending.lock();
        while pending.bytes.is_empty() {
            if pending.is_stopping {
                return None;
            }
            pending.is_writer_waiting = true;
            self.wake.wait(&mut pending);
        }
        Some(pending.take(bytes))
    }
}

impl Pending {
    fn take(&mut self, bytes: &mut Vec<u8>) -> (Arc<Batch>, u64) {
        self.is_writer_waiting = false;
        std::mem::swap(&mut self.bytes, bytes);
        (std::mem::take(&mut self.batch), std::mem::take(&mut self.entries))
    }
}

impl Reached {
    fn advance(&mut self, written: Place, bytes: u64) {
        self.written = written;
        self.written_bytes += bytes;
    }
}

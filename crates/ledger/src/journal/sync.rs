//! The thread that forces what is written to the disk, once a second. It is not the one that writes: forcing takes
//! milliseconds to seconds, and answers wait for what is written.

use std::{fs::File, sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};

use super::file::{Folder, Unsynced};

const PERIOD: Duration = Duration::from_secs(1);

/// Ends the thread.
#[derive(Default)]
pub(super) struct Stop {
    is_set: Mutex<bool>,
    set: Condvar,
}

impl Stop {
    pub(super) fn set(&self) {
        *self.is_set.lock() = true;
        self.set.notify_all();
    }

    /// Waits for a period. Returns whether the thread is to end.
    fn wait(&self) -> bool {
        let mut is_set = self.is_set.lock();
        if !*is_set {
            self.set.wait_for(&mut is_set, PERIOD);
        }
        *is_set
    }
}

pub(super) fn run(stop: &Stop, unsynced: &Unsynced, folder: &Folder) {
    let mut is_failing = false;
    loop {
        let is_last = stop.wait();
        let files: Vec<Arc<File>> = unsynced.lock().clone();
        let mut result = files.iter().try_for_each(|file| file.sync_data());
        if files.len() > 1 {
            result = result.and_then(|()| folder.sync());
        }
        match &result {
            // The newest file is written to.
            Ok(()) => drop(unsynced.lock().drain(..files.len().saturating_sub(1))),
            Err(error) if !is_failing => tracing::error!(%error, "the ledger's journal cannot be forced to the disk"),
            Err(_) => {}
        }
        is_failing = result.is_err();
        if is_last {
            return;
        }
    }
}

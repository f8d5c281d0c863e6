//! The latest records in memory. A reader takes references out under the lock and reads them afterwards, so that
//! requests do not wait for a reader.

use std::{collections::VecDeque, sync::Arc};

use dispatch::Record;
use parking_lot::Mutex;

/// A record that is kept.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) record: Arc<Record>,
    /// When the request ended, in seconds since 1970.
    pub(crate) ended_at: f64,
}

/// The latest records, the oldest first.
pub(crate) struct Ring {
    size: usize,
    records: Mutex<VecDeque<Kept>>,
}

impl Ring {
    pub(crate) fn new(size: usize) -> Self {
        Self { size, records: Mutex::new(VecDeque::with_capacity(size)) }
    }

    /// Most records that it keeps.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Keeps a record. Returns what has no room any more.
    pub(crate) fn push(&self, kept: Kept) -> Option<Arc<Record>> {
        if self.size == 0 {
            return Some(kept.record);
        }
        let mut records = self.records.lock();
        let oldest = if records.len() < self.size { None } else { records.pop_front() };
        records.push_back(kept);
        oldest.map(|oldest| oldest.record)
    }

    /// The `limit` newest of those that match, the newest first.
    pub(crate) fn newest(&self, limit: usize, matches: impl Fn(&Record) -> bool) -> Vec<Kept> {
        let records = self.records.lock();
        records.iter().rev().filter(|kept| matches(&kept.record)).take(limit).cloned().collect()
    }
}

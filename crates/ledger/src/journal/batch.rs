//! Entries that are written at once, and those who wait for that.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

const PENDING: u8 = 0;
const WRITTEN: u8 = 1;
const STORED: u8 = 2;
const FAILED: u8 = 3;

/// What becomes of the entries.
#[derive(Debug, Default)]
pub(super) struct Batch {
    outcome: AtomicU8,
    waiting: Mutex<Vec<Waker>>,
}

impl Batch {
    /// The entries are written, or will not be.
    pub(super) fn end(&self, is_written: bool) {
        self.set(if is_written { WRITTEN } else { FAILED });
    }

    /// They are in the store.
    pub(super) fn stored(&self) {
        self.set(STORED);
    }

    fn set(&self, outcome: u8) {
        // What is in the store is written as well, whichever is said first.
        self.outcome.fetch_max(outcome, Ordering::AcqRel);
        let waiting = std::mem::take(&mut *self.waiting.lock());
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// The journal did not take an entry: its disk is full or fails, or cannot keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ledger's journal cannot be written")]
pub struct NotWritten;

/// Waits until entries are written, or in the store.
#[derive(Debug)]
#[must_use = "an entry is on record once this is ready"]
pub struct Written {
    /// `None` if they were not taken.
    batch: Option<Arc<Batch>>,
    in_store: bool,
}

impl Written {
    pub(super) fn new(batch: Option<Arc<Batch>>, in_store: bool) -> Self {
        Self { batch, in_store }
    }

    fn outcome(&self) -> Poll<Result<(), NotWritten>> {
        match self.batch.as_ref().map_or(FAILED, |batch| batch.outcome.load(Ordering::Acquire)) {
            STORED => Poll::Ready(Ok(())),
            WRITTEN if !self.in_store => Poll::Ready(Ok(())),
            PENDING | WRITTEN => Poll::Pending,
            _ => Poll::Ready(Err(NotWritten)),
        }
    }
}

impl Future for Written {
    type Output = Result<(), NotWritten>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let (Poll::Pending, Some(batch)) = (self.outcome(), &self.batch) {
            batch.waiting.lock().push(context.waker().clone());
        }
        // The batch may have ended before the waker was there to be woken.
        self.outcome()
    }
}

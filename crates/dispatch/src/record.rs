//! The decision record of a request: what was decided, from which facts, and what then happened. No prompt, no answer,
//! no key.
//!
//! A request writes into a record of its own, so that a lock is needed only when it begins and ends. Records are
//! reused: their lists keep their capacity, and the engine gets an empty list in exchange for each one that it hands
//! out.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use router::{Decision, Engine, Facts, Model};

use crate::event::{AttemptEnded, RequestEnded};

/// Most records that wait to be used again.
const MOST_SPARE: usize = 1024;

/// The record of one request.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// The decision behind the first call; if no call was made, the last one.
    pub decision: Decision,
    /// The calls, in order of their ends.
    pub attempts: Vec<Tried>,
    /// How it ended; always there in a record that is kept.
    pub ended: Option<Closed>,
}

/// A call to an upstream.
#[derive(Debug, Clone)]
pub struct Tried {
    /// From the request's arrival to the call.
    pub after: Duration,
    /// What came of it.
    pub ended: AttemptEnded,
}

/// The end of a request.
#[derive(Debug, Clone)]
pub struct Closed {
    /// The model whose targets the decision is about.
    pub model: Arc<Model>,
    /// The part of the request that routing used.
    pub facts: Facts,
    /// What came of it.
    pub request: RequestEnded,
}

/// Takes the records of requests that were decided on. Called on the request's path: must not block.
pub trait Recorder: Send + Sync {
    /// A request is over. What is not kept may be given to `spare`, to be used again.
    fn keep(&self, record: Arc<Record>, spare: &Spare);
}

/// Records that are used again.
#[derive(Debug, Default)]
pub struct Spare(Mutex<Vec<Arc<Record>>>);

impl Spare {
    /// Takes a record back, unless it is still read elsewhere.
    pub fn put(&self, mut record: Arc<Record>) {
        let Some(used) = Arc::get_mut(&mut record) else { return };
        used.decision.candidates.clear();
        used.decision.excluded.clear();
        used.attempts.clear();
        used.ended = None;
        let mut spare = self.0.lock();
        if spare.len() < MOST_SPARE {
            spare.push(record);
        }
    }

    fn take(&self) -> Arc<Record> {
        let spare = self.0.lock().pop();
        spare.unwrap_or_default()
    }
}

/// Passes records to the recorder.
pub(crate) struct RecordSink {
    recorder: Arc<dyn Recorder>,
    spare: Spare,
}

impl RecordSink {
    pub(crate) fn new(recorder: Arc<dyn Recorder>) -> Self {
        Self { recorder, spare: Spare::default() }
    }

    /// Begins a record.
    pub(crate) fn begin(&self) -> Draft {
        Draft(self.spare.take())
    }

    /// A request is over.
    pub(crate) fn keep(&self, mut draft: Draft, closed: Closed) {
        draft.write(|record| record.ended = Some(closed));
        self.recorder.keep(draft.0, &self.spare);
    }
}

/// A record that is being written, and is not shared yet.
pub(crate) struct Draft(Arc<Record>);

impl Draft {
    fn write(&mut self, how: impl FnOnce(&mut Record)) {
        if let Some(record) = Arc::get_mut(&mut self.0) {
            how(record);
        }
    }

    /// Takes the decision that the engine has just made, if it has made one, in exchange for the lists of this record.
    pub(crate) fn take_decision(&mut self, engine: &mut Engine) {
        self.write(|record| engine.swap_decision(&mut record.decision));
    }

    /// A call is over, which began so long after the request had come.
    pub(crate) fn tried(&mut self, after: Duration, ended: AttemptEnded) {
        self.write(|record| record.attempts.push(Tried { after, ended }));
    }
}

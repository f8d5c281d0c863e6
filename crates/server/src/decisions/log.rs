//! The decision log: every record as a line of JSON, written by a thread of its own.
//!
//! Requests leave references to their records in a list of bounded length, from which the thread takes all there are ten times a
//! second: waking it for each record would cost more than writing it. What finds the list full is dropped, and what cannot be
//! written is lost; both are counted, and no request fails for it.

use std::{io, sync::Arc, thread::JoinHandle, time::Duration};

use dispatch::Record;
use parking_lot::{Condvar, Mutex};
use prometheus::IntCounter;
use settings::DecisionLog;
use tokio::time::Instant;

use super::{files::Files, record::RecordView, ring::Kept};

/// Most records that wait for the thread.
const MOST_WAITING: usize = 8192;
/// How often the thread writes.
const PERIOD: Duration = Duration::from_millis(100);
/// While nothing can be written, the process log says so this often.
const LOG_EVERY: Duration = Duration::from_mins(1);
/// Bytes of lines that are written at once.
const BATCH: usize = 256 << 10;

/// What becomes of records.
#[derive(Clone)]
pub(crate) struct LogCounters {
    pub(crate) written: IntCounter,
    /// The thread could not keep up.
    pub(crate) dropped: IntCounter,
    /// The disk would not take them.
    pub(crate) failed: IntCounter,
}

/// Passes records to the thread.
pub(super) struct Log {
    waiting: Arc<Waiting>,
    counters: LogCounters,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Waiting {
    records: Mutex<Records>,
    stop: Condvar,
}

#[derive(Default)]
struct Records {
    list: Vec<Kept>,
    is_stopping: bool,
}

impl Log {
    /// Begins the first file and the thread.
    pub(super) fn open(settings: DecisionLog, config_version: &str, counters: LogCounters) -> io::Result<Self> {
        Self::start(Files::open(settings, config_version)?, counters)
    }

    pub(super) fn start(files: Files, counters: LogCounters) -> io::Result<Self> {
        let waiting = Arc::<Waiting>::default();
        let writer = Writer { files, counters: counters.clone(), lines: Vec::new(), records: 0, logged_at: None };
        let shared = waiting.clone();
        let thread = std::thread::Builder::new().name("decision-log".into());
        let writer = Mutex::new(Some(thread.spawn(move || writer.run(&shared))?));
        Ok(Self { waiting, counters, writer })
    }

    /// Leaves a record to the thread.
    pub(super) fn push(&self, kept: Kept) {
        let mut records = self.waiting.records.lock();
        if records.list.len() < MOST_WAITING && !records.is_stopping {
            records.list.push(kept);
            return;
        }
        drop(records);
        self.counters.dropped.inc();
    }

    /// Writes the records that are there, and takes no more.
    pub(super) fn close(&self) {
        self.waiting.records.lock().is_stopping = true;
        self.waiting.stop.notify_all();
        if let Some(writer) = self.writer.lock().take() {
            drop(writer.join());
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the thread does.
struct Writer {
    files: Files,
    counters: LogCounters,
    /// Lines that are to be written at once, and how many.
    lines: Vec<u8>,
    records: u64,
    /// When the process log said last that nothing can be written.
    logged_at: Option<Instant>,
}

impl Writer {
    fn run(mut self, waiting: &Waiting) {
        let mut batch = Vec::new();
        loop {
            let is_stopping = {
                let mut records = waiting.records.lock();
                if !records.is_stopping && records.list.len() < MOST_WAITING / 8 {
                    waiting.stop.wait_for(&mut records, PERIOD);
                }
                std::mem::swap(&mut records.list, &mut batch);
                records.is_stopping
            };
            for Kept { record, ended_at } in batch.drain(..) {
                self.take(&record, ended_at);
            }
            self.flush();
            if is_stopping {
                return;
            }
        }
    }

    fn take(&mut self, record: &Record, ended_at: f64) {
        let Some(view) = RecordView::of(record, ended_at) else { return };
        let begin = self.lines.len();
        if serde_json::to_writer(&mut self.lines, &view).is_err() {
            self.lines.truncate(begin);
            self.counters.failed.inc();
            return;
        }
        self.lines.push(b'\n');
        if self.files.is_full(self.lines.len()) {
            let version = record.ended.as_ref().map_or("", |closed| &*closed.request.config_version);
            self.rotate(begin, version);
        }
        self.records += 1;
        if self.lines.len() >= BATCH {
            self.flush();
        }
    }

    /// Begins the next file with the line at `begin`.
    fn rotate(&mut self, begin: usize, config_version: &str) {
        let line = self.lines.split_off(begin);
        self.flush();
        if let Err(error) = self.files.rotate(config_version) {
            self.log_failure(&error);
        }
        self.lines = line;
    }

    fn flush(&mut self) {
        if self.records == 0 {
            return;
        }
        match self.files.write(&self.lines) {
            Ok(()) => self.counters.written.inc_by(self.records),
            Err(error) => {
                self.counters.failed.inc_by(self.records);
                self.log_failure(&error);
            }
        }
        self.lines.clear();
        self.records = 0;
    }

    fn log_failure(&mut self, error: &io::Error) {
        if self.logged_at.is_some_and(|at| at.elapsed() < LOG_EVERY) {
            return;
        }
        self.logged_at = Some(Instant::now());
        tracing::error!(%error, "the decision log cannot be written: records are lost, and counted, until it can");
    }
}

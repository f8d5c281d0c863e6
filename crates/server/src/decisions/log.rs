//! The decision log: every record as a line of JSON, written to the files by a thread of its own.
//!
//! A request's own thread makes the line, while the record is in its caches: making it in another thread costs twice as
//! much. The lines wait in a buffer of bounded length, from which the writer takes all there are fifty times a second:
//! waking it for each line would cost more than writing it. A line that finds the buffer full is dropped, and what cannot
//! be written is lost; both are counted, and no request fails for it.

use std::{cell::RefCell, io, sync::Arc, thread::JoinHandle, time::Duration};

use dispatch::Record;
use parking_lot::{Condvar, Mutex};
use prometheus::IntCounter;
use settings::DecisionLog;
use tokio::time::Instant;

use super::{files::Files, record::RecordView};
use crate::json_line;

/// Most bytes of lines that wait for the writer.
const MOST_WAITING: usize = 16 << 20;
/// How often the thread writes.
const PERIOD: Duration = Duration::from_millis(20);
/// While nothing can be written, the process log says so this often.
const LOG_EVERY: Duration = Duration::from_mins(1);

thread_local! {
    /// Where this thread makes its lines.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What becomes of records.
#[derive(Clone)]
pub(crate) struct LogCounters {
    pub(crate) written: IntCounter,
    /// The thread could not keep up.
    pub(crate) dropped: IntCounter,
    /// The disk would not take them.
    pub(crate) failed: IntCounter,
}

/// Passes lines to the thread.
pub(super) struct Log {
    waiting: Arc<Waiting>,
    counters: LogCounters,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Waiting {
    lines: Mutex<Lines>,
    stop: Condvar,
}

/// Lines that wait for the writer.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    /// The configuration in force when the last one was made.
    config_version: Arc<str>,
    is_stopping: bool,
}

impl Lines {
    fn is_taking(&self) -> bool {
        self.bytes.len() < MOST_WAITING && !self.is_stopping
    }

    /// Takes a line, unless it is to be dropped.
    fn take(&mut self, line: &[u8], config_version: &Arc<str>) -> bool {
        if !self.is_taking() {
            return false;
        }
        self.bytes.extend_from_slice(line);
        if self.config_version != *config_version {
            self.config_version = config_version.clone();
        }
        true
    }
}

impl Waiting {
    /// Waits until it is time to write, and exchanges the lines for those of an empty batch.
    fn swap(&self, batch: &mut Lines) {
        let mut lines = self.lines.lock();
        if !lines.is_stopping && lines.bytes.len() < MOST_WAITING / 8 {
            self.stop.wait_for(&mut lines, PERIOD);
        }
        std::mem::swap(&mut lines.bytes, &mut batch.bytes);
        batch.config_version.clone_from(&lines.config_version);
        batch.is_stopping = lines.is_stopping;
    }
}

impl Log {
    /// Begins the first file and the thread.
    pub(super) fn open(settings: DecisionLog, config_version: &str, counters: LogCounters) -> io::Result<Self> {
        Self::start(Files::open(settings, config_version)?, counters)
    }

    pub(super) fn start(files: Files, counters: LogCounters) -> io::Result<Self> {
        let waiting = Arc::<Waiting>::default();
        let writer = Writer { files, counters: counters.clone(), logged_at: None };
        let shared = waiting.clone();
        let thread = std::thread::Builder::new().name("decision-log".into());
        let writer = Mutex::new(Some(thread.spawn(move || writer.run(&shared))?));
        Ok(Self { waiting, counters, writer })
    }

    /// Leaves the line of a record to the thread.
    pub(super) fn push(&self, record: &Record, ended_at: f64) {
        if !self.waiting.lines.lock().is_taking() {
            self.counters.dropped.inc();
            return;
        }
        let (Some(view), Some(closed)) = (RecordView::of(record, ended_at), &record.ended) else { return };
        LINE.with_borrow_mut(|line| {
            line.clear();
            if json_line::append(&view, line).is_err() {
                self.counters.failed.inc();
                return;
            }
            line.push(b'\n');
            if !self.waiting.lines.lock().take(line, &closed.request.config_version) {
                self.counters.dropped.inc();
            }
        });
    }

    /// Writes the lines that are there, and takes no more.
    pub(super) fn close(&self) {
        self.waiting.lines.lock().is_stopping = true;
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
    /// When the process log said last that nothing can be written.
    logged_at: Option<Instant>,
}

impl Writer {
    fn run(mut self, waiting: &Waiting) {
        let mut batch = Lines::default();
        while !batch.is_stopping {
            waiting.swap(&mut batch);
            self.write(&batch.bytes, &batch.config_version);
            batch.bytes.clear();
        }
    }

    /// Writes whole lines, into as many files as they fill.
    fn write(&mut self, mut lines: &[u8], config_version: &str) {
        while !lines.is_empty() {
            let fitting = match self.files.fitting(lines) {
                0 => self.rotate(lines, config_version),
                fitting => fitting,
            };
            let (fitting, rest) = lines.split_at(fitting);
            self.append(fitting);
            lines = rest;
        }
    }

    /// Begins the next file. Returns how many bytes of the lines are to be written next: at least one line, be it longer
    /// than a file; all of them into the old file if there is no next one.
    fn rotate(&mut self, lines: &[u8], config_version: &str) -> usize {
        if let Err(error) = self.files.rotate(config_version) {
            self.log_failure(&error);
            return lines.len();
        }
        let first = memchr::memchr(b'\n', lines).map_or(lines.len(), |end| end + 1);
        self.files.fitting(lines).max(first)
    }

    fn append(&mut self, lines: &[u8]) {
        let records = memchr::memchr_iter(b'\n', lines).count() as u64;
        match self.files.write(lines) {
            Ok(()) => self.counters.written.inc_by(records),
            Err(error) => {
                self.counters.failed.inc_by(records);
                self.log_failure(&error);
            }
        }
    }

    fn log_failure(&mut self, error: &io::Error) {
        if self.logged_at.is_some_and(|at| at.elapsed() < LOG_EVERY) {
            return;
        }
        self.logged_at = Some(Instant::now());
        tracing::error!(%error, "the decision log cannot be written: records are lost, and counted, until it can");
    }
}

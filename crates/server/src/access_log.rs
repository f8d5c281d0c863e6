//! One line per request, without prompts, keys or answers. Lines are written by a thread of their own, in batches; if it
//! cannot keep up, lines are dropped and counted rather than requests delayed.

mod line;

use std::{
    fs::OpenOptions,
    io::{self, Write},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use dispatch::{Event, Observer};
use parking_lot::{Condvar, Mutex};
use settings::{AccessLog as Target, LogFormat};

/// Most bytes of lines that wait to be written.
const MAX_WAITING: usize = 16 << 20;
/// How often the thread writes. It is not woken by each line: that would cost more than writing the line.
const PERIOD: Duration = Duration::from_millis(100);

/// The access log.
pub(crate) struct AccessLog {
    waiting: Arc<Waiting>,
    format: LogFormat,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// Lines on their way to the thread.
#[derive(Default)]
struct Waiting {
    lines: Mutex<Lines>,
    stop: Condvar,
}

#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    dropped: u64,
    is_stopping: bool,
}

impl AccessLog {
    /// Opens the log; `None` if it is switched off.
    pub(crate) fn open(target: &Target, format: LogFormat) -> io::Result<Option<Self>> {
        let out: Box<dyn Write + Send> = match target {
            Target::Off => return Ok(None),
            Target::Stdout => Box::new(io::stdout()),
            Target::File(path) => {
                let opened = OpenOptions::new().create(true).append(true).open(path);
                Box::new(opened.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?)
            }
        };
        let waiting = Arc::<Waiting>::default();
        let shared = waiting.clone();
        let writer = std::thread::Builder::new().name("access-log".into()).spawn(move || write(&shared, out))?;
        Ok(Some(Self { waiting, format, writer: Mutex::new(Some(writer)) }))
    }
}

/// Writes what has gathered, again and again, until the log is closed.
fn write(waiting: &Waiting, mut out: Box<dyn Write + Send>) {
    let mut batch = Vec::new();
    let mut fails = false;
    loop {
        let (is_stopping, dropped) = {
            let mut lines = waiting.lines.lock();
            if !lines.is_stopping && lines.bytes.len() < MAX_WAITING / 16 {
                waiting.stop.wait_for(&mut lines, PERIOD);
            }
            std::mem::swap(&mut lines.bytes, &mut batch);
            (lines.is_stopping, std::mem::take(&mut lines.dropped))
        };
        // If the log cannot be written, the service goes on, and the failure is not reported at every attempt, ten
        // times a second.
        let written = out.write_all(&batch).and_then(|()| out.flush());
        if let Err(error) = &written
            && !fails
        {
            tracing::error!(%error, "the access log cannot be written: its lines are lost until it can");
        }
        fails = written.is_err();
        batch.clear();
        if dropped > 0 {
            tracing::error!(dropped, "access log lines were dropped: the log cannot be written fast enough");
        }
        if is_stopping {
            return;
        }
    }
}

impl Observer for AccessLog {
    fn on(&self, event: &Event<'_>) {
        let Event::RequestEnded(ended) = event else { return };
        let line = line::render(ended, self.format);
        let mut lines = self.waiting.lines.lock();
        if lines.bytes.len() + line.len() > MAX_WAITING {
            lines.dropped += 1;
            return;
        }
        lines.bytes.extend_from_slice(&line);
    }

    /// Waits for the lines that are there.
    fn close(&self) {
        self.waiting.lines.lock().is_stopping = true;
        self.waiting.stop.notify_all();
        if let Some(writer) = self.writer.lock().take() {
            drop(writer.join());
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.close();
    }
}

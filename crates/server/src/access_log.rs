//! One line per request, without prompts, keys or answers. Lines are written by a thread of their own, in batches; if it
//! cannot keep up, lines are dropped and counted rather than requests delayed.

use std::{
    fs::OpenOptions,
    io::{self, BufWriter, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use futures_util::future::BoxFuture;
use router::{Event, Observer, RequestEnded};
use serde::Serialize;

use crate::{
    clock,
    config::{AccessLog as Target, LogFormat},
};

/// Lines that may wait for the thread.
const QUEUE: usize = 65_536;

/// The access log.
pub(crate) struct AccessLog {
    lines: SyncSender<Option<Vec<u8>>>,
    dropped: Arc<AtomicU64>,
    format: LogFormat,
    writer: parking_lot::Mutex<Option<JoinHandle<()>>>,
}

#[derive(Serialize)]
struct Line<'a> {
    ts: f64,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    route: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    stream: bool,
    outcome: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_token_ms: Option<f64>,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_nano_usd: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline_cost_nano_usd: Option<u64>,
}

impl AccessLog {
    /// Opens the log; `None` if it is switched off.
    pub(crate) fn open(target: &Target, format: LogFormat) -> io::Result<Option<Self>> {
        let out: Box<dyn Write + Send> = match target {
            Target::Off => return Ok(None),
            Target::Stdout => Box::new(io::stdout()),
            Target::File(path) => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
        };
        let (lines, queue) = sync_channel(QUEUE);
        let dropped = Arc::<AtomicU64>::default();
        let seen = dropped.clone();
        let writer = std::thread::Builder::new().name("access-log".into()).spawn(move || write(&queue, out, &seen))?;
        Ok(Some(Self { lines, dropped, format, writer: parking_lot::Mutex::new(Some(writer)) }))
    }

    fn line(&self, ended: &RequestEnded) -> Vec<u8> {
        let subject = &ended.subject;
        let line = Line {
            ts: clock::unix_seconds(),
            request_id: subject.request_id.as_str(),
            team: subject.team.as_deref(),
            key: subject.key.as_deref(),
            route: subject.operation.as_str(),
            model: subject.model.as_ref().map(provider::ModelId::as_str),
            stream: subject.stream,
            outcome: ended.outcome.as_str(),
            error: ended.outcome.detail(),
            upstream: ended.upstream.as_ref().map(provider::UpstreamId::as_str),
            reason: ended.reason.map(router::Reason::as_str),
            attempts: ended.attempts,
            first_token_ms: ended.first_token.map(millis),
            duration_ms: millis(ended.duration),
            prompt_tokens: ended.usage.map(|usage| usage.prompt_tokens),
            completion_tokens: ended.usage.map(|usage| usage.completion_tokens),
            cost_nano_usd: ended.cost.map(|cost| cost.0),
            baseline_cost_nano_usd: ended.baseline_cost.map(|cost| cost.0),
        };
        let mut out = match self.format {
            LogFormat::Json => serde_json::to_vec(&line).unwrap_or_default(),
            LogFormat::Pretty => pretty(&line).into_bytes(),
        };
        out.push(b'\n');
        out
    }
}

fn pretty(line: &Line<'_>) -> String {
    let Line { request_id, route, outcome, error, attempts, duration_ms, .. } = line;
    let (model, upstream) = (line.model.unwrap_or("-"), line.upstream.unwrap_or("-"));
    let (reason, cost) = (line.reason.unwrap_or("-"), line.cost_nano_usd.map(provider::NanoUsd));
    let cost = cost.map_or_else(|| "cost unknown".to_owned(), |cost| format!("${cost}"));
    let error = if error.is_empty() { String::new() } else { format!(" ({error})") };
    format!(
        "{outcome}{error} {route} {model} -> {upstream} [{reason}] {attempts} attempt(s) {duration_ms} ms {cost} {request_id}"
    )
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Writes lines until told to stop, flushing whenever none is waiting.
fn write(queue: &Receiver<Option<Vec<u8>>>, out: Box<dyn Write + Send>, dropped: &AtomicU64) {
    let mut out = BufWriter::with_capacity(256 << 10, out);
    let mut reported = 0;
    while let Ok(Some(line)) = queue.recv() {
        let mut next = Some(line);
        while let Some(line) = next.take() {
            // A log that cannot be written must not take the service down with it.
            drop(out.write_all(&line));
            match queue.try_recv() {
                Ok(Some(line)) => next = Some(line),
                Ok(None) => return drop(out.flush()),
                Err(_) => {}
            }
        }
        drop(out.flush());
        let lost = dropped.load(Ordering::Relaxed);
        if lost > reported {
            tracing::error!(lost, "access log lines were dropped: the log cannot be written fast enough");
            reported = lost;
        }
    }
}

impl Observer for AccessLog {
    fn on(&self, event: &Event<'_>) {
        let Event::RequestEnded(ended) = event else { return };
        if self.lines.try_send(Some(self.line(ended))).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn settle(&self, _ended: &RequestEnded) -> Option<BoxFuture<'static, ()>> {
        None
    }
}

impl Drop for AccessLog {
    /// Waits for the lines that are queued.
    fn drop(&mut self) {
        if self.lines.send(None).is_ok()
            && let Some(writer) = self.writer.lock().take()
        {
            drop(writer.join());
        }
    }
}

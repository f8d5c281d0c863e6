//! One line per request, without prompts, keys or answers. Lines are written by a thread of their own, in batches; if it
//! cannot keep up, lines are dropped and counted rather than requests delayed.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use futures_util::future::BoxFuture;
use parking_lot::{Condvar, Mutex};
use router::{Event, Observer, RequestEnded};
use serde::Serialize;

use crate::{
    clock,
    config::{AccessLog as Target, LogFormat},
};

/// Bytes that may wait for the thread.
const MAX_WAITING: usize = 16 << 20;
/// How often the thread writes. It is not woken by each line: that would cost more than writing the line.
const PERIOD: Duration = Duration::from_millis(100);

/// The access log.
pub(crate) struct AccessLog {
    waiting: Arc<Waiting>,
    format: LogFormat,
    writer: Option<JoinHandle<()>>,
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
        let waiting = Arc::<Waiting>::default();
        let shared = waiting.clone();
        let writer = std::thread::Builder::new().name("access-log".into()).spawn(move || write(&shared, out))?;
        Ok(Some(Self { waiting, format, writer: Some(writer) }))
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
            baseline_cost_nano_usd: ended.baseline_cost().map(|cost| cost.0),
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
    let error = if error.is_empty() { String::new() } else { format!(" ({error})") };
    let model = line.model.map(|model| format!(" {model}")).unwrap_or_default();
    let upstream = line.upstream.map(|upstream| format!(" -> {upstream}")).unwrap_or_default();
    let reason = line.reason.map(|reason| format!(" [{reason}]")).unwrap_or_default();
    let attempts = if *attempts > 1 { format!(", {attempts} attempts") } else { String::new() };
    let cost = line.cost_nano_usd.map(|cost| format!(", ${}", provider::NanoUsd(cost))).unwrap_or_default();
    format!("{outcome}{error} {route}{model}{upstream}{reason} in {duration_ms:.1} ms{attempts}{cost}, {request_id}")
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Writes what has gathered, again and again, until told to stop.
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
        // A log that cannot be written must not take the service down with it, and is not mourned ten times a second.
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
        let line = self.line(ended);
        let mut lines = self.waiting.lines.lock();
        if lines.bytes.len() + line.len() > MAX_WAITING {
            lines.dropped += 1;
            return;
        }
        lines.bytes.extend_from_slice(&line);
    }

    fn settle(&self, _ended: &RequestEnded) -> Option<BoxFuture<'static, ()>> {
        None
    }
}

impl Drop for AccessLog {
    /// Waits for the lines that are there.
    fn drop(&mut self) {
        self.waiting.lines.lock().is_stopping = true;
        self.waiting.stop.notify_all();
        if let Some(writer) = self.writer.take() {
            drop(writer.join());
        }
    }
}

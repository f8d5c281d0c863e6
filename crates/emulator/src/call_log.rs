//! What each face has received and served, counted exactly, so that a test can compare it with what the product says that
//! it sent and was charged.
//!
//! Counters are atomics; the lists are locked only at the start and the end of a request, never for a piece of a
//! stream.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use actix_web::http::header::HeaderMap;
use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;

use crate::{face::Face, fleet::Counts, management::ManagementCall, state::State};

const KEPT: usize = 256;

/// The call logs of all faces.
#[derive(Clone, Debug, Serialize)]
pub struct CallLogs {
    /// The load-balancing endpoint's.
    pub runpod_lb: CallLog,
    /// The queue endpoint's.
    pub runpod_queue: CallLog,
    /// Cerebras'.
    pub cerebras: CallLog,
    /// The last calls of RunPod's management API.
    pub management: Vec<ManagementCall>,
}

impl CallLogs {
    /// The call log of one face.
    pub const fn of(&self, face: Face) -> &CallLog {
        match face {
            Face::RunpodLb => &self.runpod_lb,
            Face::RunpodQueue => &self.runpod_queue,
            Face::Cerebras => &self.cerebras,
        }
    }
}

/// The calls that one face has received. Every request received ends in exactly one of `completed`, `refused`, `broken` and
/// `cancelled`, or is still in flight.
#[derive(Clone, Debug, Serialize)]
pub struct CallLog {
    /// Inference requests received.
    pub received: u64,
    /// Answered in full.
    pub completed: u64,
    /// Answered with an error.
    pub refused: u64,
    /// Broken off by a fault.
    pub broken: u64,
    /// Given up by the client before the end.
    pub cancelled: u64,
    /// Under way.
    pub in_flight: u64,
    /// Requests for models, health and workers.
    pub probes: u64,
    /// Prompt tokens of the answers that reported usage.
    pub prompt_tokens: u64,
    /// Completion tokens of the answers that reported usage.
    pub completion_tokens: u64,
    /// Completion tokens sent, reported or not.
    pub tokens_emitted: u64,
    /// Seconds in which workers ran, the load of their model included: what is billed. Real seconds, at any speed.
    pub worker_seconds: f64,
    /// The workers.
    pub workers: Counts,
    /// The last cancellations.
    pub cancellations: Vec<Cancellation>,
    /// The last requests.
    pub requests: Vec<Recorded>,
}

/// A request the client gave up.
#[derive(Clone, Debug, Serialize)]
pub struct Cancellation {
    /// Number of the request.
    pub request: u64,
    /// Milliseconds since the emulator's start at which it was noticed.
    pub at_ms: u64,
    /// Tokens sent by then.
    pub tokens_emitted: u64,
}

/// A request as it came in.
#[derive(Clone, Debug, Serialize)]
pub struct Recorded {
    /// Number of the request, counted from 1 on each face.
    pub number: u64,
    /// Milliseconds since the emulator's start.
    pub at_ms: u64,
    /// Path with the face's prefix.
    pub path: String,
    /// Headers, with names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Body; bytes that are not UTF-8 are replaced.
    pub body: String,
    /// Body as it came, for tests in the emulator's own process.
    #[serde(skip)]
    pub body_bytes: Bytes,
}

/// The counters and lists that a [`CallLog`] is made from.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    pub(crate) received: AtomicU64,
    pub(crate) completed: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) broken: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    pub(crate) probes: AtomicU64,
    pub(crate) prompt_tokens: AtomicU64,
    pub(crate) completion_tokens: AtomicU64,
    pub(crate) tokens_emitted: AtomicU64,
    pub(crate) lists: Mutex<Lists>,
}

/// The latest requests and cancellations.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    pub(crate) cancellations: VecDeque<Cancellation>,
    pub(crate) requests: VecDeque<Raw>,
}

/// A request kept as cheaply as possible; it is made readable only when someone looks.
#[derive(Debug)]
pub(crate) struct Raw {
    number: u64,
    at_ms: u64,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Raw {
    pub(crate) fn readable(&self) -> Recorded {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        Recorded {
            number: self.number,
            at_ms: self.at_ms,
            path: self.path.clone(),
            headers: self
                .headers
                .iter()
                .map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())))
                .collect(),
            body: text(&self.body),
            body_bytes: self.body.clone(),
        }
    }
}

fn keep<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() == KEPT {
        list.pop_front();
    }
    list.push_back(item);
}

/// Tokens an answer reports.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) prompt: u64,
    pub(crate) completion: u64,
}

/// A request in the call log. If it is dropped before it is closed, the client has disconnected.
#[derive(Debug)]
pub(crate) struct Entry {
    state: Arc<State>,
    face: Face,
    number: u64,
    emitted: u64,
    open: bool,
}

impl Entry {
    pub(crate) fn open(state: &Arc<State>, face: Face, path: &str, headers: &HeaderMap, body: &Bytes) -> Self {
        let recorder = &state.face(face).recorder;
        let number = recorder.received.fetch_add(1, Relaxed) + 1;
        let raw = Raw {
            number,
            at_ms: state.elapsed_ms(),
            path: path.to_owned(),
            headers: headers.clone(),
            body: body.clone(),
        };
        keep(&mut recorder.lists.lock().requests, raw);
        Self { state: Arc::clone(state), face, number, emitted: 0, open: true }
    }

    pub(crate) fn emit(&mut self, tokens: u64) {
        if tokens > 0 {
            self.emitted += tokens;
            self.recorder().tokens_emitted.fetch_add(tokens, Relaxed);
        }
    }

    /// Closes the entry of a request that was answered in full; `usage` is what the answer reported.
    pub(crate) fn complete(&mut self, usage: Option<Usage>) {
        if !self.close() {
            return;
        }
        let recorder = self.recorder();
        if let Some(usage) = usage {
            recorder.prompt_tokens.fetch_add(usage.prompt, Relaxed);
            recorder.completion_tokens.fetch_add(usage.completion, Relaxed);
        }
        recorder.completed.fetch_add(1, Relaxed);
    }

    pub(crate) fn refuse(&mut self) {
        if self.close() {
            self.recorder().refused.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn break_off(&mut self) {
        if self.close() {
            self.recorder().broken.fetch_add(1, Relaxed);
        }
    }

    fn close(&mut self) -> bool {
        std::mem::take(&mut self.open)
    }

    fn recorder(&self) -> &Recorder {
        &self.state.face(self.face).recorder
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.close() {
            return;
        }
        let recorder = self.recorder();
        let cancellation =
            Cancellation { request: self.number, at_ms: self.state.elapsed_ms(), tokens_emitted: self.emitted };
        keep(&mut recorder.lists.lock().cancellations, cancellation);
        recorder.cancelled.fetch_add(1, Relaxed);
    }
}

//! The queue endpoint's own side: jobs, and errors as jobs show them. What the server inside the worker refuses becomes
//! a failed job whose error is the text of a Python dict.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix_web::rt;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::{
    task::AbortHandle,
    time::{Instant, timeout},
};

use crate::{
    call,
    face::Face,
    inference::Route,
    reply::Reply,
    state::{Shared, State},
};

const KEPT: usize = 4096;
const DEFAULT_WAIT: Duration = Duration::from_secs(90);

/// The jobs of the queue endpoint; the oldest are forgotten.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    by_id: HashMap<String, Job>,
    order: VecDeque<String>,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
}

#[derive(Debug)]
struct Job {
    begun: Instant,
    state: JobState,
}

#[derive(Debug)]
enum JobState {
    Running(Option<AbortHandle>),
    Over(Value),
}

impl Jobs {
    fn add(&mut self, id: String) {
        if self.order.len() == KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_id.remove(&oldest);
        }
        self.order.push_back(id.clone());
        self.by_id.insert(id, Job { begun: Instant::now(), state: JobState::Running(None) });
    }

    fn finish(&mut self, id: &str, reply: &Reply) {
        if reply.is_error() {
            self.failed += 1;
        } else {
            self.completed += 1;
        }
        let Some(job) = self.by_id.get_mut(id) else { return };
        let took = u64::try_from(job.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        job.state = JobState::Over(outcome(id, took, reply));
    }
}

/// How a refusal inside the worker reaches a client of the OpenAI route.
pub(crate) fn failed(state: &State, face: Face, inner: &Reply) -> Reply {
    Reply::json(state.face(face).profile.failed_job_status, &failure(state, inner))
}

/// A failed job around a refusal.
pub(crate) fn failure(state: &State, inner: &Reply) -> Value {
    outcome(&format!("sync-{:08x}-u1", state.id()), 12, inner)
}

/// Starts a job: `POST /run`.
pub(crate) fn run(state: &Shared, body: &[u8]) -> Reply {
    match begin(state, body, "") {
        Ok((id, _)) => Reply::json(200, &json!({"id": id, "status": "IN_QUEUE"})),
        Err(reply) => reply,
    }
}

/// Starts a job and waits for it: `POST /runsync`.
pub(crate) async fn run_sync(state: &Shared, body: &[u8], wait_ms: Option<u64>) -> Reply {
    let (id, task) = match begin(state, body, "sync-") {
        Ok(begun) => begun,
        Err(reply) => return reply,
    };
    // The job goes on when the wait is over; its state is read from the list of jobs either way.
    let _ = timeout(wait_ms.map_or(DEFAULT_WAIT, Duration::from_millis), task).await;
    status(state, &id)
}

/// State of a job: `GET /status/{job}`.
pub(crate) fn status(state: &State, id: &str) -> Reply {
    let waits = state.face(Face::RunpodQueue).fleet.lock().queued() > 0;
    match state.jobs.lock().by_id.get(id) {
        None => Reply::json(404, &json!({"error": "job not found"})),
        Some(Job { state: JobState::Over(value), .. }) => Reply::json(200, value),
        Some(_) if waits => Reply::json(200, &json!({"id": id, "status": "IN_QUEUE"})),
        Some(_) => Reply::json(200, &json!({"id": id, "status": "IN_PROGRESS"})),
    }
}

/// Ends a job: `POST /cancel/{job}`.
pub(crate) fn cancel(state: &State, id: &str) -> Reply {
    let mut jobs = state.jobs.lock();
    let Some(job) = jobs.by_id.get_mut(id) else { return Reply::json(404, &json!({"error": "job not found"})) };
    if let JobState::Running(task) = &job.state {
        if let Some(task) = task {
            task.abort();
        }
        job.state = JobState::Over(json!({"id": id, "status": "CANCELLED"}));
    }
    Reply::json(200, &json!({"id": id, "status": "CANCELLED"}))
}

/// Counters: `GET /health`.
pub(crate) fn health(state: &State) -> Reply {
    let this = state.face(Face::RunpodQueue);
    let (counts, queued, placed) = {
        let mut fleet = this.fleet.lock();
        (fleet.counts(Instant::now()), fleet.queued(), fleet.placed())
    };
    let (completed, failed) = {
        let jobs = state.jobs.lock();
        (jobs.completed, jobs.failed)
    };
    let on_route = |count: &AtomicU64| count.load(Ordering::Relaxed);
    Reply::json(
        200,
        &json!({
            "jobs": {"completed": completed + on_route(&this.recorder.completed), "failed": failed + on_route(&this.recorder.refused), "inProgress": placed, "inQueue": queued, "retried": 0},
            // Real endpoints show the same number as ready and as idle.
            "workers": {"idle": counts.idle, "initializing": counts.initializing, "ready": counts.idle, "running": counts.running, "throttled": counts.throttled, "unhealthy": counts.unhealthy},
        }),
    )
}

type Task = rt::task::JoinHandle<()>;

fn begin(state: &Shared, body: &[u8], prefix: &str) -> Result<(String, Task), Reply> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let Some(input) = body.get("input").filter(|input| input.is_object()) else {
        return Err(Reply::json(400, &json!({"error": "input must be an object"})));
    };
    let id = format!("{prefix}{:08x}-u1", state.id());
    state.jobs.lock().add(id.clone());
    let (shared, job, input) = (Arc::clone(state), id.clone(), input.clone());
    let task = rt::spawn(async move {
        let reply = match request(input) {
            Some((route, body)) => call::perform(&shared, Face::RunpodQueue, route, &body).await,
            None => Reply::json(400, &json!({"error": {"message": "input must hold a route, messages or a prompt"}})),
        };
        shared.jobs.lock().finish(&job, &reply);
    });
    if let Some(Job { state: JobState::Running(handle), .. }) = state.jobs.lock().by_id.get_mut(&id) {
        *handle = Some(task.abort_handle());
    }
    Ok((id, task))
}

/// The request inside a job's input, in any of the three shapes the worker takes.
fn request(mut input: Value) -> Option<(Route, Bytes)> {
    for (route, body) in [("openai_route", "openai_input"), ("route", "body")] {
        if let Some(path) = input[route].as_str() {
            let segments: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
            return Some((Route::parse(&segments)?, input[body].to_string().into()));
        }
    }
    let route = match (input.get("messages"), input.get("prompt")) {
        (Some(_), _) => Route::Chat,
        (None, Some(_)) => Route::Completions,
        (None, None) => return None,
    };
    if let Value::Object(params) = input["sampling_params"].take() {
        input.as_object_mut()?.extend(params);
    }
    Some((route, input.to_string().into()))
}

fn outcome(id: &str, took_ms: u64, reply: &Reply) -> Value {
    let mut job = json!({"id": id, "delayTime": 5, "executionTime": took_ms, "workerId": "worker0"});
    if !reply.is_error() {
        job["status"] = "COMPLETED".into();
        job["output"] = json!([serde_json::from_slice::<Value>(&reply.body).unwrap_or_default()]);
        return job;
    }
    let inner = String::from_utf8_lossy(&reply.body).replace('\\', "\\\\").replace('\'', "\\'");
    job["status"] = "FAILED".into();
    job["error"] =
        format!("{{'message': 'vLLM returned HTTP {}: {inner}', 'type': 'worker_error', 'code': None}}", reply.status)
            .into();
    job
}

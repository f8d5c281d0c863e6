//! The answer to an admitted request: whole, streamed or spoilt by its fault.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use actix_web::{HttpResponse, http::header::CONTENT_TYPE};
use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use super::{no_worker, quota_headers};
use crate::{
    answer::{Answer, Style},
    call_log::{Entry, Usage},
    face::Face,
    fault::{Fault, OddStream},
    inference::{InferenceRequest, Route},
    odd,
    player::{Player, Source, token_time},
    reply::Reply,
    script::{Dialect, Script},
    socket::Socket,
    state::{Shared, State},
    vllm,
    worker_permit::WorkerPermit,
};

/// What an admitted request holds.
pub(super) struct Work {
    pub(super) fault: Fault,
    pub(super) entry: Entry,
    pub(super) permit: WorkerPermit,
    pub(super) socket: Option<Arc<Socket>>,
}

pub(super) async fn respond(state: &Shared, face: Face, request: &InferenceRequest, work: Work) -> HttpResponse {
    let Work { fault, mut entry, permit, socket } = work;
    let latency = state.face(face).profile.latency;
    let slowdown = if let Fault::Brownout { factor } = fault { factor } else { 1.0 };
    let slowdown = slowdown.max(0.0);
    permit.read_prompt(state.prefill(face, request.prompt_tokens).mul_f64(slowdown)).await;
    if permit.is_severed() {
        entry.break_off();
        return no_worker(state, face).into_response();
    }
    let first_token = state.first_token(latency).mul_f64(slowdown);
    let worker = permit.worker;
    let mut due = Instant::now() + first_token;
    if request.route == Route::Embeddings {
        sleep_until(due).await;
        entry.complete(Some(Usage { prompt: request.prompt_tokens, completion: 0 }));
        return with_fault_headers(state, face, worker, embeddings(state, request));
    }
    if let Route::Passed(passed) = request.route {
        sleep_until(due).await;
        if let Some(reply) = with_event_fault(&fault, r#"{"results":[]}"#) {
            entry.break_off();
            return with_fault_headers(state, face, worker, reply);
        }
        entry.complete(Some(Usage { prompt: request.prompt_tokens, completion: 0 }));
        return with_fault_headers(state, face, worker, passed.answer(request, state.id()));
    }
    if let (Fault::OddStream(odd), true) = (&fault, request.stream) {
        let script = script(
            state,
            face,
            &InferenceRequest { stream: *odd != OddStream::WholeForStream, ..request.clone() },
            false,
        );
        sleep_until(due).await;
        if *odd == OddStream::WholeForStream {
            entry.emit(script.tokens());
            entry.complete(script.reported(false));
            return with_fault_headers(state, face, worker, Reply::ok(script.whole()));
        }
        let headers = extra_headers(state, face, worker);
        return odd::Stream::new(&script, odd).respond(headers, script.reported(true), entry, permit);
    }
    let foreign = matches!(fault, Fault::SplitUtf8);
    let script = script(state, face, request, foreign);
    let source = if request.stream {
        Source::Events(script)
    } else {
        due += whole_time(&permit, &script, latency, slowdown);
        let mut whole = script.whole();
        if let Fault::OddWhole(odd) = &fault {
            whole = odd::whole(&whole, odd);
        }
        if let Some(reply) = with_event_fault(&fault, &whole) {
            sleep_until(due).await;
            entry.break_off();
            return with_fault_headers(state, face, worker, reply);
        }
        if !matches!(fault, Fault::HangAmid { .. } | Fault::ResetAmid { .. } | Fault::EndAmid { .. }) {
            sleep_until(due).await;
            if permit.is_severed() {
                entry.break_off();
                return no_worker(state, face).into_response();
            }
            entry.emit(script.tokens());
            entry.complete(script.reported(false));
            return with_fault_headers(state, face, worker, Reply::ok(whole));
        }
        let whole = Bytes::from(whole);
        Source::Halves([whole.slice(..whole.len() / 2), whole.slice(whole.len() / 2..)], script)
    };
    let kind = if request.stream { "text/event-stream; charset=utf-8" } else { "application/json" };
    let fault = if request.stream { fault } else { after_first_half(fault) };
    let permit = Some(permit);
    let player = Player {
        face,
        source,
        fault,
        entry,
        permit,
        socket,
        latency,
        slowdown,
        due,
        next: 0,
        spare: VecDeque::new(),
        over: false,
    };
    let mut response = HttpResponse::Ok();
    response.insert_header((CONTENT_TYPE, kind));
    for header in extra_headers(state, face, worker) {
        response.insert_header(header);
    }
    response.streaming(player.play())
}

pub(super) fn script(state: &State, face: Face, request: &InferenceRequest, foreign: bool) -> Script {
    let dialect = if face == Face::Cerebras { Dialect::Cerebras } else { Dialect::Vllm };
    let reasons = dialect == Dialect::Cerebras && request.route == Route::Chat && request.model.contains("gpt-oss");
    let answer = Answer::compose(request, Style { tokens: state.face(face).profile.answer_tokens, foreign, reasons });
    Script::new(dialect, request, answer, state.face(face).profile.event_tokens, state.id(), state.created())
}

pub(super) fn whole_time(
    permit: &WorkerPermit,
    script: &Script,
    latency: crate::settings::Latency,
    slowdown: f64,
) -> Duration {
    token_time(permit, latency, slowdown) * u32::try_from(script.tokens()).unwrap_or(u32::MAX)
}

/// A whole answer spoilt by a fault that applies to events.
fn with_event_fault(fault: &Fault, whole: &str) -> Option<Reply> {
    match fault {
        Fault::Garbage { .. } => Some(Reply::new(200, "text/html", "<html><body>It works!</body></html>")),
        Fault::ErrorEvent { .. } => {
            Some(vllm::error(500, "InternalServerError", "EngineCore encountered an issue.", None))
        }
        Fault::InvalidUtf8 { .. } => {
            let mut bytes = whole.as_bytes().to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] = 0xff;
            Some(Reply::ok(bytes))
        }
        _ => None,
    }
}

fn after_first_half(fault: Fault) -> Fault {
    match fault {
        Fault::HangAmid { .. } => Fault::HangAmid { after_events: 1 },
        Fault::ResetAmid { .. } => Fault::ResetAmid { after_events: 1 },
        Fault::EndAmid { .. } => Fault::EndAmid { after_events: 1 },
        other => other,
    }
}

fn with_fault_headers(state: &State, face: Face, worker: usize, mut reply: Reply) -> HttpResponse {
    reply.headers.extend(extra_headers(state, face, worker));
    reply.into_response()
}

fn extra_headers(state: &State, face: Face, worker: usize) -> Vec<(&'static str, String)> {
    match face {
        Face::RunpodLb => vec![("x-runpod-worker-id", format!("worker{worker}")), ("server", "uvicorn".into())],
        Face::RunpodQueue => vec![("server", "cloudflare".into())],
        Face::Cerebras => quota_headers(state, face, None),
    }
}

pub(super) fn embeddings(state: &State, request: &InferenceRequest) -> Reply {
    Reply::ok(request.embeddings.render(&request.model, request.prompt_tokens, state.id()))
}

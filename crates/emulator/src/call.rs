//! One inference request, from its entry in the call log to its last byte: fault, key, checks, quota, worker, answer.

mod answer;

use std::sync::Arc;

use actix_web::{
    HttpResponse,
    http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap},
};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use self::answer::{Work, embeddings, script, whole_time};
use crate::{
    call_log::Entry,
    cerebras,
    face::Face,
    fault::Fault,
    inference::{InferenceRequest, Route},
    jobs, outage,
    passed::{self, Passed},
    refusal,
    reply::Reply,
    socket::Socket,
    state::{Profile, Shared, State},
    vllm,
    worker_permit::WorkerPermit,
    written,
};

/// A request as it came in.
#[derive(Debug)]
pub(crate) struct Incoming<'a> {
    pub(crate) path: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) socket: Option<Arc<Socket>>,
}

/// Serves an inference request.
pub(crate) async fn serve(state: &Shared, face: Face, route: Route, incoming: Incoming<'_>) -> HttpResponse {
    let mut entry = Entry::open(state, face, incoming.path, incoming.headers, &incoming.body);
    let is_first = incoming.socket.as_ref().is_none_or(|socket| socket.is_first_request());
    let fault = match state.pick(face, false, &incoming.body) {
        Fault::StaleConnection if is_first => Fault::None,
        Fault::StaleConnection => Fault::Refuse,
        other => other,
    };
    if fault.breaks_connection() {
        return break_connection(&fault, incoming.socket.as_deref(), Some(&mut entry)).await;
    }
    if let Err(reply) = authorize(face, &state.face(face).profile, incoming.headers) {
        entry.refuse();
        return reply.into_response();
    }
    if let Some(reply) = outage::reply(state, face, &fault) {
        entry.break_off();
        return with_quota_headers(state, face, reply, None).into_response();
    }
    if let Fault::Scripted(script) = fault {
        return written::respond(script, entry);
    }
    if let Fault::Refusal(refusal) = &fault
        && let Some(reply) = refusal::reply(face, refusal, &incoming.body)
    {
        entry.refuse();
        return with_quota_headers(state, face, reply, None).into_response();
    }
    let content_type = incoming.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let request = match admit(state, face, route, content_type, &incoming.body) {
        Ok(request) => request,
        Err(reply) => {
            entry.refuse();
            return as_client_sees_it(state, face, reply).into_response();
        }
    };
    let Some(permit) = WorkerPermit::take(state, face).await else {
        entry.refuse();
        return no_worker(state, face).into_response();
    };
    let headers = if let Fault::OddQuota { headers } = &fault { headers.clone() } else { Vec::new() };
    let mut response =
        answer::respond(state, face, &request, Work { fault, entry, permit, socket: incoming.socket }).await;
    written::set_headers(&mut response, &headers);
    response
}

fn no_worker(state: &State, face: Face) -> Reply {
    let status = state.face(face).profile.no_worker_status;
    Reply::json(status, &json!({"error": "no workers available"}))
}

/// Does a job's request without the HTTP around it: refusals and answers as the server inside the worker gives them.
pub(crate) async fn perform(state: &Shared, face: Face, route: Route, body: &Bytes) -> Reply {
    let request = match admit(state, face, route, Some("application/json"), body) {
        Ok(request) => request,
        Err(reply) => return reply,
    };
    let Some(permit) = WorkerPermit::take(state, face).await else {
        return vllm::error(503, "InternalServerError", "no workers available", None);
    };
    if route == Route::Embeddings {
        return embeddings(state, &request);
    }
    if let Route::Passed(passed) = route {
        return passed.answer(&request, state.id());
    }
    permit.read_prompt(state.prefill(face, request.prompt_tokens)).await;
    let latency = state.face(face).profile.latency;
    let script = script(state, face, &InferenceRequest { stream: false, ..request }, false);
    let due = Instant::now() + state.first_token(latency) + whole_time(&permit, &script, latency, 1.0);
    sleep_until(due).await;
    Reply::ok(script.whole())
}

/// Checks the key of a request.
pub(crate) fn authorize(face: Face, profile: &Profile, headers: &HeaderMap) -> Result<(), Reply> {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let key = header.strip_prefix("Bearer ").unwrap_or_default().trim();
    let right = profile.api_key.as_ref().is_none_or(|wanted| wanted == key);
    if !key.is_empty() && right {
        return Ok(());
    }
    Err(match face {
        Face::Cerebras => cerebras::unauthorized(key.is_empty()),
        Face::RunpodLb | Face::RunpodQueue => Reply::json(401, &json!({"error": "Unauthorized"})),
    })
}

/// Applies a fault of the connection. The response that it returns is written to a connection that is closed already.
pub(crate) async fn break_connection(
    fault: &Fault,
    socket: Option<&Socket>,
    entry: Option<&mut Entry>,
) -> HttpResponse {
    let (Some(socket), false) = (socket, *fault == Fault::HangBefore) else { return std::future::pending().await };
    // The entry is closed first, or a client that has the answer could read a call log in which it is still open.
    if let Some(entry) = entry {
        entry.break_off();
    }
    match fault {
        Fault::CutHead => socket.close_after(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-str"),
        Fault::ResetBefore => socket.reset_on_close(),
        _ => socket.close(),
    }
    // A body that fails at once makes the server drop the connection before it has written the head.
    HttpResponse::Ok().streaming(futures_util::stream::iter([Err::<Bytes, _>(crate::player::Cut)]))
}

/// Adds the quota headers of a face that has a quota, without touching those already there.
pub(crate) fn with_quota_headers(state: &State, face: Face, mut reply: Reply, wanted: Option<f64>) -> Reply {
    for (name, value) in quota_headers(state, face, wanted) {
        if reply.headers.iter().all(|(present, _)| *present != name) {
            reply.headers.push((name, value));
        }
    }
    reply
}

fn quota_headers(state: &State, face: Face, wanted: Option<f64>) -> Vec<(&'static str, String)> {
    let quota = state.face(face).quota.as_ref();
    quota.map(|quota| quota.lock().headers(wanted, Instant::now())).unwrap_or_default()
}

/// Reads and checks a request, and takes it out of the quota.
fn admit(
    state: &State,
    face: Face,
    route: Route,
    content_type: Option<&str>,
    body: &[u8],
) -> Result<InferenceRequest, Reply> {
    let this = state.face(face);
    let default_model = this.profile.models.first().map_or("", String::as_str);
    if face != Face::Cerebras {
        let body = match route {
            Route::Passed(Passed::Transcriptions) => passed::form(body),
            _ => vllm::parse(content_type, body)?,
        };
        vllm::check(route, &body, &this.profile)?;
        let mut request = InferenceRequest::read(route, &body, default_model);
        if route == Route::Completions {
            request.limit = request.limit.or(Some(16));
        }
        return Ok(request);
    }
    let body: Value = cerebras::parse(body).map_err(|reply| with_quota_headers(state, face, reply, None))?;
    cerebras::check(route, &body, &this.profile).map_err(|reply| with_quota_headers(state, face, reply, None))?;
    let request = InferenceRequest::read(route, &body, default_model);
    let Some(quota) = &this.quota else { return Ok(request) };
    // The provider debits the whole token limit before it starts.
    let tokens = request.prompt_tokens + request.limit.unwrap_or(this.profile.answer_tokens as u64);
    #[expect(clippy::cast_precision_loss, reason = "a request has far fewer than 2^52 tokens")]
    let tokens = tokens as f64;
    let taken = quota.lock().take(tokens, Instant::now());
    match taken {
        Ok(()) => Ok(request),
        Err(limit) => Err(with_quota_headers(state, face, cerebras::rate_limited(limit), Some(tokens))),
    }
}

/// How a refusal of the server inside the worker reaches the client.
fn as_client_sees_it(state: &State, face: Face, reply: Reply) -> Reply {
    match face {
        Face::RunpodQueue => jobs::failed(state, face, &reply),
        Face::RunpodLb | Face::Cerebras => reply,
    }
}

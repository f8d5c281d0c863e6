//! Which path goes where. One handler takes every request: the faces share a port, differ in what they say of an
//! unknown path, and a table of resources would hide that.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, http::Method, web};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    call::{self, Incoming, authorize, break_connection, with_quota_headers},
    control,
    face::Face,
    fault::Fault,
    inference::Route,
    jobs, management, outage,
    passed::Passed,
    reply::Reply,
    socket::Socket,
    state::{Shared, State},
};

/// Serves any request.
pub(crate) async fn serve(request: HttpRequest, body: Bytes, state: web::Data<State>) -> HttpResponse {
    let state: Shared = state.into_inner();
    let path = request.path().to_owned();
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (face, rest) = match segments.as_slice() {
        ["_control", rest @ ..] => return control::serve(&state, request.method(), rest, &body).into_response(),
        ["v2", rest @ ..] if management::owns(rest) => {
            let counts = |face| state.face(face).fleet.lock().counts(Instant::now());
            let target = (rest, request.query_string());
            return state.management.serve(request.method(), target, request.headers(), &body, counts).into_response();
        }
        ["lb", rest @ ..] => (Face::RunpodLb, rest),
        ["v2", _, rest @ ..] => (Face::RunpodQueue, rest),
        ["cerebras", rest @ ..] => (Face::Cerebras, rest),
        _ => return Reply::detail(404, "Not Found").into_response(),
    };
    let route = match (face, rest) {
        (Face::RunpodLb, ["v1", rest @ ..]) => Route::parse(rest),
        (Face::RunpodLb, rest) => Passed::of_tokenizer(rest).map(Route::Passed),
        (Face::RunpodQueue, ["openai", "v1", rest @ ..]) => {
            Route::parse(rest).filter(|route| !matches!(route, Route::Passed(_)))
        }
        (Face::Cerebras, ["v1", rest @ ..]) => {
            Route::parse(rest).filter(|route| matches!(route, Route::Chat | Route::Completions))
        }
        (Face::RunpodQueue | Face::Cerebras, _) => None,
    };
    let socket = request.conn_data::<Arc<Socket>>().cloned();
    match route {
        Some(route) if request.method() == Method::POST => {
            let incoming = Incoming { path: &path, headers: request.headers(), body, socket };
            call::serve(&state, face, route, incoming).await
        }
        Some(_) => Reply::detail(405, "Method Not Allowed").into_response(),
        None => probe(&state, face, rest, &request, &body).await,
    }
}

/// Everything that is no inference request.
async fn probe(state: &Shared, face: Face, rest: &[&str], request: &HttpRequest, body: &[u8]) -> HttpResponse {
    let this = state.face(face);
    this.recorder.probes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let fault = state.pick(face, true, b"");
    if fault.breaks_connection() {
        let socket = request.conn_data::<Arc<Socket>>().cloned();
        return break_connection(&fault, socket.as_deref(), None).await;
    }
    // The health check of a container asks for no key.
    if rest != ["ping"]
        && let Err(reply) = authorize(face, &this.profile, request.headers())
    {
        return reply.into_response();
    }
    if let Some(reply) = outage::reply(state, face, &fault) {
        return with_quota_headers(state, face, reply, None).into_response();
    }
    let reply = match face {
        Face::RunpodLb => load_balancer(state, rest, request.method()),
        Face::RunpodQueue => queue(state, rest, request, body, &fault).await,
        Face::Cerebras => with_quota_headers(state, face, cerebras(state, rest, request.method()), None),
    };
    reply.into_response()
}

fn load_balancer(state: &State, rest: &[&str], method: &Method) -> Reply {
    let this = state.face(Face::RunpodLb);
    let counts = this.fleet.lock().counts(Instant::now());
    match (rest, method.as_str()) {
        (["ping" | "health"], "GET") => match (counts.running, counts.initializing) {
            (0, 0) => Reply::new(503, "", ""),
            (0, _) => Reply::new(204, "", ""),
            _ => Reply::new(200, "", ""),
        },
        (["workers"], "GET") => Reply::json(200, &workers(counts)),
        (["v1", "models"], "GET") => Reply::json(200, &models(state, Face::RunpodLb)),
        _ => Reply::detail(404, "Not Found"),
    }
}

async fn queue(state: &Shared, rest: &[&str], request: &HttpRequest, body: &[u8], fault: &Fault) -> Reply {
    match (rest, request.method().as_str()) {
        (["health"], "GET") => jobs::health(state),
        // A job like any other: it waits for a worker.
        (["openai", "v1", "models"], "GET") => {
            match crate::worker_permit::WorkerPermit::take(state, Face::RunpodQueue).await {
                Some(_) if *fault != Fault::Throttled => Reply::json(200, &models(state, Face::RunpodQueue)),
                _ => Reply::json(200, &json!({"id": format!("sync-{:08x}-u1", state.id()), "status": "IN_QUEUE"})),
            }
        }
        (["run"], "POST") => jobs::run(state, body),
        (["runsync"], "POST") => jobs::run_sync(state, body, wait(request.query_string())).await,
        (["status", job], "GET") => jobs::status(state, job),
        (["cancel", job], "POST") => jobs::cancel(state, job),
        _ => Reply::json(404, &json!({"error": "not found"})),
    }
}

fn cerebras(state: &State, rest: &[&str], method: &Method) -> Reply {
    match (rest, method.as_str()) {
        (["v1", "models"], "GET") => {
            let models = &state.face(Face::Cerebras).profile.models;
            let data: Vec<Value> = models
                .iter()
                .map(|model| json!({"id": model, "object": "model", "created": 0, "owned_by": "Cerebras"}))
                .collect();
            Reply::json(200, &json!({"object": "list", "data": data}))
        }
        (["v1", "tcp_warming"], "GET") => Reply::new(200, "", ""),
        _ => Reply::new(404, "text/plain", ""),
    }
}

fn models(state: &State, face: Face) -> Value {
    let profile = &state.face(face).profile;
    let created = state.created();
    let entry = |model: &String| {
        json!({"id": model, "object": "model", "created": created, "owned_by": "vllm", "root": model, "parent": null, "max_model_len": profile.context, "permission": [{
            "id": "modelperm-0000000000000001", "object": "model_permission", "created": created, "allow_create_engine": false, "allow_sampling": true, "allow_logprobs": true,
            "allow_search_indices": false, "allow_view": true, "allow_fine_tuning": false, "organization": "*", "group": null, "is_blocking": false}]})
    };
    let data: Vec<Value> = profile.models.iter().chain(&profile.embedding_models).map(entry).collect();
    json!({"object": "list", "data": data})
}

/// The management API's list.
pub(crate) fn workers(counts: crate::fleet::Counts) -> Value {
    let groups = [
        ("RUNNING", counts.running),
        ("IDLE", counts.idle),
        ("INITIALIZING", counts.initializing),
        ("THROTTLED", counts.throttled),
        ("UNHEALTHY", counts.unhealthy),
    ];
    let each = groups.iter().flat_map(|(status, count)| std::iter::repeat_n(*status, *count)).enumerate();
    let workers: Vec<Value> = each
        .map(|(at, status)| json!({"id": format!("worker{at}"), "status": status, "isStale": false, "gpuTypeId": "NVIDIA L4", "dataCenterId": "US-KS-2", "uptimeSeconds": 60}))
        .collect();
    json!({"workers": workers, "summary": counts})
}

fn wait(query: &str) -> Option<u64> {
    query.split('&').find_map(|pair| pair.strip_prefix("wait=")).and_then(|value| value.parse().ok())
}

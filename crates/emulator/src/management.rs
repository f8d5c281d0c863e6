//! RunPod's management API (v2): serverless endpoints and what was billed for them, network volumes and the
//! catalogue of GPUs, under `/v2`.
//!
//! It stores what it is sent and refuses what RunPod's `OpenAPI` document says is refused, in problem documents after
//! RFC 9457. Endpoints made here share the workers of the two RunPod faces: there is no fleet behind each.

mod billing;
mod catalog;
mod rules;

use std::collections::VecDeque;

use actix_web::http::{
    Method,
    header::{AUTHORIZATION, HOST, HeaderMap},
};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{face::Face, fleet::Counts, reply::Reply, settings::ManagementSettings};

/// Most calls that are remembered.
const KEPT: usize = 256;

/// A call of the management API.
#[derive(Clone, Debug, Serialize)]
pub struct ManagementCall {
    /// `GET`, `POST` or `PATCH`.
    pub method: String,
    /// Path with its prefix.
    pub path: String,
    /// The JSON that was sent; null if there was none.
    pub body: Value,
    /// Status of the answer.
    pub status: u16,
}

/// What the account has.
#[derive(Debug)]
pub(crate) struct Management {
    settings: ManagementSettings,
    account: Mutex<Account>,
}

#[derive(Debug, Default)]
struct Account {
    volumes: Vec<Value>,
    endpoints: Vec<Value>,
    calls: VecDeque<ManagementCall>,
    made: u64,
}

/// Whether a path below `/v2` is the management API's; every other one is an endpoint's own.
pub(crate) fn owns(rest: &[&str]) -> bool {
    matches!(rest, ["serverless" | "network-volumes" | "catalog" | "billing", ..])
}

impl Management {
    pub(crate) fn new(settings: ManagementSettings) -> Self {
        Self { settings, account: Mutex::default() }
    }

    /// The calls so far, the last ones if there were many.
    pub(crate) fn calls(&self) -> Vec<ManagementCall> {
        self.account.lock().calls.iter().cloned().collect()
    }

    /// Serves a call. `counts` returns the workers of a face.
    pub(crate) fn serve(
        &self,
        method: &Method,
        (rest, query): (&[&str], &str),
        headers: &HeaderMap,
        body: &[u8],
        counts: impl Fn(Face) -> Counts,
    ) -> Reply {
        let body: Result<Value, _> = if body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(body) };
        let mut account = self.account.lock();
        let reply = match (&body, self.authorize(headers)) {
            (_, Err(reply)) => reply,
            (Err(_), Ok(())) => problem(400, "the request body is not JSON", &[]),
            (Ok(_), Ok(())) if *rest == ["billing", "serverless"] => {
                match billing::answer(&self.settings.billing, query) {
                    _ if method != Method::GET => not_allowed("GET"),
                    Ok(answer) => Reply::json(200, &answer),
                    Err(detail) => problem(400, &detail, &[]),
                }
            }
            (Ok(body), Ok(())) => account.route(method, rest, headers, body, counts).unwrap_or_else(|reply| reply),
        };
        if account.calls.len() == KEPT {
            account.calls.pop_front();
        }
        let path = format!("/v2/{}", rest.join("/"));
        let (method, body) = (method.to_string(), body.unwrap_or(Value::Null));
        account.calls.push_back(ManagementCall { method, path, body, status: reply.status });
        reply
    }

    fn authorize(&self, headers: &HeaderMap) -> Result<(), Reply> {
        let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        match header.and_then(|header| header.strip_prefix("Bearer ")).map(str::trim) {
            None | Some("") => Err(problem(401, "missing bearer token", &[])),
            Some(key) if self.settings.api_key.as_ref().is_some_and(|wanted| wanted != key) => {
                Err(problem(401, "invalid bearer token", &[]))
            }
            Some(_) => Ok(()),
        }
    }
}

impl Account {
    fn route(
        &mut self,
        method: &Method,
        rest: &[&str],
        headers: &HeaderMap,
        body: &Value,
        counts: impl Fn(Face) -> Counts,
    ) -> Result<Reply, Reply> {
        match (rest, method.as_str()) {
            (["network-volumes"], "GET") => Ok(Reply::json(200, &json!({ "networkVolumes": self.volumes }))),
            (["network-volumes"], "POST") => self.create_volume(body),
            (["network-volumes", id], "GET") => find(&mut self.volumes, id).map(|volume| Reply::json(200, volume)),
            (["network-volumes", id], "PATCH") => self.update_volume(id, body),
            (["serverless"], "GET") => Ok(Reply::json(200, &json!({ "endpoints": self.endpoints }))),
            (["serverless"], "POST") => self.create_endpoint(headers, body),
            (["serverless", id], "GET") => find(&mut self.endpoints, id).map(|endpoint| Reply::json(200, endpoint)),
            (["serverless", id], "PATCH") => self.update_endpoint(id, body),
            (["serverless", id, "workers"], "GET") => {
                let endpoint = find(&mut self.endpoints, id)?;
                let is_queue = endpoint["type"] == "QUEUE";
                let counts = counts(if is_queue { Face::RunpodQueue } else { Face::RunpodLb });
                Ok(Reply::json(200, &crate::http::workers(counts)))
            }
            (["catalog", "gpus"], "GET") => Ok(Reply::json(200, &catalog::gpus())),
            (["network-volumes" | "serverless"], _) => Err(not_allowed("GET, POST")),
            (["network-volumes" | "serverless", _], _) => Err(not_allowed("GET, PATCH")),
            (["serverless", _, "workers"] | ["catalog", "gpus"], _) => Err(not_allowed("GET")),
            _ => Err(problem(404, "resource not found", &[])),
        }
    }

    fn id(&mut self, prefix: &str) -> String {
        self.made += 1;
        format!("{prefix}{:04}", self.made)
    }

    fn create_volume(&mut self, body: &Value) -> Result<Reply, Reply> {
        valid(&rules::new_volume(body))?;
        let mut volume = json!({"id": self.id("vol"), "type": "STANDARD"});
        put(&mut volume, body);
        self.volumes.push(volume.clone());
        Ok(Reply::json(201, &volume))
    }

    fn update_volume(&mut self, id: &str, body: &Value) -> Result<Reply, Reply> {
        valid(&rules::changed_volume(body))?;
        let volume = find(&mut self.volumes, id)?;
        if body["size"].as_u64().is_some_and(|size| Some(size) < volume["size"].as_u64()) {
            return Err(problem(400, "network volume storage cannot be reduced", &[]));
        }
        put(volume, body);
        Ok(Reply::json(200, volume))
    }

    fn create_endpoint(&mut self, headers: &HeaderMap, body: &Value) -> Result<Reply, Reply> {
        valid(&rules::new_endpoint(body))?;
        if body["gpu"].is_null() == body["cpu"].is_null() {
            return Err(problem(400, "specify exactly one of gpu or cpu", &[]));
        }
        let id = self.id("ep");
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1");
        let mut endpoint = json!({
            "id": id, "requestUrls": urls(host, &id, body["type"] == "QUEUE"), "createdAt": "2026-11-24T12:00:00Z",
            "args": "", "disk": 20, "ports": [], "env": {}, "registry": null,
            "gpu": {"count": 1, "allowedCudaVersions": [], "minCudaVersion": null}, "workers": {"min": 0, "max": 3},
            "dataCenterIds": [], "networkVolumes": [], "timeout": 300_000, "flashboot": "OFF",
        });
        if !(body["type"] == "QUEUE" && body["scaling"]["type"] == "REQUEST_COUNT") {
            endpoint["workers"]["idleTimeout"] = 10.into();
        }
        self.settle(&mut endpoint, body)?;
        self.endpoints.push(endpoint.clone());
        Ok(Reply::json(201, &endpoint))
    }

    fn update_endpoint(&mut self, id: &str, body: &Value) -> Result<Reply, Reply> {
        valid(&rules::changed_endpoint(body))?;
        let mut endpoint = find(&mut self.endpoints, id)?.clone();
        if body.get("cpu").is_some() {
            return Err(problem(400, "cpu cannot be set on a GPU endpoint", &[]));
        }
        self.settle(&mut endpoint, body)?;
        *find(&mut self.endpoints, id)? = endpoint.clone();
        Ok(Reply::json(200, &endpoint))
    }

    /// Puts new settings into an endpoint, if what comes of it makes sense.
    fn settle(&self, endpoint: &mut Value, body: &Value) -> Result<(), Reply> {
        let known = |id: &Value| self.volumes.iter().any(|volume| volume["id"] == *id);
        let mut wanted = body["networkVolumes"].as_array().into_iter().flatten();
        if !wanted.all(known) {
            return Err(problem(404, "network volume not found", &[]));
        }
        put(endpoint, body);
        match (endpoint["type"].as_str(), endpoint["scaling"]["type"].as_str()) {
            (Some("LOAD_BALANCER"), Some("QUEUE_DELAY")) => {
                Err(problem(400, "load-balancing endpoints scale by REQUEST_COUNT", &[]))
            }
            (Some("QUEUE"), Some("REQUEST_COUNT")) => {
                if body["workers"]["idleTimeout"].is_number() {
                    let detail = "workers.idleTimeout does not apply to queue-based endpoints scaling on requestCount";
                    return Err(problem(400, detail, &[]));
                }
                if let Some(workers) = endpoint["workers"].as_object_mut() {
                    workers.remove("idleTimeout");
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Puts the fields of `body` into `object`. Those of `gpu` and `workers` one by one, all others whole.
fn put(object: &mut Value, body: &Value) {
    for (field, value) in body.as_object().into_iter().flatten() {
        match (field.as_str(), value) {
            ("gpu" | "workers", Value::Object(parts)) => {
                // New pools replace the whole selection.
                if parts.contains_key("pools")
                    && let Some(gpu) = object["gpu"].as_object_mut()
                {
                    gpu.remove("excludedTypes");
                }
                for (name, part) in parts {
                    object[field][name] = part.clone();
                }
            }
            _ => object[field] = value.clone(),
        }
    }
}

fn urls(host: &str, id: &str, is_queue: bool) -> Value {
    if !is_queue {
        return json!({"base": format!("http://{host}/lb"), "health": format!("http://{host}/lb/ping")});
    }
    let names = [
        ("run", "run"),
        ("runSync", "runsync"),
        ("status", "status/{job_id}"),
        ("stream", "stream/{job_id}"),
        ("cancel", "cancel/{job_id}"),
        ("retry", "retry/{job_id}"),
        ("purgeQueue", "purge-queue"),
        ("health", "health"),
    ];
    let url = |(name, path): (&str, &str)| (name.to_owned(), format!("http://{host}/v2/{id}/{path}").into());
    Value::Object(names.into_iter().map(url).collect::<Map<_, _>>())
}

fn find<'a>(all: &'a mut [Value], id: &str) -> Result<&'a mut Value, Reply> {
    all.iter_mut().find(|one| one["id"] == id).ok_or_else(|| problem(404, "resource not found", &[]))
}

fn valid(errors: &[String]) -> Result<(), Reply> {
    if errors.is_empty() { Ok(()) } else { Err(problem(422, "Request validation failed.", errors)) }
}

fn not_allowed(methods: &str) -> Reply {
    problem(405, "The requested method is not allowed for this path.", &[]).with("allow", &methods)
}

/// A problem document.
fn problem(status: u16, detail: &str, errors: &[String]) -> Reply {
    let title = match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "Unprocessable Entity",
    };
    let mut problem = json!({"title": title, "status": status, "detail": detail});
    if !errors.is_empty() {
        problem["errors"] = errors.into();
    }
    Reply::new(status, "application/problem+json", problem.to_string())
}

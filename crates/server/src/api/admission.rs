//! Admission of a request, before its body is parsed: who sends it, whether it may come in, and the bytes of its body.
//!
//! What is cheap to refuse is refused first: a wrong key before the body is read, a limit before the body is parsed.

use std::{rc::Rc, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{
        Version,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    web,
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use provider::RequestId;
use router::{Route, Subject};
use tokio::time::{Instant, timeout};

use super::identified;
use crate::{
    app::{App, Live},
    auth::ClientKey,
    connections::Connection,
    error::ApiError,
    limits::{Permit, RateLimitStatus},
    names::{Requested, Resolved},
    sse::Permits,
};

const TASK: HeaderName = HeaderName::from_static("x-llm-router-task");
const LIMIT_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-limit-requests");
const REMAINING_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-remaining-requests");
const RESET_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-reset-requests");
const FALLBACK: HeaderName = HeaderName::from_static("x-llm-router-fallback");

/// A request that was let in, and its body.
pub(crate) struct Admitted {
    pub(crate) id: RequestId,
    pub(crate) key: Arc<ClientKey>,
    pub(crate) permits: Permits,
    pub(crate) body: Bytes,
    /// When the whole request was there.
    pub(crate) at: Instant,
    /// The task that a header names, or later the body.
    pub(crate) task: Option<String>,
    /// Whether others may serve when an upstream that is named fails.
    pub(crate) falls_back: bool,
}

/// A request's route and configuration, and the response that is being made for it.
pub(crate) struct RequestContext {
    pub(crate) app: Arc<App>,
    pub(crate) live: Arc<Live>,
    pub(crate) response: HttpResponseBuilder,
    /// The client's version of HTTP.
    pub(crate) version: Version,
    /// What it came by; `None` where no listener of ours is involved.
    pub(crate) connection: Option<Rc<Connection>>,
    subject: Subject,
    started: Instant,
}

impl RequestContext {
    /// A request comes in by `route`.
    pub(crate) fn new(route: Route, request: &HttpRequest, app: &Arc<App>) -> Self {
        let (id, response) = identified(request.headers(), app);
        let subject = Subject { request_id: id, route, stream: false, model: None, key: None, team: None };
        let version = request.version();
        let connection = request.conn_data::<Rc<Connection>>().cloned();
        let (app, live) = (app.clone(), app.live());
        Self { app, live, response, version, connection, subject, started: Instant::now() }
    }

    /// Admits the request and reads its body.
    pub(crate) async fn receive(&mut self, request: &HttpRequest, payload: web::Payload) -> Result<Admitted, ApiError> {
        let headers = request.headers();
        let key = self.live.keyring.authenticate(headers)?;
        (self.subject.key, self.subject.team) = (key.id.clone(), key.team.clone());
        let server = &self.live.server;
        check_headers(headers, server.max_body_bytes)?;
        // Before the key's allowance, which is used up by asking.
        let own = Permit::take(&self.app.in_flight, server.max_in_flight).ok_or_else(ApiError::overloaded)?;
        let (permit, status) = key.limiter.admit()?;
        if let Some(status) = status {
            add_rate_limit_status(&mut self.response, status);
        }
        let read = read(payload, headers, server.max_body_bytes);
        let body = tokio::select! {
            biased;
            body = timeout(server.body_read, read) => body.map_err(|_| ApiError::body_too_slow())??,
            () = self.app.cut.cancelled() => return Err(ApiError::shutting_down()),
        };
        Ok(Admitted {
            id: self.subject.request_id.clone(),
            key,
            permits: [permit, Some(own)],
            body,
            at: Instant::now(),
            task: headers.get(TASK).and_then(|task| task.to_str().ok()).map(str::to_owned),
            falls_back: headers.get(FALLBACK).is_some_and(|value| value == "true"),
        })
    }

    /// What is asked for, where the body names `model`.
    pub(crate) fn resolve(&self, admitted: &Admitted, model: Option<&str>) -> Result<Resolved, ApiError> {
        let requested = Requested { model, task: admitted.task.as_deref() };
        self.live.names.resolve(requested, &self.live.table, &admitted.key)
    }

    /// Answers a request that never reached the router.
    pub(crate) fn refuse(self, error: &ApiError) -> HttpResponse {
        self.app.rejected(self.subject, error, self.started);
        error.respond(self.response)
    }
}

fn check_headers(headers: &HeaderMap, max_body_bytes: usize) -> Result<(), ApiError> {
    let content_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !essence.eq_ignore_ascii_case(b"application/json") {
        return Err(ApiError::not_json());
    }
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(ApiError::encoded());
    }
    if content_length(headers).is_some_and(|length| length > max_body_bytes) {
        return Err(ApiError::body_too_large(max_body_bytes));
    }
    Ok(())
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads the body; one that comes in one read is taken as it is.
async fn read(mut payload: web::Payload, headers: &HeaderMap, limit: usize) -> Result<Bytes, ApiError> {
    let expected = content_length(headers);
    let Some(first) = payload.next().await else { return Ok(Bytes::new()) };
    let first = first.map_err(|_| ApiError::body_broken())?;
    if first.len() > limit {
        return Err(ApiError::body_too_large(limit));
    }
    if expected == Some(first.len()) {
        return Ok(first);
    }
    let mut all = BytesMut::with_capacity(expected.unwrap_or(0).clamp(first.len(), limit));
    all.extend_from_slice(&first);
    while let Some(read) = payload.next().await {
        all.extend_from_slice(&read.map_err(|_| ApiError::body_broken())?);
        if all.len() > limit {
            return Err(ApiError::body_too_large(limit));
        }
    }
    Ok(all.freeze())
}

/// How much of the key's own allowance is left, in OpenAI's names.
fn add_rate_limit_status(response: &mut HttpResponseBuilder, status: RateLimitStatus) {
    response.insert_header((LIMIT_REQUESTS, status.limit));
    response.insert_header((REMAINING_REQUESTS, status.remaining));
    let reset = format!("{}ms", status.reset().as_millis());
    response.insert_header((RESET_REQUESTS, reset));
}

//! Admission of a request, before its body is parsed: who sends it, whether it may come in, and the bytes of its body.
//!
//! What is cheap to refuse is refused first: a wrong key before the body is read, a limit before the body is parsed.

use std::{sync::Arc, time::Duration};

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
use provider::{ModelId, Reader, RequestId};
use router::{Route, Subject};
use tokio::time::{Instant, timeout};

use super::identified;
use crate::{
    app::{App, Live},
    auth::{self, ClientKey},
    error::ApiError,
    limits::{Permit, RateLimitStatus, Refused},
    names::{Requested, Resolved},
    sse::Permits,
};

const TASK: HeaderName = HeaderName::from_static("x-llm-router-task");
const FALLBACK: HeaderName = HeaderName::from_static("x-llm-router-fallback");

/// Most bytes of a refused body that are read, so that its connection can be kept.
const MAX_DRAINED: usize = 64 << 10;
/// A body that was refused holds no permit, so it has little time.
const DRAIN: Duration = Duration::from_secs(1);

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
    subject: Subject,
    started: Instant,
    /// Whose allowance the request has not been counted against yet.
    uncharged: Option<Arc<ClientKey>>,
}

impl RequestContext {
    /// A request comes in by `route`.
    pub(crate) fn new(route: Route, request: &HttpRequest, app: &Arc<App>) -> Self {
        let (id, response) = identified(request, app);
        let subject = Subject { request_id: id, route, stream: false, model: None, key: None, team: None };
        let version = request.version();
        Self {
            app: app.clone(),
            live: app.live(),
            response,
            version,
            subject,
            started: Instant::now(),
            uncharged: None,
        }
    }

    /// Admits the request and reads its body.
    pub(crate) async fn receive(&mut self, request: &HttpRequest, payload: web::Payload) -> Result<Admitted, ApiError> {
        let headers = request.headers();
        let key = auth::client(&self.app, &self.live, request)?;
        (self.subject.key, self.subject.team) = (key.id.clone(), key.team.clone());
        let server = &self.live.server;
        check_headers(headers, server.max_body_bytes)?;
        let own = Permit::take(&self.app.in_flight, server.max_in_flight).ok_or_else(ApiError::overloaded)?;
        let permit = match key.limiter.enter() {
            Ok(permit) => permit,
            Err(refused) => {
                drop(own);
                self.turn_away(payload, headers).await;
                return Err(refused.into());
            }
        };
        self.uncharged = Some(key.clone());
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

    /// Counts the request against the allowance of its key, now that the calls that come of it are known; `model` is what
    /// serves it, where that is one model.
    pub(crate) fn charge(&mut self, admitted: &mut Admitted, model: Option<&str>, calls: u32) -> Result<(), ApiError> {
        self.subject.model = model.and_then(|name| self.public_model(name));
        let status = admitted.key.limiter.charge(&mut admitted.permits[0], calls).inspect_err(|refused| {
            // One that could never come in is a mistake like others, and counted like them.
            if !matches!(refused, Refused::Never { .. }) {
                self.uncharged = None;
            }
        })?;
        self.uncharged = None;
        for header in status.iter().flat_map(RateLimitStatus::headers) {
            self.response.insert_header(header);
        }
        Ok(())
    }

    /// The public model of this name, for the metrics.
    fn public_model(&self, name: &str) -> Option<ModelId> {
        self.live.table.choose(name).map(|choice| choice.model().clone())
    }

    /// Reads what is left of a refused body, if that is little, so that the connection can be kept, and notes the model.
    async fn turn_away(&mut self, payload: web::Payload, headers: &HeaderMap) {
        let is_large = content_length(headers).is_some_and(|length| length > MAX_DRAINED);
        let read =
            async { if is_large { None } else { timeout(DRAIN, read(payload, headers, MAX_DRAINED)).await.ok() } };
        match read.await {
            Some(Ok(body)) => self.subject.model = named(&body).and_then(|name| self.public_model(&name)),
            Some(Err(_)) | None => drop(self.response.force_close()),
        }
    }

    /// What is asked for, where the body names `model`.
    pub(crate) fn resolve(&self, admitted: &Admitted, model: Option<&str>) -> Result<Resolved, ApiError> {
        let requested = Requested { model, task: admitted.task.as_deref() };
        self.live.names.resolve(requested, &self.live.table, &admitted.key)
    }

    /// Answers a request that never reached the router. It counts as one call, if it was let in: reading it took its time.
    pub(crate) fn refuse(self, error: &ApiError) -> HttpResponse {
        let over = self.uncharged.and_then(|key| key.limiter.charge(&mut None, 1).err()).map(ApiError::from);
        let error = over.as_ref().unwrap_or(error);
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

/// The `model` of a body that is not looked at any further.
fn named(body: &[u8]) -> Option<String> {
    let mut reader = Reader::new(str::from_utf8(body).ok()?);
    if reader.peek() != Some(b'{') {
        return None;
    }
    reader.enter().ok()?;
    while let Some(key) = reader.key().ok()? {
        let value = reader.value().ok()?;
        if key.says("model") {
            return value.text().map(|name| name.decoded().into_owned());
        }
    }
    None
}

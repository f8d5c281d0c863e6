//! Admission of a request, before its body is parsed: who sends it, whether it may come in, and the bytes of its body.
//!
//! What is cheap to refuse is refused first: a wrong key before the body is read, a limit before the body is parsed.

use std::{rc::Rc, sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{
        Version,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    web,
};
use bytes::Bytes;
use dispatch::{Caller, RequestInfo, Route};
use ledger::Room;
use provider::{GatherError, Gathered, ModelId, Reader, RequestId, Reservation, gather};
use settings::TagSet;
use tokio::time::{Instant, timeout};

use super::{dialect, identified};
use crate::{
    app::{App, Live},
    auth::{self, ClientKey},
    budgets, clock,
    connections::Connection,
    error::ApiError,
    limits::{Demand, Grant, RateLimitStatus, ReachedLimit, RequestPermits, count_refused},
    names::{Requested, Resolved},
    tags,
    wishes::HeaderWishes,
};

const TASK: HeaderName = HeaderName::from_static("x-llm-router-task");
const SESSION: HeaderName = HeaderName::from_static("x-llm-router-session");

/// Most bytes of a refused body that are read, so that its connection can be kept.
const MAX_DRAINED: usize = 64 << 10;
/// The rest of a refused body may take at most this long, because the request holds no permit.
const DRAIN: Duration = Duration::from_secs(1);

/// A request that was let in, and its body.
pub(crate) struct Admitted {
    pub(crate) id: RequestId,
    pub(crate) key: Arc<ClientKey>,
    pub(crate) permits: RequestPermits,
    pub(crate) body: Bytes,
    /// The memory that is reserved for the body and its copies.
    pub(crate) reservation: Reservation,
    /// When the whole request was there.
    pub(crate) at: Instant,
    /// The task that a header names, or later the body.
    pub(crate) task: Option<String>,
    /// What headers want to be different for it.
    pub(crate) wishes: HeaderWishes,
    /// The conversation that a header names.
    pub(crate) session: Option<Arc<str>>,
    /// What a header tags it with.
    pub(crate) tags: TagSet,
}

/// A request's route and configuration, and the response that is being made for it.
pub(crate) struct RequestContext {
    pub(crate) app: Arc<App>,
    pub(crate) live: Arc<Live>,
    pub(crate) response: HttpResponseBuilder,
    /// The client's version of HTTP.
    pub(crate) version: Version,
    /// The connection that it came by; `None` without one of our listeners.
    pub(crate) connection: Option<Rc<Connection>>,
    info: RequestInfo,
    started: Instant,
    /// Which upstreams its budgets leave it.
    room: Room,
    /// The key whose limits do not count the request yet.
    uncounted: Option<Arc<ClientKey>>,
}

impl Admitted {
    /// What is asked for, where the body names `model`.
    pub(crate) fn resolve(&self, live: &Live, model: Option<&str>) -> Result<Resolved, ApiError> {
        let requested = Requested { model, task: self.task.as_deref() };
        live.names.resolve(requested, &live.table, &self.key)
    }
}

impl RequestContext {
    /// A request comes in by `route`.
    pub(crate) fn new(route: Route, request: &HttpRequest, app: &Arc<App>) -> Self {
        let (id, response) = identified(request.path(), request.headers(), app);
        let info = RequestInfo {
            request_id: id,
            number: 0,
            route,
            stream: false,
            model: None,
            key: None,
            team: None,
            tags: None,
            requested: None,
        };
        let version = request.version();
        let connection = request.conn_data::<Rc<Connection>>().cloned();
        let (app, live) = (app.clone(), app.live());
        Self {
            app,
            live,
            response,
            version,
            connection,
            info,
            started: Instant::now(),
            room: Room::Any,
            uncounted: None,
        }
    }

    /// Admits the request and reads its body.
    pub(crate) async fn receive(&mut self, request: &HttpRequest, payload: web::Payload) -> Result<Admitted, ApiError> {
        let headers = request.headers();
        let key = auth::client(&self.app, &self.live, request)?;
        (self.info.key, self.info.team) = (key.id.clone(), key.team.clone());
        let server = &self.live.server;
        // The body that is sent on is a second copy: a longer one would never fit into the key's part of the memory,
        // however often it is repeated.
        let limit = server.max_body_bytes.min(key.memory.limit() / 2);
        check_headers(self.info.route, headers, limit)?;
        let wishes = HeaderWishes::of(headers, &key)?;
        let tags = tags::of_header(headers, &key, &self.live.tags)?;
        let own = self.app.in_flight.try_take().ok_or_else(ApiError::overloaded)?;
        let grant = match Grant::enter(&key.limiters) {
            Ok(grant) => grant,
            Err(refused) => {
                drop(own);
                self.drain_body(payload, headers, &key).await;
                return Err(refused.into());
            }
        };
        self.uncounted = Some(key.clone());
        let read = gather(payload, content_length(headers), limit, &key.memory);
        let read = tokio::select! {
            biased;
            read = timeout(server.body_read, read) => read.map_err(|_| ApiError::body_too_slow())?,
            () = self.app.cut.cancelled() => return Err(ApiError::shutting_down()),
        };
        let Gathered { body, reservation } = read.map_err(|unread| match unread {
            GatherError::TooLong => ApiError::body_too_large(limit),
            GatherError::NoMemory(none) => none.into(),
            GatherError::Broken(_) => ApiError::body_broken(),
        })?;
        Ok(Admitted {
            id: self.info.request_id.clone(),
            key,
            permits: RequestPermits::new(grant, own),
            body,
            reservation,
            at: Instant::now(),
            task: headers.get(TASK).and_then(|task| task.to_str().ok()).map(str::to_owned),
            wishes,
            session: headers.get(SESSION).and_then(|session| session.to_str().ok()).map(Arc::from),
            tags,
        })
    }

    /// The same for a request that leads to no call upstream: it counts as one call, and needs no budget.
    pub(crate) async fn receive_question(
        &mut self,
        request: &HttpRequest,
        payload: web::Payload,
    ) -> Result<Admitted, ApiError> {
        let mut admitted = self.receive(request, payload).await?;
        self.count_calls(&mut admitted.permits.grant, Demand::ONE).await?;
        Ok(admitted)
    }

    /// It is known what the request is for, and by which name it was asked for.
    pub(crate) fn set_labels(&mut self, caller: &Caller) {
        (self.info.tags, self.info.requested) = (caller.tags.clone(), caller.requested.clone());
    }

    /// Looks at its budgets, and counts the request, now that it is known what it needs; `model` is what serves it, where that is one
    /// model.
    pub(crate) async fn count(
        &mut self,
        grant: &mut Grant,
        model: Option<&str>,
        demand: Demand,
    ) -> Result<(), ApiError> {
        self.info.model = model.and_then(|name| self.public_model(name));
        let room = self.app.budgets.look(budgets::spender(&self.info), clock::now_ms());
        // A request that its budget refuses uses up nothing else, and is told about that alone.
        self.room = room.inspect_err(|_| self.uncounted = None)?;
        self.count_calls(grant, demand).await
    }

    /// Counts the request against the limits of its key, its team and its model alone: what costs nothing needs no budget.
    async fn count_calls(&mut self, grant: &mut Grant, demand: Demand) -> Result<(), ApiError> {
        let of_model = self.info.model.as_ref().and_then(|model| self.live.limiters.of_model(model.as_str()));
        let statuses = grant.count(of_model, demand).await.inspect_err(|refused| {
            // A request that could never be admitted is an invalid request, and is counted as one.
            if !matches!(refused.limit, ReachedLimit::Never { .. }) {
                self.uncounted = None;
            }
        })?;
        self.uncounted = None;
        self.add_statuses(&statuses);
        Ok(())
    }

    /// The upstream that is to serve it, as a client would name it, if its budgets leave it only the cheapest.
    pub(crate) fn cheapest(&self) -> Option<String> {
        match self.room {
            Room::Any => None,
            Room::Cheapest => budgets::cheapest(&self.live.table, self.info.model.as_ref()?.as_str()),
        }
    }

    fn add_statuses(&mut self, statuses: &[RateLimitStatus]) {
        for status in statuses {
            dialect::add_status(&mut self.response, status);
        }
    }

    /// The public model of this name, for the metrics.
    fn public_model(&self, name: &str) -> Option<ModelId> {
        self.live.table.choose(name).map(|choice| choice.model().clone())
    }

    /// The public model that serves requests for this name.
    fn resolved_model(&self, name: &str, key: &ClientKey) -> Option<ModelId> {
        let requested = Requested { model: Some(name), task: None };
        let resolved = self.live.names.resolve(requested, &self.live.table, key);
        self.public_model(resolved.as_ref().map_or(name, |resolved| resolved.name(Some(name))))
    }

    /// Reads what is left of a refused body, if that is little, so that the connection can be kept, and records the model.
    async fn drain_body(&mut self, payload: web::Payload, headers: &HeaderMap, key: &ClientKey) {
        let read = gather(payload, content_length(headers), MAX_DRAINED, &key.memory);
        match timeout(DRAIN, read).await {
            Ok(Ok(read)) => self.info.model = named(&read.body).and_then(|name| self.resolved_model(&name, key)),
            Ok(Err(_)) | Err(_) => drop(self.response.force_close()),
        }
    }

    /// Answers a request that never reached the router. It counts as one call, because it had to be read, unless it was
    /// not admitted or the error is the router's own.
    pub(crate) async fn refuse(mut self, error: &ApiError) -> HttpResponse {
        let uncounted = self.uncounted.take().filter(|_| !error.is_routers_own());
        let over = match uncounted {
            Some(key) => match count_refused(&key.limiters).await {
                Ok(statuses) => {
                    self.add_statuses(&statuses);
                    None
                }
                Err(refused) => Some(ApiError::from(refused)),
            },
            None => None,
        };
        let error = over.as_ref().unwrap_or(error);
        self.app.rejected(self.info, error, self.started);
        error.respond(self.response)
    }
}

fn check_headers(route: Route, headers: &HeaderMap, max_body_bytes: usize) -> Result<(), ApiError> {
    let is_form = route == Route::Transcriptions;
    let expected: &[u8] = if is_form { b"multipart/form-data" } else { b"application/json" };
    let content_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !essence.eq_ignore_ascii_case(expected) {
        return Err(if is_form { ApiError::not_form() } else { ApiError::not_json() });
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

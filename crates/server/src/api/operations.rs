//! `POST /v1/chat/completions`, `/v1/completions`, `/v1/embeddings`: from bytes to the router and back.
//!
//! What is cheap to refuse is refused first: a wrong key before the body is read, a limit before the body is parsed.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::header::{self, HeaderMap, HeaderName, HeaderValue},
    web,
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use provider::{Operation, Request, RequestId};
use router::{Caller, RouterError, Served, Subject};
use tokio::time::{Instant, timeout};

use super::identified;
use crate::{
    app::{App, Live},
    auth::ClientKey,
    error::ApiError,
    limits::{Place, Standing},
    sse::{Places, Source, SseBody},
};

/// What is known of a request before its body is.
struct Arrival {
    id: RequestId,
    key: Arc<ClientKey>,
    standing: Option<Standing>,
    places: Places,
    /// When the whole request was there.
    at: Instant,
}

/// Serves one request.
pub(crate) async fn serve(
    operation: Operation,
    request: HttpRequest,
    payload: web::Payload,
    app: web::Data<Arc<App>>,
) -> HttpResponse {
    let started = Instant::now();
    let app = Arc::clone(&app);
    let live = app.live();
    let (id, response) = identified(&request, &app);
    let mut subject = Subject { request_id: id.clone(), operation, stream: false, model: None, key: None, team: None };
    let outcome = match live.keyring.authenticate(request.headers()) {
        Ok(key) => {
            (subject.key, subject.team) = (key.id.clone(), key.team.clone());
            receive(operation, &request, payload, &app, &live, id.clone(), key).await
        }
        Err(error) => Err(error),
    };
    match outcome {
        Ok((parsed, arrival)) => answer(parsed, arrival, response, &app, &live).await,
        Err(error) => {
            app.rejected(subject, &error, started);
            error.respond(response)
        }
    }
}

/// Admits the request and reads its body.
async fn receive(
    operation: Operation,
    request: &HttpRequest,
    payload: web::Payload,
    app: &App,
    live: &Live,
    id: RequestId,
    key: Arc<ClientKey>,
) -> Result<(Request, Arrival), ApiError> {
    check_headers(request.headers(), live.server.max_body_bytes)?;
    let (place, standing) = key.limiter.admit()?;
    let own = Place::take(&app.in_flight, live.server.max_in_flight).ok_or_else(ApiError::overloaded)?;
    let read = read(payload, request.headers(), live.server.max_body_bytes);
    let body = tokio::select! {
        biased;
        body = timeout(live.server.body_read, read) => body.map_err(|_| ApiError::body_too_slow())??,
        () = app.cut.cancelled() => return Err(ApiError::shutting_down()),
    };
    let at = Instant::now();
    let parsed = Request::parse(operation, body, live.server.limits)?;
    Ok((parsed, Arrival { id, key, standing, places: [place, Some(own)], at }))
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

/// Has the router answer and makes a response of it.
async fn answer(
    request: Request,
    arrival: Arrival,
    mut response: HttpResponseBuilder,
    app: &Arc<App>,
    live: &Live,
) -> HttpResponse {
    let Arrival { id, key, standing, places, at } = arrival;
    if let Some(standing) = standing {
        add_standing(&mut response, standing);
    }
    let keep_alive = live.server.keep_alive_comment;
    let caller = Caller { request_id: id.clone(), key: key.id.clone(), team: key.team.clone(), arrived: at };
    if request.head.stream && app.router.table().has_early_headers(&request.head.model) {
        let owner = app.clone();
        let call = async move { owner.router.call(&request, caller).await.map(|served| served.answer) };
        return stream(response, SseBody::new(Source::Calling(Box::pin(call)), app, id, keep_alive, places));
    }
    let outcome = tokio::select! {
        biased;
        outcome = app.router.call(&request, caller) => outcome,
        () = app.cut.cancelled() => return ApiError::shutting_down().respond(response),
    };
    let served = match outcome {
        Ok(served) => served,
        Err(error) => return refuse(response, &error),
    };
    add_route(&mut response, &served);
    if served.answer.whole().is_some() {
        return whole(response, served).await;
    }
    stream(response, SseBody::new(Source::Relaying(served.answer), app, id, keep_alive, places))
}

fn refuse(mut response: HttpResponseBuilder, error: &RouterError) -> HttpResponse {
    if let RouterError::Failed { attempts, .. } = error {
        response.insert_header((HeaderName::from_static("x-llm-router-attempts"), *attempts));
    }
    ApiError::from(error).respond(response)
}

async fn whole(mut response: HttpResponseBuilder, mut served: Served) -> HttpResponse {
    match served.answer.next().await {
        Some(Ok(frame)) => response.content_type("application/json").body(frame.bytes),
        Some(Err(error)) => {
            refuse(response, &RouterError::Failed { error, attempts: served.attempts, retry_after: None })
        }
        None => ApiError::overloaded().respond(response),
    }
}

fn stream(mut response: HttpResponseBuilder, body: SseBody) -> HttpResponse {
    response
        .content_type("text/event-stream; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-cache")))
        .insert_header((HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")))
        .body(body)
}

/// How much of the key's own allowance is left, in OpenAI's names.
fn add_standing(response: &mut HttpResponseBuilder, standing: Standing) {
    response.insert_header((HeaderName::from_static("x-ratelimit-limit-requests"), standing.limit));
    response.insert_header((HeaderName::from_static("x-ratelimit-remaining-requests"), standing.remaining));
    let reset = format!("{}ms", standing.reset().as_millis());
    response.insert_header((HeaderName::from_static("x-ratelimit-reset-requests"), reset));
}

/// Who answered, why, and what it took.
fn add_route(response: &mut HttpResponseBuilder, served: &Served) {
    let word = |word: &'static str| HeaderValue::from_static(word);
    response.insert_header((HeaderName::from_static("x-llm-router-provider"), word(served.provider)));
    response.insert_header((HeaderName::from_static("x-llm-router-reason"), word(served.reason.as_str())));
    let mut add = |name: &'static str, value: &str| {
        response.insert_header((HeaderName::from_static(name), value));
    };
    add("x-llm-router-upstream", served.upstream.as_str());
    if let Some(cost) = served.cost {
        add("x-llm-router-cost-usd", &cost.to_string());
    }
    if !served.head.dropped_params.is_empty() {
        add("x-llm-router-dropped-params", &printable(&served.head.dropped_params.join(", ")));
    }
    if !served.head.injected_params.is_empty() {
        add("x-llm-router-injected-params", &printable(&served.head.injected_params.join(", ")));
    }
    response.insert_header((HeaderName::from_static("x-llm-router-attempts"), served.attempts));
}

/// Field names come from the client: only what a header may hold is passed on, and not without end.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).take(512).collect()
}

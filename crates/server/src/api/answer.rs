//! From a parsed request to a response: the router's answer in the form that the client asked for.

use std::{rc::Rc, sync::Arc};

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::{
        Version,
        header::{self, HeaderName, HeaderValue},
    },
};
use bytes::Bytes;
use dispatch::{Caller, Route, Router, Served};
use futures_util::StreamExt;
use provider::{Error, ErrorKind, Request, Reservation};
use router::{Ensemble, RouterError};
use serde::Serialize;

use super::{
    admission::{Admitted, RequestContext},
    generated, in_pieces, translated,
};
use crate::{
    app::Live,
    connections::{Connection, Held},
    error::ApiError,
    form::{About, Form},
    limits::{Demand, Permits, RequestPermits},
    names::{Resolved, ResolvedTo},
    sse::{Source, SseBody},
    tags,
};

// Constants, so that no name is looked up at run time.
const PROVIDER: HeaderName = HeaderName::from_static("x-llm-router-provider");
const REASON: HeaderName = HeaderName::from_static("x-llm-router-reason");
const UPSTREAM: HeaderName = HeaderName::from_static("x-llm-router-upstream");
const COST_USD: HeaderName = HeaderName::from_static("x-llm-router-cost-usd");
const DROPPED_PARAMS: HeaderName = HeaderName::from_static("x-llm-router-dropped-params");
const INJECTED_PARAMS: HeaderName = HeaderName::from_static("x-llm-router-injected-params");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-llm-router-attempts");
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The media type of answers, but for a few transcripts.
pub(super) const JSON: &str = "application/json";

/// A parsed request, with the model that its name resolves to. It is large, and lives on the heap.
pub(crate) struct Prepared {
    request: Request,
    caller: Caller,
    ensemble: Option<Arc<Ensemble>>,
    /// What it holds, until it is counted; from then on the work on it shares that.
    held: (Reservation, RequestPermits),
    demand: Demand,
    form: Form,
    /// What was left out when its body was made a chat, by the client's names.
    dropped: Vec<String>,
}

impl Prepared {
    pub(crate) fn new(
        request: Request,
        resolved: Resolved,
        route: Route,
        admitted: Admitted,
        live: &Live,
        form: Form,
    ) -> Result<Box<Self>, ApiError> {
        let tags = tags::of_request(&request, &admitted.tags, &admitted.key, &live.tags)?;
        let demand = Demand::new(&request, resolved.calls(&request.head));
        admitted.wishes.check(&resolved, &request.head.model, &live.table)?;
        let Admitted { id, key, permits, reservation, at, wishes, session, .. } = admitted;
        let Resolved { to, requested } = resolved;
        let (model, ensemble) = match to {
            ResolvedTo::Named => (None, None),
            ResolvedTo::Other(name) => (Some(name), None),
            ResolvedTo::Ensemble(ensemble) => (None, Some(ensemble)),
        };
        let caller = Caller {
            request_id: id,
            key: key.id.clone(),
            team: key.team.clone(),
            tags,
            requested,
            table: live.table.clone(),
            arrived: at,
            route,
            model,
            falls_back: wishes.falls_back,
            wishes: wishes.routing,
            session,
            deadline: None,
            memory: reservation.budget().clone(),
        };
        let (held, dropped) = ((reservation, permits), Vec::new());
        Ok(Box::new(Self { request, caller, ensemble, held, demand, form, dropped }))
    }

    /// The same; these fields of the client's were left out when its body was made a chat.
    pub(crate) fn with_dropped(mut self: Box<Self>, dropped: Vec<String>) -> Box<Self> {
        self.dropped = dropped;
        self
    }

    /// The same, counted against the allowance of its key.
    pub(crate) async fn counted(mut self: Box<Self>, context: &mut RequestContext) -> Result<Box<Self>, ApiError> {
        context.set_labels(&self.caller);
        let named = self.caller.model.as_deref().unwrap_or(&self.request.head.model);
        let model = self.ensemble.is_none().then_some(named);
        context.count(&mut self.held.1.grant, model, self.demand).await?;
        if let Some(cheapest) = context.cheapest() {
            (self.caller.model, self.caller.falls_back) = (Some(cheapest), false);
        }
        Ok(self)
    }
}

/// Has one model or an ensemble answer.
pub(crate) async fn ask(
    router: &Router,
    ensemble: Option<&Ensemble>,
    request: &Request,
    caller: Caller,
) -> Result<Served, RouterError> {
    match ensemble {
        None => router.call(request, caller).await,
        // Large and rare.
        Some(ensemble) => Box::pin(router.ask(ensemble, request, caller)).await,
    }
}

/// Has the router answer and makes a response of it.
pub(crate) async fn answer(context: RequestContext, prepared: Box<Prepared>) -> HttpResponse {
    let RequestContext { app, live, mut response, version, connection, .. } = context;
    let Prepared { request, caller, ensemble, held: (reservation, permits), form, dropped, .. } = *prepared;
    let permits: Permits = Arc::new(permits);
    let request = request.holding((reservation, permits.clone()));
    let (id, memory, keep_alive) = (caller.request_id.clone(), caller.memory.clone(), live.server.keep_alive_comment);
    let about = About { request_id: id.clone(), prompt_tokens: request.estimated_prompt_tokens() };
    let name = caller.model.as_deref().unwrap_or(&request.head.model);
    if request.head.stream && ensemble.is_none() && live.table.has_early_headers(name) {
        let owner = app.clone();
        let call = async move { owner.router.call(&request, caller).await.map(|served| served.answer) };
        let form = form.streamed(&about, &memory);
        let body = SseBody::new(Source::Calling(Box::pin(call)), form, &app.cut, id, keep_alive, permits);
        add_list(&mut response, DROPPED_PARAMS, &dropped);
        return stream(response, version, body);
    }
    let model = matches!(form, Form::Chunks).then(|| name.to_owned());
    let outcome = tokio::select! {
        biased;
        outcome = ask(&app.router, ensemble.as_deref(), &request, caller) => outcome,
        () = app.cut.cancelled() => return ApiError::shutting_down().respond(response),
    };
    let mut served = match outcome {
        Ok(served) => served,
        Err(error) => return refuse(response, &error),
    };
    served.head.dropped_params.splice(0..0, dropped);
    add_route(&mut response, &served);
    if served.answer.whole().is_none() {
        let form = form.streamed(&about, &memory);
        let body = SseBody::new(Source::Relaying(served.answer), form, &app.cut, id, keep_alive, permits);
        return stream(response, version, body);
    }
    // Its memory may be needed for the answer.
    drop(request);
    let media_type = served.head.media_type.take();
    let body = match form {
        Form::OpenAi => read_whole(&mut served).await,
        Form::Chunks => generated::read(served, model.as_deref().unwrap_or_default(), &id, &memory)
            .await
            .map(|(generated, reservation)| serialised(&generated, reservation)),
        Form::Translated(translation) => translated::read(served, translation, about, &memory).await,
    };
    match body {
        Ok(body) => whole(response, (media_type.as_deref().unwrap_or(JSON), body), permits, connection),
        Err(error) => refuse(response, &error),
    }
}

fn refuse(mut response: HttpResponseBuilder, error: &RouterError) -> HttpResponse {
    if let RouterError::Failed { attempts, .. } = error {
        response.insert_header((ATTEMPTS, *attempts));
    }
    ApiError::from(error).respond(response)
}

/// Reads a whole answer to its end. It may still fail then, for everyone alike.
pub(super) async fn read_whole(served: &mut Served) -> Result<Bytes, RouterError> {
    let error = match served.answer.next().await {
        Some(Ok(frame)) => return Ok(frame.bytes),
        Some(Err(error)) => error,
        None => Error::new(ErrorKind::Protocol, "the upstream's answer is empty"),
    };
    Err(RouterError::Failed { error, attempts: served.attempts, retry_after: None })
}

/// A document, for which memory is reserved already, as JSON.
pub(super) fn serialised(document: &impl Serialize, reservation: Reservation) -> Bytes {
    // Texts and numbers always serialise.
    reservation.attach(serde_json::to_vec(document).unwrap_or_default().into())
}

/// Answers with a whole body of this media type. The permits are held until the last byte is written, because the answer of a
/// client that reads slowly still takes memory.
pub(super) fn whole(
    mut response: HttpResponseBuilder,
    (media_type, body): (&str, Bytes),
    permits: Permits,
    connection: Option<Rc<Connection>>,
) -> HttpResponse {
    response.content_type(media_type).body(Held::new(body, permits, connection))
}

fn stream(mut response: HttpResponseBuilder, version: Version, body: SseBody) -> HttpResponse {
    response
        .content_type("text/event-stream; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-cache")))
        .insert_header((ACCEL_BUFFERING, HeaderValue::from_static("no")));
    in_pieces(&mut response, version, body)
}

/// Headers that name the upstream, the reason, the attempts, the cost, and the changes to the request.
fn add_route(response: &mut HttpResponseBuilder, served: &Served) {
    let word = |word: &'static str| HeaderValue::from_static(word);
    response.insert_header((PROVIDER, word(served.provider)));
    response.insert_header((REASON, word(served.reason.as_str())));
    response.insert_header((UPSTREAM, served.upstream.as_str()));
    if let Some(cost) = served.cost {
        response.insert_header((COST_USD, cost.to_string()));
    }
    add_list(response, DROPPED_PARAMS, &served.head.dropped_params);
    add_list(response, INJECTED_PARAMS, &served.head.injected_params);
    response.insert_header((ATTEMPTS, served.attempts));
}

fn add_list(response: &mut HttpResponseBuilder, name: HeaderName, params: &[String]) {
    if !params.is_empty() {
        response.insert_header((name, printable(&params.join(", "))));
    }
}

/// Field names come from the client: only what a header may hold is passed on, and not without end.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).take(512).collect()
}

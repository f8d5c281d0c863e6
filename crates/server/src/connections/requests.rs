//! What every request of either listener has in common, whatever its path.

use std::{
    pin::Pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use actix_web::{
    Error, HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    dev::{Service, ServiceRequest, ServiceResponse},
    error::InternalError,
    http::{
        ConnectionType,
        header::{AUTHORIZATION, HeaderMap, HeaderValue},
    },
};
use bytes::Bytes;
use provider::RequestId;

use super::{
    Connection, Listener,
    connection::Begun,
    panics::{catching, caught},
};
use crate::{
    api::{REQUEST_ID, dialect::Dialect, identified, naming},
    app::App,
    auth::API_KEY,
    error::ApiError,
};

/// Passes a request on to its handler, and watches it until its answer has ended.
pub(super) fn watch<S>(
    listener: Listener,
    app: Arc<App>,
    request: ServiceRequest,
    service: &S,
) -> impl Future<Output = Result<ServiceResponse<Tracked>, Error>> + use<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<BoxBody>, Error = Error>,
    S::Future: 'static,
{
    let begun = request.conn_data::<Rc<Connection>>().map(Connection::begin);
    let (method, uri, sent_id) =
        (request.method().clone(), request.uri().clone(), request.headers().get(&REQUEST_ID).cloned());
    let dialect = Dialect::of(request.path(), request.headers());
    // Operators have no pages.
    let cors = if listener == Listener::Public { app.cors(request.headers()) } else { None };
    let preflight = cors.as_ref().and_then(|cors| cors.preflight(request.method(), request.headers()));
    let answered = preflight.or_else(|| duplicate(request.headers()).map(Err));
    let refuse = |error: ApiError| error.respond(identified(request.path(), request.headers(), &app).1);
    let handled = match answered.map(|answered| answered.unwrap_or_else(refuse)) {
        Some(response) => Err(request.into_response(response)),
        // The handler's own code until it first waits runs here.
        None => Ok(caught(|| service.call(request))),
    };
    async move {
        let outcome = match handled {
            Err(refused) => Ok(Ok(refused)),
            Ok(Ok(call)) => catching(call).await,
            Ok(Err(panicked)) => Err(panicked),
        };
        match outcome {
            Ok(response) => {
                let mut response = response?;
                close_when_stopping(&mut response, &app);
                if let Some(cors) = cors {
                    cors.add(response.headers_mut());
                }
                Ok(response.map_body(|_, body| Tracked { body: Some(body), _begun: begun, app }))
            }
            Err(panicked) => {
                let (id, mut response) = failed(sent_id.as_ref(), dialect, &app);
                if let Some(cors) = cors {
                    cors.add(response.headers_mut());
                }
                let (path, panic) = (uri.path(), panicked.0);
                tracing::error!(request_id = id.as_str(), %method, path, panic, "a handler panicked");
                Err(InternalError::from_response("a handler panicked", response).into())
            }
        }
    }
}

/// Two keys are a request that two places may read in two ways. Actix itself refuses two hosts and two lengths.
fn duplicate(headers: &HeaderMap) -> Option<ApiError> {
    let names = [(&AUTHORIZATION, "Authorization"), (&API_KEY, "x-api-key")];
    let twice = names.into_iter().find(|(name, _)| headers.get_all(*name).count() > 1);
    twice.map(|(_, name)| ApiError::duplicate_header(name))
}

/// A kept connection would bring the next request to a process that is about to end. A stream gets no such header: it may outlast
/// the stop, and some clients take the header for its end.
fn close_when_stopping(response: &mut ServiceResponse<BoxBody>, app: &App) {
    let is_stream = matches!(response.response().body().size(), BodySize::Stream);
    if !is_stream && app.is_draining.load(Ordering::Acquire) {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
}

/// The id of a request whose handler panicked, and the answer to it.
fn failed(sent_id: Option<&HeaderValue>, dialect: Dialect, app: &App) -> (RequestId, HttpResponse) {
    app.metrics.panicked();
    let id = app.request_id(sent_id.and_then(|id| id.to_str().ok()));
    let response = ApiError::panicked().respond(naming(&id, dialect));
    (id, response)
}

/// An answer's body. The request it answers is over when it is dropped.
pub(super) struct Tracked {
    body: Option<BoxBody>,
    _begun: Option<Begun>,
    app: Arc<App>,
}

impl MessageBody for Tracked {
    type Error = Error;

    fn size(&self) -> BodySize {
        self.body.as_ref().map_or(BodySize::None, MessageBody::size)
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        match caught(|| Pin::new(body).poll_next(context)) {
            Ok(polled) => polled.map(|next| next.map(|bytes| bytes.map_err(Into::into))),
            Err(panicked) => {
                self.body = None;
                self.app.metrics.panicked();
                tracing::error!(panic = panicked.0, "an answer panicked: its connection is closed");
                Poll::Ready(Some(Err(InternalError::from_response(
                    panicked.0,
                    HttpResponse::InternalServerError().finish(),
                )
                .into())))
            }
        }
    }
}

#[cfg(test)]
mod tests;

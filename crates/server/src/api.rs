//! The public routes.

mod admission;
mod answer;
pub(crate) mod batch;
mod call;
pub(crate) mod dialect;
pub(crate) mod endpoint;
mod explain;
mod generate;
pub(crate) mod generated;
mod health;
pub(crate) mod messages;
mod models;
mod operations;
mod prompt;
mod responses;
mod translated;

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder, Route,
    body::MessageBody,
    http::{
        Version,
        header::{HeaderMap, HeaderName},
    },
    web,
};
use provider::{Operation, RequestId};

pub(crate) use batch::ParsedBatch;
pub(crate) use health::{livez, readyz};
pub(crate) use prompt::Prompt;

use crate::{app::App, error::ApiError, openapi};
use dialect::Dialect;
use endpoint::Endpoint;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Every path of the public listener.
pub(crate) const ENDPOINTS: [Endpoint; 22] = [
    Endpoint::post("/v1/chat/completions", || operation(Operation::Chat)),
    Endpoint::post("/v1/completions", || operation(Operation::Completions)),
    Endpoint::post("/v1/embeddings", || operation(Operation::Embeddings)),
    Endpoint::post("/v1/rerank", || operation(Operation::Rerank)),
    Endpoint::post("/v1/score", || operation(Operation::Score)),
    Endpoint::post("/v1/audio/transcriptions", || operation(Operation::Transcriptions)),
    Endpoint::post("/v1/tokenize", || operation(Operation::Tokenize)),
    Endpoint::post("/v1/detokenize", || operation(Operation::Detokenize)),
    Endpoint::post("/v1/messages", || web::to(messages::serve)),
    Endpoint::post("/v1/messages/count_tokens", || web::to(messages::count_tokens)),
    Endpoint::post("/v1/responses", || web::to(responses::serve)),
    Endpoint::post("/v1/generate", || web::to(generate::whole)),
    Endpoint::post("/v1/generate/stream", || web::to(generate::stream)),
    Endpoint::post("/v1/chat/stream", || web::to(generate::stream)),
    Endpoint::post("/v1/generate/batch", || web::to(batch::serve)),
    Endpoint::post("/v1/route/explain", || web::to(explain::serve)),
    Endpoint::get("/v1/models", || web::to(models::list)),
    Endpoint::get("/v1/models/{name:.*}", || web::to(models::show)),
    Endpoint::get("/", || web::to(health::root)),
    Endpoint::get("/livez", || web::to(livez)),
    Endpoint::get("/readyz", || web::to(readyz)),
    Endpoint::get("/openapi.json", || web::to(openapi::public)),
];

/// Every route of the public listener.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    endpoint::register(config, &ENDPOINTS);
    config.default_service(web::to(nothing_here));
}

fn operation(operation: Operation) -> Route {
    web::to(move |request: HttpRequest, payload: web::Payload, app: web::Data<Arc<App>>| {
        operations::serve(operation, request, payload, app)
    })
}

/// The id of a request for this path with these headers, and a response that names it.
pub(crate) fn identified(path: &str, headers: &HeaderMap, app: &App) -> (RequestId, HttpResponseBuilder) {
    let id = app.request_id(headers.get(&REQUEST_ID).and_then(|id| id.to_str().ok()));
    let response = naming(&id, Dialect::of(path, headers));
    (id, response)
}

/// A response that names the request that it answers, to a client that speaks `dialect`.
pub(crate) fn naming(id: &RequestId, dialect: Dialect) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response.insert_header((REQUEST_ID, id.as_str()));
    dialect.mark(&mut response, id);
    response
}

/// A response whose body comes in pieces. HTTP/1.0 knows no chunked coding: there the body ends with the connection.
fn in_pieces(response: &mut HttpResponseBuilder, version: Version, body: impl MessageBody + 'static) -> HttpResponse {
    if version >= Version::HTTP_11 {
        return response.body(body);
    }
    let mut response = response.force_close().body(body);
    response.head_mut().no_chunking(true);
    response
}

pub(crate) fn refuse(error: &ApiError, request: &HttpRequest, app: &App) -> HttpResponse {
    error.respond(identified(request.path(), request.headers(), app).1)
}

async fn nothing_here(request: HttpRequest, app: web::Data<Arc<App>>) -> HttpResponse {
    refuse(&ApiError::no_such_path(request.path(), endpoint::suggest(request.path(), &ENDPOINTS)), &request, &app)
}

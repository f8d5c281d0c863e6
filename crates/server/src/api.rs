//! The public routes.

mod answer;
mod arrival;
pub(crate) mod batch;
pub(crate) mod explain;
mod generate;
pub(crate) mod generated;
mod health;
mod models;
mod operations;
mod prompt;

use std::sync::{Arc, atomic::Ordering};

use actix_web::{
    FromRequest, Handler, HttpRequest, HttpResponse, HttpResponseBuilder, Resource, http::header::HeaderName, web,
};
use provider::{Operation, RequestId};

pub(crate) use health::{livez, readyz};

use crate::{app::App, error::ApiError, openapi};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Every route of the public listener.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(operation("/v1/chat/completions", Operation::Chat))
        .service(operation("/v1/completions", Operation::Completions))
        .service(operation("/v1/embeddings", Operation::Embeddings))
        .service(post("/v1/generate", generate::whole))
        .service(post("/v1/generate/stream", generate::stream))
        .service(post("/v1/chat/stream", generate::stream))
        .service(post("/v1/generate/batch", batch::serve))
        .service(post("/v1/route/explain", explain::serve))
        .service(get("/v1/models", models::list))
        .service(get("/v1/models/{name:.*}", models::show))
        .service(get("/livez", livez))
        .service(get("/readyz", readyz))
        .service(get("/openapi.json", openapi::public))
        .default_service(web::to(nothing_here));
}

fn operation(path: &str, operation: Operation) -> Resource {
    post(path, move |request: HttpRequest, payload: web::Payload, app: web::Data<Arc<App>>| {
        operations::serve(operation, request, payload, app)
    })
}

/// A path that takes `GET` only.
pub(crate) fn get<A: FromRequest + 'static>(path: &str, handler: impl Handler<A, Output = HttpResponse>) -> Resource {
    web::resource(path).route(web::get().to(handler)).default_service(web::to(only_get))
}

/// A path that takes `POST` only.
pub(crate) fn post<A: FromRequest + 'static>(path: &str, handler: impl Handler<A, Output = HttpResponse>) -> Resource {
    web::resource(path).route(web::post().to(handler)).default_service(web::to(only_post))
}

/// The id of a request, and a response that names it.
fn identified(request: &HttpRequest, app: &App) -> (RequestId, HttpResponseBuilder) {
    let id = app.request_id(request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok()));
    let mut response = HttpResponse::Ok();
    response.insert_header((REQUEST_ID, id.as_str()));
    if app.is_draining.load(Ordering::Acquire) {
        // A kept connection would bring the next request to a process that is about to end.
        response.force_close();
    }
    (id, response)
}

fn refuse(error: &ApiError, request: &HttpRequest, app: &App) -> HttpResponse {
    error.respond(identified(request, app).1)
}

async fn only_get(request: HttpRequest, app: web::Data<Arc<App>>) -> HttpResponse {
    refuse(&ApiError::wrong_method("GET"), &request, &app)
}

async fn only_post(request: HttpRequest, app: web::Data<Arc<App>>) -> HttpResponse {
    refuse(&ApiError::wrong_method("POST"), &request, &app)
}

async fn nothing_here(request: HttpRequest, app: web::Data<Arc<App>>) -> HttpResponse {
    refuse(&ApiError::no_such_path(request.path()), &request, &app)
}

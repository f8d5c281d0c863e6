//! The public routes.

mod health;
mod models;
mod operations;

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use provider::Operation;

pub(crate) use health::{livez, readyz};

use crate::{app::App, error::ApiError};

/// Every route of the public listener.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(operation("/v1/chat/completions", Operation::Chat))
        .service(operation("/v1/completions", Operation::Completions))
        .service(operation("/v1/embeddings", Operation::Embeddings))
        .service(
            web::resource("/v1/models").route(web::get().to(models::list)).default_service(web::to(|| only("GET"))),
        )
        .service(
            web::resource("/v1/models/{name:.*}")
                .route(web::get().to(models::show))
                .default_service(web::to(|| only("GET"))),
        )
        .service(web::resource("/livez").route(web::get().to(livez)))
        .service(web::resource("/readyz").route(web::get().to(readyz)))
        .default_service(web::to(nothing_here));
}

fn operation(path: &str, operation: Operation) -> actix_web::Resource {
    let handle = move |request: HttpRequest, payload: web::Payload, app: web::Data<Arc<App>>| {
        operations::serve(operation, request, payload, app)
    };
    web::resource(path).route(web::post().to(handle)).default_service(web::to(|| only("POST")))
}

#[expect(clippy::unused_async, reason = "a handler")]
async fn only(method: &'static str) -> HttpResponse {
    ApiError::wrong_method(method).respond(HttpResponse::Ok())
}

async fn nothing_here(request: HttpRequest) -> HttpResponse {
    ApiError::no_such_path(request.path()).respond(HttpResponse::Ok())
}

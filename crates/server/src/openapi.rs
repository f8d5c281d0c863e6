//! The OpenAPI documents: one for each listener, at `/openapi.json`, made from the types that are read and written.
//!
//! Bodies of our own derive their schemas where they are defined. What is OpenAI's and passes through as it came has types
//! here that only describe it (`requests`, `replies`). A test of the package `e2e` compares the documents with the routes.

mod admin;
mod call;
mod errors;
mod keys;
mod messages;
mod passthrough;
mod public;
mod replies;
mod reports;
mod requests;
mod responses;

use std::sync::LazyLock;

use actix_web::HttpResponse;
use bytes::Bytes;
use utoipa::openapi::OpenApi;

pub(crate) use replies::EnsembleReport;

/// Made once: they only change with the program.
static PUBLIC: LazyLock<Bytes> = LazyLock::new(|| json(&public::document()));
static ADMIN: LazyLock<Bytes> = LazyLock::new(|| json(&admin::document()));

/// What clients can ask for.
pub(crate) async fn public() -> HttpResponse {
    answer(&PUBLIC)
}

/// What operators can ask for.
pub(crate) async fn admin() -> HttpResponse {
    answer(&ADMIN)
}

fn answer(document: &Bytes) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(document.clone())
}

fn json(document: &OpenApi) -> Bytes {
    // Its keys are strings, so it always serialises.
    serde_json::to_vec(document).unwrap_or_default().into()
}

//! The admin listener: metrics and probes without authentication, everything else with the admin token.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::{
        self,
        endpoint::{self, Endpoint},
    },
    app::App,
    auth,
    decisions::query,
    error::ApiError,
    openapi,
    reload::Reloaded,
};

/// Every path of the admin listener.
pub(crate) const ENDPOINTS: [Endpoint; 6] = [
    Endpoint::get("/metrics", || web::to(metrics)),
    Endpoint::get("/livez", || web::to(api::livez)),
    Endpoint::get("/readyz", || web::to(api::readyz)),
    Endpoint::get("/openapi.json", || web::to(openapi::admin)),
    Endpoint::post("/admin/reload", || web::to(reload)),
    Endpoint::get("/admin/decisions", || web::to(query::serve)),
];

/// Every route of the admin listener.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    endpoint::register(config, &ENDPOINTS);
    config.default_service(web::to(nothing_here));
}

async fn metrics(app: web::Data<Arc<App>>) -> HttpResponse {
    match app.metrics.render(&app.router.table(), app.router.now(), &app.memory) {
        Ok(text) => HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(text),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be written");
            HttpResponse::InternalServerError().finish()
        }
    }
}

/// What a reload changed.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReloadReply {
    /// The name of the configuration in force.
    version: String,
    /// Each setting that changed, with its old and its new value.
    changes: Vec<String>,
    /// Settings that take effect at the next start.
    waiting: Vec<&'static str>,
}

async fn reload(request: HttpRequest, app: web::Data<Arc<App>>) -> HttpResponse {
    match try_reload(&request, &app) {
        Ok(Reloaded { version, changes, waiting }) => {
            HttpResponse::Ok().json(ReloadReply { version, changes, waiting })
        }
        Err(error) => error.respond(HttpResponse::Ok()),
    }
}

fn try_reload(request: &HttpRequest, app: &App) -> Result<Reloaded, ApiError> {
    auth::operator(app, request)?;
    let reloader = app.reloader.as_ref().ok_or_else(ApiError::nothing_to_reload)?;
    reloader.reload(app).map_err(|problems| ApiError::bad_configuration(&problems))
}

async fn nothing_here(request: HttpRequest, app: web::Data<Arc<App>>) -> HttpResponse {
    let suggestion = endpoint::suggest(request.path(), &ENDPOINTS);
    api::refuse(&ApiError::no_such_admin_path(request.path(), suggestion), &request, &app)
}

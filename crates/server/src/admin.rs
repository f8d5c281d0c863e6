//! The admin listener: metrics and probes, kept off the public one.

use std::sync::Arc;

use actix_web::{HttpResponse, web};

use crate::{api, app::App};

/// Every route of the admin listener.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/metrics").route(web::get().to(metrics)))
        .service(web::resource("/livez").route(web::get().to(api::livez)))
        .service(web::resource("/readyz").route(web::get().to(api::readyz)));
}

async fn metrics(app: web::Data<Arc<App>>) -> HttpResponse {
    match app.metrics.render(&app.router.table()) {
        Ok(text) => HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(text),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be written");
            HttpResponse::InternalServerError().finish()
        }
    }
}

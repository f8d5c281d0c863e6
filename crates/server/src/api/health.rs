//! Probes. Neither looks at upstreams: a broken provider must not take the router out of the balancer as well.

use std::sync::{Arc, atomic::Ordering};

use actix_web::{HttpResponse, web};

use crate::app::App;

/// Says what this is: agents ask for it to see whether their base URL leads anywhere.
pub(crate) async fn root() -> HttpResponse {
    let text = "llm-router: the API is under /v1, and /openapi.json describes it\n";
    HttpResponse::Ok().content_type("text/plain").body(text)
}

/// The process runs.
pub(crate) async fn livez() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

/// The process takes requests.
pub(crate) async fn readyz(app: web::Data<Arc<App>>) -> HttpResponse {
    if app.is_draining.load(Ordering::Acquire) {
        return HttpResponse::ServiceUnavailable().content_type("text/plain").body("draining\n");
    }
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

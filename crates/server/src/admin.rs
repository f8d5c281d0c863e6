//! The admin listener: metrics and probes without authentication, everything else with the admin token.

pub(crate) mod keys;
pub(crate) mod reports;

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use ledger::BudgetStatus;
use provider::NanoUsd;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::{
        self,
        endpoint::{self, Endpoint},
    },
    app::App,
    auth,
    budgets::moment,
    clock,
    decisions::query,
    error::ApiError,
    openapi,
    reload::Reloaded,
};

/// Every path of the admin listener.
pub(crate) const ENDPOINTS: [Endpoint; 18] = [
    Endpoint::get("/metrics", || web::to(metrics)),
    Endpoint::get("/livez", || web::to(api::livez)),
    Endpoint::get("/readyz", || web::to(api::readyz)),
    Endpoint::get("/openapi.json", || web::to(openapi::admin)),
    Endpoint::post("/admin/reload", || web::to(reload)),
    Endpoint::get("/admin/decisions", || web::to(query::serve)),
    Endpoint::get("/admin/budgets", || web::to(budgets)),
    Endpoint::get("/admin/spend", || web::to(reports::spend)),
    Endpoint::get("/admin/savings", || web::to(reports::savings)),
    Endpoint::get("/admin/keys", || web::to(keys::list)),
    Endpoint::post("/admin/keys/create", || web::to(keys::create)),
    Endpoint::post("/admin/keys/rotate", || web::to(keys::rotate)),
    Endpoint::post("/admin/keys/disable", || web::to(keys::disable)),
    Endpoint::post("/admin/keys/enable", || web::to(keys::enable)),
    Endpoint::post("/admin/keys/terms", || web::to(keys::set_terms)),
    Endpoint::get("/admin/teams", || web::to(keys::teams)),
    Endpoint::post("/admin/teams/terms", || web::to(keys::set_team)),
    Endpoint::get("/admin/audit", || web::to(keys::audit)),
];

/// Every route of the admin listener.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    endpoint::register(config, &ENDPOINTS);
    config.default_service(web::to(nothing_here));
}

async fn metrics(app: web::Data<Arc<App>>) -> HttpResponse {
    let budgets = app.budgets.status(clock::now_ms());
    match app.metrics.render((&app.router.table(), app.router.now()), &app.memory, &budgets) {
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

/// How far a budget is used. Amounts are US dollars, exact, as text.
#[derive(Serialize, ToSchema)]
#[schema(as = BudgetEntry)]
pub(crate) struct BudgetView {
    /// `key`, `team` or `model`.
    scope: String,
    name: String,
    /// `day`, `week` or `month`.
    per: &'static str,
    limit_usd: String,
    /// Null until the ledger has said it.
    #[schema(required)]
    spent_usd: Option<String>,
    /// What calls under way may cost.
    reserved_usd: String,
    begins_anew: String,
}

/// Each budget.
#[derive(Serialize, ToSchema)]
pub(crate) struct BudgetsReply {
    budgets: Vec<BudgetView>,
}

async fn budgets(request: HttpRequest, app: web::Data<Arc<App>>) -> HttpResponse {
    if let Err(error) = auth::operator(&app, &request) {
        return error.respond(HttpResponse::Ok());
    }
    let view = |status: BudgetStatus| BudgetView {
        scope: status.scope.dimension.to_string(),
        name: status.scope.name.to_string(),
        per: status.period.as_str(),
        limit_usd: NanoUsd(status.limit_nano_usd).to_string(),
        spent_usd: status.spent_nano_usd.map(|spent| NanoUsd(spent).to_string()),
        reserved_usd: NanoUsd(status.reserved_nano_usd).to_string(),
        begins_anew: moment(status.until_ms),
    };
    let budgets = app.budgets.status(clock::now_ms()).into_iter().map(view).collect();
    HttpResponse::Ok().json(BudgetsReply { budgets })
}

async fn nothing_here(request: HttpRequest, app: web::Data<Arc<App>>) -> HttpResponse {
    let suggestion = endpoint::suggest(request.path(), &ENDPOINTS);
    api::refuse(&ApiError::no_such_admin_path(request.path(), suggestion), &request, &app)
}

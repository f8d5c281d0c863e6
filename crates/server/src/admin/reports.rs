//! `GET /admin/spend` and `GET /admin/savings`: what `llm-router spend` and `savings` say, for programs.

use std::{sync::Arc, time::Duration};

use actix_web::{HttpRequest, HttpResponse, web};
use ledger::{Snapshot, StoreError};
use serde::Serialize;
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};
use utoipa::ToSchema;

use crate::{
    app::App,
    auth,
    cli::{Asked, Report},
    clock,
    error::ApiError,
};

/// Reports that are made at a time: each reads the database in a thread of its own.
const AT_A_TIME: usize = 2;
/// How long one may take.
pub(crate) const LONGEST: Duration = Duration::from_secs(30);

/// Those that are being made.
pub(crate) struct Reports(Arc<Semaphore>);

impl Default for Reports {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_A_TIME)))
    }
}

/// A report. Amounts are US dollars, exact, as text.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReportReply {
    /// The first day, in UTC.
    since: String,
    /// The last day.
    until: String,
    /// A row for each combination of what `by` names, with the columns of the command line.
    #[schema(value_type = Vec<Object>)]
    rows: Vec<serde_json::Value>,
    /// What to know about the figures, for people.
    notes: Vec<String>,
}

pub(super) async fn spend(request: HttpRequest, app: web::Data<Arc<App>>) -> HttpResponse {
    serve(Report::Spend, &request, &app).await
}

pub(super) async fn savings(request: HttpRequest, app: web::Data<Arc<App>>) -> HttpResponse {
    serve(Report::Savings, &request, &app).await
}

async fn serve(report: Report, request: &HttpRequest, app: &App) -> HttpResponse {
    match make(report, request, app).await {
        Ok((content_type, text)) => HttpResponse::Ok().content_type(content_type).body(text),
        Err(error) => error.respond(HttpResponse::Ok()),
    }
}

async fn make(report: Report, request: &HttpRequest, app: &App) -> Result<(&'static str, String), ApiError> {
    auth::operator(app, request)?;
    let parts = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
    let parts = parts.map_err(|error| ApiError::bad_report(&error.to_string()))?;
    let config = app.file();
    let asked = Asked::of(report, &parts).and_then(|asked| asked.check(&config).map(|()| asked));
    let asked = asked.map_err(|mistake| ApiError::bad_report(&mistake))?;
    let ledger = app.stored_keys.as_ref().ok_or_else(ApiError::no_ledger)?.location().clone();
    let permit = app.reports.0.clone().try_acquire_owned().map_err(|_| ApiError::too_many_reports())?;
    let (done, made) = oneshot::channel();
    let (content_type, now_ms) = (asked.content_type(), clock::now_ms());
    let work = move || {
        let snapshot = Snapshot::open(&ledger, Some(LONGEST));
        let text: Result<String, StoreError> =
            snapshot.and_then(|mut snapshot| asked.text(&mut snapshot, &config, now_ms));
        drop(permit);
        // Whoever asked may have gone.
        drop(done.send(text));
    };
    std::thread::Builder::new().name("report".into()).spawn(work).map_err(|error| {
        tracing::error!(%error, "a thread for a report could not be started");
        ApiError::overloaded()
    })?;
    let text = timeout(LONGEST, made).await.map_err(|_| ApiError::report_too_slow(LONGEST))?;
    Ok((content_type, text.map_err(|_| ApiError::panicked())??))
}

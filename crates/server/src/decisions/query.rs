//! `GET /admin/decisions`: the latest records, the newest first.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use dispatch::Record;
use provider::ModelId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::record::RecordView;
use crate::{app::App, auth, error::ApiError};

/// Most records in one answer.
pub(crate) const MOST: usize = 1000;
const USUAL: usize = 100;

/// What is asked for: the records in which all of that holds.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    request_id: Option<String>,
    model: Option<String>,
    team: Option<String>,
    limit: Option<usize>,
}

/// The records that were asked for.
#[derive(Serialize, ToSchema)]
pub(crate) struct DecisionList<'a> {
    /// The newest first.
    decisions: Vec<RecordView<'a>>,
}

/// Answers with the records that match.
pub(crate) async fn serve(request: HttpRequest, app: web::Data<Arc<App>>) -> HttpResponse {
    match find(&request, &app) {
        Ok(response) => response,
        Err(error) => error.respond(HttpResponse::Ok()),
    }
}

fn find(request: &HttpRequest, app: &App) -> Result<HttpResponse, ApiError> {
    auth::operator(app, request)?;
    let query = web::Query::<Query>::from_query(request.query_string());
    let query = query.map_err(|error| ApiError::bad_query(&error.to_string()))?.into_inner();
    let limit = query.limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return Err(ApiError::bad_query(&format!("limit is not a number from 1 to {MOST}")));
    }
    let records = app.records.as_ref().filter(|records| records.ring.size() > 0).ok_or_else(ApiError::no_decisions)?;
    let kept = records.ring.newest(limit, |record| query.matches(record));
    let decisions = kept.iter().filter_map(|kept| RecordView::of(&kept.record, kept.ended_at)).collect();
    Ok(HttpResponse::Ok().json(DecisionList { decisions }))
}

impl Query {
    fn matches(&self, record: &Record) -> bool {
        let Some(closed) = &record.ended else { return false };
        let info = &closed.request.info;
        let is = |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|it| found == Some(it));
        is(&self.request_id, Some(info.request_id.as_str()))
            && is(&self.model, info.model.as_ref().map(ModelId::as_str))
            && is(&self.team, info.team.as_deref())
    }
}

//! Keys and teams in the database, for operators: made, rotated, disabled, changed, and who did what.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use ledger::{AuditRecord, KeyRecord, TeamRecord};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use settings::Config;
use utoipa::ToSchema;

use crate::{
    app::App,
    auth, clock,
    error::ApiError,
    stored_keys::{
        Follower,
        actions::{ActionError, Actions, NewKey},
    },
};

const ACTOR: &str = "admin API";
const MAX_BODY: usize = 64 << 10;
/// Changes that are listed.
const MOST_CHANGES: i64 = 1000;
const HOUR_MS: i64 = 60 * 60 * 1000;

/// A key that is to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRequest {
    /// Its name in logs and in the ledger.
    #[schema(pattern = "^[A-Za-z0-9._-]{1,64}$")]
    id: String,
    /// Who pays.
    #[schema(pattern = "^[A-Za-z0-9._-]{1,64}$")]
    team: String,
    /// After how many hours it is refused; never, if it is left out.
    #[serde(default)]
    expires_in_hours: Option<u32>,
    /// What it may use: models, direct, limits, budgets, tags and `may_wish`, as in the configuration file.
    #[serde(default)]
    terms: Map<String, Value>,
}

/// A key that is named.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyName {
    id: String,
}

/// A key that is to get another secret.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    id: String,
    /// How long the old secret is let in as well.
    #[serde(default = "a_day")]
    overlap_hours: u32,
}

fn a_day() -> u32 {
    24
}

/// What a key, or the keys of a team, may use from now on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TermsRequest {
    id: String,
    /// As for a new key; a team has limits and budgets. What is left out holds no more.
    terms: Map<String, Value>,
}

/// A secret, which is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct SecretReply {
    id: String,
    /// What the client sends.
    key: String,
}

/// A key without its secrets.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyEntry)]
pub(crate) struct KeyView {
    id: String,
    team: String,
    #[schema(value_type = Object)]
    terms: Value,
    created_at_ms: i64,
    #[schema(required)]
    expires_at_ms: Option<i64>,
    #[schema(required)]
    disabled_at_ms: Option<i64>,
    /// How many secrets are let in; two while it is rotated.
    secrets: usize,
}

/// The keys in the database.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeysReply {
    keys: Vec<KeyView>,
}

/// What the keys of a team may use together.
#[derive(Serialize, ToSchema)]
#[schema(as = TeamEntry)]
pub(crate) struct TeamView {
    id: String,
    #[schema(value_type = Object)]
    terms: Value,
}

/// The teams in the database.
#[derive(Serialize, ToSchema)]
pub(crate) struct TeamsReply {
    teams: Vec<TeamView>,
}

/// A change that was made.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub(crate) struct AuditView {
    number: i64,
    at_ms: i64,
    actor: String,
    /// `key_created`, `key_rotated`, `key_disabled`, `key_enabled`, `key_changed` or `team_changed`.
    action: String,
    /// The name of the key or the team.
    subject: String,
    #[schema(value_type = Object)]
    detail: Value,
}

/// The latest changes, the newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuditReply {
    changes: Vec<AuditView>,
}

/// A change that was made.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChangedReply {
    id: String,
}

pub(super) async fn list(request: HttpRequest, app: web::Data<Arc<App>>) -> HttpResponse {
    ask(&request, &app, |database| {
        let directory = database.actions().keys()?.directory()?;
        Ok(KeysReply { keys: directory.keys.into_iter().map(KeyView::new).collect() })
    })
    .await
}

pub(super) async fn teams(request: HttpRequest, app: web::Data<Arc<App>>) -> HttpResponse {
    ask(&request, &app, |database| {
        let directory = database.actions().keys()?.directory()?;
        let view = |TeamRecord { id, terms }| TeamView { id, terms: json(&terms) };
        Ok(TeamsReply { teams: directory.teams.into_iter().map(view).collect() })
    })
    .await
}

pub(super) async fn audit(request: HttpRequest, app: web::Data<Arc<App>>) -> HttpResponse {
    ask(&request, &app, |database| {
        let changes = database.actions().keys()?.audit(MOST_CHANGES)?;
        Ok(AuditReply { changes: changes.into_iter().map(AuditView::new).collect() })
    })
    .await
}

pub(super) async fn create(request: HttpRequest, payload: web::Payload, app: web::Data<Arc<App>>) -> HttpResponse {
    change(&request, payload, &app, |database, KeyRequest { id, team, expires_in_hours, terms }| {
        let expires_at_ms = expires_in_hours.map(|hours| clock::now_ms() + i64::from(hours) * HOUR_MS);
        let new = NewKey { id: id.clone(), team, terms: Value::Object(terms).to_string(), expires_at_ms };
        let key = database.actions().create(new)?;
        Ok(SecretReply { id, key })
    })
    .await
}

pub(super) async fn rotate(request: HttpRequest, payload: web::Payload, app: web::Data<Arc<App>>) -> HttpResponse {
    change(&request, payload, &app, |database, Rotation { id, overlap_hours }| {
        let key = database.actions().rotate(&id, i64::from(overlap_hours) * HOUR_MS)?;
        Ok(SecretReply { id, key })
    })
    .await
}

pub(super) async fn disable(request: HttpRequest, payload: web::Payload, app: web::Data<Arc<App>>) -> HttpResponse {
    set_disabled(&request, payload, &app, true).await
}

pub(super) async fn enable(request: HttpRequest, payload: web::Payload, app: web::Data<Arc<App>>) -> HttpResponse {
    set_disabled(&request, payload, &app, false).await
}

async fn set_disabled(request: &HttpRequest, payload: web::Payload, app: &App, is_disabled: bool) -> HttpResponse {
    change(request, payload, app, move |database, KeyName { id }| {
        database.actions().set_disabled(&id, is_disabled)?;
        Ok(ChangedReply { id })
    })
    .await
}

pub(super) async fn set_terms(request: HttpRequest, payload: web::Payload, app: web::Data<Arc<App>>) -> HttpResponse {
    change(&request, payload, &app, |database, TermsRequest { id, terms }| {
        database.actions().set_terms(&id, &Value::Object(terms).to_string())?;
        Ok(ChangedReply { id })
    })
    .await
}

pub(super) async fn set_team(request: HttpRequest, payload: web::Payload, app: web::Data<Arc<App>>) -> HttpResponse {
    change(&request, payload, &app, |database, TermsRequest { id, terms }| {
        database.actions().set_team(&id, &Value::Object(terms).to_string())?;
        Ok(ChangedReply { id })
    })
    .await
}

/// Answers a question to the database.
async fn ask<T: Serialize + Send + 'static>(
    request: &HttpRequest,
    app: &App,
    work: impl FnOnce(&Database) -> Result<T, ActionError> + Send + 'static,
) -> HttpResponse {
    match Database::of(request, app) {
        Ok(database) => answer(move || work(&database)).await,
        Err(error) => error.respond(HttpResponse::Ok()),
    }
}

/// Makes a change that the body describes.
async fn change<B: DeserializeOwned + Send + 'static, T: Serialize + Send + 'static>(
    request: &HttpRequest,
    payload: web::Payload,
    app: &App,
    work: impl FnOnce(&Database, B) -> Result<T, ActionError> + Send + 'static,
) -> HttpResponse {
    let body = match Database::of(request, app) {
        Ok(database) => read(payload).await.map(|body| (database, body)),
        Err(error) => Err(error),
    };
    match body {
        Ok((database, body)) => {
            let change = move || work(&database, body).inspect(|_| database.follower.refresh());
            answer(change).await
        }
        Err(error) => error.respond(HttpResponse::Ok()),
    }
}

/// Where keys are kept, and what the file says.
struct Database {
    follower: Arc<Follower>,
    config: Config,
}

impl Database {
    /// Of an operator.
    fn of(request: &HttpRequest, app: &App) -> Result<Self, ApiError> {
        auth::operator(app, request)?;
        let follower = app.stored_keys.clone().ok_or_else(ApiError::no_stored_keys)?;
        Ok(Self { follower, config: app.file() })
    }

    fn actions(&self) -> Actions<'_> {
        Actions::new(self.follower.location(), &self.config, ACTOR)
    }
}

async fn read<B: DeserializeOwned>(payload: web::Payload) -> Result<B, ApiError> {
    let body: Bytes = match payload.to_bytes_limited(MAX_BODY).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return Err(ApiError::body_broken()),
        Err(_) => return Err(ApiError::body_too_large(MAX_BODY)),
    };
    serde_json::from_slice(&body).map_err(|error| ApiError::bad_admin_body(&error.to_string()))
}

/// In a thread that may block, and where no runtime is.
async fn answer<T: Serialize + Send + 'static>(
    work: impl FnOnce() -> Result<T, ActionError> + Send + 'static,
) -> HttpResponse {
    let (done, answered) = tokio::sync::oneshot::channel();
    let started = std::thread::Builder::new().name("keys-change".into()).spawn(move || drop(done.send(work())));
    let outcome = match started {
        Ok(_) => answered.await,
        Err(error) => {
            tracing::error!(%error, "a thread for a change of keys could not be started");
            return ApiError::overloaded().respond(HttpResponse::Ok());
        }
    };
    match outcome {
        Ok(Ok(reply)) => HttpResponse::Ok().json(reply),
        Ok(Err(error)) => ApiError::from(error).respond(HttpResponse::Ok()),
        Err(_) => ApiError::panicked().respond(HttpResponse::Ok()),
    }
}

/// What stands in the database is JSON, because it was checked before.
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

impl KeyView {
    fn new(key: KeyRecord) -> Self {
        let now_ms = clock::now_ms();
        let is_valid = |expires_at_ms: Option<i64>| expires_at_ms.is_none_or(|expires_at_ms| expires_at_ms > now_ms);
        Self {
            terms: json(&key.terms),
            secrets: key.secrets.iter().filter(|secret| is_valid(secret.expires_at_ms)).count(),
            id: key.id,
            team: key.team,
            created_at_ms: key.created_at_ms,
            expires_at_ms: key.expires_at_ms,
            disabled_at_ms: key.disabled_at_ms,
        }
    }
}

impl AuditView {
    fn new(change: AuditRecord) -> Self {
        let AuditRecord { number, at_ms, actor, action, subject, detail } = change;
        Self { number, at_ms, actor, action, subject, detail: json(&detail) }
    }
}

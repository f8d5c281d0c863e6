//! `GET /v1/models`: the public names, in OpenAI's shape, or in Anthropic's for its clients.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use dialects::messages;
use serde_json::{Value, json};

use super::{ENDPOINTS, dialect::Dialect, endpoint, identified};
use crate::{app::App, auth, error::ApiError};

fn model(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": 0, "owned_by": "llm-router"})
}

/// Every model that the key may use, and every task and ensemble as one.
pub(crate) async fn list(request: HttpRequest, app: web::Data<Arc<App>>) -> HttpResponse {
    let (_, mut response) = identified(request.path(), request.headers(), &app);
    let live = app.live();
    let key = match auth::client(&app, &live, &request) {
        Ok(key) => key,
        Err(error) => return error.respond(response),
    };
    let models = live.table.models().map(|known| known.spec.name.as_str()).filter(|name| key.may_use(name)).map(model);
    let models: Vec<Value> = models.chain(live.names.models(&key).map(|name| model(&name))).collect();
    match Dialect::of(request.path(), request.headers()) {
        Dialect::OpenAi => response.json(json!({"object": "list", "data": models})),
        Dialect::Anthropic => {
            let ids = models.iter().filter_map(|model| model["id"].as_str());
            response.content_type("application/json").body(messages::models(ids))
        }
    }
}

/// One model; its name may contain slashes.
pub(crate) async fn show(request: HttpRequest, name: web::Path<String>, app: web::Data<Arc<App>>) -> HttpResponse {
    let (_, mut response) = identified(request.path(), request.headers(), &app);
    let live = app.live();
    let key = match auth::client(&app, &live, &request) {
        Ok(key) => key,
        Err(error) => return error.respond(response),
    };
    let is_known = |name: &str| {
        let is_model = live.table.models().any(|known| known.spec.name.as_str() == name) && key.may_use(name);
        is_model || live.names.models(&key).any(|known| known == name)
    };
    if is_known(&name) {
        return match Dialect::of(request.path(), request.headers()) {
            Dialect::OpenAi => response.json(model(&name)),
            Dialect::Anthropic => response.content_type("application/json").body(messages::model(&name)),
        };
    }
    let tidy = name.split('/').filter(|segment| !segment.is_empty()).collect::<Vec<_>>().join("/");
    if tidy.is_empty() || is_known(&tidy) {
        let path = request.path();
        return ApiError::no_such_path(path, endpoint::suggest(path, &ENDPOINTS)).respond(response);
    }
    ApiError::no_such_model(&name).respond(response)
}

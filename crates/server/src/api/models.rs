//! `GET /v1/models`: the public names, in OpenAI's shape, or in Anthropic's for its clients. Aliases have a member `alias_of` more,
//! which clients of OpenAI's API pass over.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use dialects::messages;
use serde_json::{Value, json};

use super::{ENDPOINTS, dialect::Dialect, endpoint, identified};
use crate::{app::App, auth, error::ApiError, names::ShownAlias};

fn model(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": 0, "owned_by": "llm-router"})
}

fn alias(alias: &ShownAlias<'_>) -> Value {
    let mut entry = model(alias.name);
    if let (Some(entry), Some(target)) = (entry.as_object_mut(), alias.target) {
        entry.insert("alias_of".to_owned(), target.into());
    }
    entry
}

/// Every model that the key may use, and every task, ensemble and alias as one. Patterns of aliases are no names.
pub(crate) async fn list(request: HttpRequest, app: web::Data<Arc<App>>) -> HttpResponse {
    let (_, mut response) = identified(request.path(), request.headers(), &app);
    let live = app.live();
    let key = match auth::client(&app, &live, &request) {
        Ok(key) => key,
        Err(error) => return error.respond(response),
    };
    let models = live.table.models().map(|known| known.spec.name.as_str()).filter(|name| key.may_use(name)).map(model);
    let models = models.chain(live.names.models(&key).map(|name| model(&name)));
    let models: Vec<Value> = models.chain(live.names.aliases(&key).map(|shown| alias(&shown))).collect();
    match Dialect::of(request.path(), request.headers()) {
        Dialect::OpenAi => response.json(json!({"object": "list", "data": models})),
        Dialect::Anthropic => {
            let ids = models.iter().filter_map(|model| model["id"].as_str());
            response.content_type("application/json").body(messages::models(ids))
        }
    }
}

/// One model; its name may contain slashes. Also what a pattern of aliases stands for.
pub(crate) async fn show(request: HttpRequest, name: web::Path<String>, app: web::Data<Arc<App>>) -> HttpResponse {
    let (_, mut response) = identified(request.path(), request.headers(), &app);
    let live = app.live();
    let key = match auth::client(&app, &live, &request) {
        Ok(key) => key,
        Err(error) => return error.respond(response),
    };
    let found = |name: &str| {
        let is_model = live.table.models().any(|known| known.spec.name.as_str() == name) && key.may_use(name);
        if is_model || live.names.models(&key).any(|known| known == name) {
            return Some(model(name));
        }
        live.names.alias(name, &live.table, &key).map(|shown| alias(&shown))
    };
    if let Some(found) = found(&name) {
        return match Dialect::of(request.path(), request.headers()) {
            Dialect::OpenAi => response.json(found),
            Dialect::Anthropic => response.content_type("application/json").body(messages::model(&name)),
        };
    }
    let tidy = name.split('/').filter(|segment| !segment.is_empty()).collect::<Vec<_>>().join("/");
    if tidy.is_empty() || found(&tidy).is_some() {
        let path = request.path();
        return ApiError::no_such_path(path, endpoint::suggest(path, &ENDPOINTS)).respond(response);
    }
    ApiError::no_such_model(&name).respond(response)
}

//! `GET /v1/models`: the public names, in OpenAI's shape.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::{ENDPOINTS, endpoint, identified};
use crate::{app::App, error::ApiError};

fn model(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": 0, "owned_by": "llm-router"})
}

/// Every model, and every task and ensemble as one.
pub(crate) async fn list(request: HttpRequest, app: web::Data<Arc<App>>) -> HttpResponse {
    let (_, mut response) = identified(request.headers(), &app);
    let live = app.live();
    if let Err(error) = live.keyring.authenticate(request.headers()) {
        return error.respond(response);
    }
    let others = live.names.models();
    let models: Vec<Value> =
        live.table.models().map(|name| model(name.as_str())).chain(others.map(|name| model(&name))).collect();
    response.json(json!({"object": "list", "data": models}))
}

/// One model; its name may contain slashes.
pub(crate) async fn show(request: HttpRequest, name: web::Path<String>, app: web::Data<Arc<App>>) -> HttpResponse {
    let (_, mut response) = identified(request.headers(), &app);
    let live = app.live();
    if let Err(error) = live.keyring.authenticate(request.headers()) {
        return error.respond(response);
    }
    let is_known = |name: &str| {
        live.table.models().any(|known| known.as_str() == name) || live.names.models().any(|known| known == name)
    };
    if is_known(&name) {
        return response.json(model(&name));
    }
    let tidy = name.split('/').filter(|segment| !segment.is_empty()).collect::<Vec<_>>().join("/");
    if tidy.is_empty() || is_known(&tidy) {
        let path = request.path();
        return ApiError::no_such_path(path, endpoint::suggest(path, &ENDPOINTS)).respond(response);
    }
    ApiError::no_such_model(&name).respond(response)
}

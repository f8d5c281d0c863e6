//! `GET /v1/models`: the public names, in OpenAI's shape.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::identified;
use crate::{app::App, error::ApiError};

fn model(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": 0, "owned_by": "llm-router"})
}

/// Every model.
pub(crate) async fn list(request: HttpRequest, app: web::Data<Arc<App>>) -> HttpResponse {
    let (_, mut response) = identified(&request, &app);
    if let Err(error) = app.live().keyring.authenticate(request.headers()) {
        return error.respond(response);
    }
    let table = app.router.table();
    let models: Vec<Value> = table.models().map(|name| model(name.as_str())).collect();
    response.json(json!({"object": "list", "data": models}))
}

/// One model; its name may contain slashes.
pub(crate) async fn show(request: HttpRequest, name: web::Path<String>, app: web::Data<Arc<App>>) -> HttpResponse {
    let (_, mut response) = identified(&request, &app);
    if let Err(error) = app.live().keyring.authenticate(request.headers()) {
        return error.respond(response);
    }
    if app.router.table().models().any(|known| known.as_str() == *name) {
        return response.json(model(&name));
    }
    ApiError::no_such_model(&name).respond(response)
}

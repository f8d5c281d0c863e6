//! `POST /v1/generate`, `/v1/generate/stream`, `/v1/chat/stream`: a prompt or messages in, text out.

use std::{borrow::Cow, sync::Arc};

use actix_web::{HttpRequest, HttpResponse, web};
use dispatch::Route;

use super::{admission::Admitted, answer::Prepared, call, prompt::Prompt};
use crate::{
    app::{App, Live},
    error::ApiError,
    form::Form,
};

/// Answers with the whole text.
pub(crate) async fn whole(request: HttpRequest, payload: web::Payload, app: web::Data<Arc<App>>) -> HttpResponse {
    serve(&request, payload, &app, false).await
}

/// Answers with the text in pieces.
pub(crate) async fn stream(request: HttpRequest, payload: web::Payload, app: web::Data<Arc<App>>) -> HttpResponse {
    serve(&request, payload, &app, true).await
}

async fn serve(request: &HttpRequest, payload: web::Payload, app: &Arc<App>, stream: bool) -> HttpResponse {
    let prepare = move |admitted: Admitted, live: &Live| prepare(admitted, live, stream);
    call::serve(Route::Generate, request, payload, app, prepare).await
}

fn prepare(mut admitted: Admitted, live: &Live, stream: bool) -> Result<Box<Prepared>, ApiError> {
    // The body, and the chat that its fields are made into.
    admitted.reservation.resize(2 * admitted.body.len())?;
    let body = std::mem::take(&mut admitted.body);
    let mut prompt = Prompt::parse(&body)?;
    let (model, task) = (prompt.take_text("model")?, prompt.take_text("task")?);
    admitted.task = admitted.task.or_else(|| task.map(Cow::into_owned));
    let resolved = admitted.resolve(live, model.as_deref())?;
    let name = resolved.name(model.as_deref()).to_owned();
    let request = prompt.into_chat(&name, stream, live.server.limits)?;
    admitted.reservation.resize(request.body_bytes())?;
    Prepared::new(request, resolved, Route::Generate, admitted, live, Form::Chunks)
}

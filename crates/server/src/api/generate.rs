//! `POST /v1/generate`, `/v1/generate/stream`, `/v1/chat/stream`: a prompt or messages in, text out.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use router::Route;

use super::{
    answer::{Ask, answer},
    arrival::{Arrival, Visit},
    prompt::Prompt,
};
use crate::{app::App, error::ApiError, sse::Form};

/// Answers with the whole text.
pub(crate) async fn whole(request: HttpRequest, payload: web::Payload, app: web::Data<Arc<App>>) -> HttpResponse {
    serve(&request, payload, &app, false).await
}

/// Answers with the text in pieces.
pub(crate) async fn stream(request: HttpRequest, payload: web::Payload, app: web::Data<Arc<App>>) -> HttpResponse {
    serve(&request, payload, &app, true).await
}

async fn serve(request: &HttpRequest, payload: web::Payload, app: &Arc<App>, stream: bool) -> HttpResponse {
    let mut visit = Visit::new(Route::Generate, request, app);
    let understood = match visit.receive(request, payload).await {
        Ok(arrival) => understand(arrival, &visit, stream),
        Err(error) => Err(error),
    };
    match understood {
        Ok(ask) => answer(visit, ask).await,
        Err(error) => visit.refuse(&error),
    }
}

fn understand(mut arrival: Arrival, visit: &Visit, stream: bool) -> Result<Ask, ApiError> {
    let mut prompt = Prompt::parse(&arrival.body)?;
    let (model, task) = (prompt.take_text("model")?, prompt.take_text("task")?);
    arrival.task = arrival.task.or(task);
    let meant = visit.resolve(&arrival, model.as_deref())?;
    let name = meant.name(model.as_deref()).to_owned();
    let request = prompt.into_chat(&name, stream, visit.live.server.limits)?;
    Ok(Ask::new(request, meant, Route::Generate, arrival, visit, Form::Chunks))
}

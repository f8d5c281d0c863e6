//! `POST /v1/generate`, `/v1/generate/stream`, `/v1/chat/stream`: a prompt or messages in, text out.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use router::Route;

use super::{
    admission::{Admitted, RequestContext},
    answer::{Prepared, answer},
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
    let mut context = RequestContext::new(Route::Generate, request, app);
    let prepared = match context.receive(request, payload).await {
        Ok(admitted) => prepare(admitted, &mut context, stream),
        Err(error) => Err(error),
    };
    match prepared {
        Ok(ask) => answer(context, ask).await,
        Err(error) => context.refuse(&error),
    }
}

fn prepare(mut admitted: Admitted, context: &mut RequestContext, stream: bool) -> Result<Prepared, ApiError> {
    let mut prompt = Prompt::parse(&admitted.body)?;
    let (model, task) = (prompt.take_text("model")?, prompt.take_text("task")?);
    admitted.task = admitted.task.or(task);
    let resolved = context.resolve(&admitted, model.as_deref())?;
    let name = resolved.name(model.as_deref()).to_owned();
    let request = prompt.into_chat(&name, stream, context.live.server.limits)?;
    context.charge(&mut admitted, resolved.model(&name), resolved.calls(&request.head))?;
    Ok(Prepared::new(request, resolved, Route::Generate, admitted, context, Form::Chunks))
}

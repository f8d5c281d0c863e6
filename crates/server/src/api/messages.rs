//! `POST /v1/messages` and `/v1/messages/count_tokens`: Anthropic's API.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use dialects::messages::{to_chat, to_counted_chat};
use dispatch::Route;
use offload::long_work;
use provider::{Operation, Request};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    admission::{Admitted, RequestContext},
    call, translated,
};
use crate::{
    app::{App, Live},
    error::ApiError,
    form::Translation,
};

/// Answers a message, whole or as events.
pub(crate) async fn serve(request: HttpRequest, payload: web::Payload, app: web::Data<Arc<App>>) -> HttpResponse {
    let prepare = |admitted: Admitted, live: &Live| {
        translated::prepare(admitted, live, Route::Messages, to_chat, Translation::Messages, "messages")
    };
    call::serve(Route::Messages, &request, payload, &app, prepare).await
}

/// The size of a prompt.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenCount {
    /// An estimate by the size of the prompt: models count in different ways, and none is asked.
    input_tokens: u64,
}

/// Estimates the tokens of a prompt. No upstream is called.
pub(crate) async fn count_tokens(
    request: HttpRequest,
    payload: web::Payload,
    app: web::Data<Arc<App>>,
) -> HttpResponse {
    let mut context = RequestContext::new(Route::Messages, &request, &app);
    let counted = match context.receive_question(&request, payload).await {
        Ok(admitted) => {
            let live = context.live.clone();
            long_work(admitted.body.len(), move || count(admitted, &live)).await
        }
        Err(error) => Err(error),
    };
    match counted {
        Ok(count) => context.response.json(count),
        Err(error) => error.respond(context.response),
    }
}

fn count(mut admitted: Admitted, live: &Live) -> Result<TokenCount, ApiError> {
    let chat = translated::translate(&mut admitted, to_counted_chat)?;
    let request = Request::parse(Operation::Chat, chat.body.into(), live.server.limits)?;
    // A client that counts for a model which is not there should know before it asks that.
    admitted.resolve(live, Some(&request.head.model))?;
    Ok(TokenCount { input_tokens: request.estimated_prompt_tokens() })
}

//! `POST /v1/chat/completions`, `/v1/embeddings` and the other calls of one operation: from bytes to the router and back.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, http::header::CONTENT_TYPE, web};
use provider::{Operation, Request};

use super::{admission::Admitted, answer::Prepared, call};
use crate::{
    app::{App, Live},
    error::ApiError,
    form::Form,
};

/// Serves one request.
pub(crate) async fn serve(
    operation: Operation,
    request: HttpRequest,
    payload: web::Payload,
    app: web::Data<Arc<App>>,
) -> HttpResponse {
    // A form's says where its parts begin.
    let content_type = request.headers().get(CONTENT_TYPE).filter(|_| operation == Operation::Transcriptions).cloned();
    let prepare = move |admitted: Admitted, live: &Live| {
        let content_type = content_type.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default();
        prepare((operation, content_type), admitted, live)
    };
    call::serve(operation.into(), &request, payload, &app, prepare).await
}

fn prepare(
    (operation, content_type): (Operation, &str),
    admitted: Admitted,
    live: &Live,
) -> Result<Box<Prepared>, ApiError> {
    let request = match operation {
        Operation::Transcriptions => Request::parse_form(admitted.body.clone(), content_type),
        Operation::Chat
        | Operation::Completions
        | Operation::Embeddings
        | Operation::Rerank
        | Operation::Score
        | Operation::Tokenize
        | Operation::Detokenize => Request::parse(operation, admitted.body.clone(), live.server.limits),
    }?;
    let mut resolved = admitted.resolve(live, Some(&request.head.model))?;
    if operation != Operation::Chat {
        resolved = resolved.single(ApiError::ensemble_is_for_chats)?;
    }
    Prepared::new(request, resolved, operation.into(), admitted, live, Form::OpenAi)
}

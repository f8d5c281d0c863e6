//! `POST /v1/chat/completions`, `/v1/completions`, `/v1/embeddings`: from bytes to the router and back.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
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
    let prepare = move |admitted: Admitted, live: &Live| prepare(operation, admitted, live);
    call::serve(operation.into(), &request, payload, &app, prepare).await
}

fn prepare(operation: Operation, admitted: Admitted, live: &Live) -> Result<Box<Prepared>, ApiError> {
    let request = Request::parse(operation, admitted.body.clone(), live.server.limits)?;
    let resolved = admitted.resolve(live, Some(&request.head.model))?;
    let resolved = match operation {
        Operation::Chat => resolved,
        Operation::Completions | Operation::Embeddings => resolved.single(ApiError::ensemble_is_for_chats)?,
    };
    Prepared::new(request, resolved, operation.into(), admitted, live, Form::OpenAi)
}

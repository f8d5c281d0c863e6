//! `POST /v1/chat/completions`, `/v1/completions`, `/v1/embeddings`: from bytes to the router and back.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use provider::{Operation, Request};

use super::{
    admission::{Admitted, RequestContext},
    answer::{Prepared, answer},
};
use crate::{app::App, error::ApiError, names::Resolved, sse::Form};

/// Serves one request.
pub(crate) async fn serve(
    operation: Operation,
    request: HttpRequest,
    payload: web::Payload,
    app: web::Data<Arc<App>>,
) -> HttpResponse {
    let mut context = RequestContext::new(operation.into(), &request, &app);
    let prepared = match context.receive(&request, payload).await {
        Ok(admitted) => prepare(operation, admitted, &mut context),
        Err(error) => Err(error),
    };
    match prepared {
        Ok(ask) => answer(context, ask).await,
        Err(error) => context.refuse(&error),
    }
}

fn prepare(operation: Operation, mut admitted: Admitted, context: &mut RequestContext) -> Result<Prepared, ApiError> {
    let request = Request::parse(operation, admitted.body.clone(), context.live.server.limits)?;
    let resolved = context.resolve(&admitted, Some(&request.head.model))?;
    let resolved = match operation {
        Operation::Chat => resolved,
        Operation::Completions | Operation::Embeddings => {
            resolved.single(ApiError::ensemble_is_for_chats)?.map_or(Resolved::Named, Resolved::Other)
        }
    };
    context.charge(&mut admitted, resolved.model(&request.head.model), resolved.calls(&request.head))?;
    Ok(Prepared::new(request, resolved, operation.into(), admitted, context, Form::OpenAi))
}

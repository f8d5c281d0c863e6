//! `POST /v1/chat/completions`, `/v1/completions`, `/v1/embeddings`: from bytes to the router and back.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use offload::long_work;
use provider::{Operation, Request};

use super::{
    admission::{Admitted, RequestContext},
    answer::{Prepared, answer},
};
use crate::{
    app::{App, Live},
    error::ApiError,
    sse::Form,
};

/// Serves one request.
pub(crate) async fn serve(
    operation: Operation,
    request: HttpRequest,
    payload: web::Payload,
    app: web::Data<Arc<App>>,
) -> HttpResponse {
    let mut context = RequestContext::new(operation.into(), &request, &app);
    let prepared = match context.receive(&request, payload).await {
        Ok(admitted) => {
            let live = context.live.clone();
            long_work(admitted.body.len(), move || prepare(operation, admitted, &live)).await
        }
        Err(error) => Err(error),
    };
    let counted = match prepared {
        Ok(prepared) => prepared.counted(&mut context).await,
        Err(error) => Err(error),
    };
    match counted {
        // On the heap: the future of the whole answer is large, and every layer above would move it with its own.
        Ok(prepared) => Box::pin(answer(context, prepared)).await,
        Err(error) => context.refuse(&error).await,
    }
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

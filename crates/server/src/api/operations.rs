//! `POST /v1/chat/completions`, `/v1/completions`, `/v1/embeddings`: from bytes to the router and back.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use provider::{Operation, Request};

use super::{
    answer::{Ask, answer},
    arrival::{Arrival, Visit},
};
use crate::{app::App, error::ApiError, names::Meant, sse::Form};

/// Serves one request.
pub(crate) async fn serve(
    operation: Operation,
    request: HttpRequest,
    payload: web::Payload,
    app: web::Data<Arc<App>>,
) -> HttpResponse {
    let mut visit = Visit::new(operation.into(), &request, &app);
    let understood = match visit.receive(&request, payload).await {
        Ok(arrival) => understand(operation, arrival, &visit),
        Err(error) => Err(error),
    };
    match understood {
        Ok(ask) => answer(visit, ask).await,
        Err(error) => visit.refuse(&error),
    }
}

fn understand(operation: Operation, arrival: Arrival, visit: &Visit) -> Result<Ask, ApiError> {
    let request = Request::parse(operation, arrival.body.clone(), visit.live.server.limits)?;
    let meant = visit.resolve(&arrival, Some(&request.head.model))?;
    let meant = match operation {
        Operation::Chat => meant,
        Operation::Completions | Operation::Embeddings => {
            meant.single(ApiError::ensemble_is_for_chats)?.map_or(Meant::Named, Meant::Other)
        }
    };
    Ok(Ask::new(request, meant, operation.into(), arrival, visit, Form::OpenAi))
}

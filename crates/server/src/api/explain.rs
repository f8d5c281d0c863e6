//! `POST /v1/route/explain`: how a chat would be routed, without making the call.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use dispatch::Route;
use offload::long_work;
use provider::{Operation, Request};
use router::{Decision, Model};

use super::admission::{Admitted, RequestContext};
use crate::{app::App, decisions::DecisionView, error::ApiError};

/// Explains one request.
pub(crate) async fn serve(request: HttpRequest, payload: web::Payload, app: web::Data<Arc<App>>) -> HttpResponse {
    let mut context = RequestContext::new(Route::Chat, &request, &app);
    let explained = match context.receive_question(&request, payload).await {
        Ok(admitted) => explain(admitted, &context).await,
        Err(error) => Err(error),
    };
    match explained {
        Ok(Explained { model, decision, prompt_tokens }) => {
            let version = &context.live.table.version;
            context.response.json(DecisionView::new(&model, &decision, prompt_tokens, version))
        }
        Err(error) => error.respond(context.response),
    }
}

/// The decision that would be made for a request.
struct Explained {
    model: Arc<Model>,
    decision: Decision,
    /// By the size of the body.
    prompt_tokens: u64,
}

async fn explain(admitted: Admitted, context: &RequestContext) -> Result<Explained, ApiError> {
    let limits = context.live.server.limits;
    let parsed = long_work(admitted.body.len(), move || {
        (Request::parse(Operation::Chat, admitted.body.clone(), limits), admitted)
    });
    let (request, admitted) = parsed.await;
    let request = request?;
    let resolved = admitted.resolve(&context.live, Some(&request.head.model))?;
    let model = resolved.single(ApiError::ensemble_has_no_decision)?;
    let table = &context.live.table;
    let conversation = dispatch::conversation(&request, admitted.session.as_deref(), admitted.key.id.as_deref());
    let router = &context.app.router;
    let explained = router.explain(table, (&request, conversation), model.as_deref(), admitted.falls_back);
    let (model, decision) = explained.map_err(|error| ApiError::from(&error))?;
    Ok(Explained { model, decision, prompt_tokens: request.estimated_prompt_tokens() })
}

//! `POST /v1/route/explain`: how a chat would be routed, without making the call.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use dispatch::Route;
use offload::long_work;
use provider::{Operation, Request};
use router::{Decision, Facts, Model};

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
        Ok(Explained { model, requested, facts, decision }) => {
            let view = DecisionView::new(&model, &decision, &facts, &context.live.table.version);
            context.response.json(view.requested_as(requested.as_deref()))
        }
        Err(error) => error.respond(context.response),
    }
}

/// The decision that would be made for a request.
struct Explained {
    model: Arc<Model>,
    /// What it was asked for by, if not by its own name.
    requested: Option<Arc<str>>,
    /// What it was made on.
    facts: Facts,
    decision: Decision,
}

async fn explain(admitted: Admitted, context: &RequestContext) -> Result<Explained, ApiError> {
    let limits = context.live.server.limits;
    let parsed = long_work(admitted.body.len(), move || {
        (Request::parse(Operation::Chat, admitted.body.clone(), limits), admitted)
    });
    let (request, admitted) = parsed.await;
    let request = request?;
    let resolved = admitted.resolve(&context.live, Some(&request.head.model))?;
    let table = &context.live.table;
    admitted.wishes.check(&resolved, &request.head.model, table)?;
    let resolved = resolved.single(ApiError::ensemble_has_no_decision)?;
    let conversation = dispatch::conversation(&request, admitted.session.as_deref(), admitted.key.id.as_deref());
    let (router, name) = (&context.app.router, resolved.name(Some(&request.head.model)));
    let wishes = (admitted.wishes.falls_back, admitted.wishes.routing);
    let explained = router.explain(table, (&request, conversation), Some(name), wishes);
    let (model, facts, decision) = explained.map_err(|error| ApiError::from(&error))?;
    Ok(Explained { model, requested: resolved.requested, facts, decision })
}

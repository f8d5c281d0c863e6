//! `POST /v1/route/explain`: how a chat would be routed, without making the call.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use dispatch::Route;
use offload::long_work;
use provider::{Operation, Request, Time};
use router::{Blocked, Candidate, Decision, Excluded, Model, Unfit, Upstream};
use serde::Serialize;
use utoipa::ToSchema;

use super::admission::{Admitted, RequestContext};
use crate::{app::App, error::ApiError};

/// Explains one request.
pub(crate) async fn serve(request: HttpRequest, payload: web::Payload, app: web::Data<Arc<App>>) -> HttpResponse {
    let mut context = RequestContext::new(Route::Chat, &request, &app);
    let explained = match context.receive(&request, payload).await {
        // What is explained is not called: it counts as one.
        Ok(mut admitted) => match context.count(&admitted.key.limiter, &mut admitted.permits[0], None, 1) {
            Ok(()) => explain(admitted, &context).await,
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    match explained {
        Ok(decision) => context.response.json(decision),
        Err(error) => error.respond(context.response),
    }
}

async fn explain(admitted: Admitted, context: &RequestContext) -> Result<DecisionView, ApiError> {
    let limits = context.live.server.limits;
    let parsed = long_work(admitted.body.len(), move || {
        (Request::parse(Operation::Chat, admitted.body.clone(), limits), admitted)
    });
    let (request, admitted) = parsed.await;
    let request = request?;
    let resolved = admitted.resolve(&context.live, Some(&request.head.model))?;
    let model = resolved.single(ApiError::ensemble_has_no_decision)?;
    let table = &context.live.table;
    let explained = context.app.router.explain(table, &request, model.as_deref(), admitted.falls_back);
    let (model, decision) = explained.map_err(|error| ApiError::from(&error))?;
    Ok(DecisionView::new(&model, &decision, &request, table.version.to_string()))
}

/// What would be done, and what it was decided on.
#[derive(Serialize, ToSchema)]
#[schema(as = Decision)]
pub(crate) struct DecisionView {
    model: String,
    strategy: &'static str,
    /// The upstream that would be asked first; null if none could be.
    #[schema(required)]
    upstream: Option<String>,
    /// Why that one.
    #[schema(required)]
    reason: Option<&'static str>,
    /// Those that could serve, in the order in which they would be asked.
    candidates: Vec<CandidateView>,
    excluded: Vec<ExcludedView>,
    /// By the size of the body.
    estimated_prompt_tokens: u64,
    config_version: String,
}

/// An upstream as the strategy saw it. What is unknown is null.
#[derive(Serialize, ToSchema)]
#[schema(as = Candidate)]
struct CandidateView {
    upstream: String,
    provider: &'static str,
    /// Its configured share of the model's requests, 0 to 1.
    share: f64,
    /// Its deficit in requests, its share of this one included.
    owed_requests: f64,
    /// Whether a worker is up.
    #[schema(required)]
    has_ready_worker: Option<bool>,
    in_flight: u32,
    max_in_flight: u32,
    /// Predicted; for an answer that is not streamed, to its end.
    #[schema(required)]
    first_token_ms: Option<f64>,
    meets_slo: bool,
    /// At list prices.
    #[schema(required)]
    expected_cost_usd: Option<f64>,
    #[schema(required)]
    price: Option<PriceView>,
    /// Whether the prompt, by its size, is longer than the context.
    is_too_long: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Price)]
struct PriceView {
    input_usd_per_million: f64,
    output_usd_per_million: f64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Excluded)]
struct ExcludedView {
    upstream: String,
    provider: &'static str,
    why: &'static str,
    /// When it may take calls again.
    #[schema(required)]
    retry_after_s: Option<f64>,
}

impl DecisionView {
    fn new(model: &Model, decision: &Decision, request: &Request, config_version: String) -> Self {
        let candidates = decision.candidates.iter().map(|candidate| CandidateView::of(model, candidate)).collect();
        let excluded =
            |(target, why): &(usize, Excluded)| ExcludedView::of(&model.targets()[*target], *why, decision.at);
        let first = decision.candidates.first().map(|candidate| &model.targets()[candidate.target].spec.id);
        Self {
            model: model.spec.name.as_str().to_owned(),
            strategy: decision.strategy.as_str(),
            upstream: first.map(|id| id.as_str().to_owned()),
            reason: decision.reason.map(router::Reason::as_str),
            candidates,
            excluded: decision.excluded.iter().map(excluded).collect(),
            estimated_prompt_tokens: request.estimated_prompt_tokens(),
            config_version,
        }
    }
}

impl CandidateView {
    fn of(model: &Model, candidate: &Candidate) -> Self {
        let spec = &model.targets()[candidate.target].spec;
        let price = spec.tariff.as_ref().and_then(provider::Tariff::list_price);
        Self {
            upstream: spec.id.as_str().to_owned(),
            provider: spec.provider_name,
            share: model.shares()[candidate.target],
            owed_requests: candidate.deficit,
            has_ready_worker: candidate.is_ready,
            in_flight: candidate.in_flight,
            max_in_flight: spec.max_in_flight,
            first_token_ms: candidate.first_token.map(|time| time.as_secs_f64() * 1e3),
            meets_slo: candidate.meets_slo,
            expected_cost_usd: candidate.expected_cost.map(|cost| as_float(cost.0) / 1e9),
            price: price.map(|price| PriceView {
                input_usd_per_million: as_float(price.input.0) / 1e6,
                output_usd_per_million: as_float(price.output.0) / 1e6,
            }),
            is_too_long: candidate.is_too_long,
        }
    }
}

impl ExcludedView {
    fn of(upstream: &Upstream, why: Excluded, now: Time) -> Self {
        let (why, until) = match why {
            Excluded::Unfit(Unfit::Operation) => ("does not serve this operation", None),
            Excluded::Unfit(Unfit::Features) => ("cannot do all that the request asks for", None),
            Excluded::Unfit(Unfit::Context) => ("its context is too short", None),
            Excluded::Blocked(Blocked::Broken(until)) => ("its breaker is open", Some(until)),
            Excluded::Blocked(Blocked::Parked(until)) => ("it asked to be left alone", Some(until)),
            Excluded::Blocked(Blocked::Full) => ("it has as many calls as it may", None),
            Excluded::Barred | Excluded::Asked => ("it was asked already", None),
        };
        Self {
            upstream: upstream.spec.id.as_str().to_owned(),
            provider: upstream.spec.provider_name,
            why,
            retry_after_s: until.map(|until| (until - now).as_secs_f64()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "prices are far below 2^53")]
fn as_float(number: u64) -> f64 {
    number as f64
}

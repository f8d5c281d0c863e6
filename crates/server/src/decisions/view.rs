//! A decision as JSON: what `explain` answers, what operators ask for, and what a line of the log says.

use provider::{NanoUsd, Tariff, Time, UpstreamId};
use router::{
    Blocked, BreakerState, Candidate, Decision, Excluded, Facts, Model, Reason, StrategyName, Unfit, Upstream, Wishes,
};
use serde::Serialize;
use utoipa::ToSchema;

/// What would be done, or was, and what it was decided on.
#[derive(Serialize, ToSchema)]
#[schema(as = Decision)]
pub(crate) struct DecisionView<'a> {
    /// The name that was asked for, where it is not the model's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    requested: Option<&'a str>,
    model: &'a str,
    /// What the client wanted to be different from what is configured; absent if nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    wishes: Option<WishesView>,
    strategy: &'static str,
    /// The upstream that is asked first; null if none could be.
    #[schema(required)]
    upstream: Option<&'a str>,
    /// Why that one.
    #[schema(required)]
    reason: Option<&'static str>,
    /// Those that could serve, in the order in which they are asked.
    candidates: Vec<CandidateView<'a>>,
    excluded: Vec<ExcludedView<'a>>,
    /// By the size of the body.
    estimated_prompt_tokens: u64,
    /// By the answers before.
    expected_completion_tokens: f64,
    /// From the request's arrival to a second call, if the first one has not begun to answer by then and the budget for that
    /// is there; absent if there is to be none.
    #[serde(skip_serializing_if = "Option::is_none")]
    hedge_after_ms: Option<f64>,
    config_version: &'a str,
}

/// What was wanted by headers for this request alone, each by the name of its header.
#[derive(Serialize, ToSchema)]
#[schema(as = Wishes)]
struct WishesView {
    /// `x-llm-router-strategy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    strategy: Option<&'static str>,
    /// `x-llm-router-deadline-ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<u64>,
    /// `x-llm-router-max-cost-usd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_cost_usd: Option<f64>,
    /// `x-llm-router-fallback`, where that was false.
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<bool>,
}

/// An upstream as the strategy saw it. What is unknown is null.
#[derive(Serialize, ToSchema)]
#[schema(as = Candidate)]
struct CandidateView<'a> {
    upstream: &'a str,
    provider: &'static str,
    /// Its configured share of the model's requests, 0 to 1.
    share: f64,
    /// Its deficit in requests, its share of this one included.
    owed_requests: f64,
    /// Whether a worker is up.
    #[schema(required)]
    has_ready_worker: Option<bool>,
    #[schema(required)]
    ready_workers: Option<u32>,
    /// Jobs that wait for a worker.
    #[schema(required)]
    queued: Option<u32>,
    /// `closed`; `half_open`: single calls are let through to see.
    breaker: &'static str,
    in_flight: u32,
    max_in_flight: u32,
    /// Predicted; for an answer that is not streamed, to its end.
    #[schema(required)]
    first_token_ms: Option<f64>,
    /// The probability that the first token is late.
    miss_probability: f64,
    meets_slo: bool,
    /// At list prices.
    #[schema(required)]
    expected_cost_usd: Option<f64>,
    /// What it adds to the bill: where worker-seconds are paid for, its part of the worker time. `cost` goes by it.
    #[schema(required)]
    marginal_cost_usd: Option<f64>,
    #[schema(required)]
    price: Option<PriceView>,
    /// What the strategy makes of all that: the least is asked first.
    score: f64,
    /// Whether the prompt, by its size, is longer than the context.
    is_too_long: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Price)]
#[expect(clippy::struct_field_names, reason = "the unit is a part of each name")]
struct PriceView {
    input_usd_per_million: f64,
    cached_input_usd_per_million: f64,
    output_usd_per_million: f64,
    reasoning_usd_per_million: f64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Excluded)]
struct ExcludedView<'a> {
    upstream: &'a str,
    provider: &'static str,
    why: &'static str,
    /// When it may take calls again.
    #[schema(required)]
    retry_after_s: Option<f64>,
}

impl<'a> DecisionView<'a> {
    /// `decision` was made about a request with these facts.
    pub(crate) fn new(model: &'a Model, decision: &'a Decision, facts: &Facts, config_version: &'a str) -> Self {
        let candidates = decision.candidates.iter().map(|candidate| CandidateView::of(model, candidate)).collect();
        let excluded =
            |(target, why): &(usize, Excluded)| ExcludedView::of(&model.targets()[*target], *why, decision.at);
        let first = decision.candidates.first().map(|candidate| &model.targets()[candidate.target].spec.id);
        Self {
            requested: None,
            model: model.spec.name.as_str(),
            wishes: WishesView::of(&facts.wishes),
            strategy: decision.strategy.as_str(),
            upstream: first.map(UpstreamId::as_str),
            reason: decision.reason.map(Reason::as_str),
            candidates,
            excluded: decision.excluded.iter().map(excluded).collect(),
            estimated_prompt_tokens: facts.prompt_tokens,
            expected_completion_tokens: rounded(decision.expected_completion, 1e1),
            hedge_after_ms: decision.hedge_after.map(|after| rounded(after.as_secs_f64() * 1e3, 1e3)),
            config_version,
        }
    }

    /// The same with the name that was asked for, if that is another one than the model's.
    pub(crate) fn requested_as(self, requested: Option<&'a str>) -> Self {
        Self { requested, ..self }
    }
}

impl WishesView {
    /// `None` if nothing is wished.
    fn of(wishes: &Wishes) -> Option<Self> {
        if *wishes == Wishes::NONE {
            return None;
        }
        Some(Self {
            strategy: wishes.strategy.map(StrategyName::as_str),
            deadline_ms: wishes.deadline.map(|deadline| u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX)),
            max_cost_usd: wishes.max_cost.map(NanoUsd::usd),
            fallback: wishes.no_fallback.then_some(false),
        })
    }
}

impl<'a> CandidateView<'a> {
    fn of(model: &'a Model, candidate: &Candidate) -> Self {
        let spec = &model.targets()[candidate.target].spec;
        let price = spec.tariff.as_ref().and_then(Tariff::list_price);
        Self {
            upstream: spec.id.as_str(),
            provider: spec.provider_name,
            share: model.shares()[candidate.target],
            owed_requests: rounded(candidate.deficit, 1e6),
            has_ready_worker: candidate.is_ready,
            ready_workers: candidate.ready_workers,
            queued: candidate.queued,
            breaker: match candidate.breaker {
                BreakerState::Closed => "closed",
                BreakerState::HalfOpen => "half_open",
                BreakerState::Open => "open",
            },
            in_flight: candidate.in_flight,
            max_in_flight: spec.max_in_flight,
            first_token_ms: candidate.first_token.map(|time| rounded(time.as_secs_f64() * 1e3, 1e3)),
            miss_probability: rounded(candidate.miss, 1e6),
            meets_slo: candidate.meets_slo,
            expected_cost_usd: candidate.expected_cost.map(|cost| as_float(cost.0) / 1e9),
            marginal_cost_usd: candidate.marginal_cost.map(|cost| as_float(cost.0) / 1e9),
            price: price.map(|price| PriceView {
                input_usd_per_million: as_float(price.input.0) / 1e6,
                cached_input_usd_per_million: as_float(price.cached_input.0) / 1e6,
                output_usd_per_million: as_float(price.output.0) / 1e6,
                reasoning_usd_per_million: as_float(price.reasoning.0) / 1e6,
            }),
            score: rounded(candidate.score, 1e6),
            is_too_long: candidate.is_too_long,
        }
    }
}

impl<'a> ExcludedView<'a> {
    fn of(upstream: &'a Upstream, why: Excluded, now: Time) -> Self {
        let (why, until) = match why {
            Excluded::Unfit(Unfit::Operation) => ("does not serve this operation", None),
            Excluded::Unfit(Unfit::Features) => ("cannot do all that the request asks for", None),
            Excluded::Unfit(Unfit::Context) => ("its context is too short", None),
            Excluded::Unfit(Unfit::Price) => ("the request may cost more there than it is to", None),
            Excluded::Blocked(Blocked::Broken(until)) => ("its breaker is open", Some(until)),
            Excluded::Blocked(Blocked::Parked(until)) => ("it asked to be left alone", Some(until)),
            Excluded::Blocked(Blocked::Spent(until)) => ("its limits for this minute are used up", Some(until)),
            Excluded::Blocked(Blocked::Full) => ("it has as many calls as it may", None),
            Excluded::Yields => ("requests that may still be in time go first", None),
            Excluded::RuledOut | Excluded::Asked => ("it was asked already", None),
        };
        Self {
            upstream: upstream.spec.id.as_str(),
            provider: upstream.spec.provider_name,
            why,
            retry_after_s: until.map(|until| rounded((until - now).as_secs_f64(), 1e3)),
        }
    }
}

/// A figure without the digits that mean nothing.
pub(super) fn rounded(figure: f64, per_unit: f64) -> f64 {
    (figure * per_unit).round() / per_unit
}

#[expect(clippy::cast_precision_loss, reason = "prices are far below 2^53")]
fn as_float(number: u64) -> f64 {
    number as f64
}

//! Refusals of what a client wants for one request alone.

use actix_web::http::StatusCode;
use provider::NanoUsd;
use settings::Wish;

use super::ApiError;
use crate::{
    budgets::short,
    wishes::{MAX_COST, STRATEGY},
};

impl ApiError {
    /// The key may not want that, which this header asks for.
    pub(crate) fn wish_not_allowed(wish: Wish, header: &str) -> Self {
        let message = format!("this key may not send {header}: leave it out, or have {:?} added", wish.as_str());
        Self::not_in_may_wish(header, &message)
    }

    /// The key may not tag, as this field of the body does.
    pub(crate) fn tags_not_allowed(field: &str) -> Self {
        let message =
            format!("this key may not send tags in '{field}': leave them out, or have {:?} added", Wish::Tags.as_str());
        Self::not_in_may_wish(field, &message)
    }

    fn not_in_may_wish(param: &str, message: &str) -> Self {
        let message = format!("{message} to the key's may_wish");
        let mut error = Self::new(StatusCode::FORBIDDEN, "permission_error", "wish_not_allowed", message);
        error.param = Some(param.to_owned());
        error
    }

    /// A header has a value that it does not take.
    pub(crate) fn bad_header(name: &str, takes: &str) -> Self {
        let message = format!("the header {name} must be {takes}");
        let mut error = Self::bad_request(StatusCode::BAD_REQUEST, "invalid_header", message);
        error.param = Some(name.to_owned());
        error
    }

    /// A highest price for an ensemble, whose calls are made by several models at several prices.
    pub(crate) fn no_max_cost_of_ensembles() -> Self {
        let message = format!("an ensemble makes several calls: name a model instead, or leave {MAX_COST} out");
        let mut error = Self::bad_request(StatusCode::BAD_REQUEST, "unsupported", message);
        error.param = Some(MAX_COST.as_str().to_owned());
        error
    }

    /// A strategy for a request that names its upstream.
    pub(crate) fn no_strategy_of_upstreams() -> Self {
        let message = format!(
            "a request that names its upstream goes past any strategy: name a model instead, leave {STRATEGY} out, or add \
             x-llm-router-fallback: true, for which it orders the other upstreams"
        );
        let mut error = Self::bad_request(StatusCode::BAD_REQUEST, "unsupported", message);
        error.param = Some(STRATEGY.as_str().to_owned());
        error
    }

    /// The request may cost more than `max_cost` everywhere, and `cheapest` where that is least.
    pub(crate) fn too_dear(max_cost: NanoUsd, cheapest: Option<NanoUsd>) -> Self {
        let wanted = format!("{MAX_COST} allows ${}", short(max_cost.0));
        let message = match cheapest {
            Some(cheapest) => format!(
                "the request may cost ${} at the cheapest upstream that can serve it, for its prompt and as many tokens as its answer \
                 may have, and {wanted}: lower max_tokens, or allow more",
                short(cheapest.0)
            ),
            None => format!("no upstream that can serve the request has a price, and {wanted}: leave it out"),
        };
        let mut error = Self::bad_request(StatusCode::BAD_REQUEST, "max_cost_exceeded", message);
        error.param = Some(MAX_COST.as_str().to_owned());
        error
    }
}

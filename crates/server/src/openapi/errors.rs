//! Every error that clients can see, by the constructors that make them, with their real messages.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use provider::{Error, ErrorKind, InvalidRequest, NanoUsd, Phase};
use router::{Ensemble, Pick, RouterError};
use serde_json::{Value, json};
use settings::{TagError, Wish};
use utoipa::{
    ToSchema,
    openapi::{Ref, ResponseBuilder},
};

use super::{
    call::{content, response},
    messages::MessagesError,
    public::RATE_LIMIT,
};
use crate::{
    api::dialect::Dialect,
    error::{ApiError, ErrorReply},
    limits::{Owner, RateLimitStatus, ReachedLimit, Refused, Unit},
};

fn status(error: &ApiError, dialect: Dialect) -> u16 {
    match dialect {
        Dialect::OpenAi => error.status_and_code().0,
        Dialect::Anthropic => error.anthropic_status().as_u16(),
    }
}

fn body(error: &ApiError, dialect: Dialect) -> Value {
    match dialect {
        Dialect::OpenAi => json!({"error": error.to_value()}),
        // Plain strings always serialise.
        Dialect::Anthropic => serde_json::from_slice(&error.anthropic_body("req-1")).unwrap_or_default(),
    }
}

fn schema(dialect: Dialect) -> Cow<'static, str> {
    match dialect {
        Dialect::OpenAi => ErrorReply::name(),
        Dialect::Anthropic => MessagesError::name(),
    }
}

/// One answer for each status, with an example for each code.
pub(super) fn responses(
    dialect: Dialect,
    errors: impl IntoIterator<Item = ApiError>,
    headers: &[&'static str],
) -> BTreeMap<u16, ResponseBuilder> {
    let mut by_status: BTreeMap<u16, BTreeMap<String, ApiError>> = BTreeMap::new();
    for error in errors {
        let (status, code) = (status(&error, dialect), error.status_and_code().1.to_owned());
        by_status.entry(status).or_default().insert(code, error);
    }
    let describe = |(status, errors): (u16, BTreeMap<String, ApiError>)| {
        let codes: Vec<_> = errors.keys().map(|code| format!("`{code}`")).collect();
        let counts = if errors.contains_key("rate_limit_exceeded") { &RATE_LIMIT[..] } else { &[] };
        let examples = errors.into_iter().map(|(code, error)| (code, body(&error, dialect))).collect();
        let waits = matches!(status, 429 | 503 | 529).then_some("retry-after");
        let headers: Vec<_> = headers.iter().chain(counts).copied().chain(waits).collect();
        let schema = Ref::from_schema_name(schema(dialect));
        (status, response(codes.join(", "), &headers).content("application/json", content(schema, examples)))
    };
    by_status.into_iter().map(describe).collect()
}

/// The key is not known.
pub(super) fn of_keys() -> Vec<ApiError> {
    vec![
        ApiError::no_key(),
        ApiError::too_many_wrong_keys(Duration::from_mins(1)),
        ApiError::duplicate_header("Authorization"),
        ApiError::panicked(),
    ]
}

/// Errors before a request is routed: of its body, or of a limit.
pub(super) fn of_admission() -> Vec<ApiError> {
    let refused = |limit| Refused { owner: Owner::Key, limit }.into();
    let status = RateLimitStatus { unit: Unit::Requests, limit: 600, remaining: 0, reset: Duration::from_secs(6) };
    vec![
        InvalidRequest::field("temperature", "'temperature' must be a number from 0 to 2").into(),
        TagError::Undeclared { name: "feat".to_owned(), declared: Some("env, feature".to_owned()) }.into(),
        ApiError::bad_header("x-llm-router-fallback", "true or false"),
        ApiError::wish_not_allowed(Wish::Strategy, "x-llm-router-strategy"),
        ApiError::body_broken(),
        ApiError::body_too_slow(),
        ApiError::body_too_large(8 << 20),
        ApiError::not_json(),
        ApiError::encoded(),
        refused(ReachedLimit::Rate { status, wait: Duration::from_millis(100) }),
        refused(ReachedLimit::Concurrency { limit: 50, status: Some(status) }),
        refused(ReachedLimit::Never { calls: 64, most: 60, setting: "burst" }),
        refused(ReachedLimit::Unknown),
        ApiError::overloaded(),
        ApiError::shutting_down(),
    ]
}

/// What is asked for by name is not there, or not for this key.
pub(super) fn of_names() -> Vec<ApiError> {
    vec![
        ApiError::no_such_model("llama-9"),
        ApiError::no_such_task("poetry", ["chat", "code"].into_iter()),
        ApiError::no_such_ensemble("ensemble/all", [ensemble().name].iter()),
        ApiError::direct_not_allowed(),
    ]
}

/// An ensemble is named where only a model can serve.
pub(super) fn of_ensembles() -> Vec<ApiError> {
    vec![ApiError::ensemble_has_no_decision(&ensemble())]
}

fn ensemble() -> Ensemble {
    Ensemble {
        name: "ensemble/longest-of-two".to_owned(),
        members: vec!["llama-3.1-8b".to_owned()],
        pick: Pick::Longest,
        deadline: Duration::from_mins(1),
    }
}

/// No upstream of the model can serve the request.
pub(super) fn of_choice() -> Vec<ApiError> {
    let errors = [
        RouterError::Unsupported { what: "tool calls" },
        RouterError::ContextOverflow { context_tokens: 131_072 },
        RouterError::TooDear { max_cost: NanoUsd(1_000), cheapest: Some(NanoUsd(420_000)) },
    ];
    errors.iter().map(ApiError::from).collect()
}

/// The upstreams failed.
pub(super) fn of_upstreams() -> Vec<ApiError> {
    let kinds = [
        (ErrorKind::Connect, "no connection to the upstream"),
        (ErrorKind::Unavailable, "the upstream answered with status 500"),
        (ErrorKind::Interrupted, "the upstream broke off its answer"),
        (ErrorKind::Protocol, "the upstream's answer is no chat completion"),
        (ErrorKind::Auth, ""),
        (ErrorKind::NotFound, ""),
        (ErrorKind::Refused, "the upstream answered 403 with a web page"),
        (ErrorKind::RateLimited, "the upstream's quota is used up"),
        (ErrorKind::Overloaded, "the upstream has no room at this moment"),
        (ErrorKind::Unrecorded, "the router cannot record what the request costs"),
        (ErrorKind::OverBudget, "the budget of team \"search\" for this month is used up"),
        (ErrorKind::Timeout(Phase::FirstToken), "the upstream did not begin to answer in time"),
    ];
    let mut refused = Error::new(ErrorKind::InvalidRequest, "the upstream's own words");
    refused.status = Some(422);
    let of_this_one = [(400, "The content was refused."), (413, "Request too large for the tokens of a minute.")];
    let of_this_one =
        of_this_one.map(|(status, says)| Error { status: Some(status), ..Error::new(ErrorKind::Refused, says) });
    let failures =
        kinds.map(|(kind, message)| Error::new(kind, message)).into_iter().chain([refused]).chain(of_this_one);
    let failures = failures.map(|error| RouterError::Failed { error, attempts: 2, retry_after: None });
    let none = RouterError::NoUpstream { retry_after: Duration::from_secs(1) };
    failures.chain([none]).map(|error| ApiError::from(&error)).collect()
}

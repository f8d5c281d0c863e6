//! The record of a request as JSON, without what it said. What is unknown is left out.

use std::time::Duration;

use dispatch::{Record, Tried};
use provider::{ModelId, UpstreamId};
use serde::Serialize;
use utoipa::ToSchema;

use super::view::{DecisionView, rounded};

/// What was decided for a request, on what, and what then happened.
#[derive(Serialize, ToSchema)]
#[schema(as = DecisionRecord)]
pub(crate) struct RecordView<'a> {
    /// When the request came, in seconds since 1970.
    ts: f64,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    route: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    /// The name that was asked for, where it is not the model's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    requested: Option<&'a str>,
    stream: bool,
    /// As in the access log.
    outcome: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'static str,
    /// From the request's arrival, for the call that served it.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_token_ms: Option<f64>,
    /// Waiting for a target that is worth a call, or before repeats.
    wait_ms: f64,
    duration_ms: f64,
    /// The decision behind the first call; if no call was made, the last one.
    decision: DecisionView<'a>,
    /// The calls, in order of their ends.
    attempts: Vec<AttemptView<'a>>,
}

/// A call to an upstream.
#[derive(Serialize, ToSchema)]
#[schema(as = DecisionAttempt)]
struct AttemptView<'a> {
    upstream: &'a str,
    role: &'static str,
    reason: &'static str,
    /// From the request's arrival to the call.
    start_ms: f64,
    /// `served`, the kind of failure, `lost` (another call of the request began to answer first), `client_gone` or `stopped`.
    outcome: &'static str,
    /// From the call to its first token.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_token_ms: Option<f64>,
    duration_ms: f64,
    /// `reported` by the upstream or `estimated`; absent if nothing was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_source: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_nano_usd: Option<u64>,
}

impl<'a> RecordView<'a> {
    /// The record of a request that ended at `ended_at`, in seconds since 1970; `None` if it has not ended.
    pub(crate) fn of(record: &'a Record, ended_at: f64) -> Option<Self> {
        let closed = record.ended.as_ref()?;
        let (request, info) = (&closed.request, &closed.request.info);
        Some(Self {
            ts: rounded(ended_at - request.duration.as_secs_f64(), 1e3),
            request_id: info.request_id.as_str(),
            team: info.team.as_deref(),
            key: info.key.as_deref(),
            route: info.route.as_str(),
            model: info.model.as_ref().map(ModelId::as_str),
            requested: info.requested.as_deref(),
            stream: info.stream,
            outcome: request.outcome.as_str(),
            error: request.outcome.detail(),
            first_token_ms: request.first_token.map(millis),
            wait_ms: millis(request.wait_time),
            duration_ms: millis(request.duration),
            decision: DecisionView::new(&closed.model, &record.decision, &closed.facts, &request.config_version),
            attempts: record.attempts.iter().map(AttemptView::of).collect(),
        })
    }
}

impl<'a> AttemptView<'a> {
    fn of(tried: &'a Tried) -> Self {
        let ended = &tried.ended;
        let booked = ended.booked();
        let usage = booked.and_then(|booked| booked.usage);
        Self {
            upstream: UpstreamId::as_str(&ended.upstream),
            role: ended.role.as_str(),
            reason: ended.reason.as_str(),
            start_ms: millis(tried.after),
            outcome: ended.outcome.as_str(),
            first_token_ms: ended.first_token.map(millis),
            duration_ms: millis(ended.duration),
            usage_source: booked.map(|booked| booked.source()),
            prompt_tokens: usage.map(|usage| usage.prompt_tokens),
            cached_tokens: usage.and_then(|usage| usage.cached_tokens),
            completion_tokens: usage.map(|usage| usage.completion_tokens),
            cost_nano_usd: booked.and_then(|booked| booked.cost).map(|cost| cost.0),
        }
    }
}

fn millis(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64() * 1e3, 1e3)
}

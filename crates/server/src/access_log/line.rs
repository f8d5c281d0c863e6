//! What a line of the access log says.

use std::time::Duration;

use dispatch::{Failure, RequestEnded};
use provider::{ModelId, NanoUsd, UpstreamId, UpstreamIds};
use router::{Reason, StrategyName};
use serde::Serialize;
use settings::LogFormat;

use crate::{clock, json_line};

/// A request, without what it said. What is unknown is left out.
#[derive(Serialize)]
struct Line<'a> {
    ts: f64,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    route: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    /// What the client asked for, where it is not the model's own name.
    #[serde(skip_serializing_if = "Option::is_none")]
    requested: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<&'a str>,
    stream: bool,
    outcome: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<&'a str>,
    #[serde(flatten)]
    ids: Ids<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strategy: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    attempts: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failures: Vec<FailureLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_token_ms: Option<f64>,
    upstream_ms: f64,
    #[serde(skip_serializing_if = "is_zero")]
    wait_ms: f64,
    overhead_ms: f64,
    duration_ms: f64,
    #[serde(flatten)]
    money: Money,
    config_version: &'a str,
}

/// An attempt that did not serve.
#[derive(Serialize)]
struct FailureLine<'a> {
    upstream: &'a str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(flatten)]
    ids: Ids<'a>,
    duration_ms: f64,
}

/// What the upstream calls the call, its worker, and its edge.
#[derive(Serialize)]
struct Ids<'a> {
    #[serde(rename = "upstream_request_id", skip_serializing_if = "Option::is_none")]
    request: Option<&'a str>,
    #[serde(rename = "worker_id", skip_serializing_if = "Option::is_none")]
    worker: Option<&'a str>,
    #[serde(rename = "edge_id", skip_serializing_if = "Option::is_none")]
    edge: Option<&'a str>,
}

impl<'a> Ids<'a> {
    fn of(ids: &'a UpstreamIds) -> Self {
        Self { request: ids.request(), worker: ids.worker(), edge: ids.edge() }
    }
}

/// What was used and what it costs.
#[derive(Serialize, Default)]
struct Money {
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
    reasoning_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_nano_usd: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline_cost_nano_usd: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(number: &f64) -> bool {
    *number <= 0.0
}

impl Money {
    fn of(ended: &RequestEnded) -> Self {
        let Some(booked) = ended.booked() else { return Self::default() };
        let usage = booked.usage;
        Self {
            usage_source: Some(booked.source()),
            prompt_tokens: usage.map(|usage| usage.prompt_tokens),
            cached_tokens: usage.and_then(|usage| usage.cached_tokens),
            completion_tokens: usage.map(|usage| usage.completion_tokens),
            reasoning_tokens: usage.and_then(|usage| usage.reasoning_tokens),
            cost_nano_usd: booked.cost.map(|cost| cost.0),
            baseline_cost_nano_usd: ended.baseline_cost().map(|cost| cost.0),
        }
    }
}

/// The line of a request, its end included.
pub(super) fn render(ended: &RequestEnded, format: LogFormat) -> Vec<u8> {
    let info = &ended.info;
    let line = Line {
        ts: clock::unix_seconds(),
        request_id: info.request_id.as_str(),
        team: info.team.as_deref(),
        key: info.key.as_deref(),
        route: info.route.as_str(),
        model: info.model.as_ref().map(ModelId::as_str),
        requested: info.requested.as_deref(),
        tags: info.tags.as_deref(),
        stream: info.stream,
        outcome: ended.outcome.as_str(),
        error: ended.outcome.detail(),
        upstream: ended.upstream.as_ref().map(UpstreamId::as_str),
        ids: Ids::of(&ended.ids),
        strategy: ended.strategy.map(StrategyName::as_str),
        reason: ended.reason.map(Reason::as_str),
        attempts: ended.attempts,
        failures: ended.failures.iter().map(FailureLine::of).collect(),
        first_token_ms: ended.first_token.map(millis),
        upstream_ms: millis(ended.upstream_time),
        wait_ms: millis(ended.wait_time),
        overhead_ms: millis(ended.overhead()),
        duration_ms: millis(ended.duration),
        money: Money::of(ended),
        config_version: &ended.config_version,
    };
    let mut out = match format {
        LogFormat::Json => json(&line),
        LogFormat::Pretty => pretty(&line).into_bytes(),
    };
    out.push(b'\n');
    out
}

impl<'a> FailureLine<'a> {
    fn of(failure: &'a Failure) -> Self {
        Self {
            upstream: failure.upstream.as_str(),
            kind: failure.kind.as_str(),
            status: failure.status,
            ids: Ids::of(&failure.ids),
            duration_ms: millis(failure.duration),
        }
    }
}

/// A line for machines.
fn json(line: &Line<'_>) -> Vec<u8> {
    /// Most lines are shorter.
    const USUAL: usize = 768;
    let mut out = Vec::with_capacity(USUAL);
    if json_line::append(line, &mut out).is_err() {
        out.clear();
    }
    out
}

/// A line for people.
fn pretty(line: &Line<'_>) -> String {
    let mut parts = vec![line.outcome.to_owned()];
    if !line.error.is_empty() {
        parts.push(format!("({})", line.error));
    }
    parts.extend([Some(line.route), line.model].into_iter().flatten().map(str::to_owned));
    parts.extend(line.requested.map(|name| format!("(as {name})")));
    parts.extend(line.failures.iter().map(|failure| format!("-> {} failed ({})", failure.upstream, failure.kind)));
    let is_served_elsewhere = line.failures.len() < line.attempts as usize;
    parts.extend(line.upstream.filter(|_| is_served_elsewhere).map(|upstream| format!("-> {upstream}")));
    parts.extend(line.reason.map(|reason| format!("[{reason}]")));
    let mut figures = vec![format!("in {:.1} ms", line.duration_ms)];
    figures.extend(line.first_token_ms.filter(|_| line.stream).map(|ms| format!("first token {ms:.1} ms")));
    let about = if line.money.usage_source == Some("estimated") { "about " } else { "" };
    figures.extend(line.money.cost_nano_usd.map(|cost| format!("{about}${}", NanoUsd(cost))));
    figures.push(line.request_id.to_owned());
    parts.push(figures.join(", "));
    parts.join(" ")
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_upstream_calls_a_call_is_named_for_its_support() {
        let json_of = |ids: UpstreamIds| serde_json::to_value(Ids::of(&ids)).expect("JSON");
        let id = |text: &str| Some(text.to_owned());
        let all = json_of(UpstreamIds::new(id("r1"), id("w1"), id("8f-FRA")));
        assert_eq!(all, json!({"upstream_request_id": "r1", "worker_id": "w1", "edge_id": "8f-FRA"}));
        assert_eq!(json_of(UpstreamIds::new(None, None, id("8f-FRA"))), json!({"edge_id": "8f-FRA"}));
        assert_eq!(json_of(UpstreamIds::default()), json!({}));
    }
}

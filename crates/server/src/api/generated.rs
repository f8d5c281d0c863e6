//! The short form of an answer: its text, usage and cost.

use dispatch::Served;
use offload::long_work;
use provider::{Choice, Completion, Error, ErrorKind, MemoryBudget, NanoUsd, RequestId, Reservation, tree_bytes};
use router::RouterError;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::read_whole;
use crate::openapi::EnsembleReport;

/// An answer to a prompt.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Generated {
    /// The text; empty if the model only called tools.
    result: String,
    /// Why the text ends, as the provider says: `stop`, `length`, …
    #[schema(required)]
    finish_reason: Option<String>,
    /// The kind of provider that served it.
    provider: &'static str,
    /// The upstream that served it.
    upstream: String,
    /// What was asked for, a model, an ensemble or `UPSTREAM/MODEL`; of a task, what it stands for.
    model: String,
    /// Tokens as the upstream counted them.
    #[schema(required, value_type = Option<Object>)]
    usage: Option<serde_json::Value>,
    /// List price in US dollars; null if unknown.
    #[schema(required)]
    cost_usd: Option<f64>,
    request_id: String,
    /// The members of the ensemble and how it picked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<EnsembleReport>)]
    ensemble: Option<serde_json::Value>,
}

impl Generated {
    /// The list price, if it is known.
    pub(crate) fn cost_usd(&self) -> Option<f64> {
        self.cost_usd
    }
}

/// Reads a whole answer to its end. The memory that comes with it is enough for the text and for the document that it goes into.
pub(crate) async fn read(
    mut served: Served,
    model: &str,
    id: &RequestId,
    memory: &MemoryBudget,
) -> Result<(Generated, Reservation), RouterError> {
    let body = read_whole(&mut served).await?;
    let attempts = served.attempts;
    let failed = |error| RouterError::Failed { error, attempts, retry_after: None };
    let reservation = memory.reserve(tree_bytes(&body)).map_err(|none| failed(none.into()))?;
    let (reservation, completion) =
        long_work(body.len(), move || (reservation, Completion::read(&String::from_utf8_lossy(&body)))).await;
    let completion = completion.map_err(|malformed| {
        failed(Error::new(ErrorKind::Protocol, format!("the upstream's answer is not valid JSON: {malformed}")))
    })?;
    let choice = completion.choices().next();
    let generated = Generated {
        result: choice.map(|choice| choice.text().into_owned()).unwrap_or_default(),
        finish_reason: choice.and_then(Choice::finish_reason).map(str::to_owned),
        provider: served.provider,
        upstream: served.upstream.as_str().to_owned(),
        model: model.to_owned(),
        usage: completion.object("usage").cloned(),
        cost_usd: served.cost.map(NanoUsd::usd),
        request_id: id.as_str().to_owned(),
        ensemble: completion.object("ensemble").cloned(),
    };
    Ok((generated, reservation))
}

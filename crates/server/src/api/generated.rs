//! The short form of an answer: its text, and what it took.

use futures_util::StreamExt;
use provider::{Error, ErrorKind, NanoUsd, RequestId};
use router::{RouterError, Served};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
    /// What an ensemble tells of its members.
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

/// What is read of a chat completion.
#[derive(Deserialize)]
struct Completion {
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<serde_json::Value>,
    #[serde(default)]
    ensemble: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<String>,
}

/// Reads a whole answer to its end.
pub(crate) async fn read(mut served: Served, model: &str, id: &RequestId) -> Result<Generated, RouterError> {
    let failed = |error| RouterError::Failed { error, attempts: served.attempts, retry_after: None };
    let frame = match served.answer.next().await {
        Some(frame) => frame.map_err(failed)?,
        None => return Err(failed(Error::new(ErrorKind::Protocol, "the upstream's answer is empty"))),
    };
    let completion: Completion = serde_json::from_slice(&frame.bytes)
        .map_err(|_| failed(Error::new(ErrorKind::Protocol, "the upstream's answer is no chat completion")))?;
    let choice = completion.choices.into_iter().next();
    let (content, finish_reason) = choice.map_or((None, None), |choice| (choice.message.content, choice.finish_reason));
    Ok(Generated {
        result: content.unwrap_or_default(),
        finish_reason,
        provider: served.provider,
        upstream: served.upstream.as_str().to_owned(),
        model: model.to_owned(),
        usage: completion.usage,
        cost_usd: served.cost.map(NanoUsd::usd),
        request_id: id.as_str().to_owned(),
        ensemble: completion.ensemble,
    })
}

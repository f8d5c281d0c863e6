//! Schemas of OpenAI's answers. They are relayed as an upstream wrote them, so only members that every upstream sends are named.
#![expect(dead_code, reason = "answers are relayed: these types only describe them")]

use serde_json::Value;
use utoipa::ToSchema;

/// A chat completion, as the upstream wrote it.
#[derive(ToSchema)]
pub(super) struct ChatCompletion {
    id: String,
    /// `chat.completion`
    object: String,
    created: u64,
    /// The name that the upstream uses.
    model: String,
    choices: Vec<ChatChoice>,
    usage: Option<Usage>,
    ensemble: Option<EnsembleReport>,
}

/// The members of an ensemble and how it picked; absent from the answers of single models.
#[derive(ToSchema)]
pub(crate) struct EnsembleReport {
    name: String,
    /// `first`, `longest`, `majority`, `logprob` or `judge`.
    pick: String,
    /// The member whose answer this is, counted from 0.
    winner: u64,
    why: String,
    /// List price of all calls in US dollars; null if any part is unknown.
    #[schema(required)]
    cost_usd: Option<f64>,
    /// In the order of the configuration.
    members: Vec<EnsembleMember>,
}

#[derive(ToSchema)]
struct EnsembleMember {
    model: String,
    #[schema(required)]
    upstream: Option<String>,
    #[schema(required)]
    provider: Option<String>,
    /// What the pick compares; null if it compares nothing, or not this answer.
    #[schema(required)]
    score: Option<f64>,
    #[schema(required)]
    cost_usd: Option<f64>,
    duration_ms: u64,
    /// The kind of failure, or `cancelled`.
    #[schema(required)]
    error: Option<String>,
}

#[derive(ToSchema)]
struct ChatChoice {
    index: u32,
    message: Answer,
    /// `stop`, `length`, `tool_calls`, …
    #[schema(required)]
    finish_reason: Option<String>,
}

/// The message of the model.
#[derive(ToSchema)]
struct Answer {
    role: String,
    /// Null if the model only called tools.
    content: Option<String>,
    tool_calls: Option<Vec<Value>>,
}

/// A text completion, as the upstream wrote it.
#[derive(ToSchema)]
pub(super) struct Completion {
    id: String,
    /// `text_completion`
    object: String,
    created: u64,
    /// The name that the upstream uses.
    model: String,
    choices: Vec<TextChoice>,
    usage: Option<Usage>,
}

#[derive(ToSchema)]
struct TextChoice {
    index: u32,
    text: String,
    /// `stop`, `length`, …
    #[schema(required)]
    finish_reason: Option<String>,
}

/// Tokens as the upstream counted them.
#[derive(ToSchema)]
#[expect(clippy::struct_field_names, reason = "the names are OpenAI's")]
struct Usage {
    prompt_tokens: u64,
    /// Absent from embeddings.
    completion_tokens: Option<u64>,
    total_tokens: u64,
}

/// Embeddings, as the upstream wrote them.
#[derive(ToSchema)]
pub(super) struct EmbeddingList {
    /// `list`
    object: String,
    data: Vec<Embedding>,
    /// The name that the upstream uses.
    model: String,
    usage: Option<Usage>,
}

#[derive(ToSchema)]
struct Embedding {
    index: u32,
    /// Numbers, or their base64 if that was asked for.
    embedding: Value,
}

/// What can be asked for.
#[derive(ToSchema)]
pub(super) struct ModelList {
    /// `list`
    object: String,
    data: Vec<Model>,
}

/// A model, or what can be asked for like one.
#[derive(ToSchema)]
pub(super) struct Model {
    id: String,
    /// `model`
    object: String,
    created: u64,
    owned_by: String,
    /// The model, task or ensemble that it is another name for; absent if it is none, or if the key may ask for the alias alone.
    alias_of: Option<String>,
}

//! What clients send. Only what is checked here has a type; every other field passes through.
#![expect(dead_code, reason = "the bodies are read field by field: these types only describe them")]

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ArrayBuilder, OneOfBuilder, RefOr, Schema},
};

/// A chat as OpenAI defines it. Fields that are not listed pass through as they came.
#[derive(ToSchema)]
pub(super) struct ChatRequest {
    /// A name of `GET /v1/models`, or `UPSTREAM/MODEL` for keys that may.
    #[schema(min_length = 1)]
    model: String,
    #[schema(min_items = 1)]
    messages: Vec<Message>,
    #[serde(flatten)]
    options: Options,
    #[serde(flatten)]
    streaming: Streaming,
}

/// A text completion as OpenAI defines it. Fields that are not listed pass through as they came.
#[derive(ToSchema)]
pub(super) struct CompletionRequest {
    /// A name of `GET /v1/models`, or `UPSTREAM/MODEL` for keys that may.
    #[schema(min_length = 1)]
    model: String,
    prompt: Texts,
    #[serde(flatten)]
    options: Options,
    #[serde(flatten)]
    streaming: Streaming,
}

/// Embeddings as OpenAI defines them. Fields that are not listed pass through as they came.
#[derive(ToSchema)]
pub(super) struct EmbeddingRequest {
    /// A name of `GET /v1/models`, or `UPSTREAM/MODEL` for keys that may.
    #[schema(min_length = 1)]
    model: String,
    input: Texts,
}

/// A text, or several; OpenAI's token arrays pass through too.
struct Texts;

impl PartialSchema for Texts {
    fn schema() -> RefOr<Schema> {
        let several = ArrayBuilder::new().items(Value::schema()).min_items(Some(1));
        Schema::OneOf(OneOfBuilder::new().item(String::schema()).item(several).build()).into()
    }
}

impl ToSchema for Texts {}

/// A prompt, or messages, with any option of a chat. Without `model` and `task`, the task `default` or the only model serves it.
#[derive(ToSchema)]
pub(super) struct GenerateRequest {
    #[serde(flatten)]
    prompt: Prompt,
    /// A name of `GET /v1/models`, or `UPSTREAM/MODEL` for keys that may.
    #[schema(min_length = 1)]
    model: Option<String>,
    /// A configured task; wins over `model`.
    task: Option<String>,
    #[serde(flatten)]
    options: Options,
}

/// One of the two.
#[derive(ToSchema)]
#[serde(untagged)]
enum Prompt {
    Text {
        /// Stands for a single message of the user.
        #[schema(pattern = r"\S")]
        prompt: String,
    },
    Messages {
        #[schema(min_items = 1)]
        messages: Vec<Message>,
    },
}

/// Many prompts; every further field is the default of all.
#[derive(ToSchema)]
pub(super) struct BatchRequest {
    #[serde(flatten)]
    prompts: Prompts,
    /// How many are answered at a time; 16 if left out.
    #[schema(minimum = 1, maximum = 256)]
    concurrency: Option<u64>,
    #[serde(flatten)]
    more: BTreeMap<String, Value>,
}

/// One of the two.
#[derive(ToSchema)]
#[serde(untagged)]
enum Prompts {
    Texts {
        /// A text each, at most `server.max_batch`; one that is wrong fails alone.
        #[schema(min_items = 1)]
        prompts: Vec<Value>,
    },
    Requests {
        /// Each as for `/v1/generate`, at most `server.max_batch`; one that is wrong fails alone.
        #[schema(min_items = 1)]
        requests: Vec<BTreeMap<String, Value>>,
    },
}

/// One message of a chat. Fields that are not listed pass through as they came.
#[derive(ToSchema)]
struct Message {
    role: Role,
    content: Option<MessageContent>,
}

#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
enum Role {
    System,
    Developer,
    User,
    Assistant,
    Tool,
    Function,
}

/// A text, or parts of text and images.
#[derive(ToSchema)]
#[serde(untagged)]
enum MessageContent {
    Text(String),
    Parts(Vec<Part>),
}

/// An object with a type, or just its text.
#[derive(ToSchema)]
#[serde(untagged)]
enum Part {
    Text(String),
    Object(BTreeMap<String, Value>),
}

/// Options that are checked before any upstream is called.
#[derive(ToSchema)]
struct Options {
    #[schema(minimum = 0, maximum = 4_294_967_295_i64)]
    max_tokens: Option<u64>,
    #[schema(minimum = 0, maximum = 4_294_967_295_i64)]
    max_completion_tokens: Option<u64>,
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f64>,
    #[schema(minimum = -2, maximum = 2)]
    presence_penalty: Option<f64>,
    #[schema(minimum = -2, maximum = 2)]
    frequency_penalty: Option<f64>,
    #[schema(minimum = 0, maximum = 20)]
    top_logprobs: Option<u64>,
    #[schema(minimum = 1, maximum = 128)]
    n: Option<u64>,
    /// Tools as OpenAI defines them, for models of upstreams that support them.
    #[schema(min_items = 1, value_type = Option<Vec<Tool>>)]
    tools: Option<Vec<Tool>>,
    response_format: Option<ResponseFormat>,
}

#[derive(ToSchema)]
struct Tool {
    #[serde(rename = "type")]
    kind: String,
    #[serde(flatten)]
    more: BTreeMap<String, Value>,
}

/// The form of the answer.
#[derive(ToSchema)]
struct ResponseFormat {
    /// `text`, `json_object` or `json_schema`.
    #[serde(rename = "type")]
    kind: String,
    #[serde(flatten)]
    more: BTreeMap<String, Value>,
}

#[derive(ToSchema)]
struct Streaming {
    /// Whether the answer is to come as events.
    stream: Option<bool>,
    /// Only with `stream`.
    stream_options: Option<StreamOptions>,
}

#[derive(ToSchema)]
struct StreamOptions {
    /// Whether usage is to come in an event of its own before the end.
    include_usage: Option<bool>,
}

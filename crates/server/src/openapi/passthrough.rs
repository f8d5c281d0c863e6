//! Calls that are passed through: vLLM's rerank, score and tokenizer, and OpenAI's transcriptions.
#![expect(dead_code, reason = "the bodies are passed through: these types only describe them")]

use serde_json::{Value, json};
use utoipa::{
    ToSchema,
    openapi::{HttpMethod, Object, schema::SchemaFormat},
};

use super::{
    call::{Call, Document, content, example, response, text},
    public::{MODEL, ROUTED, routed},
};

/// Documents to put in order. Fields that are not listed pass through as they came.
#[derive(ToSchema)]
struct RerankRequest {
    /// A name of `GET /v1/models`, or `UPSTREAM/MODEL` for keys that may.
    #[schema(min_length = 1)]
    model: String,
    #[schema(min_length = 1)]
    query: String,
    /// Texts, or objects with a `text`; at most 2048.
    #[schema(min_items = 1, max_items = 2048)]
    documents: Vec<Value>,
    /// How many are answered; all if left out.
    top_n: Option<u64>,
}

/// The documents, the most relevant first.
#[derive(ToSchema)]
struct RerankReply {
    results: Vec<RerankResult>,
}

#[derive(ToSchema)]
struct RerankResult {
    /// The place of the document in the request.
    index: u64,
    relevance_score: f64,
}

/// Texts to compare: one with one or several, or each with its own. Fields that are not listed pass through as they came.
#[derive(ToSchema)]
struct ScoreRequest {
    /// A name of `GET /v1/models`, or `UPSTREAM/MODEL` for keys that may.
    #[schema(min_length = 1)]
    model: String,
    /// A text or several.
    text_1: String,
    /// A text or several.
    #[schema(min_items = 1, max_items = 2048)]
    text_2: Vec<String>,
}

#[derive(ToSchema)]
struct ScoreReply {
    data: Vec<Score>,
}

#[derive(ToSchema)]
struct Score {
    index: u64,
    score: f64,
}

/// A text to cut into tokens; `messages` in place of it where the upstream takes a chat.
#[derive(ToSchema)]
struct TokenizeRequest {
    /// A name of `GET /v1/models`, or `UPSTREAM/MODEL` for keys that may.
    #[schema(min_length = 1)]
    model: String,
    prompt: String,
}

#[derive(ToSchema)]
struct TokenizeReply {
    count: u64,
    tokens: Vec<u32>,
}

#[derive(ToSchema)]
struct DetokenizeRequest {
    /// A name of `GET /v1/models`, or `UPSTREAM/MODEL` for keys that may.
    #[schema(min_length = 1)]
    model: String,
    tokens: Vec<u32>,
}

#[derive(ToSchema)]
struct DetokenizeReply {
    prompt: String,
}

/// A recording. Fields that are not listed pass through as they came; `stream` is not served.
#[derive(ToSchema)]
struct TranscriptionForm {
    /// A name of `GET /v1/models`, or `UPSTREAM/MODEL` for keys that may.
    #[schema(min_length = 1)]
    model: String,
    #[schema(schema_with = file)]
    file: Vec<u8>,
    /// ISO 639-1.
    language: Option<String>,
    /// `json`, `verbose_json`, `text`, `srt` or `vtt`, as far as the upstream has it.
    response_format: Option<String>,
}

#[derive(ToSchema)]
struct Transcription {
    text: String,
}

fn file() -> Object {
    Object::builder()
        .schema_type(utoipa::openapi::Type::String)
        .format(Some(SchemaFormat::KnownFormat(utoipa::openapi::KnownFormat::Binary)))
        .build()
}

/// What a call is called, and what it does.
struct About {
    path: &'static str,
    id: &'static str,
    summary: &'static str,
}

/// A call whose bodies are `Asked` and `Answered`, with an example of each.
fn add<Asked: ToSchema, Answered: ToSchema>(document: &mut Document, about: &About, asked: Value, answered: Value) {
    let (body, reply) = (document.schema::<Asked>(), document.schema::<Answered>());
    let call = Call::new(about.id, about.summary, ABOUT);
    let answer = response("the upstream's answer, as it came", &ROUTED)
        .content("application/json", content(reply, vec![example("whole", answered)]));
    let call = routed(call).body(body, vec![example("one", asked)]).answer(200, answer);
    document.add(HttpMethod::Post, about.path, call);
}

const ABOUT: &str = "Passed through to an upstream that `supports` it; 400 `unsupported` for models without one.";

pub(super) fn add_all(document: &mut Document) {
    let about = About { path: "/v1/rerank", id: "rerank", summary: "Documents in the order of a query" };
    let (asked, answered) = (
        json!({"model": "bge-small", "query": "red cat", "documents": ["a dog", "the red cat"]}),
        json!({"results": [{"index": 1, "relevance_score": 1.0}, {"index": 0, "relevance_score": 0.0}]}),
    );
    add::<RerankRequest, RerankReply>(document, &about, asked, answered);

    let about = About { path: "/v1/score", id: "score", summary: "How alike texts are" };
    let (asked, answered) = (
        json!({"model": "bge-small", "text_1": "red cat", "text_2": ["a dog", "the red cat"]}),
        json!({"data": [{"index": 0, "score": 0.0}, {"index": 1, "score": 1.0}]}),
    );
    add::<ScoreRequest, ScoreReply>(document, &about, asked, answered);

    let about = About { path: "/v1/tokenize", id: "tokenize", summary: "The tokens of a text" };
    let (asked, answered) = (json!({"model": MODEL, "prompt": "Hi"}), json!({"count": 2, "tokens": [72, 105]}));
    add::<TokenizeRequest, TokenizeReply>(document, &about, asked, answered);

    let about = About { path: "/v1/detokenize", id: "detokenize", summary: "The text of tokens" };
    let (asked, answered) = (json!({"model": MODEL, "tokens": [72, 105]}), json!({"prompt": "Hi"}));
    add::<DetokenizeRequest, DetokenizeReply>(document, &about, asked, answered);

    let (body, reply) = (document.schema::<TranscriptionForm>(), document.schema::<Transcription>());
    let answer = response("the upstream's answer, as it came", &ROUTED)
        .content("application/json", content(reply, vec![example("whole", json!({"text": "Hello!"}))]))
        .content("text/plain", text("Hello!\n"));
    let call = Call::new("transcribe", "The text of a recording", ABOUT);
    let call = routed(call).form(body).answer(200, answer);
    document.add(HttpMethod::Post, "/v1/audio/transcriptions", call);
}

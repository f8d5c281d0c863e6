//! A client's request: what was asked, the head that routing reads, and the body as it came.

use std::{
    any::Any,
    borrow::Cow,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use crate::{Head, InvalidRequest, Limits, Object, Rewrite, form::Form, head};

/// What the client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `POST /v1/chat/completions`
    Chat,
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/embeddings`
    Embeddings,
    /// `POST /v1/rerank`: the order of documents by a query.
    Rerank,
    /// `POST /v1/score`: how alike texts are.
    Score,
    /// `POST /v1/audio/transcriptions`: the text of a recording.
    Transcriptions,
    /// `POST /v1/tokenize`: the tokens of a text.
    Tokenize,
    /// `POST /v1/detokenize`: the text of tokens.
    Detokenize,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 8] = [
        Self::Chat,
        Self::Completions,
        Self::Embeddings,
        Self::Rerank,
        Self::Score,
        Self::Transcriptions,
        Self::Tokenize,
        Self::Detokenize,
    ];

    /// The path below an OpenAI base URL.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat => "chat/completions",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Score => "score",
            Self::Transcriptions => "audio/transcriptions",
            Self::Tokenize => "tokenize",
            Self::Detokenize => "detokenize",
        }
    }

    /// The name used in configuration, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Score => "score",
            Self::Transcriptions => "transcriptions",
            Self::Tokenize => "tokenize",
            Self::Detokenize => "detokenize",
        }
    }

    /// Whether a model writes its answer, token by token, to one prompt: only then have both a length.
    pub const fn generates(self) -> bool {
        match self {
            Self::Chat | Self::Completions => true,
            Self::Embeddings
            | Self::Rerank
            | Self::Score
            | Self::Transcriptions
            | Self::Tokenize
            | Self::Detokenize => false,
        }
    }

    /// Whether it is passed through: only the model's name is changed, and what is answered comes as a whole.
    pub const fn is_passthrough(self) -> bool {
        match self {
            Self::Rerank | Self::Score | Self::Transcriptions | Self::Tokenize | Self::Detokenize => true,
            Self::Chat | Self::Completions | Self::Embeddings => false,
        }
    }
}

/// A body of more bytes than this is long: work on it is done on a thread that relays no streams.
pub const LONG_BODY: usize = 1 << 20;
/// Fields that identify a conversation or its user, the most exact one first.
const NAMES_OF_CONVERSATION: [&str; 2] = ["prompt_cache_key", "user"];
/// This many bytes of a conversation's first messages identify it, together with their length. To hash all of a long prompt
/// would take longer than the decision.
const MOST_HASHED: usize = 512;

/// A validated request. The body is kept as it came and forwarded with small splices. A copy shares the body.
#[derive(Clone)]
pub struct Request {
    /// What is asked for.
    pub operation: Operation,
    /// What routing reads of the body.
    pub head: Head,
    body: Bytes,
    object: Object,
    /// The places of a body that is a form; `None` for JSON.
    form: Option<Form>,
    /// A hash of the body, once it is known.
    body_hash: OnceLock<u64>,
    _held: Option<Arc<dyn Any + Send + Sync>>,
}

impl Request {
    /// Reads the head of `body` in one pass and checks it.
    pub fn parse(operation: Operation, body: Bytes, limits: Limits) -> Result<Self, InvalidRequest> {
        let (head, object) = head::parse(operation, head::utf8(&body)?, limits)?;
        Ok(Self::read(operation, (head, body), (object, None)))
    }

    /// The same for the body of a transcription, which is a form of this content type.
    pub fn parse_form(body: Bytes, content_type: &str) -> Result<Self, InvalidRequest> {
        let (head, form) = Form::parse(&body, content_type)?;
        Ok(Self::read(Operation::Transcriptions, (head, body), (Object::default(), Some(form))))
    }

    fn read(operation: Operation, (head, body): (Head, Bytes), (object, form): (Object, Option<Form>)) -> Self {
        let request = Self { operation, head, body, object, form, body_hash: OnceLock::new(), _held: None };
        if request.body.len() > LONG_BODY {
            // Computed now, while this runs on a thread where a long body delays no other request.
            request.body_hash();
        }
        request
    }

    /// The same request, which holds permits and memory of its client until the last copy of it is dropped.
    #[must_use]
    pub fn holding(self, held: impl Any + Send + Sync) -> Self {
        Self { _held: Some(Arc::new(held)), ..self }
    }

    /// The size of the body in bytes.
    pub fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// The names of the top-level fields, in order.
    pub fn fields(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.object.keys(&self.body)
    }

    /// The bytes of the body that are its one prompt, as text, and what surrounds that. 0 where there is no such prompt: others
    /// have several, each of which must fit the model's context by itself, or none that a model reads.
    pub fn prompt_bytes(&self) -> usize {
        if self.operation.generates() { self.body.len().saturating_sub(self.head.image_bytes) } else { 0 }
    }

    /// The raw value of a top-level field of JSON.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.object.get(&self.body, name)
    }

    /// The content type of a body that is a form, and the body with `model` for the model's name; `None` for JSON.
    pub fn form_for(&self, model: &str) -> Option<(String, Bytes)> {
        self.form.as_ref().map(|form| (form.content_type(), form.with_model(&self.body, model)))
    }

    /// Starts a rewrite of the body, which is JSON.
    pub fn rewrite(&self) -> Rewrite<'_> {
        Rewrite::sharing(&self.body, &self.object)
    }

    /// A hash that identifies the request: by what it asks for, what its body says, and `key`, which sent it.
    pub fn fingerprint(&self, key: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.operation, key, self.body_hash()).hash(&mut hasher);
        hasher.finish()
    }

    /// A hash of what stays the same in all turns of the conversation that the request is part of: of its `prompt_cache_key`,
    /// else of its `user`, else of its messages up to the first one of the user. `None` if it has none of them.
    pub fn conversation(&self) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        let name = NAMES_OF_CONVERSATION
            .into_iter()
            .find_map(|name| self.field(name).filter(|value| value.starts_with('"') && value.len() > 2));
        match (name, &self.head.opening) {
            (Some(name), _) => name.hash(&mut hasher),
            (None, Some(opening)) => {
                // The system's messages may be the same in all conversations: the end tells them apart.
                let start = opening.start.max(opening.end.saturating_sub(MOST_HASHED));
                (opening.len(), &self.body[start..opening.end]).hash(&mut hasher);
            }
            (None, None) => return None,
        }
        Some(hasher.finish())
    }

    fn body_hash(&self) -> u64 {
        *self.body_hash.get_or_init(|| {
            let mut hasher = DefaultHasher::new();
            self.body.hash(&mut hasher);
            hasher.finish()
        })
    }

    /// A rough count of the prompt's tokens: by the size of its text and of its images, good enough to order upstreams, never
    /// to refuse. 0 where no model reads tokens.
    pub fn estimated_prompt_tokens(&self) -> u64 {
        match self.operation {
            Operation::Chat | Operation::Completions | Operation::Embeddings | Operation::Rerank | Operation::Score => {
                let text = self.body.len().saturating_sub(self.head.image_bytes);
                text as u64 / 4 + 1 + self.head.image_tokens
            }
            Operation::Transcriptions | Operation::Tokenize | Operation::Detokenize => 0,
        }
    }
}

/// Leaves the prompt out.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("operation", &self.operation)
            .field("model", &self.head.model)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation(body: &str) -> Option<u64> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        Request::parse(Operation::Chat, body, Limits { max_messages: 9 }).expect("a request").conversation()
    }

    fn chat(more: &str, system: &str, first: &str, rest: &str) -> String {
        format!(
            r#"{{"model":"m",{more}"messages":[{{"role":"system","content":"{system}"}},{{"role":"user","content":"{first}"}}{rest}]}}"#
        )
    }

    #[test]
    fn the_turns_of_a_conversation_have_one_hash_and_others_have_other_ones() {
        let answered = r#",{"role":"assistant","content":"Hi"},{"role":"user","content":"And now?"}"#;
        let first = conversation(&chat("", "Be brief.", "Hello", ""));
        assert!(first.is_some());
        assert_eq!(conversation(&chat(r#""max_tokens":5,"#, "Be brief.", "Hello", answered)), first);
        assert_ne!(conversation(&chat("", "Be brief.", "Goodbye", answered)), first);
        let long = "long ".repeat(1_000);
        assert_ne!(conversation(&chat("", &long, "Hello", "")), conversation(&chat("", &long, "Howdy", "")));
        assert_ne!(conversation(&chat("", &long, "Hello", "")), first, "its system message is another one");
    }

    #[test]
    fn a_cache_key_names_the_conversation_and_a_user_where_there_is_none() {
        let named = |more: &str, first: &str| conversation(&chat(more, "Be brief.", first, ""));
        let by_key = named(r#""prompt_cache_key":"t-1","user":"u","#, "Hello");
        assert_eq!(named(r#""user":"v","prompt_cache_key":"t-1","#, "Goodbye"), by_key);
        let by_user = named(r#""user":"u","#, "Hello");
        assert_eq!(named(r#""user":"u","prompt_cache_key":null,"#, "Goodbye"), by_user);
        assert_ne!(by_user, by_key);
        let unnamed = named("", "Hello");
        assert!(by_user != unnamed && named(r#""user":"","#, "Hello") == unnamed);
        assert_eq!(conversation(r#"{"model":"m","messages":[{"role":"system","content":"x"}]}"#), None);
    }
}

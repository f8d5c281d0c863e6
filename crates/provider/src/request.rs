//! A client's request: what was asked, the head that routing reads, and the body as it came.

use std::{
    any::Any,
    borrow::Cow,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use crate::{Head, InvalidRequest, Limits, Object, Rewrite, head};

/// What the client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `POST /v1/chat/completions`
    Chat,
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/embeddings`
    Embeddings,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 3] = [Self::Chat, Self::Completions, Self::Embeddings];

    /// The path below an OpenAI base URL.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat => "chat/completions",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
        }
    }

    /// The name used in configuration, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
        }
    }
}

/// A body of more bytes than this is long: work on it belongs on a thread that relays no streams.
pub const LONG_BODY: usize = 1 << 20;
/// Most tokens that a prompt with images is thought to have.
const TOKENS_WITH_IMAGES: u64 = 4096;

/// A validated request. The body is kept as it came and forwarded with small splices. A copy shares the body.
#[derive(Clone)]
pub struct Request {
    /// What is asked for.
    pub operation: Operation,
    /// What routing reads of the body.
    pub head: Head,
    body: Bytes,
    object: Object,
    /// A hash of the body, once it is known.
    body_hash: OnceLock<u64>,
    _held: Option<Arc<dyn Any + Send + Sync>>,
}

impl Request {
    /// Reads the head of `body` in one pass and checks it.
    pub fn parse(operation: Operation, body: Bytes, limits: Limits) -> Result<Self, InvalidRequest> {
        let (head, object) = head::parse(operation, head::utf8(&body)?, limits)?;
        let request = Self { operation, head, body, object, body_hash: OnceLock::new(), _held: None };
        if request.body.len() > LONG_BODY {
            // Now, where a long body takes nobody's time.
            request.body_hash();
        }
        Ok(request)
    }

    /// The same request, which holds what the client may be given again once nobody works on it any more: permits, memory.
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

    /// The raw value of a top-level field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.object.get(&self.body, name)
    }

    /// Starts a rewrite of the body.
    pub fn rewrite(&self) -> Rewrite<'_> {
        Rewrite::sharing(&self.body, &self.object)
    }

    /// A hash that identifies the request: by what it asks for, what its body says, and `key`, which sent it.
    pub fn fingerprint(&self, key: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.operation, key, self.body_hash()).hash(&mut hasher);
        hasher.finish()
    }

    fn body_hash(&self) -> u64 {
        *self.body_hash.get_or_init(|| {
            let mut hasher = DefaultHasher::new();
            self.body.hash(&mut hasher);
            hasher.finish()
        })
    }

    /// A rough count of the prompt's tokens, from its size: good enough to order upstreams, never to refuse. Images may be
    /// inside as text whose length says nothing about their tokens.
    pub fn estimated_prompt_tokens(&self) -> u64 {
        let by_size = self.body.len() as u64 / 4 + 1;
        if self.head.features.images { by_size.min(TOKENS_WITH_IMAGES) } else { by_size }
    }
}

/// Says nothing of the prompt.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("operation", &self.operation)
            .field("model", &self.head.model)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

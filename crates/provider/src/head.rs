//! The head of a request: what routing reads of the body, found and checked in one pass.
//!
//! A typed schema of the whole API would need a release for every field that OpenAI adds, and would re-serialise what it
//! read. So only the fields below are looked at; everything else is skipped and forwarded as it came. What a real vLLM
//! accepts silently (an unknown role) or answers with 500 is checked here, where the error can say what to change.

mod body;
mod fields;
mod images;
mod messages;
mod passthrough;

pub use body::{MAX_FIELDS, RequestBody, utf8};

use std::ops::Range;

use crate::{Malformed, Object, Operation};

/// Most texts at which an answer ends: each is looked for at every token.
const MAX_STOPS: u64 = 64;
/// Most entries of a `prompt` or an `input`.
const MAX_INPUTS: u64 = 2_048;
/// Most numbers of tokens in a `prompt` or an `input`, in all its entries together.
const MAX_TOKENS: u64 = 1 << 20;
/// Most answers that one request may ask for.
const MAX_CHOICES: u64 = 2_048;

/// Bounds on what a request may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most messages in one chat.
    pub max_messages: usize,
}

/// A request that is wrong whatever upstream it goes to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidRequest {
    /// What is wrong and what to change.
    pub message: String,
    /// The field to blame, if one is.
    pub param: Option<String>,
}

impl InvalidRequest {
    /// The body as a whole is wrong.
    pub fn body(message: impl Into<String>) -> Self {
        Self { message: message.into(), param: None }
    }

    /// One field is wrong.
    pub fn field(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { message: message.into(), param: Some(param.into()) }
    }
}

/// What an upstream must be able to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features {
    /// Tool calls.
    pub tools: bool,
    /// Image parts.
    pub images: bool,
    /// A JSON schema for the answer.
    pub json_schema: bool,
}

impl Features {
    /// Whether an upstream with these features can do all that `needed` asks for.
    pub const fn cover(self, needed: Self) -> bool {
        (self.tools || !needed.tools) && (self.images || !needed.images) && (self.json_schema || !needed.json_schema)
    }
}

/// What routing reads of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Head {
    /// The model that the client asks for.
    pub model: String,
    /// Whether the answer is to be streamed; never for embeddings.
    pub stream: bool,
    /// Whether the client wants usage at the end of the stream.
    pub include_usage: bool,
    /// The client's limit on tokens of the answer, if it names one.
    pub max_tokens: Option<u64>,
    /// How many answers are asked for to each prompt.
    pub n: u64,
    /// How many answers are computed to each prompt, of which the `n` best are sent: at least 1.
    pub best_of: u64,
    /// How many prompts there are: more than one only for a text completion.
    pub prompts: u64,
    /// What the request needs of an upstream.
    pub features: Features,
    /// What the images in messages take of the body, in bytes: they are part of the prompt by `image_tokens` instead.
    pub image_bytes: usize,
    /// What the images in messages are thought to take of the prompt, in tokens.
    pub image_tokens: u64,
    /// How long the audio is thought to be, in milliseconds; 0 without any.
    pub audio_ms: u64,
    /// Whether a message holds audio, video, a file, or a part of a kind that is not known.
    pub has_media: bool,
    /// Whether a message holds more than text from the system, the user or the assistant: tool calls, parts, reasoning, the
    /// role `developer`, members that are not known. Adapters of strict upstreams look at such messages more closely.
    pub has_special_messages: bool,
    /// The bytes of the body from the first message to the end of the user's first one: the same in every turn of a
    /// conversation. `None` unless the user says something in a chat.
    pub opening: Option<Range<usize>>,
}

impl Head {
    /// How many choices a complete answer has.
    pub fn choices(&self) -> u64 {
        self.n.saturating_mul(self.prompts)
    }

    /// How many choices an upstream computes for a complete answer: what the request costs, in units of an ordinary one.
    pub fn computed_choices(&self) -> u64 {
        self.n.max(self.best_of).saturating_mul(self.prompts)
    }
}

/// Reads and checks the head of `text`.
pub(crate) fn parse(operation: Operation, text: &str, limits: Limits) -> Result<(Head, Object), InvalidRequest> {
    let mut state = State {
        operation,
        body: RequestBody::new(text)?,
        limits,
        head: Head { n: 1, best_of: 1, prompts: 1, ..Head::default() },
        has_input: false,
    };
    let object = state.read()?;
    state.check()?;
    passthrough::check_required(operation, text, &object)?;
    Ok((state.head, object))
}

struct State<'a> {
    operation: Operation,
    body: RequestBody<'a>,
    limits: Limits,
    head: Head,
    has_input: bool,
}

/// Why the value of a field is refused.
enum Refused {
    /// It cannot be read.
    Malformed(Malformed),
    /// It is read, and wrong.
    Invalid(InvalidRequest),
}

impl From<Malformed> for Refused {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl State<'_> {
    fn read(&mut self) -> Result<Object, InvalidRequest> {
        let mut object = Object::with_room();
        while let Some(key) = self.body.next_field()? {
            let start = self.body.reader.position();
            self.member().map_err(|refused| match refused {
                Refused::Malformed(malformed) => self.body.refused(malformed),
                Refused::Invalid(invalid) => invalid,
            })?;
            object.push(key, start..self.body.reader.position());
        }
        Ok(object)
    }

    /// The checks that need the whole object.
    fn check(&self) -> Result<(), InvalidRequest> {
        if self.head.model.is_empty() {
            return Err(no_model());
        }
        if let Some(field) = input_field(self.operation).filter(|_| !self.has_input) {
            return Err(InvalidRequest::field(field, format!("'{field}' is required")));
        }
        if self.head.computed_choices() > MAX_CHOICES {
            let (field, prompts) = (if self.head.n > 1 { "n" } else { "best_of" }, self.head.prompts);
            let message =
                format!("{prompts} prompts times '{field}' are more than {MAX_CHOICES} answers: split the request");
            return Err(InvalidRequest::field(field, message));
        }
        Ok(())
    }

    fn wrong(&self, message: impl Into<String>) -> Refused {
        Refused::Invalid(InvalidRequest::field(self.body.field.decoded(), message))
    }
}

/// As much of a client's own text as an error repeats.
fn shown(text: &str) -> &str {
    text.char_indices().nth(64).map_or(text, |(end, _)| &text[..end])
}

/// No model is named.
pub(crate) fn no_model() -> InvalidRequest {
    InvalidRequest::field("model", "'model' is required: name one of the models listed by GET /v1/models")
}

/// What an answer is made of; `None` for calls that are passed through, whose fields [`passthrough`] knows.
const fn input_field(operation: Operation) -> Option<&'static str> {
    match operation {
        Operation::Chat => Some("messages"),
        Operation::Completions => Some("prompt"),
        Operation::Embeddings => Some("input"),
        Operation::Rerank
        | Operation::Score
        | Operation::Transcriptions
        | Operation::Tokenize
        | Operation::Detokenize => None,
    }
}

#[cfg(test)]
mod tests;

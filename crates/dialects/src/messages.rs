//! Anthropic's Messages API: `POST /v1/messages` and `POST /v1/messages/count_tokens`.

mod block;
mod ending;
mod error;
mod models;
mod request;
mod stream;
mod whole;

pub use error::{Problem, ProblemKind, error_body, no_thread_body};
pub use models::{model, models};
pub use request::{to_chat, to_counted_chat};
pub use stream::Stream;
pub use whole::whole;

/// What the answer to a request has to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The model, as the client wrote it.
    pub model: String,
    /// Whether the answer shows what the model thinks: a client that did not ask for that may take the first block for the text.
    pub shows_thinking: bool,
}

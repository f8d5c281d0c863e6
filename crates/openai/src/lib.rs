//! HTTP to any OpenAI-compatible upstream, and the plain `openai` provider.
//!
//! What the three adapters share lives here: one pooled client per worker thread, the SSE splitter, the reading of chunks,
//! the classification of failures and the quota headers. An adapter adds its own [`Dialect`] and its own rewrites.

mod chunk;
mod classify;
mod client;
mod outgoing;
mod quota;
mod reply;
mod sse;

pub use classify::{Dialect, ErrorBody, Failure, OpenAiDialect, classify};
pub use client::{BuildError, Client, Settings};
pub use outgoing::{Served, prepare};
use provider::{Call, Capacity, Error, Provider, Reply, ReplyHead, Request};
pub use quota::{quota, quota_reset};
pub use sse::{Event, Splitter, TooLong};

/// What the fuzz targets reach beyond the public face.
#[doc(hidden)]
pub mod fuzzing {
    use provider::{Error, Frame};

    use crate::{Event, OpenAiDialect, chunk};

    /// Reads an event of a stream.
    pub fn frame(event: Event, wants_usage: bool) -> Result<Frame, Error> {
        let usage_for = if wants_usage { chunk::UsageFor::Client } else { chunk::UsageFor::Nobody };
        chunk::frame(event, usage_for, &OpenAiDialect)
    }
}

/// Any OpenAI-compatible upstream, taken at its word.
pub struct OpenAi {
    client: Client,
    served: Served,
}

impl OpenAi {
    /// An upstream behind `client` that serves `served`.
    pub fn new(client: Client, served: Served) -> Self {
        Self { client, served }
    }
}

#[async_trait::async_trait]
impl Provider for OpenAi {
    async fn call(&self, request: &Request, _call: &Call) -> Result<Reply, Error> {
        let mut head = ReplyHead::default();
        let body = prepare(request, &self.served, &mut head).finish();
        self.client.send(request, body, head, &OpenAiDialect).await
    }

    async fn capacity(&self) -> Result<Capacity, Error> {
        Ok(Capacity::default())
    }
}

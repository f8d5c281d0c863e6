//! HTTP to any OpenAI-compatible upstream, and the plain `openai` provider.
//!
//! What the three adapters share lives here: one pooled client per worker thread, the SSE splitter, the reading of chunks,
//! the classification of failures and the quota headers. An adapter adds its own [`Dialect`] and its own rewrites.

pub mod blame;
mod body;
mod chunk;
mod classify;
mod client;
mod connections;
mod injected;
mod mark;
mod outgoing;
mod passthrough;
mod peek;
mod pool;
mod quota;
mod reply;
mod sse;
mod stream;
mod template;
mod whole;

use std::sync::Arc;

pub use body::{ErrorBody, Shape};
pub use classify::{Dialect, Failure, Finish, OpenAiDialect, classify, finish};
pub use client::{BuildError, Client, Settings};
pub use outgoing::{Finished, Outgoing, Served, rewritten};
use provider::{Call, Capacity, Error, Provider, Reply, Request};
pub use quota::{quota, quota_reset};
pub use sse::{Event, Splitter, TooLong};

/// What fuzz targets and property tests reach beyond the public API.
#[doc(hidden)]
pub mod fuzzing;

/// Any OpenAI-compatible upstream, without special treatment.
pub struct OpenAi {
    client: Client,
    served: Arc<Served>,
}

impl OpenAi {
    /// An upstream behind `client` that serves `served`.
    pub fn new(client: Client, served: Served) -> Self {
        Self { client, served: Arc::new(served) }
    }
}

#[async_trait::async_trait]
impl Provider for OpenAi {
    async fn call(&self, request: &Request, call: &Call) -> Result<Reply, Error> {
        let served = self.served.clone();
        let rewrite = move |request: &Request, call: &Call| Ok(Outgoing::new(request, &served, call).finish());
        let finished = rewritten(request, call, rewrite).await?;
        self.client.send(request, call, finished, &OpenAiDialect).await
    }

    async fn capacity(&self) -> Result<Capacity, Error> {
        Ok(Capacity::default())
    }
}

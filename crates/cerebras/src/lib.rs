//! The Cerebras provider.
//!
//! Cerebras refuses every unknown field, and every unknown member within one. What it accepts is a list at every depth
//! (`fields`, `messages`, `tools`, `format`); everything else is left out and named in a header. A field that cannot be
//! left out without changing the answer is refused before anything is sent (`exclude` and the same modules), so that
//! the router asks another upstream. After a refusal that names a field that can be left out, a second call is made
//! without it (`refusal`). Errors are flat, and a 429 has three meanings (`dialect`).

mod calls;
mod dialect;
mod exclude;
mod fields;
mod format;
mod messages;
mod outgoing;
mod refusal;
mod schema;
mod tools;
mod typed;

use std::sync::Arc;

use dialect::CerebrasDialect;
use http::header::{HeaderName, HeaderValue};
use openai::{Client, Served};
use provider::{Call, Capacity, Error, Provider, Reply, Request};

/// What is served.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Cerebras' id of the model.
    pub model: String,
    /// Sent where the client names no limit. Cerebras charges the limit to the quota before it answers, so keep it
    /// tight.
    pub default_max_tokens: Option<u64>,
    /// Its context in tokens, if known.
    pub context_tokens: Option<u64>,
}

/// One model at Cerebras.
pub struct Cerebras {
    client: Client,
    served: Arc<Served>,
    model: Arc<str>,
}

/// Headers that the client must send with every call: the version of the API that this adapter was written for.
pub fn headers() -> Vec<(HeaderName, HeaderValue)> {
    vec![(HeaderName::from_static("x-cerebras-version-patch"), HeaderValue::from_static("2"))]
}

impl Cerebras {
    /// A model behind `client`, which sends [`headers`].
    pub fn new(client: Client, settings: Settings) -> Self {
        let served = Served::new(&settings.model, settings.default_max_tokens, "max_completion_tokens")
            .with_plain_stream_options()
            .with_context(settings.context_tokens);
        Self { client, served: Arc::new(served), model: settings.model.into() }
    }
}

#[async_trait::async_trait]
impl Provider for Cerebras {
    async fn call(&self, request: &Request, call: &Call) -> Result<Reply, Error> {
        let (served, model) = (self.served.clone(), self.model.clone());
        let rewrite = move |request: &Request, call: &Call| {
            exclude::check(request, &model)?;
            Ok(outgoing::outgoing(request, &served, call, &model)?.finish())
        };
        let finished = openai::rewritten(request, call, rewrite).await?;
        let answered = self.client.send(request, call, finished, &CerebrasDialect).await;
        answered.map_err(|error| refusal::judged(error, request, call))
    }

    async fn capacity(&self) -> Result<Capacity, Error> {
        Ok(Capacity::default())
    }
}

#[cfg(test)]
mod tests;

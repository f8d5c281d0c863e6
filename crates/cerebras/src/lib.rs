//! The Cerebras provider.
//!
//! Cerebras refuses every field that it does not know, so what it takes is a list (`fields`) and the rest is left out
//! and said. What cannot be left out without changing the answer is refused before anything is sent (`exclude`), so
//! that the router can go where it is served. Errors are flat, and a 429 has three meanings (`dialect`).

mod dialect;
mod exclude;
mod fields;
mod outgoing;

use dialect::CerebrasDialect;
use openai::{Client, Served};
use provider::{Call, Capacity, Error, ErrorKind, Provider, Reply, Request};
use reqwest::header::{HeaderName, HeaderValue};

/// What is served.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Cerebras' id of the model.
    pub model: String,
    /// Sent where the client names no limit. Cerebras charges the limit to the quota before it answers, so keep it
    /// tight.
    pub default_max_tokens: Option<u64>,
}

/// One model at Cerebras.
pub struct Cerebras {
    client: Client,
    served: Served,
    model: String,
}

/// Headers that the client must send with every call: the version of the API that this adapter was written for.
pub fn headers() -> Vec<(HeaderName, HeaderValue)> {
    vec![(HeaderName::from_static("x-cerebras-version-patch"), HeaderValue::from_static("2"))]
}

impl Cerebras {
    /// A model behind `client`, which sends [`headers`].
    pub fn new(client: Client, settings: Settings) -> Self {
        let served = Served::new(&settings.model, settings.default_max_tokens, "max_completion_tokens")
            .with_plain_stream_options();
        Self { client, served, model: settings.model }
    }

    async fn send(&self, request: &Request, without: Option<&str>) -> Result<Reply, Error> {
        let (body, head) = outgoing::body(request, &self.served, &self.model, without)?;
        self.client.send(request, body, head, &CerebrasDialect).await
    }
}

#[async_trait::async_trait]
impl Provider for Cerebras {
    async fn call(&self, request: &Request, _call: &Call) -> Result<Reply, Error> {
        exclude::check(request, &self.model)?;
        let error = match self.send(request, None).await {
            Ok(reply) => return Ok(reply),
            Err(error) if error.code.as_deref() == Some("wrong_api_format") => error,
            Err(error) => return Err(error),
        };
        let suspect = fields::SUSPECT.into_iter().find(|name| request.field(name).is_some() && blames(&error, name));
        match suspect {
            // Whether a model takes these is not documented: they are worth a try, and not worth a failure.
            Some(name) => self.send(request, Some(name)).await.map_err(|error| judged(error, request)),
            None => Err(judged(error, request)),
        }
    }

    async fn capacity(&self) -> Result<Capacity, Error> {
        Ok(Capacity::default())
    }
}

/// Decides whose mistake a refused format is: only a wrong value in a field of the client's own is the client's.
fn judged(error: Error, request: &Request) -> Error {
    if error.kind != ErrorKind::InvalidRequest || error.code.as_deref() != Some("wrong_api_format") {
        return error;
    }
    let names_a_limit = request.head.max_tokens.is_some() && blames(&error, "max_completion_tokens");
    let is_clients = names_a_limit || request.fields().any(|name| blames(&error, name));
    let is_unsupported = error.message.to_ascii_lowercase().contains("unsupported");
    if is_clients && !is_unsupported {
        return error;
    }
    Error { kind: ErrorKind::Unsupported, ..error }
}

/// Whether `error` is about the field `name`.
fn blames(error: &Error, name: &str) -> bool {
    let outermost = error.param.as_deref().and_then(|param| param.split(['.', '[']).next());
    if outermost == Some(name) {
        return true;
    }
    // Only where a field is quoted or addressed: a bare word may be any word.
    let named = |(before, after): (&str, &str)| {
        error.message.match_indices(name).any(|(at, _)| {
            let (left, right) = (&error.message[..at], &error.message[at + name.len()..]);
            left.ends_with(before) && right.starts_with(after)
        })
    };
    [("'", "'"), ("`", "`"), ("\"", "\"")].into_iter().any(named)
        || [":", ".", "[", " "].into_iter().any(|after| named(("body.", after)))
        || error.message.strip_prefix(name).is_some_and(|rest| rest.starts_with([':', '.', '[']))
}

#[cfg(test)]
mod tests;

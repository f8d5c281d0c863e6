//! Calls to one upstream: where they go, what they carry, and what an answer or its absence means.

use std::{collections::HashMap, error::Error as StdError, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    Method, Uri,
    header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use http_body_util::Full;
use provider::{Adjustment, Call, Error, ErrorKind, MemoryBudget, Operation, Reply, Request, UpstreamIds};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::{
    blame::{self, Signal},
    classify::{Dialect, Failure, OpenAiDialect},
    outgoing::Finished,
    passthrough,
    pool::{Pools, Response, SendError},
    reply::{self, CallDetails},
};

/// How much of the body of a failed call is read, in bytes.
const MAX_ERROR_BODY: usize = 64 << 10;

/// The message for the client if the connection broke.
const BROKE: &str = "the connection to the upstream broke";
/// The message for the client and the logs if a certificate has expired or is another host's, or the TLS version is too
/// old.
const NO_TLS: &str =
    "no TLS connection to the upstream could be made: its certificate or its protocol is not acceptable";
/// Longest id of an upstream's that is kept, in bytes.
const MAX_ID: usize = 128;

/// Where and how to reach an upstream.
pub struct Settings {
    /// Where the OpenAI paths live, such as `https://api.cerebras.ai/v1`.
    pub base_url: String,
    /// Sent as a bearer token.
    pub api_key: Option<SecretString>,
    /// Longest wait for a connection, TLS included.
    pub connect_timeout: Duration,
    /// Further headers of every call.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The base URL is not one.
    #[error("{0:?} is not a URL")]
    Url(String),
    /// The key cannot be sent in a header.
    #[error("the API key holds characters that cannot be sent in a header")]
    Key,
    /// TLS could not be set up.
    #[error("TLS could not be set up: {0}")]
    Tls(rustls::Error),
}

/// HTTP to one upstream. A clone uses the same connections.
#[derive(Clone)]
pub struct Client {
    pools: Arc<Pools>,
    /// One per operation, in the order of `Operation::ALL`, which is that of its variants.
    urls: HashMap<Operation, Uri>,
    /// Of calls whose answer is whole.
    headers: HeaderMap,
    /// Of calls whose answer is a stream.
    stream_headers: HeaderMap,
}

impl Client {
    /// Makes a client.
    pub fn new(settings: &Settings) -> Result<Self, BuildError> {
        let pools = Pools::new(settings.connect_timeout).map_err(BuildError::Tls)?;
        Self::on(Arc::new(pools), settings)
    }

    /// A client with other settings that goes on with the connections of this one. Another limit for connecting needs new ones.
    pub fn renewed(&self, settings: &Settings) -> Result<Self, BuildError> {
        if settings.connect_timeout != self.pools.connect_timeout() {
            return Self::new(settings);
        }
        Self::on(self.pools.clone(), settings)
    }

    fn on(pools: Arc<Pools>, settings: &Settings) -> Result<Self, BuildError> {
        let base = format!("{}/", settings.base_url.trim_end_matches('/'));
        let bad_url = || BuildError::Url(settings.base_url.clone());
        let base = Url::parse(&base).map_err(|_| bad_url())?;
        let urls = Operation::ALL.iter().map(|operation| {
            let url = base.join(&path(&base, *operation)).map_err(|_| bad_url())?;
            Ok((*operation, url.as_str().parse().map_err(|_| bad_url())?))
        });
        let urls = urls.collect::<Result<_, BuildError>>()?;
        let mut headers: HeaderMap = settings.headers.iter().cloned().collect();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(key) = &settings.api_key {
            let bearer = format!("Bearer {}", key.expose_secret());
            let mut bearer = HeaderValue::try_from(bearer).map_err(|_| BuildError::Key)?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let mut stream_headers = headers.clone();
        stream_headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        Ok(Self { pools, urls, headers, stream_headers })
    }

    /// Sends `finished` for `request` and reads the reply as `dialect` has it.
    ///
    /// # Errors
    /// What is an upstream's failure by [`crate::blame`]; with what to change where the same upstream is worth a second call.
    pub async fn send(
        &self,
        request: &Request,
        call: &Call,
        finished: Finished,
        dialect: &'static dyn Dialect,
    ) -> Result<Reply, Error> {
        let url = &self.urls[&request.operation];
        let Finished { body, content_type, mut head, injected } = finished;
        let headers = if request.head.stream { &self.stream_headers } else { &self.headers };
        let mut http_call = http_call(Method::POST, url.clone(), headers.clone(), body);
        if let Some(content_type) = content_type {
            let unsendable =
                |_| Error::new(ErrorKind::InvalidRequest, "the form's boundary cannot be sent in a header");
            let content_type = HeaderValue::try_from(content_type).map_err(unsendable)?;
            http_call.headers_mut().insert(CONTENT_TYPE, content_type);
            http_call.headers_mut().insert(ACCEPT, HeaderValue::from_static("*/*"));
        }
        let answered = if call.adjustment == Some(Adjustment::FreshConnection) {
            self.pools.send_fresh(http_call).await
        } else {
            self.pools.send(http_call).await
        };
        let response = answered.map_err(unanswered)?;
        let details = CallDetails { injected, ids: ids(response.headers()) };
        if !response.status().is_success() {
            return Err(details.judge(failure(response, Some(request.operation), &call.memory, dialect).await));
        }
        head.quota = crate::quota(response.headers());
        head.ids = details.ids.clone();
        if request.operation == Operation::Transcriptions {
            head.media_type = passthrough::text_type(response.headers());
        }
        Ok(Reply { head, frames: reply::frames(response, request, call, dialect, details) })
    }

    /// Fetches a small JSON document, with the same key.
    pub async fn get_json(&self, url: Url, dialect: &'static dyn Dialect) -> Result<serde_json::Value, Error> {
        self.json(Method::GET, url, Bytes::new(), dialect).await
    }

    /// Posts a small JSON document to a URL and reads another, with the same key.
    pub async fn post_json(&self, url: &str, body: Bytes) -> Result<serde_json::Value, Error> {
        let url = Url::parse(url).map_err(|_| blame::error(&Signal::Connect, format!("{url:?} is not a URL")))?;
        self.json(Method::POST, url, body, &OpenAiDialect).await
    }

    /// Sends a small JSON document, or nothing, and reads another, with the same key.
    pub async fn json(
        &self,
        method: Method,
        url: Url,
        body: Bytes,
        dialect: &'static dyn Dialect,
    ) -> Result<serde_json::Value, Error> {
        let bad_url = |_| blame::error(&Signal::Connect, "the URL to call is none");
        let url: Uri = url.as_str().parse().map_err(bad_url)?;
        let call = http_call(method, url, self.headers.clone(), body);
        let response = self.pools.send(call).await.map_err(|error| Error { again: None, ..unanswered(error) })?;
        if !response.status().is_success() {
            return Err(failure(response, None, &MemoryBudget::default(), dialect).await);
        }
        // These are the router's own calls, few at a time: no client can make them take much.
        let read = reply::read(response, MAX_ERROR_BODY * 16, &MemoryBudget::default()).await?;
        serde_json::from_slice(&read.body).map_err(|_| blame::protocol("the upstream's answer is not JSON"))
    }
}

/// Where an operation is below the base URL. vLLM has its tokenizer beside the versioned API.
fn path(base: &Url, operation: Operation) -> String {
    match operation {
        Operation::Tokenize | Operation::Detokenize if base.path().ends_with("/v1/") => {
            format!("../{}", operation.path())
        }
        Operation::Chat
        | Operation::Completions
        | Operation::Embeddings
        | Operation::Rerank
        | Operation::Score
        | Operation::Transcriptions
        | Operation::Tokenize
        | Operation::Detokenize => operation.path().to_owned(),
    }
}

fn http_call(method: Method, url: Uri, headers: HeaderMap, body: Bytes) -> http::Request<Full<Bytes>> {
    let mut call = http::Request::new(Full::new(body));
    *call.method_mut() = method;
    *call.uri_mut() = url;
    *call.headers_mut() = headers;
    call
}

async fn failure(
    response: Response,
    operation: Option<Operation>,
    memory: &MemoryBudget,
    dialect: &dyn Dialect,
) -> Error {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    // If there is no memory for the body of a failure, its status alone decides.
    let start = reply::read_start(response, MAX_ERROR_BODY, memory).await.ok();
    let body = start.as_ref().map_or(&[][..], |start| &start.body);
    dialect.classify(&Failure { operation, status, headers: &headers, body })
}

/// What an upstream calls the call, its worker, and its edge.
fn ids(headers: &HeaderMap) -> UpstreamIds {
    let (mut inference, mut request, mut worker, mut edge) = (None, None, None, None);
    // One pass costs less than a lookup by each name, and most upstreams send none of them.
    for (name, value) in headers {
        let id = match name.as_str() {
            "inference-id" => &mut inference,
            "x-request-id" => &mut request,
            "x-runpod-worker-id" => &mut worker,
            "cf-ray" => &mut edge,
            _ => continue,
        };
        let text = value.to_str().ok().filter(|text| !text.is_empty() && text.len() <= MAX_ID);
        *id = id.take().or_else(|| text.map(str::to_owned));
    }
    UpstreamIds::new(inference.or(request).or_else(|| edge.clone()), worker, edge)
}

/// Whether no TLS connection could be made. What exactly was wrong may name the upstream's host.
fn is_tls(error: &(dyn StdError + 'static)) -> bool {
    // An I/O error does not name what it wraps as its source.
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let inner = wrapped.map(|inner| inner as &(dyn StdError + 'static)).or_else(|| error.source());
    error.is::<rustls::Error>() || inner.is_some_and(is_tls)
}

/// What it means that a call got no answer. The messages name no address, because they may reach the client.
fn unanswered(error: SendError) -> Error {
    match error {
        SendError::Stale => Error { again: Some(Adjustment::FreshConnection), ..blame::error(&Signal::Stale, BROKE) },
        SendError::Failed(error) if error.is_connect() => {
            blame::error(&Signal::Connect, if is_tls(&error) { NO_TLS } else { "the upstream could not be reached" })
        }
        SendError::Failed(_) => broke(),
    }
}

/// The connection ended amid an answer, or before it.
pub(crate) fn broke() -> Error {
    blame::error(&Signal::Broke, BROKE)
}

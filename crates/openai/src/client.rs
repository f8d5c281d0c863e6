//! One pooled HTTP client per worker thread.
//!
//! A pooled connection is driven by the runtime that opened it. Actix runs one current-thread runtime per worker, so with
//! one client for all, most requests would travel over a connection that another thread drives, at the price of two thread
//! wake-ups per read. HTTP/1.1 only: an HTTP/2 pool would put all streams on one connection and queue what exceeds its limit
//! of streams. Redirects are not followed and proxies from the environment not used: the key goes to the configured host.

use std::{
    error::Error as StdError,
    io,
    sync::{Arc, Once},
    time::Duration,
};

use bytes::Bytes;
use provider::{Adjustment, Call, Error, MemoryBudget, Operation, Reply, Request, UpstreamIds};
use reqwest::{
    Method, Url,
    header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use thread_local::ThreadLocal;

use crate::{
    blame::{self, Signal},
    classify::{Dialect, Failure, OpenAiDialect},
    connections::Answered,
    outgoing::Finished,
    reply::{self, Told},
};

/// How much of the body of a failed call is read, in bytes.
const MAX_ERROR_BODY: usize = 64 << 10;

/// What a client reads where the connection broke.
const BROKE: &str = "the connection to the upstream broke";
/// What a client reads, and the logs, where a certificate has expired or is another host's, or the protocol is too old.
const NO_TLS: &str =
    "no TLS connection to the upstream could be made: its certificate or its protocol is not acceptable";
/// Most connections that a thread keeps for later calls.
const MOST_KEPT: usize = 4096;
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
    /// TLS or the pool could not be set up.
    #[error("the HTTP client could not be set up: {0}")]
    Http(reqwest::Error),
}

/// HTTP to one upstream. A clone uses the same connections.
#[derive(Clone)]
pub struct Client {
    pools: Arc<Pools>,
    /// One per operation, in the order of `Operation::ALL`.
    urls: [Url; Operation::ALL.len()],
    /// Of calls whose answer is whole.
    headers: HeaderMap,
    /// Of calls whose answer is a stream.
    stream_headers: HeaderMap,
}

/// The connections of an upstream. They carry no key: that goes with every call.
struct Pools {
    per_thread: ThreadLocal<Pool>,
    /// Keeps no connection: for calls that a kept one has failed.
    fresh: ThreadLocal<reqwest::Client>,
    prototype: reqwest::Client,
    connect_timeout: Duration,
}

/// The connections of one thread.
struct Pool {
    http: reqwest::Client,
    answered: Answered,
}

impl Pools {
    fn new(connect_timeout: Duration) -> Result<Self, BuildError> {
        let prototype = build(connect_timeout, MOST_KEPT).map_err(BuildError::Http)?;
        Ok(Self { per_thread: ThreadLocal::new(), fresh: ThreadLocal::new(), prototype, connect_timeout })
    }

    fn pool(&self) -> &Pool {
        self.per_thread.get_or(|| Pool {
            // Building worked once already; the prototype is merely slower from another thread.
            http: build(self.connect_timeout, MOST_KEPT).unwrap_or_else(|_| self.prototype.clone()),
            answered: Answered::new(MOST_KEPT),
        })
    }

    fn fresh(&self) -> &reqwest::Client {
        self.fresh.get_or(|| build(self.connect_timeout, 0).unwrap_or_else(|_| self.prototype.clone()))
    }
}

impl Client {
    /// Makes a client.
    pub fn new(settings: &Settings) -> Result<Self, BuildError> {
        Self::on(Arc::new(Pools::new(settings.connect_timeout)?), settings)
    }

    /// A client with other settings that goes on with the connections of this one. Another limit for connecting needs new ones.
    pub fn renewed(&self, settings: &Settings) -> Result<Self, BuildError> {
        if settings.connect_timeout != self.pools.connect_timeout {
            return Self::new(settings);
        }
        Self::on(self.pools.clone(), settings)
    }

    fn on(pools: Arc<Pools>, settings: &Settings) -> Result<Self, BuildError> {
        let base = format!("{}/", settings.base_url.trim_end_matches('/'));
        let bad_url = |_| BuildError::Url(settings.base_url.clone());
        let base = Url::parse(&base).map_err(bad_url)?;
        let [chat, completions, embeddings] =
            Operation::ALL.map(|operation| base.join(operation.path()).map_err(bad_url));
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
        Ok(Self { pools, urls: [chat?, completions?, embeddings?], headers, stream_headers })
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
        let url = match request.operation {
            Operation::Chat => &self.urls[0],
            Operation::Completions => &self.urls[1],
            Operation::Embeddings => &self.urls[2],
        };
        let Finished { body, mut head, injected } = finished;
        let mut http_call = reqwest::Request::new(Method::POST, url.clone());
        let headers = if request.head.stream { &self.stream_headers } else { &self.headers };
        *http_call.headers_mut() = headers.clone();
        *http_call.body_mut() = Some(body.into());
        let response = if call.adjustment == Some(Adjustment::FreshConnection) {
            self.pools.fresh().execute(http_call).await.map_err(|error| transport(&error))?
        } else {
            let Pool { http, answered } = self.pools.pool();
            let response = http.execute(http_call).await.map_err(|error| {
                if answered.is_stale(&error) {
                    let error = blame::error(&Signal::Stale, BROKE);
                    return Error { again: Some(Adjustment::FreshConnection), ..error };
                }
                transport(&error)
            })?;
            answered.note(response.extensions());
            response
        };
        let told = Told { injected, ids: ids(response.headers()) };
        if !response.status().is_success() {
            return Err(told.judge(failure(response, Some(request.operation), &call.memory, dialect).await));
        }
        head.quota = crate::quota(response.headers());
        head.ids = told.ids.clone();
        Ok(Reply { head, frames: reply::frames(response, request, &call.memory, dialect, told) })
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
        let mut call = reqwest::Request::new(method, url);
        *call.headers_mut() = self.headers.clone();
        *call.body_mut() = (!body.is_empty()).then(|| body.into());
        let response = self.pools.pool().http.execute(call).await.map_err(|error| transport(&error))?;
        if !response.status().is_success() {
            return Err(failure(response, None, &MemoryBudget::default(), dialect).await);
        }
        // These are the router's own calls, few at a time: no client can make them take much.
        let read = reply::read(response, MAX_ERROR_BODY * 16, &MemoryBudget::default()).await?;
        serde_json::from_slice(&read.body).map_err(|_| blame::protocol("the upstream's answer is not JSON"))
    }
}

fn build(connect_timeout: Duration, most_kept: usize) -> Result<reqwest::Client, reqwest::Error> {
    static CRYPTO: Once = Once::new();
    CRYPTO.call_once(|| {
        // An error means that the process has chosen a provider already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
    });
    reqwest::Client::builder()
        .no_proxy()
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(connect_timeout)
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(most_kept)
        .tcp_nodelay(true)
        .build()
}

async fn failure(
    response: reqwest::Response,
    operation: Option<Operation>,
    memory: &MemoryBudget,
    dialect: &dyn Dialect,
) -> Error {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    // A failure whose words have no room is judged by its status.
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

/// What a transport error means. The messages name no address, because they may reach the client.
pub(crate) fn transport(error: &reqwest::Error) -> Error {
    if error.is_connect() || error.is_builder() {
        return blame::error(
            &Signal::Connect,
            if is_tls(error) { NO_TLS } else { "the upstream could not be reached" },
        );
    }
    blame::error(&Signal::Broke, BROKE)
}

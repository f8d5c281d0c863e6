//! The connections of an upstream: one pool per worker thread.
//!
//! A pooled connection is driven by the runtime that opened it. Actix runs one current-thread runtime per worker, so with
//! one pool for all, most requests would travel over a connection that another thread drives, at the price of two thread
//! wake-ups per read. HTTP/1.1 only: an HTTP/2 pool would put all streams on one connection and queue what exceeds its limit
//! of streams. Redirects are not followed and proxies from the environment not used: the key goes to the configured host.

use std::{
    error::Error as StdError,
    sync::Once,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::ClientConfig;
use rustls_platform_verifier::BuilderVerifierExt as _;
use thread_local::ThreadLocal;
use tokio::time::timeout;
use tower_service::Service;

use crate::connections::Answered;

/// Most connections that a thread keeps for later calls.
const MOST_KEPT: usize = 4096;
/// How long a connection is kept for a later call.
const LONGEST_KEPT: Duration = Duration::from_secs(30);
/// TCP keep-alive: a connection that is silent for this long is probed, and again after the same time.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// How many such probes may stay without an answer.
const KEEPALIVES_MISSED: u32 = 3;
/// Longest time that sent bytes may stay unacknowledged (Linux: `TCP_USER_TIMEOUT`).
const LONGEST_UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// An answer whose body is still to be read.
pub(crate) type Response = http::Response<Incoming>;

/// Connects over TCP, and TLS for `https`, within a limit for both together.
#[derive(Clone)]
struct Connector {
    https: HttpsConnector<HttpConnector>,
    limit: Duration,
}

impl Service<Uri> for Connector {
    type Response = <HttpsConnector<HttpConnector> as Service<Uri>>::Response;
    type Error = Box<dyn StdError + Send + Sync>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let (limit, connecting) = (self.limit, self.https.call(url));
        Box::pin(async move { timeout(limit, connecting).await? })
    }
}

/// The connections of an upstream. They carry no key: that goes with every call.
pub(crate) struct Pools {
    per_thread: ThreadLocal<Pool>,
    /// A pool that keeps no connection: for repeats of calls that failed on a kept one.
    fresh: ThreadLocal<legacy::Client<Connector, Full<Bytes>>>,
    connector: Connector,
}

/// The connections of one thread.
struct Pool {
    http: legacy::Client<Connector, Full<Bytes>>,
    answered: Answered,
}

/// Why a call got no answer.
#[derive(Debug)]
pub(crate) enum SendError {
    /// A kept connection was closed by the other side before a byte of an answer.
    Stale,
    /// Anything else.
    Failed(legacy::Error),
}

impl Pools {
    /// Pools whose connections are made within `connect_timeout`, TLS included.
    ///
    /// # Errors
    /// If the platform's certificates cannot be used.
    pub(crate) fn new(connect_timeout: Duration) -> Result<Self, rustls::Error> {
        static CRYPTO: Once = Once::new();
        CRYPTO.call_once(|| {
            // An error means that the process has chosen a provider already, which is as good.
            drop(rustls::crypto::ring::default_provider().install_default());
        });
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE));
        tcp.set_keepalive_retries(Some(KEEPALIVES_MISSED));
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(LONGEST_UNACKNOWLEDGED));
        let tls = ClientConfig::builder().with_platform_verifier()?.with_no_client_auth();
        let https =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        let connector = Connector { https, limit: connect_timeout };
        Ok(Self { per_thread: ThreadLocal::new(), fresh: ThreadLocal::new(), connector })
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        self.connector.limit
    }

    /// Sends a call over a kept connection, or over one that it opens.
    pub(crate) async fn send(&self, call: Request<Full<Bytes>>) -> Result<Response, SendError> {
        let Pool { http, answered } = self
            .per_thread
            .get_or(|| Pool { http: client(self.connector.clone(), MOST_KEPT), answered: Answered::new(MOST_KEPT) });
        match http.request(call).await {
            Ok(response) => {
                answered.record(response.extensions());
                Ok(response)
            }
            Err(error) if answered.is_stale(&error) => Err(SendError::Stale),
            Err(error) => Err(SendError::Failed(error)),
        }
    }

    /// Sends a call over a connection of its own.
    pub(crate) async fn send_fresh(&self, call: Request<Full<Bytes>>) -> Result<Response, SendError> {
        let http = self.fresh.get_or(|| client(self.connector.clone(), 0));
        http.request(call).await.map_err(SendError::Failed)
    }
}

fn client(connector: Connector, most_kept: usize) -> legacy::Client<Connector, Full<Bytes>> {
    legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(LONGEST_KEPT)
        .pool_max_idle_per_host(most_kept)
        .build(connector)
}

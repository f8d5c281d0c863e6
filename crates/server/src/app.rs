//! What every worker shares.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

use arc_swap::ArcSwap;
use provider::RequestId;
use router::{Event, Observer, RequestEnded, Router, Subject, Table};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    auth::Keyring,
    config::{Config, Server},
    error::ApiError,
    metrics::Metrics,
    names::Names,
    reload::Reloader,
};

/// The service.
pub(crate) struct App {
    pub(crate) router: Router,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) metrics: Arc<Metrics>,
    /// Reads the configuration again, if it came from a file.
    pub(crate) reloader: Option<Arc<Reloader>>,
    live: ArcSwap<Live>,
    /// Requests under way, bodies included.
    pub(crate) in_flight: Arc<AtomicU32>,
    /// Batches whose answer is not complete; between two entries they have no request under way.
    pub(crate) open_batches: Arc<AtomicU32>,
    /// Connections with an answer that is not written to its end.
    pub(crate) answering: Arc<AtomicU32>,
    /// No longer ready: the process is about to stop.
    pub(crate) is_draining: AtomicBool,
    /// Ends the streams that are still open.
    pub(crate) cut: CancellationToken,
    id_prefix: u64,
    id_count: AtomicU64,
}

/// The part of the configuration that requests read; replaced as a whole.
pub(crate) struct Live {
    pub(crate) server: Server,
    pub(crate) keyring: Keyring,
    pub(crate) names: Names,
    pub(crate) table: Arc<Table>,
    pub(crate) version: Arc<str>,
}

impl Live {
    fn new(config: &Config, table: Arc<Table>, old: Option<&Self>) -> Self {
        let keyring = Keyring::new(config, old.map(|old| &old.keyring));
        Self {
            server: config.server.clone(),
            keyring,
            names: Names::new(config),
            table,
            version: config.version.as_str().into(),
        }
    }
}

impl App {
    pub(crate) fn new(
        config: &Config,
        router: Router,
        observer: Arc<dyn Observer>,
        metrics: Arc<Metrics>,
        reloader: Option<Arc<Reloader>>,
        id_prefix: u64,
    ) -> Self {
        let live = Live::new(config, router.table(), None);
        Self {
            router,
            observer,
            metrics,
            reloader,
            live: ArcSwap::from_pointee(live),
            in_flight: Arc::default(),
            open_batches: Arc::default(),
            answering: Arc::default(),
            is_draining: AtomicBool::new(false),
            cut: CancellationToken::new(),
            id_prefix,
            id_count: AtomicU64::new(0),
        }
    }

    /// One consistent view of the configuration, for one request.
    pub(crate) fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// Puts another configuration in force.
    pub(crate) fn replace(&self, config: &Config) {
        let live = Live::new(config, self.router.table(), Some(&self.live.load()));
        self.live.store(Arc::new(live));
    }

    /// The id of a new request: the client's own if it is harmless, else one that is ours and unique.
    pub(crate) fn request_id(&self, from_client: Option<&str>) -> RequestId {
        let harmless = |id: &&str| {
            (1..=64).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        if let Some(id) = from_client.filter(harmless) {
            return RequestId::from(id);
        }
        let count = self.id_count.fetch_add(1, Ordering::Relaxed);
        RequestId::from(format!("req-{:016x}{count:08x}", self.id_prefix).as_str())
    }

    /// Whether anything is under way.
    pub(crate) fn is_busy(&self) -> bool {
        [&self.in_flight, &self.open_batches, &self.answering].iter().any(|count| count.load(Ordering::Acquire) > 0)
    }

    /// Tells the observers of a request that never reached the router.
    pub(crate) fn rejected(&self, subject: Subject, error: &ApiError, since: Instant) {
        let version = self.live.load().version.clone();
        let ended = RequestEnded::refused(subject, error.outcome(), since.elapsed(), version);
        self.observer.on(&Event::RequestEnded(&ended));
    }
}

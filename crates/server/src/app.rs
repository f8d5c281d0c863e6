//! The state that all worker threads share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use actix_web::http::header::HeaderMap;
use arc_swap::ArcSwap;
use dispatch::{Event, Observer, RequestEnded, RequestInfo, Router, Table};
use ledger::Budgets;
use parking_lot::Mutex;
use provider::{MemoryBudget, RequestId};
use settings::{Config, Server, Tags};
use shared::Shared;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    admin::reports::Reports,
    auth::{Failures, Keyring},
    budgets, clock,
    cors::Cors,
    decisions::DecisionRecords,
    error::ApiError,
    limits::{Limiters, Limits},
    memory,
    metrics::Metrics,
    names::Names,
    permits::PermitPool,
    reload::Reloader,
    stored_keys::{Follower, Stored},
};

/// The service.
pub(crate) struct App {
    pub(crate) router: Arc<Router>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) metrics: Arc<Metrics>,
    /// What is kept of decisions, if anything is.
    pub(crate) records: Option<Arc<DecisionRecords>>,
    /// Reads the configuration again, if it came from a file.
    pub(crate) reloader: Option<Arc<Reloader>>,
    /// What they may use in a minute and at a time.
    limits: Arc<Limits>,
    /// What keys, teams and models may spend.
    pub(crate) budgets: Arc<Budgets>,
    /// The server that replicas share, if there is one.
    pub(crate) shared: Option<Arc<Shared>>,
    /// Failed authentications, by address.
    pub(crate) failures: Failures,
    live: ArcSwap<Live>,
    /// What `live` was made from. Locked while another one is made, so that they come one after the other.
    sources: Mutex<Sources>,
    /// Follows the keys in the database, if there is one.
    pub(crate) stored_keys: Option<Arc<Follower>>,
    /// Reports that are being made.
    pub(crate) reports: Reports,
    /// What all bodies and held answers are counted in.
    pub(crate) memory: MemoryBudget,
    /// The budget where none is configured.
    default_memory: usize,
    /// Requests under way, bodies included.
    pub(crate) in_flight: Arc<PermitPool>,
    /// Batches whose answer is not complete.
    pub(crate) open_batches: Arc<PermitPool>,
    /// Permits for entries of batches beyond the one that each batch answers under its own permit. Entries wait for
    /// permits and single requests do not, so entries may take at most half of all permits.
    pub(crate) batch_entries: Arc<PermitPool>,
    /// Connections with an answer that is not written to its end.
    pub(crate) answering: Arc<AtomicU32>,
    /// Changes when another configuration has come into force.
    pub(crate) reloads: watch::Sender<()>,
    /// No longer ready: the process is about to stop.
    pub(crate) is_draining: AtomicBool,
    /// Ends the streams that are still open.
    pub(crate) cut: CancellationToken,
    id_prefix: u64,
    id_count: AtomicU32,
}

/// Where keys and teams come from.
struct Sources {
    /// The configuration of the file.
    config: Config,
    /// What the database has beside it.
    stored: Stored,
}

/// The part of the configuration that requests read; replaced as a whole.
pub(crate) struct Live {
    pub(crate) server: Server,
    pub(crate) keyring: Keyring,
    pub(crate) names: Names,
    pub(crate) table: Arc<Table>,
    pub(crate) limiters: Arc<Limiters>,
    /// The tags that requests may carry.
    pub(crate) tags: Tags,
    pub(crate) version: Arc<str>,
}

impl Live {
    fn new(
        config: &Config,
        table: Arc<Table>,
        limiters: Arc<Limiters>,
        memory: &MemoryBudget,
        old: Option<&Self>,
    ) -> Self {
        let keyring = Keyring::new(config, &limiters, memory, old.map(|old| &old.keyring));
        Self {
            server: config.server.clone(),
            keyring,
            names: Names::new(config),
            table,
            limiters,
            tags: config.tags.clone(),
            version: config.version.as_str().into(),
        }
    }
}

impl App {
    pub(crate) fn new(
        config: &Config,
        (router, observer): (Arc<Router>, Arc<dyn Observer>),
        (metrics, records): (Arc<Metrics>, Option<Arc<DecisionRecords>>),
        reloader: Option<Arc<Reloader>>,
        (limits, budgets, shared): (Arc<Limits>, Arc<Budgets>, Option<Arc<Shared>>),
        stored_keys: Option<Arc<Follower>>,
        id_prefix: u64,
    ) -> Self {
        let (server, default_memory) = (&config.server, memory::default_budget());
        let memory = MemoryBudget::new(server.memory_budget.unwrap_or(default_memory));
        tracing::info!(bytes = memory.limit(), "the memory budget for bodies and held answers");
        let live = Live::new(config, router.table(), limits.set(config), &memory, None);
        Self {
            router,
            observer,
            metrics,
            records,
            reloader,
            limits,
            budgets,
            shared,
            failures: Failures::default(),
            live: ArcSwap::from_pointee(live),
            sources: Mutex::new(Sources { config: config.clone(), stored: Stored::default() }),
            stored_keys,
            reports: Reports::default(),
            memory,
            default_memory,
            in_flight: PermitPool::new(server.max_in_flight),
            open_batches: PermitPool::new(server.max_open_batches),
            batch_entries: PermitPool::new(server.max_in_flight / 2),
            answering: Arc::default(),
            reloads: watch::Sender::new(()),
            is_draining: AtomicBool::new(false),
            cut: CancellationToken::new(),
            id_prefix,
            id_count: AtomicU32::new(0),
        }
    }

    /// One consistent view of the configuration, for one request.
    pub(crate) fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// What the answer to a request with these headers tells a browser; `None` if no page may call.
    pub(crate) fn cors(&self, headers: &HeaderMap) -> Option<Cors> {
        self.live.load().server.cors.as_ref().map(|origins| Cors::of(headers, origins))
    }

    /// Puts another configuration in force.
    pub(crate) fn replace(&self, config: &Config) {
        let mut sources = self.sources.lock();
        sources.config = config.clone();
        self.apply(&sources);
        let server = &config.server;
        self.memory.set_limit(server.memory_budget.unwrap_or(self.default_memory));
        self.in_flight.resize(server.max_in_flight);
        self.open_batches.resize(server.max_open_batches);
        self.batch_entries.resize(server.max_in_flight / 2);
        self.reloads.send_replace(());
    }

    /// Puts other keys and teams of the database in force.
    pub(crate) fn set_stored(&self, stored: Stored) {
        let mut sources = self.sources.lock();
        sources.stored = stored;
        self.apply(&sources);
        self.reloads.send_replace(());
    }

    /// The configuration of the file.
    pub(crate) fn file(&self) -> Config {
        self.sources.lock().config.clone()
    }

    fn apply(&self, Sources { config, stored }: &Sources) {
        let merged = config.with_stored(&stored.keys, &stored.teams);
        let budgets = budgets::of(&merged);
        if self.stored_keys.is_some() {
            let unpriced = merged.unpriced().next().filter(|_| !budgets.is_empty());
            if let Some(upstream) = unpriced {
                tracing::error!(%upstream, "an upstream has no price: budgets do not count its calls");
            }
            self.budgets.set(budgets, clock::now_ms());
        } else if !budgets.is_empty() {
            tracing::error!("budgets hold from the next start on: the router was started without a ledger");
        }
        let limiters = self.limits.set(&merged);
        let live = Live::new(&merged, self.router.table(), limiters, &self.memory, Some(&self.live.load()));
        self.live.store(Arc::new(live));
    }

    /// The id of a new request: the client's own if it is valid, else a new and unique one.
    pub(crate) fn request_id(&self, from_client: Option<&str>) -> RequestId {
        let harmless = |id: &&str| {
            (1..=64).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        if let Some(id) = from_client.filter(harmless) {
            return RequestId::from(id);
        }
        // By hand: the formatter takes ten times as long, at every request.
        let count = self.id_count.fetch_add(1, Ordering::Relaxed);
        let mut id = *b"req-000000000000000000000000";
        let (prefix, number) = id[4..].split_at_mut(16);
        for (digits, value) in [(prefix, self.id_prefix), (number, u64::from(count))] {
            let mut rest = value;
            for digit in digits.iter_mut().rev() {
                *digit = b"0123456789abcdef"[usize::from(rest.to_le_bytes()[0] & 15)];
                rest >>= 4;
            }
        }
        RequestId::from(str::from_utf8(&id).unwrap_or_default())
    }

    /// Whether anything is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight.taken() > 0 || self.answering.load(Ordering::Acquire) > 0
    }

    /// Reports a request that never reached the router to the observers.
    pub(crate) fn rejected(&self, info: RequestInfo, error: &ApiError, since: Instant) {
        let version = self.live.load().version.clone();
        let subject_key = info.key.clone();
        let ended = RequestEnded::refused(info, error.outcome(), since.elapsed(), version);
        if error.is_authentication_failure() && subject_key.is_none() {
            // It is only counted: with a line in the access log for each, anyone without a key could fill the disk.
            self.metrics.on(&Event::RequestEnded(&ended));
            return;
        }
        self.observer.on(&Event::RequestEnded(&ended));
    }
}

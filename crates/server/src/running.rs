//! A server from its start to its end: two listeners and the tasks behind them.

mod stop;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use actix_web::rt::System;
use dispatch::{Observer, Recorder, Router};
use ledger::{Budgets, OpenError, PostgresUrlError};
use settings::Config;
use tokio::time::sleep;

use crate::{
    access_log::AccessLog,
    admin, api,
    app::App,
    budgets, clock,
    connections::{self, Listener},
    decisions::DecisionRecords,
    gpu::GpuRecorder,
    ledger::{LedgerObserver, location},
    limits::{Limits, Sharing},
    metrics::Metrics,
    observers::Observers,
    providers::{self, Pools, WiringError},
    reload::{self, Reloader},
    replica::{self, Replica},
    stored_keys::Follower,
    telemetry,
};
use stop::{StopLimits, StopSignals};

/// How often the upstreams are checked for a due poll of their capacity; polls cannot be more frequent.
const CAPACITY_TICK: Duration = Duration::from_millis(100);

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {0}: {1}; LLM_ROUTER__SERVER__LISTEN and LLM_ROUTER__SERVER__ADMIN_LISTEN take others")]
    Listen(SocketAddr, io::Error),
    /// The configuration makes no table.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// The access log cannot be opened.
    #[error("the access log cannot be opened: {0}")]
    AccessLog(io::Error),
    /// The folder of the decision log cannot be written to.
    #[error(
        "the decision log cannot be opened: {0}; decisions.log_folder names a folder that this process may write to"
    )]
    DecisionLog(io::Error),
    /// The ledger cannot be opened.
    #[error("the ledger cannot be opened: {0}; [storage] of the configuration says where it is")]
    Ledger(#[from] OpenError),
    /// The ledger's database has an address that is none.
    #[error("storage.url is no address of a Postgres database: {0}")]
    LedgerUrl(#[from] PostgresUrlError),
    /// The server that replicas share has an address that is none, or its thread did not start.
    #[error("{0}; [shared] of the configuration says where it is")]
    Shared(#[from] shared::StartError),
    /// The metrics could not be set up.
    #[error("the metrics could not be set up: {0}")]
    Metrics(#[from] prometheus::Error),
    /// A thread could not be started.
    #[error("the server could not be started: {0}")]
    Thread(#[from] io::Error),
}

/// A running server. Dropping it does not stop it; [`Running::stop`] does.
pub struct Running {
    addr: SocketAddr,
    admin_addr: SocketAddr,
    signals: StopSignals,
    thread: JoinHandle<io::Result<()>>,
}

impl Running {
    /// Starts a server, which listens by the time this returns. `watched` is followed for changes, if given.
    pub fn start(config: &Config, watched: Option<PathBuf>) -> Result<Self, StartError> {
        telemetry::start(&config.log);
        let listen = |addr| connections::bind(addr).map_err(|error| StartError::Listen(addr, error));
        let (public, admin) = (listen(config.server.listen)?, listen(config.server.admin_listen)?);
        let (addr, admin_addr) = (public.local_addr()?, admin.local_addr()?);
        let (app, gpu) = app(config, watched)?;
        let signals = StopSignals::default();
        let lifecycle = Lifecycle {
            gpu: gpu.map(Arc::new),
            workers: config.server.workers,
            limits: StopLimits { drain: config.server.drain, grace: config.server.grace },
            signals: signals.clone(),
        };
        let (ready, started) = channel();
        let body = move || System::new().block_on(lifecycle.run(app, public, admin, ready));
        let thread = std::thread::Builder::new().name("llm-router".into()).spawn(body)?;
        if started.recv().is_err() {
            let ended = thread.join().unwrap_or_else(|_| Err(io::Error::other("the server's thread panicked")));
            return Err(ended.err().unwrap_or_else(|| io::Error::other("the server ended at once")).into());
        }
        Ok(Self { addr, admin_addr, signals, thread })
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where metrics and probes are.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Begins an orderly stop.
    pub fn stop(&self) {
        self.signals.stop.cancel();
    }

    /// Begins an orderly stop that does not wait for balancers to notice.
    pub fn stop_without_grace(&self) {
        self.signals.skip_grace.cancel();
        self.signals.stop.cancel();
    }

    /// Ends what is left of an orderly stop at once.
    pub fn stop_now(&self) {
        self.signals.stop_now.cancel();
        self.signals.stop.cancel();
    }

    /// Waits for the end.
    pub fn join(self) -> io::Result<()> {
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the server's thread panicked")))
    }
}

fn app(config: &Config, watched: Option<PathBuf>) -> Result<(Arc<App>, Option<GpuRecorder>), StartError> {
    let mut config = config.clone();
    config.set_prices(clock::now_ms());
    let config = &config;
    let longest = config.models.iter().map(|model| model.deadline).max().unwrap_or_default();
    let metrics = Arc::new(Metrics::new(longest)?);
    let seed = clock::seed();
    let sharing = sharing(config, seed)?;
    let shared = sharing.as_ref().map(|sharing| sharing.server.clone());
    let limits = Arc::new(Limits::new(sharing));
    let mut observers: Vec<Arc<dyn Observer>> = vec![metrics.clone(), limits.clone()];
    let access_log = AccessLog::open(&config.log.access, config.log.format).map_err(StartError::AccessLog)?;
    observers.extend(access_log.map(|log| Arc::new(log) as Arc<dyn Observer>));
    let when_away = config.shared.as_ref().map(|shared| replica::when_away(shared.budgets_when_away));
    let budgets = Arc::new(Budgets::new(when_away));
    budgets.set(budgets::of(config), clock::now_ms());
    let (mut gpu, mut recorded) = (None, None);
    if let Some(storage) = &config.storage {
        let ledger = LedgerObserver::open(storage, seed, metrics.ledger(), budgets.clone(), shared.clone())?;
        gpu = Some(ledger.gpu_recorder());
        recorded = Some(ledger.recorded());
        observers.push(Arc::new(ledger));
    }
    let observer: Arc<dyn Observer> = Arc::new(Observers(observers));
    let records = DecisionRecords::open(&config.decisions, &config.version, metrics.decision_log());
    let records = records.map_err(StartError::DecisionLog)?;
    let pools = Pools::default();
    let table = providers::table(config, None, &pools)?;
    metrics.prepare(&table);
    let decisions = records.clone().map(|records| records as Arc<dyn Recorder>);
    let router = Arc::new(Router::recorded(table, observer.clone(), decisions, seed));
    let reloader = watched.map(|path| Arc::new(Reloader::new(path, config.clone(), pools)));
    let stored_keys = match &config.storage {
        Some(storage) => Some(Arc::new(Follower::new(location(&storage.location)?))),
        None => None,
    };
    if let (Some(shared), Some(settings)) = (&shared, &config.shared) {
        let (limits, budgets) = (limits.clone(), budgets.clone());
        shared.start(Box::new(Replica::new(router.clone(), limits, budgets, recorded, settings.replicas)))?;
    }
    let limited = (limits, budgets, shared);
    let app = App::new(config, (router, observer), (metrics, records), reloader, limited, stored_keys, seed);
    let app = Arc::new(app);
    if let Some(stored_keys) = &app.stored_keys {
        stored_keys.start(&app)?;
    }
    Ok((app, gpu))
}

/// The server that replicas share, if there is one, and what limits need of it. `seed` identifies this replica.
fn sharing(config: &Config, seed: u64) -> Result<Option<Arc<Sharing>>, StartError> {
    let Some(settings) = &config.shared else { return Ok(None) };
    let (replicas, when_away) = (settings.replicas, settings.limits_when_away);
    let server = Arc::new(shared::Shared::new(&shared::Settings {
        url: settings.url.clone(),
        prefix: settings.prefix.clone(),
        replica: seed >> 1,
        replicas,
        validity: replica::VALIDITY,
    })?);
    Ok(Some(Arc::new(Sharing { server, replicas, when_away })))
}

struct Lifecycle {
    gpu: Option<Arc<GpuRecorder>>,
    workers: usize,
    limits: StopLimits,
    signals: StopSignals,
}

impl Lifecycle {
    async fn run(self, app: Arc<App>, public: TcpListener, admin: TcpListener, ready: Sender<()>) -> io::Result<()> {
        let socket = public.try_clone()?;
        let public = connections::serve(Listener::Public, &app, public, self.workers, api::routes)?;
        let admin = connections::serve(Listener::Admin, &app, admin, 1, admin::routes)?;
        let handles = [public.handle(), admin.handle()];
        actix_web::rt::spawn(watch_upstreams(app.clone()));
        if let Some(gpu) = &self.gpu {
            actix_web::rt::spawn(gpu.clone().run(app.clone()));
        }
        if let Some(reloader) = app.reloader.clone() {
            let app = app.clone();
            actix_web::rt::spawn(async move {
                if let Err(error) = reload::follow(app, reloader).await {
                    tracing::error!(%error, "changes of the configuration cannot be followed");
                }
            });
        }
        actix_web::rt::spawn(stop::stop_on_signal(self.signals, self.limits, app.clone(), handles, socket));
        ready.send(()).map_err(io::Error::other)?;
        let (public, admin) = futures_util::future::join(public, admin).await;
        // Closed here and not by the last owner: threads that are about to end may own it until the process exits.
        if let Some(stored_keys) = &app.stored_keys {
            stored_keys.stop();
        }
        if let Some(shared) = &app.shared {
            shared.stop();
        }
        if let Some(gpu) = &self.gpu {
            gpu.record(&app);
        }
        app.observer.close();
        if let Some(records) = &app.records {
            records.close();
        }
        public.and(admin)
    }
}

async fn watch_upstreams(app: Arc<App>) {
    loop {
        // A task for each round: an upstream that answers slowly must not delay the polls of the others, and a cold start takes
        // minutes.
        let polled = app.clone();
        actix_web::rt::spawn(async move { polled.router.poll_capacity().await });
        let warmed = app.clone();
        actix_web::rt::spawn(async move { warmed.router.warm_up().await });
        sleep(CAPACITY_TICK).await;
    }
}

/// An application without upstreams that answer, for tests of what is around it.
#[cfg(test)]
pub(crate) fn test_app() -> Arc<App> {
    let text = "[auth]\nmode = \"none\"\n[log]\naccess = \"off\"\n[[upstreams]]\nid = \"a\"\nprovider = \"openai\"\n\
                model = \"m\"\nbase_url = \"http://127.0.0.1:9/v1\"\napi_key_env = \"none\"\n[[models]]\n\
                name = \"m\"\nstrategy = \"cost\"\ntargets = [{ upstream = \"a\" }]\n";
    let config = settings::parse(text, "x.toml", &|_| None).expect("a valid configuration");
    app(&config, None).expect("an application").0
}

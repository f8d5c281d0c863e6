//! A server from its start to its end: two listeners, the tasks behind them, and an orderly stop.
//!
//! The stop: not ready any more, then no new connections, then every request under way ends by itself or, when the time is
//! over, its stream ends with an error event. Only then are the workers stopped.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use actix_web::{
    App as ActixApp, HttpServer,
    dev::{Server, ServerHandle},
    rt::{System, net::TcpStream},
    web,
};
use router::{Observer, Router};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    access_log::AccessLog,
    admin, api,
    app::App,
    clock,
    config::Config,
    metrics::Metrics,
    observers::Observers,
    providers::{self, WiringError},
    reload::{self, Reloader},
    telemetry,
};

/// How long the first head of a connection may take; then comes a bare 408. Actix has one limit for a slow head and for a
/// connection that was only opened in advance, so it is longer than the SDKs keep unused ones (4 or 5 s): they never meet it.
/// Later heads have no limit; `max_connections` bounds them.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// A client that takes nothing for that long is gone: its connection is closed by the kernel.
const STALLED_CLIENT: Duration = Duration::from_secs(30);
/// How often is looked whose capacity is due; polls cannot be closer.
const CAPACITY_TICK: Duration = Duration::from_millis(100);
/// Time for the last events to reach their clients.
const LAST_WRITES: Duration = Duration::from_secs(1);
/// Balancers look at readiness every few seconds; until they have, connections still come.
const LONGEST_GRACE: Duration = Duration::from_secs(5);

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
    stop: CancellationToken,
    stop_now: CancellationToken,
    thread: JoinHandle<io::Result<()>>,
}

impl Running {
    /// Starts a server, which listens by the time this returns. `watched` is followed for changes, if given.
    pub fn start(config: &Config, watched: Option<PathBuf>) -> Result<Self, StartError> {
        telemetry::start(&config.log);
        let listen = |addr| TcpListener::bind(addr).map_err(|error| StartError::Listen(addr, error));
        let (public, admin) = (listen(config.server.listen)?, listen(config.server.admin_listen)?);
        let (addr, admin_addr) = (public.local_addr()?, admin.local_addr()?);
        let app = app(config, watched)?;
        let (stop, stop_now) = (CancellationToken::new(), CancellationToken::new());
        let lifecycle = Lifecycle {
            workers: config.server.workers,
            max_connections: config.server.max_connections,
            drain: config.server.drain,
            stop: stop.clone(),
            stop_now: stop_now.clone(),
        };
        let (ready, started) = channel();
        let body = move || System::new().block_on(lifecycle.run(app, public, admin, ready));
        let thread = std::thread::Builder::new().name("llm-router".into()).spawn(body)?;
        if started.recv().is_err() {
            let ended = thread.join().unwrap_or_else(|_| Err(io::Error::other("the server's thread panicked")));
            return Err(ended.err().unwrap_or_else(|| io::Error::other("the server ended at once")).into());
        }
        Ok(Self { addr, admin_addr, stop, stop_now, thread })
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
        self.stop.cancel();
    }

    /// Ends what is left of an orderly stop at once.
    pub fn stop_now(&self) {
        self.stop.cancel();
        self.stop_now.cancel();
    }

    /// Waits for the end.
    pub fn join(self) -> io::Result<()> {
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the server's thread panicked")))
    }
}

fn app(config: &Config, watched: Option<PathBuf>) -> Result<Arc<App>, StartError> {
    let longest = config.models.iter().map(|model| model.deadline).max().unwrap_or_default();
    let metrics = Arc::new(Metrics::new(longest)?);
    let mut observers: Vec<Arc<dyn Observer>> = vec![metrics.clone()];
    let access_log = AccessLog::open(&config.log.access, config.log.format).map_err(StartError::AccessLog)?;
    observers.extend(access_log.map(|log| Arc::new(log) as Arc<dyn Observer>));
    let observer: Arc<dyn Observer> = Arc::new(Observers(observers));
    let table = providers::table(config, None)?;
    metrics.prepare(&table);
    let seed = clock::seed();
    let router = Router::new(table, observer.clone(), seed);
    let reloader = watched.map(|path| Arc::new(Reloader::new(path, config.clone())));
    Ok(Arc::new(App::new(config, router, observer, metrics, reloader, seed)))
}

struct Lifecycle {
    workers: usize,
    max_connections: usize,
    drain: Duration,
    stop: CancellationToken,
    stop_now: CancellationToken,
}

impl Lifecycle {
    async fn run(self, app: Arc<App>, public: TcpListener, admin: TcpListener, ready: Sender<()>) -> io::Result<()> {
        let public = self.listen(&app, public, self.workers, api::routes)?;
        let admin = self.listen(&app, admin, 1, admin::routes)?;
        let handles = [public.handle(), admin.handle()];
        actix_web::rt::spawn(poll_capacity(app.clone()));
        if let Some(reloader) = app.reloader.clone() {
            let app = app.clone();
            actix_web::rt::spawn(async move {
                if let Err(error) = reload::follow(app, reloader).await {
                    tracing::error!(%error, "changes of the configuration cannot be followed");
                }
            });
        }
        actix_web::rt::spawn(self.drain(app, handles));
        ready.send(()).map_err(io::Error::other)?;
        let (public, admin) = futures_util::future::join(public, admin).await;
        public.and(admin)
    }

    fn listen(
        &self,
        app: &Arc<App>,
        listener: TcpListener,
        workers: usize,
        routes: fn(&mut web::ServiceConfig),
    ) -> io::Result<Server> {
        let data = web::Data::new(app.clone());
        let server = HttpServer::new(move || ActixApp::new().app_data(data.clone()).configure(routes))
            .workers(workers)
            .max_connections(self.max_connections.div_ceil(workers))
            .backlog(4096)
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(HEAD_TIMEOUT)
            // By default a client that hangs up is not noticed, and its answer is paid to the end.
            .h1_allow_half_closed(false)
            .disable_signals()
            .on_connect(|io, _| {
                if let Some(stream) = io.downcast_ref::<TcpStream>() {
                    tune(stream);
                }
            })
            .listen(listener)?;
        Ok(server.run())
    }

    /// Waits for the word to stop and stops in order.
    async fn drain(self, app: Arc<App>, handles: [ServerHandle; 2]) {
        self.stop.cancelled().await;
        tracing::info!(requests = app.in_flight.taken(), "stopping: requests under way may end");
        app.is_draining.store(true, Ordering::Release);
        let end = Instant::now() + self.drain.saturating_sub(LAST_WRITES);
        self.idle_until(&app, Instant::now() + LONGEST_GRACE.min(self.drain / 6)).await;
        handles[0].pause().await;
        self.idle_until(&app, end).await;
        app.router.stop();
        app.cut.cancel();
        let last = Instant::now() + LAST_WRITES;
        while app.is_busy() && Instant::now() < last {
            sleep(Duration::from_millis(20)).await;
        }
        for handle in handles {
            handle.stop(false).await;
        }
    }

    /// Returns once nothing is under way, the time has come, or there is no time left.
    async fn idle_until(&self, app: &App, until: Instant) {
        while app.is_busy() && Instant::now() < until && !self.stop_now.is_cancelled() {
            sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn poll_capacity(app: Arc<App>) {
    loop {
        // A task each time: an upstream that is slow to say must not make what the others said go stale.
        let polled = app.clone();
        actix_web::rt::spawn(async move { polled.router.poll_capacity().await });
        sleep(CAPACITY_TICK).await;
    }
}

/// A connection that cannot be tuned works all the same.
fn tune(stream: &TcpStream) {
    drop(stream.set_nodelay(true));
    drop(socket2::SockRef::from(stream).set_tcp_user_timeout(Some(STALLED_CLIENT)));
}

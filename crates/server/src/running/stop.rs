//! An orderly stop: not ready any more, later no new connections, then every request under way ends by itself or, when the
//! time is over, its stream ends with an error event. Only then are the workers stopped.

use std::{
    net::{Shutdown, TcpListener},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix_web::dev::ServerHandle;
use socket2::SockRef;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// Time for the last events to reach their clients.
const LAST_WRITES: Duration = Duration::from_secs(1);
/// The same where the process is to end within a second.
const HURRIED_WRITES: Duration = Duration::from_millis(500);
/// Time for the acceptor's thread to notice that it is paused; one that has not logs an error and goes on.
const PAUSE: Duration = Duration::from_millis(50);
/// How often is looked whether anything is still under way.
const TICK: Duration = Duration::from_millis(20);

/// What a server is told about its end.
#[derive(Debug, Clone, Default)]
pub(super) struct Orders {
    /// Begin to stop.
    pub(super) stop: CancellationToken,
    /// Take no more connections, however long balancers need to notice.
    pub(super) skip_grace: CancellationToken,
    /// End what is under way.
    pub(super) stop_now: CancellationToken,
}

/// How long the parts of a stop may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From its begin to its end.
    pub(super) drain: Duration,
    /// From its begin until no more connections are taken.
    pub(super) grace: Duration,
}

/// Waits for the order to stop and stops the listeners, the public one first, of which `public` is the socket.
pub(super) async fn when_told(
    orders: Orders,
    patience: Patience,
    app: Arc<App>,
    handles: [ServerHandle; 2],
    public: TcpListener,
) {
    orders.stop.cancelled().await;
    tracing::info!(requests = app.in_flight.load(Ordering::Acquire), "stopping: requests under way may end");
    app.is_draining.store(true, Ordering::Release);
    let begun = Instant::now();
    // Even with nothing under way: balancers look at readiness every few seconds, and send requests until they have.
    tokio::select! {
        () = sleep_until(begun + patience.grace) => {}
        () = orders.skip_grace.cancelled() => {}
        () = orders.stop_now.cancelled() => {}
    }
    handles[0].pause().await;
    // Actix only stops to look, and that a little later than it says. Clients are to be refused at once, rather than wait for
    // a process that is about to end.
    sleep(PAUSE).await;
    drop(SockRef::from(&public).shutdown(Shutdown::Both));
    tokio::select! {
        () = idle_until(&app, begun + patience.drain.saturating_sub(LAST_WRITES)) => {}
        () = orders.stop_now.cancelled() => {}
    }
    app.router.stop();
    app.cut.cancel();
    tokio::select! {
        () = idle_until(&app, Instant::now() + LAST_WRITES) => {}
        () = hurried(&orders) => {}
    }
    for handle in handles {
        handle.stop(false).await;
    }
}

/// Returns once nothing is under way or the time has come.
async fn idle_until(app: &App, until: Instant) {
    while app.is_busy() && Instant::now() < until {
        sleep(TICK).await;
    }
}

/// Returns a little after the order to end at once.
async fn hurried(orders: &Orders) {
    orders.stop_now.cancelled().await;
    sleep(HURRIED_WRITES).await;
}

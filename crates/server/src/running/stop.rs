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
/// The same after `stop_now`: the process is to end within a second.
const LAST_WRITES_AT_STOP_NOW: Duration = Duration::from_millis(500);
/// Time for the acceptor's thread to notice that it is paused; one that has not logs an error and goes on.
const PAUSE: Duration = Duration::from_millis(50);
/// How often the stop checks whether anything is still under way.
const TICK: Duration = Duration::from_millis(20);

/// The signals that stop a server, in the order in which they may come.
#[derive(Debug, Clone, Default)]
pub(super) struct StopSignals {
    /// Begin to stop.
    pub(super) stop: CancellationToken,
    /// Take no more connections, however long balancers need to notice.
    pub(super) skip_grace: CancellationToken,
    /// End what is under way.
    pub(super) stop_now: CancellationToken,
}

/// Time limits of a stop.
#[derive(Debug, Clone, Copy)]
pub(super) struct StopLimits {
    /// From its begin to its end.
    pub(super) drain: Duration,
    /// From its begin until no more connections are taken.
    pub(super) grace: Duration,
}

/// Waits for the signal to stop and stops the listeners, the public one first. `public` is its socket.
pub(super) async fn stop_on_signal(
    signals: StopSignals,
    limits: StopLimits,
    app: Arc<App>,
    handles: [ServerHandle; 2],
    public: TcpListener,
) {
    signals.stop.cancelled().await;
    tracing::info!(requests = app.in_flight.taken(), "stopping: requests under way may end");
    app.is_draining.store(true, Ordering::Release);
    let begun = Instant::now();
    // Even with nothing under way: balancers look at readiness every few seconds, and send requests until they have.
    tokio::select! {
        () = sleep_until(begun + limits.grace) => {}
        () = signals.skip_grace.cancelled() => {}
        () = signals.stop_now.cancelled() => {}
    }
    handles[0].pause().await;
    // Actix only stops accepting, and a little later than it reports. The socket is closed here, so that clients are
    // refused at once instead of waiting for a process that is about to end.
    sleep(PAUSE).await;
    drop(SockRef::from(&public).shutdown(Shutdown::Both));
    tokio::select! {
        () = idle_until(&app, begun + limits.drain.saturating_sub(LAST_WRITES)) => {}
        () = signals.stop_now.cancelled() => {}
    }
    app.router.stop();
    app.cut.cancel();
    tokio::select! {
        () = idle_until(&app, Instant::now() + LAST_WRITES) => {}
        () = last_writes_at_stop_now(&signals) => {}
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

/// Returns [`LAST_WRITES_AT_STOP_NOW`] after `stop_now`.
async fn last_writes_at_stop_now(signals: &StopSignals) {
    signals.stop_now.cancelled().await;
    sleep(LAST_WRITES_AT_STOP_NOW).await;
}

//! Another configuration without a restart: read, validate, put in force as a whole, or change nothing.
//!
//! Comes with SIGHUP, and when the file's contents change. The contents are compared every two seconds, because file watchers
//! miss bind mounts, renames by editors and the symbolic links that Kubernetes swaps; a read of a small file does not.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use crate::{
    app::App,
    config::{self, Config},
    providers,
};

const POLL: Duration = Duration::from_secs(2);

/// Follows the file at `path` until the task is dropped.
pub(crate) async fn follow(app: Arc<App>, path: PathBuf) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut ticks = interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = std::fs::read(&path).ok();
    loop {
        let asked = tokio::select! {
            _ = hangup.recv() => true,
            _ = ticks.tick() => false,
        };
        let current = std::fs::read(&path).ok();
        if !asked && (current.is_none() || current == known) {
            continue;
        }
        known = current;
        reload(&app, &path);
    }
}

/// Reads the file again and puts it in force if it is valid.
fn reload(app: &App, path: &std::path::Path) {
    let outcome = config::load(path, &config::process_env).map_err(|problems| problems.to_string());
    let outcome = outcome.and_then(|config| put_in_force(app, &config).map_err(|error| error.to_string()));
    app.metrics.reloaded(outcome.is_ok());
    match outcome {
        Ok(()) => tracing::info!(path = %path.display(), "the configuration was reloaded"),
        Err(problems) => {
            tracing::error!(path = %path.display(), "the configuration was not reloaded, the old one stays in force:\n{problems}");
        }
    }
}

fn put_in_force(app: &App, config: &Config) -> Result<(), providers::WiringError> {
    let table = providers::table(config, Some(&app.router.table()))?;
    app.metrics.prepare(&table);
    app.router.replace_table(table);
    app.replace(config);
    Ok(())
}

//! Another configuration without a restart: read, validate, put in force as a whole, or change nothing.
//!
//! Comes with SIGHUP, and when the file's contents change. The contents are compared every two seconds, because file watchers
//! miss bind mounts, renames by editors and the symbolic links that Kubernetes swaps; a read of a small file does not.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

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
    let started = config::load(&path, &config::process_env).ok();
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
        reload(&app, &path, started.as_ref());
    }
}

/// Reads the file again and puts it in force if it is valid.
fn reload(app: &App, path: &Path, started: Option<&Config>) {
    let outcome = config::load(path, &config::process_env).map_err(|problems| problems.to_string());
    let outcome =
        outcome.and_then(|config| put_in_force(app, &config).map(|()| config).map_err(|error| error.to_string()));
    app.metrics.reloaded(outcome.is_ok());
    match outcome {
        Ok(config) => {
            tracing::info!("the configuration was reloaded: {}", path.display());
            let waiting = started.map(|started| waiting(started, &config)).unwrap_or_default();
            if !waiting.is_empty() {
                tracing::warn!("what changed here takes effect at the next start: {}", waiting.join(", "));
            }
        }
        Err(problems) => {
            tracing::error!("the configuration was not reloaded, the old one stays in force:\n{problems}");
        }
    }
}

/// The settings that differ from those of the start and are only read there.
fn waiting(started: &Config, now: &Config) -> Vec<&'static str> {
    let settings = [
        ("server.listen", started.server.listen != now.server.listen),
        ("server.admin_listen", started.server.admin_listen != now.server.admin_listen),
        ("server.workers", started.server.workers != now.server.workers),
        ("server.max_connections", started.server.max_connections != now.server.max_connections),
        ("server.drain_s", started.server.drain != now.server.drain),
        ("log.level", started.log.level != now.log.level),
        ("log.format", started.log.format != now.log.format),
        ("log.access", started.log.access != now.log.access),
    ];
    settings.into_iter().filter(|(_, is_changed)| *is_changed).map(|(name, _)| name).collect()
}

fn put_in_force(app: &App, config: &Config) -> Result<(), providers::WiringError> {
    let table = providers::table(config, Some(&app.router.table()))?;
    app.metrics.prepare(&table);
    app.router.replace_table(table);
    app.replace(config);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_the_next_start_is_named() {
        let parse = |head: &str| {
            let rest = "[auth]\nmode = \"none\"\n[[upstreams]]\nid = \"a\"\nprovider = \"openai\"\nmodel = \"m\"\n\
                base_url = \"http://127.0.0.1:9/v1\"\napi_key_env = \"none\"\n[[models]]\nname = \"m\"\nstrategy = \"cost\"\n\
                targets = [{ upstream = \"a\" }]\n";
            config::parse(&format!("{head}\n{rest}"), "x.toml", &|_| None).expect("a valid configuration")
        };
        let started = parse("");
        assert_eq!(waiting(&started, &parse("[server]\nmax_messages = 7")), Vec::<&str>::new());
        let now = parse(
            "[server]\nlisten = \"127.0.0.1:1\"\nadmin_listen = \"127.0.0.1:2\"\nworkers = 3\nmax_connections = 4\n\
             drain_s = 5\n[log]\nlevel = \"debug\"\nformat = \"pretty\"\naccess = \"off\"",
        );
        let named = waiting(&started, &now);
        assert_eq!(
            named,
            [
                "server.listen",
                "server.admin_listen",
                "server.workers",
                "server.max_connections",
                "server.drain_s",
                "log.level",
                "log.format",
                "log.access"
            ]
        );
    }
}

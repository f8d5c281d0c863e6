//! Another configuration without a restart: read, validate, put in force as a whole, or change nothing.
//!
//! Comes with SIGHUP, with `POST /admin/reload`, and when the contents of the file, or of a file with a secret that it names,
//! change. They are compared twice a second, because file watchers miss bind mounts, renames by editors and the symbolic links
//! that Kubernetes swaps; a read of a small file does not. The first comparison is with what the server was started from.

use std::{path::PathBuf, sync::Arc, time::Duration};

use parking_lot::Mutex;
use settings::{Config, Secrets, Sources, process_env};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use crate::{
    app::App,
    clock,
    providers::{self, Pools},
};

/// A key that is taken out of the file is to be refused within a second.
const POLL: Duration = Duration::from_millis(500);
/// Most differences that are logged; a file that was written anew has hundreds.
const MAX_LOGGED: usize = 40;

/// Reads the file and puts it in force.
pub(crate) struct Reloader {
    path: PathBuf,
    started: Config,
    pools: Pools,
    /// Reloads come one at a time.
    current: Mutex<Current>,
}

struct Current {
    /// What was read last, valid or not.
    seen: Sources,
    /// What is in force.
    in_force: Config,
    /// When the next price of that comes into force, in milliseconds since 1970.
    next_price_ms: Option<i64>,
}

/// What a reload did.
pub(crate) struct Reloaded {
    /// The name of the configuration in force.
    pub(crate) version: String,
    /// How it differs from the one before, a line each.
    pub(crate) changes: Vec<String>,
    /// The settings that differ from those of the start and are only read there.
    pub(crate) waiting: Vec<&'static str>,
}

impl Reloader {
    /// For the file at `path`, of which `started` is in force; `pools` are the connections of its upstreams.
    pub(crate) fn new(path: PathBuf, started: Config, pools: Pools) -> Self {
        let next_price_ms = started.next_price_ms(clock::now_ms());
        let current = Current { seen: started.sources.clone(), in_force: started.clone(), next_price_ms };
        Self { path, started, pools, current: Mutex::new(current) }
    }

    /// Whether the file, or a secret that it names, changed since they were looked at.
    fn is_changed(&self) -> bool {
        let seen = self.current.lock().seen.clone();
        seen.have_changed(&self.path)
    }

    /// Reads the file again and puts it in force if it is valid; else says what is wrong with it.
    pub(crate) fn reload(&self, app: &App) -> Result<Reloaded, String> {
        let mut current = self.current.lock();
        let outcome = self.read(&mut current).and_then(|mut config| {
            let now_ms = clock::now_ms();
            config.set_prices(now_ms);
            put_in_force(app, &config, &self.pools).map_err(|error| error.to_string())?;
            let mut changes = current.in_force.listing.changes(&config.listing);
            changes.extend(current.in_force.sources.changes(&config.sources));
            let reloaded =
                Reloaded { version: config.version.clone(), changes, waiting: waiting(&self.started, &config) };
            (current.next_price_ms, current.in_force) = (config.next_price_ms(now_ms), config);
            Ok(reloaded)
        });
        app.metrics.reloaded(outcome.is_ok());
        self.log(&outcome);
        outcome
    }

    /// Puts prices in force whose day has come. The rest of the configuration stays as it is, whatever the file says by now.
    fn reprice(&self, app: &App, now_ms: i64) {
        let mut current = self.current.lock();
        if current.next_price_ms.is_none_or(|next| next > now_ms) {
            return;
        }
        current.in_force.set_prices(now_ms);
        current.next_price_ms = current.in_force.next_price_ms(now_ms);
        match put_in_force(app, &current.in_force, &self.pools) {
            Ok(()) => tracing::info!("prices of a new day are in force"),
            Err(error) => tracing::error!(%error, "prices of a new day could not be put in force"),
        }
    }

    /// The configuration as the file has it now. Its sources are recorded even if it is invalid.
    fn read(&self, current: &mut Current) -> Result<Config, String> {
        match settings::load_noting(&self.path, &process_env, Secrets::Required) {
            Ok(config) => {
                current.seen = config.sources.clone();
                Ok(config)
            }
            Err((problems, sources)) => {
                // A file that is gone has no contents to compare with: once it is back it is read, even if its text is
                // the same.
                current.seen = sources.unwrap_or_default();
                Err(problems.to_string())
            }
        }
    }

    fn log(&self, outcome: &Result<Reloaded, String>) {
        let file = self.path.display();
        match outcome {
            Ok(Reloaded { version, changes, waiting }) => {
                let more = changes.len().saturating_sub(MAX_LOGGED);
                let mut listed: Vec<_> = changes.iter().take(MAX_LOGGED).cloned().collect();
                if changes.is_empty() {
                    listed.push("nothing in the file changed".to_owned());
                } else if more > 0 {
                    listed.push(format!("and {more} more"));
                }
                let listed = listed.join("\n  ");
                tracing::info!(%version, "the configuration was reloaded: {file}\n  {listed}");
                if !waiting.is_empty() {
                    tracing::warn!("what changed here takes effect at the next start: {}", waiting.join(", "));
                }
            }
            Err(problems) => {
                tracing::error!("the configuration was not reloaded, the old one stays in force:\n{problems}");
            }
        }
    }
}

/// Follows the file until the task is dropped.
pub(crate) async fn follow(app: Arc<App>, reloader: Arc<Reloader>) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut ticks = interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let asked = tokio::select! {
            _ = hangup.recv() => true,
            _ = ticks.tick() => false,
        };
        if asked || reloader.is_changed() {
            // The failure is logged and counted already, and no caller waits for the result.
            drop(reloader.reload(&app));
        }
        reloader.reprice(&app, clock::now_ms());
    }
}

/// The settings that differ from those of the start and are only read there.
fn waiting(started: &Config, now: &Config) -> Vec<&'static str> {
    let settings = [
        ("server.listen", "server", ".listen"),
        ("server.admin_listen", "server", ".admin_listen"),
        ("server.workers", "server", ".workers"),
        ("server.max_connections", "server", ".max_connections"),
        ("server.drain_s", "server", ".drain_s"),
        ("server.grace_s", "server", ".grace_s"),
        ("log.level", "log", ".level"),
        ("log.format", "log", ".format"),
        ("log.access", "log", ".access"),
        ("decisions.ring", "decisions", ".ring"),
        ("decisions.log_folder", "decisions", ".log_folder"),
        ("decisions.max_file_bytes", "decisions", ".max_file_bytes"),
        ("decisions.max_file_age_s", "decisions", ".max_file_age_s"),
        ("decisions.keep_files", "decisions", ".keep_files"),
        ("storage.url", "storage", ".url"),
        ("storage.journal_folder", "storage", ".journal_folder"),
        ("storage.max_journal_bytes", "storage", ".max_journal_bytes"),
        ("storage.durability", "storage", ".durability"),
        ("storage.on_journal_failure", "storage", ".on_journal_failure"),
        ("storage.keep_rows_days", "storage", ".keep_rows_days"),
        ("storage.keep_hours_days", "storage", ".keep_hours_days"),
        ("shared.url", "shared", ".url"),
        ("shared.prefix", "shared", ".prefix"),
        ("shared.replicas", "shared", ".replicas"),
        ("shared.limits_when_away", "shared", ".limits_when_away"),
        ("shared.budgets_when_away", "shared", ".budgets_when_away"),
    ];
    let differs = |group, key| started.listing.differs(&now.listing, group, key);
    let mut waiting: Vec<_> =
        settings.into_iter().filter(|(_, group, key)| differs(group, key)).map(|(name, ..)| name).collect();
    if longest(now) > longest(started) {
        waiting.push("the buckets of the latency metrics, which end at the longest deadline_ms of the start");
    }
    waiting
}

fn longest(config: &Config) -> Duration {
    config.models.iter().map(|model| model.deadline).max().unwrap_or_default()
}

fn put_in_force(app: &App, config: &Config, pools: &Pools) -> Result<(), providers::WiringError> {
    let table = providers::table(config, Some(&app.router.table()), pools)?;
    app.metrics.prepare(&table);
    app.router.replace_table(table);
    app.replace(config);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str, strategy: &str) -> Config {
        settings::parse(&text(head, strategy), "x.toml", &|_| None).expect("a valid configuration")
    }

    fn text(head: &str, strategy: &str) -> String {
        let rest = format!(
            "[auth]\nmode = \"none\"\n[[upstreams]]\nid = \"a\"\nprovider = \"openai\"\nmodel = \"m\"\n\
             base_url = \"http://127.0.0.1:9/v1\"\napi_key_env = \"none\"\n[[models]]\nname = \"m\"\nstrategy = \"{strategy}\"\n\
             targets = [{{ upstream = \"a\" }}]\n"
        );
        format!("{head}\n{rest}")
    }

    /// The file is not read for that: it may be in the middle of a change.
    #[test]
    fn a_price_comes_into_force_on_its_day() {
        let cost = |usd| {
            format!("{{ kind = \"tokens\", input_usd_per_million = \"{usd}\", output_usd_per_million = \"{usd}\" }}")
        };
        let (now, later) = (cost("0.10"), cost("0.30"));
        let prices = format!("model = \"m\"\ncost = {now}\nprices = [{{ from = \"2100-01-01\", cost = {later} }}]\n");
        let text = text("", "cost").replacen("model = \"m\"\n", &prices, 1);
        let config = settings::parse(&text, "x.toml", &|_| None).expect("a valid configuration");
        let app = crate::running::test_app();
        let reloader = Reloader::new(PathBuf::from("/no/such/file"), config.clone(), Pools::default());
        put_in_force(&app, &config, &reloader.pools).expect("in force");
        let day_ms = config.next_price_ms(0).expect("a price to come");
        let input_at = |now_ms| {
            reloader.reprice(&app, now_ms);
            let table = app.router.table();
            let upstream = table.upstreams().next().expect("an upstream");
            upstream.spec.tariff.as_ref().and_then(provider::Tariff::list_price).expect("a price").input.0
        };
        assert_eq!([input_at(day_ms - 1), input_at(day_ms), input_at(day_ms + 1)], [100_000, 300_000, 300_000]);
    }

    #[test]
    fn a_file_that_was_gone_is_read_when_it_is_back_as_it_was() {
        let folder = std::env::temp_dir().join(format!("llm-router-reload-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("config.toml");
        let reloader = Reloader::new(path.clone(), parse("", "cost"), Pools::default());
        let text = text("", "cost");
        std::fs::write(&path, &text).expect("written");
        assert!(!reloader.is_changed());
        std::fs::remove_file(&path).expect("removed");
        assert!(reloader.read(&mut reloader.current.lock()).is_err());
        assert!(!reloader.is_changed(), "it is not there");
        std::fs::write(&path, &text).expect("written");
        assert!(reloader.is_changed());
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn what_waits_for_the_next_start_is_named() {
        let started = parse("", "cost");
        assert_eq!(waiting(&started, &parse("[server]\nmax_messages = 7", "cost")), Vec::<&str>::new());
        let now = parse(
            "[server]\nlisten = \"127.0.0.1:1\"\nadmin_listen = \"127.0.0.1:2\"\nworkers = 3\nmax_connections = 4\n\
             drain_s = 5\ngrace_s = 2\n[log]\nlevel = \"debug\"\nformat = \"pretty\"\naccess = \"off\"\n\
             [decisions]\nring = 7\nlog_folder = \"/a\"\nmax_file_bytes = 70000\nmax_file_age_s = 7\nkeep_files = 7\n\
             [storage]\nurl = \"postgres://db/ledger\"\njournal_folder = \"/b\"\nmax_journal_bytes = 7000000\ndurability = \"disk\"\n\
             on_journal_failure = \"release\"\nkeep_rows_days = 7\nkeep_hours_days = 70\n\
             [shared]\nurl = \"redis://a\"\nprefix = \"b\"\nreplicas = 2\nlimits_when_away = \"refuse\"\nbudgets_when_away = \"own\"",
            "cost",
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
                "server.grace_s",
                "log.level",
                "log.format",
                "log.access",
                "decisions.ring",
                "decisions.log_folder",
                "decisions.max_file_bytes",
                "decisions.max_file_age_s",
                "decisions.keep_files",
                "storage.url",
                "storage.journal_folder",
                "storage.max_journal_bytes",
                "storage.durability",
                "storage.on_journal_failure",
                "storage.keep_rows_days",
                "storage.keep_hours_days",
                "shared.url",
                "shared.prefix",
                "shared.replicas",
                "shared.limits_when_away",
                "shared.budgets_when_away"
            ]
        );
    }

    #[test]
    fn changes_are_reported_by_the_names_of_what_changed() {
        let key = |digit: &str| format!("[[keys]]\nid = \"k\"\nteam = \"t\"\nsha256 = \"{}\"\n", digit.repeat(64));
        let old = parse(&format!("[server]\nmax_messages = 7\n{}", key("1")), "cost");
        let new = parse(
            &format!(
                "{}[[upstreams]]\nid = \"b\"\nprovider = \"openai\"\nmodel = \"n\"\nbase_url = \"http://127.0.0.1:9/v1\"\n\
                 api_key_env = \"none\"\n",
                key("2")
            ),
            "latency",
        );
        let changes = old.listing.changes(&new.listing);
        assert_eq!(
            changes,
            ["- server", "keys[k].sha256: changed", "models[m].strategy: \"cost\" -> \"latency\"", "+ upstreams[b]"]
        );
        assert_ne!(old.version, new.version);
        assert_eq!(old.listing.changes(&old.listing), Vec::<String>::new());
    }
}

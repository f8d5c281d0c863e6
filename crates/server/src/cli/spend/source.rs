//! Which ledger is asked.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use ledger::{Location, Snapshot};
use settings::{Config, Secrets, process_env};

use super::{period::Days, selection::Selection};
use crate::cli::note;

/// Where the ledger is.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct Source {
    /// The configuration, whose storage.url names the ledger.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The ledger's SQLite file, or the URL of its Postgres database.
    #[arg(long, value_name = "FILE_OR_URL")]
    ledger: Option<String>,
}

impl Source {
    /// The configuration, if it was named.
    pub(super) fn config(&self) -> anyhow::Result<Option<Config>> {
        let load = |config: &PathBuf| settings::load_with(config, &process_env, Secrets::Optional);
        Ok(self.config.as_ref().map(load).transpose()?)
    }

    /// What is in the ledger now. Says so if something is not in it yet.
    pub(super) fn ledger(&self) -> anyhow::Result<Snapshot> {
        let (location, journals) = match (&self.ledger, &self.config) {
            (Some(ledger), _) if ledger.starts_with("postgres") && ledger.contains("://") => {
                (Location::Postgres(ledger.parse().context("--ledger is no address of a Postgres database")?), None)
            }
            (Some(path), _) => {
                let path = PathBuf::from(path);
                let journals = settings::journals_beside(&path);
                (Location::Sqlite(path), Some(journals))
            }
            (None, Some(config)) => {
                let loaded = settings::load_with(config, &process_env, Secrets::Optional)?;
                let without =
                    || format!("{} has no storage.url: without it, a router keeps no ledger", config.display());
                let storage = loaded.storage.with_context(without)?;
                (crate::ledger::location(&storage.location)?, Some(storage.journal_folder))
            }
            (None, None) => bail!("give --config or --ledger"),
        };
        if let Location::Sqlite(path) = &location
            && !path.is_file()
        {
            bail!("there is no ledger at {}: a router with this storage.url makes it at its start", path.display());
        }
        if let Some(journals) = journals {
            note_what_is_left(&journals);
        }
        Ok(Snapshot::open(&location, None)?)
    }
}

/// Says what killed routers of this machine left in their journals.
fn note_what_is_left(journals: &Path) {
    let left = ledger::journals_left(journals).unwrap_or_default();
    if left > 0 {
        note(&format!(
            "not in these figures yet: what {left} killed router{} left in {}; the next router that starts brings it in",
            if left == 1 { "" } else { "s" },
            journals.display(),
        ));
    }
}

/// Says that nothing was found, where the output does not.
pub(super) fn note_nothing(selection: &Selection, days: Days) {
    note(&format!("nothing{selection} is on record for {days}"));
}

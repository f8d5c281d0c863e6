//! Which ledger is asked.

use std::{
    io::{Write as _, stderr},
    path::PathBuf,
};

use anyhow::{Context as _, bail};
use clap::Args;
use settings::{Secrets, process_env};

use super::period::Days;

/// Where the ledger is.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct Source {
    /// The configuration, whose storage.url names the ledger.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The ledger's SQLite file.
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
}

impl Source {
    /// The ledger's file. Says so if something is not in it yet.
    pub(super) fn ledger(&self) -> anyhow::Result<PathBuf> {
        let (path, journals) = match (&self.ledger, &self.config) {
            (Some(path), _) => (path.clone(), settings::journals_beside(path)),
            (None, Some(config)) => {
                let loaded = settings::load_with(config, &process_env, Secrets::Optional)?;
                let without =
                    || format!("{} has no storage.url: without it, a router keeps no ledger", config.display());
                let storage = loaded.storage.with_context(without)?;
                (storage.path, storage.journal_folder)
            }
            (None, None) => bail!("give --config or --ledger"),
        };
        if !path.is_file() {
            bail!("there is no ledger at {}: a router with this storage.url makes it at its start", path.display());
        }
        let left = ledger::journals_left(&journals).unwrap_or_default();
        if left > 0 {
            note(&format!(
                "not in these figures yet: what {left} killed router{} left in {}; the next router that starts brings it in",
                if left == 1 { "" } else { "s" },
                journals.display(),
            ));
        }
        Ok(path)
    }
}

/// Says that nothing was found, where the output does not.
pub(super) fn note_nothing(team: Option<&str>, days: Days) {
    let of = team.map(|team| format!(" of team {team:?}")).unwrap_or_default();
    note(&format!("nothing{of} is on record for {days}"));
}

/// On standard error, which is not part of what a program reads.
fn note(text: &str) {
    // Nothing is left to do if standard error is gone.
    drop(writeln!(stderr(), "note: {text}"));
}

//! Which ledger is asked.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use settings::{Secrets, process_env};

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
    /// The ledger's file.
    pub(super) fn ledger(&self) -> anyhow::Result<PathBuf> {
        let path = match (&self.ledger, &self.config) {
            (Some(path), _) => path.clone(),
            (None, Some(config)) => {
                let loaded = settings::load_with(config, &process_env, Secrets::Optional)?;
                let without =
                    || format!("{} has no storage.url: without it, a router keeps no ledger", config.display());
                loaded.storage.with_context(without)?.path
            }
            (None, None) => bail!("give --config or --ledger"),
        };
        if !path.is_file() {
            bail!("there is no ledger at {}: a router with this storage.url makes it at its start", path.display());
        }
        Ok(path)
    }
}

//! One TOML file and the environment become a [`Config`] that needs no further checks, or a list of everything wrong.
//!
//! Serde stops at the first error, and a newcomer with five mistakes would need five starts. So the `config` crate reads
//! the file into untyped values, a small reader takes the known keys out of each table (what remains is unknown), and
//! every fault is gathered with its path. Secrets come from the environment or from files and are never printed; the
//! environment is an argument, so that tests touch none.
//!
//! It uses the types of `provider` and `router`, and neither HTTP nor async: the caller makes adapters from the
//! settings. [`reader`] reads other files in the same way.

mod aliases;
mod budgets;
mod connections;
mod cors;
mod cost;
mod ensembles;
mod env;
mod hedge;
mod host;
mod keys;
mod limits;
mod listing;
mod models;
mod prices;
mod problem;
pub mod reader;
mod scalars;
mod secret;
mod shared;
mod sources;
mod specs;
mod storage;
mod stored;
mod tags;
mod tasks;
mod teams;
mod types;
mod upstreams;
mod url;
mod value;
mod wishes;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::Path};

pub use aliases::{Alias, Aliases};
pub use budgets::{AtLimit, Budget, BudgetPeriod};
pub use cors::CorsOrigins;
pub use ensembles::ENSEMBLE_PREFIX;
pub use env::{Env, process_env, unknown_overrides};
pub use listing::Listing;
pub use prices::{DatedPrice, recorded_price};
pub use problem::{Problem, Problems};
pub use sources::Sources;
pub use storage::journals_beside;
pub use stored::{KeyTerms, StoredKey, TeamTerms, key_terms, team_terms};
pub use tags::{TagError, TagSet, Tags, tag_pairs};
pub use tasks::TASK_PREFIX;
pub use types::{
    AccessLog, Allowance, AuthMode, BudgetsWhenAway, Config, ConnectionLimits, DecisionLog, Decisions, Durability,
    EndpointType, Key, LimitsWhenAway, Log, LogFormat, Model, OnJournalFailure, ProviderSettings, Server, Shared,
    Storage, StorageLocation, Target, Team, Timeouts, Upstream,
};
pub use value::is_plain_name;
pub use wishes::{Wish, WishSet};

use reader::{Context, Table};

/// What reading does about secrets: the keys of upstreams, the client keys that live in the environment, and the
/// operators' token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// Every secret is read, and a missing one is a problem: what serving needs.
    Required,
    /// Every secret is looked for, and a missing one passes, for checking a file where the secrets are not at hand.
    /// Upstreams then have no key, and client keys that live in the environment are left out.
    Optional,
    /// No secret is looked for, in the environment or in a file, for using a configuration without calling anyone.
    /// Upstreams have no key, client keys that live in the environment are left out, and there is no admin token.
    /// Where an upstream or a secret is, and what an upstream calls its model, may depend on variables that are not set:
    /// each of them then stands for its own name, and an address with such a name in it is not checked.
    Ignored,
}

/// Reads and validates the file at `path`; a missing secret is a problem.
///
/// # Errors
/// With everything that is wrong with the file, or why it cannot be read.
pub fn load(path: &Path, env: Env<'_>) -> Result<Config, Problems> {
    load_with(path, env, Secrets::Required)
}

/// Reads and validates the file at `path`.
///
/// # Errors
/// With everything that is wrong with the file, or why it cannot be read.
pub fn load_with(path: &Path, env: Env<'_>, secrets: Secrets) -> Result<Config, Problems> {
    load_noting(path, env, secrets).map_err(|(problems, _)| problems)
}

/// As [`load_with`], for who reads the file again when it changes.
///
/// # Errors
/// With everything that is wrong, and what it was read from, to notice when it is mended; `None` if the file could not be
/// read.
pub fn load_noting(path: &Path, env: Env<'_>, secrets: Secrets) -> Result<Config, (Problems, Option<Sources>)> {
    let bytes = std::fs::read(path).map_err(|error| (reader::unreadable(path, &error, EXAMPLES), None))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let sources = Sources::new(error.as_bytes(), BTreeMap::new());
        (reader::unreadable(path, &error.utf8_error(), EXAMPLES), Some(sources))
    })?;
    parse_noting(&text, &path.display().to_string(), env, secrets)
        .map_err(|(problems, sources)| (problems, Some(sources)))
}

/// Where to find a file for who has none.
const EXAMPLES: &str = "config/ holds examples to start from";

/// Validates `text`; a missing secret is a problem. `origin` names the file in reports.
///
/// # Errors
/// With everything that is wrong with the text.
pub fn parse(text: &str, origin: &str, env: Env<'_>) -> Result<Config, Problems> {
    parse_with(text, origin, env, Secrets::Required)
}

/// Validates `text`. `origin` names the file in reports.
///
/// # Errors
/// With everything that is wrong with the text.
pub fn parse_with(text: &str, origin: &str, env: Env<'_>, secrets: Secrets) -> Result<Config, Problems> {
    parse_noting(text, origin, env, secrets).map_err(|(problems, _)| problems)
}

fn parse_noting(text: &str, origin: &str, env: Env<'_>, secrets: Secrets) -> Result<Config, (Problems, Sources)> {
    let context = Context::new(env, secrets);
    let config = read_all(text, &context);
    let (mut list, secrets) = context.finish();
    let sources = Sources::new(text, secrets);
    match config {
        Ok(Some(config)) if list.is_empty() => return Ok(Config { sources, ..config }),
        Ok(_) => {}
        Err(problem) => list.push(problem),
    }
    Err((Problems { origin: origin.to_owned(), list }, sources))
}

/// Reads everything that `text` says. `None` if a problem was reported.
fn read_all(text: &str, context: &Context<'_>) -> Result<Option<Config>, Problem> {
    let mut entries = reader::entries(text)?;
    env::override_scalars(&mut entries, context.env());
    let listing = Listing::new(&entries);
    Ok(read(Table::new(context, String::new(), entries), listing))
}

/// Reads every section. A part that is missing or wrong has been reported, so its stand-in never leaves this module.
fn read(mut root: Table<'_>, listing: Listing) -> Option<Config> {
    let server = scalars::server(&mut root);
    let log = scalars::log(&mut root);
    let decisions = scalars::decisions(&mut root);
    let has_storage = root.has("storage");
    let storage = storage::read(&mut root);
    let shared = shared::read(&mut root, storage.as_ref());
    let auth = scalars::auth(&mut root, &server);
    let tags = tags::read(&mut root);
    let (keys, key_models) = keys::read(&mut root, auth, (&server, &tags), has_storage);
    let teams = teams::read(&mut root, &keys);
    let upstreams = upstreams::read(&mut root);
    let (models, mut names) = models::read(&mut root, &upstreams);
    let (ensembles, more) = ensembles::read(&mut root, &names);
    names.extend(more);
    let tasks = tasks::read(&mut root, &names);
    names.extend(tasks.keys().map(|task| format!("{TASK_PREFIX}{task}")));
    let aliases = aliases::read(&mut root, &names, &upstreams);
    names.extend(aliases.names().map(str::to_owned));
    keys::check_models(&key_models, &names);
    let context = root.context;
    root.finish();
    let upstreams = upstreams.into_iter().map(|entry| entry.upstream).collect::<Option<Vec<_>>>()?;
    budgets::check(context, has_storage, (&keys, &teams), &models, &upstreams);
    let (version, sources) = (listing.version(), Sources::default());
    Some(Config {
        version,
        listing,
        sources,
        server,
        log,
        decisions,
        storage,
        shared,
        auth,
        tags,
        keys,
        teams,
        upstreams,
        models,
        ensembles,
        tasks,
        aliases,
    })
}

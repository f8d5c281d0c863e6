//! One TOML file and the environment become a [`Config`] that needs no further checks, or a list of everything wrong.
//!
//! Serde stops at the first error, and a newcomer with five mistakes would need five starts. So the `config` crate reads
//! the file into untyped values, a small reader takes the known keys out of each table (what remains is unknown), and
//! every fault is gathered with its path. Secrets come from the environment or from files and are never printed; the
//! environment is an argument, so that tests touch none.

mod connections;
mod cost;
mod endpoint;
mod ensembles;
mod env;
mod host;
mod keys;
mod listing;
mod models;
mod problem;
mod reader;
mod scalars;
mod secret;
mod sources;
mod tasks;
mod types;
mod upstreams;
mod url;
mod value;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::Path};

pub use endpoint::{load_endpoint, parse_endpoint};
pub(crate) use ensembles::PREFIX as ENSEMBLE;
pub use env::{Env, process_env, unknown_overrides};
pub use listing::Listing;
pub use problem::{Problem, Problems};
pub use sources::Sources;
pub(crate) use tasks::PREFIX as TASK;
pub use types::{
    AccessLog, AuthMode, Config, ConnectionLimits, EndpointType, Key, KeyLimits, Log, LogFormat, Model,
    ProviderSettings, Server, Target, Timeouts, Upstream,
};

use ::config::Source;
use reader::{Context, Table};

/// Whether a secret that cannot be found is a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// Every secret must be there: what serving needs.
    Required,
    /// A missing secret passes, for checking a file where the secrets are not at hand. Upstreams then have no key, and
    /// client keys that live in the environment are left out.
    Optional,
}

/// Reads and validates the file at `path`; a missing secret is a problem.
pub fn load(path: &Path, env: Env<'_>) -> Result<Config, Problems> {
    load_with(path, env, Secrets::Required)
}

/// Reads and validates the file at `path`.
pub fn load_with(path: &Path, env: Env<'_>, secrets: Secrets) -> Result<Config, Problems> {
    load_noting(path, env, secrets).map_err(|(problems, _)| problems)
}

/// As [`load_with`]; a file that can be read but is wrong comes with what it was read from, to notice when it is mended.
pub(crate) fn load_noting(path: &Path, env: Env<'_>, secrets: Secrets) -> Result<Config, (Problems, Option<Sources>)> {
    let bytes = std::fs::read(path).map_err(|error| (unreadable(path, &error, EXAMPLES), None))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let sources = Sources::new(error.as_bytes(), BTreeMap::new());
        (unreadable(path, &error.utf8_error(), EXAMPLES), Some(sources))
    })?;
    parse_noting(&text, &path.display().to_string(), env, secrets)
        .map_err(|(problems, sources)| (problems, Some(sources)))
}

/// Where to find a file for who has none.
const EXAMPLES: &str = "config/ holds examples to start from";

/// What a file says; `hint` tells those who have none where to find one.
fn text_of(path: &Path, hint: &str) -> Result<String, Problems> {
    std::fs::read_to_string(path).map_err(|error| unreadable(path, &error, hint))
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display, hint: &str) -> Problems {
    let problem = Problem::new("", format!("cannot be read: {error}"), "a TOML file").hint(hint);
    Problems { origin: path.display().to_string(), list: vec![problem] }
}

/// Validates `text`; a missing secret is a problem. `origin` names the file in reports.
pub fn parse(text: &str, origin: &str, env: Env<'_>) -> Result<Config, Problems> {
    parse_with(text, origin, env, Secrets::Required)
}

/// Validates `text`. `origin` names the file in reports.
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
    // Not merged by the crate's builder: it takes a quoted key such as "server.listen" or "a[99999999]" for a path.
    let file = ::config::File::from_str(text, ::config::FileFormat::Toml);
    let mut entries = file.collect().map_err(|error| problem::syntax(&error))?;
    env::override_scalars(&mut entries, context.env());
    let listing = Listing::new(&entries);
    Ok(read(Table::new(context, String::new(), entries), listing))
}

/// Reads every section. A part that is missing or wrong has been reported, so its stand-in never leaves this module.
fn read(mut root: Table<'_>, listing: Listing) -> Option<Config> {
    let server = scalars::server(&mut root);
    let log = scalars::log(&mut root);
    let auth = scalars::auth(&mut root, &server);
    let (keys, key_models) = keys::read(&mut root, auth, &server);
    let upstreams = upstreams::read(&mut root);
    let models = models::read(&mut root, &upstreams);
    let ensembles = ensembles::read(&mut root, &models);
    let tasks = tasks::read(&mut root, &models, &ensembles);
    let names = models.iter().map(|model| model.name.as_str().to_owned());
    let others = ensembles.iter().map(|ensemble| ensemble.name.clone());
    let names: Vec<_> = names.chain(others).chain(tasks.keys().map(|task| format!("{TASK}{task}"))).collect();
    keys::check_models(&key_models, &names);
    root.finish();
    let upstreams = upstreams.into_iter().map(|entry| entry.upstream).collect::<Option<_>>()?;
    let (version, sources) = (listing.version(), Sources::default());
    Some(Config { version, listing, sources, server, log, auth, keys, upstreams, models, ensembles, tasks })
}

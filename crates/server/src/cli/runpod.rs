//! `llm-router runpod`: sets endpoints up. It changes nothing without `apply`.

mod report;
mod spec;

use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use openai::Client;
use runpod_admin::{Action, Api, Cost, Existing, Found, Spec, Target};
use secrecy::SecretString;
use settings::process_env;

use super::say;

/// Longest wait for the first answer: a first start pulls the image and downloads the model.
const WARM_UP_PATIENCE: Duration = Duration::from_mins(20);

/// The variable that has the key of the management API.
pub(super) const KEY: &str = "RUNPOD_API_KEY";

#[derive(Subcommand)]
pub(super) enum Command {
    /// Show what would be created or changed, and what it costs a month. Changes nothing.
    #[command(after_help = "The key comes from RUNPOD_API_KEY. Endpoint and volume are found by their names.\n\
        Exit code 0: the plan is shown, whether or not there is something to do. 1: the file, the key or RunPod is at fault.\n\n\
        Try it without an account: llm-router emulate, then\n  \
        RUNPOD_API_KEY=any llm-router runpod plan --spec deploy/runpod/endpoint.toml --api http://127.0.0.1:9100/v2")]
    Plan {
        #[command(flatten)]
        from: Source,
        /// Print JSON, for scripts.
        #[arg(long)]
        json: bool,
    },
    /// Do what plan shows, after asking, and print what to put into the configuration.
    #[command(
        after_help = "A second run changes nothing. A field that was changed in the file, or in RunPod's console, is set to what the\n\
        file says, and a variable that the file does not have is removed from the endpoint; the rest is left alone.\n\
        No volume and no endpoint is ever deleted.\n\
        Exit code 0: all is as the file says. 1: it is not; run it again, it goes on with what is not done yet."
    )]
    Apply {
        #[command(flatten)]
        from: Source,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        /// Then send one request through the endpoint and wait for its answer, 20 minutes at most. This starts a worker,
        /// which costs.
        #[arg(long)]
        warm_up: bool,
    },
}

#[derive(Args)]
pub(super) struct Source {
    /// What the endpoint should be, a TOML file; deploy/runpod/endpoint.toml describes every key.
    #[arg(long, short, value_name = "FILE")]
    spec: PathBuf,
    /// RunPod's management API.
    #[arg(long, value_name = "URL", default_value = runpod_admin::BASE_URL, value_parser = address)]
    api: String,
}

fn is_loopback(host: &str) -> bool {
    let host = host.split(['/', ':']).next().unwrap_or_default();
    host == "localhost" || host.parse().is_ok_and(|address: std::net::Ipv4Addr| address.is_loopback())
}

/// An address of the management API: nobody can read the key on its way there.
pub(super) fn address(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match host {
        // The key would travel in clear.
        Some(host) if text.starts_with("http://") && !is_loopback(host) => {
            Err("an address that starts with https://, unless it is on this machine".to_owned())
        }
        Some(host) if !host.is_empty() && !host.contains(['@', '?', '#']) => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err(format!("an address such as {}", runpod_admin::BASE_URL)),
    }
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Plan { from, json } => plan(from, *json).await,
            Command::Apply { from, yes, warm_up } => apply(from, *yes, *warm_up).await,
        }
    })
}

/// Everything that is known before anything is done.
struct Prepared {
    spec: Spec,
    key: SecretString,
    api: Api,
    found: Found,
    actions: Vec<Action>,
    cost: Cost,
}

async fn prepare(from: &Source) -> anyhow::Result<Prepared> {
    let spec = spec::load(&from.spec, &process_env)?;
    let key = process_env(KEY).filter(|key| !key.trim().is_empty());
    let key = key.with_context(|| format!("{KEY} is not set: make a key in RunPod's console and export {KEY}=…"))?;
    let key = SecretString::from(key.trim().to_owned());
    let api = Api::new(client(&from.api, &key)?, &from.api)?;
    let found = api.found().await?;
    let actions = runpod_admin::plan(&spec, &found)?;
    let cost = runpod_admin::cost(&spec, &api.prices().await?)?;
    Ok(Prepared { spec, key, api, found, actions, cost })
}

pub(super) fn client(base_url: &str, key: &SecretString) -> anyhow::Result<Client> {
    let connect_timeout = Duration::from_secs(10);
    let settings = openai::Settings {
        base_url: base_url.to_owned(),
        api_key: Some(key.clone()),
        connect_timeout,
        headers: Vec::new(),
    };
    Client::new(&settings).with_context(|| format!("{KEY} or {base_url} will not do"))
}

async fn plan(from: &Source, json: bool) -> anyhow::Result<()> {
    let prepared = prepare(from).await?;
    if json {
        return Ok(say(&report::json(&prepared.actions, &prepared.cost))?);
    }
    say(&report::plan(&prepared.actions, &prepared.spec, &prepared.cost))?;
    if !prepared.actions.is_empty() {
        let api = if from.api == runpod_admin::BASE_URL { String::new() } else { format!(" --api {}", from.api) };
        let spec = from.spec.display();
        say(&format!("\nNothing was changed. To do it: llm-router runpod apply --spec {spec}{api}"))?;
    }
    Ok(())
}

async fn apply(from: &Source, yes: bool, warm_up: bool) -> anyhow::Result<()> {
    let Prepared { spec, key, api, found, actions, cost } = prepare(from).await?;
    say(&report::plan(&actions, &spec, &cost))?;
    if !actions.is_empty() && !yes {
        ask()?;
    }
    let mut made = Ok(());
    let done = |action: &Action, existing: &Existing| {
        let verb = if action.id.is_some() { "changed" } else { "created" };
        made = say(&format!("{verb} the {} {} ({})", action.target, existing.name, existing.id));
    };
    let (endpoint, left) = runpod_admin::apply(&api, &spec, found, done).await?;
    made?;
    say(&format!("\n{}", report::snippet(&spec, &endpoint, &cost, &from.api)))?;
    if !left.is_empty() {
        bail!("RunPod took the request, but some fields are still otherwise:\n{}", report::actions(&left));
    }
    if warm_up {
        let base_url = report::base_url(&spec, &endpoint);
        say(&format!("\nwarming up through {base_url}; a first start downloads the model and takes minutes"))?;
        let took = runpod_admin::warm_up(client(&base_url, &key)?, &spec.served_name, WARM_UP_PATIENCE).await;
        let took = took.map_err(|error| {
            let hint = "look at its workers and their logs in RunPod's console, then run this again";
            anyhow::anyhow!("the {} {} does not answer: {}\n  {hint}", Target::Endpoint, endpoint.id, error.message)
        })?;
        say(&format!("answered after {:.1} s", took.as_secs_f64()))?;
    }
    Ok(())
}

/// Waits for a yes.
fn ask() -> anyhow::Result<()> {
    if !io::stdin().is_terminal() {
        bail!("nothing was changed: there is no terminal to ask on, so say --yes");
    }
    let mut out = io::stdout().lock();
    write!(out, "\nDo this? [yes/no] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if !matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        bail!("nothing was changed");
    }
    Ok(())
}

//! The command line.

use std::{
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use emulator::{Emulator, Settings};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    config::{self, Config, process_env},
    demo,
    running::Running,
};

/// Routes OpenAI API calls to RunPod and Cerebras: cheapest first, never silent when a provider fails.
#[derive(Parser)]
#[command(name = "llm-router", version, arg_required_else_help = true)]
#[command(after_help = "Start here:\n  llm-router serve --demo            no keys, no network, no configuration\n  \
    llm-router check --config F        is my configuration right?\n  llm-router serve --config F        serve it")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API.
    #[command(
        after_help = "SIGTERM or Ctrl-C stops in order: requests under way may end until server.drain_s is over; a second \
        one stops at once.\nSIGHUP, or a changed file, reloads the configuration; a file with problems changes nothing.\n\
        Single settings can be overridden: LLM_ROUTER__SERVER__LISTEN=0.0.0.0:8080"
    )]
    Serve {
        /// The configuration, a TOML file; config/reference.toml describes every key.
        #[arg(long, short, value_name = "FILE", required_unless_present = "demo", conflicts_with = "demo")]
        config: Option<PathBuf>,
        /// Serve emulated providers instead: nothing to set up, nothing to pay.
        #[arg(long)]
        demo: bool,
    },
    /// Check a configuration: every problem at once, each with its path and a hint. Exit code 1 if there is any.
    Check {
        /// The configuration, a TOML file.
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
        /// Do not ask for secrets that are not here, such as keys in the environment of the server.
        #[arg(long)]
        without_secrets: bool,
    },
    /// Run the emulated providers alone: RunPod (both kinds of endpoint) and Cerebras, with faults on demand.
    #[command(after_help = "Faults are set over HTTP, for example a storm of 503 on RunPod's load balancer:\n  \
        curl -X POST http://ADDRESS/_control -d '{\"face\": \"runpod_lb\", \"fault\": {\"kind\": \"status\", \"code\": 503}}'\n\
        POST /_control/reset ends all faults; GET /_control/books shows what was received.")]
    Emulate {
        /// Where to listen.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9100")]
        listen: SocketAddr,
        /// How much faster than life; 0 is without any delay.
        #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
        speed: f64,
        /// Seed of all random choices.
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        seed: u64,
    },
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve { demo: true, .. } => serve_demo(),
        Command::Serve { config: Some(path), .. } => serve(&path),
        Command::Serve { config: None, .. } => Err(anyhow::anyhow!("give a file with --config, or --demo")),
        Command::Check { config, without_secrets } => check(&config, without_secrets),
        Command::Emulate { listen, speed, seed } => emulate(listen, speed, seed),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do if standard error is gone as well.
            drop(writeln!(std::io::stderr(), "{error}"));
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

fn serve(path: &Path) -> anyhow::Result<()> {
    warn_of_overrides();
    let config = config::load(path, &process_env)?;
    let running = Running::start(&config, Some(path.to_owned()))?;
    say(&format!(
        "llm-router listens on http://{}/v1, metrics on http://{}/metrics",
        running.addr(),
        running.admin_addr()
    ))?;
    until_told_to_stop(running)
}

fn serve_demo() -> anyhow::Result<()> {
    let emulator = demo::emulator()?;
    let config: Config = demo::config(&emulator, &process_env)?;
    let running = Running::start(&config, None)?;
    say(&demo::welcome(running.addr(), running.admin_addr(), &config))?;
    let ended = until_told_to_stop(running);
    emulator.stop();
    ended
}

/// An override of a setting that does not exist would otherwise pass unseen.
fn warn_of_overrides() {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for problem in config::unknown_overrides(names) {
        drop(writeln!(std::io::stderr(), "warning: {problem}"));
    }
}

fn until_told_to_stop(running: Running) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut told = 0;
        while !running.is_finished() {
            tokio::select! {
                _ = terminate.recv() => told += 1,
                _ = interrupt.recv() => told += 1,
                () = tokio::time::sleep(std::time::Duration::from_millis(50)) => continue,
            }
            if told == 1 { running.stop() } else { running.stop_now() }
        }
        Ok::<_, std::io::Error>(())
    })?;
    Ok(running.join()?)
}

fn check(path: &Path, without_secrets: bool) -> anyhow::Result<()> {
    warn_of_overrides();
    let secrets = if without_secrets { config::Secrets::Optional } else { config::Secrets::Required };
    let config = config::load_with(path, &process_env, secrets)?;
    let (upstreams, models) = (config.upstreams.len(), config.models.len());
    say(&format!(
        "{}: no problems ({upstreams} upstreams, {models} models, {} keys)",
        path.display(),
        config.keys.len()
    ))?;
    Ok(())
}

fn emulate(address: SocketAddr, speed: f64, chance: u64) -> anyhow::Result<()> {
    let emulator = Emulator::start(Settings { address, speed, seed: chance, ..Settings::default() })?;
    say(&format!(
        "emulated providers on {url}\n  RunPod, load balancer  {}\n  RunPod, queue          {}\n  Cerebras               {}\n  control                {url}/_control",
        emulator.runpod_lb_base(),
        emulator.runpod_queue_base("demo"),
        emulator.cerebras_base(),
        url = emulator.url(),
    ))?;
    Ok(emulator.wait()?)
}

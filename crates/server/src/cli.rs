//! The command line.

mod calibrate;
mod explain;
mod keys;
mod runpod;
mod simulate;
mod spend;

use std::{
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{ArgGroup, Parser, Subcommand, ValueEnum};
use emulator::{Emulator, Settings};
use settings::{Config, LogFormat, process_env};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};

use crate::{demo, running::Running};
pub(crate) use spend::{Asked, Report};

/// Sends OpenAI API calls to RunPod or Cerebras, by a strategy of your choice, and to another when one fails.
#[derive(Parser)]
#[command(name = "llm-router", version, arg_required_else_help = true)]
#[command(after_help = "Start here:\n  llm-router serve --demo            no keys, no network, no configuration\n  \
    llm-router check --config F        is my configuration right?\n  llm-router serve --config F        serve it\n  \
    llm-router simulate --help         what would a change do?")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API.
    #[command(
        group = ArgGroup::new("what").args(["config", "demo"]).required(true),
        after_help = "SIGTERM stops in order: new requests are taken for server.grace_s, those under way may end until \
        server.drain_s is over. Ctrl-C leaves server.grace_s out; a second signal of either kind stops at once.\nSIGHUP, or a changed file, reloads the configuration; a file with problems changes nothing.\n\
        Single settings can be overridden: LLM_ROUTER__SERVER__LISTEN=0.0.0.0:8080"
    )]
    Serve {
        /// The configuration, a TOML file; config/reference.toml describes every key.
        #[arg(long, short, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Serve emulated providers instead: nothing to set up, nothing to pay.
        #[arg(long)]
        demo: bool,
        /// How logs are written, whatever the configuration says: json for machines, pretty for people.
        #[arg(long, value_name = "FORMAT", value_enum)]
        log_format: Option<Format>,
    },
    /// Check a configuration: every problem at once, each with its path and a hint. Exit code 1 if there is any.
    Check {
        /// The configuration, a TOML file.
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
        /// Check without the keys, as in CI. Variables in a "${…}" must still be set.
        #[arg(long)]
        without_secrets: bool,
    },
    /// Ask a running router what it would do with a chat, and why; no call is made.
    #[command(
        after_help = "Example: llm-router explain --key-env LLM_ROUTER_KEY_APP --model llama-3.1-8b\nThe demo's key is sk-demo: \
        KEY=sk-demo llm-router explain --key-env KEY --model llama-3.1-8b"
    )]
    Explain(explain::Arguments),
    /// What would this change do? Replay a trace through configurations, against simulated providers: cost, latency, shares.
    #[command(after_help = simulate::HELP)]
    Simulate(simulate::Arguments),
    /// What are my providers like? Fit the simulated ones to a decision log: speed, spread, cold starts, prices.
    #[command(after_help = calibrate::HELP)]
    Calibrate(calibrate::Arguments),
    /// What was spent, and by whom? Sums up the ledger, as a table, CSV, JSON or charges of FOCUS.
    #[command(after_help = spend::HELP)]
    Spend(spend::Arguments),
    /// What was saved against other policies: the baseline, the split, every upstream alone.
    #[command(after_help = spend::SAVINGS_HELP)]
    Savings(spend::Savings),
    /// What do workers cost that are billed by the second? Hours and days, utilisation, effective prices of a million tokens.
    #[command(after_help = spend::GPU_HELP)]
    Gpu(spend::Gpu),
    /// Is the provider's bill what the ledger says? Compares them by endpoint and day, and says what explains a difference.
    #[command(after_help = spend::RECONCILE_HELP)]
    Reconcile(spend::Reconcile),
    /// One page about one team's month, for its lead: HTML with a plot, or Markdown.
    #[command(after_help = spend::SHOWBACK_HELP)]
    Showback(spend::Showback),
    /// Who may call: make, rotate, disable and list keys in the ledger's database, while routers run.
    #[command(subcommand, after_help = keys::HELP)]
    Keys(keys::Keys),
    /// What the keys of a team may use together, in the ledger's database.
    #[command(subcommand, after_help = keys::HELP)]
    Teams(keys::Teams),
    /// Run the emulated providers alone: RunPod (both kinds of endpoint) and Cerebras, with faults on demand.
    #[command(
        after_help = "Prints what to put into the [[upstreams]] of a configuration. As with the real ones, calls need a key, \
        but any will do.\n\nFaults are set over HTTP, for example a 500 to every request on RunPod's load balancer:\n  \
        curl -X POST http://127.0.0.1:9100/_control -d '{\"face\": \"runpod_lb\", \"fault\": {\"kind\": \"status\", \"code\": \
        500}}'\nThe other faces are runpod_queue and cerebras. \"times\": 3 or \"share\": 0.5 beside the fault bounds it, \
        \"sever\": true breaks off what is under way as well. An unknown kind is answered with all known ones.\nPOST \
        /_control/reset ends all faults; GET /_control shows them, GET /_control/calls what was received.\n\nA prompt may dictate \
        calls of tools, which are made one after the other, one an answer:\n  Call read_file with {\"path\": \"notes.txt\"}, then call \
        write_file with {\"path\": \"notes.txt\", \"text\": \"\"}"
    )]
    Emulate {
        /// Where to listen.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9100")]
        listen: SocketAddr,
        /// Speed relative to real time; 0 is without any delay.
        #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = factor)]
        speed: f64,
        /// Seed of all random choices.
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        seed: u64,
        /// What else can be set, as JSON: quotas, workers, latencies, keys. What it leaves out keeps its default.
        #[arg(long, value_name = "FILE")]
        settings: Option<PathBuf>,
    },
    /// Set up a RunPod endpoint and its network volume from a file: what would change, what it costs, and doing it.
    #[command(subcommand)]
    Runpod(runpod::Command),
}

/// What `--log-format` takes.
#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// A speed: finite and not below zero.
fn factor(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "a number from 0 on".to_owned())
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve { demo: true, log_format, .. } => serve_demo(log_format),
        Command::Serve { config: Some(path), log_format, .. } => serve(&path, log_format),
        Command::Serve { config: None, .. } => Err(anyhow::anyhow!("give a file with --config, or --demo")),
        Command::Check { config, without_secrets } => check(&config, without_secrets),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Calibrate(arguments) => calibrate::run(&arguments),
        Command::Keys(command) => keys::run(&command),
        Command::Teams(command) => keys::run_teams(&command),
        Command::Spend(arguments) => spend::run(&arguments),
        Command::Savings(arguments) => spend::run_savings(&arguments),
        Command::Showback(arguments) => spend::run_showback(&arguments),
        Command::Gpu(arguments) => spend::run_gpu(&arguments),
        Command::Reconcile(arguments) => match spend::run_reconcile(&arguments) {
            Ok(false) => return ExitCode::FAILURE,
            compared => compared.map(drop),
        },
        Command::Simulate(arguments) => return simulate::run(&arguments),
        Command::Emulate { listen, speed, seed, settings } => {
            emulated(settings.as_deref()).and_then(|given| emulate(Settings { address: listen, speed, seed, ..given }))
        }
        Command::Runpod(command) => runpod::run(&command),
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

/// Says something on standard error, which is not part of what a program reads.
fn note(text: &str) {
    // Nothing is left to do if standard error is gone.
    drop(writeln!(std::io::stderr(), "note: {text}"));
}

/// Prints to standard output. That its reader has enough, as `head` has, is no error.
fn say(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        said => said,
    }
}

/// What an option says wins over the file and the environment.
fn format_logs(config: &mut Config, format: Option<Format>) {
    config.log.format = match format {
        Some(Format::Json) => LogFormat::Json,
        Some(Format::Pretty) => LogFormat::Pretty,
        None => config.log.format,
    };
}

fn serve(path: &Path, log_format: Option<Format>) -> anyhow::Result<()> {
    warn_of_overrides();
    let mut config = settings::load(path, &process_env)?;
    format_logs(&mut config, log_format);
    let running = Running::start(&config, Some(path.to_owned()))?;
    let (public, admin) = (running.addr(), running.admin_addr());
    let welcome = format!("llm-router listens on http://{public}/v1, metrics on http://{admin}/metrics");
    until_stopped(running, &welcome)
}

fn serve_demo(log_format: Option<Format>) -> anyhow::Result<()> {
    let emulator = demo::emulator()?;
    let mut config: Config = demo::config(&emulator, &process_env)?;
    format_logs(&mut config, log_format);
    let running = Running::start(&config, None)?;
    let welcome = demo::welcome(running.addr(), running.admin_addr(), &config);
    let ended = until_stopped(running, &welcome);
    emulator.stop();
    ended
}

/// An override of a setting that does not exist would otherwise pass unseen.
fn warn_of_overrides() {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for problem in settings::unknown_overrides(names) {
        drop(writeln!(std::io::stderr(), "warning: {problem}"));
    }
}

/// How long a server may take to stop after a second signal; after that the process ends anyway.
const LAST_PATIENCE: Duration = Duration::from_millis(900);

/// Says `welcome` once signals are handled, and waits for the end.
fn until_stopped(running: Running, welcome: &str) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let has_ended = runtime.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        say(welcome)?;
        let (mut is_told, mut end) = (false, None);
        while !running.is_finished() && end.is_none_or(|end| Instant::now() < end) {
            let interrupted = tokio::select! {
                _ = terminate.recv() => false,
                _ = interrupt.recv() => true,
                () = tokio::time::sleep(Duration::from_millis(20)) => continue,
            };
            match (is_told, interrupted) {
                (false, false) => running.stop(),
                (false, true) => running.stop_without_grace(),
                (true, _) => {
                    running.stop_now();
                    end.get_or_insert(Instant::now() + LAST_PATIENCE);
                }
            }
            is_told = true;
        }
        Ok::<_, std::io::Error>(running.is_finished())
    })?;
    // A thread that does not end would keep the process: it ends with it.
    if has_ended { Ok(running.join()?) } else { Ok(()) }
}

fn check(path: &Path, without_secrets: bool) -> anyhow::Result<()> {
    warn_of_overrides();
    let secrets = if without_secrets { settings::Secrets::Optional } else { settings::Secrets::Required };
    let config = settings::load_with(path, &process_env, secrets)?;
    if let Some(storage) = &config.storage {
        crate::ledger::location(&storage.location)
            .map_err(|error| anyhow::anyhow!("{}: storage.url: {error}", path.display()))?;
    }
    let (upstreams, models) = (counted(config.upstreams.len(), "upstream"), counted(config.models.len(), "model"));
    let keys = counted(config.keys.len(), "key");
    let left_out = if without_secrets { "; keys in the environment not looked for" } else { "" };
    let aliases = config.aliases.iter().map(|alias| format!("\n  {} stands for {}", alias.name, alias.target));
    let aliases: String = aliases.collect();
    say(&format!("{}: no problems ({upstreams}, {models}, {keys}{left_out}){aliases}", path.display()))?;
    Ok(())
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// The emulator's settings in this file, or the usual ones.
fn emulated(file: Option<&Path>) -> anyhow::Result<Settings> {
    let Some(file) = file else { return Ok(Settings::default()) };
    let text = std::fs::read_to_string(file).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
    serde_json::from_str(&text).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))
}

fn emulate(settings: Settings) -> anyhow::Result<()> {
    let address = settings.address;
    let on_runpod = settings.runpod_lb.models.join(" or ");
    let embeddings = settings.runpod_lb.embedding_models.join(" or ");
    let recordings = settings.runpod_lb.audio_models.join(" or ");
    let on_cerebras = settings.cerebras.models.join(" or ");
    let emulator = Emulator::start(settings)
        .map_err(|error| anyhow::anyhow!("cannot listen on {address}: {error}; --listen takes another"))?;
    say(&format!(
        "emulated providers on {url}, for the [[upstreams]] of a configuration; any key will do, but calls need one

  RunPod, load balancer  base_url = \"{lb}\"
                         capacity_url = \"{url}/lb/workers\"
  RunPod, queue          base_url = \"{queue}\"
    their models         {on_runpod}
    for embeddings       {embeddings}
    for recordings       {recordings}
  Cerebras               base_url = \"{cerebras}\"
    its models           {on_cerebras}
  RunPod, management     llm-router runpod plan --api {management} --spec FILE

Faults are set at {url}/_control: llm-router emulate --help
Stop with Ctrl-C.
",
        url = emulator.url(),
        lb = emulator.runpod_lb_base(),
        queue = emulator.runpod_queue_base("demo"),
        cerebras = emulator.cerebras_base(),
        management = emulator.management_base(),
    ))?;
    Ok(emulator.wait()?)
}

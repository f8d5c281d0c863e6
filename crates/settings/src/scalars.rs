//! The sections of single values: `[server]`, `[log]`, `[decisions]` and `[auth]`. The environment may override each.

use std::{collections::HashMap, net::SocketAddr, path::PathBuf, thread, time::Duration};

use provider::Limits;
use tracing_subscriber::EnvFilter;

use crate::{
    connections, cors,
    cors::CorsOrigins,
    problem::did_you_mean,
    reader::Table,
    secret,
    types::{AccessLog, AuthMode, DecisionLog, Decisions, Log, LogFormat, Server},
    value::{Text, any_of},
};

/// Every key that `LLM_ROUTER__SECTION__KEY` can override, by section.
pub(crate) const KEYS: [(&str, &[&str]); 6] = [
    (
        "server",
        &[
            "listen",
            "admin_listen",
            "admin_token_file",
            "workers",
            "max_body_bytes",
            "max_messages",
            "max_batch",
            "max_in_flight",
            "memory_budget_bytes",
            "max_open_batches",
            "batch_deadline_s",
            "drain_s",
            "grace_s",
            "keep_alive_comment_s",
            "body_read_s",
            "head_read_s",
            "write_stall_s",
            "max_connections",
            "max_connections_per_peer",
            "trusted_proxies",
        ],
    ),
    ("log", &["level", "access", "format"]),
    ("decisions", &["ring", "log_folder", "max_file_bytes", "max_file_age_s", "keep_files"]),
    (
        "storage",
        &[
            "url",
            "journal_folder",
            "max_journal_bytes",
            "durability",
            "on_journal_failure",
            "keep_rows_days",
            "keep_hours_days",
        ],
    ),
    ("shared", &["url", "prefix", "replicas", "limits_when_away", "budgets_when_away"]),
    ("auth", &["mode"]),
];

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

pub(crate) fn server(root: &mut Table<'_>) -> Server {
    let mut table = section(root, "server");
    let listen = table.text("listen").and_then(|text| socket(&text)).unwrap_or_else(|| ([127, 0, 0, 1], 8080).into());
    let admin = table.text("admin_listen");
    let admin_listen = admin.as_ref().and_then(socket).unwrap_or_else(|| ([127, 0, 0, 1], 8081).into());
    if let Some(text) = admin.filter(|_| admin_listen == listen && listen.port() != 0) {
        text.refuse::<()>("is the address of listen", "an address of its own", None);
    }
    let workers = match table.int("workers", 0..=1024) {
        None | Some(0) => thread::available_parallelism().map_or(1, usize::from),
        Some(workers) => workers,
    };
    let (drain, grace) = connections::times_of_stop(&mut table);
    let mut server = Server {
        listen,
        admin_listen,
        admin_token: secret::admin_token(&mut table),
        workers,
        max_body_bytes: table.int("max_body_bytes", 1..=1 << 30).unwrap_or(8 << 20),
        limits: Limits { max_messages: table.int("max_messages", 1..=1_000_000).unwrap_or(2048) },
        max_batch: table.int("max_batch", 1..=100_000).unwrap_or(2048),
        max_in_flight: table.int("max_in_flight", 1..=1_000_000).unwrap_or(4096),
        memory_budget: table.int("memory_budget_bytes", 1 << 20..=1 << 40),
        max_open_batches: table.int("max_open_batches", 1..=100_000).unwrap_or(64),
        batch_deadline: table.seconds("batch_deadline_s", 1).unwrap_or(Duration::from_hours(1)),
        drain,
        grace,
        keep_alive_comment: table.seconds("keep_alive_comment_s", 1).unwrap_or(Duration::from_secs(15)),
        body_read: table.seconds("body_read_s", 1).unwrap_or(Duration::from_secs(10)),
        connections: connections::limits(&mut table),
        cors: cors::read(&mut table),
    };
    // Each holds a permit to its end: half of them are for requests that do not wait.
    server.max_open_batches = server.max_open_batches.min((server.max_in_flight / 2).max(1));
    table.finish();
    server
}

pub(crate) fn log(root: &mut Table<'_>) -> Log {
    let mut table = section(root, "log");
    let formats = [("json", LogFormat::Json), ("pretty", LogFormat::Pretty)];
    let log = Log {
        level: table.text("level").and_then(filter).unwrap_or_else(|| "info".to_owned()),
        access: table.text("access").and_then(|text| access(&text)).unwrap_or(AccessLog::Stdout),
        format: table.text("format").and_then(|text| text.choice("a log format", &formats)).unwrap_or(LogFormat::Json),
    };
    table.finish();
    log
}

pub(crate) fn decisions(root: &mut Table<'_>) -> Decisions {
    let mut table = section(root, "decisions");
    let ring = table.int("ring", 0..=100_000).unwrap_or(1000);
    let folder = table.text("log_folder").and_then(|text| folder(&text));
    let max_file_bytes = table.int("max_file_bytes", 1 << 16..=1 << 40).unwrap_or(100 << 20);
    let max_file_age = table.seconds("max_file_age_s", 1).unwrap_or(Duration::from_hours(24));
    let keep_files = table.int("keep_files", 1..=10_000).unwrap_or(14);
    table.finish();
    Decisions { ring, log: folder.map(|folder| DecisionLog { folder, max_file_bytes, max_file_age, keep_files }) }
}

/// A folder. A bare word is more likely to be meant as a switch.
fn folder(text: &Text<'_>) -> Option<PathBuf> {
    if text.value.contains('/') {
        return Some(PathBuf::from(&text.value));
    }
    let expected = "the path of a folder with a slash in it, such as \"/var/lib/llm-router/decisions\"";
    text.refuse("is no folder for decisions", expected, Some("without the key, none are written".to_owned()))
}

pub(crate) fn auth(root: &mut Table<'_>, server: &Server) -> AuthMode {
    let mut table = section(root, "auth");
    let modes = [("keys", AuthMode::Keys), ("none", AuthMode::None)];
    let text = table.text("mode");
    let mode = text.as_ref().and_then(|text| text.choice("a way to authenticate", &modes)).unwrap_or(AuthMode::Keys);
    let text = text.filter(|_| mode == AuthMode::None);
    if let Some(text) = text.as_ref().filter(|_| !server.listen.ip().is_loopback()) {
        let fault = format!("leaves {} open to the network", server.listen);
        let hint = "set server.listen to 127.0.0.1, or mode = \"keys\" and add a [[keys]]".to_owned();
        text.refuse::<()>(fault, "\"none\" on a loopback address only", Some(hint));
    } else if let Some(text) = text.filter(|_| server.cors == Some(CorsOrigins::Any)) {
        let fault = "lets every web page that is open on this machine call";
        let hint = "list the origins of your own pages in server.cors.origins, or set mode = \"keys\"".to_owned();
        text.refuse::<()>(fault, "\"none\" without origins = [\"*\"]", Some(hint));
    }
    table.finish();
    mode
}

fn section<'a>(root: &mut Table<'a>, name: &'static str) -> Table<'a> {
    let context = root.context;
    root.table(name).unwrap_or_else(|| Table::new(context, name.to_owned(), HashMap::new()))
}

fn socket(text: &Text<'_>) -> Option<SocketAddr> {
    if let Ok(address) = text.value.parse() {
        return Some(address);
    }
    let (host, port) = text.value.rsplit_once(':').unwrap_or((text.value.as_str(), "8080"));
    let host = match host {
        "" | "*" => "0.0.0.0",
        "localhost" => "127.0.0.1",
        host => host,
    };
    let guess: Option<SocketAddr> = format!("{host}:{port}").parse().ok();
    let hint = guess.map(|guess| format!("did you mean \"{guess}\"?"));
    text.refuse("is not an address to listen on", "IP address and port, such as \"127.0.0.1:8080\"", hint)
}

/// A filter of the log. A bare word that is no level would pass as a module's name and silence everything else.
fn filter(text: Text<'_>) -> Option<String> {
    let bare = |part: &&str| !part.contains(['=', '[']) && !LEVELS.contains(&part.to_lowercase().as_str());
    let wrong = text.value.split(',').map(str::trim).find(bare);
    if wrong.is_none() && EnvFilter::try_new(&text.value).is_ok() {
        return Some(text.value);
    }
    let expected = format!("{}, or a list such as \"info,router=debug\"", any_of(&LEVELS));
    text.refuse("is not a log filter", expected, wrong.and_then(|wrong| did_you_mean(wrong, LEVELS)))
}

fn access(text: &Text<'_>) -> Option<AccessLog> {
    match text.value.as_str() {
        "stdout" => Some(AccessLog::Stdout),
        "off" => Some(AccessLog::Off),
        path if path.contains('/') && !path.ends_with('/') => Some(AccessLog::File(PathBuf::from(path))),
        other => {
            let expected = "stdout, off, or the path of a file with a slash in it";
            text.refuse("is no place for the access log", expected, did_you_mean(other, ["stdout", "off"]))
        }
    }
}

//! The process' own log, on standard error, so that the access log can have standard output.

use std::io::IsTerminal;

use settings::{Log, LogFormat};
use tracing_subscriber::EnvFilter;

use crate::connections::log_panics;

/// Starts logging as configured. Does nothing if the process logs already.
pub(crate) fn start(log: &Log) {
    // A bare level is meant for the router. Actix would log the start of each of its workers, and an error for each
    // request that is not HTTP, of which a client can send any number.
    let directives = format!("actix_server=warn,actix_http=off,{}", log.level);
    let filter = EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new("info"));
    let is_terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(is_terminal);
    // An error means that a log is already there: several servers in one process share it.
    drop(match log.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Pretty => builder.try_init(),
    });
    log_panics();
}

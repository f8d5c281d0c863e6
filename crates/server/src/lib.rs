//! The service around the router: HTTP, keys, limits, reload, metrics, command line. The only crate that knows HTTP servers
//! and Prometheus.

mod access_log;
mod admin;
mod api;
mod app;
mod auth;
mod budgets;
mod chunks;
pub mod cli;
mod clock;
mod connections;
mod cors;
mod decisions;
mod demo;
mod error;
mod form;
mod gpu;
mod json_line;
mod ledger;
mod limits;
mod memory;
mod metrics;
mod names;
mod observers;
mod openapi;
mod permits;
mod providers;
mod reload;
mod replica;
mod running;
mod sse;
mod stored_keys;
mod tags;
mod telemetry;
mod wishes;

/// What fuzz targets reach beyond the public API.
#[doc(hidden)]
pub mod fuzzing;

pub use providers::WiringError;
pub use running::{Running, StartError};

#[cfg(test)]
#[path = "../../provider/tests/support/growth.rs"]
mod growth;

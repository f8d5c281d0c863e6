//! The service around the router: HTTP, configuration, keys, limits, metrics. The only crate that knows HTTP servers, files,
//! the environment and Prometheus.

mod access_log;
mod admin;
mod api;
mod app;
mod auth;
mod chunks;
pub mod cli;
mod clock;
pub mod config;
mod connections;
mod demo;
mod error;
mod limits;
mod metrics;
mod names;
mod observers;
mod openapi;
mod providers;
mod reload;
mod running;
mod said;
mod sse;
mod telemetry;

pub use providers::WiringError;
pub use running::{Running, StartError};

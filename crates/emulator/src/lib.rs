//! Imitates RunPod and Cerebras, faults included, so that the router can be tried and tested without an account, a GPU
//! or the network.
//!
//! One HTTP server plays three faces under path prefixes: a RunPod load-balancing endpoint (`/lb/v1`, `/lb/ping`,
//! `/lb/workers`), a RunPod queue endpoint (`/v2/{endpoint}/…`) and Cerebras (`/cerebras/v1`). Beside them is RunPod's
//! management API (`/v2/serverless`, `/v2/network-volumes`, `/v2/catalog/gpus`,
//! `/v2/billing/serverless`), which no fault touches. Wording and shapes
//! follow recorded answers where there are any. It shares no types with the router on purpose: a field misread on one
//! side must not be misread the same way on the other. Faults are ordered through [`Emulator::control`] or `POST
//! /_control`; what was served is in [`Emulator::call_logs`] or `GET /_control/calls`.

mod answer;
mod call;
mod call_log;
mod cerebras;
mod chance;
mod control;
mod dictated;
mod embeddings;
mod face;
mod fault;
mod fleet;
mod http;
mod inference;
mod jobs;
mod management;
mod odd;
mod outage;
mod passed;
mod player;
mod quota;
mod refusal;
mod reply;
mod running;
mod schema;
mod script;
mod settings;
mod shown_schema;
mod socket;
mod state;
mod tools;
mod vllm;
mod words;
mod worker_permit;
mod written;

#[cfg(test)]
mod tests;

pub use call_log::{CallLog, CallLogs, Cancellation, Recorded};
pub use face::Face;
pub use fault::{End, ErrorShape, Fault, Headers, Limit, OddStream, OddWhole, Refusal, Rule, Scripted};
pub use fleet::Counts;
pub use management::ManagementCall;
pub use running::Emulator;
pub use settings::{Billed, CerebrasSettings, Latency, ManagementSettings, Quota, RunpodSettings, Settings, Workers};

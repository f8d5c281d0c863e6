//! Every recorded answer of a real vLLM, played to the `openai` and `runpod` providers.
//!
//! A load-balancing endpoint answers as vLLM does; a queue endpoint wraps what vLLM refused in a failed job, in a form
//! that depends on the worker's age. All of them must come to the same.

// The modules say `cfg(test)` for clippy, which allows `expect` there.
#[cfg(test)]
mod capture;
#[cfg(test)]
mod check;
#[cfg(test)]
mod jobs;
#[cfg(test)]
#[path = "../../../openai/tests/support/server.rs"]
mod server;
#[cfg(test)]
mod table;
#[cfg(test)]
mod workers;

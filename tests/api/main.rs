//! The public API under bad and hostile input: every refusal is one that the client can act on, and the next request is
//! not affected.

// The modules say `cfg(test)` for clippy, which allows `unwrap` and `panic` there.
#[cfg(test)]
mod bodies;
#[cfg(test)]
mod common;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod cors;
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod doors;
#[cfg(test)]
mod ensembles;
#[cfg(test)]
mod framing;
#[cfg(test)]
mod generated;
#[cfg(test)]
mod headers;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod listeners;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod models;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod paths;
#[cfg(test)]
mod responses;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod short_form;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod tags;
#[cfg(test)]
mod wishes;

//! What replicas of the router report to each other, so that they route as one.
//!
//! Each replica publishes its [`PeerState`] several times a second. What adds up over time is an absolute sum since the
//! replica's start, and what is so at one moment is the whole of it. So a state that is lost is made up for by the next one, and
//! one that comes twice, late or in another order changes nothing. [`Peers`] keeps the latest state of each other replica and
//! makes [`Learned`] of it: what was added since the state before, and what is so now.
//!
//! A replica publishes only what it knows by itself, never what it has learned: otherwise two replicas would pass a park back
//! and forth for ever, a little longer each time.

mod known;
mod totals;

use std::time::Duration;

pub(crate) use known::{Elsewhere, ElsewhereBreaker};
pub use known::{Learned, Peers};
use provider::Capacity;
use serde::{Deserialize, Serialize};
pub use totals::Totals;

use crate::upstream::{Upstream, UpstreamSpec};

/// What one replica knows by itself, for the others. What a version leaves out, or does not know, is none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerState {
    /// Distinguishes the starts of replicas. Of several replicas, the one with the lowest goes first.
    pub start: u64,
    /// Grows with each state of the same start.
    pub sequence: u64,
    /// Since the start, in milliseconds.
    pub uptime_ms: u64,
    /// Of each upstream in its table.
    pub upstreams: Vec<PeerUpstream>,
    /// Of each model in its table.
    pub models: Vec<PeerModel>,
}

/// What a replica knows of an upstream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerUpstream {
    /// Its name.
    pub id: String,
    /// As [`UpstreamSpec::identity`](crate::UpstreamSpec::identity). The same name with another one is another upstream.
    pub identity: u64,
    /// What its calls came to since the start.
    pub totals: Totals,
    /// What it does for the replica now.
    pub load: PeerLoad,
    /// What the replica takes to be left of the requests of a minute; `None` without a limit.
    pub requests_left: Option<f64>,
    /// The same of the tokens of a minute.
    pub tokens_left: Option<f64>,
    /// Where the replica's breaker stands by its own calls.
    pub breaker: PeerBreaker,
    /// Since its last first token, or since the start, in milliseconds.
    pub unanswered_ms: u64,
    /// For how long it gets no calls because it refused them, or its headers say that nothing is left; in milliseconds.
    pub parked_ms: u64,
}

/// What an upstream does for a replica at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerLoad {
    /// Calls in flight, to the end of their answers.
    pub in_flight: u32,
    /// Tokens of the prompts that wait for a first token.
    pub pending_tokens: u64,
    /// Calls that the provider has not answered yet.
    pub unanswered_calls: f64,
    /// What they take of its limit of tokens.
    pub unanswered_tokens: f64,
}

/// Where a replica's breaker stands by its own calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerBreaker {
    /// Calls pass; or none would, by what others have learned alone.
    #[default]
    Closed,
    /// No call passes.
    Open {
        /// For so many milliseconds.
        for_ms: u64,
    },
    /// One call at a time may pass, and none is under way.
    HalfOpen,
    /// That one call is under way.
    Probing,
}

/// What a replica knows of the shares of a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerModel {
    /// Its public name.
    pub name: String,
    /// Its strategy.
    pub strategy: String,
    /// Its targets by name, each with its share, 0 to 1. The same name with others is another model.
    pub targets: Vec<(String, f64)>,
    /// Requests since the start.
    pub arrivals: f64,
    /// How many requests each target came to be behind its share by the replica's requests since the start, before any of it was
    /// paid back as deferred; below zero where it is ahead. All add up to zero.
    pub behind: Vec<f64>,
}

/// What an upstream reported about its workers to the replica that polls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerCapacity {
    /// The upstream's name.
    pub id: String,
    /// As [`UpstreamSpec::identity`](crate::UpstreamSpec::identity).
    pub identity: u64,
    /// As in [`Capacity`], and so on.
    pub running: Option<u32>,
    /// Idle workers.
    pub idle: Option<u32>,
    /// Workers that fetch their image.
    pub initializing: Option<u32>,
    /// Workers that wait for a host.
    pub throttled: Option<u32>,
    /// Workers that crashed.
    pub unhealthy: Option<u32>,
    /// Jobs that wait.
    pub queued: Option<u32>,
    /// Since the report, in milliseconds. Whoever keeps it for a while adds that time.
    pub age_ms: u64,
}

impl PeerCapacity {
    pub(crate) fn new(spec: &UpstreamSpec, capacity: Capacity, age: Duration) -> Self {
        let Capacity { running, idle, initializing, throttled, unhealthy, queued } = capacity;
        let (id, identity, age_ms) = (spec.id.as_str().to_owned(), spec.identity, millis(age));
        Self { id, identity, running, idle, initializing, throttled, unhealthy, queued, age_ms }
    }

    /// Whether it is of this upstream.
    pub fn is_of(&self, upstream: &Upstream) -> bool {
        self.id == upstream.spec.id.as_str() && self.identity == upstream.spec.identity
    }

    pub(crate) fn capacity(&self) -> Capacity {
        let Self { running, idle, initializing, throttled, unhealthy, queued, .. } = *self;
        Capacity { running, idle, initializing, throttled, unhealthy, queued }
    }

    pub(crate) fn age(&self) -> Duration {
        Duration::from_millis(self.age_ms)
    }
}

/// Milliseconds of a duration, as states have them.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

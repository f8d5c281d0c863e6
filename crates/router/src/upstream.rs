//! One upstream: what is configured of it, and how it looks at one moment.

mod needs;
mod scaler_demand;
mod state;
mod supply;
mod warm_up;

use std::{sync::Arc, time::Duration};

pub(crate) use needs::{LONGEST_ANSWER_TOKENS, RequestNeeds};
use provider::{Capacity, Features, NanoUsd, Operation, PicoUsd, Quota, Tariff, Time, UpstreamId};
pub(crate) use state::{Call, Origin, State, UnattributedFailure};
pub(crate) use supply::Outlook;

use crate::{key::Key, knowledge::quota::Limits, workers::WorkerTime};

/// Limits on the phases of a call.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From sending the request to the first token of a stream.
    pub first_token: Duration,
    /// Between two events of a stream.
    pub gap: Duration,
}

/// What is configured of an upstream.
#[derive(Debug, Clone)]
pub struct UpstreamSpec {
    /// Its name.
    pub id: UpstreamId,
    /// A hash of its address and its key. If it changes, nothing that was learned about the upstream applies any more.
    pub account: u64,
    /// A hash of its address and of what its model is called there, the same in every process and without the key: by this
    /// and its name replicas know that they mean the same upstream.
    pub identity: u64,
    /// The kind of provider, as named in the configuration.
    pub provider_name: &'static str,
    /// What its model is called there.
    pub served_model: String,
    /// How it charges, if known.
    pub tariff: Option<Tariff>,
    /// What it serves.
    pub operations: Vec<Operation>,
    /// What it can do.
    pub features: Features,
    /// Its context in tokens, if known.
    pub context_tokens: Option<u64>,
    /// The limit on an answer that is sent where the client names none.
    pub default_max_tokens: Option<u64>,
    /// Most calls at a time, of all replicas together.
    pub max_in_flight: u32,
    /// Calls that one of its workers serves at a time, if that is known.
    pub worker_slots: Option<u32>,
    /// What its provider allows, as far as that is configured.
    pub limits: Limits,
    /// Limits on the phases of a call.
    pub timeouts: Timeouts,
    /// How often to ask for its capacity.
    pub capacity_poll: Duration,
    /// What it may cost in an hour to start workers by calls of the router's own; zero for no such calls.
    pub warm_up_usd_per_hour: NanoUsd,
    /// Identifies the list price of its tariff among earlier and later ones, on record.
    pub price_version: Option<Arc<str>>,
}

/// How long an idle worker runs on where that is not configured: as RunPod sets up a new endpoint.
const USUAL_IDLE_TIMEOUT: Duration = Duration::from_secs(5);

impl UpstreamSpec {
    /// How long a worker runs on after its last request.
    pub(crate) fn idle_timeout(&self) -> Duration {
        match self.tariff {
            Some(Tariff::GpuSeconds { idle_timeout, .. }) => idle_timeout,
            Some(Tariff::Tokens(_)) | None => USUAL_IDLE_TIMEOUT,
        }
    }

    /// What a second of a running worker costs, where that is what is paid for.
    pub(crate) fn gpu_rate(&self) -> Option<PicoUsd> {
        match self.tariff {
            Some(Tariff::GpuSeconds { per_second, .. }) => Some(per_second),
            Some(Tariff::Tokens(_)) | None => None,
        }
    }
}

/// An upstream as a table has it. What is known of it is the engine's.
#[derive(Debug)]
pub struct Upstream {
    /// What is configured.
    pub spec: UpstreamSpec,
    /// Its index among the upstreams of the table.
    pub index: usize,
    /// The group of upstreams and models that it belongs to.
    pub group: usize,
    pub(crate) key: Key,
}

/// An upstream at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot {
    /// Calls in flight.
    pub in_flight: u32,
    /// Predicted time to the first token, of a whole answer to its end; `None` if none was seen.
    pub first_token: Option<Duration>,
    /// Predicted time to the first token of a stream, whatever was asked for.
    pub stream_first_token: Option<Duration>,
    /// Whether a worker is up; `None` if unknown.
    pub is_ready: Option<bool>,
    /// Why no call can start now, and when that may end.
    pub blocked: Option<Blocked>,
}

/// Where a breaker stands, for metrics and explanations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls pass.
    Closed,
    /// One call at a time is let through to see.
    HalfOpen,
    /// No call passes.
    Open,
}

/// An upstream at one moment, as operators see it.
#[derive(Debug, Clone, Copy)]
pub struct Status {
    /// Calls of this replica in flight.
    pub in_flight: u32,
    /// Where the breaker stands.
    pub breaker: BreakerState,
    /// Whether it is open only because that of another replica is.
    pub is_breaker_learned: bool,
    /// Whether another replica polled the capacity: that one counts its worker time, and its workers.
    pub is_capacity_learned: bool,
    /// Its workers and queue; all unknown if the last report is old.
    pub capacity: Capacity,
    /// The rate-limit status in its last headers; `None` if that is old.
    pub quota: Option<Quota>,
    /// The worker time that was billed, for upstreams that bill it.
    pub worker_time: Option<WorkerTime>,
}

/// Why an upstream takes no call at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    /// Its breaker is open until then.
    Broken(Time),
    /// It is parked until then: it refused because it was full, or our allowance was used up.
    Parked(Time),
    /// It has as many calls as it may, or as its workers can serve.
    Full,
    /// What is left of its provider's limits is too little until then.
    Spent(Time),
}

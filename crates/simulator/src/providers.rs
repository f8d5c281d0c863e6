//! The settings of the simulated upstreams.

use provider::{PicoUsd, Price};

use crate::{mistakes::SettingsError, time::Nanos, trace::Trace};

mod read;

pub(crate) use read::{RawLimits, RawScaler, limits, scaler};

/// The upstreams that traffic is replayed against.
#[derive(Debug, Clone, PartialEq)]
pub struct Providers {
    /// The time within which a first token is within the SLO.
    pub slo_ttft: Nanos,
    /// At least one, with different ids.
    pub upstreams: Vec<UpstreamSettings>,
}

/// One simulated upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamSettings {
    /// Its id in the configuration that is judged.
    pub id: String,
    /// The part of the requests that the baselines and the limit aim at.
    pub share: f64,
    /// What a token costs.
    pub price: Price,
    /// How it behaves.
    pub model: Model,
}

/// How an upstream behaves.
#[derive(Debug, Clone, PartialEq)]
pub enum Model {
    /// A RunPod serverless endpoint.
    RunPod(RunPodSettings),
    /// Cerebras, or another provider that answers at once within limits.
    Cerebras(CerebrasSettings),
}

/// A median and the standard deviation of the logarithm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lognormal {
    /// The median, in seconds.
    pub median: f64,
    /// The standard deviation of the logarithm.
    pub sigma: f64,
}

/// A RunPod serverless endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct RunPodSettings {
    /// What a second of a worker costs.
    pub gpu_per_second: PicoUsd,
    /// Workers that are never stopped.
    pub min_workers: u32,
    /// Most workers.
    pub max_workers: u32,
    /// Jobs that a worker takes at once.
    pub slots: u32,
    /// What network and gateway add, both ways together.
    pub overhead: Lognormal,
    /// Prompt tokens that a worker reads in a second, one prompt after the other.
    pub prefill_per_second: f64,
    /// Tokens that one answer alone gets in a second.
    pub decode_per_second: f64,
    /// How much each further answer slows all of a worker's.
    pub decode_slowdown: f64,
    /// How long a worker takes to start.
    pub cold_start: Lognormal,
    /// When workers are started.
    pub scaler: Scaler,
    /// How long a worker waits for work before it is stopped.
    pub idle_timeout: Nanos,
    /// How often the router gets the capacity.
    pub health_poll: Nanos,
}

/// When RunPod starts workers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scaler {
    /// As many as there are jobs, waiting and running, for each `value`.
    RequestCount(u32),
    /// One more while the oldest job has waited this long.
    QueueDelay(Nanos),
}

/// An upstream that answers at once within its limits.
#[derive(Debug, Clone, PartialEq)]
pub struct CerebrasSettings {
    /// The time to the first token of an empty prompt, the way included.
    pub first_token: Lognormal,
    /// Prompt tokens read in a second.
    pub prefill_per_second: f64,
    /// Tokens of one answer in a second.
    pub decode_per_second: f64,
    /// Requests in a minute.
    pub requests: Limit,
    /// Tokens in a minute.
    pub tokens: Limit,
}

/// A limit on what an upstream takes in a minute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// None.
    Unlimited,
    /// So many.
    PerMinute(f64),
    /// This part of what the trace asks for in a minute, on average.
    OfLoad(f64),
}

/// More than any trace asks for in a minute, and still a number to calculate with.
const UNLIMITED: f64 = 1e15;

impl Limit {
    /// The limit, where it is a number.
    pub(crate) const fn known(self) -> Option<f64> {
        match self {
            Self::PerMinute(limit) => Some(limit),
            Self::Unlimited | Self::OfLoad(_) => None,
        }
    }

    /// The same in numbers, where the trace asks for `load` in a minute.
    fn of(self, load: f64) -> Self {
        match self {
            Self::OfLoad(part) => Self::PerMinute(part * load),
            Self::Unlimited | Self::PerMinute(_) => self,
        }
    }
}

impl Providers {
    /// The upstreams of `config/simulated-providers.toml`.
    pub fn shipped() -> Result<Self, SettingsError> {
        Self::parse(include_str!("../../../config/simulated-providers.toml"))
    }

    /// Reads a file such as `config/simulated-providers.toml`.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        read::providers(text)
    }

    /// The same with every limit in numbers, taken from what `trace` asks for.
    pub(crate) fn with_limits_of(mut self, trace: &Trace) -> Self {
        let (requests, tokens) = trace.per_minute();
        for upstream in &mut self.upstreams {
            if let Model::Cerebras(settings) = &mut upstream.model {
                settings.requests = settings.requests.of(requests);
                settings.tokens = settings.tokens.of(tokens);
            }
        }
        self
    }
}

impl CerebrasSettings {
    /// Requests and tokens a minute; a limit that is a part of the load was put into numbers before.
    pub(crate) fn per_minute(&self) -> (f64, f64) {
        (self.requests.known().unwrap_or(UNLIMITED), self.tokens.known().unwrap_or(UNLIMITED))
    }
}

impl UpstreamSettings {
    /// Which kind it is, as files of settings write it.
    pub(crate) const fn kind(&self) -> &'static str {
        match self.model {
            Model::RunPod(_) => "runpod",
            Model::Cerebras(_) => "cerebras",
        }
    }
}

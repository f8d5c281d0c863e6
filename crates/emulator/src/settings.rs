//! What can be set before the start. Every table may be left out or given in part; only a `latency` table has to be
//! given whole, because its defaults differ from face to face.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// Settings of an emulator.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// Threads that serve requests.
    pub threads: usize,
    /// Seed of every random draw.
    pub seed: u64,
    /// How much faster than life the model runs: 1 is real time, 10 ten times faster, 0 without any delay. Times named
    /// by a fault are divided by it too, except at 0, when they are taken as they are. Quotas always refill in real
    /// time.
    pub speed: f64,
    /// The load-balancing endpoint.
    pub runpod_lb: RunpodSettings,
    /// The queue endpoint.
    pub runpod_queue: RunpodSettings,
    /// Cerebras Inference.
    pub cerebras: CerebrasSettings,
    /// RunPod's management API.
    pub management: ManagementSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            threads: 1,
            seed: 1,
            speed: 1.0,
            runpod_lb: RunpodSettings::default(),
            runpod_queue: RunpodSettings::default(),
            cerebras: CerebrasSettings::default(),
            management: ManagementSettings::default(),
        }
    }
}

impl Settings {
    /// Settings for tests: no delays at all.
    pub fn instant() -> Self {
        Self { speed: 0.0, ..Self::default() }
    }

    /// Settings for showing what can be done: every face serves tools and images, and RunPod's has room for the prompts and
    /// limits of coding agents.
    pub fn demo() -> Self {
        let runpod = RunpodSettings { context: 131_072, tool_parser: true, images: true, ..RunpodSettings::default() };
        Self {
            runpod_lb: runpod.clone(),
            runpod_queue: runpod,
            cerebras: CerebrasSettings { images: true, ..CerebrasSettings::default() },
            ..Self::default()
        }
    }
}

/// Settings of one RunPod endpoint.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunpodSettings {
    /// The only key accepted; without it any key that is not empty will do.
    pub api_key: Option<String>,
    /// Names under which the model is served; the first one is the default of a request that names none.
    pub models: Vec<String>,
    /// Names served on `embeddings`, `rerank` and `score` only.
    pub embedding_models: Vec<String>,
    /// Names served on `audio/transcriptions` only.
    pub audio_models: Vec<String>,
    /// Context window in tokens.
    pub context: u64,
    /// Tokens of an answer that is not cut short.
    pub answer_tokens: usize,
    /// Tokens that an event of a stream carries.
    pub event_tokens: usize,
    /// Whether the server was started with a tool parser; without one every request with tools is refused.
    pub tool_parser: bool,
    /// Whether the models look at images; if not, a request with one is refused.
    pub images: bool,
    /// How fast the model answers.
    pub latency: Latency,
    /// Prompt tokens that a worker reads in a second, one prompt after the other; left out, reading takes no time.
    pub prefill_tokens_per_s: Option<f64>,
    /// The workers of the endpoint.
    pub workers: Workers,
    /// Longest wait for a worker in seconds; left out it is 120 on a load-balancing endpoint and endless on a queue.
    pub max_wait_s: Option<f64>,
    /// Status of the answer when that wait is over.
    pub no_worker_status: u16,
    /// Status under which a queue endpoint reports a failed job: 500, or 200 as older ones do.
    pub failed_job_status: u16,
}

impl Default for RunpodSettings {
    fn default() -> Self {
        Self {
            api_key: None,
            models: vec!["meta-llama/Llama-3.1-8B-Instruct".into(), "openai/gpt-oss-120b".into()],
            embedding_models: vec!["BAAI/bge-small".into()],
            audio_models: vec!["openai/whisper-small".into()],
            context: 8192,
            answer_tokens: 24,
            event_tokens: 1,
            tool_parser: false,
            images: false,
            latency: Latency { first_token_ms: 350.0, spread: 0.25, tokens_per_s: 125.0, crowding: 0.025 },
            prefill_tokens_per_s: None,
            workers: Workers::default(),
            max_wait_s: None,
            no_worker_status: 503,
            failed_job_status: 500,
        }
    }
}

/// Settings of the Cerebras face.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CerebrasSettings {
    /// The only key accepted; without it any key that is not empty will do.
    pub api_key: Option<String>,
    /// The models on offer.
    pub models: Vec<String>,
    /// Context window in tokens.
    pub context: u64,
    /// Tokens of an answer that is not cut short.
    pub answer_tokens: usize,
    /// Tokens that an event of a stream carries.
    pub event_tokens: usize,
    /// Whether the models look at images; if not, a request with one is refused.
    pub images: bool,
    /// How fast the models answer.
    pub latency: Latency,
    /// Tokens of a prompt that are read in a second, whatever other prompts there are; left out, reading takes no time.
    pub prefill_tokens_per_s: Option<f64>,
    /// The account's quota.
    pub quota: Quota,
}

impl Default for CerebrasSettings {
    fn default() -> Self {
        Self {
            api_key: None,
            models: vec!["llama3.1-8b".into(), "gpt-oss-120b".into()],
            context: 65_536,
            answer_tokens: 24,
            event_tokens: 1,
            images: false,
            latency: Latency { first_token_ms: 150.0, spread: 0.25, tokens_per_s: 1500.0, crowding: 0.0 },
            prefill_tokens_per_s: None,
            quota: Quota::default(),
        }
    }
}

/// Settings of RunPod's management API.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ManagementSettings {
    /// The only key accepted; without it any key that is not empty will do.
    pub api_key: Option<String>,
    /// What was billed.
    pub billing: Vec<Billed>,
}

/// What was billed for an endpoint on a day.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Billed {
    /// The endpoint's id.
    pub endpoint: String,
    /// The day (UTC), such as `2026-10-31`.
    pub day: String,
    /// For workers.
    pub gpu_usd: f64,
    /// For their disks.
    #[serde(default)]
    pub disk_usd: f64,
}

/// How fast a model answers.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// Median time to the first token in milliseconds.
    pub first_token_ms: f64,
    /// Sigma of the lognormal distribution around that median; 0 makes every answer alike.
    pub spread: f64,
    /// Tokens a second of a stream that has its worker to itself.
    pub tokens_per_s: f64,
    /// How much each further stream on the worker slows it: n streams run at `tokens_per_s / (1 + crowding * (n - 1))`
    /// each.
    pub crowding: f64,
}

/// The workers behind an endpoint.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Workers {
    /// Workers never scaled down; 0 makes a scale-to-zero endpoint that starts cold.
    pub min: usize,
    /// Most workers at a time.
    pub max: usize,
    /// Requests one worker takes at a time.
    pub concurrency: u32,
    /// When workers are started: left out, as many as those that wait need; otherwise one for each so many requests,
    /// waiting and served, counted once a second, and at once where there is none.
    pub requests_per_worker: Option<u32>,
    /// Seconds from the decision to start a worker until it serves; the median, where starts differ.
    pub cold_start_s: f64,
    /// Sigma of the lognormal distribution around that median; 0 makes every start alike.
    pub cold_start_spread: f64,
    /// The last part of that, in which the model is loaded: the worker counts as running and is billed, but does not serve.
    pub load_s: f64,
    /// Seconds without work after which a worker is scaled down.
    pub idle_timeout_s: f64,
    /// Further workers reported as throttled.
    pub throttled: usize,
    /// Further workers reported as unhealthy.
    pub unhealthy: usize,
}

impl Default for Workers {
    fn default() -> Self {
        Self {
            min: 1,
            max: 3,
            concurrency: 64,
            requests_per_worker: None,
            cold_start_s: 40.0,
            cold_start_spread: 0.0,
            load_s: 30.0,
            idle_timeout_s: 5.0,
            throttled: 0,
            unhealthy: 0,
        }
    }
}

/// Quota of a Cerebras account. Every limit is a bucket that refills continuously over its window.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Requests a minute.
    pub requests_per_minute: f64,
    /// Tokens a minute, prompt and requested completion together, taken before the work starts.
    pub tokens_per_minute: f64,
    /// Requests a day.
    pub requests_per_day: f64,
}

impl Default for Quota {
    fn default() -> Self {
        Self { requests_per_minute: 100_000.0, tokens_per_minute: 100_000_000.0, requests_per_day: 100_000_000.0 }
    }
}

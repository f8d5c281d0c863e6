//! A validated configuration.

use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

use ipnet::IpNet;
use provider::{Features, Limits, ModelId, NanoUsd, Operation, ReasoningField, Tariff, UpstreamId};
use router::{Ensemble, Hedge, StrategyName};
use secrecy::SecretString;

use crate::{Aliases, Budget, CorsOrigins, DatedPrice, Listing, Sources, TagSet, Tags, WishSet};

/// A validated configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// What this configuration is called: the first digits of a hash of all that it says, overrides included.
    pub version: String,
    /// What its file says, to tell what changes.
    pub listing: Listing,
    /// What it was read from, to notice when that changes.
    pub sources: Sources,
    /// Addresses and limits of the service.
    pub server: Server,
    /// What is logged, and where.
    pub log: Log,
    /// What is kept of decisions, and where.
    pub decisions: Decisions,
    /// Where the ledger is; `None` if there is none.
    pub storage: Option<Storage>,
    /// Through what several replicas are one; `None` if each is for itself.
    pub shared: Option<Shared>,
    /// Whether clients need a key.
    pub auth: AuthMode,
    /// The tags that requests may carry.
    pub tags: Tags,
    /// Client keys, with distinct ids and hashes; at least one under [`AuthMode::Keys`].
    pub keys: Vec<Key>,
    /// Teams with limits or budgets of their own, with distinct ids.
    pub teams: Vec<Team>,
    /// Upstreams, at least one, with distinct ids.
    pub upstreams: Vec<Upstream>,
    /// Models, at least one, with distinct names; all their references resolve.
    pub models: Vec<Model>,
    /// Ensembles, with distinct names; their members are models.
    pub ensembles: Vec<Ensemble>,
    /// The model or ensemble of each task.
    pub tasks: BTreeMap<String, String>,
    /// Further names for these.
    pub aliases: Aliases,
}

/// Addresses and limits of the service.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where operators connect.
    pub admin_listen: SocketAddr,
    /// The operators' token; `None` switches the admin API off.
    pub admin_token: Option<SecretString>,
    /// Worker threads, at least one.
    pub workers: usize,
    /// The largest request body.
    pub max_body_bytes: usize,
    /// Limits on the content of a request.
    pub limits: Limits,
    /// Most prompts in one batch.
    pub max_batch: usize,
    /// Most requests in progress in the whole process.
    pub max_in_flight: usize,
    /// Bytes that all bodies and held answers may take together, if that is configured.
    pub memory_budget: Option<usize>,
    /// Most batches that are answered at a time.
    pub max_open_batches: usize,
    /// How long a batch may take.
    pub batch_deadline: Duration,
    /// How long a shutdown waits for streams.
    pub drain: Duration,
    /// How long of that connections are still taken, for balancers to notice; at most `drain`.
    pub grace: Duration,
    /// How often a silent stream gets a comment line, so that proxies keep it open.
    pub keep_alive_comment: Duration,
    /// How long a client may take to send its body.
    pub body_read: Duration,
    /// What a client's connection may do.
    pub connections: ConnectionLimits,
    /// The pages whose scripts may call the router; `None` for none.
    pub cors: Option<CorsOrigins>,
}

/// What a client's connection may do.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// How long the head of a request may take from its first byte.
    pub head_read: Duration,
    /// How long a client may take nothing of what waits for it.
    pub write_stall: Duration,
    /// Most open connections of a listener.
    pub most: usize,
    /// Most open connections of a listener from one address.
    pub per_peer: usize,
    /// The addresses that hold connections for many clients: `per_peer` is not for them.
    pub trusted_proxies: Vec<IpNet>,
}

/// What is logged, and where.
#[derive(Debug, Clone)]
pub struct Log {
    /// A `tracing` filter that parses, such as `info` or `info,router=debug`.
    pub level: String,
    /// Where the access log goes.
    pub access: AccessLog,
    /// How log lines are written.
    pub format: LogFormat,
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLog {
    /// To standard output.
    Stdout,
    /// Nowhere.
    Off,
    /// To this file.
    File(PathBuf),
}

/// What is kept of decisions, and where.
#[derive(Debug, Clone)]
pub struct Decisions {
    /// Records of the latest requests that are kept in memory; 0 keeps none.
    pub ring: usize,
    /// The files that every record is written to, if any.
    pub log: Option<DecisionLog>,
}

/// The files that decisions are written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionLog {
    /// The folder that they are in, which belongs to this process alone.
    pub folder: PathBuf,
    /// A file that would grow beyond this is followed by the next one.
    pub max_file_bytes: u64,
    /// So is one that is older.
    pub max_file_age: Duration,
    /// Most files; the oldest ones are removed.
    pub keep_files: usize,
}

/// Which database the ledger is in.
#[derive(Debug, Clone)]
pub enum StorageLocation {
    /// This file of SQLite.
    Sqlite(PathBuf),
    /// The Postgres database at this URL, which may have a password in it.
    Postgres(SecretString),
}

/// Where the ledger is.
#[derive(Debug, Clone)]
pub struct Storage {
    /// The database.
    pub location: StorageLocation,
    /// The folder of the journal before it.
    pub journal_folder: PathBuf,
    /// Most bytes of the journal that wait for the store.
    pub max_journal_bytes: u64,
    /// When an answer counts as recorded.
    pub durability: Durability,
    /// What is done while the journal cannot be written.
    pub on_journal_failure: OnJournalFailure,
    /// After how many days rows are deleted; `None` for never.
    pub keep_rows_days: Option<u32>,
    /// After how many days sums by hour become sums by day; `None` for never.
    pub keep_hours_days: Option<u32>,
}

/// The server through which several replicas are one.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Its URL, which may have a password in it.
    pub url: SecretString,
    /// Distinguishes several deployments on one server.
    pub prefix: String,
    /// How many replicas are to run.
    pub replicas: NonZeroU32,
    /// What becomes of limits while the server is away.
    pub limits_when_away: LimitsWhenAway,
    /// What becomes of budgets then.
    pub budgets_when_away: BudgetsWhenAway,
}

/// What becomes of limits while the shared server is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitsWhenAway {
    /// Each replica has its part of them.
    Divide,
    /// Requests that have limits are refused.
    Refuse,
}

/// What becomes of budgets while the shared server is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetsWhenAway {
    /// A replica spends what it holds, and refuses what needs more.
    Refuse,
    /// Each replica goes on with what it has spent itself and what the ledger says of the others.
    Own,
}

/// When an answer counts as recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// When its record outlives the process.
    Process,
    /// When its record outlives the machine.
    Disk,
    /// When its record is in the database.
    Store,
}

/// What is done while the ledger's journal cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnJournalFailure {
    /// Requests are refused.
    Refuse,
    /// Requests go on without a record.
    Release,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// Whether clients need a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    /// Every request carries a configured key.
    Keys,
    /// Anyone may call; on a loopback address only.
    None,
}

/// A client key.
#[derive(Debug, Clone)]
pub struct Key {
    /// The name of the key in logs and metrics.
    pub id: String,
    /// Who pays.
    pub team: String,
    /// SHA-256 of the key.
    pub sha256: [u8; 32],
    /// What the key may use; `concurrent` is always there in a configuration that was read.
    pub limits: Allowance,
    /// What it may spend.
    pub budgets: Vec<Budget>,
    /// The models, tasks, ensembles and aliases that it may ask for, by the names that clients use; `None` is all.
    pub models: Option<Vec<String>>,
    /// Whether it may name the upstream that is to serve, past the strategy.
    pub may_choose_upstream: bool,
    /// What its requests are tagged with where they say nothing else.
    pub tags: TagSet,
    /// What it may want for single requests.
    pub may_wish: WishSet,
}

impl Key {
    /// No key is longer, so that hashing a key from an unknown sender costs little.
    pub const MAX_BYTES: usize = 4096;
}

/// A team with limits or budgets of its own.
#[derive(Debug, Clone)]
pub struct Team {
    /// The name that keys give as theirs.
    pub id: String,
    /// What all its keys may use together.
    pub limits: Allowance,
    /// What they may spend together.
    pub budgets: Vec<Budget>,
}

/// What a key, a team or a model may use, in calls: a request counts for as many as it leads to. `None` is unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Calls a minute.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Calls at once after a pause; `None` is a tenth of those a minute.
    pub burst: Option<NonZeroU32>,
    /// Tokens a minute, of prompts and answers.
    pub tokens_per_minute: Option<NonZeroU32>,
    /// Tokens at once after a pause; `None` is a tenth of those a minute.
    pub token_burst: Option<NonZeroU32>,
    /// Calls at the same time.
    pub concurrent: Option<NonZeroU32>,
    /// Whether that is the default, of which each replica has its own: it keeps room for others on one machine.
    pub is_concurrent_default: bool,
}

impl Allowance {
    /// The same, with so many calls at the same time if it does not say how many.
    #[must_use]
    pub(crate) fn or_concurrent(self, default: NonZeroU32) -> Self {
        let is_concurrent_default = self.concurrent.is_none();
        Self { concurrent: self.concurrent.or(Some(default)), is_concurrent_default, ..self }
    }

    /// One replica's part of what `replicas` of them have together; each has at least one of everything. A default number of calls at
    /// the same time is each one's own.
    #[must_use]
    pub fn divided(&self, replicas: NonZeroU32) -> Self {
        let part = |limit: NonZeroU32| NonZeroU32::new(limit.get() / replicas.get()).unwrap_or(NonZeroU32::MIN);
        let bursts = (
            self.requests_per_minute.map(|limit| part(self.burst_of(limit))),
            self.tokens_per_minute.map(|limit| part(self.token_burst_of(limit))),
        );
        Self {
            requests_per_minute: self.requests_per_minute.map(part),
            burst: bursts.0,
            tokens_per_minute: self.tokens_per_minute.map(part),
            token_burst: bursts.1,
            concurrent: if self.is_concurrent_default { self.concurrent } else { self.concurrent.map(part) },
            is_concurrent_default: self.is_concurrent_default,
        }
    }

    /// The burst beside `limit` calls a minute.
    pub fn burst_of(&self, limit: NonZeroU32) -> NonZeroU32 {
        self.burst.or(NonZeroU32::new(limit.get() / 10)).unwrap_or(NonZeroU32::MIN)
    }

    /// The burst beside `limit` tokens a minute.
    pub fn token_burst_of(&self, limit: NonZeroU32) -> NonZeroU32 {
        self.token_burst.or(NonZeroU32::new(limit.get() / 10)).unwrap_or(NonZeroU32::MIN)
    }
}

/// One endpoint that serves one model.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// The name in logs, metrics and targets.
    pub id: UpstreamId,
    /// Whose API it is.
    pub provider: ProviderSettings,
    /// The model's name there.
    pub model: String,
    /// Where the OpenAI paths live, without a trailing slash.
    pub base_url: String,
    /// What goes into the `Authorization` header.
    pub api_key: Option<SecretString>,
    /// What can be asked of it, at least one operation.
    pub operations: Vec<Operation>,
    /// What its model can do.
    pub features: Features,
    /// The length of its context, if known.
    pub context_tokens: Option<u64>,
    /// The limit sent when the client names none.
    pub default_max_tokens: Option<u64>,
    /// Most requests in progress there.
    pub max_in_flight: u32,
    /// Requests that one of its workers serves at a time, if that is known.
    pub worker_slots: Option<u32>,
    /// What its provider allows, as far as that is configured.
    pub limits: router::Limits,
    /// When to give up.
    pub timeouts: Timeouts,
    /// How it charges, if known: of `prices`, the first one, until [`Config::set_prices`] takes that of a moment.
    pub tariff: Option<Tariff>,
    /// Identifies that price among others.
    pub price_version: Option<Arc<str>>,
    /// Its prices, in the order of their dates.
    pub prices: Vec<DatedPrice>,
    /// How often its workers are counted.
    pub capacity_poll: Duration,
    /// What it may cost in an hour to start workers by calls of the router's own; zero for no such calls.
    pub warm_up_usd_per_hour: NanoUsd,
}

/// The kind of API that an upstream has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderSettings {
    /// RunPod Serverless with a vLLM worker.
    Runpod {
        /// The endpoint's id; absent when only a base URL is given.
        endpoint_id: Option<String>,
        /// What stands before the workers.
        endpoint_type: EndpointType,
        /// Where workers are counted, if anywhere.
        capacity_url: Option<String>,
    },
    /// Cerebras Inference.
    Cerebras,
    /// Any other OpenAI-compatible API.
    OpenAi,
}

impl ProviderSettings {
    /// The name used in configuration, metrics and logs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Runpod { .. } => "runpod",
            Self::Cerebras => "cerebras",
            Self::OpenAi => "openai",
        }
    }
}

/// What stands before the workers of a RunPod endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointType {
    /// RunPod's queue.
    Queue,
    /// A load balancer that connects straight to a worker.
    LoadBalancer,
}

/// When to give up on an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the connection.
    pub connect: Duration,
    /// From the request to the first token.
    pub first_token: Duration,
    /// Between two pieces of a stream.
    pub gap: Duration,
}

/// A model as clients see it.
#[derive(Debug, Clone)]
pub struct Model {
    /// The name that clients ask for.
    pub name: ModelId,
    /// How targets are ordered.
    pub strategy: StrategyName,
    /// The promised time to the first token.
    pub slo_ttft: Option<Duration>,
    /// The upstream that savings are measured against; it has a list price.
    pub baseline: Option<UpstreamId>,
    /// How long a request may take, retries included.
    pub deadline: Duration,
    /// Whether a stream's head is sent before the first token is there.
    pub early_headers: bool,
    /// Which members of answers carry reasoning.
    pub reasoning_field: ReasoningField,
    /// When a stream is called a second time elsewhere; `None` for never.
    pub hedge: Option<Hedge>,
    /// Where requests go, at least one; shares sum to 1.
    pub targets: Vec<Target>,
    /// What all its callers may use together.
    pub limits: Allowance,
    /// What they may spend together.
    pub budgets: Vec<Budget>,
}

/// A part of a model's traffic.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it goes.
    pub upstream: UpstreamId,
    /// How much of it, from 0 (only when others fail) to 1.
    pub share: f64,
}

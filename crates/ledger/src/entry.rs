//! What is put on record: an intent before each call, and a row for each call and each request that is over. No prompt
//! and no answer is in them.
//!
//! They borrow their texts: an entry is written from the event that it records, and read from the bytes of the journal,
//! without a copy of either. Money is in nano-dollars, times of day in milliseconds since 1970 (UTC), durations in
//! microseconds. What is unknown is `None`, never 0.

use serde::{Deserialize, Serialize};

use crate::gpu::GpuHour;

/// The most tokens of a kind that a call is on record with, and the most that it cost: far more than any call uses. An upstream may
/// report any number, and the sums of many calls must fit into 63 bits.
pub(crate) const MOST_TOKENS: u64 = 1 << 40;
pub(crate) const MOST_NANO_USD: u64 = 1 << 44;

/// Identifies a request among all that any process of the router ever served. The client's own id does not: a client may
/// send one twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestKey {
    /// The process: drawn at random when it starts, below 2⁶³.
    pub writer: u64,
    /// The request's number in that process, from 1.
    pub number: u64,
}

/// Identifies a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AttemptKey {
    /// The request that it is for.
    pub request: RequestKey,
    /// Its number among the calls of the request, from 1.
    pub attempt: u32,
}

/// Whose request it is, and for what: the columns that spend is grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels<'a> {
    /// The id that the client knows the request by.
    pub request_id: &'a str,
    /// The team of the client's key; none for the router's own calls.
    pub team: Option<&'a str>,
    /// The id of the client's key.
    pub key: Option<&'a str>,
    /// The public model; none if there is none of that name.
    pub model: Option<&'a str>,
    /// The call of the API.
    pub route: &'a str,
    /// What the request is for, as its client says: `name=value` pairs in the order of their names, with commas; `None` without any.
    /// The journal has them behind the entry, where an earlier version reads none.
    #[serde(skip)]
    pub tags: Option<&'a str>,
    /// The name that the client asked for, where that is not the model's own. The journal has it behind the tags.
    #[serde(skip)]
    pub requested: Option<&'a str>,
}

/// Counted tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tokens {
    /// Of the prompt, cached ones included.
    pub prompt: u64,
    /// Of the prompt, those that the upstream had in its cache; `None` if it does not say.
    pub cached: Option<u64>,
    /// Of the answer, reasoning included.
    pub completion: u64,
    /// Of the answer, those that were reasoning; `None` if the upstream does not say.
    pub reasoning: Option<u64>,
}

/// Where the tokens and the cost of a row come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UsageSource {
    /// The upstream counted what the price is for, or the price is for the call itself.
    Reported,
    /// The router estimated the tokens, or the length of a recording.
    Estimated,
    /// Nobody knows: the process died while the call was under way. Its cost is what was reserved for it.
    Unknown,
}

impl UsageSource {
    /// Its name in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Estimated => "estimated",
            Self::Unknown => "unknown",
        }
    }
}

/// A call is about to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent<'a> {
    /// The call.
    pub key: AttemptKey,
    /// When it begins.
    pub begins_at_ms: i64,
    /// Whose it is.
    #[serde(borrow)]
    pub labels: Labels<'a>,
    /// The upstream that is called.
    pub upstream: &'a str,
    /// What the call is among those of its request.
    pub role: &'a str,
    /// Why this upstream was chosen.
    pub reason: &'a str,
    /// The most that the call may use.
    pub reserved: Tokens,
    /// What that would cost; `None` without a price.
    pub reserved_nano_usd: Option<u64>,
    /// Which price that is.
    pub price_version: Option<&'a str>,
}

/// A call is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt<'a> {
    /// The call.
    pub key: AttemptKey,
    /// When it ended.
    pub ended_at_ms: i64,
    /// Whose it is.
    #[serde(borrow)]
    pub labels: Labels<'a>,
    /// The upstream that was called.
    pub upstream: &'a str,
    /// What the call is among those of its request.
    pub role: &'a str,
    /// Why this upstream was chosen.
    pub reason: &'a str,
    /// How it ended.
    pub outcome: &'a str,
    /// Where the tokens come from; `None` if nothing was used.
    pub usage_source: Option<UsageSource>,
    /// What it used.
    pub tokens: Option<Tokens>,
    /// What that costs at list prices; `None` without a price.
    pub cost_nano_usd: Option<u64>,
    /// Which price that is.
    pub price_version: Option<&'a str>,
    /// The upstream's own id of the call.
    pub upstream_call: Option<&'a str>,
    /// From the call to its first token.
    pub first_token_us: Option<u64>,
    /// From the call to its end.
    pub duration_us: u64,
}

/// A request is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request<'a> {
    /// The request.
    pub key: RequestKey,
    /// When it ended.
    pub ended_at_ms: i64,
    /// Whose it is.
    #[serde(borrow)]
    pub labels: Labels<'a>,
    /// Whether a stream was asked for.
    pub is_stream: bool,
    /// How the serving upstream was chosen.
    pub strategy: Option<&'a str>,
    /// Why that one.
    pub reason: Option<&'a str>,
    /// How the request ended.
    pub outcome: &'a str,
    /// The kind of its failure; empty if there is none.
    pub error: &'a str,
    /// How many calls were made for it.
    pub attempts: u32,
    /// The upstream that served it, or failed last.
    pub upstream: Option<&'a str>,
    /// From its arrival to the first token.
    pub first_token_us: Option<u64>,
    /// From its arrival to its end.
    pub duration_us: u64,
    /// What the served tokens would cost under other policies, by the policies' names.
    pub baselines: Vec<(&'a str, u64)>,
    /// The configuration that it was served under.
    pub config_version: &'a str,
}

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry<'a> {
    /// A call is about to be made.
    Intent(#[serde(borrow)] Intent<'a>),
    /// A call is over.
    Attempt(#[serde(borrow)] Attempt<'a>),
    /// A request is over.
    Request(#[serde(borrow)] Request<'a>),
    /// What workers that are billed by the second did in an hour, until now.
    GpuHour(#[serde(borrow)] GpuHour<'a>),
}

impl<'a> Entry<'a> {
    /// Whose entry it is, if it is somebody's.
    pub(crate) fn labels(&self) -> Option<&Labels<'a>> {
        match self {
            Self::Intent(intent) => Some(&intent.labels),
            Self::Attempt(attempt) => Some(&attempt.labels),
            Self::Request(request) => Some(&request.labels),
            Self::GpuHour(_) => None,
        }
    }

    pub(crate) fn labels_mut(&mut self) -> Option<&mut Labels<'a>> {
        match self {
            Self::Intent(intent) => Some(&mut intent.labels),
            Self::Attempt(attempt) => Some(&mut attempt.labels),
            Self::Request(request) => Some(&mut request.labels),
            Self::GpuHour(_) => None,
        }
    }
}

impl Attempt<'_> {
    /// The call with amounts that can be summed up.
    pub(crate) fn bounded(&self) -> Self {
        let tokens = self.tokens.map(|tokens| Tokens {
            prompt: tokens.prompt.min(MOST_TOKENS),
            cached: tokens.cached.map(|cached| cached.min(MOST_TOKENS)),
            completion: tokens.completion.min(MOST_TOKENS),
            reasoning: tokens.reasoning.map(|reasoning| reasoning.min(MOST_TOKENS)),
        });
        Self { tokens, cost_nano_usd: self.cost_nano_usd.map(|cost| cost.min(MOST_NANO_USD)), ..*self }
    }
}

impl<'a> Intent<'a> {
    /// The row of a call whose process died before it ended: it may have been billed, and counts as what was reserved.
    pub fn unknown(&self) -> Attempt<'a> {
        Attempt {
            key: self.key,
            ended_at_ms: self.begins_at_ms,
            labels: self.labels,
            upstream: self.upstream,
            role: self.role,
            reason: self.reason,
            outcome: "unknown",
            usage_source: Some(UsageSource::Unknown),
            tokens: Some(self.reserved),
            cost_nano_usd: self.reserved_nano_usd,
            price_version: self.price_version,
            upstream_call: None,
            first_token_us: None,
            duration_us: 0,
        }
    }
}

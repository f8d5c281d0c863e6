//! The interface between a routing policy and the simulator: events in, actions out.
//!
//! The baselines implement this, and so does whatever drives a routing engine. A policy is called once for each event, in
//! virtual time, and acts through [`Actions`]: it starts and cancels attempts, asks to be called again, or gives a request
//! up. Nothing that it does happens before it has returned.

use provider::Price;

use crate::{
    providers::{Model, Providers},
    scenario::Case,
    time::Nanos,
    trace::Trace,
    world::{Oracle, World},
};

/// A request: its place in the trace, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(crate) u32);

/// An attempt, numbered from 0 over the whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub(crate) u32);

impl RequestId {
    /// Its number, for tables.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl AttemptId {
    /// Its number, for tables.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// An event for a policy. Upstreams are numbered as in [`Setup::upstreams`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// A request has come. It wants a stream.
    Arrived {
        /// Which.
        request: RequestId,
        /// The length of its prompt. The length of its answer is not known in advance.
        prompt_tokens: u32,
    },
    /// An attempt's first token is there. The first of a request's attempts to get here serves it.
    FirstToken {
        /// Which.
        attempt: AttemptId,
        /// The rate-limit status in the answer's headers.
        quota: Option<Quota>,
    },
    /// An attempt has failed; it is over.
    Failed {
        /// Which.
        attempt: AttemptId,
        /// How.
        failure: Failure,
        /// It had given its first token: the client has a broken answer, and the request is over.
        committed: bool,
    },
    /// An attempt's answer is complete. If it served its request, that is over.
    Ended {
        /// Which.
        attempt: AttemptId,
        /// Tokens of the answer.
        completion_tokens: u32,
    },
    /// A report of an upstream's health endpoint; `None` when it did not answer.
    Capacity {
        /// Which upstream.
        upstream: usize,
        /// The report.
        capacity: Option<Capacity>,
    },
    /// The time has come that [`Actions::wake_at`] was given.
    Wake {
        /// What it was given with it.
        token: u64,
    },
}

/// How an attempt fails.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Failure {
    /// A 5xx, or a stream that broke.
    Unavailable,
    /// A 429.
    RateLimited {
        /// When there will be room for this call.
        retry_after: Nanos,
        /// What is left of the limits.
        quota: Quota,
    },
}

/// What is left of an upstream's limits this minute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quota {
    /// Requests.
    pub requests: f64,
    /// Tokens.
    pub tokens: f64,
}

/// A report of RunPod's `/health`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// When it was true.
    pub taken_at: Nanos,
    /// Workers that take jobs.
    pub ready: u32,
    /// Workers that are starting.
    pub initializing: u32,
    /// Workers that RunPod withholds.
    pub throttled: u32,
    /// Jobs in the queue.
    pub queued: u32,
    /// Jobs on workers.
    pub in_progress: u32,
}

/// What a policy may know before the first request.
#[derive(Debug, Clone)]
pub struct Setup<'a> {
    /// The run's seed, for policies that choose by chance.
    pub seed: u64,
    /// The time within which a first token is within the SLO.
    pub slo_ttft: Nanos,
    /// The upstreams; never none.
    pub upstreams: Vec<UpstreamFacts>,
    /// The whole trace, which only a clairvoyant looks at.
    pub(crate) trace: &'a Trace,
}

/// What is known of an upstream before the first request.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamFacts {
    /// Its id.
    pub id: String,
    /// The part of the requests it should serve.
    pub share: f64,
    /// What a token costs.
    pub price: Price,
    /// Jobs that a worker takes at once, where there are workers.
    pub worker_slots: Option<u32>,
    /// Most workers.
    pub max_workers: Option<u32>,
    /// Requests in a minute, where they are limited.
    pub requests_per_minute: Option<f64>,
    /// Tokens in a minute, where they are limited.
    pub tokens_per_minute: Option<f64>,
}

/// Decides where requests go.
pub trait Policy {
    /// Something has happened.
    fn on(&mut self, event: Event, actions: &mut Actions<'_>);
}

/// What a policy may do.
#[derive(Debug)]
pub struct Actions<'a> {
    world: &'a mut World,
}

impl<'a> Actions<'a> {
    pub(crate) const fn new(world: &'a mut World) -> Self {
        Self { world }
    }

    /// The time.
    pub const fn now(&self) -> Nanos {
        self.world.now()
    }

    /// Sends a request to an upstream.
    pub fn start(&mut self, request: RequestId, upstream: usize) -> AttemptId {
        self.world.start(request, upstream)
    }

    /// Makes a call of the policy's own to an upstream, for no request: a short prompt with an answer of one token. What it uses is
    /// wasted.
    pub fn warm_up(&mut self, upstream: usize) -> AttemptId {
        self.world.warm_up(upstream)
    }

    /// Ends an attempt. What it has used is paid for. No more events of it follow.
    pub fn cancel(&mut self, attempt: AttemptId) {
        self.world.cancel(attempt);
    }

    /// Asks for an [`Event::Wake`] with this token.
    pub fn wake_at(&mut self, at: Nanos, token: u64) {
        self.world.wake_at(at, token);
    }

    /// Refuses a request. Its attempts go on, unless they are cancelled.
    pub fn give_up(&mut self, request: RequestId) {
        self.world.give_up(request);
    }

    /// Facts that no router can know, for the clairvoyant baseline.
    pub(crate) const fn oracle(&mut self) -> Oracle<'_> {
        Oracle::new(self.world)
    }
}

impl<'a> Setup<'a> {
    /// What a policy may know of `case`.
    pub fn new(case: &'a Case, seed: u64) -> Self {
        let Providers { slo_ttft, upstreams } = &case.providers;
        let facts = upstreams.iter().map(|upstream| {
            let mut facts = UpstreamFacts {
                id: upstream.id.clone(),
                share: upstream.share,
                price: upstream.price,
                worker_slots: None,
                max_workers: None,
                requests_per_minute: None,
                tokens_per_minute: None,
            };
            match &upstream.model {
                Model::RunPod(settings) => {
                    facts.worker_slots = Some(settings.slots);
                    facts.max_workers = Some(settings.max_workers);
                }
                Model::Cerebras(settings) => {
                    facts.requests_per_minute = settings.requests.known();
                    facts.tokens_per_minute = settings.tokens.known();
                }
            }
            facts
        });
        Self { seed, slo_ttft: *slo_ttft, upstreams: facts.collect(), trace: &case.trace }
    }
}

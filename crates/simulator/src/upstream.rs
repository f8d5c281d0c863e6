//! What upstreams do with calls: pure state machines in virtual time.

use crate::{
    chance::Chance,
    policy::{AttemptId, Capacity, Quota},
    providers::{Model, UpstreamSettings},
    scenario::UpstreamChange,
    time::{MILLISECOND, Nanos},
    timeline::Timeline,
    trace::Arrival,
};

mod bucket;
mod cerebras;
mod failing;
mod runpod;

use cerebras::Cerebras;
use failing::Failing;
pub(crate) use runpod::RunPod;

/// An event of the simulation, other than a request that comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SimEvent {
    /// A call reaches its upstream.
    Reach(AttemptId),
    /// The router sees an attempt's first token.
    First(AttemptId),
    /// The router sees the end of an attempt's answer.
    End(AttemptId),
    /// The router sees that an attempt failed.
    Failure(AttemptId),
    /// Something inside an upstream.
    Inside { upstream: u16, step: Step },
    /// An upstream's capacity is asked for.
    Poll { upstream: u16 },
    /// The scenario's next change.
    Change,
    /// The policy wanted to be called.
    Wake(u64),
}

/// Something inside a RunPod endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A worker has started.
    Started { worker: u32 },
    /// A worker has read a prompt.
    Prefilled { worker: u32, attempt: AttemptId },
    /// An answer is complete, unless the worker's load has changed since this was planned.
    Decoded { worker: u32, version: u32 },
    /// A worker has had nothing to do for the idle timeout, unless it was used since.
    Idle { worker: u32, version: u32 },
    /// The scaler looks.
    Scale,
}

/// A call, as an upstream sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) attempt: AttemptId,
    pub(crate) request: u32,
    /// Which attempt of its request, from 0.
    pub(crate) ordinal: u32,
    pub(crate) prompt_tokens: u32,
    pub(crate) completion_tokens: u32,
}

impl Job {
    pub(crate) const fn tokens(&self) -> Arrival {
        Arrival { at: 0, prompt_tokens: self.prompt_tokens, completion_tokens: self.completion_tokens }
    }
}

/// Tokens that an attempt had used when it ended early: they are paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Consumed {
    pub(crate) prompt_tokens: u32,
    pub(crate) completion_tokens: u32,
}

/// Why an upstream does not take a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A 5xx.
    Unavailable,
    /// A 429.
    RateLimited { retry_after: Nanos },
}

impl Refusal {
    /// How long it takes to reach the router.
    pub(crate) const fn delay(self) -> Nanos {
        match self {
            Self::Unavailable => 120 * MILLISECOND,
            Self::RateLimited { .. } => 50 * MILLISECOND,
        }
    }
}

/// The future events of an upstream, to which it adds.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) upstream: u16,
    pub(crate) now: Nanos,
    pub(crate) timeline: &'a mut Timeline<SimEvent>,
}

impl Plan<'_> {
    fn step(&mut self, at: Nanos, step: Step) {
        self.timeline.plan(at, SimEvent::Inside { upstream: self.upstream, step });
    }

    fn first_token(&mut self, at: Nanos, attempt: AttemptId) {
        self.timeline.plan(at, SimEvent::First(attempt));
    }

    fn end(&mut self, at: Nanos, attempt: AttemptId) {
        self.timeline.plan(at, SimEvent::End(attempt));
    }
}

/// A simulated upstream.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) kind: Kind,
    failing: Failing,
    chance: Chance,
}

/// What it is.
#[derive(Debug)]
pub(crate) enum Kind {
    RunPod(RunPod),
    Cerebras(Cerebras),
}

impl Upstream {
    pub(crate) fn new(settings: &UpstreamSettings, seed: u64, plan: &mut Plan<'_>) -> Self {
        let chance = Chance::new(seed, u64::from(plan.upstream));
        let kind = match &settings.model {
            Model::RunPod(settings) => Kind::RunPod(RunPod::new(settings.clone(), chance, plan)),
            Model::Cerebras(settings) => Kind::Cerebras(Cerebras::new(settings.clone(), chance)),
        };
        Self { kind, failing: Failing::default(), chance }
    }

    /// How long a call is on its way to it.
    pub(crate) fn travel(&self, job: &Job) -> Nanos {
        match &self.kind {
            Kind::RunPod(runpod) => runpod.travel(job),
            Kind::Cerebras(_) => cerebras::TRAVEL,
        }
    }

    /// A call has reached it.
    pub(crate) fn reach(&mut self, job: Job, plan: &mut Plan<'_>) -> Result<(), Refusal> {
        self.failing.check(&job, self.chance)?;
        match &mut self.kind {
            Kind::RunPod(runpod) => runpod.reach(job, plan),
            Kind::Cerebras(cerebras) => cerebras.reach(job, plan),
        }
    }

    /// The router no longer wants an answer. `None`: it is all written already.
    pub(crate) fn cancel(&mut self, attempt: AttemptId, plan: &mut Plan<'_>) -> Option<Consumed> {
        match &mut self.kind {
            Kind::RunPod(runpod) => runpod.cancel(attempt, plan),
            Kind::Cerebras(cerebras) => cerebras.cancel(attempt, plan.now),
        }
    }

    /// The router has seen the end of an answer.
    pub(crate) fn ended(&mut self, attempt: AttemptId) {
        if let Kind::Cerebras(cerebras) = &mut self.kind {
            cerebras.ended(attempt);
        }
    }

    /// Something planned inside it happens.
    pub(crate) fn step(&mut self, step: Step, plan: &mut Plan<'_>) {
        if let Kind::RunPod(runpod) = &mut self.kind {
            runpod.step(step, plan);
        }
    }

    /// The scenario changes it; returns the attempts that fail by that.
    pub(crate) fn apply(&mut self, change: UpstreamChange, plan: &mut Plan<'_>) -> Vec<(AttemptId, Consumed)> {
        self.failing.apply(change);
        match &mut self.kind {
            Kind::RunPod(runpod) => runpod.apply(change, plan),
            Kind::Cerebras(cerebras) => cerebras.apply(change, plan.now),
        }
    }

    /// The report of its health endpoint, where it has one that answers.
    pub(crate) fn capacity(&self, now: Nanos) -> Option<Capacity> {
        match &self.kind {
            Kind::RunPod(runpod) => runpod.capacity(now),
            Kind::Cerebras(_) => None,
        }
    }

    /// How often its capacity is asked for.
    pub(crate) const fn poll_every(&self) -> Option<Nanos> {
        match &self.kind {
            Kind::RunPod(runpod) => Some(runpod.health_poll()),
            Kind::Cerebras(_) => None,
        }
    }

    /// What its headers say is left of its limits.
    pub(crate) fn quota(&mut self, now: Nanos) -> Option<Quota> {
        match &mut self.kind {
            Kind::RunPod(_) => None,
            Kind::Cerebras(cerebras) => Some(cerebras.quota(now)),
        }
    }

    /// Time of workers up to now, summed up, and workers started.
    pub(crate) fn gpu_time(&self, now: Nanos) -> (Nanos, u32) {
        match &self.kind {
            Kind::RunPod(runpod) => runpod.gpu_time(now),
            Kind::Cerebras(_) => (0, 0),
        }
    }
}

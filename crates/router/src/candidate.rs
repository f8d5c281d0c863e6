//! From a target to a candidate: the filters that run once, before any strategy.

use std::time::Duration;

use provider::{NanoUsd, Time, Usage};

use crate::{
    facts::Facts,
    history::History,
    table::Model,
    upstream::{Blocked, State, Upstream},
};

/// A prompt this many times smaller in bytes than its tokens is impossible: only beyond it is a request refused unseen.
const BYTES_PER_TOKEN_AT_MOST: u64 = 16;
/// Completion tokens that are expected where the client names no limit.
const EXPECTED_COMPLETION_TOKENS: u64 = 256;
/// When a full upstream is expected to have room again.
pub(crate) const FULL_PAUSE: Duration = Duration::from_secs(1);

/// A target at one moment, for one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Its index among the model's targets.
    pub target: usize,
    /// Requests that it is behind its share, its share of this one included.
    pub deficit: f64,
    /// Whether a worker is up; `None` if unknown.
    pub is_ready: Option<bool>,
    /// Calls in flight.
    pub in_flight: u32,
    /// Predicted time to the first token; for a whole answer, to its end.
    pub first_token: Option<Duration>,
    /// Whether streams begin within the model's aim; yes if either is unknown.
    pub meets_slo: bool,
    /// What this request is expected to cost at list prices.
    pub expected_cost: Option<NanoUsd>,
    /// Whether the prompt, by its size, is longer than the context.
    pub is_too_long: bool,
}

impl Candidate {
    /// Whether no worker is ready, one that still loads its model included; no if that is unknown.
    pub fn is_cold(&self) -> bool {
        self.is_ready == Some(false)
    }
}

/// Why there is no candidate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum NoCandidate {
    /// No target can do what is asked.
    Unsupported(&'static str),
    /// The prompt is beyond every context.
    ContextOverflow(u64),
    /// A target that failed before could be asked again.
    Repeatable,
    /// Targets may be free then.
    Blocked(Time),
    /// All are full.
    Full,
    /// Every target was asked and refused.
    Exhausted,
}

impl NoCandidate {
    /// The better prospect of what is known and one more target that is blocked.
    pub(crate) fn or(self, blocked: Blocked, now: Time) -> Self {
        match (self, blocked) {
            (Self::Repeatable, _) => Self::Repeatable,
            (Self::Blocked(at), Blocked::Broken(until) | Blocked::Parked(until)) => Self::Blocked(at.min(until)),
            (Self::Full, Blocked::Broken(until) | Blocked::Parked(until)) if until > now + FULL_PAUSE => Self::Full,
            (_, Blocked::Broken(until) | Blocked::Parked(until)) => Self::Blocked(until),
            (Self::Blocked(at), Blocked::Full) if at <= now + FULL_PAUSE => Self::Blocked(at),
            (_, Blocked::Full) => Self::Full,
        }
    }
}

/// Why a target can never serve a request, from the least to the most telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unfit {
    /// It does not serve the operation.
    Operation,
    /// It cannot do all that the request asks for.
    Features,
    /// The prompt is beyond its context, by any count.
    Context,
}

/// Why a target is no candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excluded {
    /// It can never serve the request.
    Unfit(Unfit),
    /// It takes no call at this moment.
    Blocked(Blocked),
    /// It has refused the request for good.
    Barred,
    /// It was asked before.
    Asked,
}

/// What a decision is about: one request at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Situation<'a> {
    pub(crate) model: &'a Model,
    pub(crate) facts: &'a Facts,
    pub(crate) history: &'a History,
    /// Whether targets that were asked before are candidates.
    pub(crate) repeats: bool,
    pub(crate) now: Time,
}

impl Situation<'_> {
    /// Looks at one target, of which `state` is known.
    pub(crate) fn examine(&self, target: usize, state: &State) -> Result<Candidate, Excluded> {
        let Self { model, facts, history, now, .. } = *self;
        let upstream = &model.targets()[target];
        check(upstream, facts, history).map_err(Excluded::Unfit)?;
        if history.is_barred(target) {
            return Err(Excluded::Barred);
        }
        let snapshot = state.snapshot(&upstream.spec, facts.stream, now);
        if let Some(blocked) = snapshot.blocked {
            return Err(Excluded::Blocked(blocked));
        }
        if !self.repeats && !history.is_fresh(target) {
            return Err(Excluded::Asked);
        }
        let slo = model.spec.slo_first_token.zip(snapshot.stream_first_token);
        Ok(Candidate {
            target,
            deficit: 0.0,
            is_ready: snapshot.is_ready,
            in_flight: snapshot.in_flight,
            first_token: snapshot.first_token,
            meets_slo: slo.is_none_or(|(aim, predicted)| predicted <= aim),
            expected_cost: expected_cost(upstream, facts),
            is_too_long: upstream.spec.context_tokens.is_some_and(|context| context < facts.prompt_tokens),
        })
    }

    /// What to say when no target fits.
    pub(crate) fn refusal(&self, closest: Unfit) -> NoCandidate {
        let Self { model, facts, history, .. } = *self;
        match closest {
            Unfit::Operation => NoCandidate::Unsupported(facts.operation.as_str()),
            Unfit::Features => NoCandidate::Unsupported(match facts.features {
                features if features.images => "images in messages",
                features if features.tools => "tool calls",
                _ => "a JSON schema for the answer",
            }),
            // An upstream has said so itself, and better.
            Unfit::Context if history.overflow().is_some() => NoCandidate::Exhausted,
            Unfit::Context => {
                let allowed = model.targets().iter().enumerate().filter(|(target, _)| history.allows(*target));
                let largest = allowed.filter_map(|(_, upstream)| upstream.spec.context_tokens).max();
                NoCandidate::ContextOverflow(largest.unwrap_or_default())
            }
        }
    }
}

/// Whether an upstream, free or not, can do what is asked.
fn check(upstream: &Upstream, facts: &Facts, history: &History) -> Result<(), Unfit> {
    let spec = &upstream.spec;
    if !spec.operations.contains(&facts.operation) {
        return Err(Unfit::Operation);
    }
    if !spec.features.cover(facts.features) {
        return Err(Unfit::Features);
    }
    let context = spec.context_tokens.unwrap_or(u64::MAX);
    let least_tokens = facts.body_bytes / BYTES_PER_TOKEN_AT_MOST;
    if context < least_tokens || history.overflow().is_some_and(|known| context <= known) {
        return Err(Unfit::Context);
    }
    Ok(())
}

fn expected_cost(upstream: &Upstream, facts: &Facts) -> Option<NanoUsd> {
    let price = upstream.spec.tariff.as_ref()?.list_price()?;
    let completion = facts.max_tokens.unwrap_or(EXPECTED_COMPLETION_TOKENS).min(EXPECTED_COMPLETION_TOKENS);
    Some(price.cost(&Usage {
        prompt_tokens: facts.prompt_tokens,
        completion_tokens: completion.saturating_mul(facts.choices),
        ..Usage::default()
    }))
}

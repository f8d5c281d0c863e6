//! From a model's targets to candidates: the filters that run once, before any strategy.

use std::time::Duration;

use provider::{NanoUsd, Request, Usage};
use tokio::time::Instant;

use crate::{
    history::History,
    share::{Accrual, Quantum},
    table::{Model, ModelState},
    upstream::{Blocked, Upstream},
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
    /// Its place among the model's targets.
    pub target: usize,
    /// Requests that it is owed, its share of this one included.
    pub owed: f64,
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
    Blocked(Instant),
    /// All are full.
    Full,
    /// Every target was asked and refused.
    Exhausted,
}

impl NoCandidate {
    /// The better prospect of what is known and one more target that is blocked.
    pub(crate) fn or(self, blocked: Blocked, now: Instant) -> Self {
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

/// Looks at one target of `model`. One that was asked before is a candidate only with `repeat`.
pub(crate) fn examine(
    model: &Model,
    target: usize,
    request: &Request,
    history: &History,
    repeat: bool,
    now: Instant,
) -> Result<Candidate, Excluded> {
    let upstream = &model.targets[target];
    check(upstream, request, history).map_err(Excluded::Unfit)?;
    if history.is_barred(target) {
        return Err(Excluded::Barred);
    }
    let snapshot = upstream.snapshot(request.head.stream, now);
    if let Some(blocked) = snapshot.blocked {
        return Err(Excluded::Blocked(blocked));
    }
    if !repeat && !history.is_fresh(target) {
        return Err(Excluded::Asked);
    }
    let slo = model.spec.slo_first_token.zip(snapshot.stream_first_token);
    Ok(Candidate {
        target,
        owed: 0.0,
        is_ready: snapshot.is_ready,
        in_flight: snapshot.in_flight,
        first_token: snapshot.first_token,
        meets_slo: slo.is_none_or(|(aim, predicted)| predicted <= aim),
        expected_cost: expected_cost(upstream, request),
        is_too_long: is_too_long(upstream, request),
    })
}

/// Filters the targets of `model` for `request`. Targets that were asked before are candidates only with `repeat`.
pub(crate) fn candidates(
    model: &Model,
    request: &Request,
    history: &History,
    state: &ModelState,
    repeat: bool,
    now: Instant,
) -> Result<Vec<Candidate>, NoCandidate> {
    let mut found = Vec::with_capacity(model.targets.len());
    let mut none = NoCandidate::Exhausted;
    let mut unfit = None;
    let mut any_fits = false;
    for target in (0..model.targets.len()).filter(|target| history.allows(*target)) {
        let examined = examine(model, target, request, history, repeat, now);
        any_fits |= !matches!(examined, Err(Excluded::Unfit(_)));
        match examined {
            Ok(candidate) => found.push(candidate),
            Err(Excluded::Unfit(why)) => unfit = unfit.max(Some(why)),
            Err(Excluded::Blocked(blocked)) => none = none.or(blocked, now),
            Err(Excluded::Asked) => none = NoCandidate::Repeatable,
            Err(Excluded::Barred) => {}
        }
    }
    match unfit {
        Some(unfit) if !any_fits => return Err(refusal(unfit, model, request, history)),
        _ if found.is_empty() => return Err(none),
        _ => {}
    }
    // Repeats go round: whoever was asked least is asked next.
    if let Some(least) = found.iter().map(|candidate| history.attempts(candidate.target)).min() {
        found.retain(|candidate| history.attempts(candidate.target) == least);
    }
    owe(model, state, history, &mut found);
    Ok(found)
}

/// Says what each of `found` is owed.
pub(crate) fn owe(model: &Model, state: &ModelState, history: &History, found: &mut [Candidate]) {
    let quantum = quantum(model, found);
    for candidate in found {
        // A request that was charged already does not earn the shares again.
        candidate.owed = match history.debit() {
            Some(_) => state.deficits.owed(candidate.target),
            None => state.deficits.next_deficit(candidate.target, quantum),
        };
    }
}

/// What a request that `found` could serve earns the targets of `model`.
pub(crate) fn quantum<'a>(model: &'a Model, found: &[Candidate]) -> Quantum<'a> {
    let available = found.iter().map(|candidate| model.shares[candidate.target]).sum();
    Quantum::new(&model.shares, model.spec.strategy.accrual(), available)
}

/// Whether another target was owed the request more than `chosen`, could it have taken it.
pub(crate) fn is_spill(model: &Model, state: &ModelState, chosen: usize) -> bool {
    let quantum = Quantum::new(&model.shares, Accrual::Held, 1.0);
    let owed = |target| state.deficits.next_deficit(target, quantum);
    (0..model.targets.len()).any(|target| target != chosen && owed(target) > owed(chosen) + 1e-9)
}

/// Whether an upstream, free or not, can do what is asked.
fn check(upstream: &Upstream, request: &Request, history: &History) -> Result<(), Unfit> {
    let spec = &upstream.spec;
    if !spec.operations.contains(&request.operation) {
        return Err(Unfit::Operation);
    }
    if !spec.features.cover(request.head.features) {
        return Err(Unfit::Features);
    }
    let context = spec.context_tokens.unwrap_or(u64::MAX);
    let least_tokens = request.body_bytes() as u64 / BYTES_PER_TOKEN_AT_MOST;
    if context < least_tokens || history.overflow().is_some_and(|known| context <= known) {
        return Err(Unfit::Context);
    }
    Ok(())
}

/// What to say when no target fits.
fn refusal(closest: Unfit, model: &Model, request: &Request, history: &History) -> NoCandidate {
    match closest {
        Unfit::Operation => NoCandidate::Unsupported(request.operation.as_str()),
        Unfit::Features => NoCandidate::Unsupported(match request.head.features {
            features if features.images => "images in messages",
            features if features.tools => "tool calls",
            _ => "a JSON schema for the answer",
        }),
        // An upstream has said so itself, and better.
        Unfit::Context if history.overflow().is_some() => NoCandidate::Exhausted,
        Unfit::Context => {
            let allowed = model.targets.iter().enumerate().filter(|(target, _)| history.allows(*target));
            let largest = allowed.filter_map(|(_, upstream)| upstream.spec.context_tokens).max();
            NoCandidate::ContextOverflow(largest.unwrap_or_default())
        }
    }
}

/// Whether an upstream's context is too short by the estimate. That only sends it to the end: estimates err.
fn is_too_long(upstream: &Upstream, request: &Request) -> bool {
    upstream.spec.context_tokens.is_some_and(|context| context < request.estimated_prompt_tokens())
}

fn expected_cost(upstream: &Upstream, request: &Request) -> Option<NanoUsd> {
    let price = upstream.spec.tariff.as_ref()?.list_price()?;
    let completion = request.head.max_tokens.unwrap_or(EXPECTED_COMPLETION_TOKENS).min(EXPECTED_COMPLETION_TOKENS);
    Some(price.cost(&Usage {
        prompt_tokens: request.estimated_prompt_tokens(),
        completion_tokens: completion.saturating_mul(request.head.choices()),
        ..Usage::default()
    }))
}

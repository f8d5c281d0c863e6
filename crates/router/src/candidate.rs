//! From a model's targets to candidates: the filters that run once, before any strategy.

use std::time::Duration;

use provider::{NanoUsd, Request, Usage};
use tokio::time::Instant;

use crate::{
    share::Accrual,
    table::{Model, ModelState},
    upstream::{Blocked, Upstream},
};

/// A prompt this many times smaller in bytes than its tokens is impossible: only beyond it is a request refused unseen.
const BYTES_PER_TOKEN_AT_MOST: u64 = 16;
/// Completion tokens that are expected where the client names no limit.
const EXPECTED_COMPLETION_TOKENS: u64 = 256;
/// Most attempts on one upstream.
const MAX_ATTEMPTS_EACH: u32 = 3;

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
    /// Predicted time to the first token.
    pub first_token: Option<Duration>,
    /// Whether that is within the model's aim; yes if either is unknown.
    pub meets_slo: bool,
    /// What this request is expected to cost at list prices.
    pub expected_cost: Option<NanoUsd>,
}

/// What a request has been through.
#[derive(Debug)]
pub(crate) struct History {
    attempts: Vec<u32>,
    /// Targets that will not be asked again.
    barred: Vec<bool>,
    /// The prompt overflowed a context of that many tokens.
    overflowed: Option<u64>,
    /// The target that the request is charged to.
    pub(crate) charged: Option<usize>,
}

impl History {
    pub(crate) fn new(targets: usize) -> Self {
        Self { attempts: vec![0; targets], barred: vec![false; targets], overflowed: None, charged: None }
    }

    pub(crate) fn is_fresh(&self, target: usize) -> bool {
        self.attempts[target] == 0
    }

    pub(crate) fn attempted(&mut self, target: usize) {
        self.attempts[target] += 1;
        self.barred[target] |= self.attempts[target] >= MAX_ATTEMPTS_EACH;
    }

    pub(crate) fn bar(&mut self, target: usize) {
        self.barred[target] = true;
    }

    pub(crate) fn overflowed(&mut self, context_tokens: Option<u64>) {
        self.overflowed = self.overflowed.max(context_tokens);
    }
}

/// Why there is no candidate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum NoCandidate {
    /// No target can do what is asked.
    Unsupported(&'static str),
    /// The prompt is beyond every context.
    ContextOverflow(u64),
    /// Targets may be free then.
    Blocked(Instant),
    /// All are full.
    Full,
    /// Every target was asked and refused.
    Exhausted,
}

/// Filters the targets of `model` for `request`. With `repeat`, targets that were asked before are candidates again.
pub(crate) fn candidates(
    model: &Model,
    request: &Request,
    history: &History,
    state: &ModelState,
    repeat: bool,
    now: Instant,
) -> Result<Vec<Candidate>, NoCandidate> {
    let able = able(model, request, history)?;
    let mut found = Vec::with_capacity(able.len());
    let mut none = NoCandidate::Exhausted;
    for target in able {
        if history.barred[target] || !(repeat || history.is_fresh(target)) {
            continue;
        }
        let upstream = &model.targets[target];
        let snapshot = upstream.snapshot(request.head.stream, now);
        if let Some(blocked) = snapshot.blocked {
            none = sooner(none, blocked);
            continue;
        }
        let slo = model.spec.slo_first_token.zip(snapshot.first_token);
        found.push(Candidate {
            target,
            owed: 0.0,
            is_ready: snapshot.is_ready,
            in_flight: snapshot.in_flight,
            first_token: snapshot.first_token,
            meets_slo: slo.is_none_or(|(aim, predicted)| predicted <= aim),
            expected_cost: expected_cost(upstream, request),
        });
    }
    if found.is_empty() {
        return Err(none);
    }
    add_debts(model, history, state, &mut found);
    Ok(found)
}

fn add_debts(model: &Model, history: &History, state: &ModelState, found: &mut [Candidate]) {
    let available = available(model, found);
    for candidate in found {
        // A request that was charged already does not earn the shares again.
        candidate.owed = if history.charged.is_some() {
            state.debts.owed(candidate.target)
        } else {
            state.debts.owed_next(candidate.target, &model.shares, &available, model.spec.strategy.accrual())
        };
    }
}

/// Which targets are candidates.
pub(crate) fn available(model: &Model, found: &[Candidate]) -> Vec<bool> {
    let mut available = vec![false; model.targets.len()];
    for candidate in found {
        available[candidate.target] = true;
    }
    available
}

/// Whether another target was owed the request more than `chosen`, could it have taken it.
pub(crate) fn is_spill(model: &Model, state: &ModelState, chosen: usize, available: &[bool]) -> bool {
    let owed = |target| state.debts.owed_next(target, &model.shares, available, Accrual::Held);
    (0..model.targets.len()).any(|target| target != chosen && owed(target) > owed(chosen) + 1e-9)
}

/// The targets that can do what is asked, free or not.
fn able(model: &Model, request: &Request, history: &History) -> Result<Vec<usize>, NoCandidate> {
    let all = |keep: &dyn Fn(&Upstream) -> bool| -> Vec<usize> {
        (0..model.targets.len()).filter(|target| keep(&model.targets[*target])).collect()
    };
    let head = &request.head;
    let serves = |upstream: &Upstream| upstream.spec.operations.contains(&request.operation);
    let does = |upstream: &Upstream| serves(upstream) && upstream.spec.features.cover(head.features);
    if all(&serves).is_empty() {
        return Err(NoCandidate::Unsupported(request.operation.as_str()));
    }
    if all(&does).is_empty() {
        let what = match head.features {
            features if features.images => "images in messages",
            features if features.tools => "tool calls",
            _ => "a JSON schema for the answer",
        };
        return Err(NoCandidate::Unsupported(what));
    }
    let least_tokens = request.body_bytes() as u64 / BYTES_PER_TOKEN_AT_MOST;
    let fits = |upstream: &Upstream| {
        let context = upstream.spec.context_tokens.unwrap_or(u64::MAX);
        does(upstream) && context >= least_tokens && history.overflowed.is_none_or(|known| context > known)
    };
    let able = all(&fits);
    if able.is_empty() && history.overflowed.is_none() {
        let largest = model.targets.iter().filter_map(|upstream| upstream.spec.context_tokens).max();
        return Err(NoCandidate::ContextOverflow(largest.unwrap_or_default()));
    }
    Ok(able)
}

fn sooner(known: NoCandidate, blocked: Blocked) -> NoCandidate {
    match (known, blocked) {
        (NoCandidate::Blocked(at), Blocked::Broken(until) | Blocked::Parked(until)) => {
            NoCandidate::Blocked(at.min(until))
        }
        (_, Blocked::Broken(until) | Blocked::Parked(until)) => NoCandidate::Blocked(until),
        (NoCandidate::Exhausted, Blocked::Full) => NoCandidate::Full,
        (known, Blocked::Full) => known,
    }
}

fn expected_cost(upstream: &Upstream, request: &Request) -> Option<NanoUsd> {
    let price = upstream.spec.tariff.as_ref()?.list_price()?;
    let completion = request.head.max_tokens.unwrap_or(EXPECTED_COMPLETION_TOKENS).min(EXPECTED_COMPLETION_TOKENS);
    Some(price.cost(&Usage {
        prompt_tokens: request.estimated_prompt_tokens(),
        completion_tokens: completion.saturating_mul(request.head.choices),
        cached_tokens: None,
    }))
}

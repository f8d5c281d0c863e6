//! From a target to a candidate: the filters that run once, before any strategy.

mod cost;

use std::time::Duration;

use provider::{NanoUsd, Time};

use crate::{
    facts::Facts,
    history::History,
    knowledge::{bucket::Fit, first_token::Load, length::Length, quota::Claim, real},
    strategy::StrategyName,
    table::Model,
    upstream::{Blocked, BreakerState, Outlook, RequestNeeds, State, Upstream},
};

/// No token has more bytes than this. A prompt with more bytes than that times the context cannot fit, and is refused
/// without a call.
const BYTES_PER_TOKEN_AT_MOST: u64 = 16;
/// The SLO that is assumed where none is configured.
pub(crate) const USUAL_SLO: Duration = Duration::from_secs(2);
/// A request that has waited for less time than this counts as new.
const FRESH: Duration = Duration::from_millis(600);
/// A target that misses the SLO with more than this probability does not count as an alternative.
pub(crate) const LATE: f64 = 0.25;
/// If a target misses the SLO with at least this probability, a new request is held until the target has caught up, and
/// a request that has waited counts as late.
pub(crate) const UNLIKELY: f64 = 0.35;
/// A request is sent rather than held if its first token is predicted within the SLO, or within this many times the
/// time of a call without a prompt to the idle upstream. The second limit allows calls to an upstream that is always
/// slow. The request's own prompt does not extend the limit, or the longest prompts would be served first.
const MOST_SLOWED: f64 = 2.0;
/// A late request is sent only where it waits behind other calls for at most this part of the SLO. Otherwise later
/// requests, which could still be in time, would wait behind it and be late too. Where no call can be in time, it may
/// wait as long as a call without a prompt takes.
const MOST_BEHIND: f64 = 0.03;
/// A prompt of fewer tokens is read so soon that it does not matter who holds it.
const LEAST_CACHED_TOKENS: u64 = 256;
/// When a full upstream is expected to have room again.
pub(crate) const FULL_PAUSE: Duration = Duration::from_secs(1);

/// Why a call may go to a target at which the request is likely to be late.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct IfLate {
    /// Whether its first token would come so soon that holding the request would help no other one.
    pub(crate) begins_soon: bool,
    /// Whether a call may be sent to find out if the target is still late: no other call is doing that.
    pub(crate) may_probe: bool,
    /// Whether requests are sent there at this moment, although late, so that the upstream's own scaler sees the
    /// demand.
    pub(crate) shows_demand: bool,
}

/// A target at one moment, for one request.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Candidate {
    /// Its index among the model's targets.
    pub target: usize,
    /// Its deficit: how many requests it is behind its share, its part of this one included.
    pub deficit: f64,
    /// The part of that which decides whether it is asked; the rest is paid back later.
    pub(crate) due: f64,
    /// Whether a worker is up; `None` if unknown.
    pub is_ready: Option<bool>,
    /// Workers that take calls; `None` if unknown.
    pub ready_workers: Option<u32>,
    /// Jobs that wait for a worker; `None` if unknown.
    pub queued: Option<u32>,
    /// Where its breaker stands.
    pub breaker: BreakerState,
    /// Calls in flight, those of other replicas included.
    pub in_flight: u32,
    /// Predicted time to the first token; for a whole answer, to its end.
    pub first_token: Option<Duration>,
    /// Whether streams begin within the model's SLO; true if either is unknown.
    pub meets_slo: bool,
    /// What this request is expected to cost at list prices.
    pub expected_cost: Option<NanoUsd>,
    /// What it adds to the bill: under a price per worker-second, its part of the worker time.
    pub marginal_cost: Option<NanoUsd>,
    /// Whether its workers are paid for by the second.
    pub(crate) is_billed_by_time: bool,
    /// What a request of the model costs there on average, in nano-dollars.
    pub(crate) usual_cost: Option<f64>,
    /// The probability that its idle workers are stopped before the next request comes. Zero if the target's share is 0.
    pub(crate) stop_risk: f64,
    /// Whether it is thought to hold the prompt cache of the request's conversation.
    pub holds_cache: bool,
    /// The part of the request that it need not read again, as far as is known: its prompt, in mean requests, at most one.
    pub(crate) cached: f64,
    /// What that took off its score.
    pub(crate) stays: f64,
    /// What the request would take of its limits, in tokens.
    pub(crate) limited_tokens: u64,
    /// Whether the prompt, by its size, is longer than the context.
    pub is_too_long: bool,
    /// The probability that its first token is late.
    pub miss: f64,
    /// The predicted time, to the first token of a stream and to the end of a whole answer, in units of the SLO.
    pub time: f64,
    /// The strategy's score; the lowest is the best.
    pub score: f64,
    /// The score that it would have if it were in time.
    pub score_in_time: f64,
    pub(crate) if_late: IfLate,
    /// Whether it is cold, and a call of the router's own starts a worker where requests ask for it.
    pub(crate) is_warmed_up: bool,
}

impl Candidate {
    /// Whether no worker is ready, one that still loads its model included; no if that is unknown.
    pub fn is_cold(&self) -> bool {
        self.is_ready == Some(false)
    }

    /// What it is expected to cost at list prices, or else to add to the bill, in nano-dollars; `None` without a price.
    pub(crate) fn cost(&self) -> Option<f64> {
        self.expected_cost.or(self.marginal_cost).map(|cost| real(cost.0))
    }

    /// Whether its first token is thought to be late.
    pub(crate) fn is_late(&self) -> bool {
        self.miss > 0.5
    }
}

/// Why there is no candidate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum NoCandidate {
    /// No target can do what is asked.
    Unsupported(&'static str),
    /// The prompt is beyond every context.
    ContextOverflow(u64),
    /// The request may cost more everywhere than its client wants; what it may cost where that is least, if any price is known.
    TooDear(Option<NanoUsd>),
    /// A target that failed before could be asked again.
    Repeatable,
    /// Targets may be free then.
    Blocked(Time),
    /// All are full.
    Full,
    /// All would be too late.
    Late,
    /// Every target was asked and refused.
    Exhausted,
}

impl NoCandidate {
    /// Combines the outlook so far with one more blocked target: the better of the two.
    pub(crate) fn or(self, blocked: Blocked, now: Time) -> Self {
        match (self, blocked) {
            (Self::Repeatable, _) => Self::Repeatable,
            (Self::Late, _) => Self::Late,
            (Self::Blocked(at), Blocked::Broken(until) | Blocked::Parked(until) | Blocked::Spent(until)) => {
                Self::Blocked(at.min(until))
            }
            (Self::Full, Blocked::Broken(until) | Blocked::Parked(until) | Blocked::Spent(until))
                if until > now + FULL_PAUSE =>
            {
                Self::Full
            }
            (_, Blocked::Broken(until) | Blocked::Parked(until) | Blocked::Spent(until)) => Self::Blocked(until),
            (Self::Blocked(at), Blocked::Full) if at <= now + FULL_PAUSE => Self::Blocked(at),
            (_, Blocked::Full) => Self::Full,
        }
    }
}

/// Why a target can never serve a request. The last ones describe the request best, and are what the client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unfit {
    /// It does not serve the operation.
    Operation,
    /// It cannot do all that the request asks for.
    Features,
    /// The prompt is beyond its context, by any count.
    Context,
    /// The request may cost more there than its client wants, or it has no price.
    Price,
}

/// Why a target is no candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excluded {
    /// It can never serve the request.
    Unfit(Unfit),
    /// It takes no call at this moment.
    Blocked(Blocked),
    /// The request is late, and others that may still be in time were denied a call a moment ago: they go first.
    Yields,
    /// The request will not be sent to it again: it refused it for good, or has had the most attempts allowed.
    RuledOut,
    /// It had a call of this request before, and repeats are not allowed at this moment.
    Asked,
}

/// What is expected of a model's requests, and of this one's answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    /// How long the answer is thought to be.
    pub(crate) length: Length,
    /// Its mean in whole tokens.
    pub(crate) completion_tokens: u64,
    /// Requests in a second.
    pub(crate) per_second: f64,
    /// Tokens of a request on average, its answer included; 0 if unknown.
    pub(crate) tokens: f64,
    /// The target that is thought to hold the prompt cache of this request's conversation.
    pub(crate) holder: Option<usize>,
}

impl Expected {
    /// Tokens of this request, its answer included.
    pub(crate) fn tokens_of(&self, facts: &Facts) -> f64 {
        real(facts.prompt_tokens) + self.length.mean * real(facts.choices)
    }

    /// How many mean requests this one is.
    pub(crate) fn size_of(&self, facts: &Facts) -> f64 {
        if self.tokens > 0.0 { self.tokens_of(facts) / self.tokens } else { 1.0 }
    }
}

/// Whether a request was held before it is decided about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// It was not.
    None,
    /// It was, and is offered no room.
    Held,
    /// It was, and room is offered to it.
    Offered,
}

/// What a decision is about: one request at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Situation<'a> {
    pub(crate) model: &'a Model,
    pub(crate) facts: &'a Facts,
    pub(crate) history: &'a History,
    /// Whether targets that were asked before are candidates.
    pub(crate) repeats: bool,
    /// What is expected of the model's requests.
    pub(crate) expected: Expected,
    /// When it came.
    pub(crate) arrived: Time,
    /// Whether, a moment ago, another request could still be in time and found no target worth a call.
    pub(crate) another_was_denied: bool,
    pub(crate) hold: Hold,
    pub(crate) now: Time,
}

impl Situation<'_> {
    /// Looks at one target, of which `state` is known.
    pub(crate) fn examine(&self, target: usize, state: &State) -> Result<Candidate, Excluded> {
        let Self { model, facts, history, expected, now, .. } = *self;
        let upstream = &model.targets()[target];
        check(upstream, facts, history).map_err(Excluded::Unfit)?;
        if history.is_ruled_out(target) {
            return Err(Excluded::RuledOut);
        }
        let (slo, slo_s) = (model.spec.slo_first_token, self.slo_s());
        let load = state.load(&upstream.spec, now);
        let (needs, outlook) = self.outlook(target, state, load);
        if needs.is_stale && self.another_was_denied && !self.is_alone(target) {
            return Err(Excluded::Yields);
        }
        // Only to a cold one it matters.
        let is_alone = outlook.is_cold == Some(true) && self.is_alone(target);
        if let Some(blocked) = state.blocked(&upstream.spec, load, is_alone, &needs, now) {
            return Err(Excluded::Blocked(blocked));
        }
        if !self.repeats && !history.is_fresh(target) {
            return Err(Excluded::Asked);
        }
        let predicted = if facts.stream { outlook.first_token } else { outlook.end };
        // An upstream without any call yet counts as the fastest, so that one call tries it.
        let is_untried = !state.supply().has_answered() && state.in_flight() == 0 && state.penalty_s(now) <= 0.0;
        let holds_cache = expected.holder == Some(target) && facts.prompt_tokens >= LEAST_CACHED_TOKENS;
        let expected_cost = self.expected_cost(upstream, holds_cache);
        Ok(Candidate {
            target,
            deficit: 0.0,
            due: 0.0,
            is_ready: outlook.is_cold.map(|is_cold| !is_cold),
            ready_workers: load.ready,
            queued: load.queued,
            breaker: state.breaker(now),
            in_flight: load.in_flight,
            first_token: state.supply().has_answered().then_some(predicted),
            meets_slo: slo.is_none_or(|slo| !state.supply().has_answered() || outlook.first_token <= slo),
            expected_cost,
            marginal_cost: self.marginal_cost(upstream, state, &outlook, expected_cost),
            is_billed_by_time: upstream.spec.gpu_rate().is_some(),
            usual_cost: None,
            stop_risk: self.stop_risk(target, &outlook),
            holds_cache,
            cached: if holds_cache { (real(facts.prompt_tokens) / expected.tokens.max(1.0)).min(1.0) } else { 0.0 },
            stays: 0.0,
            limited_tokens: needs.limited_tokens,
            is_too_long: upstream.spec.context_tokens.is_some_and(|context| context < facts.prompt_tokens),
            miss: outlook.miss,
            time: if is_untried { 0.0 } else { predicted.as_secs_f64() + state.penalty_s(now) } / slo_s,
            score: 0.0,
            score_in_time: 0.0,
            if_late: IfLate {
                begins_soon: begins_soon(&needs, &outlook, slo_s),
                may_probe: outlook.may_probe,
                shows_demand: outlook.shows_demand,
            },
            is_warmed_up: outlook.is_cold == Some(true) && upstream.spec.warm_up_usd_per_hour > NanoUsd(0),
        })
    }

    /// The probability that idle workers are stopped before the next request comes, if this one does not go there.
    fn stop_risk(&self, target: usize, outlook: &Outlook) -> f64 {
        let left = outlook.idle_left.filter(|_| outlook.is_cold == Some(false) && self.model.shares()[target] > 0.0);
        left.map_or(0.0, |left| (-self.expected.per_second * left.as_secs_f64()).exp())
    }

    /// What the request needs from a target, and what it can expect there. The time that a request has waited is part
    /// of its SLO, until it is late.
    fn outlook(&self, target: usize, state: &State, load: Load) -> (RequestNeeds, Outlook) {
        let Self { model, arrived, now, .. } = *self;
        let slo = model.spec.slo_first_token;
        let needs = self.needs(target);
        let left = slo.map(|slo| slo.saturating_sub(now - arrived));
        let outlook = state.outlook(load, &needs, left, now);
        let has_missed = !self.is_fresh() && outlook.miss >= UNLIKELY && self.strategy().looks_ahead();
        if !has_missed && !needs.is_stale {
            return (needs, outlook);
        }
        let needs = RequestNeeds { is_stale: true, ..needs };
        (needs, state.outlook(load, &needs, slo, now))
    }

    /// What the request needs from a target.
    pub(crate) fn needs(&self, target: usize) -> RequestNeeds {
        let Self { model, facts, expected, .. } = *self;
        let limit = facts.answer_limit().or(model.targets()[target].spec.default_max_tokens);
        let needs = RequestNeeds::new(facts.prompt_tokens, limit, expected.length.mean, facts.choices);
        RequestNeeds { is_stale: self.is_stale(), has_offer: self.hold == Hold::Offered, ..needs }
    }

    /// Whether no other target could ever serve the request.
    pub(crate) fn is_alone(&self, target: usize) -> bool {
        self.others(target).next().is_none()
    }

    /// The other targets that could serve the request at some time.
    pub(crate) fn others(&self, target: usize) -> impl Iterator<Item = usize> {
        let Self { model, facts, history, .. } = *self;
        (0..model.targets().len()).filter(move |other| *other != target && can_serve(model, facts, history, *other))
    }

    /// Whether the limits of a candidate have room for the request beside the reserve that the claim has to leave.
    pub(crate) fn fits(&self, candidate: &Candidate, state: &State, claim: Claim) -> Result<(), Blocked> {
        let tokens = candidate.limited_tokens;
        match state.supply().fits(tokens, claim, self.now) {
            Fit::Now => Ok(()),
            Fit::At(at) => Err(Blocked::Spent(at)),
            // It does not fit beside the reserve. It may fit into the full bucket without the reserve.
            Fit::Never => match state.supply().fits(tokens, Claim::Failover, self.now) {
                Fit::Now | Fit::Never => Ok(()),
                Fit::At(at) => Err(Blocked::Spent(at)),
            },
        }
    }

    /// Why the request goes to a target, where the best of the other targets would miss the SLO with the probability
    /// `others`; `None` if there is no other.
    pub(crate) fn claim(&self, others: Option<f64>) -> Claim {
        let Self { model, history, now, arrived, .. } = *self;
        let waited = now - arrived;
        if !self.strategy().looks_ahead() || history.named().is_some() {
            return Claim::Failover;
        }
        let in_time = waited < model.spec.slo_first_token.unwrap_or(USUAL_SLO);
        let urgent = if waited < FRESH || history.attempts() > 0 && in_time { Claim::Failover } else { Claim::Stale };
        match others {
            None => urgent,
            Some(miss) if miss > LATE && waited < FRESH && history.attempts() == 0 => Claim::Spill,
            Some(miss) if miss > LATE => urgent,
            Some(_) => Claim::Share,
        }
    }

    /// Whether the request cannot be in time any more.
    pub(crate) fn is_stale(&self) -> bool {
        let spec = &self.model.spec;
        let is_late = self.now - self.arrived >= spec.slo_first_token.unwrap_or(USUAL_SLO);
        is_late && self.strategy().looks_ahead()
    }

    /// What orders the candidates.
    pub(crate) fn strategy(&self) -> StrategyName {
        self.model.strategy_for(self.facts)
    }

    /// What a first token may take, in seconds.
    pub(crate) fn slo_s(&self) -> f64 {
        self.model.spec.slo_first_token.unwrap_or(USUAL_SLO).as_secs_f64()
    }

    /// Whether the request has just come.
    pub(crate) fn is_fresh(&self) -> bool {
        self.now - self.arrived < FRESH
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
            // An upstream has refused it for this reason already: its error describes the limit better.
            Unfit::Context if history.overflow().is_some() => NoCandidate::Exhausted,
            Unfit::Context => {
                let allowed = model.targets().iter().enumerate().filter(|(target, _)| history.allows(*target));
                let largest = allowed.filter_map(|(_, upstream)| upstream.spec.context_tokens).max();
                NoCandidate::ContextOverflow(largest.unwrap_or_default())
            }
            Unfit::Price => {
                let allowed = model.targets().iter().enumerate().filter(|(target, _)| history.allows(*target));
                let too_dear = allowed.filter(|(_, upstream)| check(upstream, facts, history) == Err(Unfit::Price));
                NoCandidate::TooDear(too_dear.filter_map(|(_, upstream)| facts.reserved_cost(&upstream.spec)).min())
            }
        }
    }
}

/// Whether a call that is not likely to be in time would begin so soon that it is better sent than held.
fn begins_soon(needs: &RequestNeeds, outlook: &Outlook, slo_s: f64) -> bool {
    let (first_token_s, base_s) = (outlook.first_token.as_secs_f64(), outlook.base_s);
    let behind_s = first_token_s - outlook.alone_s;
    let is_soon = match needs.is_stale {
        true if base_s < slo_s => behind_s < MOST_BEHIND * slo_s,
        true => behind_s < base_s,
        false => first_token_s < f64::max(slo_s, MOST_SLOWED * base_s),
    };
    outlook.has_slot() && is_soon
}

/// Whether a target, free or not, could serve the request.
pub(crate) fn can_serve(model: &Model, facts: &Facts, history: &History, target: usize) -> bool {
    history.allows(target) && !history.is_ruled_out(target) && check(&model.targets()[target], facts, history).is_ok()
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
    let is_too_dear = |most| facts.reserved_cost(spec).is_none_or(|cost| cost > most);
    if facts.wishes.max_cost.is_some_and(is_too_dear) {
        return Err(Unfit::Price);
    }
    Ok(())
}

//! From a failure to what comes next: decide, and on failure decide anew, within one deadline and one retry budget.
//!
//! Moving on to an upstream that was not asked yet is immediate and free, as is the one repeat on the same upstream that an
//! adapter asks for ([`Error::again`]). Every other repeat waits a random time and draws on the budget. Nothing is repeated once a
//! frame with content has come.

use std::time::Duration;

use provider::{Adjustment, Error, ErrorKind, Phase, Time};
use rand::{Rng, RngExt};
use smallvec::SmallVec;

use super::{Engine, ModelState};
use crate::{
    candidate::{FULL_PAUSE, NoCandidate},
    decision::Role,
    error::RouterError,
    facts::Facts,
    knowledge::{bucket::Fit, quota::Claim},
    request::{Action, Attempt, RequestState, Start},
    share::FEW,
    table::Model,
    upstream::{LONGEST_ANSWER_TOKENS, Upstream},
};

/// The random wait before repeat n is drawn from (0, min(0.1 s · 2ⁿ, 0.3 s)): longer ones only make a request late whose
/// upstream is back, and what keeps repeats from multiplying load is the budget.
const BASE_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_millis(300);
/// Most repeats of a request that every target has failed.
const MAX_REPEATS: u32 = 2;
/// Longest wait for an upstream that is parked or broken, somewhat longer than a breaker's longest pause.
const MAX_UNAVAILABLE_WAIT: Duration = Duration::from_secs(10);
/// Less time than this left, and an attempt is not worth its price.
pub(super) const LEAST_TIME: Duration = Duration::from_secs(1);
/// What a token of a whole answer may take; slower than any useful upstream.
const SLOWEST_TOKEN: Duration = Duration::from_millis(50);
/// A recording may take its own length, divided by this, to be transcribed; slower than any useful upstream.
const SLOWEST_TRANSCRIPTION: u64 = 4;

/// Added to the error of a request that fails at upstreams where other requests succeed.
const POISON_ADVICE: &str =
    "; other requests succeed there: check response_format and other unusual fields of this one";

impl Engine {
    /// A request arrives.
    pub fn arrived(&mut self, request: &mut RequestState, now: Time, rng: &mut dyn Rng) -> Action {
        request.arrived = now;
        self.budget.deposit();
        let action = match self.waits_for_turn(request, now, rng) {
            Some(until) => {
                self.has_decided = false;
                Self::wait(request, until)
            }
            None => self.next(request, false, now, rng),
        };
        self.model(&request.model).arrived(now);
        self.expect(request, now);
        action
    }

    /// Counts a new request at the targets that would serve it by their shares, as far as the others take calls.
    fn expect(&mut self, request: &RequestState, now: Time) {
        let model = &request.model;
        let has_shares = request.strategy().has_shares();
        let share = |target: usize| if has_shares { model.shares()[target] } else { 1.0 };
        let takes_calls: SmallVec<[bool; FEW]> =
            model.targets().iter().map(|upstream| self.state(upstream).takes_calls(now)).collect();
        let available: f64 = (0..takes_calls.len()).filter(|target| takes_calls[*target]).map(share).sum();
        for (target, upstream) in model.targets().iter().enumerate() {
            let part = match request.history.named() {
                Some(named) => f64::from(u8::from(named == target)),
                None if !has_shares => 1.0,
                None if takes_calls[target] => share(target) / available,
                None => share(target) / (available + share(target)),
            };
            if part > 0.0 {
                self.state(upstream).expects(part, now);
            }
        }
    }

    /// The wait of [`Action::Wait`] is over, or [`Self::take_woken`] has named the request. It may have to wait on.
    pub fn timer(&mut self, request: &mut RequestState, now: Time, rng: &mut dyn Rng) -> Action {
        if let Some(until) = self.goes_on_waiting(request, now) {
            self.has_decided = false;
            return Self::wait(request, until);
        }
        request.repeats += u32::from(!request.is_held);
        self.next(request, !request.is_held || request.attempts() > 0, now, rng)
    }

    /// An attempt failed before content came.
    pub fn failed(&mut self, request: &mut RequestState, mut error: Error, now: Time, rng: &mut dyn Rng) -> Action {
        let kind = error.kind;
        if let Some((attempt, call)) = request.take_call() {
            self.judge(request, (attempt, call), &error, now, rng);
            if let Some(adjustment) = error.again.take()
                && let Some(start) = self.again(request, attempt, adjustment, now)
            {
                return Action::Start(start);
            }
            self.offer_room(&request.model.targets()[attempt.target], now);
            request.failed_at(attempt.target, kind);
        }
        request.keep_worst(error);
        // It may be that of another call, which failed while this one ran on.
        let is_final = request.worst.as_ref().is_some_and(|worst| !worst.kind.moves_on());
        if !kind.moves_on() || is_final || request.deadline < now + LEAST_TIME {
            return Action::GiveUp(self.give_up(request, NoCandidate::Exhausted, now, rng));
        }
        self.next(request, false, now, rng)
    }

    /// Decides what comes next. Targets that were asked before are asked again only with `repeats`.
    fn next(&mut self, request: &mut RequestState, repeats: bool, now: Time, rng: &mut dyn Rng) -> Action {
        let none = match self.decide(request, repeats, now) {
            Ok(attempt) => {
                self.release(request, now);
                let history = &request.history;
                let is_next = |target: usize| history.is_fresh(target) && history.allows(target);
                let has_others = self.decision.candidates.iter().any(|candidate| is_next(candidate.target));
                let adjustment = request.history.adjusted(attempt.target).cloned();
                let start = self.start(request, attempt, has_others, adjustment);
                let hedge_at = self.hedge_at(request, &start);
                return Action::Start(Start { hedge_at, ..start });
            }
            Err(none) => none,
        };
        if let Some(until) = self.hold(request, none, now, rng) {
            return Self::wait(request, until);
        }
        self.release(request, now);
        match self.retry_at(request, none, now, rng) {
            Some(until) => Self::wait(request, until),
            None => Action::GiveUp(self.give_up(request, none, now, rng)),
        }
    }

    /// The request waits, and decides again by then.
    fn wait(request: &mut RequestState, until: Time) -> Action {
        request.waits_until = until;
        Action::Wait { until }
    }

    /// Calls the target of `failed` once more at once, changed as its adapter asks, if that was not done yet, it takes
    /// calls and there is time. The debit for the request stays where it is.
    fn again(
        &mut self,
        request: &mut RequestState,
        failed: Attempt,
        adjustment: Adjustment,
        now: Time,
    ) -> Option<Start> {
        let Attempt { target, reason, .. } = failed;
        if request.deadline < now + LEAST_TIME || !request.history.adjust(target, &adjustment) {
            return None;
        }
        let upstream = &request.model.targets()[target];
        let needs = failed.needs;
        let state = self.state(upstream);
        let load = state.load(&upstream.spec, now);
        let is_blocked = state.blocked(&upstream.spec, load, true, &needs, now).is_some();
        if is_blocked || matches!(state.supply().fits(needs.limited_tokens, Claim::Failover, now), Fit::At(_)) {
            return None;
        }
        let attempt = self.begin(request, target, (Role::Retry, reason), &needs, now);
        let has_others = request.history.has_fresh();
        // What was refused would be refused again, on any connection.
        let adjustment = request.history.adjusted(target).cloned().unwrap_or(adjustment);
        Some(self.start(request, attempt, has_others, Some(adjustment)))
    }

    /// The call of `attempt`, which began just now; `has_others`: there are targets that have had no call of the request yet.
    pub(super) fn start(
        &mut self,
        request: &RequestState,
        attempt: Attempt,
        has_others: bool,
        adjustment: Option<Adjustment>,
    ) -> Start {
        let upstream = &request.model.targets()[attempt.target];
        let left = request.deadline - attempt.started;
        // With less time than that for each, nobody else would be asked.
        let patience = match has_others && left >= 2 * LEAST_TIME {
            // The next target needs time as well.
            true => patience(upstream, &request.facts).min(left / 2),
            // A worker starts, and nobody else could serve: to give up would be to fail.
            false if self.state(upstream).is_cold(attempt.started) => left,
            false => patience(upstream, &request.facts).min(left),
        };
        Start { attempt, limit: attempt.started + patience, hedge_at: None, adjustment }
    }

    /// When to try again; `None` to give up.
    fn retry_at(&mut self, request: &RequestState, none: NoCandidate, now: Time, rng: &mut dyn Rng) -> Option<Time> {
        let repeats = request.repeats;
        let free_at = match none {
            NoCandidate::Blocked(until) => until,
            NoCandidate::Repeatable if repeats < MAX_REPEATS && !self.is_poison(request) => now,
            NoCandidate::Repeatable
            | NoCandidate::Exhausted
            | NoCandidate::Full
            | NoCandidate::Late
            | NoCandidate::Unsupported(_)
            | NoCandidate::ContextOverflow(_)
            | NoCandidate::TooDear(_) => return None,
        };
        let longest = BASE_WAIT.saturating_mul(1 << repeats.min(8)).min(LONGEST_WAIT);
        let drawn = now + longest.mul_f64(rng.random_range(0.0..1.0));
        let until = free_at.max(drawn);
        if free_at > now + max_unavailable_wait(request) || until + LEAST_TIME > request.deadline {
            return None;
        }
        self.budget.withdraw(now).then_some(until)
    }

    /// No upstream serves the request. Returns the error for the client.
    fn give_up(&mut self, request: &mut RequestState, none: NoCandidate, now: Time, rng: &mut dyn Rng) -> RouterError {
        // Where some targets are blocked only for now, the refusal of another one is not the final answer.
        let is_open = matches!(none, NoCandidate::Blocked(_) | NoCandidate::Full | NoCandidate::Late);
        let worst = request.worst.take().map(|error| *error);
        let worst =
            worst.filter(|error| !is_open || !error.kind.is_refusal() || error.kind == ErrorKind::InvalidRequest);
        let is_poison = self.close_unattributed_failures(request, worst.as_ref(), now, rng);
        let is_refused = is_poison || worst.as_ref().is_some_and(|error| error.kind.is_refusal());
        self.settle_debit(request, is_refused);
        let wait = match none {
            NoCandidate::Blocked(until) => Some((until - now).max(Duration::from_secs(1))),
            NoCandidate::Full | NoCandidate::Late => Some(FULL_PAUSE),
            NoCandidate::Repeatable
            | NoCandidate::Exhausted
            | NoCandidate::Unsupported(_)
            | NoCandidate::ContextOverflow(_)
            | NoCandidate::TooDear(_) => None,
        };
        if let Some(mut error) = worst {
            if is_poison {
                error.message.push_str(POISON_ADVICE);
            } else if is_upstreams_own(error.kind) {
                let failed = if request.facts.wishes.no_fallback {
                    "the upstream failed, and the request allows no other; it said"
                } else {
                    "all upstreams of this model failed; the last one said"
                };
                error.message = format!("{failed}: {}", error.message);
            }
            // An error for want of room always carries a time to retry, even where the upstream gave none.
            let has_no_room = matches!(error.kind, ErrorKind::RateLimited | ErrorKind::Overloaded);
            let retry_after = wait.or(error.retry_after).or(has_no_room.then_some(FULL_PAUSE));
            return RouterError::Failed { error, attempts: request.attempts(), retry_after };
        }
        match none {
            NoCandidate::Unsupported(what) => RouterError::Unsupported { what },
            NoCandidate::ContextOverflow(context_tokens) => RouterError::ContextOverflow { context_tokens },
            NoCandidate::TooDear(cheapest) => {
                RouterError::TooDear { max_cost: request.facts.wishes.max_cost.unwrap_or_default(), cheapest }
            }
            NoCandidate::Repeatable
            | NoCandidate::Blocked(_)
            | NoCandidate::Full
            | NoCandidate::Late
            | NoCandidate::Exhausted => RouterError::NoUpstream { retry_after: wait.unwrap_or(Duration::from_secs(1)) },
        }
    }

    /// Corrects the debit for a request that no target served.
    fn settle_debit(&mut self, request: &RequestState, is_refused: bool) {
        let Some(debit) = request.history.debit() else { return };
        let (deficits, shares) = (&mut self.model(&request.model).deficits, request.model.shares());
        if is_refused {
            // A request that every upstream refuses is part of no target's share.
            deficits.refund((debit.first, debit.last), &debit.earned, shares);
        } else {
            // It stays with the target of the strategy's choice, as if nothing had failed.
            deficits.shift((debit.last, debit.first), &debit.earned, shares);
        }
    }

    /// The limit of [`Start`] was reached without content from `attempt`: returns the error for that. The driver cancels
    /// the call and passes the error to [`Self::failed`], or to [`Self::one_failed`].
    pub fn overdue(&mut self, request: &RequestState, attempt: &Attempt, now: Time) -> Error {
        if now >= request.deadline && !self.is_unresponsive(request, attempt, now) {
            Error::new(ErrorKind::Timeout(Phase::Deadline), "no upstream answered by the request's deadline")
        } else {
            Error::new(ErrorKind::Timeout(Phase::FirstToken), "the upstream did not begin to answer in time")
        }
    }

    /// Whether the upstream had as long as a stream may take to begin, and no request got content from it meanwhile; or, where
    /// requests leave it less time, whether they together waited so long in vain. Otherwise the attempt that runs into the request's
    /// deadline may just be a long one.
    pub(super) fn is_unresponsive(&mut self, request: &RequestState, attempt: &Attempt, now: Time) -> bool {
        let (began, stream) = (attempt.started, request.facts.stream);
        let upstream = &request.model.targets()[attempt.target];
        let state = self.state(upstream);
        let had_its_time = now - began >= upstream.spec.timeouts.first_token && !state.succeeded_since(began);
        let is_silent = || state.had_time(&attempt.needs, stream, began, now) && state.is_silent(began, now);
        had_its_time || request.is_hurried && is_silent()
    }

    pub(super) fn model(&mut self, model: &Model) -> &mut ModelState {
        self.models.of(&model.key, || ModelState::new(model))
    }
}

/// How long to wait for content, the deadline aside.
pub(super) fn patience(upstream: &Upstream, facts: &Facts) -> Duration {
    let first_token = upstream.spec.timeouts.first_token;
    if facts.stream {
        return first_token;
    }
    // The first byte of a whole answer is its last: a long one takes its time, and so does a long recording.
    let tokens = facts.answer_limit().unwrap_or(LONGEST_ANSWER_TOKENS).min(LONGEST_ANSWER_TOKENS);
    let recording = Duration::from_millis(facts.audio_ms / SLOWEST_TRANSCRIPTION);
    first_token + SLOWEST_TOKEN.saturating_mul(u32::try_from(tokens).unwrap_or(u32::MAX)) + recording
}

/// How long to wait for targets that are known to take no calls: not for long where several calls have failed already.
pub(super) fn max_unavailable_wait(request: &RequestState) -> Duration {
    if request.attempts() < 2 { MAX_UNAVAILABLE_WAIT } else { MAX_UNAVAILABLE_WAIT / 5 }
}

/// Whether a failure is nothing that the client could mend.
fn is_upstreams_own(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Connect
        | ErrorKind::Timeout(Phase::FirstToken | Phase::Gap)
        | ErrorKind::Unavailable
        | ErrorKind::Interrupted
        | ErrorKind::Protocol => true,
        ErrorKind::InvalidRequest
        | ErrorKind::ContextOverflow
        | ErrorKind::Unsupported
        | ErrorKind::Refused
        | ErrorKind::Auth
        | ErrorKind::NotFound
        | ErrorKind::RateLimited
        | ErrorKind::Overloaded
        | ErrorKind::Timeout(Phase::Deadline)
        | ErrorKind::NoMemory
        | ErrorKind::Unrecorded
        | ErrorKind::OverBudget => false,
    }
}

//! The loop around the attempts: decide, try, and on failure decide anew, within one deadline and one retry budget.
//!
//! Moving on to an upstream that was not asked yet is immediate and free, as is the one repeat on the same upstream that an
//! adapter asks for ([`Error::again`]). Every other repeat waits a random time and draws on the budget. Nothing is repeated once a
//! frame with content has come.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::StreamExt;
use provider::{Adjustment, Call, Error, ErrorKind, Frame, Phase, Reply, Request, Reservation};
use rand::{RngExt, rngs::SmallRng};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{
    Served,
    answer::Relay,
    attempt::{Attempt, Decision},
    candidate::{self, Candidate, FULL_PAUSE, NoCandidate},
    error::RouterError,
    event::{Reason, Role},
    history::{History, Named},
    journey::Journey,
    table::{Model, ModelState},
};

/// The random wait before repeat n is drawn from (0, min(2 s · 2ⁿ, 10 s)).
const BASE_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Most repeats of a request that every target has failed.
const MAX_REPEATS: u32 = 2;
/// Longest wait for an upstream that is parked or broken.
const LONGEST_STANDBY: Duration = Duration::from_secs(5);
/// Less time than this left, and an attempt is not worth its price.
const LEAST_TIME: Duration = Duration::from_secs(1);
/// Most bytes that are held before the first frame with content.
const MAX_HELD: usize = 64 << 10;
/// What a token of a whole answer may take; slower than any useful upstream.
const SLOWEST_TOKEN: Duration = Duration::from_millis(50);
/// Tokens that a whole answer may have where no limit is known.
const LONGEST_ANSWER_TOKENS: u64 = 4096;

/// What a client is told whose request fails where others succeed.
const POISON_ADVICE: &str =
    "; other requests succeed there: check response_format and other unusual fields of this one";

/// A reply that is committed, and how it came.
type Committed = (provider::ReplyHead, Relay);

/// Serves `request` from the targets of `model`.
pub(crate) async fn serve(
    model: &Arc<Model>,
    request: &Request,
    call: &Call,
    named: Option<Named>,
    mut journey: Journey,
) -> Result<Served, (RouterError, Journey)> {
    let deadline = journey.deadline;
    let mut history = History::new(model.targets.len(), named);
    let mut best: Option<Error> = None;
    let mut repeats = 0;
    let mut repeat = false;
    let mut at_once: Option<(Chosen, Call)> = None;
    journey.expect_prompt(request.estimated_prompt_tokens());
    model.state.lock().budget.deposit();
    loop {
        let decided = match at_once.take() {
            Some(adjusted) => Ok(adjusted),
            None => decide(model, request, &mut history, repeat, deadline, &mut journey).map(|chosen| {
                let adjustment = history.adjusted(chosen.target).cloned();
                (chosen, Call { adjustment, ..call.clone() })
            }),
        };
        let (chosen, adjusted) = match decided {
            Ok(decided) => decided,
            Err(none) => {
                let Some(until) = standby(model, none, repeats, deadline, &mut journey) else {
                    return Err((give_up(model, none, best, &history, &mut journey), journey));
                };
                journey.waits(Instant::now());
                sleep_until(until).await;
                (repeat, repeats) = (true, repeats + 1);
                continue;
            }
        };
        let target = chosen.target;
        match try_once(request, &adjusted, journey, chosen).await {
            Ok((head, relay)) => return Ok(Served::new(head, relay)),
            Err((mut error, returned)) => {
                journey = returned;
                if let Some(adjustment) = error.again.take() {
                    at_once = again(model, request, &mut history, target, &adjustment, call, &mut journey);
                    if at_once.is_some() {
                        continue;
                    }
                }
                if !error.kind.repeats_here() {
                    history.bar(target);
                }
                if error.kind == ErrorKind::ContextOverflow {
                    history.overflowed(model.targets[target].spec.context_tokens);
                }
                let moves_on = error.kind.moves_on();
                if best.as_ref().is_none_or(|known| error.kind.tells() >= known.kind.tells()) {
                    best = Some(error);
                }
                if !moves_on || deadline < Instant::now() + LEAST_TIME {
                    return Err((give_up(model, NoCandidate::Exhausted, best, &history, &mut journey), journey));
                }
                repeat = false;
            }
        }
    }
}

/// A target that has taken the request on.
struct Chosen {
    target: usize,
    attempt: Attempt,
    /// When to lose patience with it.
    limit: Instant,
}

/// Chooses a target, debits it and takes its place in flight, all under one short lock, so that concurrent requests see
/// each other's choice.
fn decide(
    model: &Arc<Model>,
    request: &Request,
    history: &mut History,
    repeat: bool,
    deadline: Instant,
    journey: &mut Journey,
) -> Result<Chosen, NoCandidate> {
    let now = Instant::now();
    let mut state = model.state.lock();
    let mut candidates = candidate::candidates(model, request, history, &state, repeat, now)?;
    order(model, history, &mut candidates, &mut journey.rng);
    // Models share upstreams, so that another model may have taken the last place since the snapshot.
    let mut none = NoCandidate::Exhausted;
    let taken = candidates.iter().find_map(|candidate| match model.targets[candidate.target].begin(now) {
        Ok(probe) => Some((candidate.target, probe)),
        Err(blocked) => {
            none = none.or(blocked, now);
            None
        }
    });
    let Some((target, probe)) = taken else { return Err(none) };
    let reason = reason(model, &state, history, journey.attempts, target);
    debit(model, &mut state, history, &candidates, target);
    let role = match (journey.attempts, history.is_fresh(target)) {
        (0, _) => Role::Primary,
        (1.., true) => Role::Fallback,
        (1.., false) => Role::Retry,
    };
    history.attempted(target);
    let upstream = model.targets[target].clone();
    let attempt = journey.begin(Decision { upstream, probe, role, strategy: model.spec.strategy, reason }, now);
    let has_others = candidates.iter().any(|candidate| history.is_fresh(candidate.target));
    let limit = now + patience(request, &attempt, has_others, deadline.saturating_duration_since(now));
    Ok(Chosen { target, attempt, limit })
}

/// Calls `target` once more at once, changed as its adapter asks, if that was not done yet, it takes calls and there is time.
/// The request stays charged to whom it is.
fn again(
    model: &Model,
    request: &Request,
    history: &mut History,
    target: usize,
    adjustment: &Adjustment,
    call: &Call,
    journey: &mut Journey,
) -> Option<(Chosen, Call)> {
    let now = Instant::now();
    let deadline = journey.deadline;
    if deadline < now + LEAST_TIME || !history.adjust(target, adjustment) {
        return None;
    }
    let upstream = model.targets[target].clone();
    let probe = upstream.begin(now).ok()?;
    history.attempted(target);
    let reason = journey.last_reason().unwrap_or(Reason::Fallback);
    let strategy = model.spec.strategy;
    let attempt = journey.begin(Decision { upstream, probe, role: Role::Retry, strategy, reason }, now);
    let limit = now + patience(request, &attempt, history.has_fresh(), deadline.saturating_duration_since(now));
    // What was refused would be refused again, on any connection.
    let adjustment = Some(history.adjusted(target).unwrap_or(adjustment).clone());
    let call = Call { adjustment, ..call.clone() };
    Some((Chosen { target, attempt, limit }, call))
}

/// Puts `candidates` into the order in which they are asked: the one that the client named, those that can hold the prompt, and
/// among them the strategy's own order.
pub(crate) fn order(model: &Model, history: &History, candidates: &mut [Candidate], rng: &mut SmallRng) {
    model.strategy.rank(candidates, rng);
    candidates.sort_by_key(|candidate| (history.named() != Some(candidate.target), candidate.is_too_long));
}

/// Why `target` is asked after so many attempts.
pub(crate) fn reason(model: &Model, state: &ModelState, history: &History, attempts: u32, target: usize) -> Reason {
    match (attempts, model.strategy.reason()) {
        _ if history.named() == Some(target) => Reason::Direct,
        (1.., _) => Reason::Fallback,
        (0, Reason::Share) if candidate::is_spill(model, state, target) => Reason::Spill,
        (0, reason) => reason,
    }
}

/// Charges the request to `target`, whoever was charged before.
fn debit(model: &Model, state: &mut ModelState, history: &mut History, candidates: &[Candidate], target: usize) {
    // What a client chose by itself is neither a strategy's debt nor its merit.
    if history.named().is_some() {
        return;
    }
    if let Some(debit) = history.debit() {
        state.deficits.shift(debit.last, target, &model.shares);
        history.recharged(target);
        return;
    }
    let available = candidates.iter().map(|candidate| candidate.target);
    let earned = state.deficits.debit(target, candidate::quantum(model, candidates), available);
    history.charged(target, earned);
}

/// Until when to wait for another chance; `None` if it is not worth it.
fn standby(
    model: &Model,
    none: NoCandidate,
    repeats: u32,
    deadline: Instant,
    journey: &mut Journey,
) -> Option<Instant> {
    let now = Instant::now();
    let free_at = match none {
        NoCandidate::Blocked(until) => until,
        NoCandidate::Repeatable if repeats < MAX_REPEATS && !journey.is_poison() => now,
        NoCandidate::Repeatable
        | NoCandidate::Exhausted
        | NoCandidate::Full
        | NoCandidate::Unsupported(_)
        | NoCandidate::ContextOverflow(_) => {
            return None;
        }
    };
    let longest = BASE_WAIT.saturating_mul(1 << repeats.min(8)).min(LONGEST_WAIT);
    let drawn = now + longest.mul_f64(journey.rng.random_range(0.0..1.0));
    let until = free_at.max(drawn);
    if free_at > now + LONGEST_STANDBY || until + LEAST_TIME > deadline {
        return None;
    }
    model.state.lock().budget.withdraw(now).then_some(until)
}

/// How long to wait for content from an attempt; `left` is the time to the deadline.
fn patience(request: &Request, attempt: &Attempt, has_others: bool, left: Duration) -> Duration {
    let first_token = attempt.upstream.spec.timeouts.first_token;
    let patience = if request.head.stream {
        first_token
    } else {
        // The first byte of a whole answer is its last: a long one takes its time.
        let tokens = request.head.max_tokens.unwrap_or(LONGEST_ANSWER_TOKENS).min(LONGEST_ANSWER_TOKENS);
        first_token + SLOWEST_TOKEN.saturating_mul(u32::try_from(tokens).unwrap_or(u32::MAX))
    };
    // Whoever comes next needs time as well.
    patience.min(if has_others { left / 2 } else { left })
}

/// Makes one attempt, up to the frame that commits it.
async fn try_once(
    request: &Request,
    call: &Call,
    mut journey: Journey,
    // After the journey, so that it is dropped first: an attempt ends before its request.
    chosen: Chosen,
) -> Result<Committed, (Error, Journey)> {
    let Chosen { mut attempt, limit, .. } = chosen;
    let deadline = journey.deadline;
    let provider = attempt.upstream.spec.provider.clone();
    let opened = timeout_at(limit, open(&*provider, request, call, &mut attempt)).await;
    let now = Instant::now();
    let error = match opened {
        Ok(Ok((reply, held, reservation))) => {
            // To read a whole body once more costs time: a whole answer is over with this, and only a doubt asks who got it.
            if request.head.stream || attempt.upstream.is_in_doubt() {
                journey.identify(request);
            }
            attempt.first_token(journey.fingerprint(), now);
            attempt.upstream.record_quota(reply.head.quota, now);
            journey.committed(now);
            // The price of a whole answer is said before its only frame is relayed.
            for frame in &held {
                attempt.usage = frame.usage.or(attempt.usage);
            }
            return Ok((reply.head, Relay::new((held, reservation), reply.frames, attempt, journey, deadline, now)));
        }
        Ok(Err(error)) => error,
        Err(_) if now >= deadline && !attempt.is_stuck(now) => {
            Error::new(ErrorKind::Timeout(Phase::Deadline), "no upstream answered by the request's deadline")
        }
        Err(_) => Error::new(ErrorKind::Timeout(Phase::FirstToken), "the upstream did not begin to answer in time"),
    };
    journey.identify(request);
    journey.failed(&mut attempt, &error, now);
    Err((error, journey))
}

/// Sends the request and waits for the first frame with content.
async fn open(
    provider: &dyn provider::Provider,
    request: &Request,
    call: &Call,
    attempt: &mut Attempt,
) -> Result<(Reply, VecDeque<Frame>, Reservation), Error> {
    let mut reply = provider.call(request, call).await?;
    attempt.replied(&reply.head);
    let mut held = VecDeque::new();
    let mut reservation = call.memory.nothing();
    while let Some(frame) = reply.frames.next().await {
        let frame = frame?;
        let (commits, is_last) = (frame.kind.commits(), frame.kind.is_last());
        if !commits {
            reservation.resize(reservation.bytes() + frame.bytes.len())?;
        }
        held.push_back(frame);
        if commits || reservation.bytes() > MAX_HELD {
            return Ok((reply, held, reservation));
        }
        if is_last {
            break;
        }
    }
    Err(Error::new(ErrorKind::Protocol, "the upstream's answer is empty"))
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
        | ErrorKind::NoMemory => false,
    }
}

/// What to tell the client.
fn give_up(
    model: &Model,
    none: NoCandidate,
    best: Option<Error>,
    history: &History,
    journey: &mut Journey,
) -> RouterError {
    let now = Instant::now();
    // What some refused, others that are blocked for now may serve later.
    let is_open = matches!(none, NoCandidate::Blocked(_) | NoCandidate::Full);
    let best = best.filter(|error| !is_open || !error.kind.is_refusal() || error.kind == ErrorKind::InvalidRequest);
    let is_poison = journey.gave_up(best.as_ref(), now);
    if let Some(debit) = history.debit() {
        let deficits = &mut model.state.lock().deficits;
        if is_poison || best.as_ref().is_some_and(|error| error.kind.is_refusal()) {
            // A request that every upstream refuses is nobody's share of the work.
            deficits.refund(debit.last, &debit.earned, &model.shares);
        } else {
            // Nobody served it: it stays with the target of the strategy's choice, as if nothing had failed.
            deficits.shift(debit.last, debit.first, &model.shares);
        }
    }
    let wait = match none {
        NoCandidate::Blocked(until) => Some(until.duration_since(now).max(Duration::from_secs(1))),
        NoCandidate::Full => Some(FULL_PAUSE),
        NoCandidate::Repeatable
        | NoCandidate::Exhausted
        | NoCandidate::Unsupported(_)
        | NoCandidate::ContextOverflow(_) => None,
    };
    if let Some(mut error) = best {
        if is_poison {
            error.message.push_str(POISON_ADVICE);
        } else if is_upstreams_own(error.kind) {
            error.message = format!("all upstreams of this model failed; the last one said: {}", error.message);
        }
        let retry_after = wait.or(error.retry_after);
        return RouterError::Failed { error, attempts: journey.attempts, retry_after };
    }
    match none {
        NoCandidate::Unsupported(what) => RouterError::Unsupported { what },
        NoCandidate::ContextOverflow(context_tokens) => RouterError::ContextOverflow { context_tokens },
        NoCandidate::Repeatable | NoCandidate::Blocked(_) | NoCandidate::Full | NoCandidate::Exhausted => {
            RouterError::NoUpstream { retry_after: wait.unwrap_or(Duration::from_secs(1)) }
        }
    }
}

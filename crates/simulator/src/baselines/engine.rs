//! What all baselines share: attempts one after the other, each with a limit for its first token.

use crate::{
    policy::{Actions, AttemptId, Event, Failure, Policy, RequestId, Setup},
    time::{Nanos, SECOND},
    wake::WakeReason,
    world::Oracle,
};

/// The time that an attempt has for its first token.
const FIRST_TOKEN: Nanos = 20 * SECOND;

/// Attempts of one request.
const ATTEMPTS: u8 = 3;

/// The time that a request has for everything.
const DEADLINE: Nanos = 60 * SECOND;

/// A rule for where a request goes.
pub(super) trait Rule {
    /// Where this request goes now. Called again after each failure and after each wait.
    fn choose(&mut self, pending: &PendingRequest, input: &mut RuleInput<'_>) -> Choice;

    /// An attempt was sent; `in_flight` are the upstream's, this one included.
    fn sent(&mut self, _upstream: usize, _in_flight: u32) {}

    /// An attempt's first token came, so long after it was sent.
    fn first_token(&mut self, _upstream: usize, _after: Nanos, _now: Nanos) {}

    /// An attempt failed, so long after it was sent.
    fn failed(&mut self, _upstream: usize, _how: Failed, _after: Nanos, _now: Nanos) {}

    /// An attempt ended well.
    fn ended(&mut self, _upstream: usize, _now: Nanos) {}
}

/// A request that needs an upstream.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingRequest {
    pub(super) request: RequestId,
    /// Attempts that have failed.
    pub(super) tries: u8,
    /// Where the last of them went.
    pub(super) last: usize,
    /// Times that the rule was asked for this request.
    pub(super) asked: u32,
}

/// What a rule may look at.
#[derive(Debug)]
pub(super) struct RuleInput<'a> {
    pub(super) now: Nanos,
    /// Attempts under way, for each upstream.
    pub(super) in_flight: &'a [u32],
    /// For the clairvoyant alone.
    pub(super) oracle: Oracle<'a>,
}

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Upstream(usize),
    /// Nowhere yet.
    Wait(Nanos),
    Nowhere,
}

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    Unavailable,
    RateLimited,
    /// No first token in time.
    Late,
}

impl PendingRequest {
    /// The next upstream in turn, once an attempt has failed.
    pub(super) fn fallback(&self, upstreams: usize) -> Option<Choice> {
        (self.tries > 0).then(|| Choice::Upstream((self.last + 1) % upstreams))
    }
}

/// A policy: a rule and the engine that runs it.
#[derive(Debug)]
pub(super) struct RulePolicy<R> {
    rule: R,
    in_flight: Vec<u32>,
    requests: Vec<Request>,
    attempts: Vec<Attempt>,
}

#[derive(Debug, Clone, Copy)]
struct Request {
    arrived: Nanos,
    pending: PendingRequest,
}

#[derive(Debug, Clone, Copy)]
struct Attempt {
    request: RequestId,
    upstream: usize,
    sent: Nanos,
    /// It has neither ended nor given a first token.
    waits: bool,
}

impl<R: Rule> RulePolicy<R> {
    pub(super) fn new(setup: &Setup<'_>, rule: R) -> Self {
        let in_flight = vec![0; setup.upstreams.len()];
        Self { rule, in_flight, requests: Vec::new(), attempts: Vec::new() }
    }

    /// Attempts that are under way.
    #[cfg(test)]
    pub(super) fn in_flight(&self) -> &[u32] {
        &self.in_flight
    }

    fn route(&mut self, request: RequestId, actions: &mut Actions<'_>) {
        let Request { arrived, pending } = self.requests[request.index()];
        self.requests[request.index()].pending.asked += 1;
        let now = actions.now();
        let mut input = RuleInput { now, in_flight: &self.in_flight, oracle: actions.oracle() };
        match self.rule.choose(&pending, &mut input) {
            Choice::Upstream(upstream) => self.send(request, upstream, actions),
            Choice::Wait(time) if now + time <= arrived + DEADLINE => {
                actions.wake_at(now + time, WakeReason::Again(request).token());
            }
            Choice::Wait(_) | Choice::Nowhere => actions.give_up(request),
        }
    }

    fn send(&mut self, request: RequestId, upstream: usize, actions: &mut Actions<'_>) {
        let now = actions.now();
        let attempt = actions.start(request, upstream);
        self.attempts.push(Attempt { request, upstream, sent: now, waits: true });
        let pending = &mut self.requests[request.index()].pending;
        (pending.tries, pending.last) = (pending.tries + 1, upstream);
        self.in_flight[upstream] += 1;
        self.rule.sent(upstream, self.in_flight[upstream]);
        actions.wake_at(now + FIRST_TOKEN, WakeReason::FirstToken(attempt).token());
    }

    fn failed(&mut self, attempt: AttemptId, how: Failed, committed: bool, actions: &mut Actions<'_>) {
        let Attempt { request, upstream, sent, .. } = self.attempts[attempt.index()];
        let now = actions.now();
        self.attempts[attempt.index()].waits = false;
        self.in_flight[upstream] -= 1;
        self.rule.failed(upstream, how, now - sent, now);
        if committed {
            return;
        }
        let Request { arrived, pending } = self.requests[request.index()];
        if pending.tries >= ATTEMPTS || now > arrived + DEADLINE {
            actions.give_up(request);
        } else {
            self.route(request, actions);
        }
    }
}

impl<R: Rule> Policy for RulePolicy<R> {
    fn on(&mut self, event: Event, actions: &mut Actions<'_>) {
        let now = actions.now();
        match event {
            Event::Arrived { request, .. } => {
                let pending = PendingRequest { request, tries: 0, last: 0, asked: 0 };
                self.requests.push(Request { arrived: now, pending });
                self.route(request, actions);
            }
            Event::FirstToken { attempt, .. } => {
                let Attempt { upstream, sent, .. } = self.attempts[attempt.index()];
                self.attempts[attempt.index()].waits = false;
                self.rule.first_token(upstream, now - sent, now);
            }
            Event::Failed { attempt, failure, committed } => {
                let how = match failure {
                    Failure::Unavailable => Failed::Unavailable,
                    Failure::RateLimited { .. } => Failed::RateLimited,
                };
                self.failed(attempt, how, committed, actions);
            }
            Event::Ended { attempt, .. } => {
                let upstream = self.attempts[attempt.index()].upstream;
                self.in_flight[upstream] -= 1;
                self.rule.ended(upstream, now);
            }
            Event::Wake { token } => match WakeReason::from(token) {
                WakeReason::Again(request) => self.route(request, actions),
                WakeReason::FirstToken(attempt) if self.attempts[attempt.index()].waits => {
                    actions.cancel(attempt);
                    self.failed(attempt, Failed::Late, false, actions);
                }
                WakeReason::FirstToken(_) => {}
            },
            Event::Capacity { .. } => {}
        }
    }
}

/// Of the upstreams, that of the least `cost`; the first of equals.
pub(super) fn least(upstreams: impl IntoIterator<Item = usize>, cost: impl Fn(usize) -> f64) -> Option<usize> {
    let costs = upstreams.into_iter().map(|upstream| (upstream, cost(upstream)));
    costs.reduce(|best, next| if next.1 < best.1 { next } else { best }).map(|(upstream, _)| upstream)
}

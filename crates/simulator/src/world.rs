//! One run: requests come, a policy decides, upstreams serve, and everything is counted.

use provider::Price;

use crate::{
    policy::{Actions, AttemptId, Event, Failure, Policy, RequestId},
    scenario::{Case, Change, UpstreamChange},
    time::{NEVER, Nanos, SECOND},
    timeline::Timeline,
    trace::Arrival,
    upstream::{Consumed, Job, Plan, Refusal, SimEvent, Upstream},
};

mod acts;
mod oracle;
mod record;

pub(crate) use oracle::Oracle;
pub(crate) use record::{End, Record};

/// How long after the last request a run waits for requests that a policy does not end.
const FORGOTTEN: Nanos = 3600 * SECOND;

/// The request of the policy's own calls: none of the trace.
const NOBODY: u32 = u32::MAX;

/// How a run is made, apart from what happens in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// A stream that breaks after its first token may be started again, as if the client had seen nothing. No router can do
    /// that; it exists to compare this simulator with others.
    pub restart_broken_streams: bool,
}

/// Everything but the policy.
#[derive(Debug)]
pub(crate) struct World {
    rules: Rules,
    now: Nanos,
    timeline: Timeline<SimEvent>,
    upstreams: Vec<Upstream>,
    prices: Vec<Price>,
    changes: Vec<Change>,
    changed: usize,
    records: Vec<Record>,
    /// Of the policy's own calls.
    of_nobody: Record,
    attempts: Vec<Attempt>,
    /// Requests that are not over, of those that have come.
    open: usize,
    /// Attempts that are not over.
    running: usize,
    rate_limited: u64,
}

#[derive(Debug, Clone, Copy)]
struct Attempt {
    request: u32,
    upstream: u16,
    ordinal: u16,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Travelling,
    There,
    /// It has failed, and the policy has not seen that yet.
    Failing(Refusal),
    Over,
}

/// What is left when everything is over.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) records: Vec<Record>,
    /// The cost of the policy's own calls, in pico-dollars.
    pub(crate) own_waste: u64,
    pub(crate) rate_limited: u64,
    pub(crate) attempts: usize,
    /// For each upstream: time of workers, and workers started.
    pub(crate) gpu: Vec<(Nanos, u32)>,
    /// Attempts that never ended.
    #[cfg(test)]
    pub(crate) left_running: usize,
}

/// Replays `case` under `policy`.
pub(crate) fn replay(case: &Case, policy: &mut dyn Policy, seed: u64, rules: Rules) -> Finished {
    let mut world = World::new(case, seed, rules);
    let mut arrivals = case.trace.arrivals().iter();
    let mut next = arrivals.next();
    let give_up_at = case.trace.span() + FORGOTTEN;
    loop {
        // A request that comes at the instant of another event comes first.
        if let Some(arrival) = next.filter(|arrival| arrival.at <= world.timeline.next_at()) {
            world.now = arrival.at;
            let event = world.arrive(*arrival);
            policy.on(event, &mut Actions::new(&mut world));
            next = arrivals.next();
            continue;
        }
        if next.is_none() && world.open == 0 && world.running == 0 {
            break;
        }
        let Some((at, what)) = world.timeline.next().filter(|(at, _)| *at < give_up_at) else { break };
        world.now = at;
        if let Some(event) = world.handle(what) {
            policy.on(event, &mut Actions::new(&mut world));
        }
    }
    world.finish()
}

impl World {
    fn new(case: &Case, seed: u64, rules: Rules) -> Self {
        let requests = case.trace.arrivals().len();
        let mut timeline = Timeline::new();
        let mut upstreams = Vec::new();
        for (settings, number) in case.providers.upstreams.iter().zip(0_u16..) {
            let mut plan = Plan { upstream: number, now: 0, timeline: &mut timeline };
            upstreams.push(Upstream::new(settings, seed, &mut plan));
            timeline.plan(0, SimEvent::Poll { upstream: number });
        }
        for change in &case.changes {
            timeline.plan(change.at, SimEvent::Change);
        }
        Self {
            rules,
            now: 0,
            timeline,
            upstreams,
            prices: case.providers.upstreams.iter().map(|upstream| upstream.price).collect(),
            changes: case.changes.clone(),
            changed: 0,
            records: Vec::with_capacity(requests),
            of_nobody: Record::of_nobody(),
            attempts: Vec::with_capacity(requests + requests / 4),
            open: 0,
            running: 0,
            rate_limited: 0,
        }
    }

    pub(crate) const fn now(&self) -> Nanos {
        self.now
    }

    fn arrive(&mut self, arrival: Arrival) -> Event {
        let request = RequestId(u32::try_from(self.records.len()).unwrap_or(u32::MAX));
        self.records.push(Record::new(arrival));
        self.open += 1;
        Event::Arrived { request, prompt_tokens: arrival.prompt_tokens }
    }

    /// Carries out an event of the simulation. Returns the event for the policy, if there is one.
    fn handle(&mut self, what: SimEvent) -> Option<Event> {
        match what {
            SimEvent::Reach(attempt) => {
                self.reach(attempt);
                None
            }
            SimEvent::First(attempt) => self.first_token(attempt),
            SimEvent::End(attempt) => self.end(attempt),
            SimEvent::Failure(attempt) => self.fail(attempt),
            SimEvent::Inside { upstream, step } => {
                let mut plan = Plan { upstream, now: self.now, timeline: &mut self.timeline };
                self.upstreams[usize::from(upstream)].step(step, &mut plan);
                None
            }
            SimEvent::Poll { upstream } => {
                let number = usize::from(upstream);
                let every = self.upstreams[number].poll_every()?;
                self.timeline.plan(self.now + every, what);
                Some(Event::Capacity { upstream: number, capacity: self.upstreams[number].capacity(self.now) })
            }
            SimEvent::Change => {
                self.change();
                None
            }
            SimEvent::Wake(token) => Some(Event::Wake { token }),
        }
    }

    fn change(&mut self) {
        let Change { upstream, what, .. } = self.changes[self.changed];
        self.changed += 1;
        let number = u16::try_from(upstream).unwrap_or(u16::MAX);
        let mut plan = Plan { upstream: number, now: self.now, timeline: &mut self.timeline };
        for (attempt, consumed) in self.upstreams[upstream].apply(what, &mut plan) {
            self.waste(attempt, consumed);
            self.fail_later(attempt, Refusal::Unavailable);
        }
    }

    /// The record of a request, or that of the policy's own calls.
    fn record(&mut self, request: u32) -> &mut Record {
        self.records.get_mut(request as usize).unwrap_or(&mut self.of_nobody)
    }

    fn job(&self, attempt: AttemptId) -> Job {
        let Attempt { request, ordinal, .. } = self.attempts[attempt.index()];
        let record = self.records.get(request as usize).unwrap_or(&self.of_nobody);
        Job {
            attempt,
            request,
            ordinal: u32::from(ordinal),
            prompt_tokens: record.prompt_tokens,
            completion_tokens: record.completion_tokens,
        }
    }

    fn reach(&mut self, attempt: AttemptId) {
        let Attempt { upstream, state, .. } = self.attempts[attempt.index()];
        if state != State::Travelling {
            return;
        }
        let job = self.job(attempt);
        let mut plan = Plan { upstream, now: self.now, timeline: &mut self.timeline };
        match self.upstreams[usize::from(upstream)].reach(job, &mut plan) {
            Ok(()) => self.attempts[attempt.index()].state = State::There,
            Err(refusal) => self.fail_later(attempt, refusal),
        }
    }

    fn fail_later(&mut self, attempt: AttemptId, refusal: Refusal) {
        self.rate_limited += u64::from(matches!(refusal, Refusal::RateLimited { .. }));
        self.attempts[attempt.index()].state = State::Failing(refusal);
        self.timeline.plan(self.now + refusal.delay(), SimEvent::Failure(attempt));
    }

    fn first_token(&mut self, attempt: AttemptId) -> Option<Event> {
        let Attempt { request, upstream, state, .. } = self.attempts[attempt.index()];
        if state != State::There {
            return None;
        }
        let now = self.now;
        let record = self.record(request);
        if record.end.is_none() && record.serving.is_none() {
            record.serving = Some(attempt);
            record.first_token = now;
        }
        let quota = self.upstreams[usize::from(upstream)].quota(self.now);
        Some(Event::FirstToken { attempt, quota })
    }

    fn end(&mut self, attempt: AttemptId) -> Option<Event> {
        let Attempt { request, upstream, state, .. } = self.attempts[attempt.index()];
        if state != State::There {
            return None;
        }
        self.over(attempt);
        self.upstreams[usize::from(upstream)].ended(attempt);
        let price = self.prices[usize::from(upstream)];
        let record = self.record(request);
        let completion_tokens = record.completion_tokens;
        let cost = record.cost_of(price);
        if record.serving == Some(attempt) {
            record.cost = cost;
            self.close(request, End::Served { upstream });
        } else {
            record.waste += cost;
        }
        Some(Event::Ended { attempt, completion_tokens })
    }

    fn fail(&mut self, attempt: AttemptId) -> Option<Event> {
        let Attempt { request, upstream, state, .. } = self.attempts[attempt.index()];
        let State::Failing(refusal) = state else { return None };
        self.over(attempt);
        let may_restart = self.rules.restart_broken_streams;
        let record = self.record(request);
        let mut committed = record.serving == Some(attempt);
        if committed && may_restart {
            (record.serving, record.first_token, committed) = (None, NEVER, false);
        }
        if committed {
            self.close(request, End::Broken);
        }
        let quota = self.upstreams[usize::from(upstream)].quota(self.now);
        let failure = match (refusal, quota) {
            (Refusal::RateLimited { retry_after }, Some(quota)) => Failure::RateLimited { retry_after, quota },
            _ => Failure::Unavailable,
        };
        Some(Event::Failed { attempt, failure, committed })
    }

    fn over(&mut self, attempt: AttemptId) {
        self.attempts[attempt.index()].state = State::Over;
        self.running -= 1;
    }

    fn close(&mut self, request: u32, end: End) {
        let record = &mut self.records[request as usize];
        record.end = Some(end);
        record.ended_at = self.now;
        self.open -= 1;
    }

    fn waste(&mut self, attempt: AttemptId, consumed: Consumed) {
        let Attempt { request, upstream, .. } = self.attempts[attempt.index()];
        let cost = consumed.cost(self.prices[usize::from(upstream)]);
        self.record(request).waste += cost;
    }

    fn finish(self) -> Finished {
        Finished {
            rate_limited: self.rate_limited,
            attempts: self.attempts.len(),
            gpu: self.upstreams.iter().map(|upstream| upstream.gpu_time(self.now)).collect(),
            #[cfg(test)]
            left_running: self.running,
            own_waste: self.of_nobody.waste,
            records: self.records,
        }
    }
}

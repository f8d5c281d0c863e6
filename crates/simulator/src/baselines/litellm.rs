//! LiteLLM's router and its like: choose among the upstreams that are not cooling down after failures.
//!
//! Four rules: `simple-shuffle` (by chance, in proportion to the shares), `latency-based-routing` (the lowest mean of the last
//! ten times to the first token), `cost-based-routing` (the cheapest), and `OpenRouter`'s default (by chance, in proportion to
//! 1/price²), which skips what failed often rather than what answered 429.

use std::collections::VecDeque;

use super::{
    engine::{Choice, Failed, PendingRequest, Rule as Chooses, RuleInput},
    fixed::drawn,
};
use crate::{
    chance::{Chance, Purpose},
    policy::Setup,
    time::{MILLISECOND, Nanos, SECOND, seconds},
    trace::as_f64,
};

/// Calls of this time decide whether an upstream cools down.
const WINDOW: Nanos = 60 * SECOND;

/// Fewer calls decide nothing.
const FEWEST: usize = 5;

/// How long a request waits when all upstreams cool down.
const ALL_COOL: Nanos = 500 * MILLISECOND;

/// Times to the first token that are remembered.
const TIMES: usize = 10;

/// What a call counts as that gave no first token in time, in seconds.
const LATE: f64 = 1000.0;

/// How one of the upstreams is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    Shuffle,
    Latency,
    Cost,
    Price,
}

#[derive(Debug)]
pub(super) struct LiteLlm {
    rule: Rule,
    chance: Chance,
    upstreams: Vec<Upstream>,
    /// Those to choose from; kept so that a choice allocates nothing.
    from: Vec<usize>,
}

#[derive(Debug)]
struct Upstream {
    share: f64,
    /// Of a token in and one out, in pico-dollars.
    price: f64,
    cools_until: Nanos,
    /// When recent calls ended, and whether well.
    calls: VecDeque<(Nanos, bool)>,
    failures: usize,
    times: VecDeque<f64>,
}

impl LiteLlm {
    pub(super) fn new(setup: &Setup<'_>, rule: Rule) -> Self {
        let upstreams = setup.upstreams.iter().map(|upstream| Upstream {
            share: upstream.share,
            price: as_f64(upstream.price.input.0 + upstream.price.output.0),
            cools_until: 0,
            calls: VecDeque::new(),
            failures: 0,
            times: VecDeque::with_capacity(TIMES),
        });
        Self { rule, chance: Chance::new(setup.seed, u64::MAX), upstreams: upstreams.collect(), from: Vec::new() }
    }

    fn chosen(&self, pending: &PendingRequest) -> Option<usize> {
        let chance = self.chance.unit(Purpose::Choice, pending.request.index() as u64, u64::from(pending.asked));
        let upstreams = self.from.iter().copied();
        let of = |upstream: usize| &self.upstreams[upstream];
        let least = |cost: &dyn Fn(usize) -> f64| {
            let least = upstreams.clone().map(cost).fold(f64::INFINITY, f64::min);
            drawn(upstreams.clone(), |upstream| f64::from(u8::from(cost(upstream) <= least)), chance)
        };
        match self.rule {
            Rule::Shuffle => drawn(upstreams, |upstream| of(upstream).share, chance),
            Rule::Price => drawn(upstreams, |upstream| of(upstream).price.powi(-2), chance),
            Rule::Cost => least(&|upstream| of(upstream).price),
            Rule::Latency => least(&|upstream| of(upstream).mean_time()),
        }
    }
}

impl Upstream {
    /// Zero as long as nothing is known, so that everything is tried.
    fn mean_time(&self) -> f64 {
        if self.times.is_empty() { 0.0 } else { self.times.iter().sum::<f64>() / as_f64(self.times.len() as u64) }
    }

    fn time(&mut self, time: f64) {
        if self.times.len() == TIMES {
            self.times.pop_front();
        }
        self.times.push_back(time);
    }

    /// Remembers a call; returns how many there were lately, and which part of them failed.
    fn call(&mut self, ended_well: bool, now: Nanos) -> (usize, f64) {
        self.calls.push_back((now, ended_well));
        self.failures += usize::from(!ended_well);
        while let Some((_, ended_well)) = self.calls.pop_front_if(|(at, _)| *at + WINDOW < now) {
            self.failures -= usize::from(!ended_well);
        }
        let calls = self.calls.len();
        (calls, as_f64(self.failures as u64) / as_f64(calls as u64))
    }
}

impl Chooses for LiteLlm {
    fn choose(&mut self, pending: &PendingRequest, input: &mut RuleInput<'_>) -> Choice {
        let Self { upstreams, from, .. } = self;
        from.clear();
        from.extend((0..upstreams.len()).filter(|&upstream| upstreams[upstream].cools_until <= input.now));
        if pending.tries > 0 && from.iter().any(|&upstream| upstream != pending.last) {
            from.retain(|&upstream| upstream != pending.last);
        }
        match self.chosen(pending) {
            Some(upstream) => Choice::Upstream(upstream),
            None => pending.fallback(self.upstreams.len()).unwrap_or(Choice::Wait(ALL_COOL)),
        }
    }

    fn first_token(&mut self, upstream: usize, after: Nanos, _: Nanos) {
        self.upstreams[upstream].time(seconds(after));
    }

    fn failed(&mut self, upstream: usize, how: Failed, _: Nanos, now: Nanos) {
        let upstream = &mut self.upstreams[upstream];
        let (calls, failed) = upstream.call(false, now);
        let (often, cools) = if self.rule == Rule::Price { (0.3, 30 * SECOND) } else { (0.5, 5 * SECOND) };
        let rate_limited = how == Failed::RateLimited && self.rule != Rule::Price;
        if rate_limited || (calls >= FEWEST && failed > often) {
            upstream.cools_until = now + cools;
        }
        if how == Failed::Late {
            upstream.time(LATE);
        }
    }

    fn ended(&mut self, upstream: usize, now: Nanos) {
        self.upstreams[upstream].call(true, now);
    }
}

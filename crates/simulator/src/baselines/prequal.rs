//! Hot-cold lexicographic choice, as Prequal does it: an upstream is hot when it has more requests in flight than most of the
//! recent ones found. The fastest of the cold ones is asked, or, when all are hot, the one with the fewest in flight.
//!
//! Prequal probes its servers; here, what answers show is the probe.

use std::collections::VecDeque;

use super::engine::{Choice, Failed, PendingRequest, Rule, RuleInput, least};
use crate::{
    policy::Setup,
    time::{Nanos, seconds},
};

/// The part of recent counts in flight below which an upstream is cold.
const HOT_ABOVE: f64 = 0.84;

/// Counts in flight that are remembered for each upstream, and times to the first token.
const COUNTS: usize = 100;
const TIMES: usize = 20;

/// A failure counts at least as slow as this, in seconds.
const PENALTY: f64 = 5.0;

/// What is remembered of an upstream that was never asked: seconds to the first token, and requests in flight.
const UNKNOWN: (f64, u32) = (0.75, 8);

#[derive(Debug)]
pub(super) struct Prequal {
    counts: Vec<VecDeque<u32>>,
    times: Vec<VecDeque<f64>>,
    /// The median of each upstream's times.
    medians: Vec<f64>,
    /// For sorting, so that a choice allocates nothing.
    sorted: Vec<u32>,
}

impl Prequal {
    pub(super) fn new(setup: &Setup<'_>) -> Self {
        let upstreams = setup.upstreams.len();
        Self {
            counts: vec![VecDeque::from([UNKNOWN.1]); upstreams],
            times: vec![VecDeque::from([UNKNOWN.0]); upstreams],
            medians: vec![UNKNOWN.0; upstreams],
            sorted: Vec::new(),
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place among a few hundred"
    )]
    fn hot_from(&mut self) -> u32 {
        self.sorted.clear();
        self.sorted.extend(self.counts.iter().flatten());
        let place = (HOT_ABOVE * (self.sorted.len() - 1) as f64) as usize;
        *self.sorted.select_nth_unstable(place).1
    }

    fn time(&mut self, upstream: usize, time: f64) {
        let times = &mut self.times[upstream];
        remember(times, time, TIMES);
        let mut sorted: [f64; TIMES] = [0.0; TIMES];
        for (place, time) in sorted.iter_mut().zip(times.iter()) {
            *place = *time;
        }
        let sorted = &mut sorted[..times.len()];
        sorted.sort_unstable_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let below = sorted[(sorted.len() - 1) / 2];
        self.medians[upstream] = f64::midpoint(below, sorted[middle]);
    }
}

fn remember<T>(memory: &mut VecDeque<T>, sample: T, most: usize) {
    if memory.len() == most {
        memory.pop_front();
    }
    memory.push_back(sample);
}

impl Rule for Prequal {
    fn choose(&mut self, pending: &PendingRequest, input: &mut RuleInput<'_>) -> Choice {
        let upstreams = self.counts.len();
        if let Some(fallback) = pending.fallback(upstreams) {
            return fallback;
        }
        let hot_from = self.hot_from();
        let cold = (0..upstreams).filter(|&upstream| input.in_flight[upstream] < hot_from);
        least(cold, |upstream| self.medians[upstream])
            .or_else(|| least(0..upstreams, |upstream| f64::from(input.in_flight[upstream])))
            .map_or(Choice::Nowhere, Choice::Upstream)
    }

    fn sent(&mut self, upstream: usize, in_flight: u32) {
        remember(&mut self.counts[upstream], in_flight, COUNTS);
    }

    fn first_token(&mut self, upstream: usize, after: Nanos, _: Nanos) {
        self.time(upstream, seconds(after));
    }

    fn failed(&mut self, upstream: usize, _: Failed, after: Nanos, _: Nanos) {
        self.time(upstream, seconds(after).max(PENALTY));
    }
}

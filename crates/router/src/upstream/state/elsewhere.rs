//! What a replica reports to the others of an upstream, and what it learns from them.

use std::time::Duration;

use provider::{Capacity, Time};

use super::State;
use crate::{
    peers::{Elsewhere, ElsewhereBreaker, PeerUpstream, millis},
    upstream::UpstreamSpec,
    workers::{Polls, STALE_POLLS},
};

/// A replica goes by its own answers, and not by another one's breaker, if its latest answer is less than this part as old as that
/// one's. An upstream that is down stops to answer all replicas at about the same time.
const MORE_LATELY: f64 = 0.5;

impl State {
    /// What this replica knows of it by its own calls.
    pub(crate) fn report(&self, spec: &UpstreamSpec, now: Time) -> PeerUpstream {
        let mut state = PeerUpstream {
            id: spec.id.as_str().to_owned(),
            identity: spec.identity,
            breaker: self.breaker.report(now),
            unanswered_ms: millis(now - self.last_success.unwrap_or(Time::ZERO)),
            parked_ms: self.park.own_until(now).max(self.spent_until).map_or(0, |until| millis(until - now)),
            ..PeerUpstream::default()
        };
        self.supply.report(&mut state, now);
        state.load.in_flight = self.in_flight;
        state.totals.recoveries = self.recoveries.into();
        state
    }

    /// Takes in what other replicas did and do there. Returns whether it may have room now that it had not.
    pub(crate) fn learn(&mut self, spec: &UpstreamSpec, elsewhere: &Elsewhere, now: Time) -> bool {
        self.count_workers(spec, now);
        let has_less_load = self.supply.learn(elsewhere, self.in_flight, now);
        if let Some(until) = elsewhere.parked_until {
            self.park.learn(until, now);
        }
        for other in &elsewhere.breakers {
            self.breaker.learn(other, self.has_answered_more_lately(other, now), now);
        }
        let is_back = elsewhere.added.recoveries > 0.0;
        if is_back {
            self.breaker.may_be_back(now);
        }
        has_less_load || is_back
    }

    fn has_answered_more_lately(&self, other: &ElsewhereBreaker, now: Time) -> bool {
        self.last_success.is_some_and(|at| now - at < other.unanswered.mul_f64(MORE_LATELY))
    }

    /// Whether this replica polls it and counts its worker time from now on.
    pub(crate) fn set_polls(&mut self, spec: &UpstreamSpec, polls: Polls, now: Time) {
        self.count_workers(spec, now);
        self.workers.set_polls(polls, now);
    }

    /// The workers that this replica polled last, and how long ago; `None` if that is unknown, or another one polled them.
    pub(crate) fn polled_capacity(&self, now: Time) -> Option<(Capacity, Duration)> {
        self.workers.polled(now)
    }

    /// Records the workers that it reported to another replica, `age` ago.
    pub(crate) fn learn_capacity(&mut self, spec: &UpstreamSpec, capacity: Capacity, age: Duration, now: Time) {
        if age > spec.capacity_poll * STALE_POLLS {
            return;
        }
        self.count_workers(spec, now);
        let (at, was_unknown) = (now - age, self.supply.was_unknown(spec, now));
        if !self.supply.learn_capacity(spec, self.in_flight, (capacity, at), now) {
            return;
        }
        if was_unknown {
            self.breaker.may_be_back(now);
        }
        self.workers.learn(capacity, spec.capacity_poll, at, now);
    }
}

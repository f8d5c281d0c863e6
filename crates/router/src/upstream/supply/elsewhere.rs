//! What other replicas take of an upstream: their calls fill its slots and its limits, wake its workers and ask for them.

use provider::{Capacity, Time};

use super::Supply;
use crate::{
    peers::{Elsewhere, PeerUpstream, Totals},
    upstream::UpstreamSpec,
};

impl Supply {
    /// Calls in flight, where so many are of this replica.
    pub(crate) fn with_others(&self, in_flight: u32) -> u32 {
        in_flight.saturating_add(self.elsewhere.in_flight)
    }

    /// Puts what this replica's calls came to into its state for the others.
    pub(crate) fn report(&self, state: &mut PeerUpstream, now: Time) {
        state.totals = self.totals;
        state.load.pending_tokens = self.first_token.pending_tokens();
        self.allowance.report(state, now);
    }

    /// Takes in what other replicas did and do; `own` calls of this one are in flight. Returns whether they have fewer in flight.
    pub(crate) fn learn(&mut self, elsewhere: &Elsewhere, own: u32, now: Time) -> bool {
        let Elsewhere { added, load, .. } = elsewhere;
        self.allowance.learn(elsewhere, now);
        self.first_token.learn_elsewhere(load.pending_tokens, added.completed, now);
        self.warm_ups.learn(added, now);
        if added.expected > 0.0 {
            self.lasting.record(added.expected, now);
            self.expected_elsewhere.record(added.expected, now);
        }
        let before = std::mem::replace(&mut self.elsewhere, *load);
        let all = |elsewhere: u32| own.saturating_add(elsewhere);
        self.learn_calls(added, (all(before.in_flight), all(load.in_flight)), now);
        load.in_flight < before.in_flight
    }

    /// The workers get calls of others, and answer them. Of all replicas, `before` calls were in flight and `after` are.
    fn learn_calls(&mut self, added: &Totals, (before, after): (u32, u32), now: Time) {
        let has_begun = added.calls > 0.0 || after > before;
        if before == 0 && has_begun {
            self.capacity.called(now);
        }
        if has_begun && self.ready_workers(now) == Some(0) && !self.capacity.is_in_doubt(now) {
            self.starts.called(now);
        }
        if added.first_tokens > 0.0 {
            self.capacity.answered(now);
            self.starts.answered(now);
        }
        if after == 0 && (before > 0 || has_begun) {
            self.capacity.rests(now);
        }
    }

    /// Records the workers that it reported to another replica at `at`. Returns whether that is a later report than the one that
    /// is known: it may be passed several times.
    pub(crate) fn learn_capacity(
        &mut self,
        spec: &UpstreamSpec,
        own: u32,
        (capacity, at): (Capacity, Time),
        now: Time,
    ) -> bool {
        let known = self.capacity.report(now).map(|(_, age)| now - age);
        // Two polls are an interval apart. How long a message takes varies by less than half of it.
        let is_later = known.is_none_or(|known| at > known + spec.capacity_poll / 2);
        if is_later {
            self.record_capacity(spec, own, capacity, at);
        }
        is_later
    }
}

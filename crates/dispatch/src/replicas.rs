//! Several routers as one: what this one reports to the others, and what it learns from them.
//!
//! How the states travel is the caller's. None of this is on a request's path: it takes the lock of each group for a moment, a few
//! times a second.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use provider::Time;
use router::{PeerCapacity, PeerState, Peers, Polls};

use crate::{Router, table::Table};

/// What is known of the other replicas.
pub(crate) struct Replicas {
    /// Distinguishes the starts of replicas.
    start: u64,
    /// How many states were made.
    states: AtomicU64,
    peers: Mutex<Peers>,
    polls: Mutex<Polls>,
}

impl Replicas {
    /// None is known: this one is alone.
    pub(crate) fn new(start: u64) -> Self {
        Self { start, states: AtomicU64::new(0), peers: Mutex::new(Peers::new(start)), polls: Mutex::default() }
    }
}

impl Router {
    /// What this replica knows by itself, for the others. To be published about four times a second, and at its end once more.
    pub fn peer_state(&self) -> PeerState {
        let table = self.table.load();
        // Taken before the clock is read, so that a later number has a later state.
        let sequence = self.replicas.states.fetch_add(1, Ordering::Relaxed) + 1;
        let now = self.clock.now();
        let upstreams = table.upstreams().map(|it| table.with(it.group, |engine| engine.report_upstream(it, now)));
        let models = table.models().map(|it| table.with(it.group, |engine| engine.report_model(it)));
        PeerState {
            start: self.replicas.start,
            sequence,
            uptime_ms: u64::try_from((now - Time::ZERO).as_millis()).unwrap_or(u64::MAX),
            upstreams: upstreams.collect(),
            models: models.collect(),
        }
    }

    /// Takes in the latest states of all other replicas that live, each with what the caller knows the replica by. To be called as
    /// often as states are published, with all of them each time. One that is missing is gone: its calls in flight count no more.
    /// Where the exchange fails altogether, pass none. A state that comes twice, late or never does no harm, nor does one of this
    /// replica itself.
    pub fn learn_from_peers(&self, live: &[(&str, &PeerState)]) {
        let table = self.table.load();
        let mut peers = self.replicas.peers.lock();
        let now = self.clock.now();
        let learned = peers.learn(live, now);
        for upstream in table.upstreams() {
            table.with(upstream.group, |engine| engine.learn_upstream(upstream, &learned, now));
        }
        for model in table.models() {
            table.with(model.group, |engine| engine.learn_model(model, &learned, now));
        }
    }

    /// Whether this replica polls upstreams for their workers, counts their time and makes warm-up calls. A replica that is alone
    /// always does. Of several the holder of a lease does, until the lease ends unless it is renewed:
    /// `Polls::Until(now + lease)`, where `now` is [`Self::now`] before the lease was asked for. While nobody knows who holds it, each polls
    /// uncounted.
    pub fn set_polls_capacity(&self, polls: Polls) {
        *self.replicas.polls.lock() = polls;
        self.pass_polls(&self.table.load());
    }

    pub(crate) fn pass_polls(&self, table: &Table) {
        let (polls, now) = (*self.replicas.polls.lock(), self.clock.now());
        for upstream in table.upstreams() {
            table.with(upstream.group, |engine| engine.set_polls(upstream, polls, now));
        }
    }

    /// Whether this replica polls upstreams for their workers.
    pub(crate) fn polls_capacity(&self, now: Time) -> bool {
        self.replicas.polls.lock().poll(now)
    }

    /// Whether it does so for all replicas, and what else costs money.
    pub(crate) fn acts_for_all(&self, now: Time) -> bool {
        self.replicas.polls.lock().count(now)
    }

    /// The workers of all upstreams that this replica polled last, for the others; none if another one polls.
    pub fn capacities(&self) -> Vec<PeerCapacity> {
        let (table, now) = (self.table.load(), self.clock.now());
        if !self.acts_for_all(now) {
            return Vec::new();
        }
        let polled = table.upstreams().filter_map(|it| table.with(it.group, |engine| engine.report_capacity(it, now)));
        polled.collect()
    }

    /// Takes in the workers that another replica polled. They decide as own ones do; their time is counted where they were polled.
    /// May be called with the same ones as often as is convenient; a replica that polls itself passes over them.
    pub fn learn_capacities(&self, polled: &[PeerCapacity]) {
        let (table, now) = (self.table.load(), self.clock.now());
        if self.polls_capacity(now) {
            return;
        }
        for upstream in table.upstreams() {
            for polled in polled.iter().filter(|polled| polled.is_of(upstream)) {
                table.with(upstream.group, |engine| engine.learn_capacity(upstream, polled, now));
            }
        }
    }
}

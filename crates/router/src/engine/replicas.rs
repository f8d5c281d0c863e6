//! What the engine reports to other replicas of the router, and what it learns from them. None of it is on a request's path.

use provider::Time;

use super::Engine;
use crate::{
    peers::{Learned, PeerCapacity, PeerModel, PeerUpstream},
    table::Model,
    upstream::Upstream,
    workers::Polls,
};

impl Engine {
    /// What this replica knows of an upstream by its own calls, for the others.
    pub fn report_upstream(&mut self, upstream: &Upstream, now: Time) -> PeerUpstream {
        self.state(upstream).report(&upstream.spec, now)
    }

    /// What this replica's requests to a model came to, for the others.
    pub fn report_model(&mut self, model: &Model) -> PeerModel {
        self.model(model).report(model)
    }

    /// Takes in what other replicas did and do at an upstream: their calls count against its limits and its room, their breakers
    /// open its own, and their parks park it.
    pub fn learn_upstream(&mut self, upstream: &Upstream, learned: &Learned<'_>, now: Time) {
        if self.state(upstream).learn(&upstream.spec, &learned.elsewhere(upstream), now) {
            self.offer_room(upstream, now);
        }
    }

    /// Takes in what came of a model's requests to other replicas: all of them hold its shares together.
    pub fn learn_model(&mut self, model: &Model, learned: &Learned<'_>, now: Time) {
        self.model(model).learn(learned, model, now);
    }

    /// Whether this replica polls an upstream and counts its worker time from now on.
    pub fn set_polls(&mut self, upstream: &Upstream, polls: Polls, now: Time) {
        self.state(upstream).set_polls(&upstream.spec, polls, now);
    }

    /// The workers that this replica polled last, for the others; `None` if they are unknown, or another one polled them.
    pub fn report_capacity(&mut self, upstream: &Upstream, now: Time) -> Option<PeerCapacity> {
        let (capacity, age) = self.state(upstream).polled_capacity(now)?;
        Some(PeerCapacity::new(&upstream.spec, capacity, age))
    }

    /// Records the workers that an upstream reported to another replica. They decide as own ones do, and their time is not
    /// counted here. The same report may be passed several times.
    pub fn learn_capacity(&mut self, upstream: &Upstream, polled: &PeerCapacity, now: Time) {
        if !polled.is_of(upstream) {
            return;
        }
        self.state(upstream).learn_capacity(&upstream.spec, polled.capacity(), polled.age(), now);
        self.offer_room(upstream, now);
    }
}

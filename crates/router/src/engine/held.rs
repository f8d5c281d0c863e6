//! The requests to a model that are held, in the order in which they are offered room.
//!
//! Requests that can still be in time come first, in the order of their arrival, which is the order of their limits:
//! all requests of a model have the same SLO. The others follow, the newest first, because they are late by less. Those
//! of batches come last, the oldest first. So the waiters are kept in the order of their arrival, those of batches behind
//! the others; the list is read forwards from the first one that can be in time, then backwards from there, and then
//! from the first one of a batch. Of each of these three, the teams whose requests wait [take turns](turns): the order is that of a
//! team's own requests.
//!
//! Room is offered to one waiter at a time, until it has decided or left. If it could not use the room, or left, room
//! is offered to the next one. One waiter, the poller, has a short timer, for what changes by time alone; the others
//! wait until their patience ends. While anybody waits, room is offered to a waiter, or one is the poller.
//!
//! Room at an upstream is offered only to those that the upstream could ever serve. So a request that may cost little, or that only
//! some upstreams can do, does not keep from the others what it cannot use itself.

mod turns;
mod usable;

use std::sync::Arc;

use provider::Time;

use turns::{Class, Turns};
pub(crate) use usable::Usable;

use crate::{candidate::USUAL_SLO, table::Model, upstream::Upstream};

/// A request that has waited for this part of the SLO is not likely to be in time any more.
const MOST_WAITED: f64 = 0.3;
/// How many waiters in a row are offered the same room if none of them can use it. Another one may be able to because
/// its prompt is shorter.
const MOST_REFUSALS: u32 = 8;

/// A request that is held. They are ordered by their arrival, those of batches behind the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Waiter {
    /// Whether it is one of a batch.
    pub(crate) in_batch: bool,
    /// When it came.
    pub(crate) arrived: Time,
    /// What the driver knows it by.
    pub(crate) number: u64,
    /// Whose it is.
    pub(crate) team: Option<u64>,
    /// Where it could be served.
    pub(crate) usable: Usable,
}

/// Room at an upstream.
#[derive(Debug, Clone)]
struct Room {
    upstream: Arc<Upstream>,
    /// Its index among the targets of the model; `None` if an offer of room at another one was open: then that may be left as well.
    target: Option<usize>,
}

/// An offer of room, open until the waiter has decided or left.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    pub(super) waiter: Waiter,
    /// The upstream at which a permit is reserved for the waiter.
    pub(super) reserved_at: Option<Arc<Upstream>>,
}

/// The requests to a model that are held.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// In their order.
    waiters: Vec<Waiter>,
    turns: Turns,
    /// Their model; `None` while there are none.
    model: Option<Arc<Model>>,
    offer: Option<Offer>,
    poller: Option<Waiter>,
    /// When the poller's timer fires, whoever it is by then; `None` before one was set since it fired last.
    poll_at: Option<Time>,
    /// The room that was made last; `None` if the poller's timer fired since.
    room: Option<Room>,
    /// Whether room was made while an offer was open: then the first waiter comes next.
    has_more_room: bool,
    /// How many waiters in a row could not use the room.
    refusals: u32,
    /// The last one that looked because the poller's timer fired, if there were as many as may be and it can be served only by some
    /// upstreams: then the timer goes on with the next one.
    resume_after: Option<Waiter>,
}

impl Held {
    /// How many requests of `team`, and how many of all, are held.
    pub(super) fn len(&self, team: Option<u64>) -> (usize, usize) {
        (self.turns.held(team), self.waiters.len())
    }

    /// A request of `team` began a call, which is so many mean requests.
    pub(super) fn served(&mut self, team: Option<u64>, requests: f64) {
        if !self.waiters.is_empty() {
            self.turns.served(team, requests);
        }
    }

    /// Whether it is the turn of another team than that of `waiter`, and a request of it can be in time and could be served wherever
    /// `waiter` could: a new request waits for its own team's turn.
    pub(super) fn is_turn_of_other(&self, waiter: Waiter, now: Time) -> bool {
        self.turns.has_one_before(waiter.team)
            && self
                .first_of(now, |other| other.usable.covers(waiter.usable))
                .is_some_and(|first| self.turns.is_before(first.team, waiter.team) && self.can_be_in_time(first, now))
    }

    /// The open offer.
    pub(super) fn offer(&self) -> Option<&Offer> {
        self.offer.as_ref()
    }

    pub(super) fn has_offer(&self, waiter: Waiter) -> bool {
        self.offer().is_some_and(|offer| offer.waiter == waiter)
    }

    /// Room may have been made at `upstream`. It is offered to the first waiter, unless an offer is open.
    pub(super) fn room_made(&mut self, upstream: &Upstream, now: Time) {
        let mut targets = self.model.iter().flat_map(|model| model.targets()).enumerate();
        let Some((target, upstream)) = targets.find(|(_, target)| target.key == upstream.key) else { return };
        let is_at_other = |room: &Room| room.target != Some(target);
        let is_only_one = self.offer.is_none() || !self.room.as_ref().is_some_and(is_at_other);
        let room = Room { upstream: upstream.clone(), target: is_only_one.then_some(target) };
        (self.room, self.has_more_room) = (Some(room), true);
        if self.offer.is_none() {
            self.begin(now);
        }
    }

    /// The timer of `waiter` fired. If it is the poller, a waiter decides anew, unless an offer is open: the first one, or the one at
    /// which it was left off.
    pub(super) fn timer_fired(&mut self, waiter: Waiter, now: Time) {
        if self.poller != Some(waiter) {
            return;
        }
        self.poller = None;
        if self.offer.is_none() {
            (self.room, self.poll_at) = (None, None);
            let next = self.resume_after.take().and_then(|last| self.after(last, now));
            self.begin_with(next.or_else(|| self.first(now)), now);
        }
    }

    /// `waiter` found no target and is held from now on. Returns whether it is the poller.
    pub(super) fn add(&mut self, waiter: Waiter, model: &Arc<Model>) -> bool {
        let at = self.waiters.partition_point(|other| *other < waiter);
        self.waiters.insert(at, waiter);
        self.turns.add(waiter.team);
        self.model = Some(model.clone());
        if self.offer.is_some() || self.poller.is_some() {
            return false;
        }
        self.poller = Some(waiter);
        true
    }

    /// `waiter` decided again and goes on waiting. `may_suit_others`: another waiter may be able to use what it could
    /// not; one that could not be served everywhere says nothing about the upstreams that it does not look at. Returns
    /// whether it is the poller.
    pub(super) fn refused(&mut self, waiter: Waiter, may_suit_others: bool, now: Time) -> bool {
        if !self.has_offer(waiter) {
            return false;
        }
        self.offer = None;
        // From now on its timer is a long one, unless it becomes the poller once more.
        self.poller = self.poller.filter(|poller| *poller != waiter);
        self.refusals += 1;
        let may_suit_others = may_suit_others || !waiter.usable.has_all();
        if std::mem::take(&mut self.has_more_room) && self.first(now).is_some_and(|first| first != waiter) {
            self.begin(now);
        } else if may_suit_others && self.refusals < MOST_REFUSALS {
            self.offer_to(self.after(waiter, now), now);
        } else if self.room.is_none() && !waiter.usable.has_all() {
            self.resume_after = Some(waiter);
        }
        if self.offer.is_none() {
            self.poller = Some(waiter);
        }
        self.offer.is_none()
    }

    /// `waiter` is held no more: a call of it began, it was given up, or its client left.
    pub(super) fn remove(&mut self, waiter: Waiter, now: Time) {
        let next = self.after(waiter, now);
        if let Ok(at) = self.waiters.binary_search(&waiter) {
            self.waiters.remove(at);
            self.turns.remove(waiter.team);
        }
        for place in [&mut self.poller, &mut self.resume_after] {
            *place = place.filter(|known| *known != waiter);
        }
        if self.has_offer(waiter) {
            self.offer = None;
            if !self.has_more_room {
                self.offer_to(next, now);
            }
        }
        if self.offer.is_none() && (self.has_more_room || self.poller.is_none()) {
            self.begin(now);
        }
        if self.waiters.is_empty() {
            (self.model, self.poll_at) = (None, None);
        }
    }

    /// When the timer of the new poller is to fire: at `at`, or sooner if that of the one before it would have. So what keeps
    /// happening at one upstream keeps nobody from looking at the others.
    pub(super) fn poll_by(&mut self, at: Time) -> Time {
        let soonest = self.poll_at.map_or(at, |due| due.min(at));
        self.poll_at = Some(soonest);
        soonest
    }

    /// Room is offered to the first waiter that could use it.
    fn begin(&mut self, now: Time) {
        let mut first = self.first(now);
        if first.is_none() && self.poller.is_none() {
            // Somebody has to look for what changes by time alone.
            self.room = None;
            first = self.first(now);
        }
        self.begin_with(first, now);
    }

    fn begin_with(&mut self, waiter: Option<Waiter>, now: Time) {
        (self.refusals, self.has_more_room) = (0, false);
        self.offer_to(waiter, now);
    }

    /// Room is offered to `waiter`. A permit is reserved only for one that can be in time: a new request goes before
    /// the others.
    fn offer_to(&mut self, waiter: Option<Waiter>, now: Time) {
        let reserved_at = |waiter| {
            let room = self.room.as_ref().filter(|_| self.can_be_in_time(waiter, now));
            room.map(|room| room.upstream.clone())
        };
        self.offer = waiter.map(|waiter| Offer { waiter, reserved_at: reserved_at(waiter) });
    }

    /// Whether the room is at an upstream that could serve `waiter`, as far as that is known.
    fn can_use_room(&self, waiter: Waiter) -> bool {
        let target = self.room.as_ref().and_then(|room| room.target);
        target.is_none_or(|target| waiter.usable.contains(target))
    }

    fn can_be_in_time(&self, waiter: Waiter, now: Time) -> bool {
        let slo = self.model.as_ref().and_then(|model| model.spec.slo_first_token).unwrap_or(USUAL_SLO);
        !waiter.in_batch && now - waiter.arrived < slo.mul_f64(MOST_WAITED)
    }

    /// How many are not of a batch. They are the first ones of the list.
    fn interactive(&self) -> usize {
        self.waiters.partition_point(|waiter| !waiter.in_batch)
    }

    /// The first one that could use the room.
    fn first(&self, now: Time) -> Option<Waiter> {
        self.first_of(now, |waiter| self.can_use_room(waiter))
    }

    /// The first one of those for which `counts` is true.
    fn first_of(&self, now: Time, counts: impl Fn(Waiter) -> bool) -> Option<Waiter> {
        self.classes(now).into_iter().find_map(|class| self.turns.first(class, &counts))
    }

    /// The one after `waiter` that could use the room.
    fn after(&self, waiter: Waiter, now: Time) -> Option<Waiter> {
        let classes = self.classes(now);
        let own = match (waiter.in_batch, self.can_be_in_time(waiter, now)) {
            (true, _) => 2,
            (false, true) => 0,
            (false, false) => 1,
        };
        let counts = |waiter| self.can_use_room(waiter);
        let others = || classes[own + 1..].iter().find_map(|class| self.turns.first(*class, counts));
        self.turns.after(classes[own], waiter, counts).or_else(others)
    }

    /// Those that can be in time, those that are late, and those of batches.
    fn classes(&self, now: Time) -> [Class<'_>; 3] {
        let (waiters, of_batches) = self.waiters.split_at(self.interactive());
        let (late, in_time) = waiters.split_at(self.late(waiters, now));
        [(in_time, false), (late, true), (of_batches, false)]
            .map(|(waiters, is_reversed)| Class { waiters, is_reversed })
    }

    /// How many of those that are not of a batch are late. They are the first ones.
    fn late(&self, interactive: &[Waiter], now: Time) -> usize {
        interactive.partition_point(|waiter| !self.can_be_in_time(*waiter, now))
    }
}

#[cfg(test)]
mod tests;

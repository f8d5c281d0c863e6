//! Holding: a request that no target is worth a call for waits until there is room for it.

use std::time::Duration;

use provider::Time;
use rand::{Rng, RngExt};

use super::{
    Engine,
    fallback::{LEAST_TIME, max_unavailable_wait},
    held::{Held, Offer, Usable},
};
use crate::{
    candidate::{Excluded, NoCandidate, can_serve},
    request::RequestState,
    upstream::{self, Blocked, Upstream},
};

/// How long a request is held.
const LONGEST_HOLD: Duration = Duration::from_secs(30);
/// After this many seconds, one of the requests that are held looks for a target even if nothing happened; sooner if
/// it is known when a target may be free.
const POLL_AFTER_S: std::ops::Range<f64> = 0.05..0.1;
/// A poll that is due when a request begins to wait again is this late, so that time passes between two looks.
const LEAST_POLL: Duration = Duration::from_millis(1);
/// Most requests of a team to a model that are held, and most of all teams: one alone does not keep the others from waiting.
const MOST_HELD: usize = 4096;
const MOST_HELD_OF_ALL: usize = 4 * MOST_HELD;

impl Engine {
    /// Takes the number of a request that is to be woken; to be called after every event until there is none. If that
    /// request still waits, the driver calls [`Self::timer`] for it.
    pub fn take_woken(&mut self) -> Option<u64> {
        self.woken.pop()
    }

    /// Until when to hold a request that no target is worth a call for at this moment; `None` if it is not to be held.
    pub(super) fn hold(
        &mut self,
        request: &mut RequestState,
        none: NoCandidate,
        now: Time,
        rng: &mut dyn Rng,
    ) -> Option<Time> {
        if !request.strategy().looks_ahead() || request.history.named().is_some() {
            return None;
        }
        let free_at = match none {
            NoCandidate::Late | NoCandidate::Full => now,
            NoCandidate::Blocked(until) if until <= now + max_unavailable_wait(request) => until,
            NoCandidate::Blocked(_)
            | NoCandidate::Repeatable
            | NoCandidate::Exhausted
            | NoCandidate::Unsupported(_)
            | NoCandidate::ContextOverflow(_)
            | NoCandidate::TooDear(_) => return None,
        };
        let poll_at = now + Duration::from_secs_f64(rng.random_range(POLL_AFTER_S));
        let poll_at = if free_at > now { free_at.min(poll_at) } else { poll_at };
        // A failure after a long wait is no reason to give up at once.
        let held_since = request.held_since.unwrap_or(now);
        // What is left after the last look is enough for a call.
        let last_look = ((held_since + LONGEST_HOLD).min(request.deadline) - Time::ZERO).saturating_sub(LEAST_TIME);
        let last_look = Time::ZERO + last_look;
        let (of_team, all) = self.model(&request.model).held.len(request.facts.team);
        let is_full = !request.is_held && (of_team >= MOST_HELD || all >= MOST_HELD_OF_ALL);
        if free_at.max(poll_at) > last_look || is_full {
            return None;
        }
        // The first call to an upstream is free. A repeat draws on the budget, also after it was held.
        if !request.history.has_fresh() && request.attempts() > request.paid {
            if !self.budget.withdraw(now) {
                return None;
            }
            request.paid = request.attempts();
        }
        let is_poller = self.queue(request, now);
        request.held_since = Some(held_since);
        request.last_look = last_look;
        Some(if is_poller { self.model(&request.model).held.poll_by(poll_at).max(now + LEAST_POLL) } else { last_look })
    }

    /// The request waits among those that are held. Returns whether it is the one that polls.
    fn queue(&mut self, request: &mut RequestState, now: Time) -> bool {
        if request.is_held {
            let (waiter, may_suit_others) = (request.waiter(), self.may_suit_others());
            return self.change_held(request, |held| held.refused(waiter, may_suit_others, now));
        }
        request.is_held = true;
        request.usable = usable(request);
        self.held += 1;
        let (waiter, model) = (request.waiter(), request.model.clone());
        self.change_held(request, |held| held.add(waiter, &model))
    }

    /// If requests of teams that have been served less wait, and can be in time, a new one waits for its own team's turn. Until when;
    /// `None` if it decides now.
    pub(super) fn waits_for_turn(&mut self, request: &mut RequestState, now: Time, rng: &mut dyn Rng) -> Option<Time> {
        if self.held == 0 {
            return None;
        }
        request.usable = usable(request);
        let waiter = request.waiter();
        if !self.model(&request.model).held.is_turn_of_other(waiter, now) {
            return None;
        }
        self.hold(request, NoCandidate::Full, now, rng)
    }

    /// Until when the request goes on waiting after its timer fired or it was woken; `None` if it decides now.
    pub(super) fn goes_on_waiting(&mut self, request: &mut RequestState, now: Time) -> Option<Time> {
        let is_due = now >= request.waits_until;
        if !request.is_held {
            return (!is_due).then_some(request.waits_until);
        }
        let waiter = request.waiter();
        if self.model(&request.model).held.has_offer(waiter) || now >= request.last_look {
            return None;
        }
        if !is_due {
            return Some(request.waits_until);
        }
        self.change_held(request, |held| held.timer_fired(waiter, now));
        if self.model(&request.model).held.has_offer(waiter) {
            // It decides now, so that it is not to be woken.
            self.woken.pop();
            return None;
        }
        Some(request.last_look)
    }

    /// The request is held no more.
    pub(super) fn release(&mut self, request: &mut RequestState, now: Time) {
        if !std::mem::take(&mut request.is_held) {
            return;
        }
        self.held -= 1;
        let waiter = request.waiter();
        self.change_held(request, |held| held.remove(waiter, now));
    }

    /// An upstream may have room that it had not.
    pub(super) fn offer_room(&mut self, upstream: &Upstream, now: Time) {
        if self.held == 0 {
            return;
        }
        let Self { models, upstreams, woken, .. } = self;
        let state = upstreams.of(&upstream.key, || upstream::State::new(&upstream.spec));
        for held in models.iter_mut().map(|known| &mut known.held) {
            let had_offer = held.offer().is_some();
            held.room_made(upstream, now);
            let Some(offer) = held.offer().filter(|_| !had_offer) else { continue };
            woken.push(offer.waiter.number);
            if offer.reserved_at.is_some() {
                state.reserve();
            }
        }
    }

    /// Changes who waits for the model of `request`. If room is then offered to another waiter, that one is woken, and
    /// the reserved permit is its.
    fn change_held<R>(&mut self, request: &RequestState, change: impl FnOnce(&mut Held) -> R) -> R {
        let held = &mut self.model(&request.model).held;
        let before = held.offer().cloned();
        let result = change(held);
        let after = held.offer().cloned();
        let waiter = |offer: &Option<Offer>| offer.as_ref().map(|offer| offer.waiter);
        if waiter(&before) == waiter(&after) {
            return result;
        }
        self.woken.extend(waiter(&after).map(|waiter| waiter.number));
        if let Some(upstream) = before.and_then(|offer| offer.reserved_at) {
            self.state(&upstream).unreserve();
        }
        if let Some(upstream) = after.and_then(|offer| offer.reserved_at) {
            self.state(&upstream).reserve();
        }
        result
    }

    /// Whether the latest decision found no target for a reason that may not be one for another request.
    fn may_suit_others(&self) -> bool {
        let is_for_all = |(_, why): &(usize, Excluded)| {
            // It yields to requests that may still be in time and were denied a call a moment ago.
            matches!(why, Excluded::Yields | Excluded::Blocked(Blocked::Broken(_) | Blocked::Parked(_) | Blocked::Full))
        };
        !self.decision.candidates.is_empty() || !self.decision.excluded.iter().all(is_for_all)
    }
}

/// Which targets could ever serve the request.
fn usable(request: &RequestState) -> Usable {
    let RequestState { model, facts, history, .. } = request;
    Usable::new(model.targets().len(), |target| can_serve(model, facts, history, target))
}

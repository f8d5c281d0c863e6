//! Whose turn it is among the teams of which requests are held: each gets as much as any other one, however many requests it has.
//!
//! A team's next request comes after as much as the team was served since its requests began to wait (start-time fair queuing, Goyal
//! et al., 1996, which is deficit round-robin without a fixed round). What it did not use while nothing of it waited is not saved
//! up. Within a team the order is that of the list. Where one team waits alone, that is the order.

use smallvec::SmallVec;

use super::Waiter;
use crate::knowledge::real;

/// The teams of which requests are held or were, until none is held any more.
#[derive(Debug, Default)]
pub(super) struct Turns(Vec<Team>);

#[derive(Debug)]
struct Team {
    id: Option<u64>,
    /// How much it was served, in mean requests.
    served: f64,
    /// How many of its requests are held.
    waiting: usize,
}

/// Some of the waiters in the order in which one team would be served.
#[derive(Debug, Clone, Copy)]
pub(super) struct Class<'a> {
    pub(super) waiters: &'a [Waiter],
    pub(super) is_reversed: bool,
}

impl<'a> Class<'a> {
    fn len(&self) -> usize {
        self.waiters.len()
    }

    fn get(&self, place: usize) -> Option<Waiter> {
        let at = if self.is_reversed { self.len().checked_sub(place + 1)? } else { place };
        self.waiters.get(at).copied()
    }

    /// Those from a place on.
    fn from(self, place: usize) -> impl Iterator<Item = Waiter> + use<'a> {
        (place..self.len()).filter_map(move |place| self.get(place))
    }

    fn place(&self, waiter: Waiter) -> Option<usize> {
        let at = self.waiters.binary_search(&waiter).ok()?;
        Some(if self.is_reversed { self.len() - 1 - at } else { at })
    }
}

impl Turns {
    /// A request of `team` is held.
    pub(super) fn add(&mut self, team: Option<u64>) {
        let least = self.waiting().map(|team| team.served).reduce(f64::min).unwrap_or_default();
        match self.0.iter_mut().find(|known| known.id == team) {
            Some(known) => {
                if known.waiting == 0 {
                    known.served = known.served.max(least);
                }
                known.waiting += 1;
            }
            None => self.0.push(Team { id: team, served: least, waiting: 1 }),
        }
    }

    /// A request of `team` is held no more.
    pub(super) fn remove(&mut self, team: Option<u64>) {
        if let Some(known) = self.0.iter_mut().find(|known| known.id == team) {
            known.waiting = known.waiting.saturating_sub(1);
        }
        if self.waiting().next().is_none() {
            self.0.clear();
        }
    }

    /// A request of `team` began a call, which is so many mean requests. Of account only while others wait.
    pub(super) fn served(&mut self, team: Option<u64>, requests: f64) {
        let Some(least) = self.waiting().map(|team| team.served).reduce(f64::min) else { return };
        match self.0.iter_mut().find(|known| known.id == team) {
            Some(known) if known.waiting > 0 => known.served += requests,
            Some(known) => known.served = known.served.max(least) + requests,
            None => self.0.push(Team { id: team, served: least + requests, waiting: 0 }),
        }
    }

    /// How many requests of `team` are held.
    pub(super) fn held(&self, team: Option<u64>) -> usize {
        self.0.iter().find(|known| known.id == team).map_or(0, |known| known.waiting)
    }

    /// Whether a team of which requests are held has been served less than `team` by a request or more.
    pub(super) fn has_one_before(&self, team: Option<u64>) -> bool {
        self.waiting().any(|other| self.is_before(other.id, team))
    }

    /// Whether `other` has been served less than `team` by a request or more.
    pub(super) fn is_before(&self, other: Option<u64>, team: Option<u64>) -> bool {
        let served = |team| self.0.iter().find(|known| known.id == team).map(|known| known.served);
        served(other).zip(served(team)).is_some_and(|(other, own)| other + 1.0 <= own)
    }

    /// The waiter of a class that comes first of those for which `counts` is true.
    pub(super) fn first(&self, class: Class<'_>, counts: impl Fn(Waiter) -> bool) -> Option<Waiter> {
        if self.is_one() {
            return class.from(0).find(|waiter| counts(*waiter));
        }
        self.next(class, None, counts)
    }

    /// The same of those that come after `waiter`, which is one of the class.
    pub(super) fn after(&self, class: Class<'_>, waiter: Waiter, counts: impl Fn(Waiter) -> bool) -> Option<Waiter> {
        let place = class.place(waiter)?;
        if self.is_one() {
            return class.from(place + 1).find(|waiter| counts(*waiter));
        }
        let before = (0..place).filter_map(|at| class.get(at)).filter(|other| other.team == waiter.team).count();
        self.next(class, Some((self.turn(waiter.team, before), place)), counts)
    }

    /// The waiter of a class whose turn, then place, is the lowest above `above`, of those for which `counts` is true.
    fn next(&self, class: Class<'_>, above: Option<(f64, usize)>, counts: impl Fn(Waiter) -> bool) -> Option<Waiter> {
        let mut before: SmallVec<[usize; 8]> = SmallVec::from_elem(0, self.0.len());
        let mut best: Option<(f64, usize)> = None;
        for (place, waiter) in (0..class.len()).filter_map(|place| Some((place, class.get(place)?))) {
            let Some(team) = self.0.iter().position(|known| known.id == waiter.team) else { continue };
            let turn = (self.turn(waiter.team, before[team]), place);
            before[team] += 1;
            if above.is_none_or(|above| turn > above) && best.is_none_or(|best| turn < best) && counts(waiter) {
                best = Some(turn);
            }
        }
        class.get(best?.1)
    }

    /// The turn of a team's request that comes after so many others of it.
    fn turn(&self, team: Option<u64>, before: usize) -> f64 {
        let served = self.0.iter().find(|known| known.id == team).map_or(0.0, |known| known.served);
        served + real(before as u64)
    }

    fn is_one(&self) -> bool {
        self.waiting().nth(1).is_none()
    }

    fn waiting(&self) -> impl Iterator<Item = &Team> {
        self.0.iter().filter(|team| team.waiting > 0)
    }
}

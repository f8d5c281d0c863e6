//! What is still to happen, in order of time; what is to happen at one instant keeps the order in which it was planned.

use std::{cmp::Ordering, collections::BinaryHeap};

use crate::time::{NEVER, Nanos};

/// Things to happen.
#[derive(Debug)]
pub(crate) struct Timeline<T> {
    heap: BinaryHeap<Planned<T>>,
    planned: u64,
}

#[derive(Debug)]
struct Planned<T> {
    /// The time, and below it the number of the plan: one number, because the heap compares little else.
    order: u128,
    what: T,
}

impl<T> Planned<T> {
    const fn at(&self) -> Nanos {
        (self.order >> 64) as Nanos
    }
}

impl<T> Timeline<T> {
    pub(crate) const fn new() -> Self {
        Self { heap: BinaryHeap::new(), planned: 0 }
    }

    /// Plans `what` for `at`.
    pub(crate) fn plan(&mut self, at: Nanos, what: T) {
        self.heap.push(Planned { order: u128::from(at) << 64 | u128::from(self.planned), what });
        self.planned += 1;
    }

    /// When the next thing happens.
    pub(crate) fn next_at(&self) -> Nanos {
        self.heap.peek().map_or(NEVER, Planned::at)
    }

    /// Takes the next thing out.
    pub(crate) fn next(&mut self) -> Option<(Nanos, T)> {
        self.heap.pop().map(|next| (next.at(), next.what))
    }
}

/// A heap gives its greatest first, and the greatest here is the earliest.
impl<T> Ord for Planned<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.order.cmp(&self.order)
    }
}

impl<T> PartialOrd for Planned<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Planned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl<T> Eq for Planned<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_happen_in_order_of_time_and_then_of_planning() {
        let mut timeline = Timeline::new();
        for (at, what) in [(5, 'c'), (1, 'a'), (5, 'd'), (3, 'b'), (5, 'e')] {
            timeline.plan(at, what);
        }
        assert_eq!(timeline.next_at(), 1);
        let order: String = std::iter::from_fn(|| timeline.next()).map(|(_, what)| what).collect();
        assert_eq!(order, "abcde");
        assert_eq!(timeline.next_at(), NEVER);
    }
}

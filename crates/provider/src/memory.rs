//! The memory that the bodies and held answers of the process may take together, and the part of it that one client may take.
//!
//! No request waits for memory: what does not fit is refused at once. What was reserved is given back when its guard is
//! dropped, or the last copy of the bytes that it was attached to.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use bytes::Bytes;

use crate::{Error, ErrorKind};

/// A number of bytes that are shared out. Copies share the same bytes.
#[derive(Debug, Clone)]
pub struct MemoryBudget(Arc<Account>);

#[derive(Debug)]
struct Account {
    limit: AtomicUsize,
    used: AtomicUsize,
    refusals: AtomicU64,
    /// The budget that this one is a part of, and which part; `None` for a whole budget.
    whole: Option<(MemoryBudget, usize)>,
}

/// The budget has no room for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the router has no memory for more requests and answers: try again in a moment")]
pub struct NoMemory;

impl From<NoMemory> for Error {
    fn from(none: NoMemory) -> Self {
        Self::new(ErrorKind::NoMemory, none.to_string())
    }
}

/// Without a limit.
impl Default for MemoryBudget {
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl MemoryBudget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self::of(limit, None)
    }

    /// A budget of one part in `parts` of this one, from which it also takes: its holder can use no more of the whole.
    #[must_use]
    pub fn part(&self, parts: usize) -> Self {
        Self::of(usize::MAX, Some((self.clone(), parts.max(1))))
    }

    fn of(limit: usize, whole: Option<(Self, usize)>) -> Self {
        let (limit, used, refusals) = (AtomicUsize::new(limit), AtomicUsize::new(0), AtomicU64::new(0));
        Self(Arc::new(Account { limit, used, refusals, whole }))
    }

    /// Most bytes that may be reserved.
    pub fn limit(&self) -> usize {
        let own = self.0.limit.load(Ordering::Relaxed);
        self.0.whole.as_ref().map_or(own, |(whole, parts)| own.min(whole.limit() / parts))
    }

    /// Sets another limit. What is reserved beyond it already stays reserved.
    pub fn set_limit(&self, limit: usize) {
        self.0.limit.store(limit, Ordering::Relaxed);
    }

    /// Bytes that are reserved now.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Acquire)
    }

    /// How often there was no room, in this budget or a part of it.
    pub fn refusals(&self) -> u64 {
        self.0.refusals.load(Ordering::Relaxed)
    }

    /// Reserves `bytes`.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn reserve(&self, bytes: usize) -> Result<Reservation, NoMemory> {
        let mut reservation = self.nothing();
        reservation.resize(bytes)?;
        Ok(reservation)
    }

    /// A reservation of no bytes, to be resized.
    pub fn nothing(&self) -> Reservation {
        Reservation { budget: self.clone(), bytes: 0 }
    }

    /// Fails if `bytes` do not fit at this moment; reserves nothing.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn check(&self, bytes: usize) -> Result<(), NoMemory> {
        if self.used().checked_add(bytes).is_none_or(|used| used > self.limit()) {
            return Err(self.refused());
        }
        self.0.whole.as_ref().map_or(Ok(()), |(whole, _)| whole.check(bytes))
    }

    fn refused(&self) -> NoMemory {
        if let Some((whole, _)) = &self.0.whole {
            return whole.refused();
        }
        self.0.refusals.fetch_add(1, Ordering::Relaxed);
        NoMemory
    }

    fn take(&self, bytes: usize) -> Result<(), NoMemory> {
        let limit = self.limit();
        let add = |used: usize| used.checked_add(bytes).filter(|used| *used <= limit);
        if self.0.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).is_err() {
            return Err(self.refused());
        }
        let Some((whole, _)) = &self.0.whole else { return Ok(()) };
        whole.take(bytes).inspect_err(|_| {
            self.0.used.fetch_sub(bytes, Ordering::AcqRel);
        })
    }

    fn give_back(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Ordering::AcqRel);
        if let Some((whole, _)) = &self.0.whole {
            whole.give_back(bytes);
        }
    }
}

/// Bytes that are reserved until this is dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: MemoryBudget,
    bytes: usize,
}

impl Reservation {
    /// The budget that it is part of.
    pub fn budget(&self) -> &MemoryBudget {
        &self.budget
    }

    /// How many bytes it is.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes it one of `bytes`. Shrinking never fails; a reservation that cannot grow stays as it was.
    ///
    /// # Errors
    /// If the growth does not fit.
    pub fn resize(&mut self, bytes: usize) -> Result<(), NoMemory> {
        match bytes.checked_sub(self.bytes) {
            Some(0) => {}
            Some(more) => self.budget.take(more)?,
            None => self.budget.give_back(self.bytes - bytes),
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Adds what `other` has reserved of the same budget.
    pub fn merge(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// The same bytes, for which this stays reserved until their last copy is dropped.
    pub fn attach(self, bytes: Bytes) -> Bytes {
        if self.bytes == 0 {
            return bytes;
        }
        Bytes::from_owner(Counted { bytes, _reservation: self })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.give_back(self.bytes);
        }
    }
}

/// Bytes and what is reserved for them.
struct Counted {
    bytes: Bytes,
    _reservation: Reservation,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_takes_nothing() {
        let budget = MemoryBudget::new(100);
        let mut first = budget.reserve(60).expect("fits");
        assert_eq!(budget.reserve(41).expect_err("too much"), NoMemory);
        assert_eq!(budget.check(41), Err(NoMemory));
        assert_eq!(first.resize(101), Err(NoMemory));
        assert_eq!((budget.used(), first.bytes(), budget.refusals()), (60, 60, 3));
        first.resize(100).expect("all of it");
        assert_eq!(budget.reserve(usize::MAX).expect_err("too much"), NoMemory, "the sum must not wrap round");
        drop(first);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn attached_bytes_are_counted_until_the_last_slice_of_them_is_gone() {
        let budget = MemoryBudget::new(100);
        let whole = budget.reserve(6).expect("fits").attach(Bytes::from_static(b"abcdef"));
        let part = whole.slice(2..4);
        drop(whole);
        assert_eq!((&part[..], budget.used()), (&b"cd"[..], 6));
        drop(part);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_lower_limit_only_refuses_what_comes_then() {
        let budget = MemoryBudget::new(100);
        let held = budget.reserve(80).expect("fits");
        budget.set_limit(50);
        assert_eq!(budget.reserve(1).expect_err("beyond"), NoMemory);
        drop(held);
        assert_eq!(budget.reserve(50).expect("fits").bytes(), 50);
    }

    #[test]
    fn a_part_takes_from_the_whole_and_no_more_than_its_own() {
        let whole = MemoryBudget::new(100);
        let (one, other) = (whole.part(2), whole.part(2));
        let held = one.reserve(50).expect("half");
        assert_eq!((one.check(1), one.reserve(1).expect_err("beyond")), (Err(NoMemory), NoMemory));
        let beside = whole.reserve(30).expect("the rest");
        assert_eq!((other.check(21), other.reserve(21).expect_err("gone")), (Err(NoMemory), NoMemory));
        assert_eq!((other.used(), whole.refusals()), (0, 4));
        whole.set_limit(200);
        assert_eq!(one.reserve(50).expect("half of more").bytes(), 50);
        drop((held, beside));
        assert_eq!((one.used(), whole.used()), (0, 0));
    }

    proptest! {
        #[test]
        fn what_is_used_is_the_sum_of_what_is_held(steps in proptest::collection::vec((0..4_usize, 0..60_usize), 0..40)) {
            let budget = MemoryBudget::new(100);
            let mut held: Vec<Reservation> = Vec::new();
            for (step, bytes) in steps {
                match step {
                    0 => held.extend(budget.reserve(bytes)),
                    1 => drop(held.pop()),
                    2 => drop(held.last_mut().map(|last| last.resize(bytes))),
                    _ => if let (Some(one), Some(mut other)) = (held.pop(), held.pop()) {
                        other.merge(one);
                        held.push(other);
                    },
                }
                prop_assert_eq!(budget.used(), held.iter().map(Reservation::bytes).sum::<usize>());
                prop_assert!(budget.used() <= 100);
            }
        }
    }
}

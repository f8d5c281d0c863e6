//! The memory that the bodies and held answers of the process may take together.
//!
//! Nobody waits for memory: what does not fit is refused at once. What was reserved is given back when its guard is dropped, or
//! the last copy of the bytes that it was attached to.

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
        Self(Arc::new(Account {
            limit: AtomicUsize::new(limit),
            used: AtomicUsize::new(0),
            refusals: AtomicU64::new(0),
        }))
    }

    /// Most bytes that may be reserved.
    pub fn limit(&self) -> usize {
        self.0.limit.load(Ordering::Relaxed)
    }

    /// Sets another limit. What is reserved beyond it already stays reserved.
    pub fn set_limit(&self, limit: usize) {
        self.0.limit.store(limit, Ordering::Relaxed);
    }

    /// Bytes that are reserved now.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Acquire)
    }

    /// How often there was no room.
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
        if self.used().checked_add(bytes).is_some_and(|used| used <= self.limit()) {
            return Ok(());
        }
        Err(self.refused())
    }

    fn refused(&self) -> NoMemory {
        self.0.refusals.fetch_add(1, Ordering::Relaxed);
        NoMemory
    }

    fn take(&self, bytes: usize) -> Result<(), NoMemory> {
        let limit = self.limit();
        let add = |used: usize| used.checked_add(bytes).filter(|used| *used <= limit);
        match self.0.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, add) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.refused()),
        }
    }

    fn give_back(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Ordering::AcqRel);
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

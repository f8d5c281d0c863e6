//! A pool of a limited number of permits for work under way. Those that wait get one in the order in which they came.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A number of permits that are given out and come back.
pub(crate) struct PermitPool {
    semaphore: Arc<Semaphore>,
    size: AtomicUsize,
    /// Permits that are taken although the pool became smaller: when dropped, they do not return to it.
    excess: AtomicUsize,
}

/// Permission for one request, or for several calls, to be under way; given back when dropped.
pub(crate) struct Permit {
    permit: Option<OwnedSemaphorePermit>,
    pool: Arc<PermitPool>,
}

impl PermitPool {
    pub(crate) fn new(size: usize) -> Arc<Self> {
        let semaphore = Arc::new(Semaphore::new(size));
        Arc::new(Self { semaphore, size: AtomicUsize::new(size), excess: AtomicUsize::new(0) })
    }

    /// A permit, if one is free and no other caller waits for it.
    pub(crate) fn try_take(self: &Arc<Self>) -> Option<Permit> {
        let permit = self.semaphore.clone().try_acquire_owned().ok()?;
        Some(Permit { permit: Some(permit), pool: self.clone() })
    }

    /// Waits for a permit that stands for so many, which it gets all at once.
    pub(crate) async fn take(self: &Arc<Self>, number: u32) -> Permit {
        // An error would mean that the semaphore was closed, which it never is.
        let permit = self.semaphore.clone().acquire_many_owned(number).await.ok();
        Permit { permit, pool: self.clone() }
    }

    /// How many are out.
    pub(crate) fn taken(&self) -> usize {
        let all = self.size.load(Ordering::Acquire) + self.excess.load(Ordering::Acquire);
        all.saturating_sub(self.semaphore.available_permits())
    }

    /// Makes it a pool of `size`. Permits that are taken stay valid. Not to be called twice at a time.
    pub(crate) fn resize(&self, size: usize) {
        let before = self.size.swap(size, Ordering::AcqRel);
        if let Some(fewer) = before.checked_sub(size) {
            let gone = self.semaphore.forget_permits(fewer);
            self.excess.fetch_add(fewer - gone, Ordering::AcqRel);
            return;
        }
        let more = (before..size).filter(|_| !self.drop_excess()).count();
        self.semaphore.add_permits(more);
    }

    /// Reduces the excess by one, if there is any.
    fn drop_excess(&self) -> bool {
        let less = |excess: usize| excess.checked_sub(1);
        self.excess.load(Ordering::Acquire) > 0
            && self.excess.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).is_ok()
    }
}

impl Permit {
    /// Extends it by `more` permits, if they are free and no other caller waits for them; returns whether it did.
    pub(crate) fn extend(&mut self, more: u32) -> bool {
        let taken = self.pool.semaphore.clone().try_acquire_many_owned(more);
        let (Some(own), Ok(taken)) = (&mut self.permit, taken) else { return false };
        own.merge(taken);
        true
    }

    /// Reduces it by `fewer` permits.
    pub(crate) fn shrink(&mut self, fewer: u32) {
        let given_back = self.permit.as_mut().and_then(|own| own.split(usize::try_from(fewer).ok()?));
        drop(Self { permit: given_back, pool: self.pool.clone() });
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(mut permit) = self.permit.take() else { return };
        let struck = (0..permit.num_permits()).filter(|_| self.pool.drop_excess()).count();
        if let Some(struck) = permit.split(struck) {
            struck.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn those_who_wait_come_first_and_in_their_order() {
        let pool = PermitPool::new(1);
        let held = pool.take(1).await;
        let (mut first, mut second) = (Box::pin(pool.take(1)), Box::pin(pool.take(1)));
        assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
        drop(held);
        assert!(pool.try_take().is_none(), "it is the first one's");
        assert!(poll!(&mut second).is_pending());
        drop(first.await);
        drop(second.await);
        assert_eq!((pool.taken(), pool.try_take().is_some()), (0, true));
    }

    #[tokio::test]
    async fn a_waiter_that_gives_up_blocks_no_other() {
        let pool = PermitPool::new(1);
        let held = pool.take(1).await;
        let (mut first, mut second) = (Box::pin(pool.take(1)), Box::pin(pool.take(1)));
        assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
        drop(first);
        drop(held);
        assert!(poll!(&mut second).is_ready());
    }

    #[test]
    fn a_pool_may_shrink_and_grow_while_permits_are_out() {
        let pool = PermitPool::new(3);
        let mut out: Vec<_> = (0..3).filter_map(|_| pool.try_take()).collect();
        pool.resize(1);
        assert_eq!(pool.taken(), 3);
        out.pop();
        out.pop();
        assert_eq!((pool.taken(), pool.try_take().is_some()), (1, false), "the last one that is out is the only one");
        pool.resize(2);
        assert!(pool.try_take().is_some());
        out.clear();
        out.extend((0..9).filter_map(|_| pool.try_take()));
        assert_eq!(out.len(), 2);
        pool.resize(0);
        pool.resize(1);
        out.clear();
        assert_eq!((0..9).filter_map(|_| pool.try_take()).collect::<Vec<_>>().len(), 1);
    }
}

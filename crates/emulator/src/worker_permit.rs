//! A request's permit at a worker: waits for what [`crate::fleet`] decides. Dropping a permit, or the wait for one, returns
//! it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    face::Face,
    fleet::{Assignment, Load},
    state::{Shared, State},
};

/// A permit for one request at a worker.
#[derive(Debug)]
pub(crate) struct WorkerPermit {
    waiter: Waiter,
    pub(crate) worker: usize,
    load: Arc<Load>,
}

impl WorkerPermit {
    /// Waits for a worker, at most as long as the face allows; `None` when that time is over, or everything was broken off.
    pub(crate) async fn take(state: &Shared, face: Face) -> Option<Self> {
        let this = state.face(face);
        let severed = this.severed.load(Ordering::Relaxed);
        let waiter = Waiter { state: Arc::clone(state), face, number: this.fleet.lock().enter(), severed };
        let deadline = this.profile.max_wait.map(|wait| Instant::now() + wait);
        loop {
            let changed = this.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // Listening starts before the look, or a change between the two would be missed.
            changed.as_mut().enable();
            if waiter.is_severed() {
                return None;
            }
            let now = Instant::now();
            let assignment = this.fleet.lock().poll(waiter.number, now);
            let wake = match assignment {
                Assignment::At(worker, load) => return Some(Self { waiter, worker, load }),
                Assignment::Waiting(_) if deadline.is_some_and(|deadline| deadline <= now) => return None,
                Assignment::Waiting(wake) => [wake, deadline].into_iter().flatten().min(),
            };
            let Some(wake) = wake else {
                changed.await;
                continue;
            };
            tokio::select! {
                () = changed => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Requests at the same worker, this one included.
    pub(crate) fn load(&self) -> u32 {
        self.load.requests()
    }

    /// Whether everything was broken off since the request came.
    pub(crate) fn is_severed(&self) -> bool {
        self.waiter.is_severed()
    }

    /// Reads a prompt, which takes so long; at RunPod the prompts of a worker are read one after the other.
    pub(crate) async fn read_prompt(&self, takes: Duration) {
        if takes.is_zero() {
            return;
        }
        let reads_in_turn = self.state().face(self.waiter.face).profile.reads_in_turn;
        let _turn = if reads_in_turn { Some(self.load.reading.lock().await) } else { None };
        if !self.is_severed() {
            sleep(takes).await;
        }
    }

    pub(crate) const fn state(&self) -> &Arc<State> {
        &self.waiter.state
    }
}

#[derive(Debug)]
struct Waiter {
    state: Shared,
    face: Face,
    number: u64,
    /// How many times everything was broken off before it came.
    severed: u64,
}

impl Waiter {
    fn is_severed(&self) -> bool {
        self.state.face(self.face).severed.load(Ordering::Relaxed) != self.severed
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let this = self.state.face(self.face);
        let others_wait = this.fleet.lock().leave(self.number, Instant::now());
        if others_wait {
            this.changed.notify_waiters();
        }
    }
}

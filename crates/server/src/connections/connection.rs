//! The time limits of one connection, shared by its stream and the requests that come over it.
//!
//! The bytes are never looked at. A byte that comes while no request of the connection is in a handler belongs to the
//! next head, or to the rest of a body that is not read any more: each has its time limit. A request is in its handler
//! until its answer's body has ended. Pipelined requests are read and wait behind the first one; the time limit of that
//! one covers their heads.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::closed::Reason;

/// The time limits of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// From the first byte of a head to its last, and from the opening of the connection to its first byte.
    pub(crate) head: Duration,
    /// From the end of an answer to the first byte of the next request.
    pub(crate) idle: Duration,
    /// From the last byte that the client took to the next, while bytes wait for it.
    pub(crate) stall: Duration,
}

impl Times {
    /// The shortest: what is due is never nearer.
    fn shortest(self) -> Duration {
        self.head.min(self.idle).min(self.stall)
    }
}

/// What happens on the reading side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing came yet, or nothing since the last answer.
    Silent { until: Instant },
    /// Bytes came while no request was in a handler.
    Head { until: Instant },
    /// A request is in a handler, or its answer's body has not ended.
    Request,
}

/// A client's connection.
pub(crate) struct Connection {
    times: Times,
    phase: Cell<Phase>,
    /// Since when bytes have waited for the client without any being taken.
    blocked: Cell<Option<Instant>>,
    /// Whether an answer began that is not written to its end.
    is_answering: Cell<bool>,
    /// How many connections of the process are answering.
    answering: Arc<AtomicU32>,
    /// Dropped once all that was encoded so far is written.
    held: RefCell<Vec<Box<dyn Any>>>,
}

impl Connection {
    pub(super) fn new(times: Times, answering: Arc<AtomicU32>, now: Instant) -> Self {
        Self {
            times,
            phase: Cell::new(Phase::Silent { until: now + times.head }),
            blocked: Cell::default(),
            is_answering: Cell::default(),
            answering,
            held: RefCell::default(),
        }
    }

    /// A request's handler begins; the request is over when the guard is dropped.
    pub(super) fn begin(self: &Rc<Self>) -> Begun {
        self.phase.set(Phase::Request);
        if !self.is_answering.replace(true) {
            self.answering.fetch_add(1, Ordering::AcqRel);
        }
        Begun(self.clone())
    }

    /// Keeps `guard` until everything that was encoded for the client has been handed to the kernel.
    pub(crate) fn hold_until_written(&self, guard: Box<dyn Any>) {
        self.held.borrow_mut().push(guard);
    }

    /// Bytes came.
    pub(super) fn read(&self) {
        if let Phase::Silent { .. } = self.phase.get() {
            self.phase.set(Phase::Head { until: Instant::now() + self.times.head });
        }
    }

    /// The kernel takes no more bytes for now.
    pub(super) fn write_blocked(&self) {
        if self.blocked.get().is_none() {
            self.blocked.set(Some(Instant::now()));
        }
    }

    /// The kernel took bytes.
    pub(super) fn wrote(&self) {
        self.blocked.set(None);
    }

    /// Everything that was encoded is written.
    pub(super) fn wrote_all(&self) {
        self.blocked.set(None);
        if self.phase.get() != Phase::Request {
            self.answered();
        }
        if !self.held.borrow().is_empty() {
            self.held.take();
        }
    }

    fn answered(&self) {
        if self.is_answering.replace(false) {
            self.answering.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Why the connection is to be closed at `now`, or when to look again.
    pub(super) fn check(&self, now: Instant) -> Result<Instant, Reason> {
        let reading = match self.phase.get() {
            Phase::Silent { until } => Some((until, Reason::Silent)),
            Phase::Head { until } => Some((until, Reason::SlowHead)),
            Phase::Request => None,
        };
        let writing = self.blocked.get().map(|since| (since + self.times.stall, Reason::Stalled));
        let mut next = now + self.times.shortest();
        for (until, reason) in [writing, reading].into_iter().flatten() {
            if until <= now {
                return Err(reason);
            }
            next = next.min(until);
        }
        Ok(next)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.answered();
    }
}

/// A request that is in its handler, or whose answer has not ended.
pub(super) struct Begun(Rc<Connection>);

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.phase.set(Phase::Silent { until: Instant::now() + self.0.times.idle });
    }
}

//! The engine of a group of models that share upstreams, behind the one lock of the group.
//!
//! The lock is held for one event and never across an await, a call to a provider or to an observer: [`Group::with`] takes a
//! closure, so that nothing can hold it longer.

use std::sync::Arc;

use parking_lot::Mutex;
use router::{Engine, SpareRepeats};

/// A group's engine, or a link to the group that it was joined with.
pub(crate) struct Group(Mutex<Slot>);

enum Slot {
    Here(Engine),
    /// A reload joined the group with another one. Requests that began before the reload follow this link.
    Joined(Arc<Group>),
}

impl Group {
    /// A group with an engine without any state. All groups of a process share `spare`.
    pub(crate) fn new(spare: Arc<SpareRepeats>) -> Self {
        Self(Mutex::new(Slot::Here(Engine::new(spare))))
    }

    /// Does `work` with the group's engine.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Engine) -> R) -> R {
        let joined = match &mut *self.0.lock() {
            Slot::Here(engine) => return work(engine),
            Slot::Joined(group) => group.clone(),
        };
        joined.with(work)
    }

    /// The group that this one was joined with, or itself.
    pub(crate) fn joined(self: &Arc<Self>) -> Arc<Self> {
        match &*self.0.lock() {
            Slot::Here(_) => self.clone(),
            Slot::Joined(group) => group.joined(),
        }
    }

    /// Joins this group with `other`: from now on both are one. Groups are joined one pair at a time.
    pub(crate) fn join(self: &Arc<Self>, other: &Arc<Self>) {
        let (into, from) = (self.joined(), other.joined());
        if Arc::ptr_eq(&into, &from) {
            return;
        }
        // Locked until the state is moved, so that no caller finds an empty engine.
        let mut slot = from.0.lock();
        if let Slot::Here(engine) = std::mem::replace(&mut *slot, Slot::Joined(into.clone())) {
            into.with(|joined| joined.absorb(engine));
        }
    }
}

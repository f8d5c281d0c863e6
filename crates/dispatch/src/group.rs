//! The engine of a group of models that share upstreams, behind the one lock of the group.
//!
//! The lock is held for one event and never across an await, a call to a provider or to an observer: [`Group::with`] takes a
//! closure, so that nothing can hold it longer.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use router::{Engine, SpareRepeats};
use tokio::sync::Notify;

/// A group's engine, or a link to the group that it was joined with.
pub(crate) struct Group(Mutex<Slot>);

enum Slot {
    Here(Box<Here>),
    /// A reload joined the group with another one. Requests that began before the reload follow this link.
    Joined(Arc<Group>),
}

struct Here {
    engine: Engine,
    waiting: Waiting,
}

/// How the requests of a group that wait are woken, by their numbers.
#[derive(Default)]
pub(crate) struct Waiting(HashMap<u64, Arc<Notify>>);

impl Waiting {
    /// A request waits from now on, until it is woken or removed.
    pub(crate) fn insert(&mut self, number: u64, wakes: Arc<Notify>) {
        self.0.insert(number, wakes);
    }

    /// A request waits no more.
    pub(crate) fn remove(&mut self, number: u64) {
        self.0.remove(&number);
    }

    /// Takes out the requests that the engine wants to be woken.
    fn take_woken(&mut self, engine: &mut Engine) -> Vec<Arc<Notify>> {
        std::iter::from_fn(|| engine.take_woken()).filter_map(|number| self.0.remove(&number)).collect()
    }
}

impl Group {
    /// A group with an engine without any state. All groups of a process share `spare`.
    pub(crate) fn new(spare: Arc<SpareRepeats>) -> Self {
        Self(Mutex::new(Slot::Here(Box::new(Here { engine: Engine::new(spare), waiting: Waiting::default() }))))
    }

    /// Does `work` with the group's engine.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Engine) -> R) -> R {
        self.with_waiting(|engine, _| work(engine))
    }

    /// Does `work` after which a request may wait, or waits no more.
    pub(crate) fn with_waiting<R>(&self, work: impl FnOnce(&mut Engine, &mut Waiting) -> R) -> R {
        let mut slot = self.0.lock();
        let (result, woken) = match &mut *slot {
            Slot::Here(here) => {
                let Here { engine, waiting } = &mut **here;
                (work(engine, waiting), waiting.take_woken(engine))
            }
            Slot::Joined(group) => {
                let group = group.clone();
                drop(slot);
                return group.with_waiting(work);
            }
        };
        drop(slot);
        for wakes in woken {
            wakes.notify_one();
        }
        result
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
        if let Slot::Here(here) = std::mem::replace(&mut *slot, Slot::Joined(into.clone())) {
            into.with_waiting(|joined, all| {
                joined.absorb(here.engine);
                all.0.extend(here.waiting.0);
            });
        }
    }
}

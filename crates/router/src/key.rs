//! What is known of upstreams and models, found by keys that survive a change of the configuration.

use std::{
    cmp::Ordering,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// The identity of an upstream or a model: the same in every table that has it. A copy is the same key.
///
/// The number is the place at which its state was found last. An event asks for the same states several times, and finds
/// them there without a search. It is only a hint: several engines may have a state of one key, each at another place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Key(Arc<AtomicUsize>);

impl Key {
    fn order(&self, other: &Self) -> Ordering {
        Arc::as_ptr(&self.0).cmp(&Arc::as_ptr(&other.0))
    }

    /// Whether this is the last copy of the key: no table and no request has one.
    fn is_last(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// States by key. Groups are small, so that a binary search is a few comparisons, and nothing is hashed.
#[derive(Debug)]
pub(crate) struct States<T>(Vec<(Key, Box<T>)>);

impl<T> Default for States<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> States<T> {
    /// The state of `key`; made by `new` when it is asked for the first time.
    pub(crate) fn of(&mut self, key: &Key, new: impl FnOnce() -> T) -> &mut T {
        let hint = key.0.load(Relaxed);
        let at = if self.0.get(hint).is_some_and(|(known, _)| known == key) { hint } else { self.find(key, new) };
        &mut self.0[at].1
    }

    /// The place of the state of `key`.
    fn find(&mut self, key: &Key, new: impl FnOnce() -> T) -> usize {
        let at = self.0.binary_search_by(|(known, _)| known.order(key)).unwrap_or_else(|at| {
            self.0.insert(at, (key.clone(), Box::new(new())));
            at
        });
        key.0.store(at, Relaxed);
        at
    }

    /// All of them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().map(|(_, state)| &mut **state)
    }

    /// Adds the states of `other`, which has none that these have.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.0.extend(other.0);
        self.0.sort_unstable_by(|(one, _), (other, _)| one.order(other));
    }

    /// Forgets the states whose key no table and no request has any more.
    pub(crate) fn forget_unused(&mut self) {
        self.0.retain(|(key, _)| !key.is_last());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_kept_until_the_last_copy_of_its_key_is_gone() {
        let keys: [Key; 9] = std::array::from_fn(|_| Key::default());
        let (mut states, mut others) = (States::default(), States::default());
        for (at, key) in keys.iter().enumerate() {
            let states = if at % 2 == 0 { &mut states } else { &mut others };
            assert_eq!(*states.of(key, || at), at);
        }
        states.absorb(others);
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(*states.of(&key.clone(), || 100), at);
        }
        let kept = keys[3].clone();
        drop(keys);
        states.forget_unused();
        assert_eq!((states.0.len(), *states.of(&kept, || 100)), (1, 3));
    }
}

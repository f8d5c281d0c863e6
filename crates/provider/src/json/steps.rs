//! Counts what is done with each key and each value, so that tests can compare work without measuring time.

use std::cell::Cell;

thread_local! {
    static TAKEN: Cell<u64> = const { Cell::new(0) };
}

/// The steps that this thread has taken so far.
pub fn taken() -> u64 {
    TAKEN.get()
}

/// Takes one.
pub(crate) fn step() {
    TAKEN.set(TAKEN.get() + 1);
}

//! Checks that work grows at most in proportion to its input. It is measured by allocations and by steps of reading, which are
//! the same in every run, and not by time. Shared by the tests of several crates.

/// What one piece of work took.
#[derive(Debug)]
struct Work {
    input: u64,
    blocks: u64,
    /// All bytes that were asked for, whether they were given back or not.
    bytes: u64,
    /// The most bytes that were held at a time.
    peak: u64,
    steps: u64,
}

/// Most bytes that are held for each byte of the input, and the bytes that do not depend on it.
const PEAK: (u64, u64) = (20, 64 << 10);

/// What is repeated, and the input for a number of repeats.
pub(crate) type Case = (&'static str, fn(usize) -> String);

/// Does `work` on each case's inputs for 1,000 and for 4,000 repeats. `steps` returns how many steps were taken so far.
pub(crate) fn are_linear(cases: &[Case], steps: fn() -> u64, work: impl Fn(&str)) {
    for (what, input) in cases {
        is_linear(what, *input, steps, &work);
    }
}

fn is_linear(what: &str, input: fn(usize) -> String, steps: fn() -> u64, work: impl Fn(&str)) {
    let [small, large] = [1_000, 4_000].map(|repeats| {
        let text = input(repeats);
        let before = steps();
        let taken = allocation_counter::measure(|| work(&text));
        Work {
            input: text.len() as u64,
            blocks: taken.count_total,
            bytes: taken.bytes_total,
            peak: taken.bytes_max,
            steps: steps() - before,
        }
    });
    let shown = format!("{what}: {small:?}, {large:?}");
    assert!(large.blocks <= small.blocks * 5 + 64, "allocations, {shown}");
    // A vector that doubles asks for up to twice as much as it needs in the end, and a small input may need no copy.
    assert!(large.bytes <= small.bytes * 8 + large.input * 4, "bytes, {shown}");
    assert!(large.steps <= small.steps * 5 + 64, "steps, {shown}");
    assert!(large.peak <= large.input * PEAK.0 + PEAK.1, "bytes at a time, {shown}");
}

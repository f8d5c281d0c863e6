//! Holds a property over random cases. `PROPTEST_CASES` raises their number, and a failure names the seed that repeats it.
//! Shared by the tests of several crates.

use proptest::{
    prelude::Rng as _,
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, RngSeed, TestCaseResult, TestRunner},
};

/// Checks at least `least` cases.
pub(crate) fn hold<S: Strategy>(least: u32, cases: &S, check: impl Fn(S::Value) -> TestCaseResult) {
    let given = Config::default();
    let seed = match given.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => TestRunner::default().rng().next_u64(),
    };
    let count = given.cases.max(least);
    let config = Config {
        cases: count,
        rng_seed: RngSeed::Fixed(seed),
        // The other one takes most of the time in a debug build.
        rng_algorithm: RngAlgorithm::XorShift,
        failure_persistence: None,
        ..Config::default()
    };
    if let Err(failure) = TestRunner::new(config).run(cases, check) {
        panic!("{failure}\nrepeat it with PROPTEST_RNG_SEED={seed} PROPTEST_CASES={count}");
    }
}

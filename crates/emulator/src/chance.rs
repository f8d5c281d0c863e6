//! Random draws.

use rand::{Rng, RngExt};

/// How many times the median a draw from a lognormal distribution is, `sigma` being that of its logarithm.
pub(crate) fn lognormal(sigma: f64, rng: &mut impl Rng) -> f64 {
    let (angle, radius) = (rng.random::<f64>(), rng.random::<f64>());
    // Box and Muller's transform; 1 minus a number below 1 is never 0.
    let normal = (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos();
    (sigma * normal).exp()
}

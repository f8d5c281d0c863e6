//! Random numbers without a sequence: each is a function of the seed and of its purpose.
//!
//! Two policies that do the same with the same request get the same numbers (common random numbers), so that a
//! difference between them is no noise, and no number depends on how many were drawn before it.

/// What a number is drawn for. Each purpose is a stream of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// How long a job travels to a RunPod worker's queue.
    Outbound = 1,
    /// How long a token travels back.
    Inbound = 2,
    /// The time to the first token at Cerebras.
    FirstToken = 3,
    /// How long a worker takes to start.
    ColdStart = 4,
    /// A choice of a policy.
    Choice = 5,
    /// Whether a call fails, and whether it is refused.
    Failure = 6,
    Refusal = 7,
}

/// A seed for draws.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chance {
    seed: u64,
}

/// `splitmix64`'s finaliser: every bit of the result depends on every bit of `x`.
const fn mixed(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Chance {
    /// Draws of run `seed` at upstream number `stream`.
    pub(crate) const fn new(seed: u64, stream: u64) -> Self {
        Self { seed: mixed(mixed(seed.wrapping_add(STEP)) ^ stream.wrapping_mul(STEP)) }
    }

    /// The bits drawn for `purpose` of thing `a`, the `b`th time.
    const fn bits(self, purpose: Purpose, a: u64, b: u64) -> u64 {
        let what = self.seed ^ (purpose as u64).wrapping_mul(STEP);
        mixed(mixed(what ^ a.wrapping_mul(0xd6e8_feb8_6659_fd93)).wrapping_add(b.wrapping_add(1).wrapping_mul(STEP)))
    }

    /// A number in [0, 1).
    pub(crate) fn unit(self, purpose: Purpose, a: u64, b: u64) -> f64 {
        unit(self.bits(purpose, a, b))
    }

    /// A lognormal number with this median, and `sigma` as the standard deviation of its logarithm.
    pub(crate) fn lognormal(self, (median, sigma): (f64, f64), purpose: Purpose, a: u64, b: u64) -> f64 {
        let bits = self.bits(purpose, a, b);
        // Box and Muller; 1 - u is never zero.
        let radius = (-2.0 * (1.0 - unit(bits)).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * unit(mixed(bits.wrapping_add(STEP)))).cos();
        median * (sigma * normal).exp()
    }
}

#[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_depends_on_its_seed_purpose_and_thing_alone() {
        let chance = Chance::new(7, 0);
        let draw = |chance: Chance| chance.unit(Purpose::Choice, 3, 1).to_bits();
        assert_eq!(draw(chance), draw(Chance::new(7, 0)));
        assert_ne!(draw(chance), draw(Chance::new(8, 0)));
        assert_ne!(draw(chance), draw(Chance::new(7, 1)));
        assert_ne!(draw(chance), chance.unit(Purpose::Choice, 3, 2).to_bits());
        assert_ne!(draw(chance), chance.unit(Purpose::Choice, 4, 1).to_bits());
        assert_ne!(draw(chance), chance.unit(Purpose::Inbound, 3, 1).to_bits());
    }

    #[test]
    fn draws_have_the_median_and_the_spread_that_were_asked_for() {
        let chance = Chance::new(1, 0);
        let logs: Vec<f64> =
            (0..20_000).map(|k| chance.lognormal((0.8, 0.3), Purpose::FirstToken, k, 0).ln()).collect();
        let n = 20_000.0;
        let mean = logs.iter().sum::<f64>() / n;
        let deviation = (logs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
        assert!((mean - 0.8_f64.ln()).abs() < 0.01, "{mean}");
        assert!((deviation - 0.3).abs() < 0.01, "{deviation}");
    }
}

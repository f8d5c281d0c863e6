//! What one more request costs, which is not its list price: the price that decides is that of the difference it makes.
//!
//! Tokens cost their price, cached input its own. GPU time is paid by the second of a running worker, so that a request
//! to a busy worker costs its slot's part of the time that it takes; one to a worker in its idle tail costs that time
//! and the tail that it begins anew; one that wakes a worker costs the start, the time and the tail, divided among the
//! requests that are expected to come meanwhile. A start that is under way is paid for already.
//!
//! Costs are in nano-dollars, as `f64`: they rank and are never charged.

use std::time::Duration;

use provider::{PicoUsd, Price, Tariff};

use crate::knowledge::real;

const PICO_PER_NANO: f64 = 1e3;

/// A request, in tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tokens {
    /// Of the prompt, those that are cached included.
    pub prompt: f64,
    /// Of the prompt, those that the upstream is expected to have in its cache.
    pub cached: f64,
    /// Of the answer.
    pub completion: f64,
}

/// How the workers are that a request would come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Warmth {
    /// One serves others at this moment, so many at a time.
    Busy {
        /// Calls that a worker serves at a time.
        slots: u32,
    },
    /// One is in its idle tail, which began so long ago.
    Idle {
        /// How long ago.
        since: Duration,
    },
    /// One is starting for others.
    Starting,
    /// None is up.
    Cold {
        /// How long a start takes.
        start: Duration,
        /// Further requests that are expected before the idle tail is over.
        followers: f64,
    },
}

/// What tokens cost. `cached` is the price of cached input, if it has one.
pub fn of_tokens(tokens: Tokens, price: Price, cached: Option<PicoUsd>) -> f64 {
    let reused = tokens.cached.clamp(0.0, tokens.prompt);
    let rates = [price.input, cached.unwrap_or(price.input), price.output].map(|rate| real(rate.0) / PICO_PER_NANO);
    (tokens.prompt - reused) * rates[0] + reused * rates[1] + tokens.completion * rates[2]
}

/// What the GPU time of a request costs that takes `busy` on its worker.
pub fn of_gpu_time(warmth: Warmth, busy: Duration, per_second: PicoUsd, idle_timeout: Duration) -> f64 {
    let (busy, tail) = (busy.as_secs_f64(), idle_timeout.as_secs_f64());
    let seconds = match warmth {
        Warmth::Busy { slots } => busy / f64::from(slots.max(1)),
        Warmth::Idle { since } => busy + since.as_secs_f64().min(tail),
        Warmth::Starting => busy,
        Warmth::Cold { start, followers } => (start.as_secs_f64() + busy + tail) / (1.0 + followers.max(0.0)),
    };
    seconds * real(per_second.0) / PICO_PER_NANO
}

/// What a request costs at the margin; `None` if that is unknown. Where GPU time is paid and the workers are unknown it
/// is the list price, if there is one.
pub fn cost(
    tariff: Option<&Tariff>,
    cached: Option<PicoUsd>,
    tokens: Tokens,
    busy: Duration,
    warmth: Option<Warmth>,
) -> Option<f64> {
    match (tariff?, warmth) {
        (Tariff::Tokens(price), _) => Some(of_tokens(tokens, *price, cached)),
        (Tariff::GpuSeconds { per_second, idle_timeout, .. }, Some(warmth)) => {
            Some(of_gpu_time(warmth, busy, *per_second, *idle_timeout))
        }
        (Tariff::GpuSeconds { list, .. }, None) => list.map(|price| of_tokens(tokens, price, cached)),
    }
}

/// Whether a start pays: whether the requests that are expected until its idle tail is over save as much, each `saved`
/// nano-dollars, as the start and the tail cost.
pub fn start_pays(start: Duration, idle_timeout: Duration, per_second: PicoUsd, requests: f64, saved: f64) -> bool {
    let paid = (start + idle_timeout).as_secs_f64() * real(per_second.0) / PICO_PER_NANO;
    requests * saved >= paid
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PER_SECOND: PicoUsd = PicoUsd(190_000_000);
    /// A short answer at ten cents a million tokens.
    const TOKENS: Tokens = Tokens { prompt: 800.0, cached: 0.0, completion: 200.0 };
    const CEREBRAS: Price = Price { input: PicoUsd(100_000), output: PicoUsd(100_000) };
    const LIST: Price = Price { input: PicoUsd(20_000), output: PicoUsd(20_000) };

    fn gpu(list: Option<Price>) -> Tariff {
        Tariff::GpuSeconds { per_second: PER_SECOND, idle_timeout: 5 * SECOND, list }
    }

    fn on_gpu(warmth: Warmth) -> f64 {
        cost(Some(&gpu(None)), None, TOKENS, 3 * SECOND, Some(warmth)).expect("a price")
    }

    #[test]
    fn a_warm_worker_is_nearly_free_and_a_cold_one_costs_its_start_and_tail() {
        let tokens = cost(Some(&Tariff::Tokens(CEREBRAS)), None, TOKENS, 3 * SECOND, None).expect("a price");
        assert!((tokens - 100_000.0).abs() < 1e-6, "$0.0001");
        let busy = on_gpu(Warmth::Busy { slots: 30 });
        let cold = on_gpu(Warmth::Cold { start: 20 * SECOND, followers: 0.0 });
        assert!((busy - 19_000.0).abs() < 1e-6 && busy < tokens, "{busy}");
        assert!((cold - 28.0 * 190_000.0).abs() < 1e-6 && cold > 50.0 * tokens, "{cold}");
        let many = on_gpu(Warmth::Cold { start: 20 * SECOND, followers: 99.0 });
        assert!(many < tokens, "a hundred that share a start: {many}");
        let [idle, fresh] = [4, 0].map(|since| on_gpu(Warmth::Idle { since: since * SECOND }));
        assert!((idle - 7.0 * 190_000.0).abs() < 1e-6 && (fresh - 3.0 * 190_000.0).abs() < 1e-6, "{idle} {fresh}");
        assert!((on_gpu(Warmth::Starting) - fresh).abs() < 1e-6, "the start is paid for");
    }

    #[test]
    fn cached_input_has_its_own_price() {
        let cached = Tokens { cached: 600.0, ..TOKENS };
        let price = |tokens, cached| of_tokens(tokens, CEREBRAS, cached);
        assert!((price(cached, Some(PicoUsd(10_000))) - 46_000.0).abs() < 1e-6);
        assert!((price(cached, None) - 100_000.0).abs() < 1e-6, "unknown is not free");
        let more = Tokens { cached: 9_000.0, ..TOKENS };
        assert!((price(more, Some(PicoUsd(0))) - 20_000.0).abs() < 1e-6, "no more than the prompt is cached");
    }

    #[test]
    fn unknown_is_not_free() {
        assert_eq!(cost(None, None, TOKENS, SECOND, Some(Warmth::Starting)), None);
        assert_eq!(cost(Some(&gpu(None)), None, TOKENS, SECOND, None), None);
        assert_eq!(cost(Some(&gpu(Some(LIST))), None, TOKENS, SECOND, None), Some(20_000.0));
    }

    #[test]
    fn a_start_pays_where_demand_does() {
        let pays = |requests| start_pays(20 * SECOND, 5 * SECOND, PER_SECOND, requests, 81_000.0);
        assert!(!pays(1.0) && !pays(58.0) && pays(59.0));
    }
}

//! What a request would cost at a target: at list prices, and on the bill.

use provider::{NanoUsd, Tariff, Usage};

use super::Situation;
use crate::{
    knowledge::real,
    upstream::{Outlook, State, Upstream},
};

/// Worker seconds of a cold start, and of the time that a worker runs on after its last call, are paid for by the calls of so
/// many seconds: demand that has lasted is thought to last as long again.
const START_IS_PAID_WITHIN_S: f64 = 60.0;
/// Less demand than one request in an hour counts as that.
const LEAST_PER_SECOND: f64 = 1.0 / 3600.0;

impl Situation<'_> {
    /// What the request is expected to cost at list prices; `None` without a price for such a call. `holds_cache`: the upstream is
    /// thought to have the prompt in its cache.
    pub(super) fn expected_cost(&self, upstream: &Upstream, holds_cache: bool) -> Option<NanoUsd> {
        let price = upstream.spec.tariff.as_ref()?.list_price()?;
        let Self { facts, expected, .. } = *self;
        price.cost_of_counted(&Usage {
            completion_tokens: expected.completion_tokens.saturating_mul(facts.choices),
            cached_tokens: holds_cache.then_some(facts.prompt_tokens),
            ..facts.asked()
        })
    }

    /// What the request adds to the bill; `None` without a price.
    ///
    /// By the token that is what it costs. By the second of a worker, a call to a worker that is up is nearly free by
    /// itself, but it takes all calls together to keep one up. So a call costs its part of the workers that all requests need
    /// that could go there: the time of one worker is divided by the requests in it, and is at least the call's own time in
    /// its slot. Where no worker is up, its start and the time that it runs on idle are added. However few requests come, a call
    /// costs no more than a worker that is up for it alone. Where no more workers are up than are paid for anyway, a call costs
    /// nothing but its own time in its slot.
    pub(super) fn marginal_cost(
        &self,
        upstream: &Upstream,
        state: &State,
        outlook: &Outlook,
        expected_cost: Option<NanoUsd>,
    ) -> Option<NanoUsd> {
        let Some(Tariff::GpuSeconds { per_second, idle_timeout, kept_workers, .. }) = &upstream.spec.tariff else {
            return expected_cost;
        };
        let Self { facts, expected, now, .. } = *self;
        let size = expected.size_of(facts);
        let per_second_of_worker = size / state.supply().lasting_per_second(now).max(LEAST_PER_SECOND);
        let is_kept = state.supply().ready_workers(now).is_some_and(|ready| (1..=*kept_workers).contains(&ready));
        let answer_s = outlook.end.saturating_sub(outlook.first_token).as_secs_f64() + outlook.alone_s;
        let taken_s = match upstream.spec.worker_slots {
            Some(slots) => {
                let in_slot_s = answer_s / f64::from(slots.max(1));
                if is_kept { in_slot_s } else { per_second_of_worker.max(in_slot_s) }
            }
            None if is_kept => 0.0,
            // All that are ready seem to be needed.
            None => per_second_of_worker * f64::from(state.supply().ready_workers(now).unwrap_or(1).max(1)),
        };
        let (wait_s, idle_s) = (outlook.prediction.wait_s, idle_timeout.as_secs_f64());
        let (start_s, by_itself_s) = match outlook.is_cold {
            Some(true) => (wait_s + idle_s, wait_s + answer_s + idle_s),
            Some(false) | None => (0.0, answer_s + idle_s),
        };
        let billed_s = (taken_s * (1.0 + start_s / START_IS_PAID_WITHIN_S)).min(by_itself_s);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a price, which is saturated")]
        let nanos = (real(per_second.0) / 1e3 * billed_s).round() as u64;
        Some(NanoUsd(nanos))
    }
}

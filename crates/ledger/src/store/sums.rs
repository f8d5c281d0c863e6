//! Rows added up before they go to the sums of their hours: one statement for all rows of a batch that have the same labels.

use std::collections::HashMap;

use super::rollup::HOUR_MS;
use crate::entry::{Attempt, Labels, MOST_NANO_USD, Request, UsageSource};

/// The labels of `attempt_hours`, in order.
type AttemptLabels<'a> = [&'a str; 10];
/// Those of `request_hours` without the policy.
type RequestLabels<'a> = [&'a str; 7];

/// What some rows add.
#[derive(Default)]
pub(super) struct Sums<'a> {
    /// By hour and labels.
    pub(super) attempts: HashMap<(i64, AttemptLabels<'a>), [i64; 8]>,
    pub(super) requests: HashMap<(i64, RequestLabels<'a>), Vec<OfPolicy<'a>>>,
    /// By hour and writer the first and the last number of its calls.
    pub(super) ranges: HashMap<(i64, u64), (u64, u64)>,
}

/// The policy, how many requests have a cost under it, and that cost.
type OfPolicy<'a> = (&'a str, [i64; 2]);

impl<'a> Sums<'a> {
    pub(super) fn add_attempt(&mut self, row: &Attempt<'a>) {
        let row = row.bounded();
        let [team, key, model, route, tags] = labels(&row.labels);
        let source = row.usage_source.map_or("", UsageSource::as_str);
        let price = row.price_version.unwrap_or_default();
        let labels = [team, key, model, route, tags, row.upstream, row.role, row.outcome, source, price];
        let tokens = row.tokens.unwrap_or_default();
        let is_unpriced = row.usage_source.is_some() && row.cost_nano_usd.is_none();
        let figures = [
            1,
            tokens.prompt,
            tokens.cached.unwrap_or_default(),
            tokens.completion,
            tokens.reasoning.unwrap_or_default(),
            row.cost_nano_usd.unwrap_or_default(),
            u64::from(is_unpriced),
            row.duration_us,
        ];
        add(self.attempts.entry((hour(row.ended_at_ms), labels)).or_default(), figures);
        let (writer, number) = (row.key.request.writer, row.key.request.number);
        let range = self.ranges.entry((hour(row.ended_at_ms), writer)).or_insert((number, number));
        *range = (range.0.min(number), range.1.max(number));
    }

    pub(super) fn add_request(&mut self, row: &Request<'a>) {
        let [team, key, model, route, tags] = labels(&row.labels);
        let labels = [team, key, model, route, tags, row.outcome, row.error];
        let sums = self.requests.entry((hour(row.ended_at_ms), labels)).or_default();
        let mut add = |policy, cost| {
            let at = sums.iter().position(|(of, _)| *of == policy).unwrap_or_else(|| {
                sums.push((policy, [0; 2]));
                sums.len() - 1
            });
            add(&mut sums[at].1, [1, cost]);
        };
        add("", 0);
        for (nth, (policy, cost)) in row.baselines.iter().enumerate() {
            // In the row, which has each name once, the last one stands.
            if row.baselines[nth + 1..].iter().all(|(later, _)| later != policy) {
                add(policy, (*cost).min(MOST_NANO_USD));
            }
        }
    }
}

fn labels<'a>(labels: &Labels<'a>) -> [&'a str; 5] {
    let [team, key, model, tags] = [labels.team, labels.key, labels.model, labels.tags].map(Option::unwrap_or_default);
    [team, key, model, labels.route, tags]
}

fn hour(ended_at_ms: i64) -> i64 {
    ended_at_ms.div_euclid(HOUR_MS)
}

fn add<const N: usize>(sums: &mut [i64; N], figures: [u64; N]) {
    for (sum, figure) in sums.iter_mut().zip(figures) {
        *sum = sum.saturating_add(i64::try_from(figure).unwrap_or(i64::MAX));
    }
}

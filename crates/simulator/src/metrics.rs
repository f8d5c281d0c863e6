//! The figures of a run.

use serde::Serialize;

use crate::{
    providers::Model,
    scenario::Case,
    time::{Nanos, seconds},
    trace::as_f64,
    world::{End, Finished, Record},
};

/// Pieces of time that shares are reported for.
const PIECES: usize = 60;

/// The figures of a run. Percentages are of all requests unless they say otherwise, times are seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metrics {
    /// Requests that came.
    pub requests: f64,
    /// Requests with a whole answer, in percent.
    pub ok_percent: f64,
    /// Requests with a whole answer whose first token came within the SLO, in percent.
    pub slo_percent: f64,
    /// Of the answered requests, half had their first token by then.
    pub ttft_p50: f64,
    /// 95 % of them.
    pub ttft_p95: f64,
    /// 99 % of them.
    pub ttft_p99: f64,
    /// 95 % of all requests had their first token by then; infinite where more were not answered.
    pub ttft_p95_of_all: f64,
    /// 95 % of the answered requests were complete by then.
    pub end_p95: f64,
    /// For each upstream, its part of the answered requests, in percent.
    pub share_percent: Vec<f64>,
    /// For each upstream, its part of their tokens, in percent.
    pub token_share_percent: Vec<f64>,
    /// Dollars for a million tokens of whole answers, wasted attempts included.
    pub usd_per_million: f64,
    /// The cost of attempts that did not serve their request and of calls for none, in percent of the cost of whole answers.
    pub waste_percent: f64,
    /// The second bill: all workers by the second.
    pub gpu_usd: f64,
    /// Workers started.
    pub worker_starts: f64,
    /// Answers 429.
    pub rate_limited: f64,
    /// Attempts for each request, calls for none included.
    pub attempts_per_request: f64,
    /// The data for charts of the run.
    #[serde(skip)]
    pub shape: Shape,
}

/// The data for charts of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Shape {
    /// Times to the first token of answered requests, in seconds: for each of 100 equal parts, the longest in it.
    pub ttft: Vec<f64>,
    /// For each piece of time, the answered requests of each upstream, by when they came.
    pub served: Vec<Vec<f64>>,
}

/// The numbers of a finished run.
pub(crate) fn metrics(case: &Case, finished: &Finished) -> Metrics {
    let records = &finished.records;
    let requests = as_f64(records.len() as u64);
    let percent = |count: usize| 100.0 * as_f64(count as u64) / requests;
    let served = |record: &&Record| matches!(record.end, Some(End::Served { .. }));
    let mut ttft: Vec<Nanos> = records.iter().filter(served).map(|record| record.first_token - record.at).collect();
    let mut ends: Vec<Nanos> = records.iter().filter(served).map(|record| record.ended_at - record.at).collect();
    ttft.sort_unstable();
    let sum = |of: fn(&Record) -> u64| as_f64(records.iter().map(of).sum());
    let answered: u64 = records.iter().filter(served).map(Record::tokens).sum();
    let (cost, waste) = (sum(|record| record.cost), sum(|record| record.waste) + as_f64(finished.own_waste));
    let (share_percent, token_share_percent) = shares(records, case.providers.upstreams.len());
    Metrics {
        requests,
        ok_percent: percent(ttft.len()),
        slo_percent: percent(ttft.partition_point(|&ttft| ttft <= case.providers.slo_ttft)),
        ttft_p50: percentile(&ttft, ttft.len(), 0.50),
        ttft_p95: percentile(&ttft, ttft.len(), 0.95),
        ttft_p99: percentile(&ttft, ttft.len(), 0.99),
        ttft_p95_of_all: percentile(&ttft, records.len(), 0.95),
        end_p95: one_percentile(&mut ends, 0.95),
        share_percent,
        token_share_percent,
        usd_per_million: (cost + waste) / 1e6 / as_f64(answered.max(1)),
        waste_percent: if cost > 0.0 { 100.0 * waste / cost } else { 0.0 },
        gpu_usd: gpu_usd(case, finished),
        worker_starts: finished.gpu.iter().map(|(_, started)| f64::from(*started)).sum(),
        rate_limited: as_f64(finished.rate_limited),
        attempts_per_request: as_f64(finished.attempts as u64) / requests,
        shape: shape(case, records, &ttft),
    }
}

/// The place in a list of `of` of the last one of its first `part`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a place in a list"
)]
fn place(of: usize, part: f64) -> usize {
    ((part * of as f64).ceil() as usize).saturating_sub(1)
}

/// The time by which `part` of `of` requests had what `sorted` lists; infinite where it lists too few.
fn percentile(sorted: &[Nanos], of: usize, part: f64) -> f64 {
    sorted.get(place(of, part)).map_or(f64::INFINITY, |&time| seconds(time))
}

/// The time by which `part` of those that `times` lists were served. Only one is asked for, so that no order is needed.
fn one_percentile(times: &mut [Nanos], part: f64) -> f64 {
    let place = place(times.len(), part);
    if place >= times.len() {
        return f64::INFINITY;
    }
    seconds(*times.select_nth_unstable(place).1)
}

/// Each upstream's part of the answered requests and of their tokens, in percent.
fn shares(records: &[Record], upstreams: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut requests, mut tokens) = (vec![0.0; upstreams], vec![0.0; upstreams]);
    for record in records {
        if let Some(End::Served { upstream }) = record.end {
            requests[usize::from(upstream)] += 1.0;
            tokens[usize::from(upstream)] += as_f64(record.tokens());
        }
    }
    let percent = |counts: Vec<f64>| {
        let total = counts.iter().sum::<f64>().max(1.0);
        counts.into_iter().map(|count| 100.0 * count / total).collect()
    };
    (percent(requests), percent(tokens))
}

fn gpu_usd(case: &Case, finished: &Finished) -> f64 {
    let bills = case.providers.upstreams.iter().zip(&finished.gpu).map(|(upstream, (time, _))| match &upstream.model {
        Model::RunPod(settings) => as_f64(settings.gpu_per_second.0) / 1e12 * seconds(*time),
        Model::Cerebras(_) => 0.0,
    });
    bills.sum()
}

fn shape(case: &Case, records: &[Record], ttft: &[Nanos]) -> Shape {
    let parts = if ttft.is_empty() { 0..=0 } else { 1..=100_u32 };
    let ttft = parts.filter(|&part| part > 0).map(|part| percentile(ttft, ttft.len(), f64::from(part) / 100.0));
    let piece = case.trace.span() / PIECES as u64 + 1;
    let mut served = vec![vec![0.0; case.providers.upstreams.len()]; PIECES];
    for record in records {
        if let Some(End::Served { upstream }) = record.end {
            let piece = usize::try_from(record.at / piece).unwrap_or(PIECES - 1);
            served[piece][usize::from(upstream)] += 1.0;
        }
    }
    Shape { ttft: ttft.collect(), served }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND;

    #[test]
    fn a_percentile_is_the_time_by_which_that_part_was_served() {
        let times: Vec<Nanos> = (1..=100).map(|k| k * SECOND).collect();
        assert!((percentile(&times, 100, 0.95) - 95.0).abs() < 1e-12);
        assert!((percentile(&times, 100, 0.5) - 50.0).abs() < 1e-12);
        assert!((percentile(&times[..1], 1, 0.99) - 1.0).abs() < 1e-12);
        assert!(percentile(&times, 110, 0.95).is_infinite(), "ten of 110 were never served");
        assert!(percentile(&[], 0, 0.5).is_infinite() && one_percentile(&mut [], 0.5).is_infinite());
        let mut reversed: Vec<Nanos> = times.into_iter().rev().collect();
        assert!((one_percentile(&mut reversed, 0.95) - 95.0).abs() < 1e-12);
    }
}

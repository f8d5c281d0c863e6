//! The calls of a decision log, each with what else was under way at its upstream.

use crate::{
    decisions::{Attempt, Candidate, DecisionLog, Record},
    trace::as_f64,
};

/// A call whose first token was seen. Times are in seconds.
#[derive(Debug, Clone)]
pub(super) struct Call<'a> {
    /// What was known of its upstream when it was chosen; only of the first call of a request.
    pub(super) seen: Option<&'a Candidate>,
    pub(super) start: f64,
    /// From the start.
    pub(super) first_token: f64,
    /// From the start.
    pub(super) end: f64,
    pub(super) prompt_tokens: f64,
    /// Tokens of the answer; `None` if it is not complete, or was not counted.
    pub(super) completion_tokens: Option<f64>,
    /// Calls that waited for their first token when it began, itself aside.
    pub(super) waiting: usize,
    /// Answers that were being written meanwhile, on average and itself included.
    pub(super) writing: f64,
}

/// The calls to one upstream, and what else is known of it.
#[derive(Debug)]
pub(super) struct Calls<'a> {
    pub(super) upstream: &'a str,
    /// How it was seen last.
    pub(super) latest: &'a Candidate,
    /// In the order of their starts.
    pub(super) begun: Vec<Call<'a>>,
    /// First calls that found no worker and ended without a first token.
    pub(super) lost_cold: usize,
    load: Load,
}

/// The calls of each upstream, in the order of their ids.
pub(super) fn by_upstream(log: &DecisionLog) -> Vec<Calls<'_>> {
    let candidates = log.records.iter().flat_map(|record| &record.decision.candidates);
    let mut upstreams: Vec<(&str, &Candidate)> = Vec::new();
    for candidate in candidates {
        match upstreams.iter_mut().find(|(id, _)| *id == candidate.upstream) {
            Some((_, latest)) => *latest = candidate,
            None => upstreams.push((&candidate.upstream, candidate)),
        }
    }
    upstreams.sort_by_key(|(id, _)| *id);
    upstreams.into_iter().map(|(id, latest)| Calls::new(log, id, latest)).collect()
}

impl<'a> Calls<'a> {
    fn new(log: &'a DecisionLog, upstream: &'a str, latest: &'a Candidate) -> Self {
        let mut spans = Vec::new();
        let mut begun: Vec<Call<'a>> = Vec::new();
        let mut lost_cold = 0;
        for record in &log.records {
            for attempt in record.attempts.iter().filter(|attempt| attempt.upstream == upstream) {
                let seen = seen(record, attempt);
                spans.push(Span::of(record, attempt));
                match Call::new(record, attempt, seen) {
                    Some(call) => begun.push(call),
                    None => lost_cold += usize::from(seen.is_some_and(Candidate::starts_worker) && record.stream),
                }
            }
        }
        let load = Load::new(&spans);
        for call in &mut begun {
            let first = call.start + call.first_token;
            call.waiting = load.waiting(call.start).saturating_sub(1);
            call.writing = load.mean_writing(first, call.start + call.end);
        }
        begun.sort_by(|a, b| a.start.total_cmp(&b.start));
        Self { upstream, latest, begun, lost_cold, load }
    }

    /// How many calls each worker had, at the moments at which others waited in the queue. The length of the queue is a
    /// few seconds old except where it has just changed; calls that were on their way, which takes `there` and `back`,
    /// had no slot.
    pub(super) fn when_full(&self, there: f64, back: f64) -> Vec<f64> {
        let looks = self.begun.iter().filter_map(|call| Some((call.start, call.seen?)));
        let mut last = None;
        let mut full = Vec::new();
        for (at, seen) in looks {
            let has_changed = last.replace(seen.queued).is_some_and(|last| last != seen.queued);
            let (Some(queued @ 1..), Some(ready @ 1..), true) = (seen.queued, seen.ready_workers, has_changed) else {
                continue;
            };
            let on_their_way = self.load.travelling(at, there, back);
            full.push((f64::from(seen.in_flight) - f64::from(queued) - on_their_way) / f64::from(ready));
        }
        full
    }
}

impl Candidate {
    /// Whether no worker was ready and no call waited for one, so that this call starts one.
    pub(super) fn starts_worker(&self) -> bool {
        self.ready_workers == Some(0) && self.in_flight == 0
    }
}

/// The upstream's state when `attempt` was sent: the decision is the one behind the first call.
fn seen<'a>(record: &'a Record, attempt: &Attempt) -> Option<&'a Candidate> {
    if attempt.role != "primary" {
        return None;
    }
    record.decision.candidates.iter().find(|candidate| candidate.upstream == attempt.upstream)
}

impl<'a> Call<'a> {
    /// A call of a stream; for a whole answer it is unknown when it began.
    fn new(record: &Record, attempt: &Attempt, seen: Option<&'a Candidate>) -> Option<Self> {
        let first_token = attempt.first_token_ms.filter(|_| record.stream)? / 1e3;
        let counted = |count: Option<u64>| count.filter(|_| attempt.is_counted()).map(as_f64);
        let prompt_tokens =
            counted(attempt.prompt_tokens).unwrap_or_else(|| as_f64(record.decision.estimated_prompt_tokens));
        Some(Self {
            seen,
            start: record.ts + attempt.start_ms / 1e3,
            first_token,
            end: attempt.duration_ms / 1e3,
            prompt_tokens,
            completion_tokens: counted(attempt.completion_tokens).filter(|_| attempt.is_served()),
            waiting: 0,
            writing: 1.0,
        })
    }
}

/// When a call waited and when its answer was written.
struct Span {
    start: f64,
    /// When its first token came, or it ended without one.
    first: f64,
    end: f64,
}

impl Span {
    fn of(record: &Record, attempt: &Attempt) -> Self {
        let start = record.ts + attempt.start_ms / 1e3;
        let end = start + attempt.duration_ms / 1e3;
        Self { start, first: attempt.first_token_ms.map_or(end, |first| start + first / 1e3), end }
    }
}

/// How many calls waited and were written at any time.
#[derive(Debug)]
struct Load {
    starts: Vec<f64>,
    firsts: Vec<f64>,
    ends: Vec<f64>,
    /// Moments at which the number of answers changes, how many there are from then on, and the sum of their times until then.
    changes: Vec<(f64, f64, f64)>,
}

impl Load {
    fn new(spans: &[Span]) -> Self {
        let sorted = |of: fn(&Span) -> f64| {
            let mut times: Vec<f64> = spans.iter().map(of).collect();
            times.sort_by(f64::total_cmp);
            times
        };
        let mut steps: Vec<(f64, f64)> = spans.iter().flat_map(|span| [(span.first, 1.0), (span.end, -1.0)]).collect();
        steps.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut count, mut sum, mut last) = (0.0, 0.0, 0.0);
        let mut changes = Vec::with_capacity(steps.len());
        for (at, step) in steps {
            sum += count * (at - last);
            (count, last) = (count + step, at);
            changes.push((at, count, sum));
        }
        let of_start = |span: &Span| span.start;
        Self { starts: sorted(of_start), firsts: sorted(|span| span.first), ends: sorted(|span| span.end), changes }
    }

    /// Calls that wait for their first token at a moment, one that begins then included.
    fn waiting(&self, at: f64) -> usize {
        until(&self.starts, at).saturating_sub(until(&self.firsts, at))
    }

    /// Calls that are on their way to the upstream or back at a moment, one that begins then aside.
    fn travelling(&self, at: f64, there: f64, back: f64) -> f64 {
        let began = until(&self.starts, at).saturating_sub(until(&self.starts, at - there) + 1);
        let ended = until(&self.ends, at + back).saturating_sub(until(&self.ends, at));
        as_f64((began + ended) as u64)
    }

    /// Answers that are being written between two moments, on average.
    fn mean_writing(&self, from: f64, to: f64) -> f64 {
        if to <= from {
            return 1.0;
        }
        ((self.sum_until(to) - self.sum_until(from)) / (to - from)).max(1.0)
    }

    fn sum_until(&self, at: f64) -> f64 {
        let place = self.changes.partition_point(|(change, ..)| *change <= at);
        let Some((change, count, sum)) = place.checked_sub(1).map(|before| self.changes[before]) else { return 0.0 };
        sum + count * (at - change)
    }
}

/// How many of `times`, which are in order, are not after `at`.
fn until(times: &[f64], at: f64) -> usize {
    times.partition_point(|time| *time <= at)
}

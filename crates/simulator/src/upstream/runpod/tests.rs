use provider::PicoUsd;

use super::*;
use crate::{time::MILLISECOND, timeline::Timeline, upstream::SimEvent};

/// 1,000 prompt tokens a second, 100 tokens a second for one answer and half of that for each of two, no way to travel.
fn settings() -> RunPodSettings {
    RunPodSettings {
        gpu_per_second: PicoUsd(310_000_000),
        min_workers: 1,
        max_workers: 3,
        slots: 4,
        overhead: Lognormal { median: 1e-12, sigma: 0.0 },
        prefill_per_second: 1000.0,
        decode_per_second: 100.0,
        decode_slowdown: 1.0,
        cold_start: Lognormal { median: 14.0, sigma: 0.0 },
        scaler: Scaler::RequestCount(16),
        idle_timeout: 30 * SECOND,
        health_poll: 2 * SECOND,
    }
}

/// An endpoint and what is to happen to it.
struct Endpoint {
    runpod: RunPod,
    timeline: Timeline<SimEvent>,
    now: Nanos,
    /// First tokens and ends, in the order in which they came: attempt, time, and whether it is the end.
    seen: Vec<(u32, Nanos, bool)>,
}

impl Endpoint {
    fn new(settings: RunPodSettings) -> Self {
        let mut timeline = Timeline::new();
        let mut plan = Plan { upstream: 0, now: 0, timeline: &mut timeline };
        let runpod = RunPod::new(settings, Chance::new(1, 0), &mut plan);
        Self { runpod, timeline, now: 0, seen: Vec::new() }
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut RunPod, &mut Plan<'_>) -> T) -> T {
        let mut plan = Plan { upstream: 0, now: self.now, timeline: &mut self.timeline };
        act(&mut self.runpod, &mut plan)
    }

    fn reach(&mut self, attempt: u32, prompt_tokens: u32, completion_tokens: u32) {
        let job = Job { attempt: AttemptId(attempt), request: attempt, ordinal: 0, prompt_tokens, completion_tokens };
        self.with(|runpod, plan| runpod.reach(job, plan)).unwrap();
    }

    fn cancel(&mut self, attempt: u32) -> Option<Consumed> {
        self.with(|runpod, plan| runpod.cancel(AttemptId(attempt), plan))
    }

    fn apply(&mut self, change: UpstreamChange) -> Vec<u32> {
        let failed = self.with(|runpod, plan| runpod.apply(change, plan));
        failed.into_iter().map(|(attempt, _)| attempt.0).collect()
    }

    /// Lets time pass.
    fn until(&mut self, end: Nanos) -> &mut Self {
        while self.timeline.next_at() <= end {
            let Some((at, what)) = self.timeline.next() else { break };
            self.now = at;
            match what {
                SimEvent::Inside { step, .. } => self.with(|runpod, plan| runpod.step(step, plan)),
                SimEvent::First(attempt) => self.seen.push((attempt.0, at, false)),
                SimEvent::End(attempt) => self.seen.push((attempt.0, at, true)),
                other => panic!("{other:?}"),
            }
        }
        self.now = end;
        self
    }

    /// When an attempt's first token and its end came, in milliseconds.
    fn times(&self, attempt: u32) -> (Option<u64>, Option<u64>) {
        let at = |end: bool| {
            let seen = self.seen.iter().find(|seen| seen.0 == attempt && seen.2 == end);
            seen.map(|seen| (seen.1 + MILLISECOND / 2) / MILLISECOND)
        };
        (at(false), at(true))
    }

    fn capacity(&self) -> Capacity {
        self.runpod.capacity(self.now).unwrap()
    }
}

#[test]
fn one_worker_reads_prompts_one_after_the_other() {
    let mut endpoint = Endpoint::new(settings());
    for attempt in 0..3 {
        endpoint.reach(attempt, 500, 1);
    }
    endpoint.until(10 * SECOND);
    let first_tokens = [0, 1, 2].map(|attempt| endpoint.times(attempt).0);
    assert_eq!(first_tokens, [Some(500), Some(1000), Some(1500)]);
}

#[test]
fn answers_that_are_written_at_once_share_the_worker() {
    let mut endpoint = Endpoint::new(settings());
    // Read at 0.1 s and 0.2 s. The first has 10 of its 100 tokens when the second joins; then each gets 50 a second.
    endpoint.reach(0, 100, 100);
    endpoint.reach(1, 100, 40);
    endpoint.until(10 * SECOND);
    // The second ends after 0.8 s; the first has 50 tokens left then, alone.
    assert_eq!(endpoint.times(1), (Some(200), Some(1000)));
    assert_eq!(endpoint.times(0), (Some(100), Some(1500)));
}

#[test]
fn an_answer_gets_faster_when_another_is_cancelled() {
    let mut endpoint = Endpoint::new(settings());
    endpoint.reach(0, 100, 100);
    endpoint.reach(1, 100, 400);
    endpoint.until(1200 * MILLISECOND);
    // A second together at 50 a second.
    let consumed = endpoint.cancel(1).unwrap();
    assert_eq!((consumed.prompt_tokens, consumed.completion_tokens), (100, 50));
    endpoint.until(10 * SECOND);
    assert_eq!(endpoint.times(0), (Some(100), Some(1600)));
    assert_eq!(endpoint.times(1).1, None);
    assert_eq!(endpoint.cancel(0), None, "it is over");
}

#[test]
fn half_the_speed_takes_twice_as_long() {
    let mut endpoint = Endpoint::new(settings());
    endpoint.reach(0, 100, 100);
    endpoint.until(600 * MILLISECOND).apply(UpstreamChange::Speed(0.5));
    endpoint.until(10 * SECOND);
    assert_eq!(endpoint.times(0).1, Some(1600));
}

#[test]
fn jobs_beyond_the_slots_wait_in_order() {
    let mut endpoint = Endpoint::new(RunPodSettings { slots: 1, scaler: Scaler::RequestCount(100), ..settings() });
    for attempt in 0..3 {
        endpoint.reach(attempt, 100, 90);
    }
    assert_eq!((endpoint.capacity().queued, endpoint.capacity().in_progress), (2, 1));
    endpoint.until(10 * SECOND);
    assert_eq!([0, 1, 2].map(|attempt| endpoint.times(attempt).1), [Some(1000), Some(2000), Some(3000)]);
}

#[test]
fn a_job_that_finds_no_worker_starts_one_and_the_last_one_stops_after_the_idle_timeout() {
    let mut endpoint = Endpoint::new(RunPodSettings { min_workers: 0, ..settings() });
    assert_eq!(endpoint.until(5 * SECOND).capacity().ready, 0);
    endpoint.reach(0, 100, 90);
    assert_eq!(endpoint.capacity().initializing, 1);
    endpoint.until(60 * SECOND);
    // 5 s, a cold start of 14 s, and a second of work; then 30 s idle.
    assert_eq!(endpoint.times(0), (Some(19_100), Some(20_000)));
    assert_eq!(endpoint.capacity().ready, 0);
    assert_eq!(endpoint.runpod.gpu_time(endpoint.now), (45 * SECOND, 1));
}

#[test]
fn the_idle_timeout_starts_anew_with_each_job_and_spares_the_fewest_workers() {
    let mut endpoint = Endpoint::new(RunPodSettings { min_workers: 0, ..settings() });
    endpoint.reach(0, 100, 90);
    endpoint.until(40 * SECOND).reach(1, 100, 90);
    assert_eq!(endpoint.until(70 * SECOND).capacity().ready, 1, "15 s, and again 41 s, of which 29 s are over");
    assert_eq!(endpoint.until(72 * SECOND).capacity().ready, 0);
    let mut endpoint = Endpoint::new(settings());
    endpoint.reach(0, 100, 90);
    assert_eq!(endpoint.until(100 * SECOND).capacity().ready, 1);
}

#[test]
fn request_count_starts_a_worker_for_so_many_jobs_each_up_to_the_most() {
    let mut endpoint = Endpoint::new(RunPodSettings { scaler: Scaler::RequestCount(2), ..settings() });
    for attempt in 0..3 {
        endpoint.reach(attempt, 100, 10_000);
    }
    assert_eq!(endpoint.capacity().initializing, 0, "the scaler looks once a second");
    endpoint.until(SECOND);
    assert_eq!(endpoint.capacity().initializing, 1);
    for attempt in 3..20 {
        endpoint.reach(attempt, 100, 10_000);
    }
    assert_eq!(endpoint.until(2 * SECOND).capacity().initializing, 2);
}

#[test]
fn queue_delay_starts_one_worker_at_a_time_for_jobs_that_wait_too_long() {
    let scaler = Scaler::QueueDelay(4 * SECOND);
    let mut endpoint = Endpoint::new(RunPodSettings { slots: 1, scaler, ..settings() });
    for attempt in 0..5 {
        endpoint.reach(attempt, 100, 100_000);
    }
    assert_eq!(endpoint.until(4 * SECOND).capacity().initializing, 0);
    assert_eq!(endpoint.until(5 * SECOND).capacity().initializing, 1);
    assert_eq!(endpoint.until(18 * SECOND).capacity().initializing, 1, "one is starting already");
    assert_eq!(endpoint.until(20 * SECOND).capacity().initializing, 1);
    assert_eq!(endpoint.capacity().ready, 2);
}

#[test]
fn an_outage_fails_what_is_there_and_what_comes() {
    let mut endpoint = Endpoint::new(RunPodSettings { slots: 1, ..settings() });
    endpoint.reach(0, 100, 1000);
    endpoint.reach(1, 100, 1000);
    endpoint.until(SECOND);
    assert_eq!(endpoint.apply(UpstreamChange::Outage(true)), [0, 1]);
    assert_eq!(endpoint.runpod.capacity(SECOND), None);
    let job = Job { attempt: AttemptId(2), request: 2, ordinal: 0, prompt_tokens: 1, completion_tokens: 1 };
    assert_eq!(endpoint.with(|runpod, plan| runpod.reach(job, plan)), Err(Refusal::Unavailable));
    endpoint.until(100 * SECOND).apply(UpstreamChange::Outage(false));
    endpoint.reach(3, 100, 90);
    endpoint.until(102 * SECOND);
    assert_eq!(endpoint.times(3).1, Some(101_000));
    assert_eq!(endpoint.seen.len(), 3, "nothing more is seen of what has failed: {:?}", endpoint.seen);
}

#[test]
fn workers_that_an_outage_leaves_idle_are_stopped() {
    let mut endpoint = Endpoint::new(RunPodSettings { min_workers: 0, ..settings() });
    endpoint.reach(0, 100, 100_000);
    endpoint.until(20 * SECOND);
    endpoint.apply(UpstreamChange::Outage(true));
    endpoint.until(49 * SECOND);
    assert_eq!(endpoint.runpod.workers.len(), 1);
    endpoint.until(50 * SECOND);
    assert_eq!(endpoint.runpod.workers.len(), 0, "30 s idle");

    let mut endpoint = Endpoint::new(RunPodSettings { min_workers: 0, ..settings() });
    endpoint.reach(0, 5000, 1);
    endpoint.until(15 * SECOND);
    endpoint.apply(UpstreamChange::Outage(true));
    endpoint.until(48 * SECOND);
    assert_eq!(endpoint.runpod.workers.len(), 1, "it has read to 19 s");
    endpoint.until(49 * SECOND);
    assert_eq!(endpoint.runpod.workers.len(), 0);
}

#[test]
fn a_throttled_endpoint_takes_jobs_in_silence_and_works_them_off_later() {
    let mut endpoint = Endpoint::new(settings());
    endpoint.reach(0, 100, 1000);
    endpoint.until(SECOND);
    assert_eq!(endpoint.apply(UpstreamChange::Throttle(true)), [0]);
    endpoint.reach(1, 100, 90);
    endpoint.until(60 * SECOND);
    let capacity = endpoint.capacity();
    assert_eq!((capacity.ready, capacity.throttled, capacity.queued), (0, 3, 1));
    endpoint.apply(UpstreamChange::Throttle(false));
    endpoint.until(80 * SECOND);
    // The scaler looks at 61 s, the start takes 14 s.
    assert_eq!(endpoint.times(1).1, Some(76_000));
}

#[test]
fn a_prompt_whose_call_was_cancelled_is_read_to_its_end() {
    let mut endpoint = Endpoint::new(settings());
    endpoint.reach(0, 1000, 10);
    endpoint.reach(1, 100, 90);
    endpoint.reach(2, 100, 90);
    endpoint.until(500 * MILLISECOND);
    assert_eq!(endpoint.cancel(0).map(|consumed| consumed.prompt_tokens), Some(1000));
    assert_eq!(endpoint.cancel(1), Some(Consumed::default()), "it was not begun");
    endpoint.until(10 * SECOND);
    assert_eq!(endpoint.times(2), (Some(1100), Some(2000)));
    assert_eq!(endpoint.times(0), (None, None));
}

#[test]
fn foresight_gives_the_time_to_the_first_token() {
    let mut endpoint = Endpoint::new(RunPodSettings { slots: 2, ..settings() });
    assert_eq!(endpoint.runpod.first_token_in(300, 0), 300 * MILLISECOND);
    endpoint.reach(0, 500, 100);
    endpoint.until(100 * MILLISECOND);
    assert_eq!(endpoint.runpod.first_token_in(300, endpoint.now), 700 * MILLISECOND, "0.4 s are left of the prompt");
    endpoint.reach(1, 500, 100);
    endpoint.until(1100 * MILLISECOND);
    // Both answers get 50 tokens a second; the first has 50 + 5 of its 100.
    let slot_and_prompt = endpoint.runpod.first_token_in(300, endpoint.now);
    assert_eq!(slot_and_prompt, 1_200 * MILLISECOND);
    endpoint.apply(UpstreamChange::Outage(true));
    assert_eq!(endpoint.runpod.first_token_in(300, endpoint.now), crate::time::NEVER);
}

#[test]
fn ways_are_drawn_around_their_median() {
    let overhead = Lognormal { median: 0.28, sigma: 0.25 };
    let endpoint = Endpoint::new(RunPodSettings { overhead, ..settings() });
    let mut ways: Vec<Nanos> = (0..999)
        .map(|request| {
            let job = Job { attempt: AttemptId(0), request, ordinal: 0, prompt_tokens: 1, completion_tokens: 1 };
            endpoint.runpod.travel(&job)
        })
        .collect();
    ways.sort_unstable();
    let median = ways[499] / MILLISECOND;
    assert!((160..=176).contains(&median), "60 % of 280 ms, not {median}");
}

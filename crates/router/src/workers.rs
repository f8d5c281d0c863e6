//! The workers of an upstream as it reports them, and the time that they have been billed for.
//!
//! What is billed is `running`: the model's load after a start, execution, and the idle tail. The count is polled, so that the
//! time is a sum of steps: each count holds from the moment it was recorded until the next one. A rise or fall is noticed half a
//! poll late on average, both alike, so that the sum is right in the long run. Time in which the count is unknown is not
//! billed but kept apart: unknown is not zero.
//!
//! Of several replicas one polls and counts. What the others learn from it decides, and is billed there alone. Whoever takes over
//! counts from its own first poll on, and the time since the last poll that it has learned of as unobserved.

use std::time::Duration;

use provider::{Capacity, NanoUsd, PicoUsd, Time};

/// A count older than this many polls is unknown.
pub(crate) const STALE_POLLS: u32 = 3;
/// Longest that a model takes to load: RunPod gives a worker up that takes longer.
const LONGEST_START: Duration = Duration::from_mins(7);

/// Whether this replica polls upstreams for their workers, and counts their time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Polls {
    /// It does.
    #[default]
    Always,
    /// It does until then, unless that is put off: another replica may do it from then on.
    Until(Time),
    /// It polls, to decide by, and counts nothing: nobody knows which replica counts.
    Uncounted,
    /// Another replica does.
    Never,
}

impl Polls {
    /// Until when what happens by `now` is counted, if it was until `since`.
    fn end(self, since: Time, now: Time) -> Time {
        match self {
            Self::Always => now,
            Self::Until(until) => until.clamp(since, now),
            Self::Uncounted | Self::Never => since,
        }
    }

    /// Whether it counts now, and does what one replica has to do for all.
    pub fn count(self, now: Time) -> bool {
        match self {
            Self::Always => true,
            Self::Until(until) => now < until,
            Self::Uncounted | Self::Never => false,
        }
    }

    /// Whether it polls now.
    pub fn poll(self, now: Time) -> bool {
        self == Self::Uncounted || self.count(now)
    }
}

/// Worker time, by what it went into.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkerTime {
    /// Workers that came up from none, until the first answer.
    pub start: Duration,
    /// Workers with calls of ours: at most one worker for each call, since who has which is unknown.
    pub busy: Duration,
    /// The rest: idle tails, and calls of others.
    pub idle: Duration,
    /// Time, not worker time, in which the number of workers was known.
    pub observed: Duration,
    /// The same in which it was unknown.
    pub unobserved: Duration,
    /// Workers that came up, as far as a count was higher than the one before it.
    pub starts: u64,
    /// What the billed time costs, in pico-dollars times nanoseconds.
    cost_pico_nanos: u128,
}

impl WorkerTime {
    /// All that is billed.
    pub fn billed(&self) -> Duration {
        self.start + self.busy + self.idle
    }

    /// What it costs.
    pub fn cost(&self) -> NanoUsd {
        NanoUsd(u64::try_from((self.cost_pico_nanos / 1_000_000_000 + 500) / 1_000).unwrap_or(u64::MAX))
    }
}

/// What is known of the workers.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    /// The last report.
    report: Option<Report>,
    polled_at: Option<Time>,
    /// Workers came up from none and have not answered yet: a model that loads counts as running. Bounded by
    /// [`LONGEST_START`].
    starting_until: Option<Time>,
    /// When a first token came last.
    answered_at: Option<Time>,
    counted_until: Option<Time>,
    polls: Polls,
    /// The latest moment at which somebody is known to have counted, while this replica does not.
    uncounted_since: Option<Time>,
    time: WorkerTime,
}

/// What an upstream reported about its workers, and until when that counts.
#[derive(Debug, Clone, Copy)]
struct Report {
    capacity: Capacity,
    /// Whether another replica polled it.
    is_learned: bool,
    recorded_at: Time,
    until: Time,
}

impl Workers {
    /// Whether it is time to ask; if so, it counts as asked.
    pub(crate) fn is_due(&mut self, poll: Duration, now: Time) -> bool {
        let is_due = self.polled_at.is_none_or(|at| (now - at) >= poll);
        if is_due {
            self.polled_at = Some(now);
        }
        is_due
    }

    /// Records what the upstream reported about its workers.
    pub(crate) fn record(&mut self, capacity: Capacity, poll: Duration, now: Time) {
        self.report(capacity, false, poll, now);
    }

    fn report(&mut self, capacity: Capacity, is_learned: bool, poll: Duration, now: Time) {
        let before = self.report.filter(|report| now <= report.until);
        // Between two polls they may have come up and answered already.
        let came_up = before.is_some_and(|before| {
            before.capacity.running == Some(0) && self.answered_at.is_none_or(|at| at < before.recorded_at)
        });
        match capacity.running {
            Some(0) => self.starting_until = None,
            Some(_) if came_up => self.starting_until = Some(now + LONGEST_START),
            Some(_) | None => {}
        }
        let running_before = before.and_then(|before| before.capacity.running);
        if let (Some(running), Some(before), false) = (capacity.running, running_before, is_learned) {
            self.time.starts += u64::from(running.saturating_sub(before));
        }
        let until = now + poll * STALE_POLLS;
        self.report = Some(Report { capacity, is_learned, recorded_at: now, until });
    }

    /// Records what the upstream reported about its workers to another replica at `at`, which counts them.
    pub(crate) fn learn(&mut self, capacity: Capacity, poll: Duration, at: Time, now: Time) {
        self.report(capacity, true, poll, at);
        self.uncounted_since = self.uncounted_since.map(|since| since.max(now));
    }

    /// Whether the last report was another replica's.
    pub(crate) fn is_learned(&self) -> bool {
        self.report.is_some_and(|report| report.is_learned)
    }

    /// The last report and its age, if it is this replica's own and not old.
    pub(crate) fn polled(&self, now: Time) -> Option<(Capacity, Duration)> {
        let own = self.report.filter(|report| !report.is_learned && now <= report.until);
        own.map(|report| (report.capacity, now - report.recorded_at))
    }

    /// Whether this replica counts from now on. To be called once the time until now is counted.
    pub(crate) fn set_polls(&mut self, polls: Polls, now: Time) {
        self.polls = polls;
        if polls.count(now)
            && let Some(since) = self.uncounted_since.take()
        {
            self.time.unobserved += now - since;
        }
    }

    /// A first token came: the workers are up.
    pub(crate) fn answered(&mut self, now: Time) {
        self.starting_until = None;
        self.answered_at = Some(now);
    }

    /// The last report; all unknown if it is old.
    pub(crate) fn capacity(&self, now: Time) -> Capacity {
        self.report.filter(|report| now <= report.until).map_or_else(Capacity::default, |report| report.capacity)
    }

    /// Whether its workers came up from none and have answered nothing yet.
    fn is_starting(&self, now: Time) -> bool {
        self.starting_until.is_some_and(|until| now < until)
    }

    /// Time that passes is not billed: the upstream charges otherwise.
    pub(crate) fn pause(&mut self) {
        self.counted_until = None;
    }

    /// Counts the time until now. To be called before anything changes that the sum depends on.
    pub(crate) fn count(&mut self, in_flight: u32, per_second: PicoUsd, now: Time) {
        let since = self.counted_until.unwrap_or(now);
        // Threads may pass moments in another order than they read them.
        let now = now.max(since);
        self.counted_until = Some(now);
        let end = self.polls.end(since, now);
        if end < now {
            self.uncounted_since.get_or_insert(end);
        }
        let own = self.report.filter(|report| !report.is_learned);
        let (known, until) = own.map_or((None, since), |report| (report.capacity.running, report.until));
        let known_until = until.clamp(since, end);
        let Some(running) = known else {
            self.time.unobserved += end - since;
            return;
        };
        self.time.unobserved += end - known_until;
        let step = known_until - since;
        self.time.observed += step;
        if self.is_starting(since) {
            self.time.start += step * running;
        } else {
            let busy = running.min(in_flight);
            self.time.busy += step * busy;
            self.time.idle += step * (running - busy);
        }
        self.time.cost_pico_nanos += u128::from(per_second.0) * step.as_nanos() * u128::from(running);
    }

    pub(crate) fn time(&self) -> WorkerTime {
        self.time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    /// $0.00019 per second.
    const RATE: PicoUsd = PicoUsd(190_000_000);

    fn running(running: u32) -> Capacity {
        Capacity { running: Some(running), ..Capacity::default() }
    }

    /// A clock that counts by the second, with what each second brings.
    struct Day {
        workers: Workers,
        now: Time,
    }

    impl Day {
        fn new() -> Self {
            let (mut workers, now) = (Workers::default(), Time::ZERO);
            workers.count(0, RATE, now);
            Self { workers, now }
        }

        fn pass(&mut self, seconds: u32, in_flight: u32) {
            self.now += SECOND * seconds;
            self.workers.count(in_flight, RATE, self.now);
        }

        fn record(&mut self, count: u32) {
            self.workers.record(running(count), 10 * SECOND, self.now);
        }
    }

    #[test]
    fn a_cold_start_a_burst_and_a_tail_are_billed_under_separate_headings() {
        let mut day = Day::new();
        day.record(0);
        day.pass(10, 1);
        day.record(1);
        assert!(day.workers.is_starting(day.now), "a model that loads is no worker yet");
        day.pass(20, 1);
        day.workers.answered(day.now);
        assert!(!day.workers.is_starting(day.now));
        day.pass(7, 1);
        day.pass(3, 0);
        day.record(0);
        day.pass(9, 0);
        let time = day.workers.time();
        let seconds = [time.start, time.busy, time.idle, time.unobserved].map(|time| time.as_secs());
        assert_eq!(seconds, [20, 7, 3, 0]);
        assert_eq!(time.billed(), 30 * SECOND);
        assert_eq!(time.cost().to_string(), "0.005700000", "30 s at $0.00019");
        assert_eq!((time.observed.as_secs(), time.starts), (49, 1));
    }

    #[test]
    fn several_workers_are_busy_with_at_most_a_call_each() {
        let mut day = Day::new();
        day.record(3);
        day.pass(10, 2);
        assert_eq!((day.workers.time().busy, day.workers.time().idle), (20 * SECOND, 10 * SECOND));
        day.pass(10, 50);
        assert_eq!(day.workers.time().busy, 50 * SECOND);
    }

    #[test]
    fn time_without_a_count_is_kept_apart() {
        let mut day = Day::new();
        day.pass(5, 1);
        day.record(1);
        day.pass(100, 1);
        let time = day.workers.time();
        assert_eq!(time.unobserved, 75 * SECOND, "5 s before the first count, 70 s after it was stale");
        assert_eq!(time.billed(), 30 * SECOND);
        assert_eq!(time.observed, 30 * SECOND);
        assert_eq!(day.workers.capacity(day.now).running, None);
    }

    #[test]
    fn every_rise_from_one_count_to_the_next_is_a_start() {
        let mut day = Day::new();
        // Those that were up before the first count did not start under the router's eyes.
        for count in [2, 3, 1, 4, 4, 0, 1] {
            day.record(count);
            day.pass(10, 0);
        }
        assert_eq!(day.workers.time().starts, 1 + 3 + 1);
        day.pass(300, 0);
        day.record(9);
        assert_eq!(day.workers.time().starts, 5, "nobody knows since when they are up");
    }

    #[test]
    fn a_clock_that_was_read_earlier_counts_nothing_twice() {
        let mut day = Day::new();
        day.record(1);
        day.pass(5, 1);
        let earlier = day.now;
        day.pass(5, 1);
        day.workers.count(1, RATE, earlier);
        day.pass(10, 1);
        assert_eq!(day.workers.time().billed(), 20 * SECOND);
    }

    #[test]
    fn a_start_that_has_answered_between_two_polls_is_over() {
        let mut day = Day::new();
        day.record(0);
        day.pass(4, 1);
        day.workers.answered(day.now);
        day.pass(6, 1);
        day.record(1);
        assert!(!day.workers.is_starting(day.now));
    }

    #[test]
    fn a_stale_count_is_no_evidence_of_a_start() {
        let mut day = Day::new();
        day.record(0);
        day.pass(300, 0);
        day.record(1);
        assert!(!day.workers.is_starting(day.now));
    }

    #[test]
    fn a_start_that_never_ends_counts_as_up_after_the_longest_start() {
        let mut day = Day::new();
        day.record(0);
        day.pass(10, 1);
        day.record(1);
        for _ in 0..50 {
            day.pass(10, 1);
            day.record(1);
        }
        assert!(!day.workers.is_starting(day.now), "then it counts as up, and its failures as failures");
        assert_eq!(day.workers.time().start, LONGEST_START);
    }

    #[test]
    fn time_under_another_tariff_is_not_billed_later() {
        let mut day = Day::new();
        day.record(1);
        day.pass(10, 1);
        day.workers.pause();
        day.now += 1000 * SECOND;
        day.workers.count(1, RATE, day.now);
        assert_eq!(day.workers.time().billed(), 10 * SECOND);
    }

    #[test]
    fn workers_that_were_up_before_the_router_are_not_starting() {
        let mut day = Day::new();
        day.record(2);
        assert!(!day.workers.is_starting(day.now));
    }
}

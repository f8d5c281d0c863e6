//! The workers of an upstream as they were polled last, and which of them can take a call.
//!
//! RunPod counts a worker as `running` from the moment that it is billed, while its model still loads, and reports
//! nowhere which worker is which. So workers that came up since the last poll are taken to load: those that came up
//! from none until the first token that comes, others until a start usually ends. An `idle` worker is scaled down and
//! has only its image at hand: it takes no call.
//!
//! **Cold** means one thing everywhere: no worker is ready, one that loads included. Unknown capacity is neither warm
//! nor cold.

use std::time::Duration;

use provider::{Capacity, Time};

use crate::knowledge::idle_tail::IdleTail;

/// A report older than this many polls is unknown.
const STALE_POLLS: u32 = 3;
/// A first token that comes within this time after a call may have come from a worker that ran on. One that started so fast does
/// no harm either.
const AS_WARM: Duration = Duration::from_millis(1500);
/// Longest that a model takes to load: RunPod gives a worker up that takes longer.
pub(crate) const LONGEST_START: Duration = Duration::from_mins(7);

/// What an upstream reported about its workers, and until when that counts.
#[derive(Debug, Clone, Copy)]
struct Polled {
    capacity: Capacity,
    at: Time,
    until: Time,
}

/// Workers that load their model.
#[derive(Debug, Clone, Copy)]
struct Loading {
    workers: u32,
    since: Time,
    until: Time,
    /// Whether none was ready when they came up: then the first token shows when one is.
    is_from_none: bool,
}

/// What is known of the workers.
#[derive(Debug, Clone)]
pub(crate) struct Workers {
    polled: Option<Polled>,
    loading: Option<Loading>,
    /// When a first token came last.
    answered_at: Option<Time>,
    idle_tail: IdleTail,
    /// When the first call began at workers that may have been stopped since the report. Until one is answered they are taken to be.
    doubted_at: Option<Time>,
}

impl Workers {
    /// Nothing is known of them but that an idle one is stopped after `idle_timeout`.
    pub(crate) fn new(idle_timeout: Duration) -> Self {
        let idle_tail = IdleTail::new(idle_timeout);
        Self { polled: None, loading: None, answered_at: None, idle_tail, doubted_at: None }
    }

    /// An idle worker is stopped after `idle_timeout` as far as is known, if that has changed.
    pub(crate) fn configure(&mut self, idle_timeout: Duration) {
        self.idle_tail.configure(idle_timeout);
    }

    /// Records the workers that the upstream reported. It is polled every `poll`; a start usually takes `start`.
    pub(crate) fn polled(&mut self, capacity: Capacity, poll: Duration, start: Duration, now: Time) {
        let before = self.fresh(now).copied();
        if capacity.running == Some(0) {
            self.doubted_at = None;
        }
        if let Some(running) = capacity.running {
            self.idle_tail.reported(running, now);
        }
        self.polled = Some(Polled { capacity, at: now, until: now + poll * STALE_POLLS });
        let (Some(before), Some(running)) = (before, capacity.running) else {
            // Workers that were up before the first report are not taken to load.
            self.loading = None;
            return;
        };
        let Some(had) = before.capacity.running else { return };
        // What a report shows now may be their successors.
        let had = if self.doubted_at.is_some() && self.loading.is_none() { 0 } else { had };
        self.loading = self.loading(now).map(|loading| Loading { workers: loading.workers.min(running), ..loading });
        let came = running.saturating_sub(had);
        if came == 0 {
            return;
        }
        let is_from_none = had == 0 || self.loading.is_some_and(|loading| loading.is_from_none);
        // Between two polls they may have come up and answered already.
        let has_answered = self.answered_at.is_some_and(|at| at >= before.at);
        if had == 0 && has_answered {
            return;
        }
        let workers = self.loading.map_or(0, |loading| loading.workers) + came;
        let since = self.loading.map_or(self.doubted_at.unwrap_or(now), |loading| loading.since);
        let longest = if is_from_none { LONGEST_START } else { start.min(LONGEST_START) };
        self.loading = Some(Loading { workers, since, until: since + longest, is_from_none });
    }

    /// A call begins.
    pub(crate) fn called(&mut self, now: Time) {
        if self.is_in_doubt(now) {
            self.doubted_at = self.doubted_at.or(Some(now));
        }
        self.idle_tail.ended(now);
    }

    /// The last call is over.
    pub(crate) fn rests(&mut self, now: Time) {
        self.idle_tail.began(now);
        // Without an answer it has shown nothing: the reports are believed.
        if self.doubted_at.take().is_some() {
            self.loading = None;
        }
    }

    /// For how long an idle worker still runs on; `None` if it has work, or is not stopped.
    pub(crate) fn idle_left(&self, now: Time) -> Option<Duration> {
        self.idle_tail.left(now)
    }

    /// Whether the last report shows workers that may have been stopped meanwhile.
    pub(crate) fn is_in_doubt(&self, now: Time) -> bool {
        self.loading(now).is_none()
            && self.fresh(now).is_some_and(|polled| polled.capacity.running.is_some_and(|running| running > 0))
            && (self.doubted_at.is_some() || self.idle_tail.may_be_over(now))
    }

    /// A first token came: a worker is ready. If there was none before, the others that came up with it are taken to be
    /// ready too.
    pub(crate) fn answered(&mut self, now: Time) {
        self.answered_at = Some(now);
        if self.doubted_at.take().is_some_and(|at| now - at < AS_WARM) {
            self.idle_tail.outlived();
        }
        self.loading = self.loading.filter(|loading| !loading.is_from_none);
    }

    /// More calls are in flight than the ready workers serve, and nothing is queued: one more of the workers that were
    /// taken to load is ready. Only one, since a few calls are always on their way; the next report shows whether the
    /// others are ready too.
    pub(crate) fn one_more_ready(&mut self) {
        if let Some(loading) = self.loading.as_mut().filter(|loading| !loading.is_from_none) {
            loading.workers = loading.workers.saturating_sub(1);
        }
    }

    /// Jobs are queued although our calls take no more than `serving` workers: the others are taken to load, until `until` at least.
    pub(crate) fn only_ready(&mut self, serving: u32, until: Time, now: Time) {
        let more = self.ready(now).unwrap_or(0).saturating_sub(serving);
        if more == 0 {
            return;
        }
        let none = Loading { workers: 0, since: now, until, is_from_none: false };
        let loading = self.loading(now).unwrap_or(none);
        self.loading = Some(Loading { workers: loading.workers + more, until: loading.until.max(until), ..loading });
    }

    /// The last report and its age; `None` if there is none or it is stale.
    pub(crate) fn report(&self, now: Time) -> Option<(Capacity, Duration)> {
        self.fresh(now).map(|polled| (polled.capacity, now - polled.at))
    }

    /// Workers that can take a call now; `None` if unknown.
    pub(crate) fn ready(&self, now: Time) -> Option<u32> {
        let polled = self.fresh(now)?;
        let running = polled.capacity.running?;
        if self.is_in_doubt(now) {
            return Some(0);
        }
        // What has answered since the report runs.
        let has_answered = self.answered_at.is_some_and(|at| at > polled.at);
        let running = if has_answered { running.max(1) } else { running };
        Some(running.saturating_sub(self.loading(now).map_or(0, |loading| loading.workers)))
    }

    /// Workers on their way, those that fetch their image included, and for how long the first has been; `None` if
    /// unknown.
    pub(crate) fn on_their_way(&self, now: Time) -> Option<(u32, Duration)> {
        let fetching = self.fresh(now)?.capacity.initializing.unwrap_or(0);
        let loading = self.loading(now);
        Some((fetching + loading.map_or(0, |at| at.workers), loading.map_or(Duration::ZERO, |at| now - at.since)))
    }

    /// Whether no worker is ready, one that loads included; `None` if unknown.
    pub(crate) fn is_cold(&self, now: Time) -> Option<bool> {
        self.ready(now).map(|ready| ready == 0)
    }

    fn fresh(&self, now: Time) -> Option<&Polled> {
        self.polled.as_ref().filter(|polled| now <= polled.until)
    }

    fn loading(&self, now: Time) -> Option<Loading> {
        self.loading.filter(|loading| now < loading.until && loading.workers > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL: Duration = Duration::from_secs(2);
    const START: Duration = Duration::from_secs(14);

    fn at(seconds: u64) -> Time {
        Time::from_nanos(0) + Duration::from_secs(seconds)
    }

    fn running(running: u32) -> Capacity {
        Capacity { running: Some(running), ..Capacity::default() }
    }

    /// Polled once at each of the seconds.
    fn polled(counts: &[(u64, u32)]) -> Workers {
        let mut workers = Workers::new(Duration::from_secs(5));
        for (second, count) in counts {
            workers.polled(running(*count), POLL, START, at(*second));
        }
        workers
    }

    #[test]
    fn a_worker_that_came_up_from_none_is_ready_with_the_first_token() {
        let mut workers = polled(&[(0, 0), (2, 1), (4, 2)]);
        assert_eq!((workers.ready(at(4)), workers.is_cold(at(4))), (Some(0), Some(true)), "two that load are cold");
        assert_eq!(workers.on_their_way(at(5)), Some((2, Duration::from_secs(3))));
        workers.answered(at(5));
        assert_eq!((workers.ready(at(5)), workers.is_cold(at(5))), (Some(2), Some(false)));
    }

    #[test]
    fn a_worker_in_doubt_that_answers_at_once_is_not_doubted_after_the_next_rest() {
        // A worker was taken away when it had just become idle. The next one is in doubt as soon as it rests.
        let doubted = |answers_after: Duration| {
            let mut workers = polled(&[(0, 1)]);
            workers.called(at(1));
            workers.answered(at(1));
            workers.rests(at(1));
            workers.polled(running(0), POLL, START, at(2));
            workers.called(at(3));
            workers.polled(running(1), POLL, START, at(4));
            workers.answered(at(5));
            workers.rests(at(5));
            assert!(workers.is_in_doubt(at(6)));
            workers.called(at(8));
            assert_eq!(workers.ready(at(8)), Some(0));
            let now = at(8) + answers_after;
            workers.answered(now);
            workers.polled(running(1), POLL, START, now);
            workers.rests(now);
            workers.is_in_doubt(now + Duration::from_secs(1))
        };
        assert!(!doubted(Duration::from_millis(400)));
        assert!(doubted(Duration::from_secs(10)), "after a cold start");
    }

    #[test]
    fn a_further_worker_counts_once_a_start_usually_ends() {
        let mut workers = polled(&[(0, 1), (2, 3)]);
        workers.answered(at(3));
        assert_eq!((workers.ready(at(3)), workers.is_cold(at(3))), (Some(1), Some(false)), "the old one answered");
        (4..=16).step_by(2).for_each(|second| workers.polled(running(3), POLL, START, at(second)));
        assert_eq!(workers.ready(at(16)), Some(3));
    }

    #[test]
    fn workers_that_leave_jobs_in_the_queue_are_not_ready() {
        let mut workers = polled(&[(0, 3)]);
        workers.only_ready(1, at(4), at(1));
        assert_eq!((workers.ready(at(1)), workers.ready(at(3)), workers.ready(at(4))), (Some(1), Some(1), Some(3)));
        workers.only_ready(3, at(9), at(5));
        assert_eq!(workers.ready(at(5)), Some(3), "all of them have work");
    }

    #[test]
    fn of_several_that_load_one_at_a_time_is_taken_to_be_ready() {
        let mut workers = polled(&[(0, 1), (2, 3)]);
        for ready in [2, 3, 3] {
            workers.one_more_ready();
            assert_eq!(workers.ready(at(3)), Some(ready));
        }
        let mut cold = polled(&[(0, 0), (2, 2)]);
        cold.one_more_ready();
        assert_eq!(cold.ready(at(3)), Some(0), "the first token shows when one is");
    }

    #[test]
    fn one_that_leaves_while_others_load_is_no_negative_count() {
        let mut workers = polled(&[(0, 1), (2, 3)]);
        workers.polled(running(1), POLL, START, at(4));
        assert_eq!(workers.ready(at(4)), Some(0), "the one that is left may be one that loads");
        workers.polled(running(0), POLL, START, at(6));
        assert_eq!((workers.ready(at(6)), workers.on_their_way(at(6))), (Some(0), Some((0, Duration::ZERO))));
    }

    #[test]
    fn a_start_that_answered_between_two_polls_is_over() {
        let mut workers = polled(&[(0, 0)]);
        workers.answered(at(1));
        workers.polled(running(1), POLL, START, at(2));
        assert_eq!(workers.ready(at(2)), Some(1));
    }

    /// Reports come every two seconds, and idle workers are stopped after five.
    #[test]
    fn a_worker_that_may_have_been_stopped_since_the_report_is_not_ready() {
        let rest = || {
            let mut workers = polled(&[(0, 1), (2, 1), (4, 1)]);
            workers.called(at(0));
            workers.answered(at(0));
            workers.rests(at(0));
            assert_eq!((workers.ready(at(4)), workers.ready(at(5))), (Some(1), Some(0)));
            workers
        };
        let mut outlived = rest();
        (6..=8).step_by(2).for_each(|second| outlived.polled(running(1), POLL, START, at(second)));
        assert_eq!(outlived.ready(at(9)), Some(1), "a report shows that it runs on");
        let mut answered = rest();
        answered.called(at(5));
        answered.polled(running(1), POLL, START, at(6));
        assert_eq!(answered.ready(at(6)), Some(0), "that may be the next one, which loads");
        answered.answered(at(7));
        assert_eq!(answered.ready(at(7)), Some(1));
        let mut left = rest();
        left.called(at(5));
        left.polled(running(1), POLL, START, at(6));
        left.rests(at(7));
        assert_eq!(left.ready(at(7)), Some(1), "the report is believed");
    }

    #[test]
    fn what_is_old_or_left_out_is_unknown() {
        let workers = polled(&[(0, 2)]);
        assert_eq!(workers.report(at(6)).map(|(_, age)| age), Some(Duration::from_secs(6)));
        assert_eq!((workers.ready(at(6)), workers.ready(at(7)), workers.is_cold(at(7))), (Some(2), None, None));
        let mut silent = Workers::new(Duration::from_secs(5));
        silent.polled(Capacity::default(), POLL, START, at(0));
        assert_eq!((silent.ready(at(0)), silent.is_cold(at(0))), (None, None));
    }

    #[test]
    fn a_start_after_a_gap_in_the_reports_is_not_guessed() {
        for before in [&[(0, 0)][..], &[(0, 0), (2, 1)]] {
            let mut workers = polled(before);
            workers.polled(running(1), POLL, START, at(300));
            assert_eq!(workers.ready(at(300)), Some(1), "{before:?}");
        }
    }

    #[test]
    fn a_start_that_never_ends_counts_as_ready_after_the_longest_start() {
        let mut workers = polled(&[(0, 0)]);
        (2..=420).step_by(2).for_each(|second| workers.polled(running(1), POLL, START, at(second)));
        assert_eq!(workers.is_cold(at(420)), Some(true));
        workers.polled(running(1), POLL, START, at(422));
        assert_eq!(workers.is_cold(at(422)), Some(false), "then its failures are failures");
    }
}

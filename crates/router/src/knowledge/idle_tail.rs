//! How long an idle worker runs on before it is stopped, learned from reports.
//!
//! Reports come seconds apart, so that a worker may be gone that the last one shows. A request that is sent there waits for a
//! cold start. So once a worker has been idle for as long as the ones before it ran on, it is not taken to be there until a
//! report or an answer shows it.

use std::time::Duration;

use provider::Time;

/// An answer's end is seen later than it was, and a call arrives later than it is sent.
const ON_THE_WAY: Duration = Duration::from_millis(500);
/// The shortest time that is believed: it is configured in whole seconds, and a worker that is gone sooner broke or was taken away.
const SHORTEST: Duration = Duration::from_secs(1);
/// A worker that still runs so long after the configured time shows that its endpoint has another one.
const SLACK: Duration = Duration::from_secs(2);

/// How long idle workers run on, and the rest that goes on.
#[derive(Debug, Clone)]
pub(crate) struct IdleTail {
    configured: Duration,
    /// Between these. `None`: they are not stopped.
    bounds: Option<(Duration, Duration)>,
    /// Whether a worker was seen to be stopped. Before, the configured time is believed until one outlives it.
    is_learned: bool,
    rest: Option<Rest>,
    /// How long the latest rest was that a call ended.
    latest: Duration,
}

/// The time since the last call.
#[derive(Debug, Clone, Copy)]
struct Rest {
    since: Time,
    /// For how long of it a worker is known to have run.
    ran: Duration,
    is_stopped: bool,
}

impl IdleTail {
    /// Workers are thought to run on for this time.
    pub(crate) fn new(configured: Duration) -> Self {
        let bounds = Some((configured, configured));
        Self { configured, bounds, is_learned: false, rest: None, latest: Duration::ZERO }
    }

    /// The configured time may have changed. If so, what was learned of the old one is forgotten.
    pub(crate) fn configure(&mut self, configured: Duration) {
        if configured != self.configured {
            *self = Self { rest: self.rest, ..Self::new(configured) };
        }
    }

    /// A call begins.
    pub(crate) fn ended(&mut self, now: Time) {
        if let Some(rest) = self.rest.take() {
            self.latest = now - rest.since;
        }
    }

    /// The call that ended the rest was answered as fast as by a worker that had run on. Where others were seen to be stopped sooner,
    /// that had another cause: a worker that broke, or was taken away.
    pub(crate) fn outlived(&mut self) {
        let Some((least, most)) = self.bounds else { return };
        if self.latest <= most {
            self.bounds = Some((least.max(self.latest), most));
            return;
        }
        self.is_learned = false;
        self.bounds = (self.latest <= self.configured).then_some((self.configured, self.configured));
    }

    /// The last call is over.
    pub(crate) fn began(&mut self, now: Time) {
        self.rest = Some(Rest { since: now, ran: Duration::ZERO, is_stopped: false });
    }

    /// So many workers run.
    pub(crate) fn reported(&mut self, running: u32, now: Time) {
        let Some(rest) = self.rest.as_mut().filter(|rest| !rest.is_stopped) else { return };
        let idle = now - rest.since;
        if running > 0 {
            rest.ran = idle;
            // A stop takes a moment.
            if !self.is_learned && self.bounds.is_some_and(|(_, most)| idle > most + SLACK) {
                self.bounds = None;
            }
            return;
        }
        rest.is_stopped = true;
        let (least, most) = self.bounds.filter(|_| self.is_learned).unwrap_or((rest.ran, idle));
        self.is_learned = true;
        // What contradicts all that was seen before is another setting.
        let is_other = rest.ran > most || idle < least;
        self.bounds = Some(if is_other { (rest.ran, idle) } else { (least.max(rest.ran), most.min(idle)) });
    }

    /// Whether the worker may have been stopped since the last report.
    pub(crate) fn may_be_over(&self, now: Time) -> bool {
        let Some((rest, (least, most))) = self.rest.zip(self.bounds) else { return false };
        let idle = now - rest.since;
        // One that is seen to run for longer is kept by others, or for good.
        !rest.is_stopped && rest.ran <= most && idle >= tail(least, most) && idle > rest.ran
    }

    /// For how long an idle worker still runs on; `None` if it has work, or is not stopped.
    pub(crate) fn left(&self, now: Time) -> Option<Duration> {
        let (rest, (least, most)) = self.rest.zip(self.bounds)?;
        let is_kept = rest.is_stopped || rest.ran > most;
        (!is_kept).then(|| tail(least, most).saturating_sub(now - rest.since))
    }
}

/// When a worker is thought to be stopped, as a time after the end of its last answer was seen.
fn tail(least: Duration, most: Duration) -> Duration {
    ((least.max(SHORTEST) + most.max(SHORTEST)) / 2).saturating_sub(ON_THE_WAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Time {
        Time::ZERO + Duration::from_secs_f64(seconds)
    }

    /// Rests of a minute each, with a report every five seconds, of workers that are stopped after `tail` seconds.
    fn after_rests(rests: u32, tail: f64) -> (IdleTail, f64) {
        let (mut idle, mut now) = (IdleTail::new(Duration::from_secs(20)), 0.0);
        for rest in 0..rests {
            idle.ended(at(now));
            now += 0.7 * f64::from(rest % 7);
            idle.began(at(now));
            let stops = now + tail;
            let next = (now / 5.0).floor() * 5.0;
            (1..=12).map(|nth| next + 5.0 * f64::from(nth)).for_each(|report| {
                idle.reported(u32::from(report < stops), at(report));
            });
            now = next + 61.0;
        }
        idle.ended(at(now));
        (idle, now)
    }

    #[test]
    fn a_worker_is_doubted_once_others_were_stopped_by_then() {
        for tail in [5.0, 12.0] {
            let (mut idle, now) = after_rests(10, tail);
            idle.began(at(now));
            let doubted = (0..600).map(|tenth| f64::from(tenth) / 10.0).find(|s| idle.may_be_over(at(now + s)));
            assert!(doubted.is_some_and(|seconds| (seconds - tail).abs() < 1.5), "{doubted:?} of {tail}");
        }
    }

    #[test]
    fn a_worker_that_is_gone_at_once_makes_no_short_rest_doubtful() {
        let mut idle = IdleTail::new(Duration::from_secs(5));
        idle.began(at(0.0));
        idle.reported(0, at(0.1));
        idle.ended(at(1.0));
        idle.began(at(2.0));
        let doubted = [0.01, 0.4, 0.6].map(|seconds| idle.may_be_over(at(2.0 + seconds)));
        assert_eq!(doubted, [false, false, true]);
    }

    #[test]
    fn nothing_is_doubted_before_a_worker_was_seen_to_be_stopped() {
        let (mut idle, now) = after_rests(10, 1e6);
        idle.began(at(now));
        assert!(!idle.may_be_over(at(now + 1e6)));
    }

    #[test]
    fn a_worker_that_outlives_the_others_is_doubted_no_more() {
        let (mut idle, now) = after_rests(10, 5.0);
        idle.began(at(now));
        assert!(idle.may_be_over(at(now + 6.0)));
        idle.reported(1, at(now + 7.0));
        assert!(!idle.may_be_over(at(now + 8.0)));
    }

    #[test]
    fn a_worker_that_was_taken_away_is_not_taken_for_one_that_was_idle_for_long() {
        let mut idle = IdleTail::new(Duration::from_secs(20));
        idle.began(at(0.0));
        idle.reported(0, at(0.8));
        idle.ended(at(5.0));
        idle.began(at(6.0));
        assert!(idle.may_be_over(at(6.7)), "by all that was seen");
        idle.ended(at(7.0));
        idle.outlived();
        idle.began(at(8.0));
        assert!(!idle.may_be_over(at(27.0)) && idle.may_be_over(at(28.0)), "the configured time counts again");
    }

    #[test]
    fn another_setting_replaces_what_was_learned() {
        let (mut idle, now) = after_rests(10, 5.0);
        idle.began(at(now));
        idle.reported(1, at(now + 28.0));
        idle.reported(0, at(now + 33.0));
        idle.ended(at(now + 60.0));
        idle.began(at(now + 60.0));
        assert!(!idle.may_be_over(at(now + 80.0)) && idle.may_be_over(at(now + 91.0)));
    }
}

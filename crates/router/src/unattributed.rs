//! Failures of an upstream that are not attributed yet, either to the upstream or to the request.
//!
//! Some servers answer bad input with the same error as an outage of their own. The next different request at the
//! upstream decides: if it succeeds, the failure is forgotten; if it fails too, both failures count against the
//! upstream, and so does each further failure until a different request succeeds. Only a request that began after the
//! failure decides. A request that was under way when the failure happened decides nothing, and neither does a repeat
//! of the request that failed, whether it succeeds or fails. Pure: the time is passed in, and requests are identified
//! by a number, their fingerprint.

use provider::Time;

/// The unattributed failures of an upstream, and the successes that may decide about them.
#[derive(Debug, Default)]
pub(crate) struct UnattributedFailures {
    /// The latest failure of a request that is over.
    last: Option<Failure>,
    /// The latest failure of a request that was not over when it was recorded.
    pending: Option<Failure>,
    successes: Successes,
}

/// An unattributed failure.
#[derive(Debug, Clone, Copy)]
struct Failure {
    /// The fingerprint of the request that failed.
    by: Option<u64>,
    /// When it failed, or was recorded.
    since: Time,
    /// Whether it counts against the upstream already.
    is_counted: bool,
}

/// A request that succeeded.
#[derive(Debug, Clone, Copy)]
struct Success {
    by: Option<u64>,
    began: Time,
}

/// The successful request that began last, and the one that began last among all others.
#[derive(Debug, Default)]
struct Successes {
    latest: Option<Success>,
    other: Option<Success>,
}

impl Successes {
    fn record(&mut self, new: Success) {
        let is_latest = self.latest.is_none_or(|latest| new.began >= latest.began);
        if self.latest.is_some_and(|latest| latest.by == new.by) {
            self.latest = if is_latest { Some(new) } else { self.latest };
        } else if is_latest {
            self.other = self.latest.replace(new);
        } else if self.other.is_none_or(|other| new.began >= other.began) {
            self.other = Some(new);
        }
    }
}

/// Whether two requests differ. A request without a fingerprint differs from every other one.
fn differ(one: Option<u64>, other: Option<u64>) -> bool {
    one.is_none() || one != other
}

impl Failure {
    /// Whether `by` is a different request.
    fn differs_from(self, by: Option<u64>) -> bool {
        differ(self.by, by)
    }

    /// Whether the result of `by`, called at `began`, decides whether this failure counts against the upstream.
    fn is_decided(self, by: Option<u64>, began: Time) -> bool {
        self.differs_from(by) && began >= self.since
    }

    /// Whether the failure of `by`, called at `began`, attributes this one to the upstream.
    fn is_confirmed(self, by: Option<u64>, began: Time) -> bool {
        !self.is_counted && self.is_decided(by, began)
    }
}

impl UnattributedFailures {
    /// The request `by` failed in a way that it may have caused, and is not over: it may be repeated or go to another
    /// upstream.
    pub(crate) fn record_pending(&mut self, by: Option<u64>, now: Time) {
        self.pending = Some(Failure { by, since: now, is_counted: false });
    }

    /// Whether there is a failure that a success could clear.
    pub(crate) fn has_undecided(&self) -> bool {
        self.last.is_some() || self.pending.is_some()
    }

    /// Whether a request other than `by`, called at or after `since`, succeeded.
    pub(crate) fn has_served_other_request_since(&self, by: Option<u64>, since: Time) -> bool {
        let Successes { latest, other } = &self.successes;
        [latest, other].into_iter().flatten().any(|success| differ(success.by, by) && success.began >= since)
    }

    /// The request `by`, called at `began`, failed in a way that it may have caused, and is over. Returns how many
    /// failures count against the upstream now.
    pub(crate) fn record(&mut self, by: Option<u64>, began: Time, now: Time) -> u32 {
        let Some(last) = self.last else {
            self.last = Some(Failure { by, since: now, is_counted: false });
            return 0;
        };
        let count = match (last.is_counted, last.is_confirmed(by, began)) {
            (true, _) if last.differs_from(by) => 1,
            (false, true) => 2,
            _ => return 0,
        };
        self.last = Some(Failure { by, since: now, is_counted: true });
        count
    }

    /// The request `by`, called at `began`, failed in a way that no request can cause. Returns how many failures count
    /// against the upstream now.
    pub(crate) fn failed(&mut self, by: Option<u64>, began: Time) -> u32 {
        match &mut self.last {
            Some(last) if last.is_confirmed(by, began) => {
                last.is_counted = true;
                2
            }
            Some(_) | None => 1,
        }
    }

    /// The request `by`, called at `began`, succeeded.
    pub(crate) fn succeeded(&mut self, by: Option<u64>, began: Time) {
        self.last = self.last.filter(|last| !last.is_decided(by, began));
        self.pending = self.pending.filter(|pending| !pending.is_decided(by, began));
        self.successes.record(Success { by, began });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const A: Option<u64> = Some(1);
    const B: Option<u64> = Some(2);
    const C: Option<u64> = Some(3);

    struct Bench {
        failures: UnattributedFailures,
        now: Time,
    }

    impl Bench {
        fn new() -> Self {
            Self { failures: UnattributedFailures::default(), now: Time::ZERO }
        }

        /// One request after the other.
        fn record(&mut self, by: Option<u64>) -> u32 {
            let began = self.now;
            self.now += Duration::from_millis(10);
            self.failures.record(by, began, self.now)
        }
    }

    #[test]
    fn repeats_of_one_request_never_count_against_the_upstream() {
        let mut bench = Bench::new();
        assert_eq!((0..100).map(|_| bench.record(A)).sum::<u32>(), 0);
    }

    #[test]
    fn the_next_different_request_decides_about_both() {
        let mut bench = Bench::new();
        assert_eq!((bench.record(A), bench.record(B)), (0, 2));
        assert_eq!((bench.record(A), bench.record(A), bench.record(B)), (1, 0, 1), "from then on each counts");
        bench.failures.succeeded(C, bench.now);
        assert_eq!((bench.record(A), bench.record(A), bench.failures.failed(B, bench.now)), (0, 0, 2));
        bench.failures.succeeded(C, bench.now);
        assert_eq!(bench.record(B), 0, "what went before is forgotten");
    }

    #[test]
    fn a_request_that_began_before_the_failure_decides_nothing() {
        let mut bench = Bench::new();
        let began = bench.now;
        assert_eq!(bench.record(A), 0);
        for by in 2..20 {
            assert_eq!(bench.failures.record(Some(by), began, bench.now), 0);
            assert_eq!(bench.failures.failed(Some(by), began), 1, "only itself");
        }
        assert_eq!(bench.record(B), 2);
    }

    #[test]
    fn only_a_different_request_that_began_after_it_clears_a_failure() {
        for (by, is_later, clears) in
            [(B, true, true), (None, true, true), (B, false, false), (None, false, false), (A, true, false)]
        {
            let mut bench = Bench::new();
            let before = bench.now;
            bench.failures.record_pending(A, bench.now);
            assert_eq!(bench.record(A), 0);
            bench.failures.succeeded(by, if is_later { bench.now } else { before });
            assert_eq!(bench.failures.has_undecided(), !clears, "{by:?}, begun later: {is_later}");
            assert_eq!(bench.record(C), if clears { 0 } else { 2 }, "{by:?}, begun later: {is_later}");
        }
    }

    #[test]
    fn success_of_another_request_is_remembered_through_repeats_of_the_same() {
        let bench = Bench::new();
        let at = |n| bench.now + Duration::from_millis(n);
        // In any order: requests end in another one than they begin.
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut failures = UnattributedFailures::default();
            for success in order {
                let (by, began) = [(A, at(3)), (B, at(2)), (A, at(1))][success];
                failures.succeeded(by, began);
            }
            assert!(
                failures.has_served_other_request_since(A, at(2)) && !failures.has_served_other_request_since(A, at(3)),
                "{order:?}"
            );
            assert!(
                failures.has_served_other_request_since(B, at(3)) && !failures.has_served_other_request_since(B, at(4)),
                "{order:?}"
            );
            assert!(failures.has_served_other_request_since(None, at(3)), "{order:?}");
        }
    }

    #[test]
    fn failures_that_no_request_can_cause_count_at_once() {
        let mut bench = Bench::new();
        assert_eq!((bench.failures.failed(A, bench.now), bench.failures.failed(A, bench.now)), (1, 1));
        assert_eq!((bench.record(A), bench.failures.failed(A, bench.now)), (0, 1));
    }
}

//! Failures of an upstream that may be the fault of the requests that met them.
//!
//! Some servers answer bad input as if they were broken. Which it was shows only in what becomes of the next different request
//! there: if it goes well, the failure is forgotten; if it fails as well, both count against the upstream, and so does each
//! further failure until a different one goes well. The next one is one that began after the failure: what was under way beside
//! it shows nothing, and neither does the same request again, whether it fails or goes well, however often its client repeats it.
//! Pure: the time is passed in, and a request is told from others by a number.

use provider::Time;

/// What is in doubt about an upstream.
#[derive(Debug, Default)]
pub(crate) struct Doubt {
    /// The request that failed last in a doubtful way.
    last: Option<Suspect>,
    /// The latest doubtful failure of a request that was under way still.
    noted: Option<Suspect>,
    successes: Successes,
}

#[derive(Debug, Clone, Copy)]
struct Suspect {
    by: Option<u64>,
    since: Time,
    /// Whether its failure counts against the upstream.
    is_counted: bool,
}

/// A request that went well.
#[derive(Debug, Clone, Copy)]
struct Success {
    by: Option<u64>,
    began: Time,
}

/// The request that began last of those that went well, and the one that began last of all different ones.
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

/// Whether two requests are different ones. One that is not known by a number is always another.
fn differ(one: Option<u64>, other: Option<u64>) -> bool {
    one.is_none() || one != other
}

impl Suspect {
    /// Whether `by` is another request.
    fn differs_from(self, by: Option<u64>) -> bool {
        differ(self.by, by)
    }

    /// Whether how `by` ends, called at `began`, shows whose fault this failure was.
    fn is_decided(self, by: Option<u64>, began: Time) -> bool {
        self.differs_from(by) && began >= self.since
    }

    /// Whether the failure of `by`, called at `began`, shows that this one was not the request's fault.
    fn is_confirmed(self, by: Option<u64>, began: Time) -> bool {
        !self.is_counted && self.is_decided(by, began)
    }
}

impl Doubt {
    /// The request `by` failed in a way that may be its own fault, and may be repeated or served elsewhere yet.
    pub(crate) fn note(&mut self, by: Option<u64>, now: Time) {
        self.noted = Some(Suspect { by, since: now, is_counted: false });
    }

    /// Whether there is a failure about which the next success decides.
    pub(crate) fn is_open(&self) -> bool {
        self.last.is_some() || self.noted.is_some()
    }

    /// Whether a request other than `by`, called at or after `since`, went well.
    pub(crate) fn has_served_another(&self, by: Option<u64>, since: Time) -> bool {
        let Successes { latest, other } = &self.successes;
        [latest, other].into_iter().flatten().any(|success| differ(success.by, by) && success.began >= since)
    }

    /// The request `by`, called at `began`, failed in a way that may be its own fault. Returns how many failures count against
    /// the upstream now.
    pub(crate) fn suspect(&mut self, by: Option<u64>, began: Time, now: Time) -> u32 {
        let Some(last) = self.last else {
            self.last = Some(Suspect { by, since: now, is_counted: false });
            return 0;
        };
        let count = match (last.is_counted, last.is_confirmed(by, began)) {
            (true, _) if last.differs_from(by) => 1,
            (false, true) => 2,
            _ => return 0,
        };
        self.last = Some(Suspect { by, since: now, is_counted: true });
        count
    }

    /// The request `by`, called at `began`, failed in a way that is not its own fault. Returns how many failures count against
    /// the upstream now.
    pub(crate) fn failed(&mut self, by: Option<u64>, began: Time) -> u32 {
        match &mut self.last {
            Some(last) if last.is_confirmed(by, began) => {
                last.is_counted = true;
                2
            }
            Some(_) | None => 1,
        }
    }

    /// The request `by`, called at `began`, went well.
    pub(crate) fn went_well(&mut self, by: Option<u64>, began: Time) {
        self.last = self.last.filter(|last| !last.is_decided(by, began));
        self.noted = self.noted.filter(|noted| !noted.is_decided(by, began));
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
        doubt: Doubt,
        now: Time,
    }

    impl Bench {
        fn new() -> Self {
            Self { doubt: Doubt::default(), now: Time::ZERO }
        }

        /// One request after the other.
        fn suspect(&mut self, by: Option<u64>) -> u32 {
            let began = self.now;
            self.now += Duration::from_millis(10);
            self.doubt.suspect(by, began, self.now)
        }
    }

    #[test]
    fn one_request_alone_shows_nothing_however_often_it_is_repeated() {
        let mut bench = Bench::new();
        assert_eq!((0..100).map(|_| bench.suspect(A)).sum::<u32>(), 0);
    }

    #[test]
    fn the_next_different_request_decides_about_both() {
        let mut bench = Bench::new();
        assert_eq!((bench.suspect(A), bench.suspect(B)), (0, 2));
        assert_eq!((bench.suspect(A), bench.suspect(A), bench.suspect(B)), (1, 0, 1), "from then on each counts");
        bench.doubt.went_well(C, bench.now);
        assert_eq!((bench.suspect(A), bench.suspect(A), bench.doubt.failed(B, bench.now)), (0, 0, 2));
        bench.doubt.went_well(C, bench.now);
        assert_eq!(bench.suspect(B), 0, "what went before is forgotten");
    }

    #[test]
    fn what_was_under_way_beside_it_shows_nothing() {
        let mut bench = Bench::new();
        let began = bench.now;
        assert_eq!(bench.suspect(A), 0);
        for by in 2..20 {
            assert_eq!(bench.doubt.suspect(Some(by), began, bench.now), 0);
            assert_eq!(bench.doubt.failed(Some(by), began), 1, "only itself");
        }
        assert_eq!(bench.suspect(B), 2);
    }

    #[test]
    fn only_a_different_request_that_began_after_it_clears_a_failure() {
        for (by, is_later, clears) in
            [(B, true, true), (None, true, true), (B, false, false), (None, false, false), (A, true, false)]
        {
            let mut bench = Bench::new();
            let before = bench.now;
            bench.doubt.note(A, bench.now);
            assert_eq!(bench.suspect(A), 0);
            bench.doubt.went_well(by, if is_later { bench.now } else { before });
            assert_eq!(bench.doubt.is_open(), !clears, "{by:?}, begun later: {is_later}");
            assert_eq!(bench.suspect(C), if clears { 0 } else { 2 }, "{by:?}, begun later: {is_later}");
        }
    }

    #[test]
    fn whether_another_was_served_is_remembered_through_repeats_of_the_same() {
        let bench = Bench::new();
        let at = |n| bench.now + Duration::from_millis(n);
        // In any order: requests end in another one than they begin.
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut doubt = Doubt::default();
            for success in order {
                let (by, began) = [(A, at(3)), (B, at(2)), (A, at(1))][success];
                doubt.went_well(by, began);
            }
            assert!(doubt.has_served_another(A, at(2)) && !doubt.has_served_another(A, at(3)), "{order:?}");
            assert!(doubt.has_served_another(B, at(3)) && !doubt.has_served_another(B, at(4)), "{order:?}");
            assert!(doubt.has_served_another(None, at(3)), "{order:?}");
        }
    }

    #[test]
    fn failures_that_are_nobodys_request_count_at_once() {
        let mut bench = Bench::new();
        assert_eq!((bench.doubt.failed(A, bench.now), bench.doubt.failed(A, bench.now)), (1, 1));
        assert_eq!((bench.suspect(A), bench.doubt.failed(A, bench.now)), (0, 1));
    }
}

//! Failures of an upstream that may be the fault of the requests that met them.
//!
//! Some servers answer bad input as if they were broken. Which it was shows only in what becomes of the next different request
//! there: if it goes well, the failure is forgotten; if it fails as well, both count against the upstream, and so does each
//! further failure until one goes well. The next one is one that began after the failure: what was under way beside it shows
//! nothing, and neither does the same request again, however often its client repeats it. Pure: the time is passed in, and a
//! request is told from others by a number.

use tokio::time::Instant;

/// What is in doubt about an upstream.
#[derive(Debug, Default)]
pub(crate) struct Doubt {
    /// The request that failed last in a doubtful way.
    last: Option<Suspect>,
}

#[derive(Debug, Clone, Copy)]
struct Suspect {
    by: Option<u64>,
    since: Instant,
    /// Whether its failure counts against the upstream.
    is_counted: bool,
}

impl Suspect {
    /// Whether `by` is another request. One that is not known by a number is always another.
    fn differs_from(self, by: Option<u64>) -> bool {
        self.by.is_none() || self.by != by
    }

    /// Whether the failure of `by`, called at `began`, shows that this one was not the request's fault.
    fn is_confirmed(self, by: Option<u64>, began: Instant) -> bool {
        !self.is_counted && self.differs_from(by) && began >= self.since
    }
}

impl Doubt {
    /// The request `by`, called at `began`, failed in a way that may be its own fault. Returns how many failures count against
    /// the upstream now.
    pub(crate) fn suspect(&mut self, by: Option<u64>, began: Instant, now: Instant) -> u32 {
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
    pub(crate) fn failed(&mut self, by: Option<u64>, began: Instant) -> u32 {
        match &mut self.last {
            Some(last) if last.is_confirmed(by, began) => {
                last.is_counted = true;
                2
            }
            Some(_) | None => 1,
        }
    }

    /// A request went well.
    pub(crate) fn went_well(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const A: Option<u64> = Some(1);
    const B: Option<u64> = Some(2);

    struct Bench {
        doubt: Doubt,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Self { doubt: Doubt::default(), now: Instant::now() }
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
        bench.doubt.went_well();
        assert_eq!((bench.suspect(A), bench.suspect(A), bench.doubt.failed(B, bench.now)), (0, 0, 2));
        bench.doubt.went_well();
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
    fn failures_that_are_nobodys_request_count_at_once() {
        let mut bench = Bench::new();
        assert_eq!((bench.doubt.failed(A, bench.now), bench.doubt.failed(A, bench.now)), (1, 1));
        assert_eq!((bench.suspect(A), bench.doubt.failed(A, bench.now)), (0, 1));
    }
}

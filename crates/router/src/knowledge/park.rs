//! How long an upstream is parked (gets no calls) after it refused because it is full or our allowance is used up.
//!
//! For its `Retry-After`; without one, or with one that is past or zero, until the mirrored bucket has room; and never
//! less than a pause that grows with each refusal in a row. Without that pause, `Retry-After: 0` would not park the
//! upstream at all, and every request would pay an attempt to be refused; with a fixed pause of ten seconds, a bucket
//! that refills in a tenth of a second would stay unused.
//!
//! Refusals of calls that were under way together count as one. While it is parked, no call starts; after that, a
//! single call probes it, so that an upstream behind a hundred models is not called for each of them.

use std::time::Duration;

use provider::Time;

use crate::knowledge::duration;

const FIRST_PAUSE_S: f64 = 0.1;
const GROWTH: f64 = 1.6;
/// The longest pause that no `Retry-After` asked for.
const LONGEST_PAUSE_S: f64 = 10.0;
/// The longest park. A quota that resets tomorrow is tried again after this minute, at the price of one refusal.
const LONGEST: Duration = Duration::from_mins(1);

/// Whether an upstream is parked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Park {
    until: Option<Time>,
    /// Refusals in a row.
    refusals: i32,
    /// Whether a probe is under way.
    is_probing: bool,
    /// Whether another replica was refused, and not this one, until then.
    is_learned: bool,
}

impl Park {
    /// When a call may go: `None` for now. While a probe is under way, a moment from now.
    pub(crate) fn until(&self, now: Time) -> Option<Time> {
        let until = self.until?;
        if now < until {
            return Some(until);
        }
        self.is_probing.then(|| now + duration(FIRST_PAUSE_S))
    }

    /// Whether it was parked and no call has been taken since.
    pub(crate) fn is_parked(&self) -> bool {
        self.until.is_some()
    }

    /// A call that was let through begins. Returns whether it is the probe.
    pub(crate) fn begin(&mut self) -> bool {
        self.is_probing = self.is_parked();
        self.is_probing
    }

    /// A call that began at `began` was refused. `asked` is its `Retry-After`, `bucket` the wait until the mirrored
    /// bucket has room.
    pub(crate) fn refused(
        &mut self,
        probe: bool,
        asked: Option<Duration>,
        bucket: Option<Duration>,
        began: Time,
        now: Time,
    ) -> Time {
        self.is_probing &= !probe;
        // What was under way when the last one was refused is no further refusal.
        let is_together = self.until.is_some_and(|until| began < until) && !probe;
        self.refusals += i32::from(!is_together);
        let own = duration((FIRST_PAUSE_S * GROWTH.powi((self.refusals - 1).clamp(0, 20))).min(LONGEST_PAUSE_S));
        let wanted = asked.filter(|asked| !asked.is_zero()).or(bucket).unwrap_or_default();
        let until = now + wanted.max(own).min(LONGEST);
        self.is_learned &= self.until > Some(until);
        self.until = self.until.max(Some(until));
        self.until.unwrap_or(until)
    }

    /// Another replica was refused, and calls again then.
    pub(crate) fn learn(&mut self, until: Time, now: Time) {
        let until = until.min(now + LONGEST);
        if until > now && self.until < Some(until) {
            (self.until, self.is_learned) = (Some(until), true);
        }
    }

    /// Until when it is parked by the replica's own calls.
    pub(crate) fn own_until(&self, now: Time) -> Option<Time> {
        self.until.filter(|until| *until > now && !self.is_learned)
    }

    /// A call was taken: its first token came. Returns whether the upstream was parked before.
    pub(crate) fn taken(&mut self, probe: bool, now: Time) -> bool {
        self.is_probing &= !probe;
        let was_parked = self.until.is_some_and(|until| now >= until);
        if was_parked {
            *self = Self::default();
        }
        was_parked
    }

    /// A call ended without evidence of whether the upstream still refuses.
    pub(crate) fn released(&mut self, probe: bool) {
        self.is_probing &= !probe;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Time {
        Time::from_nanos(0) + Duration::from_secs_f64(seconds)
    }

    /// Attempts that an upstream sees in a minute which refuses everything, asked a thousand times a second.
    fn attempts(asked: Option<Duration>, bucket: Option<Duration>) -> u32 {
        let (mut park, mut attempts, mut refused) = (Park::default(), 0, Vec::new());
        for step in 0..60_000 {
            let now = f64::from(step) / 1_000.0;
            refused.retain(|(began, probe)| {
                let is_due = began + 0.05 <= now;
                if is_due {
                    park.refused(*probe, asked, bucket, at(*began), at(now));
                }
                !is_due
            });
            if park.until(at(now)).is_none() {
                attempts += 1;
                refused.push((now, park.begin()));
            }
        }
        attempts
    }

    #[test]
    fn a_zero_or_missing_date_makes_not_every_request_pay_an_attempt() {
        let under_way = 50;
        for asked in [None, Some(Duration::ZERO), Some(Duration::from_millis(1))] {
            let attempts = attempts(asked, None);
            assert!(attempts < under_way + 20, "{asked:?}: {attempts}");
        }
    }

    #[test]
    fn a_date_is_kept_and_a_missing_one_is_taken_from_the_bucket() {
        let mut park = Park::default();
        assert_eq!(park.refused(false, Some(Duration::from_secs(7)), Some(Duration::ZERO), at(0.0), at(1.0)), at(8.0));
        let mut park = Park::default();
        assert_eq!(park.refused(false, None, Some(Duration::from_millis(400)), at(0.0), at(1.0)), at(1.4));
        let mut park = Park::default();
        let zero = Some(Duration::ZERO);
        assert_eq!(park.refused(false, zero, Some(Duration::from_millis(400)), at(0.0), at(1.0)), at(1.4));
        let mut park = Park::default();
        assert_eq!(park.refused(false, Some(Duration::from_hours(9)), None, at(0.0), at(1.0)), at(61.0));
        assert_eq!(
            Park::default().refused(false, None, None, at(0.0), at(1.0)),
            at(1.1),
            "neither a date nor a bucket"
        );
    }

    #[test]
    fn what_was_under_way_together_is_one_refusal() {
        let mut park = Park::default();
        let until = (0..20).map(|_| park.refused(false, None, None, at(0.0), at(1.0))).last();
        assert_eq!(until, Some(at(1.1)));
    }

    #[test]
    fn one_call_probes_and_its_first_token_lets_all_in() {
        let mut park = Park::default();
        park.refused(false, None, None, at(0.0), at(1.0));
        assert!(!park.taken(false, at(1.05)), "a call that was taken before says nothing");
        assert_eq!((park.until(at(1.05)), park.until(at(1.1))), (Some(at(1.1)), None));
        assert!(park.begin());
        assert!(park.until(at(1.2)).is_some_and(|until| until > at(1.2)), "the others wait for what it finds");
        park.released(true);
        assert_eq!(park.until(at(1.2)), None, "a probe that says nothing makes room for the next");
        assert!(park.begin() && park.taken(true, at(1.7)));
        assert_eq!((park.until(at(1.7)), park.begin()), (None, false));
    }

    #[test]
    fn a_probe_that_is_taken_after_another_refusal_makes_room_for_the_next() {
        let mut park = Park::default();
        park.refused(false, None, None, at(0.0), at(0.05));
        assert!(park.begin());
        let until = park.refused(false, None, None, at(0.0), at(0.2));
        assert!(!park.taken(true, at(0.25)), "it began before the refusal came");
        assert_eq!(park.until(until), None);
    }
}

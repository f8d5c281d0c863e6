//! In virtual time: what a key may make in any minute, and what a refusal costs.

use std::pin::pin;

use futures_util::poll;
use governor::clock::FakeRelativeClock;
use proptest::{collection::vec, prelude::*};
use tokio::time::timeout;

use super::*;

const MINUTE: Duration = Duration::from_mins(1);

fn limits(requests_per_minute: u32, burst: u32, concurrent: u32) -> KeyLimits {
    KeyLimits {
        requests_per_minute: NonZeroU32::new(requests_per_minute),
        burst: NonZeroU32::new(burst),
        concurrent: NonZeroU32::new(concurrent),
    }
}

impl KeyLimiter<FakeRelativeClock> {
    /// A permit for `calls` calls that are counted.
    fn try_admit(&self, calls: u32) -> Result<Option<Permit>, Refused> {
        self.fits(calls)?;
        let mut permit = self.permit()?;
        self.count(&mut permit, calls)?;
        Ok(permit)
    }
}

impl<C: Clock> KeyLimiter<C> {
    /// Permits that are out.
    fn taken(&self) -> usize {
        self.permits.as_ref().map_or(0, |permits| permits.taken())
    }
}

fn at(limits: KeyLimits, clock: &FakeRelativeClock) -> KeyLimiter<FakeRelativeClock> {
    KeyLimiter::with_clock(limits, clock.clone())
}

/// Calls that one who asks all the time is let through in `time`, both ends included.
fn greedy(limiter: &KeyLimiter<FakeRelativeClock>, clock: &FakeRelativeClock, time: Duration, step: Duration) -> u32 {
    let mut admitted = 0;
    let mut passed = Duration::ZERO;
    loop {
        while limiter.try_admit(1).is_ok() {
            admitted += 1;
        }
        passed += step;
        if passed > time {
            return admitted;
        }
        clock.advance(step);
    }
}

#[test]
fn a_minute_sees_the_limit_and_the_burst_and_not_one_more() {
    for (limit, burst, most) in
        [(60, 0, 66), (60, 6, 66), (60, 1, 61), (60, 60, 120), (6, 0, 7), (1, 0, 2), (600, 0, 660)]
    {
        let clock = FakeRelativeClock::default();
        let limiter = at(limits(limit, burst, 0), &clock);
        clock.advance(Duration::from_hours(1));
        assert_eq!(greedy(&limiter, &clock, MINUTE, Duration::from_millis(10)), most, "{limit} and {burst}");
    }
}

/// `Quota::per_minute` rounds the interval down, which lets 700,002 calls and the burst through.
#[test]
fn a_large_limit_is_not_exceeded_by_rounding() {
    let clock = FakeRelativeClock::default();
    let limiter = at(limits(700_001, 1, 0), &clock);
    let interval = Duration::from_nanos(60_000_000_000_u64.div_ceil(700_001));
    assert!(interval * 700_002 > MINUTE);
    assert!(limiter.try_admit(1).is_ok());
    clock.advance(interval.saturating_sub(Duration::from_nanos(1)));
    assert!(limiter.try_admit(1).is_err());
    clock.advance(Duration::from_nanos(1));
    assert!(limiter.try_admit(1).is_ok());
}

proptest! {
    #[test]
    fn no_minute_sees_more_than_the_limit_and_the_burst(
        limit in 1_u32..200,
        burst in 1_u32..50,
        steps in vec((0_u64..3_000, 1_u32..12), 1..400),
    ) {
        let clock = FakeRelativeClock::default();
        let limiter = at(limits(limit, burst, 0), &clock);
        let (mut now, mut admitted) = (Duration::ZERO, Vec::new());
        for (pause, calls) in steps {
            clock.advance(Duration::from_millis(pause));
            now += Duration::from_millis(pause);
            if limiter.try_admit(calls).is_ok() {
                admitted.push((now, calls));
            }
        }
        for (index, (from, _)) in admitted.iter().enumerate() {
            let minute = admitted[index..].iter().take_while(|(at, _)| *at <= *from + MINUTE);
            let calls: u32 = minute.map(|(_, calls)| calls).sum();
            prop_assert!(calls <= limit + burst, "{calls} calls from {from:?}");
        }
    }

    /// What was refused might as well never have been asked for, and a wait that was named is enough and not too long.
    #[test]
    fn refused_calls_consume_nothing(
        limit in 1_u32..200,
        burst in 1_u32..20,
        concurrent in 1_u32..20,
        steps in vec((0_u64..2_000, 1_u32..25), 1..200),
    ) {
        let clock = FakeRelativeClock::default();
        let limits = limits(limit, burst, concurrent);
        let (asked, twin) = (at(limits, &clock), at(limits, &clock));
        for (pause, calls) in steps {
            clock.advance(Duration::from_millis(pause));
            match asked.try_admit(calls) {
                Ok(_) => prop_assert!(twin.try_admit(calls).is_ok()),
                Err(Refused::Rate { wait, .. }) => {
                    clock.advance(wait.saturating_sub(Duration::from_nanos(1)));
                    prop_assert!(asked.try_admit(calls).is_err(), "{wait:?} is too long");
                    clock.advance(Duration::from_nanos(1));
                    prop_assert!(asked.try_admit(calls).is_ok(), "{wait:?} is too short");
                    prop_assert!(twin.try_admit(calls).is_ok());
                }
                Err(Refused::Never { .. }) => prop_assert!(calls > burst.min(concurrent)),
                Err(Refused::Concurrency { .. }) => prop_assert!(false, "nothing is held"),
            }
            prop_assert_eq!(asked.status(), twin.status());
            prop_assert_eq!(asked.taken(), 0);
        }
    }
}

#[test]
fn the_status_counts_down_and_comes_back() {
    let clock = FakeRelativeClock::default();
    let limiter = at(limits(60, 6, 0), &clock);
    let status = |remaining, reset| Some(RateLimitStatus { limit: 60, remaining, reset: Duration::from_millis(reset) });
    assert_eq!(limiter.status(), status(6, 0));
    let mut permit = limiter.enter().expect("free");
    assert_eq!(limiter.status(), status(6, 0), "one who enters is not counted yet");
    assert_eq!(limiter.count(&mut permit, 4).expect("free"), status(2, 4_000));
    clock.advance(Duration::from_millis(500));
    assert_eq!(limiter.status(), status(2, 3_500));
    let refused = limiter.count(&mut permit, 3).expect_err("two are left");
    let wait = Duration::from_millis(500);
    assert_eq!(refused, Refused::Rate { status: status(2, 3_500).expect("limited"), wait });
    assert!(limiter.count(&mut permit, 2).is_ok());
    let refused = limiter.enter().err().expect("none is left");
    assert_eq!(refused, Refused::Rate { status: status(0, 5_500).expect("limited"), wait });
    clock.advance(wait);
    assert!(limiter.enter().is_ok());
}

#[test]
fn permits_stand_for_calls_and_are_given_back() {
    let limiter = KeyLimiter::new(limits(0, 0, 5));
    let taken = || limiter.taken();
    let mut first = limiter.enter().expect("free");
    limiter.count(&mut first, 3).expect("free");
    assert_eq!(taken(), 3);
    let mut second = limiter.enter().expect("free");
    let refused = limiter.count(&mut second, 3).expect_err("two are free, its own included");
    assert_eq!((refused, taken()), (Refused::Concurrency { limit: 5, status: None }, 4));
    limiter.count(&mut second, 2).expect("free");
    assert_eq!(limiter.enter().err(), Some(Refused::Concurrency { limit: 5, status: None }));
    drop(first);
    assert_eq!(taken(), 2);
    drop(second);
    assert_eq!(taken(), 0);
}

#[test]
fn a_refusal_for_the_rate_leaves_the_permit_as_it_was() {
    let limiter = KeyLimiter::new(limits(1, 4, 10));
    let (mut first, mut second) = (limiter.enter().expect("free"), limiter.enter().expect("free"));
    limiter.count(&mut first, 3).expect("four are there");
    assert!(matches!(limiter.count(&mut second, 3), Err(Refused::Rate { .. })));
    assert_eq!(limiter.taken(), 4);
    drop(second);
    assert_eq!(limiter.taken(), 3);
}

#[test]
fn more_calls_than_the_limit_are_refused_for_good() {
    let limiter = KeyLimiter::new(limits(100, 0, 20));
    let mut permit = limiter.enter().expect("free");
    let never = |calls, most, setting| Err(Refused::Never { calls, most, setting });
    assert_eq!(limiter.count(&mut permit, 21), never(21, 20, "concurrent"));
    assert_eq!(limiter.count(&mut permit, 11), never(11, 10, "burst"));
    assert_eq!(limiter.taken(), 1, "its permit is as it was");
    assert!(limiter.count(&mut permit, 10).is_ok());
}

#[tokio::test]
async fn a_waiting_request_gets_all_its_permits_at_once_or_an_error_if_they_never_fit() {
    let limiter = KeyLimiter::new(limits(0, 0, 3));
    let held = limiter.permits(2).await.expect("it fits");
    assert!(held.is_some() && limiter.taken() == 2);
    let mut waiting = pin!(limiter.permits(2));
    assert!(poll!(&mut waiting).is_pending(), "one is free");
    drop(held);
    let held = waiting.await.expect("it fits");
    assert!(held.is_some() && limiter.taken() == 2);
    let never = Refused::Never { calls: 4, most: 3, setting: "concurrent" };
    assert_eq!(limiter.permits(4).await.err(), Some(never));
    assert!(KeyLimiter::default().permits(1_000).await.expect("unlimited").is_none());
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_the_rate_limit_are_counted_once_they_are_let_in() {
    let clock = FakeRelativeClock::default();
    let limiter = at(limits(60, 2, 0), &clock);
    let remaining = || limiter.status().map(|status| status.remaining);
    assert_eq!((limiter.allowance(2).await, remaining()), (Ok(()), Some(0)));
    let mut waiting = pin!(limiter.allowance(1));
    assert!(timeout(Duration::from_millis(999), &mut waiting).await.is_err(), "one comes back each second");
    clock.advance(Duration::from_secs(1));
    assert_eq!(remaining(), Some(1));
    assert_eq!((waiting.await, remaining()), (Ok(()), Some(0)));
    let never = Refused::Never { calls: 3, most: 2, setting: "burst" };
    assert_eq!(limiter.allowance(3).await, Err(never));
    assert_eq!(KeyLimiter::default().allowance(1_000).await, Ok(()));
}

#[test]
fn headers_show_the_limit_what_is_left_and_when_all_of_it_is_back() {
    let status = RateLimitStatus { limit: 60, remaining: 2, reset: Duration::from_millis(3_500) };
    let expected = [
        ("x-ratelimit-limit-requests", "60"),
        ("x-ratelimit-remaining-requests", "2"),
        ("x-ratelimit-reset-requests", "3500ms"),
    ];
    assert_eq!(status.headers(), expected.map(|(name, value)| (name, value.to_owned())));
}

#[test]
fn a_refusal_for_concurrency_has_the_rate_limit_status() {
    let limiter = KeyLimiter::new(limits(30, 3, 1));
    let _held = limiter.enter().expect("free");
    for _ in 0..10 {
        let refused = limiter.enter().err().expect("the one permit is taken");
        let status = RateLimitStatus { limit: 30, remaining: 3, reset: Duration::ZERO };
        assert_eq!(refused, Refused::Concurrency { limit: 1, status: Some(status) });
    }
}

#[test]
fn without_limits_everything_passes() {
    let limiter = KeyLimiter::default();
    for _ in 0..1_000 {
        let mut permit = limiter.enter().expect("unlimited");
        assert!(permit.is_none());
        assert_eq!(limiter.count(&mut permit, u32::MAX), Ok(None));
    }
}

use proptest::{collection::vec, prelude::*};

use super::*;

fn at(seconds: f64) -> Time {
    Time::from_nanos(0) + Duration::from_secs_f64(seconds)
}

const LIMITS: Limits = Limits { requests_per_minute: Some(600), tokens_per_minute: Some(60_000) };

fn said(tokens: u64) -> Quota {
    Quota { minute_tokens: Some(Window { left: tokens, limit: None }), ..Quota::default() }
}

#[test]
fn why_a_call_comes_decides_what_it_must_leave() {
    let mut allowance = Allowance::new(LIMITS, at(0.0));
    let claims = [Claim::Share, Claim::Stale, Claim::Spill, Claim::Failover];
    let mut taken = Vec::new();
    for claim in claims {
        let mut calls = 0;
        while allowance.fits(1_000, claim, at(0.0)) == Fit::Now {
            let debit = allowance.debit(1_000, at(0.0));
            allowance.taken(debit, Quota::default(), at(0.0));
            calls += 1;
        }
        taken.push(calls);
    }
    assert_eq!(taken, [36, 9, 13, 2], "down to 40, 25, 3 and 0 % of 60,000 tokens");
}

#[test]
fn a_request_that_cannot_fit_is_known_with_the_moment_at_which_it_would() {
    let mut allowance = Allowance::new(LIMITS, at(0.0));
    let _debit = allowance.debit(59_000, at(0.0));
    assert_eq!(allowance.fits(500, Claim::Failover, at(0.0)), Fit::Now);
    assert_eq!(allowance.fits(11_000, Claim::Failover, at(0.0)), Fit::At(at(10.0)), "a thousand tokens a second");
    assert_eq!(allowance.fits(60_001, Claim::Failover, at(0.0)), Fit::Never);
    assert_eq!(allowance.fits(36_001, Claim::Share, at(0.0)), Fit::Never);
}

#[test]
fn requests_are_limited_whatever_their_size() {
    let mut allowance = Allowance::new(LIMITS, at(0.0));
    let _debits: Vec<_> = (0..600).map(|_| allowance.debit(1, at(0.0))).collect();
    assert_eq!(allowance.fits(1, Claim::Failover, at(0.0)), Fit::At(at(0.1)));
    assert!(allowance.part(at(0.0)).abs() < 1e-9);
}

#[test]
fn a_refusal_without_a_date_parks_until_the_bucket_has_room() {
    let pause = |calls: u32, tokens: u64, said: Quota| {
        let mut allowance = Allowance::new(LIMITS, at(0.0));
        for _ in 0..calls {
            let debit = allowance.debit(tokens, at(0.0));
            allowance.taken(debit, Quota::default(), at(0.0));
        }
        let debit = allowance.debit(6_000, at(0.0));
        allowance.refused(debit, said, at(0.0)).expect("limits are known").as_secs_f64()
    };
    let (requests, tokens) = (pause(555, 1, Quota::default()), pause(3, 10_000, Quota::default()));
    assert!((requests - 0.5 / 7.0).abs() < 0.001, "half a request more at seven a second: {requests}");
    assert!((tokens - 3.0 / 0.7).abs() < 0.001, "half of 6,000 tokens more at 700 a second: {tokens}");
    let tokens = pause(555, 1, said(5_900));
    assert!((tokens - 0.1 / 0.7).abs() < 0.001, "it said what is short, although fewer requests are left: {tokens}");
    let mut allowance = Allowance::new(LIMITS, at(0.0));
    (0..50).for_each(|_| {
        let debit = allowance.debit(1_000, at(0.0));
        allowance.taken(debit, Quota::default(), at(0.0));
    });
    let debit = allowance.debit(6_000, at(0.0));
    let pause = allowance.refused(debit, said(2_000), at(0.0)).expect("limits are known");
    assert!((pause.as_secs_f64() - 4.0 / 0.7).abs() < 0.01, "4,000 tokens more at 700 a second: {pause:?}");
    let mut unknown = Allowance::new(Limits::default(), at(0.0));
    let debit = unknown.debit(6_000, at(0.0));
    assert_eq!(unknown.refused(debit, Quota::default(), at(0.1)), None, "no quota is known");
}

#[test]
fn what_never_reached_the_provider_costs_nothing() {
    let mut allowance = Allowance::new(LIMITS, at(0.0));
    for _ in 0..100 {
        let debit = allowance.debit(60_000, at(0.0));
        allowance.failed(debit, at(0.0));
    }
    assert_eq!(allowance.fits(60_000, Claim::Failover, at(0.0)), Fit::Now);
    assert!((allowance.calls, allowance.outstanding) == (0.0, 0.0));
}

#[test]
fn what_was_refused_costs_nothing() {
    let mut allowance = Allowance::new(LIMITS, at(0.0));
    for _ in 0..20 {
        let debit = allowance.debit(6_000, at(0.0));
        let _pause = allowance.refused(debit, said(5_000), at(0.0));
    }
    assert_eq!(allowance.fits(5_000, Claim::Failover, at(0.0)), Fit::Now);
}

#[test]
fn headers_count_what_others_use_and_what_is_given_back() {
    let mut allowance = Allowance::new(LIMITS, at(0.0));
    let [early, late] = [0.0, 0.1].map(|began| allowance.debit(20_000, at(began)));
    allowance.taken(late, said(10_000), at(0.2));
    assert_ne!(allowance.fits(10_200, Claim::Failover, at(0.2)), Fit::Now, "others use it as well");
    allowance.taken(early, said(30_000), at(0.2));
    assert_ne!(allowance.fits(10_200, Claim::Failover, at(0.2)), Fit::Now, "what an earlier call said is old");
    let next = allowance.debit(1_000, at(0.3));
    allowance.taken(next, said(50_000), at(0.4));
    assert_eq!(allowance.fits(50_000, Claim::Failover, at(0.4)), Fit::Now, "answers were shorter than their limits");
}

#[test]
fn a_limit_in_headers_is_the_limit_unless_one_is_configured() {
    let reported = |limits: Limits| {
        let mut allowance = Allowance::new(limits, at(0.0));
        let debit = allowance.debit(100, at(0.0));
        let window = Window { left: 20_000, limit: Some(30_000) };
        allowance.taken(debit, Quota { minute_tokens: Some(window), ..Quota::default() }, at(0.0));
        [30_000, 30_001, 60_001].map(|tokens| allowance.fits(tokens, Claim::Failover, at(0.0)))
    };
    assert_eq!(reported(Limits::default()), [Fit::At(at(20.0)), Fit::Never, Fit::Never], "500 tokens a second");
    assert!(matches!(reported(LIMITS), [Fit::At(_), Fit::At(_), Fit::Never]));
}

#[test]
fn a_changed_limit_counts_at_once_and_what_was_used_stays_used() {
    let mut allowance = Allowance::new(LIMITS, at(0.0));
    let _debit = allowance.debit(60_000, at(0.0));
    allowance.configure(Limits { tokens_per_minute: Some(600_000), ..LIMITS }, at(0.0));
    assert_eq!(allowance.fits(10_000, Claim::Failover, at(0.0)), Fit::At(at(1.0)), "10,000 tokens a second");
    allowance.configure(Limits { tokens_per_minute: Some(6_000), ..LIMITS }, at(30.0));
    assert_eq!(allowance.fits(6_000, Claim::Failover, at(30.0)), Fit::Now);
    allowance.configure(Limits::default(), at(30.0));
    assert_eq!(allowance.fits(1 << 40, Claim::Share, at(30.0)), Fit::Now);
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a level of a bucket")]
fn whole(level: f64) -> u64 {
    level.max(0.0) as u64
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Against a provider that keeps such buckets itself: a call that fits by the mirror is never refused.
    #[test]
    fn a_provider_with_these_limits_never_refuses_what_fits(calls in vec((1_u64..8_000, 0.0_f64..3.0), 1..200)) {
        let (mut ours, mut now) = (Allowance::new(LIMITS, at(0.0)), 0.0);
        let mut theirs = [Bucket::new(MINUTE, Some(600.0), at(0.0)), Bucket::new(MINUTE, Some(60_000.0), at(0.0))];
        for (tokens, pause) in calls {
            now += pause;
            if ours.fits(tokens, Claim::Failover, at(now)) != Fit::Now {
                continue;
            }
            let debit = ours.debit(tokens, at(now));
            for (bucket, amount) in theirs.iter_mut().zip([1.0, real(tokens)]) {
                prop_assert!(bucket.level(at(now)).is_some_and(|level| level >= amount - 1e-3));
                bucket.debit(amount, at(now));
            }
            ours.taken(debit, said(whole(theirs[1].level(at(now)).unwrap_or_default())), at(now));
        }
    }
}

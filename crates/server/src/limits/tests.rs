//! In virtual time: what a key may make in any minute, and what a refusal costs.

use std::pin::pin;

use futures_util::{FutureExt as _, poll};
use governor::clock::FakeRelativeClock;
use proptest::{collection::vec, prelude::*};
use provider::Operation;
use tokio::time::timeout;

use super::{grant::tightest, *};

const MINUTE: Duration = Duration::from_mins(1);

type FakeLimiter = Arc<Limiter<FakeRelativeClock>>;

pub(super) fn limits(requests_per_minute: u32, burst: u32, concurrent: u32) -> Allowance {
    Allowance {
        requests_per_minute: NonZeroU32::new(requests_per_minute),
        burst: NonZeroU32::new(burst),
        concurrent: NonZeroU32::new(concurrent),
        ..Allowance::default()
    }
}

pub(super) fn tokens(tokens_per_minute: u32, token_burst: u32) -> Allowance {
    Allowance {
        tokens_per_minute: NonZeroU32::new(tokens_per_minute),
        token_burst: NonZeroU32::new(token_burst),
        ..Allowance::default()
    }
}

pub(super) fn calls(calls: u32) -> Demand {
    Demand { calls, tokens: 0 }
}

/// What one limiter grants for a number of calls.
fn admit<C: Clock>(limiter: &Arc<Limiter<C>>, demand: Demand) -> Result<Grant<C>, Refused> {
    let mut grant = Grant::default();
    grant.count_now(Some(limiter), demand)?;
    Ok(grant)
}

fn enter<C: Clock>(limiter: &Arc<Limiter<C>>) -> Result<Grant<C>, Refused> {
    Grant::enter(std::slice::from_ref(limiter))
}

impl<C: Clock> Grant<C> {
    /// Without a server that replicas share there is nothing to wait for.
    fn count_now(&mut self, model: Option<&Arc<Limiter<C>>>, demand: Demand) -> Result<Vec<RateLimitStatus>, Refused> {
        self.count(model, demand).now_or_never().expect("it is counted here")
    }
}

impl<C: Clock> Limiter<C> {
    /// Permits that are out.
    fn taken(&self) -> usize {
        self.permits.as_ref().map_or(0, |permits| permits.taken())
    }

    /// What is left of the calls of a minute.
    fn status(&self) -> Option<RateLimitStatus> {
        self.rate.as_ref().map(Rate::status)
    }
}

fn at(allowance: Allowance, clock: &FakeRelativeClock) -> FakeLimiter {
    Arc::new(Limiter::with_clock(Owner::Key, allowance, clock.clone()))
}

fn real(allowance: Allowance) -> Arc<Limiter> {
    Arc::new(Limiter::new(Owner::Key, "web", allowance, None))
}

fn refused(limit: ReachedLimit) -> Refused {
    Refused { owner: Owner::Key, limit }
}

fn requests(limit: u32, remaining: u32, reset: Duration) -> RateLimitStatus {
    RateLimitStatus { unit: Unit::Requests, limit, remaining, reset }
}

/// Calls that one who asks all the time is let through in `time`, both ends included.
fn greedy(limiter: &FakeLimiter, clock: &FakeRelativeClock, time: Duration, step: Duration) -> u32 {
    let mut admitted = 0;
    let mut passed = Duration::ZERO;
    loop {
        while admit(limiter, calls(1)).is_ok() {
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
    assert!(admit(&limiter, calls(1)).is_ok());
    clock.advance(interval.saturating_sub(Duration::from_nanos(1)));
    assert!(admit(&limiter, calls(1)).is_err());
    clock.advance(Duration::from_nanos(1));
    assert!(admit(&limiter, calls(1)).is_ok());
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
        for (pause, number) in steps {
            clock.advance(Duration::from_millis(pause));
            now += Duration::from_millis(pause);
            if admit(&limiter, calls(number)).is_ok() {
                admitted.push((now, number));
            }
        }
        for (index, (from, _)) in admitted.iter().enumerate() {
            let minute = admitted[index..].iter().take_while(|(at, _)| *at <= *from + MINUTE);
            let all: u32 = minute.map(|(_, number)| number).sum();
            prop_assert!(all <= limit + burst, "{all} calls from {from:?}");
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
        for (pause, number) in steps {
            clock.advance(Duration::from_millis(pause));
            match admit(&asked, calls(number)).map_err(|refused| refused.limit) {
                Ok(_) => prop_assert!(admit(&twin, calls(number)).is_ok()),
                Err(ReachedLimit::Rate { wait, .. }) => {
                    clock.advance(wait.saturating_sub(Duration::from_nanos(1)));
                    prop_assert!(admit(&asked, calls(number)).is_err(), "{wait:?} is too long");
                    clock.advance(Duration::from_nanos(1));
                    prop_assert!(admit(&asked, calls(number)).is_ok(), "{wait:?} is too short");
                    prop_assert!(admit(&twin, calls(number)).is_ok());
                }
                Err(ReachedLimit::Never { .. }) => prop_assert!(number > burst.min(concurrent)),
                Err(ReachedLimit::Concurrency { .. }) => prop_assert!(false, "nothing is held"),
                Err(ReachedLimit::Unknown) => prop_assert!(false, "it is counted here"),
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
    let status = |remaining, reset| requests(60, remaining, Duration::from_millis(reset));
    assert_eq!(limiter.status(), Some(status(6, 0)));
    let mut grant = enter(&limiter).expect("free");
    assert_eq!(limiter.status(), Some(status(6, 0)), "one who enters is not counted yet");
    assert_eq!(grant.count_now(None, calls(4)), Ok(vec![status(2, 4_000)]));
    clock.advance(Duration::from_millis(500));
    assert_eq!(limiter.status(), Some(status(2, 3_500)));
    let wait = Duration::from_millis(500);
    let too_many = grant.count_now(None, calls(3));
    assert_eq!(too_many, Err(refused(ReachedLimit::Rate { status: status(2, 3_500), wait })), "two are left");
    assert!(grant.count_now(None, calls(2)).is_ok());
    let none = enter(&limiter).err().expect("none is left");
    assert_eq!(none, refused(ReachedLimit::Rate { status: status(0, 5_500), wait }));
    clock.advance(wait);
    assert!(enter(&limiter).is_ok());
}

#[test]
fn permits_stand_for_calls_and_are_given_back() {
    let limiter = real(limits(0, 0, 5));
    let taken = || limiter.taken();
    let mut first = enter(&limiter).expect("free");
    first.count_now(None, calls(3)).expect("free");
    assert_eq!(taken(), 3);
    let mut second = enter(&limiter).expect("free");
    let full = || refused(ReachedLimit::Concurrency { limit: 5, status: None });
    assert_eq!(second.count_now(None, calls(3)), Err(full()), "two are free, its own included");
    assert_eq!(taken(), 4);
    second.count_now(None, calls(2)).expect("free");
    assert_eq!(enter(&limiter).err(), Some(full()));
    drop(first);
    assert_eq!(taken(), 2);
    drop(second);
    assert_eq!(taken(), 0);
}

#[test]
fn a_refusal_for_the_rate_leaves_the_permit_as_it_was() {
    let limiter = real(limits(1, 4, 10));
    let (mut first, mut second) = (enter(&limiter).expect("free"), enter(&limiter).expect("free"));
    first.count_now(None, calls(3)).expect("four are there");
    let over = second.count_now(None, calls(3));
    assert!(matches!(over, Err(Refused { limit: ReachedLimit::Rate { .. }, .. })), "{over:?}");
    assert_eq!(limiter.taken(), 4);
    drop(second);
    assert_eq!(limiter.taken(), 3);
}

#[test]
fn more_calls_than_the_limit_are_refused_for_good() {
    let limiter = real(limits(100, 0, 20));
    let mut grant = enter(&limiter).expect("free");
    let never = |calls, most, setting| Err(refused(ReachedLimit::Never { calls, most, setting }));
    assert_eq!(grant.count_now(None, calls(21)), never(21, 20, "concurrent"));
    assert_eq!(grant.count_now(None, calls(11)), never(11, 10, "burst"));
    assert_eq!(limiter.taken(), 1, "its permit is as it was");
    assert!(grant.count_now(None, calls(10)).is_ok());
}

#[test]
fn a_request_needs_room_in_every_limiter_and_what_one_refuses_takes_nothing_of_the_others() {
    let clock = FakeRelativeClock::default();
    let key = at(limits(60, 6, 6), &clock);
    let limiter = |owner, allowance| Arc::new(Limiter::with_clock(owner, allowance, clock.clone()));
    let team = limiter(Owner::Team("search".into()), limits(60, 4, 0));
    let model = limiter(Owner::Model("m".into()), limits(0, 0, 3));
    let mut grant = Grant::enter(&[key.clone(), team.clone()]).expect("free");
    let over = grant.count_now(Some(&model), calls(4)).expect_err("three at a time");
    assert_eq!(over.owner, Owner::Model("m".into()));
    assert_eq!((key.taken(), model.taken()), (1, 0));
    let left = grant.count_now(Some(&model), calls(3)).expect("room in each");
    assert_eq!(left, [requests(60, 1, Duration::from_secs(3))], "the team's is the tightest");
    assert_eq!((key.taken(), model.taken()), (3, 3));
    let other = Grant::enter(&[key.clone(), team.clone()]).expect("one is left").count_now(None, calls(2));
    assert_eq!(other.expect_err("the team has one left").owner, Owner::Team("search".into()));
    assert_eq!(key.status(), Some(requests(60, 3, Duration::from_secs(3))), "the key's are not used up by it");
    drop(grant);
    assert_eq!((key.taken(), model.taken()), (0, 0));
}

#[test]
fn tokens_are_reserved_by_estimate_and_settled_by_usage() {
    let clock = FakeRelativeClock::default();
    let limiter = at(tokens(600, 100), &clock);
    let left = || limiter.take(0, 0).expect("something is there")[0].remaining;
    let grant = admit(&limiter, Demand { calls: 1, tokens: 90 }).expect("something is there");
    assert_eq!(left(), 10);
    // The call ends: it used less, and the reservation goes with its request.
    limiter.use_tokens(30);
    drop(grant);
    assert_eq!(left(), 70);
    // One that needs more than there is is let in, and those after it wait for it.
    let grant = admit(&limiter, Demand { calls: 1, tokens: 500 }).expect("something is there");
    let over = admit(&limiter, Demand { calls: 1, tokens: 1 }).err().expect("nothing is there");
    let ReachedLimit::Rate { status, wait } = over.limit else { panic!("{over:?}") };
    assert_eq!((status.unit, status.limit, status.remaining), (Unit::Tokens, 600, 0));
    assert_eq!(wait, Duration::from_millis(43_100), "431 tokens at 10 a second");
    limiter.use_tokens(200);
    drop(grant);
    clock.advance(Duration::from_secs(13));
    assert_eq!(enter(&limiter).err().expect("0 are there").limit.wait(), Duration::from_millis(100));
    clock.advance(Duration::from_millis(100));
    assert!(enter(&limiter).is_ok());
    clock.advance(Duration::from_hours(1));
    assert_eq!(left(), 100, "no more than the burst");
}

proptest! {
    /// Over any time, what was used is at most what flowed in, the burst, and what the last ones were let in with.
    #[test]
    fn tokens_used_stay_within_the_limit_and_the_burst(
        limit in 60_u32..6_000,
        burst in 1_u32..500,
        steps in vec((0_u64..2_000, 1_u64..400, 1_u64..400), 1..300),
    ) {
        let clock = FakeRelativeClock::default();
        let limiter = at(tokens(limit, burst), &clock);
        let (mut used, mut passed) = (0, 0);
        for (pause, estimate, needed) in steps {
            clock.advance(Duration::from_millis(pause));
            passed += pause;
            if let Ok(grant) = admit(&limiter, Demand { calls: 1, tokens: estimate }) {
                limiter.use_tokens(needed);
                used += needed;
                drop(grant);
            }
            let flowed = u64::from(limit) * passed / 60_000;
            prop_assert!(used <= flowed + u64::from(burst) + 400, "{used} in {passed} ms");
        }
    }
}

#[tokio::test]
async fn a_waiting_request_gets_all_its_permits_at_once_or_an_error_if_they_never_fit() {
    let limiter = real(limits(0, 0, 3));
    let limiters = [limiter.clone()];
    let held = Grant::wait(&limiters, None, calls(2), 0).await.expect("it fits");
    assert_eq!(limiter.taken(), 2);
    let mut waiting = pin!(Grant::wait(&limiters, None, calls(2), 0));
    assert!(poll!(&mut waiting).is_pending(), "one is free");
    drop(held);
    let _held = waiting.await.expect("it fits");
    assert_eq!(limiter.taken(), 2);
    let never = refused(ReachedLimit::Never { calls: 4, most: 3, setting: "concurrent" });
    assert_eq!(Grant::wait(&limiters, None, calls(4), 0).await.err(), Some(never));
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_the_rate_limit_are_counted_once_they_are_let_in() {
    let clock = FakeRelativeClock::default();
    let limiters = [at(limits(60, 2, 0), &clock)];
    let remaining = || limiters[0].status().map(|status| status.remaining);
    let waited = Grant::wait(&limiters, None, calls(2), 0).await.map(drop);
    assert_eq!((waited, remaining()), (Ok(()), Some(0)));
    let mut waiting = pin!(Grant::wait(&limiters, None, calls(1), 0));
    assert!(timeout(Duration::from_millis(999), &mut waiting).await.is_err(), "one comes back each second");
    clock.advance(Duration::from_secs(1));
    assert_eq!(remaining(), Some(1));
    assert_eq!((waiting.await.map(drop), remaining()), (Ok(()), Some(0)));
    let never = refused(ReachedLimit::Never { calls: 3, most: 2, setting: "burst" });
    assert_eq!(Grant::wait(&limiters, None, calls(3), 0).await.err(), Some(never));
    assert!(Grant::wait(&limiters, None, calls(1), 1).await.is_ok(), "its one call is counted already");
    let model = at(limits(60, 2, 0), &clock);
    drop(Grant::wait(&limiters, Some(&model), calls(1), 1).await.expect("counted already"));
    assert_eq!(model.status().map(|status| status.remaining), Some(1), "but not by its model");
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_tokens_in_turn() {
    let clock = FakeRelativeClock::default();
    let limiters = [at(tokens(600, 10), &clock)];
    let first = Grant::wait(&limiters, None, Demand { calls: 1, tokens: 19 }, 0).await.expect("something is there");
    limiters[0].use_tokens(19);
    drop(first);
    let mut waiting = pin!(Grant::wait(&limiters, None, Demand { calls: 1, tokens: 5 }, 0));
    assert!(timeout(Duration::from_millis(900), &mut waiting).await.is_err(), "ten come back each second");
    clock.advance(Duration::from_secs(1));
    assert!(waiting.await.is_ok());
}

#[test]
fn headers_show_the_limit_what_is_left_and_when_all_of_it_is_back() {
    let status = requests(60, 2, Duration::from_millis(3_500));
    let expected = [
        ("x-ratelimit-limit-requests", "60"),
        ("x-ratelimit-remaining-requests", "2"),
        ("x-ratelimit-reset-requests", "3500ms"),
    ];
    assert_eq!(status.headers(), expected.map(|(name, value)| (name, value.to_owned())));
    let names = RateLimitStatus { unit: Unit::Tokens, ..status }.headers().map(|(name, _)| name);
    assert_eq!(names, ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"]);
}

#[test]
fn a_refusal_for_concurrency_has_the_rate_limit_status() {
    let limiter = real(limits(30, 3, 1));
    let _held = enter(&limiter).expect("free");
    for _ in 0..10 {
        let status = Some(requests(30, 3, Duration::ZERO));
        let over = enter(&limiter).err().expect("the one permit is taken");
        assert_eq!(over, refused(ReachedLimit::Concurrency { limit: 1, status }));
    }
}

#[test]
fn a_text_needs_its_tokens_and_those_of_an_answer_for_each_call() {
    assert_eq!(Demand::of_text(40, 2), Demand { calls: 2, tokens: 2 * (40 / 4 + 1 + 512) });
    assert_eq!(Demand::of_text(0, 1), Demand { calls: 1, tokens: 513 });
}

#[test]
fn tokens_are_counted_where_they_are_limited() {
    assert!(real(tokens(6, 100)).counts_tokens() && !real(limits(6, 6, 6)).counts_tokens());
}

#[test]
fn of_several_limits_the_one_with_the_least_left_is_shown_and_of_equal_ones_the_first() {
    let (wide, narrow) = (requests(600, 50, Duration::ZERO), requests(60, 7, MINUTE));
    let in_tokens = RateLimitStatus { unit: Unit::Tokens, limit: 9000, remaining: 8000, reset: Duration::ZERO };
    for statuses in [[wide, narrow, in_tokens], [in_tokens, narrow, wide], [narrow, in_tokens, wide]] {
        let mut shown = tightest(statuses);
        shown.sort_by_key(|status| status.unit == Unit::Tokens);
        assert_eq!(shown, [narrow, in_tokens]);
    }
    assert_eq!(tightest([narrow, requests(6000, 7, Duration::ZERO)]), [narrow]);
}

#[tokio::test]
async fn a_request_that_is_refused_when_it_was_read_counts_as_one_call_and_shows_what_is_left() {
    // None comes back in the ten seconds after it was used.
    let (team, key) = (real(limits(6, 60, 0)), real(limits(6, 3, 0)));
    let limiters = [team.clone(), key.clone()];
    for left in [2, 1, 0] {
        let shown = count_refused(&limiters).await.expect("room");
        assert_eq!(shown.iter().map(|status| (status.limit, status.remaining)).collect::<Vec<_>>(), [(6, left)]);
    }
    assert!(matches!(count_refused(&limiters).await, Err(Refused { limit: ReachedLimit::Rate { .. }, .. })));
    assert_eq!(
        team.status().map(|status| status.remaining),
        Some(57),
        "nothing is taken of it by what the key refuses"
    );
}

#[test]
fn a_refusal_names_whose_limit_it_is() {
    let names = [Owner::Key, Owner::Team("search".into()), Owner::Model("m".into())].map(|owner| owner.to_string());
    let expected = ["this key", "the keys of the team \"search\" together", "the callers of the model \"m\" together"];
    assert_eq!(names, expected);
}

#[test]
fn without_limits_everything_passes() {
    let limiter = real(Allowance::default());
    for _ in 0..1_000 {
        let mut grant = enter(&limiter).expect("unlimited");
        assert_eq!(grant.count_now(None, Demand { calls: u32::MAX, tokens: u64::MAX }), Ok(Vec::new()));
    }
}

impl ReachedLimit {
    fn wait(&self) -> Duration {
        match self {
            Self::Rate { wait, .. } => *wait,
            Self::Concurrency { .. } | Self::Never { .. } | Self::Unknown => panic!("{self:?}"),
        }
    }
}

#[test]
fn a_reset_is_a_moment_for_clients_of_anthropic_s() {
    let reset = |reset, now_ms| {
        let status = RateLimitStatus { unit: Unit::Tokens, limit: 60, remaining: 7, reset };
        let [limit, remaining, (name, at)] = status.anthropic_headers(now_ms);
        assert_eq!(limit, ("anthropic-ratelimit-tokens-limit", "60".to_owned()));
        assert_eq!(remaining, ("anthropic-ratelimit-tokens-remaining", "7".to_owned()));
        assert_eq!(name, "anthropic-ratelimit-tokens-reset");
        at
    };
    assert_eq!(reset(Duration::ZERO, 1_700_000_000_000), "2023-11-14T22:13:20Z");
    assert_eq!(reset(Duration::from_millis(1), 1_700_000_000_000), "2023-11-14T22:13:21Z", "whole seconds, rounded up");
    assert_eq!(reset(Duration::from_mins(1), 1_700_000_000_000), "2023-11-14T22:14:20Z");
    assert!(reset(Duration::MAX, i64::MAX).starts_with("9999-12-3"), "the end of the calendar");
}

#[test]
fn nothing_is_reserved_for_an_answer_that_has_no_tokens() {
    let needs = |operation, body: &'static str| {
        let limits = provider::Limits { max_messages: 9 };
        let request = provider::Request::parse(operation, body.into(), limits).expect("a request");
        (request.estimated_prompt_tokens(), Demand::new(&request, 1).tokens)
    };
    let (prompt, tokens) = needs(Operation::Rerank, r#"{"model":"m","query":"red cat","documents":["a dog"]}"#);
    assert_eq!(tokens, prompt);
    assert_eq!(needs(Operation::Tokenize, r#"{"model":"m","prompt":"Hi"}"#), (0, 0));
    let (prompt, tokens) = needs(Operation::Completions, r#"{"model":"m","prompt":"Hi"}"#);
    assert_eq!(tokens, prompt + 512);
}

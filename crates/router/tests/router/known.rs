//! Failures that were once measured, as regression tests.

use std::time::Duration;

use provider::{Capacity, Error, ErrorKind, PicoUsd, Price, Quota, Tariff, Time};
use router::{Action, BreakerState, Limits, RequestState, StrategyName, UpstreamSpec};

use crate::hand::{CHAT, Hand, MS, S, TIMEOUT, error, model, started, upstream, waits};

/// A model with an SLO of two seconds, `a` with workers of 30 slots at 0.8 and `b` at 0.2.
fn pair(strategy: StrategyName) -> Hand {
    let mut a = upstream("a");
    a.worker_slots = Some(30);
    let mut spec = model("m", strategy, &[("a", 0.8), ("b", 0.2)]);
    spec.slo_first_token = Some(2 * S);
    Hand::new(vec![a, upstream("b")], vec![spec])
}

/// Serves a request whose first token comes after `wait`.
fn serve_after(hand: &mut Hand, mut request: RequestState, wait: Duration) {
    hand.pass(wait);
    hand.engine.first_token(&mut request, Quota::default(), hand.now, &mut hand.rng);
    hand.pass(100 * MS);
    hand.engine.served(&mut request, Some(40), hand.now);
}

#[test]
fn a_caller_a_minute_does_not_always_wait_for_a_cold_start() {
    for strategy in [StrategyName::Balanced, StrategyName::Cost, StrategyName::Latency] {
        let mut hand = pair(strategy);
        let mut cold = 0;
        for _ in 0..60 {
            hand.pass(60 * S);
            hand.has_running(0);
            let (request, start) = hand.begin();
            cold += u32::from(start.attempt.target == 0);
            serve_after(&mut hand, request, if start.attempt.target == 0 { 11 * S } else { S });
        }
        assert!(cold <= 7, "{strategy:?}: {cold} of 60");
    }
}

#[test]
fn a_stream_to_a_lone_cold_upstream_waits_as_long_as_it_may() {
    let mut a = upstream("a");
    a.worker_slots = Some(30);
    let mut spec = model("m", StrategyName::Balanced, &[("a", 1.0)]);
    spec.slo_first_token = Some(2 * S);
    let mut hand = Hand::new(vec![a], vec![spec]);
    hand.has_running(0);
    for _ in 0..7 {
        let (request, start) = hand.begin();
        assert_eq!((start.attempt.target, start.limit), (0, request.deadline()));
    }
}

/// A hundred requests a second to one worker of 30 slots: what has no slot is held.
#[test]
fn no_more_is_sent_to_a_worker_than_it_serves() {
    let mut hand = Hand::new(
        vec![{
            let mut a = upstream("a");
            a.worker_slots = Some(30);
            a
        }],
        vec![model("m", StrategyName::Balanced, &[("a", 1.0)])],
    );
    hand.has_running(1);
    let mut held = 0;
    for _ in 0..100 {
        let mut request = hand.request("m");
        if let Action::Wait { .. } = hand.arrived(&mut request) {
            held += 1;
        }
        hand.pass(10 * MS);
    }
    assert!((28..=36).contains(&hand.in_flight("a")), "{} in flight", hand.in_flight("a"));
    assert_eq!(held + hand.in_flight("a"), 100);
}

#[test]
fn an_upstream_that_is_always_late_gets_no_burst() {
    let mut hand = pair(StrategyName::Cost);
    let (mut late, mut streak, mut longest) = (0, 0, 0);
    for _ in 0..600 {
        hand.has_running(1);
        let (request, start) = hand.begin();
        let is_slow = start.attempt.target == 0;
        late += u32::from(is_slow);
        streak = if is_slow { streak + 1 } else { 0 };
        longest = longest.max(streak);
        serve_after(&mut hand, request, if is_slow { 2_800 * MS } else { 500 * MS });
    }
    assert!(longest <= 8 && late <= 60, "{late} late, {longest} in a row");
}

/// Limits are known before a request is sent: nothing is refused.
#[test]
fn what_exceeds_a_limit_is_not_sent() {
    let mut b = upstream("b");
    b.limits = Limits { requests_per_minute: Some(10), ..Limits::default() };
    let specs = vec![model("m", StrategyName::Weighted, &[("b", 0.9), ("a", 0.1)])];
    let mut hand = Hand::new(vec![upstream("a"), b], specs);
    let mut sent = 0;
    for _ in 0..100 {
        let (request, start) = hand.begin();
        sent += u32::from(start.attempt.target == 0);
        serve_after(&mut hand, request, MS);
    }
    assert!((10..=12).contains(&sent), "{sent} in ten seconds of ten a minute");
}

/// A 429 that names no time parks for a moment, not for ten seconds, and one that names none or the past for more than nothing.
#[test]
fn a_refusal_without_a_date_parks_for_a_moment() {
    for retry_after in [None, Some(Duration::ZERO)] {
        let mut hand = Hand::pair(StrategyName::Weighted);
        let (mut request, start) = hand.begin();
        assert_eq!(start.attempt.target, 0);
        let refused = Error { retry_after, ..error(ErrorKind::RateLimited) };
        started(hand.engine.failed(&mut request, refused, hand.now, &mut hand.rng));
        hand.serve(request);
        let (request, start) = hand.begin();
        assert_eq!(start.attempt.target, 1, "it is left alone");
        hand.serve(request);
        hand.pass(S);
        let (_request, start) = hand.begin();
        assert_eq!(start.attempt.target, 0, "but not for long");
    }
}

/// Long prompts that time out while others get answers open nothing, even five at one instant.
#[test]
fn long_prompts_that_time_out_together_open_nothing() {
    let mut hand = Hand::single();
    let long: Vec<_> = (0..5).map(|_| hand.begin().0).collect();
    hand.pass(S);
    let (other, _) = hand.begin();
    hand.serve(other);
    hand.pass(4 * S);
    for mut request in long {
        let _next = hand.failed(&mut request, TIMEOUT);
        hand.engine.left(&mut request, hand.now);
    }
    assert_eq!(hand.breaker("a"), BreakerState::Closed);
}

/// Beside long streams, a twentieth of the calls fails at once: successes count at the first token.
#[test]
fn a_few_failures_beside_long_streams_open_nothing() {
    let mut hand = Hand::pair(StrategyName::Weighted);
    for call in 0..200 {
        let (mut request, start) = hand.begin();
        if start.attempt.target == 0 && call % 20 == 0 {
            let _next = hand.failed(&mut request, ErrorKind::Connect);
        } else {
            hand.pass(100 * MS);
            hand.engine.first_token(&mut request, Quota::default(), hand.now, &mut hand.rng);
            std::mem::forget(request);
        }
        assert_eq!(hand.breaker("a"), BreakerState::Closed);
    }
}

/// A first token that came out of a cold start is no sample of speed.
#[test]
fn a_cold_start_does_not_make_an_upstream_look_slow() {
    let mut hand = pair(StrategyName::Weighted);
    hand.has_running(0);
    let (request, _) = hand.begin();
    hand.pass(14 * S);
    hand.has_running(1);
    hand.serve(request);
    hand.pass(S);
    let capacity = Capacity { running: Some(1), ..Capacity::default() };
    let upstream = hand.table.upstreams().next().expect("an upstream").clone();
    hand.engine.record_capacity(&upstream, capacity, hand.now);
    let snapshot = hand.engine.snapshot(&upstream, true, hand.now);
    assert!(snapshot.first_token.is_some_and(|predicted| predicted < S), "{:?}", snapshot.first_token);
}

/// Requests that come every 50 ms for so many seconds, each first token after `takes` of its target. Returns for each second how
/// many of the twenty `a` was asked for.
fn seconds_of_load(hand: &mut Hand, seconds: usize, takes: impl Fn(usize) -> Duration) -> Vec<u32> {
    let mut under_way: Vec<(Time, RequestState)> = Vec::new();
    let mut asked = vec![0; seconds];
    for step in 0..seconds * 20 {
        if step % 20 == 0 {
            hand.has_running(1);
        }
        let mut request = hand.request("m");
        if let Action::Start(start) = hand.arrived(&mut request) {
            asked[step / 20] += u32::from(start.attempt.target == 0);
            under_way.push((hand.now + takes(start.attempt.target), request));
        }
        hand.pass(50 * MS);
        let (over, others) = under_way.into_iter().partition(|(at, _)| *at <= hand.now);
        under_way = others;
        for (_, request) in over {
            hand.serve(request);
        }
    }
    for (_, request) in under_way {
        hand.serve(request);
    }
    asked
}

/// So many calls to `a` at once, all of which it refuses.
fn refuses_together(hand: &mut Hand, calls: usize, retry_after: Option<Duration>) {
    let mut requests: Vec<_> = (0..calls).map(|_| hand.begin()).collect();
    hand.pass(50 * MS);
    requests.retain_mut(|(request, start)| {
        let is_refused = start.attempt.target == 0;
        if is_refused {
            let refused = Error { retry_after, ..error(ErrorKind::RateLimited) };
            let _next = hand.engine.failed(request, refused, hand.now, &mut hand.rng);
        }
        !is_refused || request.attempt().is_some()
    });
    for (request, _) in requests {
        hand.serve(request);
    }
}

/// A limit learned from a refused burst is never below what the upstream served before: ten seconds later it has its
/// share.
#[test]
fn a_burst_of_refusals_does_not_throttle_an_upstream_below_what_it_served() {
    for strategy in [StrategyName::Weighted, StrategyName::Balanced] {
        let mut hand = pair(strategy);
        seconds_of_load(&mut hand, 60, |_| 200 * MS);
        refuses_together(&mut hand, 100, None);
        let asked = seconds_of_load(&mut hand, 10, |_| 200 * MS);
        assert!(asked[1..].iter().all(|calls| *calls >= 13), "{strategy:?}: of 20 a second {asked:?}");
    }
}

/// An upstream that refused all that it got, and has served nothing, has shown no limit: it has its share when it serves again.
#[test]
fn an_upstream_that_served_nothing_has_shown_no_limit() {
    for strategy in [StrategyName::Weighted, StrategyName::Balanced] {
        let mut hand = pair(strategy);
        refuses_together(&mut hand, 200, Some(2 * S));
        hand.pass(2 * S);
        let asked = seconds_of_load(&mut hand, 6, |_| 200 * MS);
        assert!(asked[2..].iter().all(|calls| *calls >= 13), "{strategy:?}: of 20 a second {asked:?}");
    }
}

/// A target that was late in one burst is found to be fast again within seconds, by one call a second and not by many
/// at once.
#[test]
fn a_target_that_was_late_in_a_burst_is_soon_tried_again() {
    let mut hand = pair(StrategyName::Balanced);
    seconds_of_load(&mut hand, 5, |_| 200 * MS);
    let slow = seconds_of_load(&mut hand, 20, |target| if target == 0 { 6 * S } else { 200 * MS });
    assert!(slow[10..].iter().sum::<u32>() <= 20, "late calls in each second: {slow:?}");
    for window in slow.windows(8) {
        assert!(
            window.iter().sum::<u32>() >= 1,
            "as soon as the one that tried has been answered, the next tries: {slow:?}"
        );
    }
    let asked = seconds_of_load(&mut hand, 10, |_| 200 * MS);
    assert!(asked[4..].iter().all(|calls| *calls >= 13), "of 20 a second {asked:?}");
}

/// Where a request comes every two seconds, one that goes elsewhere may cost a worker that was ready: a small deficit
/// is no reason. In the long run the share is held nevertheless.
#[test]
fn at_little_traffic_a_worker_that_is_ready_is_kept_so_within_the_share() {
    let mut hand = pair(StrategyName::Balanced);
    let mut asked = Vec::new();
    for _ in 0..600 {
        hand.has_running(1);
        let (request, start) = hand.begin();
        asked.push(start.attempt.target);
        serve_after(&mut hand, request, 400 * MS);
        hand.pass(1_500 * MS);
    }
    assert!(asked[..20].iter().all(|target| *target == 0), "{:?}", &asked[..20]);
    let share = |part: &[usize]| part.iter().filter(|target| **target == 0).count() * 100 / part.len();
    assert!((78..=82).contains(&share(&asked[300..])), "{} %", share(&asked[300..]));
}

/// Room is left for requests that may still be in time, but not all the room that there is.
#[test]
fn a_late_request_gets_the_one_slot_that_there_is() {
    let mut a = upstream("a");
    a.worker_slots = Some(1);
    let mut spec = model("m", StrategyName::Balanced, &[("a", 1.0)]);
    spec.slo_first_token = Some(2 * S);
    let mut hand = Hand::new(vec![a], vec![spec]);
    hand.has_running(1);
    let (first, _) = hand.begin();
    hand.pass(500 * MS);
    let mut second = hand.request("m");
    waits(&hand.arrived(&mut second));
    for _ in 0..3 {
        hand.pass(S);
        hand.has_running(1);
    }
    hand.serve(first);
    started(hand.timer(&mut second));
}

/// What an upstream is given when it comes back is in proportion to the requests of all its models.
#[test]
fn an_upstream_behind_many_models_comes_back_as_fast_as_one_behind_one() {
    let mut a = upstream("a");
    a.worker_slots = Some(90);
    let names: Vec<String> = (0..50).map(|nth| format!("m{nth}")).collect();
    let specs = names.iter().map(|name| model(name, StrategyName::Balanced, &[("a", 1.0)]));
    let mut hand = Hand::new(vec![a], specs.collect());
    // A request a second for each of the models, answered after a tenth of a second.
    let seconds_of_load = |seconds: u32, hand: &mut Hand| {
        let mut begun = 0;
        for _ in 0..seconds {
            for ten in names.chunks(5) {
                let requests: Vec<_> = ten
                    .iter()
                    .map(|name| {
                        let mut request = hand.request(name);
                        (matches!(hand.arrived(&mut request), Action::Start(_)), request)
                    })
                    .collect();
                hand.pass(100 * MS);
                for (is_begun, mut request) in requests {
                    begun += u32::from(is_begun);
                    if is_begun {
                        hand.serve(request);
                    } else {
                        hand.engine.left(&mut request, hand.now);
                    }
                }
            }
        }
        begun
    };
    hand.has_running(1);
    assert!(seconds_of_load(12, &mut hand) >= 550);
    hand.has_running(0);
    hand.pass(S);
    hand.has_running(1);
    let begun = seconds_of_load(4, &mut hand);
    assert!(begun >= 120, "{begun} of 200");
}

#[test]
fn what_waits_for_a_park_to_end_does_not_come_all_at_once() {
    let mut hand = Hand::single();
    for _ in 0..60 {
        let (request, _) = hand.begin();
        hand.pass(200 * MS);
        hand.serve(request);
    }
    let (mut refused, _) = hand.begin();
    let full = Error { retry_after: Some(2 * S), ..error(ErrorKind::Overloaded) };
    waits(&hand.engine.failed(&mut refused, full, hand.now, &mut hand.rng));
    let mut waiting: Vec<_> = (0..50).map(|_| hand.request("m")).collect();
    for request in &mut waiting {
        waits(&hand.arrived(request));
    }
    waiting.push(refused);
    hand.pass(2 * S);
    let look_again = |requests: &mut Vec<RequestState>, hand: &mut Hand| {
        let (mut begun, now) = (0, hand.now);
        for request in requests.iter_mut().filter(|request| request.waits_until() <= now) {
            begun += usize::from(matches!(hand.timer(request), Action::Start(_)));
        }
        while let Some(woken) = hand.engine.take_woken() {
            let request = requests.iter_mut().find(|request| request.number() == woken).expect("one that waits");
            begun += usize::from(matches!(hand.timer(request), Action::Start(_)));
        }
        begun
    };
    assert_eq!(look_again(&mut waiting, &mut hand), 1, "one call finds out whether it is over");
    let probe = waiting.iter().position(|request| request.attempt().is_some()).expect("the probe");
    hand.serve(waiting.swap_remove(probe));
    let begun = look_again(&mut waiting, &mut hand);
    assert!((1..=4).contains(&begun), "{begun} of 50 at once, where five a second are usual");
}

/// How long answers are is learned with the first ones. What a request usually costs is learned from what it was expected to cost, and
/// must not stay behind: each request would seem small, and small ones go to the dear target.
#[test]
fn the_share_is_held_while_the_length_of_answers_is_learned() {
    let strays = |tokens: u64, share: f64| {
        let priced = |id: &str, pico_usd: u64| {
            let price = Price::new(PicoUsd(pico_usd), PicoUsd(pico_usd));
            UpstreamSpec { tariff: Some(Tariff::Tokens(price)), ..upstream(id) }
        };
        let mut spec = model("m", StrategyName::Balanced, &[("a", share), ("b", 1.0 - share)]);
        spec.slo_first_token = Some(2 * S);
        let mut hand = Hand::new(vec![priced("a", 20_000), priced("b", 100_000)], vec![spec]);
        let (mut served_by_a, mut strays) = (0.0, 0.0_f64);
        for number in 1..=200_u32 {
            let (mut request, start) = hand.begin();
            hand.pass(50 * MS);
            hand.engine.first_token(&mut request, Quota::default(), hand.now, &mut hand.rng);
            hand.engine.served(&mut request, Some(tokens), hand.now);
            served_by_a += f64::from(u8::from(start.attempt.target == 0));
            strays = strays.max((served_by_a - share * f64::from(number)).abs());
        }
        strays
    };
    let strays = [(5, 0.8), (5, 0.5), (2_000, 0.8)].map(|(tokens, share)| strays(tokens, share));
    assert!(strays.iter().all(|strays| *strays <= 3.0), "requests off the share, at most: {strays:?}");
}

/// A long prompt that takes nearly the whole SLO even at an idle target is held at first. It does not wait for itself.
#[test]
fn a_request_does_not_yield_to_itself() {
    let mut hand = pair(StrategyName::Balanced);
    hand.has_running(1);
    for _ in 0..60 {
        let (request, _) = hand.begin();
        serve_after(&mut hand, request, 300 * MS);
        hand.has_running(1);
    }
    let came = hand.now;
    let facts = router::Facts { prompt_tokens: 40_000, ..CHAT };
    let mut long = RequestState::new(hand.model("m"), facts, None, came + 60 * S).numbered(1_000);
    let mut action = hand.arrived(&mut long);
    waits(&action);
    while let Action::Wait { until } = action {
        hand.now = until;
        hand.has_running(1);
        action = hand.timer(&mut long);
    }
    let waited = hand.now - came;
    assert!(matches!(action, Action::Start(_)) && waited < S, "{action:?} after {waited:?}");
}

/// Where one target alone can serve a request, and starts, the request waits there as at a model with one target.
#[test]
fn what_one_target_alone_can_serve_waits_for_its_start() {
    let (mut a, mut b) = (upstream("a"), upstream("b"));
    a.worker_slots = Some(30);
    b.features.images = false;
    (a.capacity_poll, b.max_in_flight) = (60 * S, 10);
    let mut spec = model("m", StrategyName::Balanced, &[("a", 0.8), ("b", 0.2)]);
    spec.slo_first_token = Some(2 * S);
    let mut hand = Hand::new(vec![a, b], vec![spec]);
    hand.has_running(0);
    for _ in 0..3 {
        let mut facts = CHAT;
        facts.features.images = true;
        let mut image = RequestState::new(hand.model("m"), facts, None, hand.now + 60 * S);
        assert_eq!(started(hand.arrived(&mut image)).attempt.target, 0);
        hand.pass(100 * MS);
    }
}

/// A target that has a deficit and may have a worker in time, or not, holds nothing up that another one serves in time.
#[test]
fn no_request_is_held_that_another_target_serves_in_time() {
    let mut hand = pair(StrategyName::Balanced);
    let at_a = router::Named { target: 0, falls_back: true };
    for _ in 0..8 {
        hand.has_running(0);
        let mut request = RequestState::new(hand.model("m"), CHAT, Some(at_a), hand.now + 60 * S);
        started(hand.arrived(&mut request));
        serve_after(&mut hand, request, 1_900 * MS);
        hand.pass(10 * S);
    }
    for number in 0..1_000 {
        hand.has_running(0);
        let mut request = hand.request("m");
        let action = hand.arrived(&mut request);
        let Action::Start(start) = action else { panic!("request {number}: {action:?}") };
        hand.pass(if start.attempt.target == 0 { 1_900 * MS } else { 5 * MS });
        hand.serve(request);
    }
}

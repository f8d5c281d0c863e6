//! A cold upstream is started by calls of the router's own: no user waits for it where another target serves, and no more is
//! started than requests ask for.

use std::time::Duration;

use provider::{ErrorKind, NanoUsd, PicoUsd, Price, Quota, Tariff, Time};
use router::{BreakerState, Named, Reason, RequestState, Role, StrategyName, UpstreamSpec, WarmUp};

use crate::hand::{CHAT, Hand, MS, S, error, model, started, upstream, waits};

/// A start of `a` takes so long, and an idle worker of it runs on for so long.
const START: Duration = Duration::from_secs(20);
const TAIL: Duration = Duration::from_secs(5);

fn price(usd_per_million: &str) -> Tariff {
    let rate = PicoUsd::from_usd_per_million(usd_per_million).expect("a price");
    Tariff::Tokens(Price::new(rate, rate))
}

/// `a` is started on demand, for half a dollar an hour at most.
fn on_demand() -> UpstreamSpec {
    UpstreamSpec {
        worker_slots: Some(30),
        warm_up_usd_per_hour: NanoUsd(500_000_000),
        tariff: Some(price("0.02")),
        ..upstream("a")
    }
}

/// Requests that are served in virtual time, and an endpoint `a` with at most one worker.
struct World {
    hand: Hand,
    /// When the worker came up, or will.
    ready_at: Option<Time>,
    idle_since: Time,
    warm_ups: Vec<(Time, WarmUp)>,
    /// Warm-up calls that began.
    called: u32,
    starts: u32,
    /// Of each request, the target and when its first token came.
    served: Vec<(usize, Duration)>,
}

impl World {
    fn new(strategy: StrategyName, a: UpstreamSpec) -> Self {
        Self::beside(strategy, a, 1_000)
    }

    /// The same, where `b` takes so many calls at a time.
    fn beside(strategy: StrategyName, a: UpstreamSpec, max_in_flight: u32) -> Self {
        let b = UpstreamSpec { max_in_flight, tariff: a.tariff.as_ref().map(|_| price("0.10")), ..upstream("b") };
        let mut spec = model("m", strategy, &[("a", 0.8), ("b", 0.2)]);
        spec.slo_first_token = Some(2 * S);
        let hand = Hand::new(vec![a, b], vec![spec]);
        let idle_since = hand.now;
        Self { hand, ready_at: None, idle_since, warm_ups: Vec::new(), called: 0, starts: 0, served: Vec::new() }
    }

    /// A call comes to `a`. Returns when its first token comes.
    fn reaches(&mut self) -> Time {
        let now = self.hand.now;
        let ready_at = *self.ready_at.get_or_insert_with(|| {
            self.starts += 1;
            now + START
        });
        self.idle_since = ready_at.max(now) + 300 * MS;
        self.idle_since
    }

    /// A second passes: the worker is counted, and warm-up calls begin and end.
    fn second(&mut self) {
        self.hand.pass(S);
        let now = self.hand.now;
        if self.ready_at.is_some() && self.idle_since + TAIL <= now {
            self.ready_at = None;
        }
        self.hand.has_running(u32::from(self.ready_at.is_some()));
        let (over, under_way): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.warm_ups).into_iter().partition(|(until, _)| *until <= now);
        self.warm_ups = under_way;
        for (_, warm_up) in over {
            self.hand.engine.warmed_up(warm_up, Quota::default(), now);
        }
        let m = self.hand.model("m");
        if let Some(warm_up) = self.hand.engine.warm_up(&m, now) {
            assert_eq!((warm_up.attempt().role, warm_up.upstream().spec.id.as_str()), (Role::WarmUp, "a"));
            self.called += 1;
            let until = self.reaches();
            self.warm_ups.push((until, warm_up));
        }
    }

    /// A request that is served before the next one comes.
    fn request(&mut self) {
        let (mut request, start) = self.hand.begin();
        let now = self.hand.now;
        let takes = if start.attempt.target == 0 { self.reaches() - now } else { 500 * MS };
        self.served.push((start.attempt.target, takes));
        let Hand { engine, rng, .. } = &mut self.hand;
        engine.first_token(&mut request, Quota::default(), now + takes.min(300 * MS), rng);
        engine.served(&mut request, Some(40), now + takes.min(300 * MS));
    }

    /// A request every so many seconds, for so long.
    fn run(&mut self, every: u64, seconds: u64) {
        for second in 0..seconds {
            self.second();
            if second % every == 0 {
                self.request();
            }
        }
    }

    fn longest(&self) -> Duration {
        self.served.iter().map(|(_, takes)| *takes).max().unwrap_or_default()
    }
}

const STRATEGIES: [StrategyName; 3] = [StrategyName::Balanced, StrategyName::Cost, StrategyName::Latency];

#[test]
fn a_caller_a_minute_neither_waits_for_a_start_nor_pays_one() {
    for strategy in STRATEGIES {
        let mut world = World::new(strategy, on_demand());
        world.run(60, 3600);
        assert_eq!((world.served.len(), world.starts, world.called), (60, 0, 0), "{strategy:?}");
        assert!(world.longest() <= S, "{strategy:?}: {:?}", world.longest());
    }
}

/// Whoever comes every eight seconds always finds the worker stopped again: the router soon stops to start it.
#[test]
fn one_caller_after_the_other_does_not_start_a_worker_for_each() {
    for strategy in STRATEGIES {
        let mut world = World::new(strategy, on_demand());
        world.run(8, 3600);
        assert!(world.longest() <= S, "{strategy:?}: {:?}", world.longest());
        assert!(world.starts <= 12, "{strategy:?}: {} starts for 450 requests", world.starts);
    }
}

#[test]
fn the_worker_that_many_ask_for_is_started_once_while_others_serve() {
    for strategy in STRATEGIES {
        let mut world = World::new(strategy, on_demand());
        world.run(1, 600);
        assert_eq!((world.called, world.starts), (1, 1), "{strategy:?}");
        assert!(world.longest() <= S, "{strategy:?}: {:?}", world.longest());
        let before = world.served.iter().position(|(target, _)| *target == 0).expect("the worker serves");
        assert!((20..=26).contains(&before), "{strategy:?}: after {before} s");
        let share = world.served[300..].iter().filter(|(target, _)| *target == 0).count();
        assert!(share >= 230, "{strategy:?}: {share} of 300");
    }
}

/// However the requests were shared before, and although what the cold target misses is deferred, requests ask for its start.
#[test]
fn a_worker_that_was_stopped_is_started_again_whatever_the_deficits_are() {
    for before in 0..10 {
        let mut world = World::new(StrategyName::Balanced, UpstreamSpec { tariff: None, ..on_demand() });
        world.ready_at = Some(world.hand.now);
        world.run(1, before);
        world.ready_at = None;
        world.run(1, 5);
        let (mut request, start) = world.hand.begin();
        assert_eq!(start.attempt.reason, Reason::Spill, "the cold one is behind, after {before} requests");
        world.hand.engine.left(&mut request, world.hand.now);
        world.run(1, 60);
        assert!(
            world.called >= 1 && world.served.last().is_some_and(|(_, took)| *took <= S),
            "after {before} requests"
        );
    }
}

/// A user's request that comes first waits nevertheless where nobody else can serve it.
#[test]
fn a_lone_cold_upstream_gets_the_users_calls() {
    let mut hand = Hand::new(vec![on_demand()], vec![model("m", StrategyName::Balanced, &[("a", 1.0)])]);
    hand.has_running(0);
    for _ in 0..5 {
        let (_request, start) = hand.begin();
        assert_eq!(start.attempt.target, 0);
    }
    let m = hand.model("m");
    assert!(hand.engine.warm_up(&m, hand.now).is_none(), "users' calls start it");
}

/// Requests that would go to the cold `a`.
fn wanted(hand: &mut Hand) -> Vec<RequestState> {
    hand.has_running(0);
    (0..4)
        .map(|_| {
            hand.pass(100 * MS);
            let (request, start) = hand.begin();
            assert_eq!(start.attempt.target, 1);
            request
        })
        .collect()
}

#[test]
fn nothing_is_started_where_it_is_switched_off_or_workers_are_not_counted() {
    let off = UpstreamSpec { warm_up_usd_per_hour: NanoUsd(0), ..on_demand() };
    let mut hand = World::new(StrategyName::Balanced, off).hand;
    hand.has_running(0);
    let (mut request, _) = hand.begin();
    hand.engine.left(&mut request, hand.now);
    for _ in 0..20 {
        hand.pass(100 * MS);
        let (mut request, _) = hand.begin();
        hand.engine.left(&mut request, hand.now);
    }
    let m = hand.model("m");
    assert!(hand.engine.warm_up(&m, hand.now).is_none());
}

#[test]
fn an_upstream_whose_breaker_is_open_is_not_called() {
    let mut hand = World::new(StrategyName::Balanced, on_demand()).hand;
    let _requests = wanted(&mut hand);
    let (m, deadline) = (hand.model("m"), hand.now + 60 * S);
    let mut direct = RequestState::new(m.clone(), CHAT, Some(Named { target: 0, falls_back: false }), deadline);
    assert_eq!(started(hand.arrived(&mut direct)).attempt.target, 0);
    let _refused = hand.failed(&mut direct, ErrorKind::Auth);
    assert_eq!((hand.breaker("a"), hand.in_flight("a")), (BreakerState::Open, 0));
    assert!(hand.engine.warm_up(&m, hand.now).is_none());
}

/// However a call ends, it gives back what it took, and a start that takes too long is no failure of the upstream.
#[test]
fn a_call_that_ends_in_any_way_is_in_flight_no_more() {
    type End = fn(&mut Hand, WarmUp);
    let ends: [(End, BreakerState); 4] = [
        (|hand, warm_up| hand.engine.warmed_up(warm_up, Quota::default(), hand.now), BreakerState::Closed),
        (|hand, warm_up| hand.engine.warm_up_dropped(warm_up, hand.now), BreakerState::Closed),
        (
            |hand, warm_up| hand.engine.warm_up_failed(warm_up, &WarmUp::overdue(), hand.now, &mut hand.rng),
            BreakerState::Closed,
        ),
        (
            |hand, warm_up| {
                let refused = error(ErrorKind::Auth);
                hand.engine.warm_up_failed(warm_up, &refused, hand.now, &mut hand.rng);
            },
            BreakerState::Open,
        ),
    ];
    for (end, breaker) in ends {
        let mut hand = World::new(StrategyName::Balanced, on_demand()).hand;
        let _requests = wanted(&mut hand);
        let m = hand.model("m");
        let warm_up = hand.engine.warm_up(&m, hand.now).expect("due");
        assert_eq!(hand.in_flight("a"), 1);
        assert!(hand.engine.warm_up(&m, hand.now).is_none(), "one at a time");
        hand.has_running(0);
        end(&mut hand, warm_up);
        assert_eq!((hand.in_flight("a"), hand.breaker("a")), (0, breaker));
    }
}

/// A request that nobody can serve meanwhile is woken once a worker is ready.
#[test]
fn a_held_request_is_woken_by_the_answer_to_the_call() {
    let mut hand = World::beside(StrategyName::Balanced, on_demand(), 4).hand;
    let _requests = wanted(&mut hand);
    let m = hand.model("m");
    let warm_up = hand.engine.warm_up(&m, hand.now).expect("due");
    let mut held = hand.request("m");
    let action = hand.arrived(&mut held);
    assert!(waits(&action) > hand.now, "the other target is full");
    hand.pass(20 * S);
    hand.has_running(0);
    for _ in hand.woken() {
        let action = hand.timer(&mut held);
        assert!(waits(&action) > hand.now, "no worker is ready");
    }
    hand.pass(100 * MS);
    hand.engine.warmed_up(warm_up, Quota::default(), hand.now);
    assert_eq!(hand.woken(), [held.number()]);
    assert_eq!(started(hand.timer(&mut held)).attempt.target, 0);
}

/// By the second a worker costs more than few small requests save at the other target.
#[test]
fn cost_starts_no_worker_that_requests_do_not_pay_for() {
    let rate = PicoUsd::from_usd_per_unit("0.0001").expect("a rate");
    let gpu = Tariff::GpuSeconds { per_second: rate, idle_timeout: TAIL, kept_workers: 0, list: None };
    let gpu = UpstreamSpec { tariff: Some(gpu), ..on_demand() };
    let mut few = World::new(StrategyName::Cost, gpu.clone());
    few.run(1, 300);
    assert_eq!(few.called, 0);
    let mut balanced = World::new(StrategyName::Balanced, gpu);
    balanced.run(1, 300);
    assert!(balanced.called > 0, "a share is to be held");
}

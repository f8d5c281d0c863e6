//! Load in virtual time while upstreams fail and come back: no upstream that recovers gets a burst, no outage
//! multiplies calls, and every permit is returned.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use proptest::{collection::vec, prelude::*, sample::select};
use provider::{Capacity, ErrorKind, Quota, Time};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use router::{Action, ModelSpec, RequestState, StrategyName, Table};

use crate::hand::{CHAT, Hand, MS, S, TIMEOUT, error, model, upstream};

/// How an upstream fails.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// After 20 ms.
    Error(ErrorKind),
    /// Nothing comes.
    Silence,
}

/// An upstream fails from one second to another.
#[derive(Debug, Clone, Copy)]
struct Outage {
    target: usize,
    from_s: u32,
    seconds: u32,
    fault: Fault,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Poll,
    Reload,
    Arrives,
    Wakes,
    Answers,
    Fails,
    Overdue,
    Ends,
    Leaves,
}

/// What is to be tried.
#[derive(Debug, Clone)]
struct Plan {
    seed: u64,
    strategy: StrategyName,
    models: usize,
    per_second: f64,
    seconds: u32,
    outages: Vec<Outage>,
    /// How many of a thousand clients leave a second after they came.
    leave: u32,
    /// When shares are changed and changed back.
    reloads: bool,
}

/// A number of requests, and the calls that began in each tenth of a second at each upstream.
#[derive(Default)]
struct Seen {
    requests: u32,
    calls: [BTreeMap<u64, u32>; 2],
    most_deficit: f64,
    wake_ups: u32,
    most_waiting: usize,
}

impl Seen {
    fn all_calls(&self) -> u32 {
        self.calls.iter().flat_map(BTreeMap::values).sum()
    }

    /// Calls at a target in so many tenths of a second from `tenth` on.
    fn calls_in(&self, target: usize, tenth: u64, tenths: u64) -> u32 {
        self.calls[target].range(tenth..tenth + tenths).map(|(_, calls)| calls).sum()
    }
}

struct World<'a> {
    plan: &'a Plan,
    hand: Hand,
    /// Draws times and clients, apart from what the engine draws: the same requests come in each run.
    chance: SmallRng,
    due: BinaryHeap<Reverse<(Time, u64, What)>>,
    requests: BTreeMap<u64, RequestState>,
    /// Until when they wait, of those that do.
    waits: BTreeMap<u64, Time>,
    seen: Seen,
}

fn specs(plan: &Plan, share: f64) -> Vec<ModelSpec> {
    let spec = |nth: usize| {
        let mut spec = model(&format!("m{nth}"), plan.strategy, &[("a", share), ("b", 1.0 - share)]);
        spec.slo_first_token = Some(2 * S);
        spec
    };
    (0..plan.models).map(spec).collect()
}

impl World<'_> {
    fn run(plan: &Plan) -> Seen {
        let mut a = upstream("a");
        a.worker_slots = Some(30);
        let hand = Hand::new(vec![a, upstream("b")], specs(plan, 0.8));
        let chance = SmallRng::seed_from_u64(plan.seed);
        let (requests, waits) = (BTreeMap::new(), BTreeMap::new());
        let mut world = World { plan, hand, chance, due: BinaryHeap::new(), requests, waits, seen: Seen::default() };
        world.at(Time::ZERO, 0, What::Poll);
        world.at(Time::ZERO, 0, What::Arrives);
        if plan.reloads {
            world.at(Time::ZERO + plan.seconds / 2 * S, 0, What::Reload);
        }
        while let Some(Reverse((at, id, what))) = world.due.pop() {
            world.hand.now = at;
            world.happens(id, what);
            while let Some(woken) = world.hand.engine.take_woken() {
                world.wakes(woken);
            }
        }
        assert!(world.requests.is_empty(), "every request ends");
        assert_eq!((world.hand.in_flight("a"), world.hand.in_flight("b")), (0, 0), "every permit is back");
        world.seen
    }

    fn at(&mut self, at: Time, id: u64, what: What) {
        self.due.push(Reverse((at, id, what)));
    }

    fn after(&mut self, wait: Duration, id: u64, what: What) {
        self.at(self.hand.now + wait, id, what);
    }

    fn is_over(&self) -> bool {
        self.hand.now >= Time::ZERO + self.plan.seconds * S
    }

    fn fault_of(&self, target: usize) -> Option<Fault> {
        let now_s = self.hand.now.as_nanos() / 1_000_000_000;
        let is_out = |outage: &&Outage| {
            outage.target == target
                && (u64::from(outage.from_s)..u64::from(outage.from_s + outage.seconds)).contains(&now_s)
        };
        self.plan.outages.iter().find(is_out).map(|outage| outage.fault)
    }

    fn happens(&mut self, id: u64, what: What) {
        match what {
            What::Poll => {
                let upstream = self.hand.table.upstreams().next().expect("an upstream").clone();
                let capacity = Capacity { running: Some(6), ..Capacity::default() };
                self.hand.engine.record_capacity(&upstream, capacity, self.hand.now);
                if !self.is_over() {
                    self.after(S, 0, What::Poll);
                }
            }
            What::Reload => {
                let specs = specs(self.plan, 0.6);
                let mut a = upstream("a");
                a.worker_slots = Some(30);
                let next = Table::new("next", vec![a, upstream("b")], specs, Some(&self.hand.table)).expect("a table");
                let old = std::mem::replace(&mut self.hand.table, next);
                for nth in 0..self.plan.models {
                    let name = format!("m{nth}");
                    self.hand.engine.carry_over(&self.hand.model(&name), old.model(&name).expect("a model"));
                }
            }
            What::Arrives => self.arrives(),
            // Who was woken meanwhile has another timer, or none.
            What::Wakes if self.waits.get(&id).is_some_and(|until| *until <= self.hand.now) => self.wakes(id),
            What::Wakes => {}
            What::Answers => {
                let Some(request) = self.requests.get_mut(&id) else { return };
                self.hand.engine.first_token(request, Quota::default(), self.hand.now, &mut self.hand.rng);
                self.after(1_500 * MS, id, What::Ends);
            }
            What::Fails | What::Overdue => {
                let Some(mut request) = self.requests.remove(&id) else { return };
                let kind = match request.attempt().and_then(|attempt| self.fault_of(attempt.target)) {
                    Some(Fault::Error(kind)) if what == What::Fails => kind,
                    _ if what == What::Fails => ErrorKind::Unavailable,
                    _ => TIMEOUT,
                };
                let action = self.hand.engine.failed(&mut request, error(kind), self.hand.now, &mut self.hand.rng);
                self.act(id, request, action);
            }
            What::Ends => {
                let Some(mut request) = self.requests.remove(&id) else { return };
                self.hand.engine.served(&mut request, Some(40), self.hand.now);
            }
            What::Leaves => {
                let Some(mut request) = self.requests.remove(&id) else { return };
                self.waits.remove(&id);
                self.hand.engine.left(&mut request, self.hand.now);
            }
        }
    }

    fn wakes(&mut self, id: u64) {
        if self.waits.remove(&id).is_none() {
            return;
        }
        let Some(mut request) = self.requests.remove(&id) else { return };
        self.seen.wake_ups += 1;
        let action = self.hand.timer(&mut request);
        self.act(id, request, action);
    }

    fn arrives(&mut self) {
        if self.is_over() {
            return;
        }
        // Evenly, so that a second with many requests is not chance.
        let pause = self.chance.random_range(0.8..1.2) / self.plan.per_second;
        self.after(Duration::from_secs_f64(pause), 0, What::Arrives);
        let nth = self.chance.random_range(0..self.plan.models);
        let leaves = self.chance.random_range(0..1_000) < self.plan.leave;
        let (id, model) = (self.seen.requests.into(), self.hand.model(&format!("m{nth}")));
        self.seen.requests += 1;
        if leaves {
            self.after(S, id, What::Leaves);
        }
        let decision = self.hand.engine.explain(&model, &CHAT, None, self.hand.now);
        let deficits = decision.candidates.iter().map(|candidate| candidate.deficit);
        self.seen.most_deficit = deficits.fold(self.seen.most_deficit, f64::max);
        let mut request = RequestState::new(model, CHAT, None, self.hand.now + 60 * S).numbered(id);
        let action = self.hand.arrived(&mut request);
        self.act(id, request, action);
    }

    fn act(&mut self, id: u64, request: RequestState, action: Action) {
        let deadline = request.deadline();
        match action {
            Action::Start(start) => {
                assert!(start.limit <= deadline, "a call may last beyond the deadline");
                let target = start.attempt.target;
                *self.seen.calls[target].entry(self.hand.now.as_nanos() / 100_000_000).or_default() += 1;
                match self.fault_of(target) {
                    Some(Fault::Error(_)) => self.after(20 * MS, id, What::Fails),
                    Some(Fault::Silence) => self.at(start.limit, id, What::Overdue),
                    None => self.after(400 * MS, id, What::Answers),
                }
            }
            Action::Wait { until } => {
                assert!(until < deadline, "a request waits beyond its deadline");
                self.waits.insert(id, until);
                self.seen.most_waiting = self.seen.most_waiting.max(self.waits.len());
                self.at(until, id, What::Wakes);
            }
            Action::GiveUp(_) => return,
        }
        self.requests.insert(id, request);
    }
}

fn faults() -> impl Strategy<Value = Fault> {
    let kinds = [ErrorKind::Connect, ErrorKind::Unavailable, ErrorKind::Overloaded, ErrorKind::RateLimited];
    prop_oneof![4 => select(kinds.to_vec()).prop_map(Fault::Error), 1 => Just(Fault::Silence)]
}

const SECONDS: u32 = 130;

fn plans() -> impl Strategy<Value = Plan> {
    let outage = (0..2_usize, 15..50_u32, 1..30_u32, faults()).prop_map(|(target, from_s, seconds, fault)| Outage {
        target,
        from_s,
        seconds,
        fault,
    });
    let strategies = select(vec![StrategyName::Weighted, StrategyName::Balanced]);
    (any::<u64>(), strategies, 1..3_usize, 2.0..25.0, vec(outage, 1..4), 0..100_u32, any::<bool>()).prop_map(
        |(seed, strategy, models, per_second, outages, leave, reloads)| Plan {
            seed,
            strategy,
            models,
            per_second,
            seconds: SECONDS,
            outages,
            leave,
            reloads,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    /// In any second after it is back, an upstream gets at most one and a half times the calls that it gets without any
    /// fault, and three more. The other upstream works, or this one would get more than its share.
    #[test]
    fn an_upstream_that_comes_back_gets_no_burst(mut plan in plans(), target in 0..2_usize) {
        plan.outages.iter_mut().for_each(|outage| outage.target = target);
        let seen = World::run(&plan);
        let calm = World::run(&Plan { outages: Vec::new(), ..plan.clone() });
        let recovered_s = plan.outages.iter().map(|outage| u64::from(outage.from_s + outage.seconds)).max().unwrap_or(0);
        for tenth in recovered_s * 10..u64::from(SECONDS) * 10 - 110 {
            let calls = f64::from(seen.calls_in(target, tenth, 10));
            let mean = f64::from(calm.calls_in(target, tenth - 95, 200)) / 20.0;
            let most = 1.5 * mean + 3.0;
            prop_assert!(calls <= most, "{calls} calls in the second from {tenth} tenths on, {mean} without a fault");
        }
    }

    /// Permits, deadlines and clients that leave are looked at wherever a world runs.
    #[test]
    fn deficits_are_bounded_whatever_fails(plan in plans()) {
        let seen = World::run(&plan);
        prop_assert!(seen.most_deficit <= 51.0, "a deficit of {}", seen.most_deficit);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_total_outage_does_not_multiply_calls(
        seed: u64, models in 1..60_usize, per_second in 1.0..30.0, fault in faults(), other in faults(),
        strategy in select(StrategyName::ALL.to_vec()),
    ) {
        let out = |target, fault| Outage { target, from_s: 0, seconds: 1_000, fault };
        let outages = vec![out(0, fault), out(1, other)];
        let plan = Plan { seed, strategy, models, per_second, seconds: 40, outages, leave: 0, reloads: false };
        let seen = World::run(&plan);
        let most = 1.2 * f64::from(seen.requests) + 10.0 * f64::from(plan.seconds);
        prop_assert!(f64::from(seen.all_calls()) <= most, "{} calls for {} requests", seen.all_calls(), seen.requests);
    }
}

/// In an outage with thousands of held requests, one of them looks for a target again and again, and each of the others
/// once, when its patience ends.
#[test]
fn who_waits_in_an_outage_is_not_woken_again_and_again() {
    let out = |target| Outage { target, from_s: 0, seconds: 1_000, fault: Fault::Error(ErrorKind::Unavailable) };
    let strategy = StrategyName::Balanced;
    let outages = vec![out(0), out(1)];
    let plan = Plan { seed: 1, strategy, models: 1, per_second: 80.0, seconds: 60, outages, leave: 0, reloads: false };
    let seen = World::run(&plan);
    assert!(seen.most_waiting >= 2_000, "{} wait", seen.most_waiting);
    let most = 2 * seen.requests + 40 * plan.seconds;
    assert!(seen.wake_ups <= most, "{} wake-ups of {} requests", seen.wake_ups, seen.requests);
}

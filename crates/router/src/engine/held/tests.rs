use std::time::Duration;

use proptest::{collection::vec, prelude::*};
use provider::Operation;

use super::*;
use crate::{ModelSpec, StrategyName, Table, Timeouts, UpstreamSpec};

const S: Duration = Duration::from_secs(1);

/// A model with the targets `a` and `b`, in which a first token may take two seconds.
fn model() -> Arc<Model> {
    let upstream = |id: &str| UpstreamSpec {
        id: id.into(),
        account: 0,
        identity: 0,
        provider_name: "fake",
        served_model: id.to_owned(),
        tariff: None,
        operations: Operation::ALL.to_vec(),
        features: provider::Features::default(),
        context_tokens: None,
        default_max_tokens: None,
        max_in_flight: 1,
        worker_slots: None,
        limits: crate::Limits::default(),
        timeouts: Timeouts { first_token: S, gap: S },
        capacity_poll: S,
        warm_up_usd_per_hour: provider::NanoUsd(0),
        price_version: None,
    };
    let model = ModelSpec {
        name: "m".into(),
        strategy: StrategyName::Balanced,
        slo_first_token: Some(2 * S),
        baseline: None,
        deadline: 60 * S,
        early_headers: false,
        reasoning_field: provider::ReasoningField::default(),
        hedge: None,
        targets: vec![("a".into(), 0.5), ("b".into(), 0.5)],
    };
    let table = Table::new("test", vec![upstream("a"), upstream("b")], vec![model], None).expect("a table");
    table.models().next().expect("a model").clone()
}

/// One that could be served by these of the two targets.
fn usable_at(targets: [bool; 2]) -> Usable {
    Usable::new(2, |target| targets[target])
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Passes(u64),
    /// One of this team, which could be served by these targets.
    Joins(u64, [bool; 2]),
    /// After a failure, so many milliseconds after it came.
    JoinsLate(u64),
    /// One of a batch.
    JoinsInBatch,
    Leaves(usize),
    /// Room is made at this target.
    Offers(usize),
    Looks(usize),
    /// The one that room is offered to cannot use it.
    Decides(bool),
    /// The one that room is offered to begins a call, of half a mean request or more.
    Begins(u8),
    /// A request of this team that was not held begins one.
    BeginsAtOnce(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..900_u64).prop_map(Step::Passes),
        4 => (0..3_u64, any::<[bool; 2]>()).prop_map(|(team, usable)| Step::Joins(team, usable)),
        1 => (0..5_000_u64).prop_map(Step::JoinsLate),
        2 => Just(Step::JoinsInBatch),
        2 => any::<usize>().prop_map(Step::Leaves),
        3 => (0..2_usize).prop_map(Step::Offers),
        2 => any::<usize>().prop_map(Step::Looks),
        4 => any::<bool>().prop_map(Step::Decides),
        2 => (1..5_u8).prop_map(Step::Begins),
        1 => (0..4_u64).prop_map(Step::BeginsAtOnce),
    ];
    vec(step, 1..200)
}

/// What each team was served, put plainly, while any waited. One that did not wait has no more left than the others.
#[derive(Default)]
struct Served(Vec<(Option<u64>, f64)>);

impl Served {
    fn of(&self, team: Option<u64>) -> f64 {
        self.0.iter().find(|(id, _)| *id == team).map_or(0.0, |(_, served)| *served)
    }

    /// `more` for `team`, which has at least as much as the least of those that wait, if it is not one of them.
    fn add(&mut self, team: Option<u64>, more: f64, waiting: &[Waiter]) {
        let least = waiting.iter().map(|waiter| self.of(waiter.team)).reduce(f64::min);
        let is_waiting = waiting.iter().any(|waiter| waiter.team == team);
        let own = if is_waiting { self.of(team) } else { self.of(team).max(least.unwrap_or(0.0)) };
        self.0.retain(|(id, _)| *id != team);
        self.0.push((team, own + more));
    }

    /// Teams take turns with these.
    fn turns(&self, waiters: Vec<Waiter>) -> Vec<Waiter> {
        let mut turns: Vec<(f64, usize, Waiter)> = Vec::new();
        for (place, waiter) in waiters.into_iter().enumerate() {
            let before = turns.iter().filter(|(.., other)| other.team == waiter.team).count();
            turns.push((self.of(waiter.team) + f64::from(u32::try_from(before).expect("a few")), place, waiter));
        }
        turns.sort_by(|(one, at, _), (other, other_at, _)| one.total_cmp(other).then(at.cmp(other_at)));
        turns.into_iter().map(|(.., waiter)| waiter).collect()
    }
}

/// The order in which room goes to those that wait, put plainly.
fn in_order(waiters: &[Waiter], served: &Served, now: Time) -> Vec<Waiter> {
    let is_late = |waiter: &&Waiter| now - waiter.arrived >= 600 * Duration::from_millis(1);
    let (mut of_batches, interactive): (Vec<Waiter>, Vec<Waiter>) = waiters.iter().partition(|waiter| waiter.in_batch);
    let (mut late, mut order): (Vec<Waiter>, Vec<Waiter>) = interactive.iter().partition(is_late);
    order.sort_unstable();
    late.sort_unstable();
    of_batches.sort_unstable();
    late.reverse();
    [order, late, of_batches].map(|class| served.turns(class)).concat()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens, somebody decides next or looks before long; each waiter has its place in the order.
    #[test]
    fn as_long_as_anybody_waits_somebody_looks(steps in steps()) {
        let (model, mut held, mut now) = (model(), Held::default(), Time::ZERO + 60 * S);
        let (mut waiting, mut served) = (Vec::<Waiter>::new(), Served::default());
        for (number, step) in (0..).zip(steps) {
            let offered = held.offer().map(|offer| offer.waiter);
            let at = |at: usize| at.checked_rem(waiting.len()).map(|at| waiting[at]);
            match step {
                Step::Passes(millis) => now += Duration::from_millis(millis),
                Step::Joins(..) | Step::JoinsLate(_) | Step::JoinsInBatch => {
                    let ago = if let Step::JoinsLate(millis) = step { millis } else { 0 };
                    let arrived = Time::from_nanos(now.as_nanos() - ago * 1_000_000);
                    let (team, usable) = match step {
                        Step::Joins(team, targets) => (Some(team), usable_at(targets)),
                        _ => (None, Usable::default()),
                    };
                    let waiter = Waiter { in_batch: matches!(step, Step::JoinsInBatch), arrived, number, team, usable };
                    served.add(team, 0.0, &waiting);
                    waiting.push(waiter);
                    held.add(waiter, &model);
                }
                Step::Leaves(nth) => {
                    let Some(leaves) = at(nth) else { continue };
                    waiting.retain(|waiter| *waiter != leaves);
                    held.remove(leaves, now);
                }
                Step::Offers(target) => held.room_made(&model.targets()[target].clone(), now),
                Step::Looks(nth) => {
                    let Some(looks) = at(nth) else { continue };
                    held.timer_fired(looks, now);
                }
                Step::Decides(may_suit_others) => {
                    let Some(offered) = offered else { continue };
                    held.refused(offered, may_suit_others, now);
                    prop_assert!(!held.has_offer(offered), "it has decided");
                }
                Step::BeginsAtOnce(team) => {
                    held.served(Some(team), 1.0);
                    if !waiting.is_empty() {
                        served.add(Some(team), 1.0, &waiting);
                    }
                }
                Step::Begins(halves) => {
                    let Some(offered) = offered else { continue };
                    let requests = f64::from(halves) / 2.0;
                    held.served(offered.team, requests);
                    served.add(offered.team, requests, &waiting);
                    waiting.retain(|waiter| *waiter != offered);
                    held.remove(offered, now);
                }
            }
            if waiting.is_empty() {
                served = Served::default();
            }
            let order = in_order(&waiting, &served, now);
            prop_assert_eq!(held.len(None).1, waiting.len());
            let first_of = |waiters: &[Waiter]| waiters.iter().copied().find(|waiter| held.can_use_room(*waiter));
            prop_assert_eq!(held.first(now), first_of(&order));
            for (place, waiter) in order.iter().enumerate() {
                prop_assert_eq!(held.after(*waiter, now), first_of(&order[place + 1..]));
            }
            let next = held.offer().map(|offer| offer.waiter).or(held.poller);
            prop_assert_eq!(next.is_some(), !waiting.is_empty());
            prop_assert!(next.is_none_or(|next| waiting.contains(&next)), "one that has left");
        }
    }

    /// At `a` room is made every ten milliseconds, which nobody can use. One that only `b` could serve looks nevertheless.
    #[test]
    fn refusals_at_one_target_keep_nobody_from_looking_at_another(
        (others, is_poller) in (at_most_seven_or_more_of_a(), any::<bool>()),
        place in any::<prop::sample::Index>(),
        knows_others in any::<bool>(),
    ) {
        let (model, mut held, start) = (model(), Held::default(), Time::ZERO + 60 * S);
        let mut usable: Vec<_> = others.into_iter().map(usable_at).collect();
        let only_b = place.index(usable.len() + 1);
        usable.insert(only_b, usable_at([false, true]));
        let waiters: Vec<_> = (0..).zip(usable).map(|(number, usable)| waiter(number, usable)).collect();
        // The first to come polls first.
        let first = if is_poller { only_b } else { 0 };
        let (mut poller, mut looked) = (None, false);
        let longest_poll = Duration::from_millis(100);
        for waiter in [waiters[first]].iter().chain(waiters.iter().filter(|waiter| **waiter != waiters[first])) {
            if held.add(*waiter, &model) {
                poller = Some((*waiter, held.poll_by(start + longest_poll)));
            }
        }
        let rows = u32::try_from(waiters.len()).expect("a few").div_ceil(MOST_REFUSALS);
        for step in 1..=10 * (rows + 1) {
            let now = start + step * S / 100;
            held.room_made(&model.targets()[0].clone(), now);
            for is_timer in [false, true] {
                if let Some((waiter, _)) = poller.filter(|(_, at)| is_timer && *at <= now) {
                    held.timer_fired(waiter, now);
                }
                while let Some(Offer { waiter, .. }) = held.offer().cloned() {
                    looked |= waiter == waiters[only_b];
                    if held.refused(waiter, knows_others || waiter.usable.has_all(), now) {
                        poller = Some((waiter, held.poll_by(now + longest_poll)));
                    }
                }
            }
        }
        prop_assert!(looked);
    }
}

/// What up to seven waiters could use, or many that only `a` could serve.
fn at_most_seven_or_more_of_a() -> impl Strategy<Value = Vec<[bool; 2]>> {
    prop_oneof![vec(any::<bool>().prop_map(|at_b| [true, at_b]), 0..8), vec(Just([true, false]), 8..30)]
}

fn waiter(number: u64, usable: Usable) -> Waiter {
    Waiter { in_batch: false, arrived: Time::ZERO + 60 * S, number, team: Some(number), usable }
}

/// Room went past the one that looks from time to time, whose timer is a long one from then on. The next one is served.
#[test]
fn somebody_looks_after_room_went_past_the_poller() {
    let (model, mut held, now) = (model(), Held::default(), Time::ZERO + 60 * S);
    let [poller, next] = [0, 1].map(|number| waiter(number, Usable::default()));
    assert!(held.add(poller, &model) && !held.add(next, &model));
    held.room_made(&model.targets()[0].clone(), now);
    assert!(!held.refused(poller, true, now), "the next one is offered the room");
    held.remove(next, now);
    assert!(held.has_offer(poller), "it decides, and looks again soon");
}

/// Twenty that the model's one upstream can never serve, each of another team, wait before one that it can.
#[test]
fn those_that_cannot_use_the_room_keep_it_from_nobody() {
    let (model, mut held, now) = (model(), Held::default(), Time::ZERO + 60 * S);
    let none = Usable::new(1, |_| false);
    for number in 0..20 {
        held.add(waiter(number, none), &model);
    }
    let upstream = model.targets()[0].clone();
    held.room_made(&upstream, now);
    assert!(held.offer().is_none(), "nobody can use it");
    let last = waiter(20, Usable::new(1, |_| true));
    held.add(last, &model);
    held.room_made(&upstream, now);
    assert!(held.has_offer(last));
    held.remove(last, now);
    let next = held.offer().map(|offer| offer.waiter).or(held.poller);
    assert!(next.is_some(), "somebody looks before long");
}

/// What time alone brings is for others than the first few as well.
#[test]
fn those_who_look_and_find_nothing_let_the_others_look() {
    let (model, mut held, now) = (model(), Held::default(), Time::ZERO + 60 * S);
    let waiters: Vec<_> = (0..20).map(|number| waiter(number, Usable::new(1, |_| false))).collect();
    for waiter in &waiters {
        held.add(*waiter, &model);
    }
    let mut looked = Vec::new();
    for _ in 0..4 {
        held.timer_fired(held.poller.expect("a poller"), now);
        while let Some(offer) = held.offer().cloned() {
            looked.push(offer.waiter.number);
            held.refused(offer.waiter, true, now);
        }
    }
    assert_eq!(looked, (0..20).chain(0..8).collect::<Vec<_>>());
}

/// A new request waits for a team that was served less only if that has one that could go wherever the new one can.
#[test]
fn the_turn_is_that_of_a_team_whose_request_could_take_the_same_room() {
    let (all, only_b) = ([true, true], [false, true]);
    // Teams that wait, each with where its request could go and what it was served; where the new one could go.
    let cases = [
        (vec![(all, 0.0)], all, true),
        (vec![(all, 0.0)], only_b, true),
        (vec![(only_b, 0.0)], only_b, true),
        (vec![(only_b, 0.0)], all, false),
        (vec![(only_b, 0.0), (all, 9.0)], all, false),
    ];
    for (waiting, new, waits) in cases {
        let (model, mut held, now) = (model(), Held::default(), Time::ZERO + 60 * S);
        for (number, (usable, served)) in (1..).zip(&waiting) {
            held.add(waiter(number, usable_at(*usable)), &model);
            held.served(Some(number), *served);
        }
        held.served(Some(0), 3.0);
        let new = waiter(0, usable_at(new));
        assert_eq!(held.is_turn_of_other(new, now), waits, "{waiting:?} {new:?}");
    }
}

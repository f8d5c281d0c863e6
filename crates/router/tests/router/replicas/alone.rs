//! A replica that is alone decides as if it had never learned of others, and states that say nothing of use do no harm.

use proptest::{collection::vec, prelude::*};
use provider::{ErrorKind, Quota};
use router::{Action, Limits, PeerModel, PeerState, PeerUpstream, RequestState, StrategyName, Totals, UpstreamSpec};

use super::cluster::{Cluster, FAST, Replica};
use crate::hand::{MS, S, TIMEOUT, model, upstream};

#[derive(Debug, Clone, Copy)]
enum Step {
    Pass(u32),
    Arrives,
    Fails(usize, ErrorKind),
    Serves(usize),
    HasRunning(u32),
}

fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    let kinds = prop_oneof![Just(TIMEOUT), Just(ErrorKind::RateLimited), Just(ErrorKind::Unavailable)];
    let step = prop_oneof![
        3 => (0..2_000_u32).prop_map(Step::Pass),
        5 => Just(Step::Arrives),
        2 => (any::<usize>(), kinds).prop_map(|(at, kind)| Step::Fails(at, kind)),
        3 => any::<usize>().prop_map(Step::Serves),
        1 => (0..3_u32).prop_map(Step::HasRunning),
    ];
    vec(step, 1..150)
}

fn replica() -> Replica {
    let mut cluster = Cluster::new(1, FAST, || {
        let limits = Limits { requests_per_minute: Some(60), ..Limits::default() };
        let a = UpstreamSpec { worker_slots: Some(4), limits, ..upstream("a") };
        let mut spec = model("m", StrategyName::Balanced, &[("a", 0.8), ("b", 0.2)]);
        spec.slo_first_token = Some(2 * S);
        (vec![a, upstream("b")], vec![spec])
    });
    cluster.replicas.remove(0)
}

/// Everything that the engine says during the steps; `between` happens after each of them.
fn said(steps: &[Step], mut between: impl FnMut(&mut Replica)) -> Vec<String> {
    let (mut replica, mut said, mut open) = (replica(), Vec::new(), Vec::<RequestState>::new());
    for step in steps {
        let hand = &mut replica.hand;
        match *step {
            Step::Pass(millis) => hand.pass(MS * millis),
            Step::HasRunning(running) => hand.has_running(running),
            Step::Arrives => {
                let mut request = hand.request("m");
                let action = hand.arrived(&mut request);
                said.push(format!("{action:?}"));
                match action {
                    Action::GiveUp(_) => {}
                    Action::Start(_) | Action::Wait { .. } => open.push(request),
                }
            }
            Step::Fails(at, _) | Step::Serves(at) if !open.is_empty() => {
                let at = at % open.len();
                let mut request = open.swap_remove(at);
                let action = match step {
                    _ if request.attempt().is_none() => hand.timer(&mut request),
                    Step::Fails(_, kind) => hand.failed(&mut request, *kind),
                    _ => {
                        hand.engine.first_token(&mut request, Quota::default(), hand.now, &mut hand.rng);
                        hand.engine.served(&mut request, Some(40), hand.now);
                        continue;
                    }
                };
                said.push(format!("{action:?}"));
                if !matches!(action, Action::GiveUp(_)) {
                    open.push(request);
                }
            }
            Step::Fails(..) | Step::Serves(_) => {}
        }
        said.push(format!("{:?}", replica.hand.woken()));
        between(&mut replica);
    }
    said
}

/// A state of a replica that knows other things: an upstream and a model of the same names that are not the same, and some that
/// are not here; numbers that cannot be.
fn of_no_use(sequence: u64) -> PeerState {
    let totals = Totals { debited_calls: 1e9, debited_tokens: 1e9, calls: 50.0, recoveries: 9.0, ..Totals::default() };
    let named = |id: &str, identity: u64| PeerUpstream {
        id: id.to_owned(),
        identity,
        totals,
        parked_ms: 60_000,
        requests_left: Some(-5.0),
        load: router::PeerLoad { in_flight: u32::MAX, pending_tokens: u64::MAX, ..router::PeerLoad::default() },
        breaker: router::PeerBreaker::Open { for_ms: u64::MAX },
        ..PeerUpstream::default()
    };
    let model = |name: &str, targets: &[(&str, f64)], behind: usize| PeerModel {
        name: name.to_owned(),
        strategy: "balanced".to_owned(),
        targets: targets.iter().map(|(id, share)| ((*id).to_owned(), *share)).collect(),
        arrivals: 1e6,
        behind: vec![1e6; behind],
    };
    // Of several of one name the first counts.
    let mut models = vec![
        model("n", &[("a", 0.8), ("b", 0.2)], 2),
        model("m", &[("b", 0.2), ("a", 0.8)], 2),
        model("m", &[("a", 0.8), ("b", 0.2)], 1),
    ];
    let turn = usize::try_from(sequence).expect("a few") % models.len();
    models.rotate_left(turn);
    PeerState { start: 77 + turn as u64, sequence, uptime_ms: 5, upstreams: vec![named("a", 1), named("c", 0)], models }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn one_that_is_alone_decides_as_one_that_never_asks(steps in steps()) {
        let never = said(&steps, |_| {});
        let mut before = PeerState::default();
        let asks = said(&steps, |replica| {
            let own = replica.state();
            replica.learn(&[("own", &own), ("own as it was", &before)]);
            before = own;
        });
        prop_assert_eq!(&never, &asks);
    }

    #[test]
    fn states_of_no_use_change_nothing(steps in steps()) {
        let never = said(&steps, |_| {});
        let mut sequence = 0;
        // Two replicas have halved bounds of deficits, which are far from reached here.
        let told = said(&steps, |replica| {
            sequence += 1;
            replica.learn(&[("other", &of_no_use(sequence))]);
        });
        prop_assert_eq!(&never, &told);
    }
}

#[test]
fn a_state_of_another_version_is_read_as_far_as_it_goes() {
    let json =
        r#"{"start": 3, "sequence": 9, "later": [1], "upstreams": [{"id": "a", "load": {"in_flight": 2}, "new": {}}]}"#;
    let state: PeerState = serde_json::from_str(json).expect("a state");
    assert_eq!((state.start, state.upstreams[0].load.in_flight, state.upstreams[0].totals), (3, 2, Totals::default()));
}

/// States of another start of a replica, of an earlier one, and the same one again.
#[test]
fn a_state_counts_once_in_whatever_order_it_comes() {
    let limits = Limits { requests_per_minute: Some(100), ..Limits::default() };
    let told = |order: &[usize]| {
        let mut cluster = Cluster::new(2, FAST, || {
            let spec = model("m", StrategyName::Balanced, &[("a", 1.0)]);
            (vec![UpstreamSpec { limits, ..upstream("a") }], vec![spec])
        });
        cluster.replicas.iter_mut().for_each(|replica| replica.hand.now += S);
        let one = cluster.at(0);
        let mut states = vec![one.state()];
        for _ in 0..3 {
            (0..10).for_each(|_| drop(one.asks(crate::hand::CHAT)));
            states.push(one.state());
        }
        let two = cluster.at(1);
        for at in order {
            two.learn(&[("one", &states[*at])]);
        }
        (0..100).filter(|_| two.asks(crate::hand::CHAT).is_some()).count()
    };
    for order in [&[0, 1, 2, 3][..], &[0, 3], &[0, 3, 2, 1, 3], &[0, 0, 1, 1, 3, 3, 3], &[2, 3, 0]] {
        assert_eq!(told(order), 70, "{order:?}");
    }
}

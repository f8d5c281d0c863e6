//! Once lists have grown, a request that goes well allocates nothing in the engine.

use provider::Quota;
use router::{Action, PeerLoad, PeerState, PeerUpstream, Peers, RequestState, StrategyName};

use crate::hand::{CHAT, Hand, MS, model, upstream};

const IDS: [&str; 16] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"];

#[test]
fn a_request_that_goes_well_allocates_nothing() {
    for (strategy, targets) in StrategyName::ALL.into_iter().flat_map(|strategy| [(strategy, 2), (strategy, 16)]) {
        let ids = &IDS[..targets];
        let shares: Vec<_> = ids.iter().map(|id| (*id, 1.0)).collect();
        let upstreams = ids.iter().map(|id| upstream(id)).collect();
        let mut hand = Hand::new(upstreams, vec![model("m", strategy, &shares)]);
        learn(&mut hand);
        let model = hand.model("m");
        let mut serve = || {
            let mut request = RequestState::new(model.clone(), CHAT, None, hand.now + model.spec.deadline);
            let action = hand.engine.arrived(&mut request, hand.now, &mut hand.rng);
            assert!(matches!(action, Action::Start(_)));
            hand.now += MS;
            hand.engine.first_token(&mut request, Quota::default(), hand.now, &mut hand.rng);
            hand.engine.served(&mut request, Some(40), hand.now);
        };
        (0..100).for_each(|_| serve());
        let counted = allocation_counter::measure(|| (0..100).for_each(|_| serve()));
        assert_eq!(counted.count_total, 0, "{strategy:?} with {targets} targets");
    }
}

/// Another replica has calls in flight.
fn learn(hand: &mut Hand) {
    let load = PeerLoad { in_flight: 3, pending_tokens: 1_000, ..PeerLoad::default() };
    let upstreams = IDS.map(|id| PeerUpstream { id: id.to_owned(), load, ..PeerUpstream::default() });
    let state = PeerState { start: 2, upstreams: upstreams.into(), ..PeerState::default() };
    let mut peers = Peers::new(1);
    let learned = peers.learn(&[("other", &state)], hand.now);
    for upstream in hand.table.upstreams() {
        hand.engine.learn_upstream(upstream, &learned, hand.now);
    }
}

//! Once lists have grown, a request that goes well allocates nothing in the engine.

use provider::Quota;
use router::{Action, RequestState, StrategyName};

use crate::hand::{CHAT, Hand, MS, model, upstream};

const IDS: [&str; 16] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"];

#[test]
fn a_request_that_goes_well_allocates_nothing() {
    for (strategy, targets) in StrategyName::ALL.into_iter().flat_map(|strategy| [(strategy, 2), (strategy, 16)]) {
        let ids = &IDS[..targets];
        let shares: Vec<_> = ids.iter().map(|id| (*id, 1.0)).collect();
        let upstreams = ids.iter().map(|id| upstream(id)).collect();
        let mut hand = Hand::new(upstreams, vec![model("m", strategy, &shares)]);
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

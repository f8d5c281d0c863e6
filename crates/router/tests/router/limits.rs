//! What is left of the limits of providers decides who is asked.

use provider::Quota;
use router::{Action, Limits, RequestState, StrategyName, UpstreamSpec};

use crate::hand::{Hand, MS, S, TIMEOUT, model, upstream};

/// Two targets with limits of so many requests a minute.
fn limited(limits: [u64; 2]) -> Hand {
    let limited = |id: &str, limit: u64| {
        let limits = Limits { requests_per_minute: Some(limit), ..Limits::default() };
        UpstreamSpec { limits, ..upstream(id) }
    };
    let mut spec = model("m", StrategyName::Balanced, &[("a", 0.5), ("b", 0.5)]);
    spec.slo_first_token = Some(2 * S);
    Hand::new(vec![limited("a", limits[0]), limited("b", limits[1])], vec![spec])
}

/// Requests that are served one after the other, until one has to wait.
fn served(hand: &mut Hand) -> u32 {
    let mut served = 0;
    loop {
        let mut request = hand.request("m");
        let Action::Start(_) = hand.arrived(&mut request) else { return served };
        hand.serve(request);
        served += 1;
    }
}

/// The reserve of one target is for requests that no other can serve. Another one without room does not change that.
#[test]
fn what_is_reserved_at_one_target_is_used_where_the_other_has_no_room() {
    for limits in [[20, 20], [20, 5], [5, 20]] {
        let mut hand = limited(limits);
        let all = u32::try_from(limits[0] + limits[1]).expect("small");
        assert!(served(&mut hand) >= all - 1, "of {all}");
    }
}

/// A call that was sent and then given up may have been counted by the provider, which reports no requests of a minute.
#[test]
fn a_call_that_was_given_up_counts_against_the_limit() {
    let give_up: [fn(&mut Hand, RequestState); 2] = [
        |hand, mut request| hand.engine.left(&mut request, hand.now),
        |hand, mut request| {
            hand.pass(5 * S);
            drop(hand.failed(&mut request, TIMEOUT));
            hand.engine.left(&mut request, hand.now);
        },
    ];
    for give_up in give_up {
        let mut hand = Hand::new(
            vec![UpstreamSpec {
                limits: Limits { requests_per_minute: Some(2), ..Limits::default() },
                ..upstream("a")
            }],
            vec![model("m", StrategyName::Balanced, &[("a", 1.0)])],
        );
        let (request, _) = hand.begin();
        give_up(&mut hand, request);
        let (mut request, _) = hand.begin();
        hand.pass(MS);
        hand.engine.first_token(&mut request, Quota::default(), hand.now, &mut hand.rng);
        hand.engine.served(&mut request, Some(40), hand.now);
        let mut third = hand.request("m");
        assert!(!matches!(hand.arrived(&mut third), Action::Start(_)), "two in a minute");
    }
}

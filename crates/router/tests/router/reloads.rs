//! What is known goes on through a change of the configuration, but for what the change makes untrue.

use std::time::Duration;

use provider::{PicoUsd, Price, Tariff};
use router::{StrategyName, Table, UpstreamSpec};

use crate::hand::{Hand, MS, S, model, upstream};

/// The table of `hand` is replaced by one of these upstreams, and the same model.
fn reload(hand: &mut Hand, upstreams: Vec<UpstreamSpec>) {
    let spec = hand.model("m").spec.clone();
    let next = Table::new("next", upstreams, vec![spec], Some(&hand.table)).expect("a table");
    let old = std::mem::replace(&mut hand.table, next);
    hand.engine.carry_over(&hand.model("m"), old.model("m").expect("a model"));
    for upstream in hand.table.upstreams() {
        hand.engine.configure(upstream, hand.now);
    }
}

fn priced(id: &str, pico_usd: u64) -> UpstreamSpec {
    let price = Price::new(PicoUsd(pico_usd), PicoUsd(pico_usd));
    UpstreamSpec { tariff: Some(Tariff::Tokens(price)), ..upstream(id) }
}

/// What a request usually costs, by the old price, would make each request by the new one seem large, or small.
#[test]
fn the_share_is_held_after_a_price_has_changed() {
    let mut spec = model("m", StrategyName::Balanced, &[("a", 0.8), ("b", 0.2)]);
    spec.slo_first_token = Some(2 * S);
    let mut hand = Hand::new(vec![priced("a", 20_000), priced("b", 100_000)], vec![spec]);
    let served_by_b = |hand: &mut Hand| {
        let targets = (0..100).map(|_| {
            let (request, start) = hand.begin();
            hand.pass(50 * MS);
            hand.serve(request);
            start.attempt.target
        });
        targets.sum::<usize>()
    };
    served_by_b(&mut hand);
    for price in [500_000, 100_000] {
        reload(&mut hand, vec![priced("a", 20_000), priced("b", price)]);
        let served = served_by_b(&mut hand);
        assert!((15..=25).contains(&served), "{served} of 100 at a share of 0.2");
    }
}

/// Workers that run on for longer are not taken to be stopped after the time that was configured before.
#[test]
fn another_idle_timeout_counts_at_once() {
    let by_second = |seconds: u64| {
        let tariff = Tariff::GpuSeconds {
            per_second: PicoUsd(190_000_000),
            idle_timeout: Duration::from_secs(seconds),
            kept_workers: 0,
            list: Some(Price::new(PicoUsd(20_000), PicoUsd(20_000))),
        };
        UpstreamSpec { tariff: Some(tariff), capacity_poll: 10 * S, ..upstream("a") }
    };
    let is_ready_after_a_rest = |reloaded: bool| {
        let spec = model("m", StrategyName::Balanced, &[("a", 1.0)]);
        let mut hand = Hand::new(vec![by_second(5)], vec![spec]);
        hand.has_running(1);
        if reloaded {
            reload(&mut hand, vec![by_second(60)]);
        }
        let (request, _) = hand.begin();
        hand.pass(MS);
        hand.serve(request);
        hand.pass(10 * S);
        let upstream = hand.table.upstreams().next().expect("an upstream");
        hand.engine.snapshot(upstream, true, hand.now).is_ready
    };
    assert_eq!((is_ready_after_a_rest(false), is_ready_after_a_rest(true)), (Some(false), Some(true)));
}

//! `cost` where one target is paid for by the second of a worker and the other by the token.

use std::time::Duration;

use provider::{PicoUsd, Price, Tariff};
use router::{Action, Facts, RequestState, StrategyName};

use crate::hand::{CHAT, Hand, MS, S, model, upstream};

/// A thousand tokens cost a tenth of a cent at `b`; a worker of `a` costs $0.0003 a second, which ten requests a second pay for
/// three times over.
fn hand(slots: Option<u32>) -> Hand {
    keeping(0, slots)
}

/// The same, where so many workers of `a` run whether they have work or not.
fn keeping(kept_workers: u32, slots: Option<u32>) -> Hand {
    let (mut by_time, mut by_token) = (upstream("a"), upstream("b"));
    by_time.worker_slots = slots;
    by_time.tariff =
        Some(Tariff::GpuSeconds { per_second: PicoUsd(300_000_000), idle_timeout: 5 * S, kept_workers, list: None });
    let per_token = PicoUsd(100_000);
    by_token.tariff = Some(Tariff::Tokens(Price::new(per_token, per_token)));
    let mut model = model("m", StrategyName::Cost, &[("a", 0.8), ("b", 0.2)]);
    model.slo_first_token = Some(2 * S);
    Hand::new(vec![by_time, by_token], vec![model])
}

/// So many requests, one each `every`, each answered before the next one. Returns how many went to `a`.
fn serve(hand: &mut Hand, requests: u32, every: Duration, running: u32) -> u32 {
    let facts = Facts { prompt_tokens: 1_000, ..CHAT };
    (0..requests)
        .map(|_| {
            hand.has_running(running);
            let model = hand.model("m");
            let deadline = hand.now + model.spec.deadline;
            let mut request = RequestState::new(model, facts, None, deadline);
            let Action::Start(start) = hand.arrived(&mut request) else { panic!("it was not started") };
            hand.pass(every);
            hand.serve(request);
            u32::from(start.attempt.target == 0)
        })
        .sum()
}

#[test]
fn a_request_a_minute_pays_for_no_worker_whether_one_is_up_or_not() {
    for running in [0, 1] {
        let mut hand = hand(Some(30));
        for _ in 0..60 {
            hand.pass(60 * S);
            assert_eq!(serve(&mut hand, 1, 200 * MS, running), 0, "{running}");
        }
    }
}

#[test]
fn what_pays_for_a_worker_goes_to_it_and_leaves_it_when_it_does_not_pay_any_more() {
    for slots in [Some(30), None] {
        let mut hand = hand(slots);
        serve(&mut hand, 600, 100 * MS, 1);
        let to_worker = serve(&mut hand, 300, 100 * MS, 1);
        assert!(to_worker >= 290, "{to_worker} of 300 at ten a second");
        serve(&mut hand, 60, S, 1);
        assert_eq!(serve(&mut hand, 60, S, 1), 0, "a second costs $0.0003, and a request $0.0001 elsewhere");
    }
}

#[test]
fn a_worker_that_every_request_takes_alone_is_worth_its_time_only() {
    let mut alone = hand(Some(1));
    serve(&mut alone, 600, 100 * MS, 3);
    assert!(
        serve(&mut alone, 300, 100 * MS, 3) <= 30,
        "a second of a worker for each request costs more than its tokens"
    );
}

/// A minimum of one worker is paid for without a request: one a minute costs nothing more there. A second worker is not kept.
#[test]
fn a_worker_that_is_kept_gets_what_it_can_serve() {
    for slots in [Some(30), None] {
        for (running, to_a) in [(1, 30), (2, 0)] {
            let mut kept = keeping(1, slots);
            let to_worker: u32 = (0..30)
                .map(|_| {
                    kept.pass(60 * S);
                    serve(&mut kept, 1, 200 * MS, running)
                })
                .sum();
            assert_eq!(to_worker, to_a, "{running} running, {slots:?} slots");
        }
    }
}

//! Shares are kept: exactly, under concurrency, and through an outage.

use std::time::Duration;

use futures_util::future::join_all;
use proptest::{collection::vec, prelude::*};
use provider::{ErrorKind, FrameKind, Phase, Quota};
use router::{Reason, StrategyName};
use tokio::time::sleep;

use crate::{
    fake::{Fake, MS, S, Step, fail, fail_for, frame, good, status},
    rig::{Got, Rig, model, plain, streaming, table, upstream},
};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Who served `requests` requests to targets with these shares, one after the other.
fn run(strategy: StrategyName, shares: &[f64], requests: usize) -> Vec<usize> {
    let fakes: Vec<_> = shares.iter().map(|_| Fake::new()).collect();
    let specs = fakes.iter().zip(NAMES).map(|(fake, name)| upstream(name, fake)).collect();
    let targets: Vec<_> = NAMES.into_iter().zip(shares.iter().copied()).collect();
    let rig = Rig::new(table(specs, model(strategy, &targets)), &fakes.iter().collect::<Vec<_>>());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let (request, mut served) = (plain(), Vec::with_capacity(requests));
        for _ in 0..requests {
            let got = rig.ask(&request).await.expect("served");
            served.push(NAMES.into_iter().position(|name| name == got.upstream).expect("a target"));
        }
        served
    })
}

/// How far the count of any target in any 100 consecutive requests is from its share.
fn furthest(served: &[usize], shares: &[f64]) -> f64 {
    let total: f64 = shares.iter().sum();
    let off = |window: &[usize], target: usize| {
        let count = window.iter().filter(|served| **served == target).count();
        (f64::from(u32::try_from(count).expect("small")) - 100.0 * shares[target] / total).abs()
    };
    let targets = 0..shares.len();
    served.windows(100).flat_map(|window| targets.clone().map(|target| off(window, target))).fold(0.0, f64::max)
}

/// Whole percentages for 2 to 4 targets.
fn percentages() -> impl Strategy<Value = Vec<f64>> {
    vec(1_u32..100, 1..4).prop_map(|mut cuts| {
        cuts.extend([0, 100]);
        cuts.sort_unstable();
        cuts.dedup();
        cuts.windows(2).map(|pair| f64::from(pair[1] - pair[0]) / 100.0).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn weighted_is_exact_to_one_in_any_hundred(shares in percentages(), held in any::<bool>()) {
        let strategy = if held { StrategyName::Balanced } else { StrategyName::Weighted };
        let off = furthest(&run(strategy, &shares, 400), &shares);
        prop_assert!(off <= 1.0 + 1e-6, "{off}");
    }

    #[test]
    fn weighted_is_exact_to_one_between_two_whatever_the_weights(share in 0.001_f64..0.999) {
        let shares = [share, 1.0 - share];
        let off = furthest(&run(StrategyName::Weighted, &shares, 400), &shares);
        prop_assert!(off <= 1.0 + 1e-6, "{off}");
    }

    #[test]
    fn weighted_is_within_two_whatever_the_weights(shares in vec(0.01_f64..10.0, 2..=4)) {
        let off = furthest(&run(StrategyName::Weighted, &shares, 400), &shares);
        prop_assert!(off < 2.0, "{off}");
    }
}

fn count(answers: &[Got], id: &str) -> usize {
    answers.iter().filter(|got| got.upstream == id).count()
}

#[tokio::test(start_paused = true)]
async fn two_hundred_at_once_are_split_by_share() {
    // The same wait for all, slow on one side, and different for every call.
    let waits: [fn(u64) -> u64; 3] = [|_| 50, |call| 50 + call % 2 * 5_000, |call| call * 7_919 % 3_000];
    for wait in waits {
        let (rig, a, b) = Rig::pair(StrategyName::Balanced);
        for (side, fake) in [&a, &b].into_iter().enumerate() {
            let calls = std::sync::atomic::AtomicU64::new(side as u64);
            fake.does(move |request| {
                let call = calls.fetch_add(2, std::sync::atomic::Ordering::Relaxed);
                good(request, Duration::from_millis(wait(call)))
            });
        }
        let request = plain();
        for _ in 0..3 {
            let answers = join_all((0..200).map(|_| rig.ask(&request))).await;
            let answers: Vec<_> = answers.into_iter().collect::<Result<_, _>>().expect("all are served");
            assert!(count(&answers, "a").abs_diff(160) <= 4, "{}", count(&answers, "a"));
        }
        assert!(a.most_live() > 150, "they were all there at once");
    }
}

async fn ask(rig: &Rig, requests: usize) -> Vec<Got> {
    let (request, mut answers) = (plain(), Vec::new());
    for _ in 0..requests {
        answers.push(rig.ask(&request).await.expect("served"));
        sleep(90 * MS).await;
    }
    answers
}

#[tokio::test(start_paused = true)]
async fn a_share_is_back_after_an_outage_however_long() {
    for outage in [fail(ErrorKind::Connect), vec![Step::Hang]] {
        let (rig, a, _) = Rig::pair(StrategyName::Balanced);
        assert_eq!(count(&ask(&rig, 100).await, "a"), 80);
        a.always(outage);
        let answers = ask(&rig, 2_000).await;
        assert_eq!(count(&answers, "b"), 2_000);
        assert!(answers.iter().filter(|got| got.reason == Reason::Spill).count() > 1_500);
        a.recovers();
        sleep(20 * S).await;
        // The deficit is bounded, and with it the payback: 50 requests either way, at one in five.
        let payback = ask(&rig, 260).await;
        assert!(count(&payback, "a") >= 250, "it is paid back: {}", count(&payback, "a"));
        for _ in 0..5 {
            assert!(count(&ask(&rig, 100).await, "a").abs_diff(80) <= 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_hundred_at_once_survive_any_outage_and_the_share_comes_back() {
    let begun = vec![Step::Head(Quota::default()), frame(FrameKind::Opening)];
    for outage in [
        fail(ErrorKind::Connect),
        status(500),
        status(503),
        fail_for(ErrorKind::RateLimited, 10 * S),
        fail_for(ErrorKind::Overloaded, S),
        vec![Step::Hang],
        begun.clone(),
        [begun, vec![Step::Hang]].concat(),
    ] {
        for request in [plain(), streaming()] {
            let (rig, a, _) = Rig::pair(StrategyName::Balanced);
            a.always(outage.clone());
            let answers = join_all((0..200).map(|_| rig.ask(&request))).await;
            let answers: Vec<_> = answers.into_iter().collect::<Result<_, _>>().expect("all are served");
            assert_eq!(count(&answers, "b"), 200);
            assert!(answers.iter().all(|got| got.error.is_none() && got.took < 60 * S));
            a.recovers();
            // A minute of ten requests a second, more than the payback takes.
            ask(&rig, 600).await;
            assert!(count(&ask(&rig, 100).await, "a").abs_diff(80) <= 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_others_keep_their_shares_among_themselves_through_an_outage() {
    let fakes = [Fake::new(), Fake::new(), Fake::new()];
    let specs = fakes.iter().zip(NAMES).map(|(fake, name)| upstream(name, fake)).collect();
    let model = model(StrategyName::Balanced, &[("a", 0.6), ("b", 0.3), ("c", 0.1)]);
    let rig = Rig::new(table(specs, model), &[&fakes[0], &fakes[1], &fakes[2]]);
    fakes[0].always(fail(ErrorKind::Connect));
    ask(&rig, 1_000).await;
    let answers = ask(&rig, 400).await;
    assert!(count(&answers, "b").abs_diff(300) <= 3, "{}", count(&answers, "b"));
}

#[tokio::test(start_paused = true)]
async fn requests_that_no_upstream_can_serve_leave_no_deficit() {
    let (rig, a, b) = Rig::pair(StrategyName::Balanced);
    a.always(fail(ErrorKind::Unsupported));
    b.always(fail(ErrorKind::Unsupported));
    for _ in 0..100 {
        rig.ask(&plain()).await.expect_err("nobody can");
    }
    a.recovers();
    b.recovers();
    assert!(count(&ask(&rig, 100).await, "a").abs_diff(80) <= 1);
}

/// Who serves five requests after two that fail so at `a` and `b`, or after two that are served.
async fn next_five(failing: Option<[ErrorKind; 2]>) -> Vec<String> {
    let (rig, a, b) = Rig::pair(StrategyName::Weighted);
    if let Some([first, other]) = failing {
        a.always(fail(first));
        b.always(fail(other));
    }
    for _ in 0..2 {
        assert_eq!(rig.ask(&plain()).await.is_err(), failing.is_some());
    }
    a.recovers();
    b.recovers();
    ask(&rig, 5).await.into_iter().map(|got| got.upstream).collect()
}

#[tokio::test(start_paused = true)]
async fn what_one_failed_and_the_other_cannot_do_counts_as_the_first_ones_share() {
    let served = next_five(None).await;
    for refusal in [ErrorKind::Unsupported, ErrorKind::ContextOverflow, ErrorKind::Refused] {
        assert_eq!(next_five(Some([ErrorKind::Timeout(Phase::FirstToken), refusal])).await, served, "{refusal}");
        assert_ne!(next_five(Some([refusal; 2])).await, served, "{refusal} by both debits no target");
    }
}

#[tokio::test(start_paused = true)]
async fn weighted_gives_an_absent_target_no_deficit() {
    let (rig, a, _) = Rig::pair(StrategyName::Weighted);
    a.next([crate::fake::fail_for(ErrorKind::RateLimited, 30 * S)]);
    ask(&rig, 200).await;
    sleep(20 * S).await;
    assert!(count(&ask(&rig, 100).await, "a").abs_diff(80) <= 2);
}

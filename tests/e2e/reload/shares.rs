//! A changed share or strategy is followed at once: the deficits from before it are forgotten.

use std::time::Duration;

use e2e::{Rig, eventually};
use emulator::{Face, Fault};
use tokio::time::sleep;

use super::{CEREBRAS, RUNPOD, change, launch, shares, under_load};

/// Requests to which a share is held: enough for a deficit of tens to show.
const HELD: f64 = 100.0;
/// Most requests that a target may be off its share, however many there were.
const STRAY: f64 = 10.0;

fn priced(upstream: &str, usd: &str) -> String {
    let cost =
        format!("cost = {{ kind = \"tokens\", input_usd_per_million = {usd:?}, output_usd_per_million = {usd:?} }}\n");
    format!("{upstream}{cost}")
}

/// Both upstreams under one model, whose promise no machine is too slow for: a target that is thought to be late gets less than its
/// share.
fn sections(strategy: &str, share: f64) -> String {
    let upstreams = format!("{}{}", priced(RUNPOD, "0.02"), priced(CEREBRAS, "0.10"));
    format!("{upstreams}{}slo = {{ ttft_ms = 60000 }}\n", shares(strategy, share))
}

/// Requests that RunPod and Cerebras have received.
fn received(rig: &Rig) -> [f64; 2] {
    let calls = rig.emulator.call_logs();
    [Face::RunpodLb, Face::Cerebras].map(|face| f64::from(u32::try_from(calls.of(face).received).unwrap()))
}

/// Watches what RunPod gets of the next requests, and hands each look to `check`, as requests to RunPod and in all.
async fn watch(rig: &Rig, check: impl Fn(f64, f64)) {
    let [runpod_before, cerebras_before] = received(rig);
    loop {
        let [runpod, cerebras] = received(rig);
        let (runpod, all) = (runpod - runpod_before, runpod - runpod_before + cerebras - cerebras_before);
        check(runpod, all);
        if all >= HELD {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn assert_share_is_held(rig: &Rig, share: f64) {
    watch(rig, |runpod, all| {
        let strayed = (runpod - share * all).abs();
        assert!(strayed <= STRAY, "{runpod} of {all} requests to RunPod are {strayed:.1} off a share of {share}");
    })
    .await;
}

#[tokio::test]
async fn a_changed_share_or_strategy_is_followed_at_once() {
    let (rig, files) = launch("shares", &sections("balanced", 0.8));
    under_load(&rig, async {
        let edit = async |strategy, share| {
            change(&rig, "success", || files.write("config.toml", &sections(strategy, share))).await;
        };
        // Both upstreams answer before the first change.
        watch(&rig, |_, _| {}).await;
        edit("balanced", 0.6).await;
        assert_share_is_held(&rig, 0.6).await;

        // RunPod is away, so that its deficit is tens of requests when the strategy changes.
        rig.emulator.control(Face::RunpodLb, Fault::Status { code: 500, retry_after: None });
        watch(&rig, |_, _| {}).await;
        edit("cost", 0.6).await;
        rig.emulator.reset();
        rig.until_breaker("runpod", 0.0).await;
        eventually("the cheapest serves all", async || {
            let [_, before] = received(&rig);
            watch(&rig, |_, _| {}).await;
            (received(&rig)[1] - before <= STRAY).then_some(())
        })
        .await;

        edit("balanced", 0.6).await;
        assert_share_is_held(&rig, 0.6).await;
    })
    .await;
}

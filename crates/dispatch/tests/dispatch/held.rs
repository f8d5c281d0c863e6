//! Requests that wait for room are woken when there is some.

use std::sync::Arc;

use dispatch::Table;
use futures_util::future::join;
use router::{ModelSpec, StrategyName};
use tokio::time::{Instant, timeout};

use crate::{
    fake::{Fake, MS, S, after, streamed},
    rig::{Rig, Wired, chat_to, model, plain, streaming, upstream},
};

/// What a call to a fake takes.
const CALL: std::time::Duration = std::time::Duration::from_millis(10);

/// A model `m` whose one target `a` takes one call at a time, and a model `n` with other targets.
fn table(a: &Arc<Fake>, b: &Arc<Fake>, targets_of_n: &[(&str, f64)], old: Option<&Table>) -> Table {
    let mut narrow: Wired = upstream("a", a);
    narrow.0.max_in_flight = 1;
    let n = ModelSpec { name: "n".into(), ..model(StrategyName::Balanced, targets_of_n) };
    let models = vec![model(StrategyName::Balanced, &[("a", 1.0)]), n];
    Table::new("test", vec![narrow, upstream("b", b)], models, old).expect("a table")
}

fn narrow() -> (Rig, Arc<Fake>, Arc<Fake>) {
    let (a, b) = (Fake::new(), Fake::new());
    (Rig::new(table(&a, &b, &[("b", 1.0)], None), &[&a, &b]), a, b)
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_called_as_soon_as_there_is_room() {
    let (rig, a, _) = narrow();
    a.next([after(S, streamed())]);
    let request = streaming();
    let (first, second) = join(rig.ask(&request), rig.ask(&request)).await;
    assert_eq!((first.expect("served").took, second.expect("served").took), (S, S + CALL));
}

#[tokio::test(start_paused = true)]
async fn room_for_a_client_that_has_left_goes_to_the_next_one() {
    let (rig, ..) = narrow();
    let busy = rig.call(&streaming()).await.expect("served");
    let request = plain();
    let mut leaves = Box::pin(rig.ask(&request));
    timeout(MS, &mut leaves).await.expect_err("held");
    let mut stays = Box::pin(rig.ask(&request));
    timeout(MS, &mut stays).await.expect_err("held");
    drop(busy);
    drop(leaves);
    let start = Instant::now();
    stays.await.expect("served");
    assert_eq!(start.elapsed(), CALL);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_woken_also_after_a_reload_that_joins_groups() {
    let (rig, a, b) = narrow();
    let busy = rig.call(&streaming()).await.expect("served");
    let request = plain();
    let mut waits = Box::pin(rig.ask(&request));
    timeout(MS, &mut waits).await.expect_err("held");
    rig.router.replace_table(table(&a, &b, &[("b", 0.5), ("a", 0.5)], Some(&rig.router.table())));
    rig.ask(&chat_to("n", "")).await.expect("served by b");
    drop(busy);
    let start = Instant::now();
    waits.await.expect("served");
    assert_eq!(start.elapsed(), CALL);
}

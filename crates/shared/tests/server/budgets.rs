use std::{sync::Arc, time::Duration};

use shared::{Held, Hold};

use crate::support::{Replica, Server, VALIDITY, until};

const LIMIT: u64 = 1_000;

fn hold(number: u64, spent: u64, keeps: u64, more: u64, needs: u64) -> Hold {
    let name: Arc<str> = "team:search:month:0".into();
    Hold { id: 1, name, number, spent, keeps, more, needs, limit: LIMIT, known: Some(100), until_ms: 4_102_444_800_000 }
}

fn held(held: u64, spent: Option<u64>, others: u64, grants: bool) -> Held {
    Held { held, spent, others, grants }
}

/// What the server says. On a busy machine it may count as slow for a moment; a report with the same number counts once.
async fn granted(replica: &Replica, hold: Hold) -> Held {
    for _ in 0..100 {
        if let Some(held) = replica.hold(hold.clone()).await {
            return held;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no answer");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn replicas_never_hold_more_together_than_the_limit_leaves() {
    let server = Server::start();
    let (one, other) = (server.replica(1), server.replica(2));
    granted(&other, hold(0, 0, 0, 0, 0)).await;
    // 100 are spent, as the ledger says: half of the rest is granted, or what is needed of it.
    assert_eq!(granted(&one, hold(1, 0, 0, 800, 0)).await, held(450, Some(100), 0, true));
    assert_eq!(granted(&other, hold(1, 0, 0, 800, 800)).await, held(450, Some(100), 450, true));
    // What is spent comes out of what is held.
    assert_eq!(granted(&one, hold(2, 200, 250, 0, 0)).await, held(250, Some(300), 450, true));
    // The same report once more, and one that comes late.
    assert_eq!(granted(&one, hold(2, 200, 250, 0, 0)).await, held(250, Some(300), 450, true));
    assert_eq!(granted(&one, hold(1, 500, 250, 0, 0)).await, held(250, Some(300), 450, true));
    // What is given back is there for others.
    assert_eq!(granted(&other, hold(2, 0, 0, 0, 0)).await, held(0, Some(300), 250, true));
    assert_eq!(granted(&one, hold(3, 0, 250, 900, 900)).await, held(700, Some(300), 0, true));
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn after_a_loss_of_data_nothing_is_granted_before_what_was_held_has_lapsed() {
    let server = Server::start();
    let (replica, other) = (server.replica(1), server.replica(2));
    assert_eq!(granted(&replica, hold(1, 0, 0, 100, 100)).await.held, 0, "the other one may hold something");
    granted(&other, hold(0, 0, 0, 0, 0)).await;
    assert_eq!(granted(&replica, hold(1, 0, 0, 100, 100)).await.held, 100);
    let epoch = replica.shared.view().epoch;
    server.flush();
    until("the loss is known", || replica.shared.view().epoch != epoch);
    // What it has, it keeps; of what the ledger says nothing is known yet.
    let unknown = Hold { known: None, ..hold(2, 30, 70, 500, 500) };
    assert_eq!(granted(&replica, unknown).await, held(70, None, 0, false));
    assert_eq!(granted(&replica, hold(2, 30, 70, 500, 500)).await, held(70, Some(130), 0, false));
    tokio::time::sleep(VALIDITY).await;
    assert_eq!(granted(&replica, hold(3, 0, 70, 500, 500)).await, held(570, Some(130), 0, true));
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn what_a_dead_replica_held_counts_as_spent_until_the_ledger_says_otherwise() {
    let server = Server::start();
    let (dies, lives) = (server.replica(1), server.replica(2));
    granted(&lives, hold(0, 0, 0, 0, 0)).await;
    assert_eq!(granted(&dies, hold(1, 0, 0, 300, 300)).await.held, 300);
    dies.shared.stop();
    let mut last = granted(&lives, hold(1, 0, 0, 0, 0)).await;
    for _ in 0..150 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        last = granted(&lives, hold(1, 0, 0, 0, 0)).await;
    }
    assert_eq!(last, held(0, Some(400), 0, true));
    let name: Arc<str> = "team:search:month:0".into();
    let by_then = tokio::task::spawn_blocking({
        let (shared, name) = (lives.shared.clone(), name.clone());
        move || shared.spent(vec![name])
    });
    assert_eq!(by_then.await.expect("no panic"), Some(vec![Some(400)]));
    // 20 more are reported while the ledger is asked, which knows of 150.
    granted(&lives, hold(2, 20, 0, 0, 0)).await;
    lives.shared.correct(vec![(name, 400, 150)]);
    assert_eq!(granted(&lives, hold(3, 0, 0, 0, 0)).await.spent, Some(170));
}

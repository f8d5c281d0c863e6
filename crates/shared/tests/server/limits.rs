use std::{sync::Arc, time::Duration};

use shared::{Demand, Limits, Rate, Reached, Verdict};

use crate::support::{Replica, Server, until};

const RATE: Rate = Rate { per_minute: 6, burst: 20 };

fn demand(owner: &str, limits: Limits, calls: u32, tokens: u64) -> Demand {
    Demand { owner: owner.into(), limits, calls, begins: calls, tokens }
}

/// How many of so many requests, made at once by turns on both replicas, are granted.
async fn granted(replicas: [&Replica; 2], number: usize, demands: &[Demand]) -> usize {
    let asked = (0..number).map(|nth| replicas[nth % 2].shared.count(demands.to_vec()));
    let verdicts = futures_util::future::join_all(asked).await;
    assert!(!verdicts.contains(&Verdict::Away));
    verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Granted(_))).count()
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn two_replicas_let_in_together_what_a_limit_allows() {
    let server = Server::start();
    let both = [&server.replica(1), &server.replica(2)];
    let calls = Limits { calls: Some(RATE), ..Limits::default() };
    assert_eq!(granted(both, 50, &[demand("key:a", calls, 1, 0)]).await, 20);
    let at_once = Limits { concurrent: Some(7), ..Limits::default() };
    assert_eq!(granted(both, 50, &[demand("key:b", at_once, 1, 0)]).await, 7);
    // Each may pass zero once: 30 of 100 tokens fit four times, as long as anything is left.
    let tokens = Limits { tokens: Some(Rate { per_minute: 6, burst: 100 }), ..Limits::default() };
    assert_eq!(granted(both, 50, &[demand("key:c", tokens, 1, 30)]).await, 4);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_request_that_one_limit_refuses_uses_up_no_other() {
    let server = Server::start();
    let replica = server.replica(1);
    let narrow = Limits { calls: Some(Rate { per_minute: 1, burst: 1 }), ..Limits::default() };
    let wide = Limits { calls: Some(RATE), concurrent: Some(9), ..Limits::default() };
    let both = vec![demand("team:t", wide, 1, 0), demand("key:k", narrow, 1, 0)];
    assert!(matches!(replica.shared.count(both.clone()).await, Verdict::Granted(_)));
    for _ in 0..3 {
        let verdict = replica.shared.count(both.clone()).await;
        let Verdict::Refused { demand: 1, reached: Reached::Calls, states } = verdict else { panic!("{verdict:?}") };
        assert_eq!(states[0].under_way, 1);
        assert!(states[0].missing <= Duration::from_secs(10), "one call: {:?}", states[0].missing);
        assert!(states[1].missing > Duration::from_secs(58), "{:?}", states[1].missing);
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn what_is_settled_counts_once_although_the_connection_breaks() {
    let mut server = Server::start();
    let replica = server.replica(1);
    let limits = Limits { tokens: Some(Rate { per_minute: 1, burst: 1000 }), concurrent: Some(2), ..Limits::default() };
    let owner: Arc<str> = "key:a".into();
    let left = async || match replica.shared.count(vec![demand("key:a", limits, 0, 0)]).await {
        Verdict::Granted(states) => (states[0].tokens, states[0].under_way),
        other => panic!("{other:?}"),
    };
    assert!(matches!(replica.shared.count(vec![demand("key:a", limits, 2, 500)]).await, Verdict::Granted(_)));
    assert_eq!(left().await, (500, 2));
    // 350 were used of the 500.
    replica.shared.ended(&owner, &limits, 1, -150);
    assert_eq!(left().await, (650, 1));
    server.kill();
    replica.shared.ended(&owner, &limits, 0, 100);
    until("it is seen that the server is away", || replica.shared.is_away());
    assert_eq!(replica.shared.count(vec![demand("key:a", limits, 1, 0)]).await, Verdict::Away);
    server.restart();
    until("it is back", || !replica.shared.is_away());
    assert_eq!(
        left().await,
        (900, 1),
        "the server has lost what it knew: what was settled since then, and what is under way"
    );
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn calls_under_way_of_a_replica_that_died_are_forgotten() {
    let server = Server::start();
    let (dies, lives) = (server.replica(1), server.replica(2));
    let limits = Limits { concurrent: Some(3), ..Limits::default() };
    assert!(matches!(dies.shared.count(vec![demand("key:a", limits, 3, 0)]).await, Verdict::Granted(_)));
    let ask = async || lives.shared.count(vec![demand("key:a", limits, 1, 0)]).await;
    assert!(matches!(ask().await, Verdict::Refused { reached: Reached::Concurrency, .. }));
    dies.shared.stop();
    let mut granted = false;
    for _ in 0..150 {
        granted = granted || matches!(ask().await, Verdict::Granted(_));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(granted, "not within 15 s");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn what_is_counted_for_a_request_that_has_gone_is_given_back() {
    let server = Server::start();
    let replica = server.replica(1);
    let tokens = Some(Rate { per_minute: 1, burst: 1000 });
    let limits = Limits { tokens, concurrent: Some(2), ..Limits::default() };
    // One whose answer has not come when it is looked for.
    let unread = loop {
        let mut counted = Box::pin(replica.shared.count(vec![demand("key:a", limits, 2, 300)]));
        if tokio::time::timeout(Duration::ZERO, &mut counted).await.is_err() {
            break counted;
        }
        replica.shared.ended(&"key:a".into(), &limits, 2, -300);
    };
    // By now it is there.
    std::thread::sleep(Duration::from_millis(300));
    drop(unread);
    let left = async || match replica.shared.count(vec![demand("key:a", limits, 0, 0)]).await {
        Verdict::Granted(states) => (states[0].under_way, states[0].tokens),
        other => panic!("{other:?}"),
    };
    for _ in 0..100 {
        if left().await == (0, 1000) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{:?} are still counted", left().await);
}

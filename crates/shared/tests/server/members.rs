use std::time::Duration;

use shared::{Demand, Limits, Verdict};

use crate::support::{Server, until};

#[test]
#[ignore = "needs redis-server"]
fn one_replica_leads_and_another_takes_over() {
    let server = Server::start();
    let replicas = [server.replica(1), server.replica(2), server.replica(3)];
    let leaders = || replicas.iter().filter(|replica| replica.shared.view().is_leader).count();
    until("one leads", || leaders() == 1);
    until("each knows the others", || replicas.iter().all(|replica| replica.shared.view().peers.len() == 2));
    let first = replicas.iter().position(|replica| replica.shared.view().is_leader).expect("one leads");
    replicas[first].shared.stop();
    let rest: Vec<_> =
        replicas.iter().enumerate().filter(|(nth, _)| *nth != first).map(|(_, replica)| replica).collect();
    until("another one leads", || rest.iter().filter(|replica| replica.shared.view().is_leader).count() == 1);
    until("the dead one is gone", || rest.iter().all(|replica| replica.shared.view().peers.len() == 1));
}

#[test]
#[ignore = "needs redis-server"]
fn replicas_learn_what_the_others_publish_and_that_data_were_lost() {
    let server = Server::start();
    let (one, other) = (server.replica(1), server.replica(2));
    one.publish(b"\x00 what one knows \xff");
    let learned = || other.shared.view().peers.iter().any(|peer| peer.state == b"\x00 what one knows \xff");
    until("it is learned", learned);
    let epoch = one.shared.view().epoch;
    assert_eq!(other.shared.view().epoch, epoch);
    server.flush();
    until("both know", || [&one, &other].iter().all(|replica| replica.shared.view().epoch != epoch));
    until("they share again", || one.shared.view().epoch == other.shared.view().epoch && learned());
}

#[test]
#[ignore = "needs redis-server"]
fn a_server_that_is_not_there_at_the_start_is_used_when_it_comes() {
    let mut server = Server::start();
    server.kill();
    let early = server.replica_of_absent(1);
    assert!(early.shared.is_away());
    server.restart();
    until("it is used", || !early.shared.is_away());
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_server_that_is_very_slow_once_is_away_until_it_answers_at_once() {
    let server = Server::start();
    let replica = server.replica(1);
    let before = replica.away();
    server.pause(Duration::from_millis(600));
    let limits = Limits { concurrent: Some(2), ..Limits::default() };
    let demand = Demand { owner: "key:a".into(), limits, calls: 1, begins: 1, tokens: 0 };
    assert_eq!(replica.shared.count(vec![demand]).await, Verdict::Away);
    until("requests do not wait for it", || replica.away() > before);
    until("it is back", || !replica.shared.view().is_away);
}

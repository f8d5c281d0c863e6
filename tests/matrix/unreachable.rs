//! An upstream that cannot be reached: another one serves, and nothing of the request was sent.

use e2e::{Rig, chat, streamed};
use tokio::net::{TcpSocket, TcpStream};

use crate::wire::launch;

/// Whole answers and streams come from the other upstream, and the metrics say why.
async fn assert_served_by_the_other(rig: &Rig, what: &str) {
    let whole = rig.client.chat(&chat("hello")).await;
    assert_eq!((whole.status, whole.provider()), (200, "cerebras"), "{what}: {}", whole.text);
    let stream = rig.client.stream(&streamed(chat("hello"))).await;
    assert!(stream.is_done() && stream.provider() == "cerebras", "{what}: {:?}", stream.events);
    let failed =
        rig.metrics().await.value("llmrouter_upstream_attempts_total", &[("upstream", "first"), ("outcome", "error")]);
    assert!(failed >= 1.0, "{what}: {failed} attempts that did not connect");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_falls_back() {
    // RFC 2606 keeps this domain free.
    let rig = launch("https://upstream.invalid/v1").start();
    assert_served_by_the_other(&rig, "no such name").await;
}

#[tokio::test]
async fn an_address_that_does_not_answer_falls_back_after_the_connect_timeout() {
    // The kernel drops what comes for a listener whose queue is full, so a connection to it is never made.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = socket.local_addr().unwrap();
    let _listener = socket.listen(1).unwrap();
    let mut queue = Vec::new();
    let full = async {
        loop {
            queue.push(TcpStream::connect(addr).await);
        }
    };
    let wait = std::time::Duration::from_secs(1);
    assert!(tokio::time::timeout(wait, full).await.is_err(), "the queue is full");
    let rig = launch(&format!("http://{addr}/v1")).start();
    assert_served_by_the_other(&rig, "no answer").await;
}

#[tokio::test]
async fn a_port_where_nobody_listens_falls_back() {
    let rig = launch(&emulator::Emulator::refusing_base().unwrap()).start();
    assert_served_by_the_other(&rig, "refused").await;
}

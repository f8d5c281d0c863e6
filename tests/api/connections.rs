//! Connections that use more than their share of resources: slow heads, many from one address, readers that stop.

use std::{net::SocketAddr, time::Duration};

use e2e::{Answer, CLIENT_KEY, Rig, chat, eventually, streamed, with};
use emulator::{Face, Fault, Settings};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use tokio::{io::AsyncReadExt as _, net::TcpSocket, time::timeout};

use crate::common::{Raw, Refusal, launch, launch_with, status, still_serves};

const LIVEZ: &str = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";

async fn closed(rig: &Rig, reason: &str) -> f64 {
    rig.metrics().await.value("llmrouter_connections_closed_total", &[("reason", reason)])
}

/// A connection from an address of the loopback network.
async fn connect_from(from: [u8; 4], to: SocketAddr) -> Raw {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    Raw(socket.connect(to).await.unwrap())
}

/// Whether the server answers on it rather than closing it.
async fn is_served(connection: &mut Raw) -> bool {
    connection.send(LIVEZ).await;
    status(&connection.answer().await) == 200
}

#[tokio::test]
async fn the_head_of_every_request_has_its_time() {
    let rig = launch().env("LLM_ROUTER__SERVER__HEAD_READ_S", "1").start();
    for addr in [rig.running().addr(), rig.running().admin_addr()] {
        for requests in [0, 1, 3] {
            let mut connection = Raw::connect_to(addr).await;
            for _ in 0..requests {
                assert!(is_served(&mut connection).await);
            }
            connection.send("G").await;
            assert_eq!(status(&connection.rest().await), 408, "after {requests} requests");
        }
    }
    assert!(closed(&rig, "slow_head").await >= 6.0);
    still_serves(&rig, 1).await;
}

/// A byte now and then is no progress: the time is that of the whole head.
#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_cut_off() {
    let rig = launch().env("LLM_ROUTER__SERVER__HEAD_READ_S", "1").start();
    let mut connection = Raw::connect(&rig).await;
    assert!(is_served(&mut connection).await);
    let (mut read, mut write) = connection.0.into_split();
    let drip = async {
        let head = format!("GET /livez HTTP/1.1\r\nx-slow: {}", "y".repeat(2_000));
        for byte in head.into_bytes() {
            if tokio::io::AsyncWriteExt::write_all(&mut write, &[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ended = async {
        let mut rest = Vec::new();
        drop(read.read_to_end(&mut rest).await);
    };
    let cut = async {
        tokio::select! { () = drip => false, () = ended => true }
    };
    assert!(timeout(Duration::from_secs(30), cut).await.expect("it is cut off"));
    still_serves(&rig, 1).await;
}

/// The rest of a refused body is read and thrown away, but not for ever.
#[tokio::test]
async fn a_body_that_nobody_reads_has_its_time_as_well() {
    let rig = launch().env("LLM_ROUTER__SERVER__HEAD_READ_S", "1").start();
    let mut connection = Raw::connect(&rig).await;
    connection.send("GET /livez HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").await;
    assert_eq!(status(&connection.answer().await), 200);
    connection.send("5\r\n").await;
    connection.rest().await;
    still_serves(&rig, 1).await;
}

#[tokio::test]
async fn a_connection_without_a_byte_is_closed_without_one() {
    let rig = launch().env("LLM_ROUTER__SERVER__HEAD_READ_S", "1").start();
    let mut connection = Raw::connect(&rig).await;
    assert_eq!(connection.rest().await, "", "a 408 here would be read as the answer to the next request");
}

#[tokio::test]
async fn one_address_holds_its_part_of_the_connections_only() {
    let rig = launch()
        .env("LLM_ROUTER__SERVER__MAX_CONNECTIONS", "40")
        .env("LLM_ROUTER__SERVER__MAX_CONNECTIONS_PER_PEER", "10")
        .start();
    for addr in [rig.running().addr(), rig.running().admin_addr()] {
        let mut held = join_all((0..10).map(|_| connect_from([127, 0, 0, 9], addr))).await;
        for connection in &mut held {
            assert!(is_served(connection).await);
        }
        for _ in 0..100 {
            assert!(!is_served(&mut connect_from([127, 0, 0, 9], addr).await).await, "beyond its part");
        }
        assert!(is_served(&mut connect_from([127, 0, 0, 8], addr).await).await, "others are served");
        drop(held.pop());
        eventually("what it gives up it may take again", async || {
            is_served(&mut connect_from([127, 0, 0, 9], addr).await).await.then_some(())
        })
        .await;
    }
    assert!(closed(&rig, "peer_limit").await >= 200.0);
}

#[tokio::test]
async fn trusted_proxies_hold_as_many_as_there_are() {
    let rig = launch()
        .env("LLM_ROUTER__SERVER__MAX_CONNECTIONS_PER_PEER", "2")
        .env("LLM_ROUTER__SERVER__TRUSTED_PROXIES", "127.0.0.9, 10.0.0.0/8")
        .start();
    let addr = rig.running().addr();
    let mut held = join_all((0..20).map(|_| connect_from([127, 0, 0, 9], addr))).await;
    for connection in &mut held {
        assert!(is_served(connection).await);
    }
    let mut others = join_all((0..2).map(|_| connect_from([127, 0, 0, 8], addr))).await;
    for connection in &mut others {
        assert!(is_served(connection).await);
    }
    assert!(!is_served(&mut connect_from([127, 0, 0, 8], addr).await).await);
}

/// The window stays open or closes, the kernel goes on probing: what counts is that nothing is taken.
#[tokio::test]
async fn a_reader_that_stops_is_cut_off_and_its_call_with_it() {
    let mut settings = Settings::instant();
    settings.cerebras.answer_tokens = 60_000;
    settings.runpod_lb.answer_tokens = 60_000;
    let rig = launch_with(settings).env("LLM_ROUTER__SERVER__WRITE_STALL_S", "1").start();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut connection = Raw(socket.connect(rig.running().addr()).await.unwrap());
    let body = streamed(with(chat("x"), json!({"max_tokens": 60_000}))).to_string();
    let length = body.len();
    connection
        .send(format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CLIENT_KEY}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
        .await;
    eventually("the call upstream is closed", async || {
        let logs = rig.emulator.call_logs();
        (logs.of(Face::RunpodLb).cancelled + logs.of(Face::Cerebras).cancelled == 1).then_some(())
    })
    .await;
    assert!((closed(&rig, "stalled").await - 1.0).abs() < 0.1);
    rig.until_idle().await;
}

/// Actix polls such a connection without end while its first request waits, which takes a whole core.
#[tokio::test]
async fn a_client_that_sends_without_end_behind_its_request_is_cut_off() {
    let rig = launch().start();
    for face in [Face::RunpodLb, Face::Cerebras] {
        rig.emulator.control(face, Fault::HangBefore);
    }
    let mut connection = Raw::connect(&rig).await;
    let body = chat("x").to_string();
    let length = body.len();
    connection
        .send(format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CLIENT_KEY}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}{}",
            LIVEZ.repeat(20_000)
        ))
        .await;
    eventually("it is cut off", async || (closed(&rig, "flooded").await > 0.5).then_some(())).await;
    rig.until_idle().await;
}

/// Whole answers as well, and those that follow each other.
#[tokio::test]
async fn a_client_that_asks_and_never_reads_is_cut_off() {
    let rig = launch().env("LLM_ROUTER__SERVER__WRITE_STALL_S", "1").start();
    let mut connection = Raw::connect(&rig).await;
    let asks = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(2_000);
    connection.send(asks).await;
    eventually("it is cut off", async || (closed(&rig, "stalled").await > 0.5).then_some(())).await;
    still_serves(&rig, 1).await;
}

#[tokio::test]
async fn two_authorizations_are_refused_everywhere() {
    let rig = launch().env("LLM_ROUTER_ADMIN_TOKEN", "0123456789abcdef").start();
    let says = "send the header 'Authorization' once";
    let (public, admin) = (&rig.client, &rig.admin);
    for (listener, method, path) in [
        (public, Method::POST, "/v1/chat/completions"),
        (public, Method::POST, "/v1/generate/batch"),
        (public, Method::POST, "/v1/route/explain"),
        (public, Method::GET, "/v1/models"),
        (public, Method::GET, "/v1/models/llama"),
        (admin, Method::POST, "/admin/reload"),
    ] {
        let request = listener.request(method, path).header("content-type", "application/json");
        let request = request.header("authorization", "Bearer sk-other").body(chat("x").to_string());
        let answer = Answer::of(request).await;
        Refusal { status: 400, code: "duplicate_header", param: None, says }.check(path, &answer);
    }
    still_serves(&rig, 1).await;
}

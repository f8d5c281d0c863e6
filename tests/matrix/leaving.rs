//! A client that leaves, at every point of a request and in every way that TCP has: the call upstream ends, the permit
//! is returned, no call is repeated, and the upstream's health stays as it was.

use std::net::{Shutdown, TcpStream};

use e2e::{CLIENT_KEY, Launch, RUNPOD_LB, Rig, chat, eventually, only, streamed};
use emulator::{Face, Fault, Latency, Rule, Settings};
use futures_util::FutureExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net,
};

use crate::raw::connect;

/// How a client leaves.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Its process closes the socket.
    Close,
    /// It says that nothing more will come, and waits.
    ShutWrite,
    /// Its kernel resets the connection.
    Reset,
}

/// What it was waiting for.
#[derive(Debug, Clone, Copy)]
enum Point {
    /// A whole answer.
    Whole,
    /// The first token of a stream.
    FirstToken,
    /// The rest of a stream.
    Amid,
    /// A repeat, which comes after a pause.
    Backoff,
}

async fn send(rig: &Rig, body: &str) -> net::TcpStream {
    let mut stream = connect(rig.running().addr()).await;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CLIENT_KEY}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    stream
}

/// Whether the router has said that it has no permit: the one before is given back a moment after its answer was read.
fn is_refused(stream: &net::TcpStream) -> bool {
    let mut head = [0; 12];
    let read = stream.peek(&mut head).now_or_never();
    matches!(read, Some(Ok(12))) && &head == b"HTTP/1.1 503"
}

/// Leaves; what is returned keeps the other half open.
fn leave(stream: net::TcpStream, way: Way) -> Option<TcpStream> {
    let stream = stream.into_std().unwrap();
    match way {
        Way::Close => None,
        Way::ShutWrite => {
            stream.shutdown(Shutdown::Write).unwrap();
            Some(stream)
        }
        Way::Reset => {
            let stream = net::TcpStream::from_std(stream).unwrap();
            stream.set_zero_linger().unwrap();
            None
        }
    }
}

fn launch(point: Point) -> Rig {
    let (first_token_ms, tokens_per_s) = if matches!(point, Point::Amid) { (1.0, 1.0) } else { (50_000.0, 1.0) };
    let mut settings = if matches!(point, Point::Backoff) { Settings::instant() } else { Settings::default() };
    if !matches!(point, Point::Backoff) {
        settings.runpod_lb.latency = Latency { first_token_ms, spread: 0.0, tokens_per_s, crowding: 0.0 };
    }
    let patient = "timeouts = { first_token_ms = 60000 }\n";
    Launch::new(settings, &format!("[server]\nmax_in_flight = 1\n{RUNPOD_LB}{patient}{}", only("runpod"))).start()
}

/// The next call fails, and is worth a repeat after two seconds.
fn fail_once(rig: &Rig) {
    let fault = Fault::Status { code: 503, retry_after: Some(2) };
    rig.emulator.set_rules(Face::RunpodLb, vec![Rule { times: Some(1), ..fault.into() }]);
}

#[tokio::test]
async fn a_client_that_leaves_at_any_point_holds_nothing_and_causes_no_repeat() {
    for point in [Point::Whole, Point::FirstToken, Point::Amid, Point::Backoff] {
        let rig = launch(point);
        let mut asked = 0;
        if matches!(point, Point::Backoff) {
            // A client that stays is served by the repeat.
            fail_once(&rig);
            assert_eq!(rig.client.chat(&chat("x")).await.header("x-llm-router-attempts"), "2");
            asked = 2;
        }
        for way in [Way::Close, Way::ShutWrite, Way::Reset] {
            // The only permit: the one before was given back.
            let body = if matches!(point, Point::Whole | Point::Backoff) { chat("x") } else { streamed(chat("x")) };
            if matches!(point, Point::Backoff) {
                fail_once(&rig);
            }
            asked += 1;
            let what = format!("{point:?} {way:?}");
            let mut stream = send(&rig, &body.to_string()).await;
            eventually(&what, async || {
                if is_refused(&stream) {
                    stream = send(&rig, &body.to_string()).await;
                }
                (rig.call_log(Face::RunpodLb).received == asked).then_some(())
            })
            .await;
            if matches!(point, Point::Amid) {
                let mut first = [0; 1];
                stream.read_exact(&mut first).await.unwrap();
            }
            if matches!(point, Point::Backoff) {
                let failed = async || (rig.call_log(Face::RunpodLb).in_flight == 0).then_some(());
                eventually(&what, failed).await;
            }
            let half = leave(stream, way);
            if !matches!(point, Point::Backoff) {
                let cancelled = async || (rig.call_log(Face::RunpodLb).cancelled == asked).then_some(());
                eventually(&what, cancelled).await;
            }
            rig.until_idle().await;
            if matches!(point, Point::Backoff) {
                // The pause before a repeat is over by then.
                tokio::time::sleep(std::time::Duration::from_secs(3)).await;
            }
            assert_eq!(rig.call_log(Face::RunpodLb).received, asked, "{what}: nobody is asked again");
            drop(half);
        }
        let metrics = rig.metrics().await;
        let left = metrics.value("llmrouter_requests_total", &[("outcome", "cancelled")]);
        assert!((left - 3.0).abs() < 0.1, "{point:?}: {left} clients left");
        let breaker = metrics.value("llmrouter_breaker_state", &[("upstream", "runpod")]);
        assert!(breaker.abs() < 0.1, "{point:?}: the breaker is at {breaker}");
    }
}

/// Begins a body.
async fn announce(rig: &Rig) -> net::TcpStream {
    let mut stream = connect(rig.running().addr()).await;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CLIENT_KEY}\r\n\
         content-type: application/json\r\ncontent-length: 1000\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// Another client takes the permit at once, while the body of the one that left never came.
#[tokio::test]
async fn a_client_that_leaves_amid_its_body_gives_its_permit_back() {
    let rig = launch(Point::Backoff);
    for way in [Way::Close, Way::ShutWrite, Way::Reset] {
        let mut stream = announce(&rig).await;
        let status = async || rig.client.chat(&chat("another")).await.status;
        eventually("the body is waited for", async || {
            if is_refused(&stream) {
                stream = announce(&rig).await;
            }
            (status().await == 503).then_some(())
        })
        .await;
        let half = leave(stream, way);
        eventually("the permit is free", async || (status().await == 200).then_some(())).await;
        drop(half);
    }
}

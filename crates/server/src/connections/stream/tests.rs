//! The times of a connection, in virtual time.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    time::{sleep, timeout},
};

use super::*;
use crate::{
    connections::{Listener, closed::ClosingLog, connection::Times, peers::Peers},
    metrics::Metrics,
};

const HEAD: Duration = Duration::from_secs(20);
const IDLE: Duration = Duration::from_secs(75);
const STALL: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_hours(1);
const MOMENT: Duration = Duration::from_millis(10);

struct Rig {
    client: DuplexStream,
    server: Watched<DuplexStream>,
    answering: Arc<AtomicU32>,
}

/// A connection whose kernel holds 64 bytes for the client.
fn rig() -> Rig {
    let (client, server) = duplex(64);
    let answering = Arc::new(AtomicU32::new(0));
    let times = Times { head: HEAD, idle: IDLE, stall: STALL };
    let connection = Rc::new(Connection::new(times, answering.clone(), Instant::now()));
    let metrics = Arc::new(Metrics::new(Duration::from_mins(1)).expect("metrics"));
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let closings = Closings { log: Arc::new(ClosingLog::new(Listener::Public, metrics)), peer };
    let counted = Arc::new(Peers::default()).enter(peer, 1, &[]).expect("a place");
    Rig { client, server: Watched::new(server, connection, closings, counted), answering }
}

/// How long a read takes to fail; nothing where it does not.
async fn fails_after(server: &mut Watched<DuplexStream>) -> Option<Duration> {
    let begun = Instant::now();
    let mut buffer = [0; 64];
    let failed = async {
        loop {
            match server.read(&mut buffer).await {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                    return Some(begun.elapsed());
                }
            }
        }
    };
    timeout(LONG, failed).await.ok().flatten()
}

fn assert_about(measured: Option<Duration>, expected: Duration) {
    let measured = measured.expect("it fails");
    assert!(measured >= expected && measured < expected + MOMENT, "{measured:?}, not {expected:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_byte_has_the_time_of_a_head() {
    let mut rig = rig();
    assert_about(fails_after(&mut rig.server).await, HEAD);
    drop(rig.server);
    let mut said = Vec::new();
    rig.client.read_to_end(&mut said).await.expect("an end");
    assert_eq!(said, b"");
}

#[tokio::test(start_paused = true)]
async fn a_head_has_its_time_from_its_first_byte_however_it_drips() {
    let mut rig = rig();
    let drip = async {
        sleep(Duration::from_secs(15)).await;
        while rig.client.write_all(b"x").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    };
    let (failed, ()) = futures_util::future::join(
        async {
            let failed = fails_after(&mut rig.server).await;
            drop(rig.server);
            failed
        },
        drip,
    )
    .await;
    assert_about(failed, Duration::from_secs(15) + HEAD);
    let mut said = Vec::new();
    rig.client.read_to_end(&mut said).await.expect("an end");
    assert!(said.starts_with(b"HTTP/1.1 408") && HEAD_TIMEOUT.starts_with(&said), "as much of it as the kernel takes");
}

#[tokio::test(start_paused = true)]
async fn the_head_of_a_later_request_has_its_time_as_well() {
    let mut rig = rig();
    for _ in 0..3 {
        rig.client.write_all(b"a head").await.expect("sent");
        assert_eq!(rig.server.read(&mut [0; 64]).await.expect("read"), 6);
        let begun = rig.server.connection().begin();
        assert_eq!(
            timeout(LONG, fails_after(&mut rig.server)).await.ok().flatten(),
            None,
            "a handler has all the time"
        );
        drop(begun);
        sleep(IDLE / 2).await;
    }
    rig.client.write_all(b"x").await.expect("sent");
    assert_about(fails_after(&mut rig.server).await, HEAD);
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_without_a_byte_is_closed_later() {
    let mut rig = rig();
    drop(rig.server.connection().begin());
    assert_about(fails_after(&mut rig.server).await, IDLE);
}

/// A head that comes at any moment of the idle time has its own time, no more and no less.
#[tokio::test(start_paused = true)]
async fn a_head_late_in_the_idle_time_has_its_whole_time() {
    for late in [1, 19, 20, 21, 54, 56, 74] {
        let mut rig = rig();
        drop(rig.server.connection().begin());
        let late = Duration::from_secs(late);
        let send = async {
            sleep(late).await;
            rig.client.write_all(b"x").await.expect("sent");
        };
        let (failed, ()) = futures_util::future::join(fails_after(&mut rig.server), send).await;
        assert_about(failed, late + HEAD);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_cut_off_even_while_it_sends() {
    let mut rig = rig();
    let _begun = rig.server.connection().begin();
    let begun = Instant::now();
    let error = rig.server.write_all(&[b'x'; 100]).await.expect_err("64 bytes are taken and no more");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_about(Some(begun.elapsed()), STALL);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_a_byte_now_and_then_is_not() {
    let mut rig = rig();
    let _begun = rig.server.connection().begin();
    let read = async {
        for _ in 0..36 {
            sleep(STALL * 9 / 10).await;
            rig.client.read_exact(&mut [0]).await.expect("a byte");
        }
    };
    let (written, ()) = futures_util::future::join(rig.server.write_all(&[b'x'; 100]), read).await;
    written.expect("everything is taken in the end");
}

#[tokio::test(start_paused = true)]
async fn what_an_answer_holds_is_given_back_when_it_is_written_and_not_before() {
    let mut rig = rig();
    let permit = Arc::new(());
    let connection = rig.server.connection().clone();
    drop(connection.begin());
    connection.hold_until_written(Box::new(permit.clone()));
    // As actix has it: it writes until everything is taken, and flushes then.
    let write = async {
        rig.server.write_all(&[b'x'; 100]).await.expect("taken in the end");
        rig.server.flush().await.expect("flushed");
    };
    let read = async {
        sleep(Duration::from_secs(1)).await;
        assert_eq!((Arc::strong_count(&permit), rig.answering.load(Ordering::Acquire)), (2, 1));
        rig.client.read_exact(&mut [0; 100]).await.expect("all of it");
    };
    futures_util::future::join(write, read).await;
    assert_eq!((Arc::strong_count(&permit), rig.answering.load(Ordering::Acquire)), (1, 0));

    connection.hold_until_written(Box::new(permit.clone()));
    let begun = connection.begin();
    drop((begun, connection, rig.server));
    assert_eq!((Arc::strong_count(&permit), rig.answering.load(Ordering::Acquire)), (1, 0), "nor after a broken one");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_polled_without_end_is_cut_off() {
    let mut rig = rig();
    let _begun = rig.server.connection().begin();
    for _ in 0..MAX_IDLE_POLLS {
        rig.server.flush().await.expect("allowed");
    }
    assert!(rig.server.flush().await.is_err());
}

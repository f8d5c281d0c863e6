//! Requests byte by byte, from any loopback address: to the router, each such address is another client.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

const PATIENCE: Duration = Duration::from_mins(1);

/// A connection from an address that has not been used lately.
pub(crate) async fn connect(addr: SocketAddr) -> TcpStream {
    static LAST: AtomicU8 = AtomicU8::new(1);
    let own = Ipv4Addr::new(127, 0, 1, LAST.fetch_add(1, Ordering::Relaxed).max(1));
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((own, 0))).unwrap();
    socket.connect(addr).await.unwrap()
}

/// Sends `bytes` and reads until the server closes.
pub(crate) async fn until_closed(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connect(addr).await;
    // A server that has refused already may have closed.
    let _sent = stream.write_all(bytes).await;
    let mut all = Vec::new();
    let read = async {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            all.extend_from_slice(&buffer[..length]);
        }
    };
    timeout(PATIENCE, read).await.unwrap_or_else(|_| panic!("never closed: {}", String::from_utf8_lossy(bytes)));
    String::from_utf8_lossy(&all).into_owned()
}

/// Sends `bytes` and reads one answer, whose body has a length.
pub(crate) async fn answer(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connect(addr).await;
    let _sent = stream.write_all(bytes).await;
    let mut all = Vec::new();
    let read = async {
        let mut buffer = [0; 4096];
        while !is_whole(&all) {
            match stream.read(&mut buffer).await {
                Ok(length @ 1..) => all.extend_from_slice(&buffer[..length]),
                _ => break,
            }
        }
    };
    timeout(PATIENCE, read).await.unwrap_or_else(|_| panic!("no answer: {}", String::from_utf8_lossy(bytes)));
    String::from_utf8_lossy(&all).into_owned()
}

fn is_whole(read: &[u8]) -> bool {
    let text = String::from_utf8_lossy(read).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    length.is_none_or(|length: usize| body.len() >= length)
}

/// The status of each answer in `text`.
pub(crate) fn statuses(text: &str) -> Vec<u16> {
    text.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.get(..3)?.parse().ok()).collect()
}

/// What stands behind the head of the first answer.
pub(crate) fn body(text: &str) -> &str {
    text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

//! A server that plays one recorded answer at a time, byte by byte as it was recorded. Shared by the tests of the
//! adapters.

use std::fmt::Write as _;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What a server answers.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// Sent one by one, each as a chunk of its own if there is more than one.
    pub(crate) reads: Vec<String>,
}

impl Answer {
    /// A JSON answer.
    pub(crate) fn json(status: u16, body: impl Into<String>) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self { status, headers, reads: vec![body.into()] }
    }
}

/// What a client asked.
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) body: Value,
}

/// A listener on a port of its own.
pub(crate) struct Server(TcpListener);

impl Server {
    pub(crate) async fn start() -> Self {
        Self(TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port"))
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.0.local_addr().expect("bound"))
    }

    /// Takes one connection and answers one request on it.
    pub(crate) async fn answer(&self, answer: &Answer) -> Asked {
        let (mut socket, _) = self.0.accept().await.expect("a connection");
        let asked = read(&mut socket).await;
        let mut head = format!("HTTP/1.1 {} recorded\r\nconnection: close\r\n", answer.status);
        for (name, value) in &answer.headers {
            if !matches!(name.as_str(), "content-length" | "transfer-encoding") {
                let _infallible = write!(head, "{name}: {value}\r\n");
            }
        }
        let is_chunked = answer.reads.len() > 1;
        if is_chunked {
            head.push_str("transfer-encoding: chunked\r\n\r\n");
        } else {
            let length: usize = answer.reads.iter().map(String::len).sum();
            let _infallible = write!(head, "content-length: {length}\r\n\r\n");
        }
        socket.write_all(head.as_bytes()).await.expect("a client that listens");
        for read in &answer.reads {
            let piece = if is_chunked { format!("{:x}\r\n{read}\r\n", read.len()) } else { read.clone() };
            socket.write_all(piece.as_bytes()).await.expect("a client that listens");
            socket.flush().await.expect("a client that listens");
            tokio::task::yield_now().await;
        }
        if is_chunked {
            socket.write_all(b"0\r\n\r\n").await.expect("a client that listens");
        }
        asked
    }
}

async fn read(socket: &mut TcpStream) -> Asked {
    let mut bytes = Vec::new();
    loop {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let body = &bytes[end + 4..];
            if body.len() >= length.unwrap_or(0) {
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                return Asked { path, body: serde_json::from_slice(body).unwrap_or_default(), head };
            }
        }
        assert!(socket.read_buf(&mut bytes).await.expect("a request") > 0, "the request is not complete");
    }
}

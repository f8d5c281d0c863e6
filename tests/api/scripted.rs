//! An upstream that sends exactly the bytes that a test gives it.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};

/// Answers every request alike, piece by piece, and several at a time.
pub(crate) struct Scripted {
    addr: SocketAddr,
    pauses: Arc<Semaphore>,
    _task: JoinSet<()>,
}

impl Scripted {
    /// Answers 200 with the pieces of `body` in this order, and between two of them waits for [`Self::go_on`].
    pub(crate) async fn start(content_type: &str, body: &[&str]) -> Self {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\nconnection: close\r\n\r\n");
        Self::with_head(head, body).await
    }

    /// The same behind another head.
    pub(crate) async fn with_head(head: String, body: &[&str]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let pauses = Arc::new(Semaphore::new(0));
        let pieces: Arc<[String]> = body.iter().map(|piece| (*piece).to_owned()).collect();
        let mut task = JoinSet::new();
        let theirs = pauses.clone();
        task.spawn(async move {
            let mut answers = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.expect("a connection");
                let (head, pieces, pauses) = (head.clone(), pieces.clone(), theirs.clone());
                answers.spawn(async move { answer(socket, &head, &pieces, &pauses).await });
            }
        });
        Self { addr, pauses, _task: task }
    }

    /// An `openai` upstream here, `scripted`, to which further keys can be appended.
    pub(crate) fn config(&self) -> String {
        format!(
            "\n[[upstreams]]\nid = \"scripted\"\nprovider = \"openai\"\nbase_url = \"http://{}/v1\"\n\
             api_key_env = \"UPSTREAM_KEY\"\nmodel = \"served\"\n",
            self.addr
        )
    }

    /// Ends one pause.
    pub(crate) fn go_on(&self) {
        self.pauses.add_permits(1);
    }
}

/// A client that is gone is no failure here.
async fn answer(mut socket: TcpStream, head: &str, pieces: &[String], pauses: &Semaphore) {
    if !read(&mut socket).await || socket.write_all(head.as_bytes()).await.is_err() {
        return;
    }
    for (at, piece) in pieces.iter().enumerate() {
        if at > 0 {
            pauses.acquire().await.expect("never closed").forget();
        }
        if socket.write_all(piece.as_bytes()).await.is_err() {
            return;
        }
    }
    drop(socket.shutdown().await);
}

/// Whether a whole request came.
async fn read(socket: &mut TcpStream) -> bool {
    let mut bytes = Vec::new();
    while !is_whole(&bytes) {
        if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return false;
        }
    }
    true
}

fn is_whole(request: &[u8]) -> bool {
    let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    request.len() - end - 4 >= length.unwrap_or(0)
}

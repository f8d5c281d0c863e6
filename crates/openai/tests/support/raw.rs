//! A server that answers each request of each connection with scripted bytes, and closes when its script says so.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// What happens to one request.
#[derive(Debug, Clone)]
pub(crate) enum Turn {
    /// These bytes are sent, piece by piece; the connection stays open.
    Answer(Vec<String>),
    /// These bytes are sent, then the connection is closed.
    Last(Vec<String>),
    /// The connection is closed without a byte.
    Close,
}

/// A listener whose connections play scripts, one each; the last script is played again and again.
pub(crate) struct Raw {
    addr: std::net::SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Raw {
    pub(crate) async fn start(connections: Vec<Vec<Turn>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (received, mut scripts) = (asked.clone(), VecDeque::from(connections));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let Ok((socket, _)) = listener.accept().await else { return };
                let script = if scripts.len() > 1 { scripts.pop_front() } else { scripts.front().cloned() };
                open.spawn(play(socket, script.unwrap_or_default(), received.clone()));
            }
        });
        Self { addr, asked, _tasks: tasks }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// The requests so far, heads and bodies.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

async fn play(mut socket: TcpStream, script: Vec<Turn>, received: Arc<Mutex<Vec<String>>>) {
    for turn in script {
        let Some(request) = read(&mut socket).await else { return };
        received.lock().push(request);
        let (pieces, is_last) = match turn {
            Turn::Answer(pieces) => (pieces, false),
            Turn::Last(pieces) => (pieces, true),
            Turn::Close => return,
        };
        for piece in pieces {
            if socket.write_all(piece.as_bytes()).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        if is_last {
            return;
        }
    }
    // A reader that goes on waits for more bytes.
    std::future::pending::<()>().await;
}

async fn read(socket: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text.into_owned());
            }
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

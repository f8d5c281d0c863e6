//! An upstream that is a bare socket: it records each byte that it is sent and answers with the bytes it was given.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use e2e::{CEREBRAS, Launch, MODEL, Rig};
use emulator::Settings;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::sleep,
};

/// A whole answer that any client can read.
pub(crate) const ANSWER: &str = r#"{"id":"w","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"wire"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;

/// What the upstream does once a request is there.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Sends these bytes and closes.
    Bytes(Arc<[u8]>),
    /// Sends the first bytes once and then the second ones, every millisecond, until the router closes.
    Flood(Arc<[u8]>, Arc<[u8]>),
}

impl Reply {
    pub(crate) fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Bytes(bytes.into().into())
    }

    pub(crate) fn flood(first: &str, again: impl Into<Vec<u8>>) -> Self {
        Self::Flood(first.as_bytes().into(), again.into().into())
    }

    /// A whole answer with further headers, each line of which ends in CR LF.
    pub(crate) fn whole(status: &str, headers: &str, body: &str) -> Self {
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}");
        Self::bytes(format!("{head}content-length: {}\r\n\r\n{body}", body.len()))
    }
}

/// What was sent and taken.
#[derive(Clone)]
struct Record {
    requests: watch::Sender<Vec<Vec<u8>>>,
    sent: Arc<AtomicUsize>,
}

/// The upstream; it stops when dropped.
pub(crate) struct Wire {
    pub(crate) addr: SocketAddr,
    record: Record,
    /// Dropped, it ends the connections as well.
    _task: JoinSet<()>,
}

impl Wire {
    pub(crate) async fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let record = Record { requests: watch::Sender::default(), sent: Arc::default() };
        let recorded = record.clone();
        let mut connections = JoinSet::new();
        let task = JoinSet::from_iter([async move {
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(serve(socket, reply.clone(), recorded.clone()));
            }
        }]);
        Self { addr, record, _task: task }
    }

    /// Each request as it came, head and body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.record.requests.borrow().iter().map(|request| String::from_utf8_lossy(request).into_owned()).collect()
    }

    /// Bytes that a flood got rid of.
    pub(crate) fn sent(&self) -> usize {
        self.record.sent.load(Ordering::Relaxed)
    }
}

async fn serve(mut socket: TcpStream, reply: Reply, record: Record) {
    let mut request = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    while !is_whole(&request) {
        match socket.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(length) => request.extend_from_slice(&buffer[..length]),
        }
    }
    if request.is_empty() {
        return;
    }
    record.requests.send_modify(|all| all.push(request));
    match reply {
        Reply::Bytes(bytes) => drop(socket.write_all(&bytes).await),
        Reply::Flood(first, again) => {
            let mut next = first;
            while socket.write_all(&next).await.is_ok() {
                record.sent.fetch_add(next.len(), Ordering::Relaxed);
                next = again.clone();
                sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

fn is_whole(request: &[u8]) -> bool {
    let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    request.len() >= end + 4 + length.unwrap_or(0)
}

/// Upstream `first` at this URL, asked before all others, and `cerebras`, which serves when it fails.
pub(crate) fn launch(base_url: &str) -> Launch {
    launch_with(base_url, "connect_ms = 1000")
}

/// The same with these timeouts of the first upstream.
pub(crate) fn launch_with(base_url: &str, timeouts: &str) -> Launch {
    let first = format!(
        "\n[[upstreams]]\nid = \"first\"\nprovider = \"openai\"\nbase_url = {base_url:?}\napi_key_env = \"UPSTREAM_KEY\"\n\
         model = \"m\"\ntimeouts = {{ {timeouts} }}\n"
    );
    let model = format!(
        "\n[[models]]\nname = {MODEL:?}\nstrategy = \"weighted\"\n\
         targets = [{{ upstream = \"first\", share = 1.0 }}, {{ upstream = \"cerebras\", share = 0.0 }}]\n\
         deadline_ms = 10000\n"
    );
    Launch::new(Settings::instant(), &format!("{first}{CEREBRAS}{model}"))
}

/// The same with a wire for the first upstream.
pub(crate) fn before(wire: &Wire) -> Rig {
    launch(&format!("http://{}/v1", wire.addr)).start()
}

//! What the tests of this folder share.

use std::{net::SocketAddr, time::Duration};

use e2e::{Answer, BALANCED, CEREBRAS, Launch, RUNPOD_LB, Rig, chat};
use emulator::Settings;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Two upstreams, one model, one key without limits.
pub(crate) fn launch() -> Launch {
    launch_with(Settings::instant())
}

/// The same in front of other providers.
pub(crate) fn launch_with(settings: Settings) -> Launch {
    Launch::new(settings, &format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}"))
}

/// What an error must say.
pub(crate) struct Refusal<'a> {
    pub(crate) status: u16,
    pub(crate) code: &'a str,
    pub(crate) param: Option<&'a str>,
    /// Words of the message: what to change.
    pub(crate) says: &'a str,
}

impl Refusal<'_> {
    /// Fails unless `answer` is this refusal, in OpenAI's shape.
    pub(crate) fn check(&self, what: &str, answer: &Answer) {
        assert_eq!(answer.status, self.status, "{what}: {}", answer.text);
        assert_eq!(answer.header("content-type"), "application/json", "{what}");
        let error = &answer.json()["error"];
        assert_eq!(error["code"].as_str(), Some(self.code), "{what}: {error}");
        assert_eq!(error["param"].as_str(), self.param, "{what}: {error}");
        assert!(error["type"].is_string(), "{what}: {error}");
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.contains(self.says), "{what}: {message:?} does not say {:?}", self.says);
        assert!(message.len() < 400, "{what}: {} bytes of message", message.len());
    }
}

/// Requests that reached any upstream.
pub(crate) fn received(rig: &Rig) -> u64 {
    let logs = rig.emulator.call_logs();
    logs.runpod_lb.received + logs.runpod_queue.received + logs.cerebras.received
}

/// Fails unless an ordinary request is served, and is the `nth` to reach an upstream.
pub(crate) async fn still_serves(rig: &Rig, nth: u64) {
    let answer = rig.client.chat(&chat("still there?")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(received(rig), nth, "only good requests reach an upstream");
}

/// A connection on which anything can be sent.
pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    pub(crate) async fn connect(rig: &Rig) -> Self {
        Self::connect_to(rig.running().addr()).await
    }

    pub(crate) async fn connect_to(addr: SocketAddr) -> Self {
        Self(TcpStream::connect(addr).await.expect("a connection"))
    }

    /// Sends; a server that has closed already is no failure here.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        drop(self.0.write_all(bytes.as_ref()).await);
    }

    /// What comes back until the server closes or a whole response is there; empty if it only closes.
    pub(crate) async fn answer(&mut self) -> String {
        let read = async {
            let mut all = Vec::new();
            let mut buffer = [0; 4096];
            while !is_complete(&all) {
                match self.0.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(length) => all.extend_from_slice(&buffer[..length]),
                }
            }
            String::from_utf8_lossy(&all).into_owned()
        };
        tokio::time::timeout(Duration::from_secs(30), read).await.expect("the server answers or closes")
    }

    /// What comes back until the server closes.
    pub(crate) async fn rest(&mut self) -> String {
        let mut all = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(30), self.0.read_to_end(&mut all)).await;
        read.expect("the server closes").expect("in order");
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Sends and reads on a connection of its own.
    pub(crate) async fn exchange(rig: &Rig, bytes: impl AsRef<[u8]>) -> String {
        let mut connection = Self::connect(rig).await;
        connection.send(bytes).await;
        connection.answer().await
    }
}

fn is_complete(read: &[u8]) -> bool {
    let text = String::from_utf8_lossy(read);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.to_ascii_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    length.is_some_and(|length: usize| body.len() >= length)
}

/// The status of a raw answer; 0 if the server only closed.
pub(crate) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

//! Connections that the router closes: counted by reason, and logged at most once a second for each.

use std::{net::IpAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Listener;
use crate::metrics::Metrics;

/// Shortest time between two lines about connections that were closed for one reason.
const BETWEEN_LINES: Duration = Duration::from_secs(1);

/// Why the router closed a connection that its client would have kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// No byte came in time.
    Silent,
    /// The head, or the rest of a body that is not read any more, took too long.
    SlowHead,
    /// The client took nothing of what waited for it.
    Stalled,
    /// The client sent more behind a request under way than is read ahead.
    Flooded,
    /// Its address has as many connections as it may.
    PeerLimit,
}

impl Reason {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [Self::Silent, Self::SlowHead, Self::Stalled, Self::Flooded, Self::PeerLimit];

    /// The name in metrics and logs.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::SlowHead => "slow_head",
            Self::Stalled => "stalled",
            Self::Flooded => "flooded",
            Self::PeerLimit => "peer_limit",
        }
    }

    /// What the log says of it; nothing of what ends in good order.
    const fn message(self) -> Option<&'static str> {
        match self {
            Self::Silent => None,
            Self::SlowHead => Some("a connection was closed: the head of its request took too long"),
            Self::Stalled => Some("a connection was closed: its client stalled, and took nothing of its answer"),
            Self::Flooded => Some("a connection was closed: it sent too much behind a request under way"),
            Self::PeerLimit => Some("a connection was refused: its address has as many as it may"),
        }
    }
}

/// Counts and logs what a listener closes.
pub(super) struct ClosingLog {
    listener: Listener,
    metrics: Arc<Metrics>,
    lines: Mutex<[Line; Reason::ALL.len()]>,
}

/// The log's last line for one reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Line {
    at: Option<Instant>,
    /// How many connections were closed since, and not logged.
    unlogged: u64,
}

impl Line {
    /// Whether to log one more, and how many that makes since the last line.
    fn more(&mut self, now: Instant) -> Option<u64> {
        self.unlogged += 1;
        if self.at.is_some_and(|at| now < at + BETWEEN_LINES) {
            return None;
        }
        self.at = Some(now);
        Some(std::mem::take(&mut self.unlogged))
    }
}

impl ClosingLog {
    pub(super) fn new(listener: Listener, metrics: Arc<Metrics>) -> Self {
        Self { listener, metrics, lines: Mutex::default() }
    }

    pub(super) fn count(&self, reason: Reason, peer: IpAddr) {
        self.metrics.closed(self.listener, reason);
        let Some(message) = reason.message() else { return };
        let Some(count) = self.lines.lock()[reason as usize].more(Instant::now()) else { return };
        tracing::warn!(listener = self.listener.as_str(), reason = reason.as_str(), %peer, count, "{message}");
    }
}

/// Counts and logs what is closed from one address.
#[derive(Clone)]
pub(super) struct Closings {
    pub(super) log: Arc<ClosingLog>,
    pub(super) peer: IpAddr,
}

impl Closings {
    pub(super) fn count(&self, reason: Reason) {
        self.log.count(reason, self.peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_one_line_a_second_that_says_how_many() {
        let mut line = Line::default();
        assert_eq!(line.more(Instant::now()), Some(1));
        for _ in 0..1_000 {
            assert_eq!(line.more(Instant::now()), None);
        }
        tokio::time::advance(BETWEEN_LINES).await;
        assert_eq!(line.more(Instant::now()), Some(1_001));
    }
}

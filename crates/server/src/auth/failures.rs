//! Failed authentications: at most one log line a second, and 429 instead of 401 for addresses that keep guessing. A
//! known key is looked up before anybody asks here, so it is never slowed. No answer is delayed: a task that sleeps
//! would still take memory and a connection.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::connections::client;

/// Unknown keys that an address may send in a window before it is slowed.
const FREE_GUESSES: u32 = 30;
const WINDOW: Duration = Duration::from_mins(1);
/// Addresses that are counted apart; beyond them all others count as one.
const MAX_PEERS: usize = 4096;
const SWEEP: Duration = Duration::from_secs(1);
const BETWEEN_LINES: Duration = Duration::from_secs(1);

/// What a request has to prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credential {
    Key,
    AdminToken,
}

impl Credential {
    pub(crate) const ALL: [Self; 2] = [Self::Key, Self::AdminToken];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::AdminToken => "admin_token",
        }
    }
}

/// What is wrong with a request's credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// There are none, or they are in no form that is read: `Authorization: Bearer <key>` or `x-api-key: <key>`.
    Missing,
    /// No configured key or token is the one that was sent.
    Wrong,
}

/// A failed authentication, and how to answer and log it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordedFailure {
    denied: Denied,
    /// Until when the sender should wait: it sent too many.
    pub(crate) wait: Option<Duration>,
    /// To be logged, with the number of failures since the last line that had none.
    pub(crate) log: Option<u64>,
}

impl RecordedFailure {
    /// Every reason, as metrics and logs call it.
    pub(crate) const REASONS: [&str; 3] = ["missing", "wrong", "slowed"];

    pub(crate) const fn reason(&self) -> &'static str {
        match (self.denied, self.wait) {
            (_, Some(_)) => "slowed",
            (Denied::Missing, None) => "missing",
            (Denied::Wrong, None) => "wrong",
        }
    }
}

/// All failures of the process.
#[derive(Default)]
pub(crate) struct Failures(Mutex<State>);

#[derive(Default)]
struct State {
    peers: HashMap<IpAddr, Window>,
    /// Those for whom the table has no room.
    others: Option<Window>,
    /// When windows that are over were last taken out of the full table.
    swept: Option<Instant>,
    logged: Option<Instant>,
    suppressed: u64,
}

/// The unknown keys that an address sent in a minute.
#[derive(Debug, Clone, Copy)]
struct Window {
    ends: Instant,
    guesses: u32,
}

impl Window {
    /// Counts a guess; says how long to wait after one too many.
    fn guess(&mut self, now: Instant) -> Option<Duration> {
        if now >= self.ends {
            *self = Self { ends: now + WINDOW, guesses: 0 };
        }
        self.guesses = self.guesses.saturating_add(1);
        (self.guesses > FREE_GUESSES).then(|| self.ends - now)
    }
}

impl Failures {
    /// Records a failure of `peer`, which is unknown where the socket has closed already.
    pub(crate) fn record(&self, denied: Denied, peer: Option<IpAddr>, now: Instant) -> RecordedFailure {
        let mut state = self.0.lock();
        let wait = match denied {
            // A request without a key is no guess; probes of load balancers are such requests.
            Denied::Missing => None,
            Denied::Wrong => state.window(peer.map(client), now).guess(now),
        };
        RecordedFailure { denied, wait, log: state.line(now) }
    }
}

impl State {
    /// The window of an address, or that of all for whom there is no room.
    fn window(&mut self, peer: Option<IpAddr>, now: Instant) -> &mut Window {
        // A window that is over already; the next guess begins it.
        let fresh = Window { ends: now, guesses: 0 };
        if self.peers.len() >= MAX_PEERS && self.swept.is_none_or(|swept| now >= swept + SWEEP) {
            self.swept = Some(now);
            self.peers.retain(|_, window| now < window.ends);
        }
        match peer {
            Some(peer) if self.peers.len() < MAX_PEERS || self.peers.contains_key(&peer) => {
                self.peers.entry(peer).or_insert(fresh)
            }
            _ => self.others.get_or_insert(fresh),
        }
    }

    /// Whether a line is due, and how many failures had none.
    fn line(&mut self, now: Instant) -> Option<u64> {
        if self.logged.is_some_and(|logged| now < logged + BETWEEN_LINES) {
            self.suppressed += 1;
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests;

//! Whether a call went over a connection that was kept, or over one that it opened.
//!
//! A server may close a kept connection at the very moment at which a request is written to it. The request was not
//! served then, and the upstream is not broken: the call is repeated on another connection. An error on a connection
//! that the call itself opened says something else. The HTTP client does not distinguish the two, but it names the port
//! of this machine that a connection has: a connection over which an answer came before is a kept one.

use std::{error::Error as StdError, io};

use http::Extensions;
use hyper_util::client::legacy::{self, connect::HttpInfo};
use parking_lot::Mutex;

/// Bits for all ports.
const WORDS: usize = (1 << 16) / 64;

/// The ports of the connections of one pool over which answers came lately.
pub(crate) struct Answered {
    /// As many connections as a pool may keep, at most twice.
    most: usize,
    ports: Mutex<Ports>,
}

/// Ports that were recorded last, and those before them. The kernel gives a port out again only after thousands of others, so one
/// that is recorded belongs to the connection that it was recorded for.
#[derive(Default)]
struct Ports {
    recent: Set,
    older: Set,
}

/// A bit for each port, once there is one.
#[derive(Default)]
struct Set {
    bits: Vec<u64>,
    count: usize,
}

impl Set {
    fn holds(&self, port: u16) -> bool {
        self.bits.get(usize::from(port) / 64).is_some_and(|word| word >> (port % 64) & 1 == 1)
    }

    fn add(&mut self, port: u16) {
        if self.holds(port) {
            return;
        }
        self.bits.resize(WORDS, 0);
        self.bits[usize::from(port) / 64] |= 1 << (port % 64);
        self.count += 1;
    }
}

impl Answered {
    /// Of a pool that keeps at most so many connections.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, ports: Mutex::default() }
    }

    /// Records that an answer came over the connection that its extensions name.
    pub(crate) fn record(&self, extensions: &Extensions) {
        let Some(connection) = extensions.get::<HttpInfo>() else { return };
        self.record_port(connection.local_addr().port());
    }

    fn record_port(&self, port: u16) {
        let mut ports = self.ports.lock();
        if ports.recent.count >= self.most && !ports.recent.holds(port) {
            ports.older = std::mem::take(&mut ports.recent);
        }
        ports.recent.add(port);
    }

    fn contains(&self, port: u16) -> bool {
        let ports = self.ports.lock();
        ports.recent.holds(port) || ports.older.holds(port)
    }

    /// Whether `error` is a kept connection that was closed before a byte of an answer.
    pub(crate) fn is_stale(&self, error: &legacy::Error) -> bool {
        if error.is_connect() {
            return false;
        }
        let mut causes = std::iter::successors(error.source(), |error: &&(dyn StdError + 'static)| (*error).source());
        causes.any(is_closed) && port_of(error).is_some_and(|port| self.contains(port))
    }
}

/// Whether a connection was closed.
fn is_closed(error: &(dyn StdError + 'static)) -> bool {
    error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message)
        || error.downcast_ref::<io::Error>().is_some_and(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe
            )
        })
}

/// The port of this machine that the connection of a failed call has.
fn port_of(error: &legacy::Error) -> Option<u16> {
    let mut extensions = Extensions::new();
    error.connect_info()?.get_extras(&mut extensions);
    Some(extensions.get::<HttpInfo>()?.local_addr().port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_recorded_last_are_known() {
        let answered = Answered::new(100);
        assert!(!answered.contains(0) && !answered.contains(u16::MAX));
        for port in (0..=u16::MAX).rev() {
            answered.record_port(port);
            answered.record_port(port);
            assert!(answered.contains(port) && answered.contains(port.saturating_add(99)), "{port}");
        }
        assert!(!answered.contains(250), "beyond twice as many as are kept");
    }
}

//! A client's stream with time limits: if one is exceeded, the stream fails with an error, and actix closes the
//! connection.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{
    closed::{Closings, Reason},
    connection::Connection,
    peers::Peer,
};
use crate::error::HEAD_TIMEOUT;

/// How often actix may poll the connection in a row without reading or writing a byte. While a client has sent more behind a
/// request under way than actix reads ahead, actix polls the connection without end, which takes a whole core.
const MAX_IDLE_POLLS: u32 = 10_000;

/// A client's stream and what is due on it.
pub(crate) struct Watched<S> {
    stream: S,
    connection: Rc<Connection>,
    closings: Closings,
    timer: Pin<Box<Sleep>>,
    idle_polls: u32,
    /// Counted while the stream lives.
    _peer: Peer,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Watched<S> {
    pub(super) fn new(stream: S, connection: Rc<Connection>, closings: Closings, peer: Peer) -> Self {
        // Due at once: the first check sets it.
        let timer = Box::pin(sleep_until(Instant::now()));
        Self { stream, connection, closings, timer, idle_polls: 0, _peer: peer }
    }

    pub(super) fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    /// Fails if the connection's time is over; else wakes the task when it is time to look again.
    fn poll_times(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        while self.timer.as_mut().poll(context).is_ready() {
            match self.connection.check(Instant::now()) {
                Ok(next) => self.timer.as_mut().reset(next),
                Err(reason) => return Err(self.close(context, reason)),
            }
        }
        Ok(())
    }

    /// Counts a connection that the kernel gave up: its client takes nothing, or is gone without closing it.
    fn noting<T>(&self, outcome: io::Result<T>) -> io::Result<T> {
        if outcome.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            self.closings.count(Reason::Stalled);
        }
        outcome
    }

    fn close(&mut self, context: &mut Context<'_>, reason: Reason) -> io::Error {
        self.closings.count(reason);
        if reason == Reason::SlowHead {
            // Nothing else waits to be written, so this fits; the client may or may not read it.
            drop(Pin::new(&mut self.stream).poll_write(context, HEAD_TIMEOUT));
        }
        io::Error::new(io::ErrorKind::TimedOut, reason.as_str())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.idle_polls = 0;
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(context, buffer) {
            if buffer.filled().len() > before {
                this.connection.read();
            }
            return Poll::Ready(this.noting(read));
        }
        this.poll_times(context)?;
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.idle_polls = 0;
        if let Poll::Ready(written) = Pin::new(&mut this.stream).poll_write(context, bytes) {
            this.connection.wrote();
            return Poll::Ready(this.noting(written));
        }
        this.connection.write_blocked();
        this.poll_times(context)?;
        Poll::Pending
    }

    /// Actix flushes at the end of each poll, once it has written everything that was encoded.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.idle_polls += 1;
        if this.idle_polls > MAX_IDLE_POLLS {
            return Poll::Ready(Err(this.close(context, Reason::Flooded)));
        }
        ready!(Pin::new(&mut this.stream).poll_flush(context))?;
        this.connection.wrote_all();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;

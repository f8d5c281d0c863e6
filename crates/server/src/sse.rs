//! The body of a response, above all of a streamed one: bytes are relayed as they came, and frames that are available
//! together go into one write.
//!
//! While the upstream is silent, comments keep the connection alive through balancers that cut idle ones. A stream that breaks
//! ends with one event that says so and without the event of a good end; both SDKs of OpenAI take a bare close for success.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    Error,
    body::{BodySize, MessageBody},
};
use bytes::Bytes;
use dispatch::Answer;
use futures_util::{Stream, future::LocalBoxFuture};
use provider::RequestId;
use router::RouterError;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::{
    error::ApiError,
    form::{Ready, StreamForm},
    limits::Permits,
};

/// Most bytes of one write: what is written waits in a buffer of actix, outside the memory budget, until the client
/// takes it.
const MAX_WRITE: usize = 64 << 10;

/// Where the frames come from.
#[expect(clippy::large_enum_variant, reason = "nearly every body is the large one, and a box is one more allocation")]
pub(crate) enum Source {
    /// The headers went out before the upstream answered.
    Calling(LocalBoxFuture<'static, Result<Answer, RouterError>>),
    Relaying(Answer),
    Ended,
}

/// The body of a streamed response.
pub(crate) struct SseBody {
    source: Source,
    form: StreamForm,
    /// Whether any event was written.
    has_begun: bool,
    /// What is left to write of what was ready.
    rest: Ready,
    request_id: RequestId,
    keep_alive: Duration,
    last_write: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _permits: Permits,
}

impl SseBody {
    /// Relays what comes from `source`, until `cut`.
    pub(crate) fn new(
        source: Source,
        form: StreamForm,
        cut: &CancellationToken,
        request_id: RequestId,
        keep_alive: Duration,
        permits: Permits,
    ) -> Self {
        let cut = Box::pin(cut.clone().cancelled_owned());
        let (rest, last_write) = (Ready::default(), Instant::now());
        Self {
            source,
            form,
            has_begun: false,
            rest,
            request_id,
            keep_alive,
            last_write,
            timer: None,
            cut,
            _permits: permits,
        }
    }

    /// As much of `ready` as goes into one write; what is left is kept for the next.
    fn write(&mut self, ready: Ready) -> Poll<Option<Result<Bytes, Error>>> {
        self.last_write = Instant::now();
        self.rest = ready;
        Poll::Ready(self.rest.next_write(MAX_WRITE).map(Ok))
    }

    /// Ends with an event that says why.
    fn end(&mut self, error: &ApiError) -> Poll<Option<Result<Bytes, Error>>> {
        let mut ready = Ready::default();
        self.fail(error, &mut ready);
        self.write(ready)
    }

    fn fail(&mut self, error: &ApiError, ready: &mut Ready) {
        self.form.end(error, self.request_id.as_str(), ready);
        self.source = Source::Ended;
    }

    /// A keep-alive if it has been silent for too long. The timer is only set anew when it fires, not with every write.
    fn poll_keep_alive(&mut self, context: &mut Context<'_>) -> Poll<Ready> {
        loop {
            let due = self.last_write + self.keep_alive;
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            if now < due {
                timer.as_mut().reset(due);
                continue;
            }
            return Poll::Ready(self.form.keep_alive(self.has_begun));
        }
    }

    /// What the answer has ready; nothing once it has ended.
    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Ready> {
        let mut ready = Ready::default();
        while let Source::Relaying(answer) = &mut self.source {
            match Pin::new(&mut *answer).poll_next(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Err(error) = self.form.show(frame, &mut ready) {
                        answer.break_off(&error);
                        self.fail(&ApiError::broken(&error), &mut ready);
                    }
                }
                Poll::Ready(Some(Err(error))) => self.fail(&ApiError::broken(&error), &mut ready),
                Poll::Ready(None) => self.source = Source::Ended,
                Poll::Pending if ready.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
            if ready.len() >= MAX_WRITE {
                break;
            }
        }
        Poll::Ready(ready)
    }
}

impl MessageBody for SseBody {
    type Error = Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let this = &mut *self;
        if !this.rest.is_empty() {
            let rest = std::mem::take(&mut this.rest);
            return this.write(rest);
        }
        if let Source::Calling(call) = &mut this.source {
            match call.as_mut().poll(context) {
                Poll::Ready(Ok(answer)) => this.source = Source::Relaying(answer),
                Poll::Ready(Err(failed)) => return this.end(&ApiError::from(&failed)),
                Poll::Pending => {}
            }
        }
        match &this.source {
            Source::Ended => return Poll::Ready(None),
            Source::Calling(_) => {}
            Source::Relaying(_) => {
                if let Poll::Ready(ready) = this.poll_answer(context) {
                    this.has_begun = true;
                    return this.write(ready);
                }
            }
        }
        if this.cut.as_mut().poll(context).is_ready() {
            return this.end(&ApiError::shutting_down());
        }
        match this.poll_keep_alive(context) {
            Poll::Ready(keep_alive) => this.write(keep_alive),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Takes off what goes into one write.
pub(crate) fn next_write(rest: &mut Bytes) -> Bytes {
    rest.split_to(rest.len().min(MAX_WRITE))
}

#[cfg(test)]
mod relayed;

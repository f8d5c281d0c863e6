//! The body of a response, above all of a streamed one: bytes are relayed as they came, and frames that are available
//! together go into one write.
//!
//! While the upstream is silent, comments keep the connection alive through balancers that cut idle ones. A stream that breaks
//! ends with one `error` event and no `[DONE]`; both SDKs of OpenAI take a bare close for success.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    Error,
    body::{BodySize, MessageBody},
};
use bytes::{Bytes, BytesMut};
use dispatch::Answer;
use futures_util::{Stream, future::LocalBoxFuture};
use provider::{Frame, RequestId};
use router::RouterError;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::{chunks, error, limits::Permits};

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

/// How frames are shown to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As they came.
    OpenAi,
    /// The text alone, in `chunk` events.
    Chunks,
}

impl Form {
    fn show(self, frame: Frame) -> Bytes {
        match self {
            Self::OpenAi => frame.bytes,
            Self::Chunks => chunks::event(&frame),
        }
    }
}

/// The body of a streamed response.
pub(crate) struct SseBody {
    source: Source,
    form: Form,
    /// What is left of a long piece.
    rest: Bytes,
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
        form: Form,
        cut: &CancellationToken,
        request_id: RequestId,
        keep_alive: Duration,
        permits: Permits,
    ) -> Self {
        let cut = Box::pin(cut.clone().cancelled_owned());
        let (rest, last_write) = (Bytes::new(), Instant::now());
        Self { source, form, rest, request_id, keep_alive, last_write, timer: None, cut, _permits: permits }
    }

    /// As much of `ready` as goes into one write; what is left is kept for the next.
    fn write(&mut self, ready: Option<Bytes>) -> Poll<Option<Result<Bytes, Error>>> {
        self.last_write = Instant::now();
        Poll::Ready(ready.map(|bytes| {
            self.rest = bytes;
            Ok(next_write(&mut self.rest))
        }))
    }

    fn end(&mut self, last: Bytes) -> Poll<Option<Result<Bytes, Error>>> {
        self.source = Source::Ended;
        Poll::Ready(Some(Ok(last)))
    }

    /// A comment if it has been silent for too long: one line, and no blank one after it, which would end an event that has
    /// nothing but the id of the one before, and some SDKs hand that on. It stands between events, as every write is of whole
    /// ones. The timer is only set anew when it fires, not with every write.
    fn poll_keep_alive(&mut self, context: &mut Context<'_>) -> Poll<Bytes> {
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
            self.last_write = now;
            return Poll::Ready(Bytes::from_static(b": keep-alive\n"));
        }
    }

    /// What the answer has ready, as one piece of bytes.
    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Source::Relaying(answer) = &mut self.source else { return Poll::Ready(None) };
        let mut first = Bytes::new();
        let mut gathered: Option<BytesMut> = None;
        loop {
            let bytes = match Pin::new(&mut *answer).poll_next(context) {
                Poll::Ready(Some(Ok(frame))) => self.form.show(frame),
                Poll::Ready(Some(Err(error))) => {
                    let event = error::broken_stream(&error, self.request_id.as_str());
                    self.source = Source::Ended;
                    return Poll::Ready(Some(joined(first, gathered, &event)));
                }
                Poll::Ready(None) => {
                    self.source = Source::Ended;
                    let rest = joined(first, gathered, &Bytes::new());
                    return Poll::Ready((!rest.is_empty()).then_some(rest));
                }
                Poll::Pending if first.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Some(joined(first, gathered, &Bytes::new()))),
            };
            if bytes.is_empty() {
                continue;
            }
            if first.is_empty() {
                first = bytes;
                continue;
            }
            let gathered = gathered.get_or_insert_with(|| BytesMut::from(&first[..]));
            gathered.extend_from_slice(&bytes);
            if gathered.len() >= MAX_WRITE {
                return Poll::Ready(Some(std::mem::take(gathered).freeze()));
            }
        }
    }
}

/// `gathered` if there is any, else `first`, and `last` after it; copies only if there are several.
fn joined(first: Bytes, gathered: Option<BytesMut>, last: &Bytes) -> Bytes {
    match gathered {
        None if last.is_empty() => first,
        None if first.is_empty() => last.clone(),
        None => {
            let mut both = BytesMut::from(&first[..]);
            both.extend_from_slice(last);
            both.freeze()
        }
        Some(mut gathered) => {
            gathered.extend_from_slice(last);
            gathered.freeze()
        }
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
            return this.write(Some(rest));
        }
        if let Source::Calling(call) = &mut this.source {
            match call.as_mut().poll(context) {
                Poll::Ready(Ok(answer)) => this.source = Source::Relaying(answer),
                Poll::Ready(Err(failed)) => {
                    let event = error::failed_stream(&failed, this.request_id.as_str());
                    return this.end(event);
                }
                Poll::Pending => {}
            }
        }
        match &this.source {
            Source::Ended => return Poll::Ready(None),
            Source::Calling(_) => {}
            Source::Relaying(_) => {
                if let Poll::Ready(ready) = this.poll_answer(context) {
                    return this.write(ready);
                }
            }
        }
        if this.cut.as_mut().poll(context).is_ready() {
            let event = error::stopped_stream(this.request_id.as_str());
            return this.end(event);
        }
        this.poll_keep_alive(context).map(|comment| Some(Ok(comment)))
    }
}

/// Takes off what goes into one write.
pub(crate) fn next_write(rest: &mut Bytes) -> Bytes {
    rest.split_to(rest.len().min(MAX_WRITE))
}

#[cfg(test)]
mod relayed;

//! An HTTP response as frames.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use provider::{Error, ErrorKind, Frame, FrameKind, Frames, Object, Operation, Request, Usage};
use reqwest::{Response, header::CONTENT_TYPE};

use crate::{
    Splitter,
    chunk::{self, UsageFor},
    classify::{Dialect, asked},
    client::transport,
};

/// Largest event of a stream, in bytes.
const MAX_EVENT: usize = 1 << 20;
/// Largest whole answer, in bytes: embeddings of a large batch are the longest.
const MAX_WHOLE: usize = 64 << 20;

/// The frames of a 2xx response.
pub(crate) fn frames(response: Response, request: &Request, dialect: &'static dyn Dialect) -> Frames {
    let is_stream = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().to_ascii_lowercase().starts_with(b"text/event-stream"));
    if request.head.stream && is_stream {
        return Box::pin(SseFrames {
            body: Box::pin(response.bytes_stream()),
            splitter: Splitter::new(MAX_EVENT),
            usage_for: if request.head.include_usage { UsageFor::Client } else { UsageFor::Nobody },
            dialect,
            finished: false,
            state: State::Reading,
        });
    }
    let (operation, asked_for_stream) = (request.operation, request.head.stream);
    Box::pin(stream::once(async move {
        let body = read(response, MAX_WHOLE).await?;
        // A stream was asked for and something else came: a real answer is never JSON then.
        if asked_for_stream {
            return Err(asked(operation, dialect.in_band(&body)));
        }
        whole(body, operation, dialect).map_err(|error| asked(operation, error))
    }))
}

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read(response: Response, limit: usize) -> Result<Bytes, Error> {
    let expected = response.content_length().and_then(|length| usize::try_from(length).ok());
    let mut body = response.bytes_stream();
    let too_long = || Error::new(ErrorKind::Protocol, "the upstream's answer is too long");
    let Some(first) = body.next().await else { return Ok(Bytes::new()) };
    let first = first.map_err(|error| transport(&error))?;
    if first.len() > limit {
        return Err(too_long());
    }
    if expected == Some(first.len()) {
        return Ok(first);
    }
    let mut all = BytesMut::with_capacity(expected.unwrap_or(0).clamp(first.len(), limit));
    all.extend_from_slice(&first);
    while let Some(read) = body.next().await {
        let read = read.map_err(|error| transport(&error))?;
        if all.len() + read.len() > limit {
            return Err(too_long());
        }
        all.extend_from_slice(&read);
    }
    Ok(all.freeze())
}

/// A whole answer, if the body is one: success is the presence of what was asked for, never the status alone.
fn whole(body: Bytes, operation: Operation, dialect: &dyn Dialect) -> Result<Frame, Error> {
    let wanted = match operation {
        Operation::Chat | Operation::Completions => "choices",
        Operation::Embeddings => "data",
    };
    let text = std::str::from_utf8(&body)
        .map_err(|_| Error::new(ErrorKind::Protocol, "the upstream's answer is not UTF-8"))?;
    let Ok(object) = Object::parse(text) else {
        let html = text.trim_start().starts_with('<');
        return Err(if html || text.trim().is_empty() { dialect.in_band(&body) } else { not_json() });
    };
    if !object.get(&body, wanted).is_some_and(|value| value.starts_with('[')) {
        return Err(dialect.in_band(&body));
    }
    let usage = object.get(&body, "usage").and_then(|raw| serde_json::from_str::<Option<Usage>>(raw).ok().flatten());
    Ok(Frame { bytes: body, kind: FrameKind::Whole, usage })
}

fn not_json() -> Error {
    Error::new(ErrorKind::Protocol, "the upstream's answer is not valid JSON")
}

enum State {
    Reading,
    /// The body ended; what the splitter still holds comes last.
    Draining,
    Ended,
}

/// The frames of a stream, one per event.
struct SseFrames<S> {
    body: Pin<Box<S>>,
    splitter: Splitter,
    usage_for: UsageFor,
    dialect: &'static dyn Dialect,
    finished: bool,
    state: State,
}

impl<S: Stream<Item = reqwest::Result<Bytes>>> SseFrames<S> {
    fn frame(&mut self, event: crate::Event) -> Result<Frame, Error> {
        let frame = chunk::frame(event, self.usage_for, self.dialect)?;
        let is_early = matches!(frame.kind, FrameKind::Opening | FrameKind::Content);
        if self.usage_for == UsageFor::Client && is_early && frame.usage.is_some() {
            self.usage_for = UsageFor::EveryChunk;
        }
        self.finished |= frame.kind == FrameKind::Finish;
        if frame.kind == FrameKind::Done {
            self.state = State::Ended;
        }
        Ok(frame)
    }

    /// How the stream ended without `[DONE]`: well if the finish was seen, which some servers take for enough.
    fn end(&mut self) -> Result<Frame, Error> {
        self.state = State::Ended;
        if self.finished {
            return Ok(Frame { bytes: Bytes::from_static(b"data: [DONE]\n\n"), kind: FrameKind::Done, usage: None });
        }
        Err(Error::new(ErrorKind::Interrupted, "the upstream ended the stream before the answer was complete"))
    }
}

impl<S: Stream<Item = reqwest::Result<Bytes>>> Stream for SseFrames<S> {
    type Item = Result<Frame, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let result = loop {
            match this.state {
                State::Ended => return Poll::Ready(None),
                State::Draining => {
                    break match this.splitter.finish() {
                        Some(event) => this.frame(event),
                        None => this.end(),
                    };
                }
                State::Reading => {}
            }
            if let Some(event) = this.splitter.next_event() {
                break this.frame(event);
            }
            match ready!(this.body.as_mut().poll_next(context)) {
                Some(Ok(read)) => {
                    if let Err(error) = this.splitter.push(read) {
                        break Err(Error::new(ErrorKind::Protocol, error.to_string()));
                    }
                }
                Some(Err(error)) => break Err(transport(&error)),
                None => this.state = State::Draining,
            }
        };
        if result.is_err() {
            this.state = State::Ended;
        }
        Poll::Ready(Some(result))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(bytes: usize) -> Response {
        http::Response::new(vec![b'x'; bytes]).into()
    }

    #[tokio::test]
    async fn a_body_beyond_the_limit_is_an_error_although_it_comes_in_one_read() {
        assert_eq!(read(response(8), 8).await.map(|body| body.len()).ok(), Some(8));
        assert_eq!(read(response(9), 8).await.map_err(|error| error.kind), Err(ErrorKind::Protocol));
    }
}

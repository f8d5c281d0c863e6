//! An HTTP response as frames: a stream if its first bytes are those of one, whatever its content type says.

use std::{
    convert::Infallible,
    future::ready,
    pin::Pin,
    task::{self, Context, Poll},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{Response, header::CONTENT_TYPE};
use http_body_util::BodyDataStream;
use hyper::body::Body;
use offload::long_work;
use provider::{
    Call, Error, Frame, Frames, GatherError, Gathered, MemoryBudget, NoMemory, Operation, Request, Reservation,
    UpstreamIds, gather, tree_bytes,
};

use crate::{
    blame,
    chunk::UsageFor,
    classify::Dialect,
    client::broke,
    injected::Injected,
    mark, passthrough,
    stream::{Ends, SseFrames},
    whole::{Asked, as_stream, whole},
};

/// Largest whole answer, in bytes: embeddings of a large batch are the longest.
const MAX_WHOLE: usize = 64 << 20;

/// The facts of a call that decide how its error is reported.
pub(crate) struct CallDetails {
    /// What was added to the request.
    pub(crate) injected: Injected,
    /// What the upstream calls the call.
    pub(crate) ids: UpstreamIds,
}

impl CallDetails {
    /// The upstream answers: the first frame of a stream, or a whole answer, is there.
    fn answered(&mut self) {
        self.injected.succeeded();
    }

    /// The error to report in place of `error`.
    pub(crate) fn judge(&self, error: Error) -> Error {
        self.injected.judge(Error { ids: error.ids.or(&self.ids), ..error })
    }
}

/// The frames of a 2xx response.
pub(crate) fn frames<B>(
    response: Response<B>,
    request: &Request,
    call: &Call,
    dialect: &'static dyn Dialect,
    mut details: CallDetails,
) -> Frames
where
    B: Body<Data = Bytes, Error: Send> + Send + 'static,
{
    let is_text =
        request.operation == Operation::Transcriptions && passthrough::text_type(response.headers()).is_some();
    let asked = Asked { is_text, ..Asked::of(request, call) };
    let memory = call.memory.clone();
    if !request.head.stream {
        return Box::pin(stream::once(async move {
            let Gathered { body, mut reservation } = read(response, MAX_WHOLE, &memory).await?;
            let (reservation, frame) = long_work(body.len(), move || {
                let frame = whole(&body, asked, dialect).and_then(|frame| {
                    // Reasoning may be in it twice.
                    reservation.resize(frame.bytes.len().max(body.len()))?;
                    Ok(frame)
                });
                (reservation, frame)
            })
            .await;
            let mut frame = frame.map_err(|error| details.judge(error))?;
            details.answered();
            frame.bytes = reservation.attach(frame.bytes);
            Ok(frame)
        }));
    }
    let is_labelled = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().to_ascii_lowercase().starts_with(b"text/event-stream"));
    let usage_for = if asked.include_usage { UsageFor::Client } else { UsageFor::Hidden };
    let ends = Ends::new(asked.choices);
    let sniffed = async move {
        let mut body = Box::pin(BodyDataStream::new(response.into_body()));
        let (start, is_stream) = first_bytes(&mut body, is_labelled, &memory).await?;
        let body = Box::pin(stream::iter(start.into_iter().map(Ok)).chain(body));
        if is_stream {
            return Ok(Form::Stream(SseFrames::new(body, (usage_for, asked.reasoning), &memory, dialect, ends)));
        }
        let Gathered { body, mut reservation } =
            gather(body, None, MAX_WHOLE, &memory).await.map_err(|error| unread(&error))?;
        // The frames say all of it once more.
        reservation.resize(body.len() + tree_bytes(&body))?;
        let (reservation, frames) = long_work(body.len(), move || {
            let frames = as_stream(&body, asked, dialect);
            (reservation, frames)
        })
        .await;
        Ok(Form::Whole { frames: frames?.into_iter(), _reservation: reservation })
    };
    Box::pin(Streamed { state: State::Sniffing(Box::pin(sniffed)), details })
}

/// The answer to a request for a stream.
enum Form<S> {
    Stream(SseFrames<S>),
    /// It came as a whole; memory is reserved for its frames.
    Whole {
        frames: std::vec::IntoIter<Frame>,
        _reservation: Reservation,
    },
}

enum State<F, S> {
    Sniffing(Pin<Box<F>>),
    Reading(Form<S>),
    Ended,
}

/// The frames of an answer to a request for a stream.
struct Streamed<F, S> {
    state: State<F, S>,
    details: CallDetails,
}

impl<F, S, E> Stream for Streamed<F, S>
where
    F: Future<Output = Result<Form<S>, Error>>,
    S: Stream<Item = Result<Bytes, E>>,
{
    type Item = Result<Frame, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let result = loop {
            match &mut this.state {
                State::Ended => return Poll::Ready(None),
                State::Sniffing(sniffed) => match task::ready!(sniffed.as_mut().poll(context)) {
                    Ok(form) => this.state = State::Reading(form),
                    Err(error) => break Some(Err(error)),
                },
                State::Reading(Form::Whole { frames, .. }) => break frames.next().map(Ok),
                State::Reading(Form::Stream(frames)) => break task::ready!(Pin::new(frames).poll_next(context)),
            }
        };
        Poll::Ready(result.map(|frame| match frame {
            Ok(frame) => {
                this.details.answered();
                Ok(frame)
            }
            Err(error) => {
                this.state = State::Ended;
                Err(this.details.judge(error))
            }
        }))
    }
}

/// Reads up to the first byte that is no white space, which decides what the body is: the reads, and whether it is a stream of events.
async fn first_bytes<E>(
    body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
    is_labelled: bool,
    memory: &MemoryBudget,
) -> Result<(Vec<Bytes>, bool), Error> {
    const FIELDS: [&[u8]; 5] = [b"data", b"event", b"id", b"retry", b":"];
    let mut reads = Vec::new();
    let mut start = Vec::new();
    // White space may come without end.
    let mut reservation = memory.nothing();
    while let Some(read) = body.next().await {
        let read = read.map_err(|_| broke())?;
        let fresh = if start.is_empty() { without_mark(&read) } else { &read[..] };
        start.extend_from_slice(&fresh[..fresh.len().min(16)]);
        reservation.resize(reservation.bytes() + read.len())?;
        if reservation.bytes() > MAX_WHOLE {
            return Err(unread(&GatherError::<E>::TooLong));
        }
        reads.push(read);
        let seen = without_mark(&start);
        match seen.first() {
            None => {}
            // The mark may be cut between two reads.
            Some(_) if mark::may_come(seen) => {}
            Some(b'{' | b'[' | b'<') => return Ok((reads, false)),
            Some(_) if is_labelled => return Ok((reads, true)),
            Some(_) => {
                let is_field = FIELDS.iter().any(|field| seen.starts_with(field));
                // A field's name may still be cut.
                if is_field || !FIELDS.iter().any(|field| field.starts_with(seen)) {
                    return Ok((reads, is_field));
                }
            }
        }
    }
    // An empty body is no stream, whatever its content type says.
    Ok((reads, false))
}

/// `start` from its first byte that is neither white space nor of a whole byte order mark.
fn without_mark(start: &[u8]) -> &[u8] {
    let start = start.trim_ascii_start();
    mark::without(start).trim_ascii_start()
}

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read<B>(response: Response<B>, limit: usize, memory: &MemoryBudget) -> Result<Gathered, Error>
where
    B: Body<Data = Bytes>,
{
    let body = response.into_body();
    let expected = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    gather(Box::pin(BodyDataStream::new(body)), expected, limit, memory).await.map_err(|error| unread(&error))
}

/// Reads the first `limit` bytes of a body, or fewer if the connection breaks before.
pub(crate) async fn read_start<B>(
    response: Response<B>,
    limit: usize,
    memory: &MemoryBudget,
) -> Result<Gathered, NoMemory>
where
    B: Body<Data = Bytes>,
{
    let start = BodyDataStream::new(response.into_body()).scan(limit, |left, read| {
        let read = read.ok().filter(|_| *left > 0).map(|read| read.slice(..read.len().min(*left)));
        *left -= read.as_ref().map_or(0, Bytes::len);
        ready(read.map(Ok::<_, Infallible>))
    });
    // Nothing else can fail: it is cut to its length, and ends where it breaks.
    gather(Box::pin(start), None, limit, memory).await.map_err(|_| NoMemory)
}

/// What it means that an answer could not be read. Where the router has no room for it, its upstream did nothing wrong.
fn unread<E>(error: &GatherError<E>) -> Error {
    match error {
        GatherError::TooLong => blame::protocol("the upstream's answer is too long"),
        GatherError::NoMemory(none) => (*none).into(),
        GatherError::Broken(_) => broke(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_byte_order_mark_may_be_cut_whatever_the_label() {
        for (text, is_stream) in [("\u{feff}data: x", true), ("\u{feff}\n\n: x", true), ("\u{feff} {}", false)] {
            for cut in 1..text.len() {
                let (start, rest) = text.as_bytes().split_at(cut);
                for is_labelled in [true, false] {
                    let mut body =
                        stream::iter([start, rest].map(|read| Ok::<_, Infallible>(Bytes::copy_from_slice(read))));
                    let (reads, found) =
                        first_bytes(&mut body, is_labelled, &MemoryBudget::default()).await.expect("reads");
                    assert_eq!(found, is_stream, "{text:?} cut at {cut}");
                    assert_eq!(reads.concat(), text.as_bytes()[..reads.concat().len()]);
                }
            }
        }
    }
}

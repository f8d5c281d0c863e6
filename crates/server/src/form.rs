//! The form in which a client is shown the answer to a chat: as it came, its text alone, or in the shape of another API.

use bytes::Bytes;
use dialects::{messages, responses};
use memchr::memmem;
use provider::{Frame, Malformed, RequestId};

use crate::{chunks, clock, error::ApiError};

/// The form of an answer that has not begun.
pub(crate) enum Form {
    /// As it came.
    OpenAi,
    /// The text alone: in `chunk` events, or with usage and cost.
    Chunks,
    /// In the shape of another API.
    Translated(Translation),
}

/// Another API, with what its answer has to know of the request.
pub(crate) enum Translation {
    /// Anthropic's Messages.
    Messages(Box<messages::Asked>),
    /// OpenAI's Responses.
    Responses(Box<responses::Asked>),
}

/// What an answer in another API's shape says of its request.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) request_id: RequestId,
    /// The tokens of the prompt as the router estimates them.
    pub(crate) prompt_tokens: u64,
}

impl Form {
    /// The same for a streamed answer.
    pub(crate) fn streamed(self, about: &About) -> StreamForm {
        match self {
            Self::OpenAi => StreamForm::OpenAi,
            Self::Chunks => StreamForm::Chunks,
            Self::Translated(Translation::Messages(asked)) => StreamForm::Messages(Box::new(messages::Stream::new(
                *asked,
                about.request_id.as_str(),
                about.prompt_tokens,
            ))),
            Self::Translated(Translation::Responses(asked)) => {
                StreamForm::Responses(Box::new(responses::Stream::new(*asked, about.request_id.as_str(), now_s())))
            }
        }
    }
}

impl Translation {
    /// A whole chat completion in the shape of this API.
    ///
    /// # Errors
    /// If it is not JSON.
    pub(crate) fn translate(&self, about: &About, completion: &str) -> Result<Vec<u8>, Malformed> {
        match self {
            Self::Messages(asked) => messages::whole(asked, about.request_id.as_str(), about.prompt_tokens, completion),
            Self::Responses(asked) => responses::whole(asked, about.request_id.as_str(), now_s(), completion),
        }
    }
}

/// Seconds since 1970.
fn now_s() -> u64 {
    clock::unix_millis() / 1000
}

/// The form of a streamed answer, with what it knows of the events so far. Most are chats: what others need is on the heap.
pub(crate) enum StreamForm {
    OpenAi,
    Chunks,
    Messages(Box<messages::Stream>),
    Responses(Box<responses::Stream>),
}

impl StreamForm {
    /// Adds what `frame` shows to what is written next.
    pub(crate) fn show(&mut self, frame: Frame, ready: &mut Ready) {
        match self {
            Self::OpenAi => ready.push(frame.bytes),
            Self::Chunks => ready.push(chunks::event(&frame)),
            Self::Messages(stream) => events(&frame.bytes).for_each(|event| stream.frame(event, ready.buffer())),
            Self::Responses(stream) => events(&frame.bytes).for_each(|event| stream.frame(event, ready.buffer())),
        }
    }

    /// Adds the event that ends the stream because of `error`.
    pub(crate) fn end(&mut self, error: &ApiError, request_id: &str, ready: &mut Ready) {
        match self {
            Self::OpenAi | Self::Chunks => ready.push(error.event(request_id)),
            Self::Messages(stream) => error.end_message(stream, request_id, ready.buffer()),
            Self::Responses(stream) => error.end_response(stream, ready.buffer()),
        }
    }

    /// What keeps a silent stream alive, once it `has_begun` or before.
    ///
    /// A comment is one line, and no blank one after it, which would end an event that has nothing but the id of the one
    /// before, and some SDKs hand that on. It stands between events, as every write is of whole ones.
    pub(crate) fn keep_alive(&self, has_begun: bool) -> Bytes {
        let event: &[u8] = match self {
            Self::Messages(stream) if has_begun => stream.ping(),
            Self::OpenAi | Self::Chunks | Self::Messages(_) | Self::Responses(_) => b": keep-alive\n",
        };
        Bytes::from_static(event)
    }
}

/// The events of a frame. Most have one; usage that came with a finish reason follows it in a second, and these have LF line ends.
fn events(frame: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = frame;
    std::iter::from_fn(move || {
        let end = memmem::find(rest, b"\n\n").map_or(rest.len(), |at| at + 2);
        let event;
        (event, rest) = rest.split_at(end);
        (!event.is_empty()).then_some(event)
    })
}

/// What is written next: one piece as it came, or several copied together.
#[derive(Default)]
pub(crate) struct Ready {
    first: Bytes,
    gathered: Vec<u8>,
}

impl Ready {
    /// Adds a piece; the first one is not copied.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if self.is_empty() {
            self.first = bytes;
        } else if !bytes.is_empty() {
            self.buffer().extend_from_slice(&bytes);
        }
    }

    /// All of it, to add to.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        let first = std::mem::take(&mut self.first);
        self.gathered.extend_from_slice(&first);
        &mut self.gathered
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// In bytes.
    pub(crate) fn len(&self) -> usize {
        self.first.len() + self.gathered.len()
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        if self.gathered.is_empty() { self.first } else { self.gathered.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_may_have_two_events() {
        let all = |frame: &'static str| {
            events(frame.as_bytes()).map(|event| str::from_utf8(event).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(all("data: 1\n\ndata: 2\n\n"), ["data: 1\n\n", "data: 2\n\n"]);
        assert_eq!(all("data: 1\r\n\r\n"), ["data: 1\r\n\r\n"]);
        assert_eq!(all("id: 1\ndata: {\ndata: }\n\n"), ["id: 1\ndata: {\ndata: }\n\n"]);
        assert!(all("").is_empty());
    }

    #[test]
    fn a_single_piece_is_not_copied() {
        let piece = Bytes::from_static(b"one");
        let mut ready = Ready::default();
        assert!(ready.is_empty());
        ready.push(Bytes::new());
        ready.push(piece.clone());
        ready.push(Bytes::new());
        assert_eq!(ready.into_bytes().as_ptr(), piece.as_ptr());
        let mut ready = Ready::default();
        ready.push(piece.clone());
        ready.push(piece);
        ready.buffer().extend_from_slice(b"!");
        assert_eq!((ready.len(), ready.into_bytes()), (7, Bytes::from_static(b"oneone!")));
    }
}

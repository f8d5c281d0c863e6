//! The form in which a client is shown the answer to a chat: as it came, its text alone, or in the shape of another API.

use bytes::Bytes;
use dialects::{Blocks, messages, responses};
use memchr::memmem;
use provider::{Error, ErrorKind, Frame, Malformed, MemoryBudget, RequestId, Reservation};

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
    /// The same for a streamed answer, which counts what it holds of it against `memory`.
    pub(crate) fn streamed(self, about: &About, memory: &MemoryBudget) -> StreamForm {
        let id = about.request_id.as_str();
        let events = match self {
            Self::OpenAi => return StreamForm::OpenAi,
            Self::Chunks => return StreamForm::Chunks,
            Self::Translated(Translation::Messages(asked)) => {
                Events::Messages(messages::Stream::new(*asked, id, about.prompt_tokens))
            }
            Self::Translated(Translation::Responses(asked)) => {
                Events::Responses(responses::Stream::new(*asked, id, now_s()))
            }
        };
        StreamForm::Translated(Box::new(TranslatedStream { events, held: memory.nothing() }))
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

    /// The bytes of memory that it takes for what it repeats of the request.
    pub(crate) fn held_bytes(&self) -> usize {
        match self {
            Self::Messages(_) => 0,
            Self::Responses(asked) => asked.held_bytes(),
        }
    }
}

/// Seconds since 1970.
fn now_s() -> u64 {
    clock::unix_millis() / 1000
}

/// The form of a streamed answer. Most are chats: what others need is on the heap.
pub(crate) enum StreamForm {
    OpenAi,
    Chunks,
    Translated(Box<TranslatedStream>),
}

/// A stream in the shape of another API, with what it knows of the events so far.
pub(crate) struct TranslatedStream {
    events: Events,
    /// The memory for what it holds.
    held: Reservation,
}

enum Events {
    Messages(messages::Stream),
    Responses(responses::Stream),
}

/// Memory for a translated stream is reserved in multiples of this, in bytes, so that few of its events change it.
const HELD_STEP: usize = 4 << 10;

impl StreamForm {
    /// Adds what `frame` shows to what is written next.
    ///
    /// # Errors
    /// If it cannot be shown in the form that was asked for, or there is no memory for what must be held of it. The stream must end
    /// then.
    pub(crate) fn show(&mut self, frame: Frame, ready: &mut Ready) -> Result<(), Error> {
        match self {
            Self::OpenAi => ready.push(frame.bytes),
            Self::Chunks => ready.push(chunks::event(&frame)),
            Self::Translated(stream) => return stream.show(&frame.bytes, ready.blocks()),
        }
        Ok(())
    }

    /// Adds the event that ends the stream because of `error`.
    pub(crate) fn end(&mut self, error: &ApiError, request_id: &str, ready: &mut Ready) {
        match self {
            Self::OpenAi | Self::Chunks => ready.push(error.event(request_id)),
            Self::Translated(stream) => match &mut stream.events {
                Events::Messages(stream) => error.end_message(stream, request_id, ready.blocks()),
                Events::Responses(stream) => error.end_response(stream, ready.blocks()),
            },
        }
    }

    /// What keeps a silent stream alive, once it `has_begun` or before.
    ///
    /// A comment is one line, and no blank one after it, which would end an event that has nothing but the id of the one
    /// before, and some SDKs hand that on. It stands between events, as every write is of whole ones. Clients of Responses count
    /// the time between events, and so get one.
    pub(crate) fn keep_alive(&mut self, has_begun: bool) -> Ready {
        let mut ready = Ready::default();
        match self {
            Self::Translated(stream) => match &mut stream.events {
                Events::Messages(stream) if has_begun => ready.push(Bytes::from_static(stream.ping())),
                Events::Messages(_) => {}
                Events::Responses(stream) => stream.keep_alive(ready.blocks()),
            },
            Self::OpenAi | Self::Chunks => {}
        }
        if ready.is_empty() {
            ready.push(Bytes::from_static(b": keep-alive\n"));
        }
        ready
    }
}

impl TranslatedStream {
    fn show(&mut self, frame: &[u8], out: &mut Blocks) -> Result<(), Error> {
        // About as much as comes goes out.
        out.reserve(frame.len());
        for event in events(frame) {
            let shown = match &mut self.events {
                Events::Messages(stream) => stream.frame(event, out),
                Events::Responses(stream) => stream.frame(event, out),
            };
            shown.map_err(|malformed| {
                Error::new(ErrorKind::Protocol, format!("the upstream's answer cannot be translated: {malformed}"))
            })?;
        }
        let held = match &self.events {
            Events::Messages(stream) => stream.held_bytes(),
            Events::Responses(stream) => stream.held_bytes(),
        };
        // What leaves now is bounded by a write and a frame, and no stream ends for lack of room for that. What was held until now
        // counts until it has left.
        let least = held.next_multiple_of(HELD_STEP);
        let most = (held + out.held_bytes()).next_multiple_of(HELD_STEP);
        let needed = self.held.bytes().clamp(least, most);
        if needed != self.held.bytes() {
            self.held.resize(needed)?;
        }
        Ok(())
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

/// What is written next: one piece as it came, or several in blocks.
#[derive(Default)]
pub(crate) struct Ready {
    /// Empty if there is anything in `more`.
    first: Bytes,
    more: Blocks,
}

impl Ready {
    /// Adds a piece; the first one is not copied.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if self.is_empty() {
            self.first = bytes;
        } else if !bytes.is_empty() {
            self.blocks().append(&bytes);
        }
    }

    /// All of it, to add to.
    pub(crate) fn blocks(&mut self) -> &mut Blocks {
        let first = std::mem::take(&mut self.first);
        self.more.append(&first);
        &mut self.more
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// In bytes.
    pub(crate) fn len(&self) -> usize {
        self.first.len() + self.more.len()
    }

    /// Takes off what goes into one write, of at most `most` bytes; `None` if nothing is left.
    pub(crate) fn next_write(&mut self, most: usize) -> Option<Bytes> {
        if self.is_empty() {
            return None;
        }
        if self.first.is_empty() {
            return Some(self.more.take(most));
        }
        Some(self.first.split_to(most.min(self.first.len())))
    }
}

#[cfg(test)]
mod tests {
    use provider::FrameKind;

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

    /// A stream for a client of Responses, whose request said nothing but this.
    fn responses(memory: &MemoryBudget) -> StreamForm {
        let asked = dialects::responses::to_chat(r#"{"model":"m","input":"x"}"#).expect("a chat").asked;
        let about = About { request_id: "r".into(), prompt_tokens: 1 };
        Form::Translated(Translation::Responses(Box::new(asked))).streamed(&about, memory)
    }

    fn messages(memory: &MemoryBudget) -> StreamForm {
        let asked = messages::Asked { model: "m".to_owned(), shows_thinking: false };
        let about = About { request_id: "r".into(), prompt_tokens: 1 };
        Form::Translated(Translation::Messages(Box::new(asked))).streamed(&about, memory)
    }

    fn frame(delta: &str) -> Frame {
        let bytes = format!("data: {{\"choices\":[{{\"delta\":{delta}}}]}}\n\n").into();
        Frame { bytes, kind: FrameKind::Content, usage: None }
    }

    fn text(mut ready: Ready) -> String {
        let writes = std::iter::from_fn(|| ready.next_write(64 << 10));
        writes.map(|write| String::from_utf8(write.to_vec()).expect("text")).collect()
    }

    #[test]
    fn what_a_stream_holds_is_counted_and_ends_it_where_there_is_no_room() {
        let long = "x".repeat(1_000);
        let said = format!("{{\"content\":\"{long}\"}}");
        // Of two calls that come in turns the second waits for the first.
        let waits = format!(
            "{{\"tool_calls\":[{{\"index\":1,\"id\":\"b\",\"function\":{{\"name\":\"f\",\"arguments\":\"{long}\"}}}}]}}"
        );
        let first = r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}]}"#;
        for (mut form, pieces, end) in [
            (responses as fn(&MemoryBudget) -> StreamForm, [&said, &said], "event: response.failed\n"),
            (messages, [&first.to_owned(), &waits], "event: error\n"),
        ]
        .map(|(form, pieces, end)| (form(&MemoryBudget::new(64 << 10)), pieces, end))
        {
            let StreamForm::Translated(stream) = &form else { panic!("a translation") };
            let budget = stream.held.budget().clone();
            form.show(frame(pieces[0]), &mut Ready::default()).expect("room");
            let shown = (0..200).find_map(|_| {
                form.show(frame(pieces[1]), &mut Ready::default()).err().map(|error| (error, budget.used()))
            });
            let (error, used) = shown.expect("no room in the end");
            assert!(error.kind == ErrorKind::NoMemory && used > 32 << 10, "{error}: {used}");
            let mut ready = Ready::default();
            form.end(&ApiError::broken(&error), "r", &mut ready);
            assert!(text(ready).contains(end));
            drop(form);
            assert_eq!(budget.used(), 0, "all is given back");
        }
    }

    #[test]
    fn what_leaves_at_once_needs_no_room_and_what_was_held_counts_until_it_has_left() {
        let memory = MemoryBudget::new(64 << 10);
        let mut form = messages(&memory);
        let bodies = memory.reserve(memory.limit()).expect("room");
        form.show(frame(r#"{"content":"Hi"}"#), &mut Ready::default()).expect("a text needs no room");
        drop(bodies);
        let held = "x".repeat(20_000);
        let call = |at: u32, arguments: &str| {
            let function = format!("{{\"name\":\"f\",\"arguments\":\"{arguments}\"}}");
            frame(&format!("{{\"tool_calls\":[{{\"index\":{at},\"id\":\"{at}\",\"function\":{function}}}]}}"))
        };
        for piece in [call(0, "{"), call(1, &held)] {
            form.show(piece, &mut Ready::default()).expect("room");
        }
        assert!(memory.used() > held.len());
        let mut ready = Ready::default();
        form.show(call(0, "}"), &mut ready).expect("room");
        assert!(text(ready).contains(&held) && memory.used() > held.len(), "it waits to be written");
        form.show(call(1, "x"), &mut Ready::default()).expect("room");
        assert!(memory.used() < held.len(), "{} are still held", memory.used());
    }

    #[test]
    fn what_cannot_be_read_breaks_a_translated_stream() {
        let deep = format!("{{\"content\":\"a\",\"x\":{}{}}}", "[".repeat(200), "]".repeat(200));
        for mut form in [responses(&MemoryBudget::default()), messages(&MemoryBudget::default())] {
            let error = form.show(frame(&deep), &mut Ready::default()).expect_err("too deep");
            assert_eq!(error.kind, ErrorKind::Protocol, "{error}");
        }
        StreamForm::OpenAi.show(frame(&deep), &mut Ready::default()).expect("a chat is relayed as it comes");
    }

    #[test]
    fn a_silent_stream_says_what_its_clients_count() {
        let memory = MemoryBudget::default();
        assert_eq!(text(StreamForm::OpenAi.keep_alive(true)), ": keep-alive\n");
        assert_eq!(text(messages(&memory).keep_alive(false)), ": keep-alive\n", "nothing comes before the start");
        assert!(text(messages(&memory).keep_alive(true)).starts_with("event: ping\n"));
        assert!(text(responses(&memory).keep_alive(false)).starts_with("event: response.created\n"));
    }

    #[test]
    fn a_single_piece_is_not_copied() {
        let piece = Bytes::from_static(b"one");
        let mut ready = Ready::default();
        assert!(ready.is_empty());
        ready.push(Bytes::new());
        ready.push(piece.clone());
        ready.push(Bytes::new());
        assert_eq!(ready.next_write(9).map(|write| write.as_ptr()), Some(piece.as_ptr()));
        assert_eq!(ready.next_write(9), None);
        let mut ready = Ready::default();
        ready.push(piece.clone());
        ready.push(piece);
        ready.blocks().append(b"!");
        assert_eq!(ready.len(), 7);
        let writes: Vec<_> = std::iter::from_fn(|| ready.next_write(4)).collect();
        assert_eq!(writes, ["oneo", "ne!"]);
    }
}

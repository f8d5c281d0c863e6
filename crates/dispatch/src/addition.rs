//! A member that the router adds to an answer: to a whole one, to the event that finishes a stream, or, where no event can
//! take it, in an event of its own before the end.

use bytes::Bytes;
use provider::{Frame, FrameKind, Object, Rewrite};

/// What ends an event of a stream.
const EVENT_ENDS: [&[u8]; 3] = [b"\n\n", b"\r\n\r\n", b"\r\r"];

/// A member for a stream, which is added once.
pub(crate) struct Addition {
    key: &'static str,
    json: String,
    /// The latest event with content.
    latest: Bytes,
}

impl Addition {
    pub(crate) fn new(key: &'static str, json: String) -> Self {
        Self { key, json, latest: Bytes::new() }
    }

    /// Keeps `frame` as the pattern of an event of its own.
    pub(crate) fn follows(&mut self, frame: &Frame) {
        if frame.kind == FrameKind::Content {
            self.latest = frame.bytes.clone();
        }
    }

    /// The bytes of a frame with the member in the first of its events; `None` if that is no object.
    pub(crate) fn within(&self, bytes: &[u8]) -> Option<Bytes> {
        let (event, rest) = bytes.split_at(end_of_event(bytes));
        let event = with_member(event, self.key, &self.json)?;
        Some([&event, rest].concat().into())
    }

    /// An event of its own: a chunk without choices, like those before it.
    pub(crate) fn event(&self) -> Frame {
        let chunk = object(&self.latest[..end_of_event(&self.latest)]).map_or_else(
            || format!(r#"{{"object":"chat.completion.chunk","choices":[],"{}":{}}}"#, self.key, self.json).into(),
            |(_, text, object)| {
                let mut rewrite = Rewrite::new(text.as_bytes(), &object);
                rewrite.set("choices", "[]").remove("usage").set(self.key, self.json.as_str());
                rewrite.finish()
            },
        );
        Frame { bytes: [b"data: ", &*chunk, b"\n\n"].concat().into(), kind: FrameKind::Opening, usage: None }
    }
}

/// An event, or a whole answer, with a further member in its object; `None` if there is no object.
pub(crate) fn with_member(bytes: &[u8], key: &str, json: &str) -> Option<Bytes> {
    let (start, text, object) = object(bytes)?;
    let mut rewrite = Rewrite::new(text.as_bytes(), &object);
    rewrite.set(key, json);
    Some([&bytes[..start], &rewrite.finish(), &bytes[start + text.len()..]].concat().into())
}

/// Where the object in an event, or a whole answer, begins, its text, and the object.
fn object(bytes: &[u8]) -> Option<(usize, &str, Object)> {
    let text = str::from_utf8(bytes).ok()?;
    let start = text.find('{')?;
    let text = &text[start..=text.rfind('}')?];
    Some((start, text, Object::parse(text).ok()?))
}

fn end_of_event(bytes: &[u8]) -> usize {
    let end = |end: &[u8]| bytes.windows(end.len()).position(|at| at == end).map(|at| at + end.len());
    EVENT_ENDS.into_iter().filter_map(end).min().unwrap_or(bytes.len())
}

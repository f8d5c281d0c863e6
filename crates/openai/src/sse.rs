//! Bytes to server-sent events: bounded, and without a copy wherever an event lies within one read.
//!
//! Any split of a byte stream yields the same events. An event is relayed as the bytes that it came in; its data is only
//! looked at. Line ends may be LF, CRLF or CR, mixed. A CR at the end of a read waits for the next byte, since only that
//! shows whether an LF belongs to it.

use bytes::{Bytes, BytesMut};

use crate::{mark, template::Template};

/// One event as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// All its bytes, closing blank line included.
    pub raw: Bytes,
    /// The payload of its `data` lines, joined by LF; `None` for comments and events without data.
    pub data: Option<Bytes>,
    /// Whether it is called `error`.
    pub is_named_error: bool,
}

impl Event {
    fn new(raw: Bytes) -> Self {
        let raw = without_later_mark(raw);
        let (data, is_named_error) = fields(&raw);
        Self { raw, data, is_named_error }
    }

    /// Where the data stands in `raw`, if it is that of one line.
    pub(crate) fn data_start(&self) -> Option<usize> {
        let data = self.data.as_ref()?.as_ptr();
        self.raw.as_ptr_range().contains(&data).then(|| data.addr() - self.raw.as_ptr().addr())
    }
}

/// An event grew beyond the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is longer than {limit} bytes")]
pub struct TooLong {
    /// The limit in bytes.
    pub limit: usize,
}

/// Splits a byte stream into events.
#[derive(Debug)]
pub struct Splitter {
    /// Bytes of events that are not complete yet.
    pending: Bytes,
    /// Where the search for a line end goes on within `pending`.
    searched: usize,
    /// Where the current line starts within `pending`.
    line: usize,
    started: bool,
    limit: usize,
}

impl Splitter {
    /// A splitter that refuses events longer than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { pending: Bytes::new(), searched: 0, line: 0, started: false, limit }
    }

    /// Takes a read in. Call [`Self::next_event`] until it is empty before the next read.
    pub fn push(&mut self, read: Bytes) -> Result<(), TooLong> {
        if self.pending.is_empty() {
            self.pending = read;
            return Ok(());
        }
        if self.pending.len() + read.len() > self.limit {
            return Err(TooLong { limit: self.limit });
        }
        // An unshared buffer is extended in place, so that an event that comes in many small reads is not copied each time.
        let mut joined = BytesMut::from(std::mem::take(&mut self.pending));
        joined.extend_from_slice(&read);
        self.pending = joined.freeze();
        Ok(())
    }

    /// The next complete event.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            self.skip_byte_order_mark()?;
            let end = self.event_end()?;
            let raw = self.pending.split_to(end);
            (self.searched, self.line) = (0, 0);
            if !is_blank(&raw) {
                return Some(Event::new(raw));
            }
        }
    }

    /// The bytes of the next event, if all of it is there and it is `template` with another text.
    pub(crate) fn next_like(&mut self, template: &Template) -> Option<Bytes> {
        // An event that comes in many reads is compared once.
        if self.searched > 0 {
            return None;
        }
        template.matches(&self.pending).map(|length| self.pending.split_to(length))
    }

    /// The bytes of events that are not complete yet.
    pub fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// What is left at the end of the stream, as an event; empty if the stream ended cleanly.
    pub fn finish(&mut self) -> Option<Event> {
        let rest = std::mem::take(&mut self.pending);
        if is_blank(&rest) {
            return None;
        }
        let mut raw = BytesMut::from(rest);
        raw.extend_from_slice(b"\n\n");
        Some(Event::new(raw.freeze()))
    }

    /// Returns `None` while it is not known yet whether the stream starts with a byte order mark.
    fn skip_byte_order_mark(&mut self) -> Option<()> {
        if self.started {
            return Some(());
        }
        if mark::may_come(&self.pending) {
            return None;
        }
        self.pending = self.pending.slice_ref(mark::without(&self.pending));
        self.started = true;
        Some(())
    }

    /// Where the first event of `pending` ends, blank line included.
    fn event_end(&mut self) -> Option<usize> {
        while let Some(offset) = memchr::memchr2(b'\n', b'\r', &self.pending[self.searched..]) {
            let at = self.searched + offset;
            let next = match (self.pending[at], self.pending.get(at + 1)) {
                (b'\r', None) => {
                    self.searched = at;
                    return None;
                }
                (b'\r', Some(b'\n')) => at + 2,
                _ => at + 1,
            };
            let line = std::mem::replace(&mut self.line, next);
            self.searched = next;
            if at == line {
                return Some(next);
            }
        }
        self.searched = self.pending.len();
        None
    }
}

/// A byte order mark is skipped at the beginning of a stream, and belongs to the name of an unknown field anywhere else. What comes
/// before an event may not be relayed, so that it stands first for the client: its line becomes a comment, which says as little.
fn without_later_mark(raw: Bytes) -> Bytes {
    match raw.strip_prefix(mark::MARK) {
        Some(rest) => [b":", rest].concat().into(),
        None => raw,
    }
}

fn is_blank(raw: &[u8]) -> bool {
    raw.iter().all(|byte| matches!(byte, b'\n' | b'\r'))
}

/// The payload of the `data` lines of an event, and whether it is called `error`.
fn fields(raw: &Bytes) -> (Option<Bytes>, bool) {
    let mut single: Option<Bytes> = None;
    let mut joined: Option<BytesMut> = None;
    let mut is_named_error = false;
    let mut start = 0;
    while start < raw.len() {
        let end = memchr::memchr2(b'\n', b'\r', &raw[start..]).map_or(raw.len(), |offset| start + offset);
        let line = &raw[start..end];
        start = end + 1;
        let Some(value) = value_of(line, b"data") else {
            is_named_error |= value_of(line, b"event") == Some(b"error");
            continue;
        };
        let Some(first) = &single else {
            single = Some(raw.slice_ref(value));
            continue;
        };
        let joined = joined.get_or_insert_with(|| BytesMut::from(&first[..]));
        joined.extend_from_slice(b"\n");
        joined.extend_from_slice(value);
    }
    (joined.map(BytesMut::freeze).or(single), is_named_error)
}

/// The value of a line that is the field `name`.
pub(crate) fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    match line.strip_prefix(name)? {
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        [] => Some(&[]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(reads: &[&[u8]]) -> Vec<Event> {
        let mut splitter = Splitter::new(1 << 20);
        let mut events = Vec::new();
        for read in reads {
            splitter.push(Bytes::copy_from_slice(read)).expect("within the limit");
            while let Some(event) = splitter.next_event() {
                events.push(event);
            }
        }
        events.extend(splitter.finish());
        events
    }

    fn datas(text: &str) -> Vec<Option<String>> {
        let text_of = |data: Bytes| String::from_utf8(data.to_vec()).expect("text");
        split(&[text.as_bytes()]).into_iter().map(|event| event.data.map(text_of)).collect()
    }

    #[test]
    fn events_end_at_blank_lines_of_any_kind() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            datas("data: a\n\ndata:b\r\n\r\ndata:  c\r\rdata: d\n\r\n"),
            [some("a"), some("b"), some(" c"), some("d")]
        );
        assert_eq!(datas("\n\n: ping\n\nevent: x\ndata: 1\ndata: 2\n\n"), [None, some("1\n2")]);
        assert_eq!(datas("\u{feff}data: a\n\n"), [some("a")]);
        let later = split(&["data: a\n\n\u{feff}data: b\n\n".as_bytes()]);
        assert_eq!((&later[1].raw[..], &later[1].data), (&b":data: b\n\n"[..], &None));
        assert_eq!(datas("data\n\ndatax: 1\n\n"), [some(""), None]);
        assert_eq!(datas("data: unfinished"), [some("unfinished")]);
    }

    #[test]
    fn an_event_within_one_read_is_not_copied() {
        let read = Bytes::from_static(b"data: a\n\ndata: b\n\n");
        let mut splitter = Splitter::new(64);
        splitter.push(read.clone()).expect("short");
        let event = splitter.next_event().expect("an event");
        assert_eq!(event.raw.as_ptr(), read.as_ptr());
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut splitter = Splitter::new(64);
        let pushed = (0..100).try_for_each(|_| {
            splitter.push(Bytes::from_static(b"data: x"))?;
            assert_eq!(splitter.next_event(), None);
            Ok(())
        });
        assert_eq!(pushed, Err(TooLong { limit: 64 }));
    }

    proptest! {
        #[test]
        fn any_split_yields_the_same_events(
            text in "((data: ?[aé€\u{1f600}]{0,5}|: c|event: e|\u{feff}|x)(\n|\r|\r\n){1,3}){0,8}(data: end)?",
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let reads: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(split(&reads), split(&[bytes]));
        }
    }
}

//! Events that differ from an earlier one of their stream in one text alone, as most do: they are not read as JSON again.

use std::ops::Range;

use memchr::memchr2;

/// Most bytes of an event beside its text: what is compared with every event is short.
const MAX_BYTES: usize = 1024;

/// An event of content without its text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Template {
    /// What stands before the text and after it, quotes included.
    around: Box<[u8]>,
    /// Where the text stood in that.
    at: usize,
}

impl Template {
    /// Takes `text` out of `event`, a string of JSON without its quotes.
    ///
    /// `None` if the rest is long, or if what follows the event decides where it ended: a CR may have an LF behind it.
    pub(crate) fn new(event: &[u8], text: Range<usize>) -> Option<Self> {
        let is_short = event.len() - text.len() <= MAX_BYTES;
        let around = || [&event[..text.start], &event[text.end..]].concat().into();
        (is_short && event.ends_with(b"\n")).then(|| Self { around: around(), at: text.start })
    }

    /// The length of the event at the start of `pending`, if it is this one with another text.
    ///
    /// `None` if it is not, or not certainly: a text that is empty or has escapes is left to the reader of JSON.
    pub(crate) fn matches(&self, pending: &[u8]) -> Option<usize> {
        let (before, after) = self.around.split_at(self.at);
        let rest = pending.strip_prefix(before)?;
        let (text, rest) = rest.split_at(memchr2(b'"', b'\\', rest)?);
        let is_plain = !text.is_empty() && text.iter().all(|byte| *byte >= b' ') && str::from_utf8(text).is_ok();
        (is_plain && rest.starts_with(after)).then(|| before.len() + text.len() + after.len())
    }
}

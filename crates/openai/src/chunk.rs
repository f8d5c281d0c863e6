//! Reads one event of a stream, and rewrites it only where usage, a finish reason or reasoning has to change.

use bytes::{BufMut, Bytes, BytesMut};
use provider::{Error, Frame, FrameKind, Object, ReasoningField, Rewrite};

use crate::{Event, blame::protocol, classify::Dialect, peek::Peek, sse::value_of};

/// How usage reaches the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UsageFor {
    /// Not at all: the client did not ask for it.
    Hidden,
    /// In a chunk of its own, as OpenAI sends it.
    Client,
    /// As it comes: the upstream sends it with every chunk, and once more at the end.
    EveryChunk,
}

/// An event that was looked at.
#[derive(Debug)]
pub(crate) struct Read {
    /// What is relayed. Its kind is as if every choice that ends were the last.
    pub(crate) frame: Frame,
    /// What was seen in it.
    pub(crate) peek: Peek,
}

/// Reads an event and writes its usage and its reasoning as the client is to have them.
pub(crate) fn read(
    event: Event,
    (usage_for, reasoning): (UsageFor, ReasoningField),
    dialect: &dyn Dialect,
) -> Result<Read, Error> {
    let Some(data) = &event.data else { return no_data(&event.raw, dialect) };
    let trimmed = data.trim_ascii();
    if trimmed.is_empty() {
        return Ok(silent());
    }
    if trimmed == b"[DONE]" {
        // Clients compare the data to the letter.
        let raw = if data.len() == trimmed.len() { event.raw } else { Frame::done().bytes };
        return Ok(plain(Frame { bytes: raw, kind: FrameKind::Done, usage: None }));
    }
    let text = str::from_utf8(data).map_err(|_| protocol("an event of the stream is not valid UTF-8"))?;
    let mut peek = Peek::at_event(text, dialect).map_err(|_| protocol("an event of the stream is not valid JSON"))?;
    if peek.is_error || event.is_named_error {
        return Err(dialect.in_band(data, None));
    }
    peek.keep_reasoning(reasoning);
    let kind = kind(&peek);
    let bytes = match (peek.has_usage, usage_for) {
        (true, UsageFor::Hidden) if kind == FrameKind::Usage => Bytes::new(),
        (true, UsageFor::Hidden) => rewritten(&event.raw, text, &peek, Usage::Left).unwrap_or(event.raw),
        (true, UsageFor::Client) if !peek.ended.is_empty() => {
            rewritten(&event.raw, text, &peek, Usage::Apart).unwrap_or(event.raw)
        }
        _ if peek.is_changed() => rewritten(&event.raw, text, &peek, Usage::Kept).unwrap_or(event.raw),
        _ => event.raw,
    };
    let frame = Frame { bytes, kind, usage: peek.usage };
    Ok(Read { frame, peek })
}

fn kind(peek: &Peek) -> FrameKind {
    if !peek.ended.is_empty() {
        FrameKind::Finish
    } else if peek.has_content {
        FrameKind::Content
    } else if peek.choices.is_none_or(|count| count == 0) && peek.has_usage {
        FrameKind::Usage
    } else {
        FrameKind::Opening
    }
}

fn plain(frame: Frame) -> Read {
    Read { frame, peek: Peek::default() }
}

/// A frame that shows that the upstream is alive, without bytes for the client.
fn silent() -> Read {
    plain(Frame { bytes: Bytes::new(), kind: FrameKind::Opening, usage: None })
}

/// An event without data: a comment, fields that clients pass over, or an error that was written as if there were no stream.
fn no_data(raw: &Bytes, dialect: &dyn Dialect) -> Result<Read, Error> {
    let body = raw.trim_ascii();
    let is_error = body.starts_with(b"{")
        && str::from_utf8(body).is_ok_and(|text| Peek::at(text, dialect).is_ok_and(|peek| peek.is_error));
    if is_error { Err(dialect.in_band(body, None)) } else { Ok(silent()) }
}

/// What is done with an event's usage.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Usage {
    Kept,
    Left,
    /// It follows in an event of its own.
    Apart,
}

/// The event with its finish reasons in OpenAI's words, and its usage and reasoning where they belong; `None` if the text is no object.
fn rewritten(raw: &Bytes, text: &str, peek: &Peek, usage: Usage) -> Option<Bytes> {
    let object = Object::of_answer(text).ok()?;
    let mut rewrite = Rewrite::new(text.as_bytes(), &object);
    peek.write(text, &mut rewrite);
    if usage != Usage::Kept {
        rewrite.remove("usage");
    }
    let mut datas = vec![rewrite.finish()];
    if usage == Usage::Apart {
        let mut rewrite = Rewrite::new(text.as_bytes(), &object);
        rewrite.set("choices", "[]");
        datas.push(rewrite.finish());
    }
    // An event may be large: its new text takes no more room than it needs. Each line of data may get a blank that it lacked.
    let lines = |data: &Bytes| memchr::memchr_iter(b'\n', data).count() + 1;
    let data_bytes: usize = datas.iter().map(|data| data.len() + lines(data) * (DATA.len() + 1)).sum();
    let mut out = BytesMut::with_capacity(raw.len().saturating_sub(text.len()) + data_bytes + 2);
    let mut around = &raw[..];
    for data in datas {
        with_data(around, &data, &mut out);
        around = b"data:\n\n";
    }
    Some(out.freeze())
}

/// What a line of data starts with.
const DATA: &[u8] = b"data: ";

/// The event `raw` with `json` for its data; its other lines stay. JSON of several lines takes several lines.
fn with_data(raw: &[u8], json: &[u8], out: &mut BytesMut) {
    let mut is_written = false;
    for line in raw.split(|byte| matches!(byte, b'\n' | b'\r')).filter(|line| !line.is_empty()) {
        if value_of(line, b"data").is_none() {
            out.put_slice(line);
            out.put_slice(b"\n");
        } else if !std::mem::replace(&mut is_written, true) {
            for line in json.split(|byte| *byte == b'\n') {
                out.put_slice(DATA);
                out.put_slice(line);
                out.put_slice(b"\n");
            }
        }
    }
    out.put_slice(b"\n");
}

#[cfg(test)]
mod tests;

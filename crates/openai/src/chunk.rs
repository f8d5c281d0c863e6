//! What one event of a stream means, read with a thin peek; and the few bytes that usage costs us in it.

use std::{borrow::Cow, fmt};

use bytes::{BufMut, Bytes, BytesMut};
use provider::{Error, ErrorKind, Frame, FrameKind, Object, Rewrite, Usage};
use serde::{
    Deserialize,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::{Event, classify::Dialect};

/// How usage reaches the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UsageFor {
    /// Not at all: the client did not ask.
    Nobody,
    /// In a chunk of its own, as OpenAI sends it.
    Client,
    /// As it comes: the upstream sends it with every chunk, and once more at the end.
    EveryChunk,
}

/// Reads an event and writes its usage as `usage_for` has it.
pub(crate) fn frame(event: Event, usage_for: UsageFor, dialect: &dyn Dialect) -> Result<Frame, Error> {
    let Some(data) = event.data else { return no_data(&event.raw, dialect) };
    if data.is_empty() {
        return Ok(silent());
    }
    if &data[..] == b"[DONE]" {
        return Ok(Frame { bytes: event.raw, kind: FrameKind::Done, usage: None });
    }
    let text = std::str::from_utf8(&data).map_err(|_| protocol("an event of the stream is not valid UTF-8"))?;
    let chunk: Chunk = serde_json::from_str(text).map_err(|_| protocol("an event of the stream is not valid JSON"))?;
    if chunk.is_error() {
        return Err(dialect.in_band(&data));
    }
    let kind = if chunk.choices.finished {
        FrameKind::Finish
    } else if chunk.choices.has_content {
        FrameKind::Content
    } else if chunk.choices.count.is_none_or(|count| count == 0) && chunk.usage.is_some() {
        FrameKind::Usage
    } else {
        FrameKind::Opening
    };
    let bytes = match (chunk.usage, usage_for, kind) {
        (Some(_), UsageFor::Nobody, FrameKind::Usage) => Bytes::new(),
        (Some(_), UsageFor::Nobody, _) => without_usage(text)?,
        (Some(_), UsageFor::Client, FrameKind::Finish) => usage_apart(text)?,
        (Some(_) | None, _, _) => event.raw,
    };
    Ok(Frame { bytes, kind, usage: chunk.usage })
}

/// A sign of life without anything for the client.
fn silent() -> Frame {
    Frame { bytes: Bytes::new(), kind: FrameKind::Opening, usage: None }
}

/// An event without data: a comment, or a JSON body where a stream was promised.
fn no_data(raw: &Bytes, dialect: &dyn Dialect) -> Result<Frame, Error> {
    if raw.trim_ascii_start().starts_with(b"{") {
        return Err(dialect.in_band(raw));
    }
    Ok(silent())
}

fn protocol(message: &str) -> Error {
    Error::new(ErrorKind::Protocol, message)
}

fn object(text: &str) -> Result<Object, Error> {
    Object::parse(text).map_err(|_| protocol("an event of the stream is not a JSON object"))
}

/// JSON that came in several `data` lines goes out in several.
fn as_event(json: &[u8], out: &mut BytesMut) {
    for line in json.split(|byte| *byte == b'\n') {
        out.put_slice(b"data: ");
        out.put_slice(line);
        out.put_slice(b"\n");
    }
    out.put_slice(b"\n");
}

/// The chunk without its usage.
fn without_usage(text: &str) -> Result<Bytes, Error> {
    let object = object(text)?;
    let mut rewrite = Rewrite::new(text.as_bytes(), &object);
    rewrite.remove("usage");
    let mut out = BytesMut::with_capacity(text.len() + 8);
    as_event(&rewrite.finish(), &mut out);
    Ok(out.freeze())
}

/// The chunk without its usage, then the usage in a chunk of its own, as OpenAI sends it.
fn usage_apart(text: &str) -> Result<Bytes, Error> {
    let object = object(text)?;
    let mut rewrite = Rewrite::new(text.as_bytes(), &object);
    rewrite.remove("usage");
    let mut out = BytesMut::with_capacity(text.len() * 2);
    as_event(&rewrite.finish(), &mut out);
    let mut rewrite = Rewrite::new(text.as_bytes(), &object);
    rewrite.set("choices", "[]");
    as_event(&rewrite.finish(), &mut out);
    Ok(out.freeze())
}

/// The part of a chunk that is looked at.
#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    error: Option<IgnoredAny>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    choices: Choices,
}

impl Chunk {
    fn is_error(&self) -> bool {
        self.error.is_some() || self.choices.failed || (self.choices.count.is_none() && self.usage.is_none())
    }
}

/// All choices of a chunk taken together.
#[derive(Default)]
struct Choices {
    /// `None` if the chunk has no `choices` at all.
    count: Option<usize>,
    has_content: bool,
    finished: bool,
    failed: bool,
}

impl<'de> Deserialize<'de> for Choices {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ChoicesVisitor)
    }
}

struct ChoicesVisitor;

impl<'de> Visitor<'de> for ChoicesVisitor {
    type Value = Choices;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of choices")
    }

    fn visit_unit<E>(self) -> Result<Choices, E> {
        Ok(Choices::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Choices, A::Error> {
        let mut choices = Choices { count: Some(0), ..Choices::default() };
        while let Some(choice) = seq.next_element::<Choice<'de>>()? {
            choices.count = choices.count.map(|count| count + 1);
            choices.has_content |= choice.delta.0 || choice.text.is_some_and(|text| !text.is_empty());
            if let Some(reason) = choice.finish_reason {
                choices.finished = true;
                choices.failed |= reason == "error";
            }
        }
        Ok(choices)
    }
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    delta: Delta,
    #[serde(default, borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

/// Whether a delta holds anything but a role: content, reasoning, a tool call, whatever comes next.
#[derive(Default)]
struct Delta(bool);

impl<'de> Deserialize<'de> for Delta {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DeltaVisitor)
    }
}

struct DeltaVisitor;

impl<'de> Visitor<'de> for DeltaVisitor {
    type Value = Delta;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a delta")
    }

    fn visit_unit<E>(self) -> Result<Delta, E> {
        Ok(Delta(false))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Delta, A::Error> {
        let mut has_content = false;
        while let Some(key) = map.next_key::<Key>()? {
            let filled = map.next_value::<Filled>()?.0;
            has_content |= filled && !key.is_role;
        }
        Ok(Delta(has_content))
    }
}

struct Key {
    is_role: bool,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E>(self, key: &str) -> Result<Key, E> {
                Ok(Key { is_role: key == "role" })
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// Whether a value is neither null nor empty.
struct Filled(bool);

impl<'de> Deserialize<'de> for Filled {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FilledVisitor;
        impl<'de> Visitor<'de> for FilledVisitor {
            type Value = Filled;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<Filled, E> {
                Ok(Filled(false))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Filled, E> {
                Ok(Filled(true))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Filled, E> {
                Ok(Filled(true))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Filled, E> {
                Ok(Filled(true))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Filled, E> {
                Ok(Filled(true))
            }

            fn visit_str<E>(self, text: &str) -> Result<Filled, E> {
                Ok(Filled(!text.is_empty()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Filled, A::Error> {
                let mut filled = false;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    filled = true;
                }
                Ok(Filled(filled))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Filled, A::Error> {
                let mut filled = false;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    filled = true;
                }
                Ok(Filled(filled))
            }
        }
        deserializer.deserialize_any(FilledVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OpenAiDialect, Splitter};

    fn read(text: &str, wants_usage: bool) -> Result<Frame, Error> {
        let mut splitter = Splitter::new(1 << 20);
        splitter.push(Bytes::from(format!("{text}\n\n"))).expect("short");
        let usage_for = if wants_usage { UsageFor::Client } else { UsageFor::Nobody };
        frame(splitter.next_event().expect("an event"), usage_for, &OpenAiDialect)
    }

    fn kind(text: &str) -> FrameKind {
        read(text, true).expect("a frame").kind
    }

    #[test]
    fn only_real_content_commits() {
        let delta =
            |delta: &str| kind(&format!(r#"data: {{"choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#));
        assert_eq!(delta(r#"{"role":"assistant","content":""}"#), FrameKind::Opening);
        assert_eq!(delta(r#"{"role":"assistant","content":null,"tool_calls":[]}"#), FrameKind::Opening);
        assert_eq!(delta(r#"{"content":"a"}"#), FrameKind::Content);
        assert_eq!(delta(r#"{"reasoning":"hm"}"#), FrameKind::Content);
        assert_eq!(delta(r#"{"tool_calls":[{"index":0}]}"#), FrameKind::Content);
        assert_eq!(kind(r#"data: {"choices":[{"text":"x"}]}"#), FrameKind::Content);
        assert_eq!(kind(r#"data: {"choices":[{"delta":{},"finish_reason":"stop"}]}"#), FrameKind::Finish);
        assert_eq!(kind("data: [DONE]"), FrameKind::Done);
        assert_eq!(kind(": keep-alive"), FrameKind::Opening);
    }

    #[test]
    fn usage_is_hidden_from_a_client_that_did_not_ask() {
        let alone = r#"data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
        for alone in [alone, &alone.replace("\"choices\":[],", "")] {
            let frame = read(alone, false).expect("a frame");
            assert_eq!((frame.bytes.len(), frame.kind), (0, FrameKind::Usage));
            assert_eq!(frame.usage.map(|usage| usage.total()), Some(5));
        }
        let riding = r#"data: {"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":3},"id":"c"}"#;
        let frame = read(riding, false).expect("a frame");
        assert_eq!(
            &frame.bytes[..],
            b"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"id\":\"c\"}\n\n"
        );
    }

    #[test]
    fn a_chunk_of_several_lines_stays_one_event() {
        let frame = read("data: {\"choices\":[\ndata: {\"delta\":{}}],\"usage\":{},\ndata: \"id\":1}", false);
        assert_eq!(
            std::str::from_utf8(&frame.expect("a frame").bytes),
            Ok("data: {\"choices\":[\ndata: {\"delta\":{}}],\"id\":1}\n\n")
        );
    }

    #[test]
    fn usage_that_rides_on_the_finish_gets_a_chunk_of_its_own() {
        let riding = r#"data: {"id":"c","choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":3}}"#;
        let frame = read(riding, true).expect("a frame");
        let expected = concat!(
            r#"data: {"id":"c","choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            "\n\n",
            r#"data: {"id":"c","choices":[],"usage":{"prompt_tokens":3}}"#,
            "\n\n"
        );
        assert_eq!(std::str::from_utf8(&frame.bytes), Ok(expected));
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        for text in [
            "data: nonsense",
            "data: [1]",
            r#"data: {"error":{"message":"m"}}"#,
            r#"data: {"message":"flat"}"#,
            "{\"status\":\"FAILED\"}",
        ] {
            assert!(read(text, true).is_err(), "{text}");
        }
        assert!(read(r#"data: {"choices":[{"delta":{},"finish_reason":"error"}]}"#, true).is_err());
    }
}

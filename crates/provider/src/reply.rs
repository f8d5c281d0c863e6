//! A reply is a head and a stream of frames; a whole answer is a stream of one frame.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;

use crate::{Error, Malformed, Quota, Reader, UpstreamIds, Value};

/// Tokens as the upstream counted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the answer, reasoning included.
    pub completion_tokens: u64,
    /// Prompt tokens that came from a cache, if the upstream says. They are part of `prompt_tokens`.
    pub cached_tokens: Option<u64>,
    /// Tokens of reasoning, if the upstream says. They are part of `completion_tokens`.
    pub reasoning_tokens: Option<u64>,
    /// The length of the recording in milliseconds, if the upstream says.
    pub audio_ms: Option<u64>,
}

impl Usage {
    /// Prompt and answer together.
    pub fn total(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }
}

impl Usage {
    /// Reads a `usage` object. `None` if the tokens of the prompt are not one plain count, or those of the answer, where they
    /// are given, are not: null, a float, a text, a negative number and a member that appears twice are no counts.
    pub fn read(raw: &str) -> Option<Self> {
        let mut reader = Reader::new(raw);
        if reader.peek() != Some(b'{') {
            return None;
        }
        reader.enter().ok()?;
        let (mut prompt, mut completion) = (Count::default(), Count::default());
        let (mut cached, mut reasoning) = (None, None);
        while let Some(key) = reader.key().ok()? {
            match &*key.decoded() {
                "prompt_tokens" => prompt.take(reader.value().ok()?),
                "completion_tokens" => completion.take(reader.value().ok()?),
                "prompt_tokens_details" => cached = detail(&mut reader, "cached_tokens").ok()?,
                "completion_tokens_details" => reasoning = detail(&mut reader, "reasoning_tokens").ok()?,
                _ => drop(reader.value().ok()?),
            }
        }
        Some(Self {
            prompt_tokens: prompt.known()?,
            completion_tokens: if completion.seen == 0 { 0 } else { completion.known()? },
            cached_tokens: cached,
            reasoning_tokens: reasoning,
            audio_ms: None,
        })
    }
}

/// A count that may be missing, odd or doubled.
#[derive(Default)]
struct Count {
    seen: u32,
    value: Option<u64>,
}

impl Count {
    fn take(&mut self, value: Value<'_>) {
        self.seen += 1;
        self.value = value.count();
    }

    fn known(&self) -> Option<u64> {
        self.value.filter(|_| self.seen == 1)
    }
}

/// The count `name` in the object that comes next.
fn detail(reader: &mut Reader<'_>, name: &str) -> Result<Option<u64>, Malformed> {
    let mut count = Count::default();
    if reader.peek() != Some(b'{') {
        reader.value()?;
        return Ok(None);
    }
    reader.enter()?;
    while let Some(key) = reader.key()? {
        let value = reader.value()?;
        if key.says(name) {
            count.take(value);
        }
    }
    Ok(count.known())
}

/// What a frame means to the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// Nothing to show yet: a bare role, a comment.
    Opening,
    /// Content, reasoning or a tool call, or the end of a choice where others are still under way.
    Content,
    /// Ends the last choice: the answer is complete, whatever follows.
    Finish,
    /// Usage on its own.
    Usage,
    /// The end of a stream.
    Done,
    /// A complete answer.
    Whole,
}

impl FrameKind {
    /// Whether the reply is settled on this upstream once this frame is there.
    pub const fn commits(self) -> bool {
        match self {
            Self::Content | Self::Finish | Self::Whole => true,
            Self::Opening | Self::Usage | Self::Done => false,
        }
    }

    /// Whether nothing follows.
    pub const fn is_last(self) -> bool {
        match self {
            Self::Done | Self::Whole => true,
            Self::Opening | Self::Content | Self::Finish | Self::Usage => false,
        }
    }
}

/// A piece of a reply, relayed as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The bytes for the client; empty if only the router itself uses the frame, as for usage that was not asked for.
    pub bytes: Bytes,
    /// What it means.
    pub kind: FrameKind,
    /// Usage, if this frame carried it.
    pub usage: Option<Usage>,
}

impl Frame {
    /// The end of a stream that ended well without saying so.
    pub fn done() -> Self {
        Self { bytes: Bytes::from_static(b"data: [DONE]\n\n"), kind: FrameKind::Done, usage: None }
    }
}

/// The frames of a reply. Dropping them cancels the call upstream. Nothing follows an error.
pub type Frames = Pin<Box<dyn Stream<Item = Result<Frame, Error>> + Send>>;

/// What is known before the first frame.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplyHead {
    /// Request fields that the upstream does not take and that were left out, by the client's names.
    pub dropped_params: Vec<String>,
    /// Request fields that were added, as `name=value`.
    pub injected_params: Vec<String>,
    /// What is left of our allowance, if the upstream says.
    pub quota: Quota,
    /// What the upstream calls the call and its worker, if it says.
    pub ids: UpstreamIds,
    /// The media type of a whole answer that is not JSON.
    pub media_type: Option<String>,
}

/// An upstream's answer.
pub struct Reply {
    /// What is known before the first frame.
    pub head: ReplyHead,
    /// The answer itself.
    pub frames: Frames,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_counts_are_usage() {
        let tokens = |raw: &str| Usage::read(raw).map(|usage| (usage.prompt_tokens, usage.completion_tokens));
        assert_eq!(tokens(r#"{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}"#), Some((3, 2)));
        assert_eq!(tokens(r#"{"prompt_tokens":3,"total_tokens":3}"#), Some((3, 0)));
        for odd in ["null", "11.0", "\"11\"", "-1", "1e1", "[3]", "{}", "true"] {
            assert_eq!(tokens(&format!(r#"{{"prompt_tokens":{odd},"completion_tokens":2}}"#)), None, "{odd}");
            assert_eq!(tokens(&format!(r#"{{"prompt_tokens":3,"completion_tokens":{odd}}}"#)), None, "{odd}");
        }
        for odd in ["null", "{}", "[]", "7", r#"{"completion_tokens":2}"#, r#"{"prompt_tokens":3,"prompt_tokens":3}"#] {
            assert_eq!(tokens(odd), None, "{odd}");
        }
    }

    #[test]
    fn odd_details_are_unknown_and_harm_nothing_else() {
        let details = |cached: &str, reasoning: &str| {
            let raw = format!(
                r#"{{"prompt_tokens":9,"completion_tokens":8,"prompt_tokens_details":{cached},"completion_tokens_details":{reasoning}}}"#
            );
            let usage = Usage::read(&raw).expect("usage");
            (usage.total(), usage.cached_tokens, usage.reasoning_tokens)
        };
        assert_eq!(details(r#"{"cached_tokens":4}"#, r#"{"reasoning_tokens":5}"#), (17, Some(4), Some(5)));
        assert_eq!(details("null", r#"{"reasoning_tokens":null}"#), (17, None, None));
        assert_eq!(details("[]", r#"{"reasoning_tokens":1.5}"#), (17, None, None));
    }
}

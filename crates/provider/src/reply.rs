//! A reply is a head and a stream of frames; a whole answer is a stream of one frame.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use serde::Deserialize;

use crate::{Error, Quota};

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
}

impl Usage {
    /// Prompt and answer together.
    pub fn total(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }
}

impl<'de> Deserialize<'de> for Usage {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            #[serde(default)]
            prompt_tokens: u64,
            #[serde(default)]
            completion_tokens: u64,
            #[serde(default)]
            prompt_tokens_details: Option<Details>,
            #[serde(default)]
            completion_tokens_details: Option<Details>,
        }
        #[derive(Deserialize)]
        struct Details {
            #[serde(default)]
            cached_tokens: Option<u64>,
            #[serde(default)]
            reasoning_tokens: Option<u64>,
        }
        let wire = Wire::deserialize(deserializer)?;
        Ok(Self {
            prompt_tokens: wire.prompt_tokens,
            completion_tokens: wire.completion_tokens,
            cached_tokens: wire.prompt_tokens_details.and_then(|details| details.cached_tokens),
            reasoning_tokens: wire.completion_tokens_details.and_then(|details| details.reasoning_tokens),
        })
    }
}

/// What a frame means to the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// Nothing to show yet: a bare role, a comment.
    Opening,
    /// Content, reasoning or a tool call.
    Content,
    /// Carries the finish reason.
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
    /// The bytes for the client; empty if the frame is for the books only.
    pub bytes: Bytes,
    /// What it means.
    pub kind: FrameKind,
    /// Usage, if this frame carried it.
    pub usage: Option<Usage>,
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
}

/// An upstream's answer.
pub struct Reply {
    /// What is known before the first frame.
    pub head: ReplyHead,
    /// The answer itself.
    pub frames: Frames,
}

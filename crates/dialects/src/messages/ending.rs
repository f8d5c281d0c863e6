//! How an answer ends, in Anthropic's words: the reason, and what was counted.

use provider::{Text, Usage};

use crate::chat::write;

/// Why a chat's answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    /// The model was done, at a stop sequence or at a call of a tool. So does every reason that is not known.
    Done,
    /// The limit of tokens.
    Length,
    /// A filter took offence.
    Filtered,
}

impl Finish {
    /// Reads a `finish_reason`.
    pub(super) fn read(reason: Text<'_>) -> Self {
        match &*reason.decoded() {
            "length" => Self::Length,
            "content_filter" => Self::Filtered,
            _ => Self::Done,
        }
    }
}

/// What decides on the reason.
#[derive(Debug, Clone, Default)]
pub(super) struct Ending {
    /// `None` as long as the answer has not ended, and where an upstream never says.
    pub(super) finish: Option<Finish>,
    /// Whether the model says that it refuses.
    pub(super) is_refusal: bool,
    /// Whether a tool is called. Upstreams report a call that the client forced as a plain stop, but clients run tools only if
    /// they are told to.
    pub(super) has_calls: bool,
    /// The stop sequence at which the answer ended, as it stands between its quotes.
    pub(super) stop_sequence: Option<Vec<u8>>,
}

impl Ending {
    /// Takes in why the answer ends, and where.
    pub(super) fn take(&mut self, finish_reason: Option<Text<'_>>, stop_sequence: Option<Text<'_>>) {
        let Some(reason) = finish_reason else { return };
        self.finish = Some(Finish::read(reason));
        self.stop_sequence = stop_sequence.map(|text| {
            let mut sequence = Vec::with_capacity(text.raw.len());
            write::copied(&mut sequence, text);
            sequence
        });
    }

    /// Writes `stop_reason` and `stop_sequence`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let reason = match self.finish {
            Some(Finish::Filtered) => "refusal",
            _ if self.is_refusal => "refusal",
            Some(Finish::Length) => "max_tokens",
            _ if self.has_calls => "tool_use",
            _ if self.stop_sequence.is_some() => "stop_sequence",
            Some(Finish::Done) | None => "end_turn",
        };
        out.extend_from_slice(b"\"stop_reason\":\"");
        out.extend_from_slice(reason.as_bytes());
        out.extend_from_slice(b"\",\"stop_sequence\":");
        match self.stop_sequence.as_ref().filter(|_| reason == "stop_sequence") {
            Some(sequence) => {
                out.push(b'"');
                out.extend_from_slice(sequence);
                out.push(b'"');
            }
            None => out.extend_from_slice(b"null"),
        }
    }
}

/// Writes a usage. Anthropic counts what came from a cache apart from `input_tokens`.
pub(super) fn usage(out: &mut Vec<u8>, usage: &Usage) {
    let cached = usage.cached_tokens.unwrap_or_default().min(usage.prompt_tokens);
    out.extend_from_slice(b"{\"input_tokens\":");
    write::number(out, usage.prompt_tokens - cached);
    out.extend_from_slice(b",\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":");
    write::number(out, cached);
    out.extend_from_slice(b",\"output_tokens\":");
    write::number(out, usage.completion_tokens);
    if let Some(reasoning) = usage.reasoning_tokens {
        out.extend_from_slice(b",\"output_tokens_details\":{\"thinking_tokens\":");
        write::number(out, reasoning);
        out.push(b'}');
    }
    out.push(b'}');
}

/// What is reported where the upstream reports nothing: Anthropic's SDKs need numbers. Estimated as routing estimates: a token
/// for four bytes.
pub(super) fn estimated(input_tokens: u64, output_bytes: u64) -> Usage {
    Usage { prompt_tokens: input_tokens, completion_tokens: output_bytes.div_ceil(4), ..Usage::default() }
}

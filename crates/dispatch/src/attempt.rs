//! The progress of one call to one upstream, and an estimate of its usage where the upstream reports none.

use std::time::Duration;

use provider::{ErrorKind, Frame, FrameKind, NanoUsd, ReplyHead, Tariff, UpstreamIds, Usage};

use crate::event::{Estimate, Outcome, Unreported};

/// Bytes of a token in a whole answer, its JSON included; only for answers that do not count their tokens.
const BYTES_PER_TOKEN: u64 = 4;

/// The progress of a call so far.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) first_token: Option<Duration>,
    /// Whether the head of an answer came.
    has_reply: bool,
    pub(crate) usage: Option<Usage>,
    /// The upstream's own ids of the call.
    pub(crate) ids: UpstreamIds,
    /// Tokens of the answer, by its pieces.
    answer_estimate: u64,
}

impl Progress {
    /// The head of an answer came: from now on the upstream may bill the call.
    pub(crate) fn replied(&mut self, head: &ReplyHead) {
        self.has_reply = true;
        self.record_ids(&head.ids);
    }

    /// Records the upstream's own ids of the call. Where an error has none, those of the head stay.
    pub(crate) fn record_ids(&mut self, ids: &UpstreamIds) {
        self.ids = ids.or(&self.ids);
    }

    /// A piece of the answer came; `has_text`: its bytes are text, and not numbers as in embeddings.
    pub(crate) fn record(&mut self, frame: &Frame, has_text: bool) {
        self.usage = frame.usage.or(self.usage);
        self.answer_estimate += match frame.kind {
            FrameKind::Content => 1,
            FrameKind::Whole if has_text => frame.bytes.len() as u64 / BYTES_PER_TOKEN,
            FrameKind::Whole | FrameKind::Opening | FrameKind::Finish | FrameKind::Usage | FrameKind::Done => 0,
        };
    }

    /// The list price of what the upstream counted.
    pub(crate) fn cost(&self, tariff: Option<&Tariff>) -> Option<NanoUsd> {
        price(&self.usage?, tariff)
    }

    /// The estimated usage of a call with this outcome; `None` if the upstream reported the usage, or did no work.
    pub(crate) fn estimate(&self, outcome: Outcome, prompt_tokens: u64, tariff: Option<&Tariff>) -> Option<Estimate> {
        if self.usage.is_some() {
            return None;
        }
        let has_answered = self.answer_estimate > 0;
        let reason = match outcome {
            Outcome::Served => Unreported::Missing,
            Outcome::ClientGone => Unreported::ClientGone,
            // An upstream may bill a call that was cut off while it generated; a refusal is not billed.
            Outcome::Stopped | Outcome::Failed(ErrorKind::Timeout(_) | ErrorKind::Interrupted) => Unreported::Broken,
            // The upstream generated an answer even if the router has no memory for it.
            Outcome::Failed(ErrorKind::NoMemory) if self.has_reply => Unreported::Broken,
            Outcome::Failed(_) if has_answered => Unreported::Broken,
            Outcome::Failed(_) => return None,
        };
        let usage = Usage { prompt_tokens, completion_tokens: self.answer_estimate, ..Usage::default() };
        Some(Estimate { reason, usage, cost: price(&usage, tariff) })
    }
}

fn price(usage: &Usage, tariff: Option<&Tariff>) -> Option<NanoUsd> {
    Some(tariff?.list_price()?.cost(usage))
}

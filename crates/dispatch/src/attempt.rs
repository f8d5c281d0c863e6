//! The progress of one call to one upstream, and an estimate of its usage where the upstream reports none.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use provider::{ErrorKind, Frame, FrameKind, NanoUsd, ReplyHead, Tariff, UpstreamIds, Usage};
use router::{Attempt, Model, RequestState, Upstream};

use crate::event::{AttemptBegins, Estimate, Outcome, RequestInfo, Unreported};

/// Bytes of a token in a whole answer, its JSON included; only for answers that do not count their tokens.
const BYTES_PER_TOKEN: u64 = 4;

/// A call of a request to an upstream.
#[derive(Debug)]
pub(crate) struct UpstreamCall {
    pub(crate) attempt: Attempt,
    /// Its number among the calls of its request, from 1.
    pub(crate) number: u32,
    pub(crate) progress: Progress,
    /// Whether the upstream may have seen it.
    pub(crate) is_sent: bool,
    /// Whether its end event was sent.
    pub(crate) is_over: bool,
}

impl UpstreamCall {
    /// One that begins.
    pub(crate) fn new(attempt: Attempt, number: u32) -> Self {
        Self { attempt, number, progress: Progress::default(), is_sent: false, is_over: false }
    }

    /// The event before it is made.
    pub(crate) fn begins<'a>(&self, info: &'a RequestInfo, request: &'a RequestState) -> AttemptBegins<'a> {
        let (facts, upstream) = (request.facts(), self.upstream(request.model()));
        AttemptBegins {
            info,
            number: self.number,
            upstream: &upstream.spec.id,
            role: self.attempt.role,
            reason: self.attempt.reason,
            reserved: facts.reserved(&upstream.spec),
            reserved_cost: facts.reserved_cost(&upstream.spec),
            price_version: upstream.spec.price_version.as_deref(),
        }
    }

    pub(crate) fn upstream<'a>(&self, model: &'a Model) -> &'a Arc<Upstream> {
        &model.targets()[self.attempt.target]
    }

    fn tariff<'a>(&self, model: &'a Model) -> Option<&'a Tariff> {
        self.upstream(model).spec.tariff.as_ref()
    }

    /// The list price of the answer, if it is counted already.
    pub(crate) fn cost(&self, model: &Model) -> Option<NanoUsd> {
        self.progress.cost(self.tariff(model))
    }

    /// The estimated usage if it ended like this.
    pub(crate) fn estimate(&self, outcome: Outcome, request: &RequestState) -> Option<Estimate> {
        if !self.is_sent {
            return None;
        }
        self.progress.estimate(outcome, request.facts().asked(), self.tariff(request.model()))
    }
}

/// The upstream's own ids of a call, set when the head of its answer comes.
pub(crate) type SharedIds = Arc<OnceLock<UpstreamIds>>;

/// The progress of a call so far.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) first_token: Option<Duration>,
    /// Whether the head of an answer came.
    has_reply: bool,
    pub(crate) usage: Option<Usage>,
    /// Whether a whole answer came.
    is_whole: bool,
    /// The upstream's own ids of the call, but for those in `shared_ids`.
    ids: UpstreamIds,
    /// Those in the head of the answer while another call may be under way. `None` if none may.
    shared_ids: Option<SharedIds>,
    /// Tokens of the answer, by its pieces.
    answer_estimate: u64,
}

impl Progress {
    /// The head of an answer came: from now on the upstream may bill the call.
    pub(crate) fn replied(&mut self, head: &ReplyHead) {
        self.has_reply = true;
        self.record_ids(&head.ids);
    }

    /// Where the ids in the head of the answer are recorded, instead of by [`Self::replied`].
    pub(crate) fn share_ids(&mut self) -> SharedIds {
        self.shared_ids.get_or_insert_default().clone()
    }

    /// The upstream's own ids of the call.
    pub(crate) fn ids(&self) -> UpstreamIds {
        match self.shared_ids.as_ref().and_then(|shared_ids| shared_ids.get()) {
            Some(shared_ids) => self.ids.or(shared_ids),
            None => self.ids.clone(),
        }
    }

    fn has_reply(&self) -> bool {
        self.has_reply || self.shared_ids.as_ref().is_some_and(|shared_ids| shared_ids.get().is_some())
    }

    /// Records the upstream's own ids of the call. Where an error has none, those of the head stay.
    pub(crate) fn record_ids(&mut self, ids: &UpstreamIds) {
        self.ids = ids.or(&self.ids);
    }

    /// A piece of the answer came that is not relayed yet: what it counts is known already.
    pub(crate) fn count(&mut self, frame: &Frame) {
        self.usage = frame.usage.or(self.usage);
        self.is_whole |= frame.kind == FrameKind::Whole;
    }

    /// A piece of the answer is relayed; `has_text`: its bytes are what a model wrote, and not numbers as in embeddings.
    pub(crate) fn record(&mut self, frame: &Frame, has_text: bool) {
        self.count(frame);
        self.answer_estimate += match frame.kind {
            FrameKind::Content => 1,
            FrameKind::Whole if has_text => frame.bytes.len() as u64 / BYTES_PER_TOKEN,
            FrameKind::Whole | FrameKind::Opening | FrameKind::Finish | FrameKind::Usage | FrameKind::Done => 0,
        };
    }

    /// The list price of what the upstream counted, or of the call itself: that is known without any usage once a whole answer came.
    pub(crate) fn cost(&self, tariff: Option<&Tariff>) -> Option<NanoUsd> {
        match self.usage {
            Some(usage) => price(&usage, tariff),
            None if self.is_whole => tariff?.list_price()?.cost_of_call(),
            None => None,
        }
    }

    /// The estimated usage of a call with this outcome. `None` if the upstream did no work, or reported a usage that can be priced or
    /// that the length of the recording would not help to price.
    pub(crate) fn estimate(&self, outcome: Outcome, asked: Usage, tariff: Option<&Tariff>) -> Option<Estimate> {
        if let Some(usage) = self.usage {
            return estimate_seconds(usage, asked, tariff);
        }
        let has_answered = self.answer_estimate > 0;
        let reason = match outcome {
            Outcome::Served => Unreported::Missing,
            Outcome::ClientGone => Unreported::ClientGone,
            Outcome::Lost => Unreported::Lost,
            // An upstream may bill a call that was cut off while it generated; a refusal is not billed.
            Outcome::Stopped | Outcome::Failed(ErrorKind::Timeout(_) | ErrorKind::Interrupted) => Unreported::Broken,
            // The upstream generated an answer even if the router has no memory for it.
            Outcome::Failed(ErrorKind::NoMemory) if self.has_reply() => Unreported::Broken,
            Outcome::Failed(_) if has_answered => Unreported::Broken,
            Outcome::Failed(_) => return None,
        };
        let usage = Usage { completion_tokens: self.answer_estimate, ..asked };
        Some(Estimate { reason, usage, cost: price(&usage, tariff) })
    }
}

/// Where the upstream counted tokens and its price is for seconds: its usage with the estimated length of the recording.
fn estimate_seconds(usage: Usage, asked: Usage, tariff: Option<&Tariff>) -> Option<Estimate> {
    if usage.audio_ms.is_some() || price(&usage, tariff).is_some() {
        return None;
    }
    let usage = Usage { audio_ms: asked.audio_ms, ..usage };
    let cost = price(&usage, tariff)?;
    Some(Estimate { reason: Unreported::Missing, usage, cost: Some(cost) })
}

/// The list price of some usage.
pub(crate) fn price(usage: &Usage, tariff: Option<&Tariff>) -> Option<NanoUsd> {
    tariff?.list_price()?.cost_of_counted(usage)
}

#[cfg(test)]
mod tests {
    use provider::{PicoUsd, Price};

    use super::*;

    const SECOND: Tariff = Tariff::Tokens(Price { audio_second: PicoUsd(100_000_000), ..zero() });
    const CALL: Tariff = Tariff::Tokens(Price { request: PicoUsd(2_000_000_000), ..zero() });
    const TOKEN: Tariff = Tariff::Tokens(Price::new(PicoUsd(1_000), PicoUsd(1_000)));
    const ASKED: Usage = Usage {
        prompt_tokens: 0,
        completion_tokens: 0,
        cached_tokens: None,
        reasoning_tokens: None,
        audio_ms: Some(9_000),
    };

    const fn zero() -> Price {
        Price::new(PicoUsd(0), PicoUsd(0))
    }

    fn answered(usage: Option<Usage>) -> Progress {
        let mut progress = Progress::default();
        progress.record(&Frame { bytes: "{}".into(), kind: FrameKind::Whole, usage }, false);
        progress
    }

    #[test]
    fn seconds_are_estimated_where_they_have_a_price_and_tokens_were_counted() {
        let tokens = Usage { prompt_tokens: 14, completion_tokens: 45, ..Usage::default() };
        let progress = answered(Some(tokens));
        assert_eq!(progress.cost(Some(&SECOND)), None);
        let estimate = progress.estimate(Outcome::Served, ASKED, Some(&SECOND)).expect("an estimate");
        assert_eq!((estimate.cost, estimate.usage.total()), (Some(NanoUsd(900_000)), 59));
        // Where tokens have a price, nothing is missing; where nothing has one, seconds would not help.
        assert_eq!(progress.cost(Some(&TOKEN)), Some(NanoUsd(59)));
        assert!(progress.estimate(Outcome::Served, ASKED, Some(&TOKEN)).is_none());
        assert!(progress.estimate(Outcome::Served, ASKED, None).is_none());
    }

    #[test]
    fn a_price_by_the_call_is_known_without_usage_once_the_answer_is_there() {
        assert_eq!(answered(None).cost(Some(&CALL)), Some(NanoUsd(2_000_000)));
        assert_eq!(Progress::default().cost(Some(&CALL)), None, "nothing was answered");
        assert_eq!(answered(None).cost(Some(&TOKEN)), None, "its tokens are not known");
    }
}

//! Calls that were ended before they had as long as others have, because the deadline of their request is before the model's own.
//!
//! One of them says little about its upstream. But where every request has such a deadline, an upstream that hangs shows itself in
//! nothing else. So calls that had time for an answer are looked at together: if they were cut short one after the other, and the
//! upstream answered nobody for [`SILENCE`], each further one counts as a call that timed out. While an answer is under way, the
//! upstream is busy and not silent; should that one hang, its own timeout ends it.

use std::time::Duration;

use provider::Time;

use super::{Call, State};
use crate::upstream::RequestNeeds;

/// How long an upstream answers nobody before calls that were cut short count against it.
const SILENCE: Duration = Duration::from_secs(10);
/// A call that had less time than this says nothing, whatever the upstream.
const LEAST_TIME: Duration = Duration::from_secs(1);
/// A longer pause between two calls ends a row of them: then the upstream was silent because nobody asked. An open breaker's pause is
/// shorter.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Calls that were cut short one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CutShort {
    /// When the first of them began.
    since: Time,
    /// When the last of them ended.
    until: Time,
}

impl State {
    /// The first token of `call` came.
    pub(super) fn begin_answer(&mut self, call: &mut Call, now: Time) {
        self.answering += u32::from(call.answered.is_none());
        call.answered = Some(now);
    }

    /// `call` is over. If its answer had begun, the upstream was not silent until now.
    pub(super) fn end_answer(&mut self, call: &Call) {
        if call.answered.is_some() {
            self.answering = self.answering.saturating_sub(1);
            self.cut_short = None;
        }
    }

    /// Whether a call that began at `began` has had as long as its answer may take when nothing else waits there; `stream`: as its
    /// first token takes.
    pub(crate) fn had_time(&self, needs: &RequestNeeds, stream: bool, began: Time, now: Time) -> bool {
        now - began >= self.supply.time_alone(needs, stream).max(LEAST_TIME)
    }

    /// A call that had time for an answer is cut short.
    pub(crate) fn cut_short(&mut self, began: Time, now: Time) {
        self.cut_short = Some(CutShort { since: self.silent_since(began), until: now });
    }

    /// Whether it has answered nobody for so long that a call which had time for an answer, and began at `began`, is evidence.
    pub(crate) fn is_silent(&self, began: Time, now: Time) -> bool {
        let since = self.silent_since(began);
        self.answering == 0 && now - since >= SILENCE && !self.succeeded_since(since)
    }

    /// When the first of the calls began that were cut short in a row, of which the one that began at `began` is the last.
    fn silent_since(&self, began: Time) -> Time {
        let is_in_row = |row: &CutShort| !self.succeeded_since(row.since) && began < row.until + LONGEST_PAUSE;
        self.cut_short.filter(is_in_row).map_or(began, |row| row.since.min(began))
    }
}

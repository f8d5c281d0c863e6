//! A stream of events as frames, one for each event, and when its answer is complete.

use std::{
    collections::BTreeSet,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::Stream;
use provider::{Error, Frame, FrameKind, MemoryBudget, ReasoningField, Reservation};

use crate::{
    Splitter,
    blame::{self, Signal},
    chunk::{self, UsageFor},
    classify::{Dialect, Finish},
    client::broke,
    peek::Peek,
    template::Template,
};

/// Largest event of a stream, in bytes.
const MAX_EVENT: usize = 64 << 20;

/// An event of more bytes is counted in the memory budget until it is written; a smaller one is written at once.
const LARGE_EVENT: usize = 64 << 10;

/// How often a stream's template is made anew. Where events keep differing in more than one text, a template is of no use.
const MAX_TEMPLATES: u8 = 8;

/// Which choices have ended. Every one has its own end.
#[derive(Debug)]
pub(crate) struct Ends {
    expected: u64,
    ended: BTreeSet<u64>,
    /// Choices with an unknown finish reason. They count as ended once the whole stream has ended well.
    unconfirmed: BTreeSet<u64>,
}

impl Ends {
    /// None of the `expected` choices has.
    pub(crate) fn new(expected: u64) -> Self {
        Self { expected, ended: BTreeSet::new(), unconfirmed: BTreeSet::new() }
    }

    /// Takes in what an event ends. Whether that completes the answer.
    fn see(&mut self, peek: &Peek) -> bool {
        let was_complete = self.is_complete();
        for (index, finish) in &peek.ended {
            match finish {
                Finish::Known | Finish::Renamed(_) => self.ended.insert(*index),
                Finish::Unknown => self.unconfirmed.insert(*index),
                Finish::Failed => false,
            };
        }
        !was_complete && self.is_complete()
    }

    fn is_complete(&self) -> bool {
        self.ended.len() as u64 >= self.expected
    }

    /// Whether the answer is complete if the stream ends well here.
    fn may_end(&self) -> bool {
        self.ended.union(&self.unconfirmed).count() as u64 >= self.expected
    }
}

enum State {
    Reading,
    /// The body ended; what the splitter still holds comes last.
    Draining,
    Ended,
}

/// The frames of a stream.
pub(crate) struct SseFrames<S> {
    body: Pin<Box<S>>,
    splitter: Splitter,
    usage_for: UsageFor,
    reasoning: ReasoningField,
    dialect: &'static dyn Dialect,
    ends: Ends,
    /// Of the last event of content that was read in full.
    template: Option<Template>,
    templates_left: u8,
    state: State,
    memory: MemoryBudget,
    /// For the event that is not complete yet.
    held: Reservation,
}

impl<S, E> SseFrames<S>
where
    S: Stream<Item = Result<Bytes, E>>,
{
    /// Reads `body`, whose answer has as many choices as `ends` expects.
    pub(crate) fn new(
        body: Pin<Box<S>>,
        (usage_for, reasoning): (UsageFor, ReasoningField),
        memory: &MemoryBudget,
        dialect: &'static dyn Dialect,
        ends: Ends,
    ) -> Self {
        let splitter = Splitter::new(MAX_EVENT);
        Self {
            body,
            splitter,
            usage_for,
            reasoning,
            dialect,
            ends,
            template: None,
            templates_left: MAX_TEMPLATES,
            state: State::Reading,
            memory: memory.clone(),
            held: memory.nothing(),
        }
    }

    fn frame(&mut self, event: crate::Event) -> Result<Frame, Error> {
        let data_start = event.data_start();
        let chunk::Read { mut frame, peek } = chunk::read(event, (self.usage_for, self.reasoning), self.dialect)?;
        if frame.kind == FrameKind::Content && !peek.has_usage && !peek.is_changed() {
            self.learn(&frame.bytes, data_start, &peek);
        }
        let is_early = peek.ended.is_empty() && peek.choices.is_some_and(|count| count > 0);
        if self.usage_for == UsageFor::Client && is_early && peek.has_usage {
            self.usage_for = UsageFor::EveryChunk;
        }
        if frame.kind == FrameKind::Finish && !self.ends.see(&peek) {
            frame.kind = FrameKind::Content;
        }
        if frame.kind == FrameKind::Done {
            self.state = State::Ended;
        }
        self.counted(frame)
    }

    /// Makes a template of an event that is relayed as it came.
    fn learn(&mut self, event: &Bytes, data_start: Option<usize>, peek: &Peek) {
        let (Some(start), Some(text), 1..) = (data_start, &peek.text, self.templates_left) else { return };
        let template = Template::new(event, start + text.start..start + text.end);
        // An event whose text has escapes is read in full, although the template is right.
        if template != self.template {
            self.template = template;
            self.templates_left -= 1;
        }
    }

    /// The frame, its bytes counted in the memory budget if they are many.
    fn counted(&mut self, mut frame: Frame) -> Result<Frame, Error> {
        if frame.bytes.len() > LARGE_EVENT {
            self.held.resize(self.splitter.pending_bytes())?;
            frame.bytes = self.memory.reserve(frame.bytes.len())?.attach(frame.bytes);
        }
        Ok(frame)
    }

    /// How the stream ended without `[DONE]`: well if every choice has ended, which some servers take for enough.
    fn end(&mut self) -> Result<Frame, Error> {
        self.state = State::Ended;
        if self.ends.may_end() {
            return Ok(Frame::done());
        }
        Err(blame::error(&Signal::Broke, "the upstream ended the stream before the answer was complete"))
    }
}

impl<S, E> Stream for SseFrames<S>
where
    S: Stream<Item = Result<Bytes, E>>,
{
    type Item = Result<Frame, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let result = loop {
            match this.state {
                State::Ended => return Poll::Ready(None),
                State::Draining => {
                    break match this.splitter.finish() {
                        Some(event) => this.frame(event),
                        None => this.end(),
                    };
                }
                State::Reading => {}
            }
            if let Some(bytes) = this.template.as_ref().and_then(|template| this.splitter.next_like(template)) {
                break this.counted(Frame { bytes, kind: FrameKind::Content, usage: None });
            }
            if let Some(event) = this.splitter.next_event() {
                break this.frame(event);
            }
            if let Err(none) = this.held.resize(this.splitter.pending_bytes()) {
                break Err(none.into());
            }
            match ready!(this.body.as_mut().poll_next(context)) {
                Some(Ok(read)) => {
                    if let Err(error) = this.splitter.push(read) {
                        break Err(blame::protocol(error.to_string()));
                    }
                }
                Some(Err(_)) => break Err(broke()),
                None => this.state = State::Draining,
            }
        };
        if result.is_err() {
            this.state = State::Ended;
        }
        Poll::Ready(Some(result))
    }
}

#[cfg(test)]
mod tests;

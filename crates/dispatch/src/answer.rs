//! A committed reply on its way to the client: relays the frames, keeps the time, and settles before the last one.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::Stream;
use provider::{Error, ErrorKind, Frame, FrameKind, Frames, Phase, Reservation, Time};
use tokio::time::{Sleep, sleep_until};

use crate::{addition::Addition, context::RequestContext, event::Recording};

/// How long a complete answer may wait for its usage and its end; every event begins the time anew.
const LINGER: Duration = Duration::from_secs(2);
/// Longest wait for an observer that should have given up by itself: the answer is refused then, because nobody knows whether it is
/// on record.
const LONGEST_SETTLEMENT: Duration = Duration::from_secs(30);

/// The frames of a reply. Dropping it before the end cancels the call upstream.
pub struct Answer {
    source: Source,
    /// A member that is still to be added.
    addition: Option<Addition>,
    /// The end of the stream, which follows an event of our own.
    last: Option<Frame>,
}

enum Source {
    /// They come from an upstream.
    Relayed(Relay),
    /// All frames, already complete.
    Composed(VecDeque<Frame>),
}

impl Answer {
    pub(crate) fn relayed(relay: Relay) -> Self {
        Self { source: Source::Relayed(relay), addition: None, last: None }
    }

    /// An answer that has arrived from its upstream as a whole.
    pub(crate) fn composed(frames: impl IntoIterator<Item = Frame>) -> Self {
        Self { source: Source::Composed(frames.into_iter().collect()), addition: None, last: None }
    }

    /// Adds a member to the event that finishes the stream or, where none can take it, in an event of its own before the end.
    pub(crate) fn add(&mut self, key: &'static str, json: String) {
        self.addition = Some(Addition::new(key, json));
    }

    /// The frame to relay for `frame`: with the addition, if it belongs into this one.
    fn added(&mut self, mut frame: Frame) -> Frame {
        let Some(mut addition) = self.addition.take() else { return frame };
        if frame.kind == FrameKind::Done {
            self.last = Some(frame);
            return addition.event();
        }
        if frame.kind == FrameKind::Finish
            && let Some(bytes) = addition.within(&frame.bytes)
        {
            frame.bytes = bytes;
            return frame;
        }
        addition.follows(&frame);
        self.addition = Some(addition);
        frame
    }

    /// Ends it because of `error`: its client cannot be shown what comes. The call upstream is cancelled, and the request is recorded
    /// as broken, unless it was settled before.
    pub fn break_off(&mut self, error: &Error) {
        if let Source::Relayed(relay) = &mut self.source
            && matches!(relay.stage, Stage::Relaying)
        {
            relay.broke(error);
        }
    }

    /// The whole answer, if it is one: a reply of a single frame is sent with its length, not streamed.
    pub fn whole(&self) -> Option<&Frame> {
        let first = match &self.source {
            Source::Relayed(relay) => relay.held.front(),
            Source::Composed(frames) => frames.front(),
        };
        first.filter(|frame| frame.kind == FrameKind::Whole)
    }
}

impl Stream for Answer {
    type Item = Result<Frame, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(last) = this.last.take() {
            return Poll::Ready(Some(Ok(last)));
        }
        let polled = match &mut this.source {
            Source::Relayed(relay) => Pin::new(relay).poll_next(context),
            Source::Composed(frames) => Poll::Ready(frames.pop_front().map(Ok)),
        };
        polled.map(|item| item.map(|frame| frame.map(|frame| this.added(frame))))
    }
}

/// The frames of a committed reply on their way from its upstream.
pub(crate) struct Relay {
    /// Frames that came before the reply was committed, and those of the commit.
    held: VecDeque<Frame>,
    /// The memory of those that are held.
    reservation: Option<Reservation>,
    frames: Frames,
    context: Box<RequestContext>,
    gap: Duration,
    last_frame: Time,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether every choice has ended: the answer is then complete, whatever the connection does next.
    is_complete: bool,
    stage: Stage,
}

enum Stage {
    Relaying,
    /// The last frame waits until the request is settled.
    Settling(Frame, Recording),
    Ended,
}

impl Relay {
    pub(crate) fn new(
        (held, reservation): (VecDeque<Frame>, Reservation),
        frames: Frames,
        context: Box<RequestContext>,
        now: Time,
    ) -> Self {
        Self {
            held,
            reservation: Some(reservation),
            frames,
            gap: context.upstream().map_or(LINGER, |upstream| upstream.spec.timeouts.gap),
            last_frame: now,
            context,
            timer: None,
            is_complete: false,
            stage: Stage::Relaying,
        }
    }

    pub(crate) fn context(&self) -> &RequestContext {
        &self.context
    }

    fn relay(&mut self, frame: Frame) -> Poll<Option<Result<Frame, Error>>> {
        self.context.relays(&frame);
        if frame.kind == FrameKind::Finish {
            self.is_complete = true;
            self.gap = self.gap.min(LINGER);
            // The timer may be set for a later limit.
            self.timer = None;
        }
        if !frame.kind.is_last() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(settlement) = self.context.served() else {
            self.stage = Stage::Ended;
            return Poll::Ready(Some(Ok(frame)));
        };
        let bounded = async move {
            tokio::time::timeout(LONGEST_SETTLEMENT, settlement).await.unwrap_or_else(|_| {
                tracing::error!("settling took too long: an answer was not released");
                Err(Error::new(ErrorKind::Unrecorded, "the router could not record what the request costs in time"))
            })
        };
        self.stage = Stage::Settling(frame, Box::pin(bounded));
        Poll::Pending
    }

    /// No further frame comes: the end of a complete answer, the failure of any other.
    fn end(&mut self, error: Error) -> Poll<Option<Result<Frame, Error>>> {
        self.end_call();
        if self.is_complete {
            return self.relay(Frame::done());
        }
        self.broke(&error);
        Poll::Ready(Some(Err(error)))
    }

    fn broke(&mut self, error: &Error) {
        self.end_call();
        self.context.broke(error);
        self.stage = Stage::Ended;
    }

    /// Ends the call upstream here, not when the client has read the last byte.
    fn end_call(&mut self) {
        self.frames = Box::pin(futures_util::stream::empty());
    }

    /// Whether a limit was reached. The timer is only set anew when it fires, not with every frame.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<Error> {
        loop {
            let (clock, deadline) = (self.context.clock, self.context.state.deadline());
            let due = deadline.min(self.last_frame + self.gap);
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(clock.instant(due))));
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if clock.now() < due {
                timer.as_mut().reset(clock.instant(due));
                continue;
            }
            let (phase, message) = if due == deadline {
                (Phase::Deadline, "the answer was not complete by the request's deadline")
            } else {
                (Phase::Gap, "the upstream fell silent amid the answer")
            };
            return Poll::Ready(Error::new(ErrorKind::Timeout(phase), message));
        }
    }
}

/// If the answer is complete and only its end is missing, its client was served. Otherwise dropping the context records
/// that the client left.
impl Drop for Relay {
    fn drop(&mut self) {
        if matches!(self.stage, Stage::Relaying) && self.is_complete {
            drop(self.context.served());
        }
    }
}

impl Stream for Relay {
    type Item = Result<Frame, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            match &mut this.stage {
                Stage::Ended => return Poll::Ready(None),
                Stage::Settling(frame, settlement) => {
                    let Poll::Ready(settled) = settlement.as_mut().poll(context) else { return Poll::Pending };
                    let frame = frame.clone();
                    this.stage = Stage::Ended;
                    return Poll::Ready(Some(settled.map(|()| frame)));
                }
                Stage::Relaying => {}
            }
            let polled = match this.held.pop_front() {
                Some(frame) => {
                    if this.held.is_empty() {
                        this.reservation = None;
                    }
                    this.relay(frame)
                }
                None => match this.frames.as_mut().poll_next(context) {
                    Poll::Ready(Some(Ok(frame))) => {
                        this.last_frame = this.context.clock.now();
                        this.relay(frame)
                    }
                    Poll::Ready(Some(Err(error))) => this.end(error),
                    Poll::Ready(None) => {
                        this.end(Error::new(ErrorKind::Interrupted, "the upstream's answer broke off"))
                    }
                    Poll::Pending => match this.poll_timer(context) {
                        Poll::Ready(error) => this.end(error),
                        Poll::Pending => return Poll::Pending,
                    },
                },
            };
            if let Poll::Ready(item) = polled {
                return Poll::Ready(item);
            }
        }
    }
}

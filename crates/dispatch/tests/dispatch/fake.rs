//! A provider whose behaviour a test sets.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use parking_lot::Mutex;
use provider::{
    Adjustment, Call, Capacity, Error, ErrorKind, Frame, FrameKind, Frames, Phase, Provider, Quota, Reply, ReplyHead,
    Request, UpstreamIds, Usage,
};
use tokio::time::sleep;

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const S: Duration = Duration::from_secs(1);
/// What every complete answer of a fake counts.
pub(crate) const USAGE: Usage =
    Usage { prompt_tokens: 1_000, completion_tokens: 501, cached_tokens: None, reasoning_tokens: None, audio_ms: None };

/// One thing that happens in a call, in order.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Wait(Duration),
    Hang,
    Fail(Error),
    /// The head of the reply, with what is left of the allowance.
    Head(Quota),
    /// The head of the reply, with what the upstream calls the call.
    HeadOf(UpstreamIds),
    Frame(Frame),
}

/// What one call does. A script that ends without a last frame breaks off.
pub(crate) type Script = Vec<Step>;

pub(crate) fn frame(kind: FrameKind) -> Step {
    Step::Frame(Frame { bytes: Bytes::from_static(b"data"), kind, usage: None })
}

pub(crate) fn frame_of(kind: FrameKind, bytes: usize) -> Step {
    Step::Frame(Frame { bytes: vec![b'x'; bytes].into(), kind, usage: None })
}

pub(crate) fn counted(kind: FrameKind) -> Step {
    Step::Frame(Frame { bytes: Bytes::from_static(b"data"), kind, usage: Some(USAGE) })
}

pub(crate) fn error(kind: ErrorKind) -> Error {
    let mut error = Error::new(kind, format!("says {kind}"));
    error.status = match kind {
        ErrorKind::Unavailable => Some(503),
        ErrorKind::InvalidRequest | ErrorKind::ContextOverflow | ErrorKind::Unsupported => Some(400),
        ErrorKind::RateLimited => Some(429),
        ErrorKind::Refused => Some(403),
        ErrorKind::Auth
        | ErrorKind::NotFound
        | ErrorKind::Overloaded
        | ErrorKind::Connect
        | ErrorKind::Timeout(Phase::FirstToken | Phase::Gap | Phase::Deadline)
        | ErrorKind::Interrupted
        | ErrorKind::Protocol
        | ErrorKind::NoMemory
        | ErrorKind::Unrecorded
        | ErrorKind::OverBudget => None,
    };
    error
}

pub(crate) fn fail(kind: ErrorKind) -> Script {
    vec![Step::Fail(error(kind))]
}

pub(crate) fn fail_for(kind: ErrorKind, retry_after: Duration) -> Script {
    vec![Step::Fail(Error { retry_after: Some(retry_after), ..error(kind) })]
}

pub(crate) fn status(code: u16) -> Script {
    vec![Step::Fail(Error { status: Some(code), ..error(ErrorKind::Unavailable) })]
}

pub(crate) fn whole() -> Script {
    vec![Step::Head(Quota::default()), counted(FrameKind::Whole)]
}

pub(crate) fn streamed() -> Script {
    vec![
        Step::Head(Quota::default()),
        frame(FrameKind::Opening),
        frame(FrameKind::Content),
        frame(FrameKind::Finish),
        counted(FrameKind::Usage),
        frame(FrameKind::Done),
    ]
}

pub(crate) fn after(wait: Duration, script: Script) -> Script {
    [vec![Step::Wait(wait)], script].concat()
}

/// The good answer to `request`, after `wait`.
pub(crate) fn good(request: &Request, wait: Duration) -> Script {
    after(wait, if request.head.stream { streamed() } else { whole() })
}

type Habit = Arc<dyn Fn(&Request) -> Script + Send + Sync>;

pub(crate) struct Fake {
    habit: Mutex<Habit>,
    next: Mutex<VecDeque<Script>>,
    calls: AtomicU32,
    /// Calls whose reply is neither read to its end nor dropped.
    live: Arc<AtomicU32>,
    most_live: AtomicU32,
    /// How each call was to be changed.
    pub(crate) adjustments: Mutex<Vec<Option<Adjustment>>>,
    pub(crate) capacity: Mutex<Result<Capacity, Error>>,
}

impl Fake {
    /// Answers everything well after 10 ms.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            habit: Mutex::new(Arc::new(|request| good(request, 10 * MS))),
            next: Mutex::default(),
            calls: AtomicU32::default(),
            live: Arc::default(),
            most_live: AtomicU32::default(),
            adjustments: Mutex::default(),
            capacity: Mutex::new(Ok(Capacity::default())),
        })
    }

    /// From now on does this with every call.
    pub(crate) fn does(&self, habit: impl Fn(&Request) -> Script + Send + Sync + 'static) {
        *self.habit.lock() = Arc::new(habit);
    }

    pub(crate) fn always(&self, script: Script) {
        self.does(move |_| script.clone());
    }

    pub(crate) fn recovers(&self) {
        self.does(|request| good(request, 10 * MS));
    }

    /// Does this with the next calls, one each.
    pub(crate) fn next(&self, scripts: impl IntoIterator<Item = Script>) {
        self.next.lock().extend(scripts);
    }

    /// How often it was called.
    pub(crate) fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn live(&self) -> u32 {
        self.live.load(Ordering::Relaxed)
    }

    pub(crate) fn most_live(&self) -> u32 {
        self.most_live.load(Ordering::Relaxed)
    }

    pub(crate) fn has_running(&self, running: u32) {
        *self.capacity.lock() = Ok(Capacity { running: Some(running), ..Capacity::default() });
    }
}

struct Live(Arc<AtomicU32>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Provider for Fake {
    async fn call(&self, request: &Request, call: &Call) -> Result<Reply, Error> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.adjustments.lock().push(call.adjustment.clone());
        let live = self.live.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_live.fetch_max(live, Ordering::Relaxed);
        let live = Live(self.live.clone());
        let habit = self.habit.lock().clone();
        let script = self.next.lock().pop_front();
        let mut steps = VecDeque::from(script.unwrap_or_else(|| habit(request)));
        while let Some(step) = steps.pop_front() {
            match step {
                Step::Wait(wait) => sleep(wait).await,
                Step::Hang => std::future::pending().await,
                Step::Fail(error) => return Err(error),
                Step::Head(quota) => {
                    let head = ReplyHead { quota, ..ReplyHead::default() };
                    return Ok(Reply { head, frames: frames(steps, live) });
                }
                Step::HeadOf(ids) => {
                    let head = ReplyHead { ids, ..ReplyHead::default() };
                    return Ok(Reply { head, frames: frames(steps, live) });
                }
                Step::Frame(_) => unreachable!("a frame before the head"),
            }
        }
        Err(error(ErrorKind::Interrupted))
    }

    async fn capacity(&self) -> Result<Capacity, Error> {
        self.capacity.lock().clone()
    }
}

fn frames(steps: VecDeque<Step>, live: Live) -> Frames {
    Box::pin(stream::unfold((steps, live), async |(mut steps, live)| {
        loop {
            match steps.pop_front()? {
                Step::Wait(wait) => sleep(wait).await,
                Step::Hang => std::future::pending().await,
                Step::Fail(error) => return Some((Err(error), (VecDeque::new(), live))),
                Step::Frame(frame) => return Some((Ok(frame), (steps, live))),
                Step::Head(_) | Step::HeadOf(_) => unreachable!("a second head"),
            }
        }
    }))
}

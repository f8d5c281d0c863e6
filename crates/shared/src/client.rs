//! What the rest of the process sees of the server.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{Builder, JoinHandle},
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use crate::{
    budgets::{Held, Hold},
    connection::Server,
    limits::{Demand, Limits, Verdict},
    pipeline::Keys,
    worker::{Counted, MOST_TOKENS, Op, Worker, given_back},
};

/// How long a request waits for the server to count it: the answer takes a tenth of a millisecond while the server is well.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_millis(50);
/// The same for more of a budget, where there is nothing else to go by.
const BUDGET_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a question waits that no request depends on.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the server is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Such as `redis://user:password@host:6379/0`, or `rediss://` with TLS.
    pub url: SecretString,
    /// Distinguishes several deployments on one server.
    pub prefix: String,
    /// Identifies this process; no other one has it.
    pub replica: u64,
    /// How many replicas are to run.
    pub replicas: NonZeroU32,
    /// How long what a replica holds of a budget is valid without another answer. When the data on the server were lost, nothing more is
    /// granted for as long, unless all replicas have reported what they hold.
    pub validity: Duration,
}

/// What all replicas know, as far as this one does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// The server is away, or slow: each replica decides by itself.
    pub is_away: bool,
    /// This replica leads: it does what one of them has to do.
    pub is_leader: bool,
    /// Identifies the data on the server: another one means that they were lost. 0: not known yet.
    pub epoch: u64,
    /// The other live replicas.
    pub peers: Vec<Peer>,
}

/// Another live replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Identifies it.
    pub replica: String,
    /// What it published.
    pub state: Vec<u8>,
}

/// Which budgets are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Those of which more is needed.
    Needed,
    /// All of them.
    All,
    /// All of them for the last time: what is held and not used is given back.
    Last,
}

/// What the process has to say, and learns. Its methods are called by the thread that talks to the server, in turn.
pub trait Node: Send {
    /// What is published for the other replicas.
    fn state(&mut self) -> Vec<u8>;
    /// Something has changed, or another quarter of a second has passed.
    fn learn(&mut self, view: &View);
    /// What is to be reported of budgets: of those of which more is needed, by their ids, in nano-dollars, and of others as `turn` says.
    fn holds(&mut self, turn: Turn, needs: &[(u64, u64)]) -> Vec<Hold>;
    /// The answers to what was reported last, in its order.
    fn held(&mut self, held: &[Held]);
}

/// Why the server cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its address is none.
    #[error("the url of the shared server cannot be read: {0}")]
    Url(redis::RedisError),
    /// The thread that talks to it did not start.
    #[error("the thread that talks to the shared server did not start: {0}")]
    Thread(#[from] std::io::Error),
}

/// What the thread and those who ask it have in common.
pub(crate) struct Link {
    pub(crate) view: ArcSwap<View>,
    start: Instant,
    /// Since when the thread waits for an answer, in microseconds since the start and 1; 0 while it does not.
    waits_since: AtomicU64,
}

/// The server, as this process uses it. While it is away, everything says so at once.
pub struct Shared {
    ops: Sender<Op>,
    link: Arc<Link>,
    /// What the thread begins with.
    worker: Mutex<Option<(Server, Keys, Receiver<Op>)>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A request that waits to be counted. What is counted for one that has gone meanwhile is given back: here if the answer has come,
/// and else by the thread, which finds nobody to tell.
struct Waiting<'a> {
    receiver: oneshot::Receiver<Counted>,
    ops: &'a Sender<Op>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.receiver.close();
        let Ok((Verdict::Granted(_), demands)) = self.receiver.try_recv() else { return };
        for Demand { owner, limits, begins, tokens, .. } in demands {
            // After the stop nobody is to be told.
            self.ops.send(Op::Ended(owner, limits, begins, given_back(tokens))).unwrap_or_default();
        }
    }
}

impl Link {
    pub(crate) fn set_waiting(&self, is_waiting: bool) {
        let micros = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.waits_since.store(if is_waiting { micros.saturating_add(1) } else { 0 }, Ordering::Release);
    }

    /// Whether the server cannot be waited for.
    fn is_away(&self) -> bool {
        if self.view.load().is_away {
            return true;
        }
        let Some(since) = self.waits_since.load(Ordering::Acquire).checked_sub(1) else { return false };
        self.start.elapsed() > Duration::from_micros(since) + ANSWER_TIMEOUT
    }
}

impl Shared {
    /// Connects to nothing yet.
    pub fn new(settings: &Settings) -> Result<Self, StartError> {
        let server = Server::new(settings.url.expose_secret()).map_err(StartError::Url)?;
        let (ops, receiver) = channel();
        let view = ArcSwap::from_pointee(View { is_away: true, ..View::default() });
        let link = Arc::new(Link { view, start: Instant::now(), waits_since: AtomicU64::new(0) });
        let keys = Keys::new(settings);
        Ok(Self { ops, link, worker: Mutex::new(Some((server, keys, receiver))), thread: Mutex::new(None) })
    }

    /// Begins the thread that talks to the server. Only the first call does so.
    pub fn start(&self, node: Box<dyn Node>) -> Result<(), StartError> {
        let Some((server, keys, ops)) = self.worker.lock().take() else { return Ok(()) };
        let worker = Worker::new(server, keys, ops, self.link.clone(), node);
        let thread = Builder::new().name("shared".into()).spawn(move || worker.run())?;
        *self.thread.lock() = Some(thread);
        Ok(())
    }

    /// Tells the server what is left to be told, and ends the thread.
    pub fn stop(&self) {
        let thread = self.thread.lock().take();
        if self.ops.send(Op::Stop).is_ok()
            && let Some(thread) = thread
        {
            // A thread that panicked has told it already.
            drop(thread.join());
        }
    }

    /// What all replicas know.
    pub fn view(&self) -> Arc<View> {
        self.link.view.load_full()
    }

    /// Whether this process decides by itself.
    pub fn is_away(&self) -> bool {
        self.link.is_away()
    }

    /// Counts a request against limits of several owners: all of them or none.
    pub async fn count(&self, demands: Vec<Demand>) -> Verdict {
        let (sender, receiver) = oneshot::channel();
        if self.is_away() || self.ops.send(Op::Count(demands, sender)).is_err() {
            return Verdict::Away;
        }
        let mut waiting = Waiting { receiver, ops: &self.ops };
        let counted = timeout(ANSWER_TIMEOUT, &mut waiting.receiver).await;
        counted.ok().and_then(Result::ok).map_or(Verdict::Away, |(verdict, _)| verdict)
    }

    /// So many calls that were counted are under way no more, and so many tokens were used beyond those that were reserved, or
    /// fewer.
    pub fn ended(&self, owner: &Arc<str>, limits: &Limits, calls: u32, tokens: i64) {
        // After the stop nobody is to be told.
        let most = i64::try_from(MOST_TOKENS).unwrap_or(i64::MAX);
        self.ops.send(Op::Ended(owner.clone(), *limits, calls, tokens.clamp(-most, most))).unwrap_or_default();
    }

    /// Asks for more of budgets, by id and in nano-dollars. Returns whether there was an answer; what it is, the [`Node`] has learned by
    /// then.
    pub async fn need(&self, needs: Vec<(u64, u64)>) -> bool {
        let (sender, receiver) = oneshot::channel();
        if self.link.view.load().is_away || self.ops.send(Op::Need(needs, sender)).is_err() {
            return false;
        }
        matches!(timeout(BUDGET_TIMEOUT, receiver).await, Ok(Ok(())))
    }

    /// What is spent of budgets, by name, as reported until now: `None` where nobody knows. Blocks, for five seconds at most.
    pub fn spent(&self, names: Vec<Arc<str>>) -> Option<Vec<Option<u64>>> {
        let (sender, receiver) = channel();
        self.ops.send(Op::Spent(names, sender)).ok()?;
        receiver.recv_timeout(QUESTION_TIMEOUT).ok()?
    }

    /// Replaces what is spent of budgets: by name, what [`Self::spent`] said before the ledger was asked, and what the ledger said.
    pub fn correct(&self, corrections: Vec<(Arc<str>, u64, u64)>) {
        // The next one comes in a minute.
        self.ops.send(Op::Correct(corrections)).unwrap_or_default();
    }
}

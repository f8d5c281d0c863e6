//! The workers of an endpoint as a state machine: initializing, running, idle. It takes the time as an argument and
//! never waits; [`crate::worker_permit`] does the waiting.
//!
//! Scaling is by demand or by count: a worker is started when more requests wait than the workers on their way can take, or
//! when there are more requests than [`Size::requests_per_worker`] allows each. A cold start has two parts, as RunPod
//! reports them: the worker is initializing while it fetches its image, which costs nothing, and running while it loads its
//! model. Billing is for the time in which a worker runs: load, work and idle tail.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rand::rngs::SmallRng;
use serde::Serialize;
use tokio::{sync::Mutex, time::Instant};

use crate::chance::lognormal;

/// Size and pace of a fleet, with the emulator's speed already applied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) min: usize,
    pub(crate) max: usize,
    pub(crate) concurrency: u32,
    /// There is to be a worker for each so many requests, waiting and placed; `None` scales by demand.
    pub(crate) requests_per_worker: Option<u32>,
    /// How often requests are counted for that.
    pub(crate) scale_every: Duration,
    /// The median.
    pub(crate) cold_start: Duration,
    /// Sigma of the lognormal distribution around it.
    pub(crate) cold_start_spread: f64,
    /// How much of the cold start is the load, its last part; 0 to 1.
    pub(crate) load_share: f64,
    pub(crate) idle_timeout: Duration,
    /// Workers only reported, as throttled and as unhealthy.
    pub(crate) throttled: usize,
    pub(crate) unhealthy: usize,
}

/// Workers by state.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Counts {
    /// Loading, serving or able to.
    pub running: usize,
    /// Scaled down.
    pub idle: usize,
    /// Fetching their image.
    pub initializing: usize,
    /// Without a machine to start on.
    pub throttled: usize,
    /// Crashed.
    pub unhealthy: usize,
    /// All of them.
    pub total: usize,
}

/// What the requests at a worker have in common.
#[derive(Debug, Default)]
pub(crate) struct Load {
    requests: AtomicU32,
    /// Held while a prompt is read, which is done for one after the other.
    pub(crate) reading: Mutex<()>,
}

impl Load {
    /// How many there are.
    pub(crate) fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }
}

/// Whether a request has a worker.
#[derive(Clone, Debug)]
pub(crate) enum Assignment {
    /// At this worker, with the others that it has.
    At(usize, Arc<Load>),
    /// In the queue; nothing changes by itself before this time.
    Waiting(Option<Instant>),
}

#[derive(Debug)]
enum Phase {
    Idle,
    /// Runs, but does not serve, from `load_at` on.
    Starting {
        load_at: Instant,
        ready_at: Instant,
    },
    Running {
        since: Instant,
        quiet_since: Instant,
    },
}

#[derive(Debug)]
struct Worker {
    phase: Phase,
    load: Arc<Load>,
}

impl Worker {
    fn busy(&self) -> u32 {
        self.load.requests()
    }
}

/// The workers and the queue of an endpoint.
#[derive(Debug)]
pub(crate) struct Fleet {
    size: Size,
    workers: Vec<Worker>,
    waiting: VecDeque<u64>,
    placed: HashMap<u64, usize>,
    next_waiter: u64,
    throttled: bool,
    billed: Duration,
    next_count: Instant,
    rng: SmallRng,
}

impl Fleet {
    pub(crate) fn new(size: Size, rng: SmallRng, now: Instant) -> Self {
        let worker = |index| Worker {
            phase: if index < size.min { Phase::Running { since: now, quiet_since: now } } else { Phase::Idle },
            load: Arc::default(),
        };
        Self {
            size,
            workers: (0..size.max).map(worker).collect(),
            waiting: VecDeque::new(),
            placed: HashMap::new(),
            next_waiter: 0,
            throttled: false,
            billed: Duration::ZERO,
            next_count: now + size.scale_every,
            rng,
        }
    }

    /// Adds a request to the queue.
    pub(crate) fn enter(&mut self) -> u64 {
        self.next_waiter += 1;
        self.waiting.push_back(self.next_waiter);
        self.next_waiter
    }

    /// Where the request stands now.
    pub(crate) fn poll(&mut self, waiter: u64, now: Instant) -> Assignment {
        self.advance(now);
        match self.placed.get(&waiter) {
            Some(&index) => Assignment::At(index, Arc::clone(&self.workers[index].load)),
            None => Assignment::Waiting(self.next_start()),
        }
    }

    /// Ends a request, waiting or placed. Says whether others wait and should look again.
    pub(crate) fn leave(&mut self, waiter: u64, now: Instant) -> bool {
        match self.placed.remove(&waiter) {
            Some(index) => self.release(index, now),
            None => self.waiting.retain(|waiting| *waiting != waiter),
        }
        self.advance(now);
        !self.waiting.is_empty()
    }

    /// Scales every worker down at once; starts take `start` from now on, as much of it for the load as before.
    pub(crate) fn cool(&mut self, start: Duration, now: Instant) {
        self.advance(now);
        self.size.cold_start = start;
        for index in 0..self.workers.len() {
            self.stop(index, now);
        }
    }

    /// Gives the fleet a new size and the workers it starts with. Requests at a worker stay there; time paid for is
    /// kept.
    pub(crate) fn renew(&mut self, size: Size, now: Instant) {
        self.advance(now);
        self.size = size;
        self.throttled = false;
        for index in 0..self.workers.len() {
            let busy = self.workers[index].busy() > 0;
            match self.workers[index].phase {
                Phase::Running { .. } if busy || index < size.min => {}
                _ if busy || index < size.min => {
                    self.workers[index].phase = Phase::Running { since: now, quiet_since: now }
                }
                _ => self.stop(index, now),
            }
        }
    }

    /// Whether no worker gets ready any more.
    pub(crate) fn set_throttled(&mut self, throttled: bool) {
        self.throttled = throttled;
    }

    /// Changes the workers that are only reported.
    pub(crate) fn report(&mut self, throttled: usize, unhealthy: usize) {
        self.size.throttled = throttled;
        self.size.unhealthy = unhealthy;
    }

    pub(crate) fn counts(&mut self, now: Instant) -> Counts {
        self.advance(now);
        let mut counts = Counts { throttled: self.size.throttled, unhealthy: self.size.unhealthy, ..Counts::default() };
        for worker in &self.workers {
            match worker.phase {
                _ if self.throttled => counts.throttled += 1,
                Phase::Idle => counts.idle += 1,
                Phase::Starting { load_at, .. } if now < load_at => counts.initializing += 1,
                Phase::Starting { .. } | Phase::Running { .. } => counts.running += 1,
            }
        }
        counts.total = self.workers.len() + self.size.throttled + self.size.unhealthy;
        counts
    }

    /// Requests that wait for a worker.
    pub(crate) fn queued(&self) -> usize {
        self.waiting.len()
    }

    /// Requests at a worker.
    pub(crate) fn placed(&self) -> usize {
        self.placed.len()
    }

    /// Worker time paid for until now.
    pub(crate) fn billed(&mut self, now: Instant) -> Duration {
        self.advance(now);
        let live = self.workers.iter().map(|worker| match worker.phase {
            Phase::Idle => Duration::ZERO,
            Phase::Starting { load_at: since, .. } | Phase::Running { since, .. } => {
                now.saturating_duration_since(since)
            }
        });
        self.billed + live.sum::<Duration>()
    }

    /// Brings everything up to `now`.
    fn advance(&mut self, now: Instant) {
        self.finish_starts(now);
        self.place();
        self.start_workers(now);
        self.finish_starts(now);
        self.place();
        self.scale_down(now);
    }

    fn finish_starts(&mut self, now: Instant) {
        if self.throttled {
            return;
        }
        for worker in &mut self.workers {
            if let Phase::Starting { load_at: since, ready_at } = worker.phase
                && ready_at <= now
            {
                worker.phase = Phase::Running { since, quiet_since: ready_at };
            }
        }
    }

    fn place(&mut self) {
        while !self.throttled && !self.waiting.is_empty() {
            let running =
                self.workers.iter().enumerate().filter(|(_, worker)| matches!(worker.phase, Phase::Running { .. }));
            let Some((index, worker)) = running.min_by_key(|(_, worker)| worker.busy()) else { return };
            if worker.busy() >= self.size.concurrency {
                return;
            }
            let Some(waiter) = self.waiting.pop_front() else { return };
            worker.load.requests.fetch_add(1, Ordering::Relaxed);
            self.placed.insert(waiter, index);
        }
    }

    fn start_workers(&mut self, now: Instant) {
        if self.throttled {
            return;
        }
        let missing = match self.size.requests_per_worker {
            None => self.missing_for_the_waiting(),
            Some(requests) => self.missing_by_count(requests as usize, now),
        };
        let Self { size, workers, rng, .. } = self;
        for worker in workers.iter_mut().filter(|worker| matches!(worker.phase, Phase::Idle)).take(missing) {
            let takes = size.cold_start.mul_f64(lognormal(size.cold_start_spread, rng));
            let ready_at = now + takes;
            worker.phase = Phase::Starting { load_at: ready_at - takes.mul_f64(size.load_share), ready_at };
        }
    }

    /// Workers to start for those that wait, beside the ones on their way.
    fn missing_for_the_waiting(&self) -> usize {
        let starting = self.workers.iter().filter(|worker| matches!(worker.phase, Phase::Starting { .. })).count();
        let concurrency = self.size.concurrency as usize;
        self.waiting.len().saturating_sub(starting.saturating_mul(concurrency)).div_ceil(concurrency)
    }

    /// Workers to start so that there is one for each so many requests. Whoever finds none at all starts one at once.
    fn missing_by_count(&mut self, requests: usize, now: Instant) -> usize {
        let up = self.workers.iter().filter(|worker| !matches!(worker.phase, Phase::Idle)).count();
        if now < self.next_count {
            return usize::from(up == 0 && !self.waiting.is_empty());
        }
        self.next_count = now + self.size.scale_every;
        let wanted = (self.waiting.len() + self.placed.len()).div_ceil(requests.max(1));
        wanted.clamp(self.size.min, self.size.max).saturating_sub(up)
    }

    fn scale_down(&mut self, now: Instant) {
        let mut up = self.workers.iter().filter(|worker| !matches!(worker.phase, Phase::Idle)).count();
        for index in (0..self.workers.len()).rev() {
            if up <= self.size.min {
                return;
            }
            let Phase::Running { quiet_since, .. } = self.workers[index].phase else { continue };
            let end = quiet_since + self.size.idle_timeout;
            if self.workers[index].busy() == 0 && end <= now {
                self.stop(index, end);
                up -= 1;
            }
        }
    }

    fn stop(&mut self, index: usize, at: Instant) {
        let worker = &mut self.workers[index];
        if let Phase::Starting { load_at: since, .. } | Phase::Running { since, .. } = worker.phase {
            self.billed += at.saturating_duration_since(since);
        }
        worker.phase = Phase::Idle;
    }

    fn release(&mut self, index: usize, now: Instant) {
        let worker = &mut self.workers[index];
        worker.load.requests.fetch_sub(1, Ordering::Relaxed);
        if let Phase::Running { quiet_since, .. } = &mut worker.phase {
            *quiet_since = now;
        }
    }

    /// When a worker gets ready, or requests are counted the next time.
    fn next_start(&self) -> Option<Instant> {
        if self.throttled {
            return None;
        }
        let starts = self.workers.iter().filter_map(|worker| match worker.phase {
            Phase::Starting { ready_at, .. } => Some(ready_at),
            Phase::Idle | Phase::Running { .. } => None,
        });
        let count = self.size.requests_per_worker.map(|_| self.next_count);
        starts.chain(count).min()
    }
}

#[cfg(test)]
mod tests;

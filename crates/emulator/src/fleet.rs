//! The workers of an endpoint as a state machine: initializing, running, idle. It takes the time as an argument and
//! never waits; [`crate::worker_permit`] does the waiting.
//!
//! Scaling is by demand: a worker is started when more requests wait than the workers on their way can take. A cold start
//! has two parts, as RunPod reports them: the worker is initializing while it fetches its image, which costs nothing, and
//! running while it loads its model. Billing is for the time in which a worker runs: load, work and idle tail.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use tokio::time::Instant;

/// Size and pace of a fleet, with the emulator's speed already applied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) min: usize,
    pub(crate) max: usize,
    pub(crate) concurrency: u32,
    pub(crate) cold_start: Duration,
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

/// Whether a request has a worker.
#[derive(Clone, Debug)]
pub(crate) enum Assignment {
    /// At this worker, with the number of requests it has.
    At(usize, Arc<AtomicU32>),
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
    load: Arc<AtomicU32>,
}

impl Worker {
    fn busy(&self) -> u32 {
        self.load.load(Ordering::Relaxed)
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
}

impl Fleet {
    pub(crate) fn new(size: Size, now: Instant) -> Self {
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
            worker.load.fetch_add(1, Ordering::Relaxed);
            self.placed.insert(waiter, index);
        }
    }

    fn start_workers(&mut self, now: Instant) {
        if self.throttled {
            return;
        }
        let starting = self.workers.iter().filter(|worker| matches!(worker.phase, Phase::Starting { .. })).count();
        let mut room = starting * self.size.concurrency as usize;
        for worker in &mut self.workers {
            if room >= self.waiting.len() {
                return;
            }
            if matches!(worker.phase, Phase::Idle) {
                let ready_at = now + self.size.cold_start;
                worker.phase = Phase::Starting {
                    load_at: ready_at - self.size.cold_start.mul_f64(self.size.load_share),
                    ready_at,
                };
                room += self.size.concurrency as usize;
            }
        }
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
        worker.load.fetch_sub(1, Ordering::Relaxed);
        if let Phase::Running { quiet_since, .. } = &mut worker.phase {
            *quiet_since = now;
        }
    }

    fn next_start(&self) -> Option<Instant> {
        if self.throttled {
            return None;
        }
        let starts = self.workers.iter().filter_map(|worker| match worker.phase {
            Phase::Starting { ready_at, .. } => Some(ready_at),
            Phase::Idle | Phase::Running { .. } => None,
        });
        starts.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size {
        min: 0,
        max: 2,
        concurrency: 2,
        cold_start: Duration::from_secs(40),
        load_share: 0.75,
        idle_timeout: Duration::from_secs(5),
        throttled: 0,
        unhealthy: 1,
    };

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_cold_request_waits_for_its_worker_and_the_worker_goes_after_the_idle_timeout() {
        let start = Instant::now();
        let mut fleet = Fleet::new(SIZE, start);
        let waiter = fleet.enter();
        assert!(matches!(fleet.poll(waiter, start), Assignment::Waiting(Some(at)) if at == after(start, 40)));
        assert_eq!(
            fleet.counts(start),
            Counts { initializing: 1, idle: 1, unhealthy: 1, total: 3, ..Counts::default() }
        );
        let loading = fleet.counts(after(start, 10));
        assert_eq!((loading.running, loading.initializing), (1, 0), "a model that loads counts as running");
        assert!(matches!(fleet.poll(waiter, after(start, 39)), Assignment::Waiting(Some(_))), "but serves nobody");
        assert!(matches!(fleet.poll(waiter, after(start, 40)), Assignment::At(0, _)));
        assert!(!fleet.leave(waiter, after(start, 50)));
        assert_eq!(fleet.counts(after(start, 54)).running, 1);
        assert_eq!(fleet.counts(after(start, 60)).running, 0);
        assert_eq!(fleet.billed(after(start, 100)), Duration::from_secs(45), "30 s to load, 10 s of work, 5 s of tail");
    }

    #[test]
    fn the_queue_is_served_in_order_and_spreads_over_workers() {
        let start = Instant::now();
        let mut fleet = Fleet::new(Size { min: 1, max: 1, ..SIZE }, start);
        let waiters: Vec<u64> = (0..3).map(|_| fleet.enter()).collect();
        assert!(matches!(fleet.poll(waiters[1], start), Assignment::At(0, load) if load.load(Ordering::Relaxed) == 2));
        assert!(matches!(fleet.poll(waiters[2], start), Assignment::Waiting(None)));
        assert_eq!((fleet.queued(), fleet.placed()), (1, 2));
        fleet.leave(waiters[0], start);
        assert!(matches!(fleet.poll(waiters[2], start), Assignment::At(0, _)));
    }

    #[test]
    fn more_demand_starts_more_workers() {
        let start = Instant::now();
        let mut fleet = Fleet::new(SIZE, start);
        let waiters: Vec<u64> = (0..3).map(|_| fleet.enter()).collect();
        fleet.poll(waiters[0], start);
        assert_eq!(fleet.counts(start).initializing, 2);
        assert!(waiters.iter().all(|waiter| matches!(fleet.poll(*waiter, after(start, 41)), Assignment::At(..))));
    }

    #[test]
    fn throttled_workers_never_get_ready() {
        let start = Instant::now();
        let mut fleet = Fleet::new(Size { min: 1, ..SIZE }, start);
        fleet.set_throttled(true);
        let waiter = fleet.enter();
        assert!(matches!(fleet.poll(waiter, after(start, 1000)), Assignment::Waiting(None)));
        let counts = fleet.counts(start);
        assert_eq!((counts.running, counts.throttled), (0, 2));
    }

    #[test]
    fn cooling_stops_even_the_workers_that_are_never_scaled_down() {
        let start = Instant::now();
        let mut fleet = Fleet::new(Size { min: 1, ..SIZE }, start);
        fleet.cool(Duration::from_secs(7), after(start, 3));
        assert_eq!(fleet.billed(after(start, 9)), Duration::from_secs(3));
        let waiter = fleet.enter();
        assert!(
            matches!(fleet.poll(waiter, after(start, 10)), Assignment::Waiting(Some(at)) if at == after(start, 17))
        );
    }
}

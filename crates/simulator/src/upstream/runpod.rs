//! A RunPod serverless endpoint: a queue in order of arrival, workers that take from it, and a scaler that starts and stops
//! them.
//!
//! A worker has slots. A job takes one of the least loaded worker that has one free, waits until the prompts before it are
//! read, is read, and is then written together with the worker's other answers. The scaler looks once a second; a job that
//! finds no worker starts one at once.
//!
//! An outage fails everything that is there and everything that comes; workers fall idle and are stopped in time, and
//! none are started. When RunPod throttles, the workers are gone and their jobs fail, but the queue takes jobs as
//! before and reports nothing.

use std::collections::VecDeque;

use super::{Consumed, Job, Plan, Refusal, Step};
use crate::{
    chance::{Chance, Purpose},
    policy::{AttemptId, Capacity},
    providers::{Lognormal, RunPodSettings, Scaler},
    scenario::UpstreamChange,
    time::{Nanos, SECOND, from_seconds},
};

mod foresight;
mod worker;

use worker::Worker;

/// The part of the overhead that lies before a job reaches the queue; the rest is the way back of each token.
const OUTBOUND: f64 = 0.6;

/// How often the scaler looks.
const SCALE_EVERY: Nanos = SECOND;

#[derive(Debug)]
pub(crate) struct RunPod {
    settings: RunPodSettings,
    chance: Chance,
    queue: VecDeque<Queued>,
    workers: Vec<Worker>,
    started: u32,
    speed: f64,
    outage: bool,
    throttled: bool,
    /// Time of workers that are gone.
    gone: Nanos,
}

#[derive(Debug)]
struct Queued {
    job: Job,
    since: Nanos,
}

impl RunPod {
    pub(super) fn new(settings: RunPodSettings, chance: Chance, plan: &mut Plan<'_>) -> Self {
        let mut runpod = Self {
            settings,
            chance,
            queue: VecDeque::new(),
            workers: Vec::new(),
            started: 0,
            speed: 1.0,
            outage: false,
            throttled: false,
            gone: 0,
        };
        for _ in 0..runpod.settings.min_workers {
            runpod.add_worker(plan.now, plan.now);
        }
        for worker in &mut runpod.workers {
            worker.up = true;
        }
        plan.step(plan.now + SCALE_EVERY, Step::Scale);
        runpod
    }

    pub(super) fn travel(&self, job: &Job) -> Nanos {
        self.overhead(OUTBOUND, Purpose::Outbound, job)
    }

    fn overhead(&self, part: f64, purpose: Purpose, job: &Job) -> Nanos {
        let Lognormal { median, sigma } = self.settings.overhead;
        let draw = self.chance.lognormal((median, sigma), purpose, u64::from(job.request), u64::from(job.ordinal));
        from_seconds(part * draw / self.speed)
    }

    pub(super) fn reach(&mut self, job: Job, plan: &mut Plan<'_>) -> Result<(), Refusal> {
        if self.outage {
            return Err(Refusal::Unavailable);
        }
        self.queue.push_back(Queued { job, since: plan.now });
        self.pull(plan);
        if self.workers.is_empty() && !self.throttled {
            self.start_worker(plan);
        }
        Ok(())
    }

    /// Hands out jobs while a worker has a free slot.
    fn pull(&mut self, plan: &mut Plan<'_>) {
        while !self.queue.is_empty() {
            let slots = self.settings.slots as usize;
            let free = self.workers.iter_mut().filter(|worker| worker.up && worker.load() < slots);
            let Some(worker) = free.min_by_key(|worker| worker.load()) else { return };
            let Some(Queued { job, .. }) = self.queue.pop_front() else { return };
            worker.take(job, self.speed, &self.settings, plan);
        }
    }

    pub(super) fn step(&mut self, step: Step, plan: &mut Plan<'_>) {
        match step {
            Step::Started { worker } => self.worker_started(worker, plan),
            Step::Prefilled { worker, attempt } => self.prefilled(worker, attempt, plan),
            Step::Decoded { worker, version } => self.decoded(worker, version, plan),
            Step::Idle { worker, version } => self.idle(worker, version, plan.now),
            Step::Scale => self.scale(plan),
        }
    }

    fn index_of(&self, worker: u32) -> Option<usize> {
        self.workers.iter().position(|candidate| candidate.id == worker)
    }

    fn add_worker(&mut self, now: Nanos, ready: Nanos) -> u32 {
        self.started += 1;
        self.workers.push(Worker::new(self.started, now, ready));
        self.started
    }

    fn start_worker(&mut self, plan: &mut Plan<'_>) {
        let Lognormal { median, sigma } = self.settings.cold_start;
        let number = u64::from(self.started);
        let takes = self.chance.lognormal((median, sigma), Purpose::ColdStart, number, 0);
        let ready = plan.now + from_seconds(takes);
        let worker = self.add_worker(plan.now, ready);
        plan.step(ready, Step::Started { worker });
    }

    fn worker_started(&mut self, worker: u32, plan: &mut Plan<'_>) {
        let Some(index) = self.index_of(worker) else { return };
        self.workers[index].up = true;
        self.pull(plan);
        self.watch_idle(index, plan);
    }

    fn prefilled(&mut self, worker: u32, attempt: AttemptId, plan: &mut Plan<'_>) {
        let Some(index) = self.index_of(worker) else { return };
        let (median, sigma) = (self.settings.overhead.median, self.settings.overhead.sigma);
        let (chance, speed) = (self.chance, self.speed);
        let inbound = |job: &Job| {
            let (request, ordinal) = (u64::from(job.request), u64::from(job.ordinal));
            let draw = chance.lognormal((median, sigma), Purpose::Inbound, request, ordinal);
            from_seconds((1.0 - OUTBOUND) * draw / speed)
        };
        self.workers[index].prefilled(attempt, inbound, self.speed, &self.settings, plan);
        self.pull(plan);
        self.watch_idle(index, plan);
    }

    fn decoded(&mut self, worker: u32, version: u32, plan: &mut Plan<'_>) {
        let Some(index) = self.index_of(worker) else { return };
        if self.workers[index].decoded(version, self.speed, &self.settings, plan) {
            self.pull(plan);
            self.watch_idle(index, plan);
        }
    }

    /// Plans to stop a worker that has nothing to do.
    fn watch_idle(&mut self, index: usize, plan: &mut Plan<'_>) {
        let worker = &self.workers[index];
        if worker.up && worker.load() == 0 && self.queue.is_empty() {
            let (worker, version) = (worker.id, worker.idle_version);
            plan.step(plan.now + self.settings.idle_timeout, Step::Idle { worker, version });
        }
    }

    fn idle(&mut self, worker: u32, version: u32, now: Nanos) {
        let Some(index) = self.index_of(worker) else { return };
        let worker = &self.workers[index];
        let is_idle = worker.idle_version == version && worker.load() == 0;
        if is_idle && self.workers.len() > self.settings.min_workers as usize {
            self.gone += now - worker.started;
            self.workers.remove(index);
        }
    }

    fn scale(&mut self, plan: &mut Plan<'_>) {
        if !self.throttled && !self.outage {
            for _ in self.workers.len()..self.wanted(plan.now) {
                self.start_worker(plan);
            }
        }
        plan.step(plan.now + SCALE_EVERY, Step::Scale);
    }

    /// Workers that the scaler wants.
    fn wanted(&self, now: Nanos) -> usize {
        let there = self.workers.len();
        let wanted = match self.settings.scaler {
            Scaler::RequestCount(value) => self.jobs().div_ceil(value as usize),
            Scaler::QueueDelay(delay) => match self.queue.front() {
                Some(_) if self.workers.is_empty() => 1,
                Some(oldest) if now - oldest.since > delay && self.workers.iter().all(|worker| worker.up) => there + 1,
                _ => there,
            },
        };
        wanted.clamp(self.settings.min_workers as usize, self.settings.max_workers as usize)
    }

    /// Jobs that wait or run.
    fn jobs(&self) -> usize {
        self.queue.len() + self.workers.iter().map(Worker::load).sum::<usize>()
    }

    pub(super) fn cancel(&mut self, attempt: AttemptId, plan: &mut Plan<'_>) -> Option<Consumed> {
        if let Some(at) = self.queue.iter().position(|queued| queued.job.attempt == attempt) {
            self.queue.remove(at);
            return Some(Consumed::default());
        }
        for index in 0..self.workers.len() {
            let consumed = self.workers[index].cancel(attempt, self.speed, &self.settings, plan);
            if consumed.is_some() {
                self.pull(plan);
                self.watch_idle(index, plan);
                return consumed;
            }
        }
        None
    }

    pub(super) fn apply(&mut self, change: UpstreamChange, plan: &mut Plan<'_>) -> Vec<(AttemptId, Consumed)> {
        match change {
            UpstreamChange::Outage(on) => self.set_outage(on, plan),
            UpstreamChange::Throttle(on) => self.set_throttle(on, plan.now),
            UpstreamChange::Speed(speed) => {
                for worker in &mut self.workers {
                    worker.advance(plan.now.max(worker.ready), self.speed, &self.settings);
                    worker.plan_next_end(speed, &self.settings, plan);
                }
                self.speed = speed;
                Vec::new()
            }
            UpstreamChange::Limits(_) | UpstreamChange::Errors(_) | UpstreamChange::Refusals(_) => Vec::new(),
        }
    }

    fn set_outage(&mut self, on: bool, plan: &mut Plan<'_>) -> Vec<(AttemptId, Consumed)> {
        self.outage = on;
        if !on {
            return Vec::new();
        }
        let mut failed = self.drain_workers(plan.now);
        failed.extend(self.queue.drain(..).map(|queued| (queued.job.attempt, Consumed::default())));
        for index in 0..self.workers.len() {
            self.watch_idle(index, plan);
        }
        failed
    }

    fn set_throttle(&mut self, on: bool, now: Nanos) -> Vec<(AttemptId, Consumed)> {
        self.throttled = on;
        if !on {
            return Vec::new();
        }
        let failed = self.drain_workers(now);
        self.gone += self.workers.drain(..).map(|worker| now - worker.started).sum::<Nanos>();
        failed
    }

    fn drain_workers(&mut self, now: Nanos) -> Vec<(AttemptId, Consumed)> {
        let (speed, settings) = (self.speed, &self.settings);
        self.workers.iter_mut().flat_map(|worker| worker.drain(now.max(worker.ready), speed, settings)).collect()
    }

    pub(super) fn capacity(&self, now: Nanos) -> Option<Capacity> {
        if self.outage {
            return None;
        }
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let ready = self.workers.iter().filter(|worker| worker.up).count();
        Some(Capacity {
            taken_at: now,
            ready: count(ready),
            initializing: count(self.workers.len() - ready),
            throttled: if self.throttled { self.settings.max_workers } else { 0 },
            queued: count(self.queue.len()),
            in_progress: count(self.jobs() - self.queue.len()),
        })
    }

    pub(super) const fn health_poll(&self) -> Nanos {
        self.settings.health_poll
    }

    pub(super) fn gpu_time(&self, now: Nanos) -> (Nanos, u32) {
        (self.gone + self.workers.iter().map(|worker| now - worker.started).sum::<Nanos>(), self.started)
    }
}

#[cfg(test)]
mod tests;

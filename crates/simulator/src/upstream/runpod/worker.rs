//! One worker: prompts are read one after the other, answers are written all at once, each slower the more there are.

use std::collections::VecDeque;

use super::super::{Consumed, Job, Plan, Step};
use crate::{
    policy::AttemptId,
    providers::RunPodSettings,
    time::{Nanos, from_seconds, seconds},
};

/// How far short of its last token an answer counts as complete: less than a nanosecond's work.
const ROUNDING: f64 = 1e-6;

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) id: u32,
    /// When it was started, which is when it began to cost.
    pub(super) started: Nanos,
    /// When it is ready for work.
    pub(super) ready: Nanos,
    pub(super) up: bool,
    waiting: VecDeque<Job>,
    prefilling: Option<Prefilling>,
    decoding: Vec<Decoding>,
    /// Tokens that each running answer has got since the worker's start.
    progress: f64,
    progress_at: Nanos,
    /// Counts changes of what is being written, so that plans made before are known as outdated.
    version: u32,
    /// Counts the times that it was used, so that a plan to stop it is known as outdated.
    pub(super) idle_version: u32,
}

#[derive(Debug)]
struct Prefilling {
    job: Job,
    until: Nanos,
    cancelled: bool,
}

#[derive(Debug)]
struct Decoding {
    job: Job,
    /// The worker's progress at which it is complete.
    complete_at: f64,
    /// How long its tokens are on their way to the router.
    inbound: Nanos,
}

impl Worker {
    pub(super) const fn new(id: u32, started: Nanos, ready: Nanos) -> Self {
        Self {
            id,
            started,
            ready,
            up: false,
            waiting: VecDeque::new(),
            prefilling: None,
            decoding: Vec::new(),
            progress: 0.0,
            progress_at: ready,
            version: 0,
            idle_version: 0,
        }
    }

    /// Jobs that it has.
    pub(super) fn load(&self) -> usize {
        self.decoding.len() + self.waiting.len() + usize::from(self.prefilling.is_some())
    }

    /// Gives it a job, which waits until the prompts before it are read.
    pub(super) fn take(&mut self, job: Job, speed: f64, settings: &RunPodSettings, plan: &mut Plan<'_>) {
        self.idle_version += 1;
        self.waiting.push_back(job);
        self.read_next(speed, settings, plan);
    }

    fn read_next(&mut self, speed: f64, settings: &RunPodSettings, plan: &mut Plan<'_>) {
        if self.prefilling.is_some() {
            return;
        }
        let Some(job) = self.waiting.pop_front() else { return };
        let until = plan.now + from_seconds(f64::from(job.prompt_tokens) / (settings.prefill_per_second * speed));
        plan.step(until, Step::Prefilled { worker: self.id, attempt: job.attempt });
        self.prefilling = Some(Prefilling { job, until, cancelled: false });
    }

    /// A prompt is read: its answer begins, unless it was cancelled. `inbound` is how long tokens travel.
    pub(super) fn prefilled(
        &mut self,
        attempt: AttemptId,
        inbound: impl FnOnce(&Job) -> Nanos,
        speed: f64,
        settings: &RunPodSettings,
        plan: &mut Plan<'_>,
    ) {
        let Some(Prefilling { job, cancelled, .. }) =
            self.prefilling.take_if(|prefilling| prefilling.job.attempt == attempt)
        else {
            return;
        };
        if !cancelled {
            self.advance(plan.now, speed, settings);
            let inbound = inbound(&job);
            let complete_at = self.progress + f64::from(job.completion_tokens);
            self.decoding.push(Decoding { job, complete_at, inbound });
            self.plan_next_end(speed, settings, plan);
            plan.first_token(plan.now + inbound, attempt);
        }
        self.read_next(speed, settings, plan);
    }

    /// An answer may be complete. Returns whether one was.
    pub(super) fn decoded(&mut self, version: u32, speed: f64, settings: &RunPodSettings, plan: &mut Plan<'_>) -> bool {
        if version != self.version {
            return false;
        }
        self.advance(plan.now, speed, settings);
        let complete = self.progress + ROUNDING;
        self.decoding.retain(|decoding| {
            let goes_on = decoding.complete_at > complete;
            if !goes_on {
                plan.end(plan.now + decoding.inbound, decoding.job.attempt);
            }
            goes_on
        });
        self.plan_next_end(speed, settings, plan);
        true
    }

    /// Tokens a second that each answer gets.
    #[expect(clippy::cast_precision_loss, reason = "a few hundred answers at most")]
    pub(super) fn rate(&self, speed: f64, settings: &RunPodSettings) -> f64 {
        let others = self.decoding.len().saturating_sub(1) as f64;
        speed * settings.decode_per_second / (1.0 + settings.decode_slowdown * others)
    }

    /// Writes on what is being written, up to `now`. Called before anything changes its rate.
    pub(super) fn advance(&mut self, now: Nanos, speed: f64, settings: &RunPodSettings) {
        if !self.decoding.is_empty() {
            self.progress += seconds(now - self.progress_at) * self.rate(speed, settings);
        }
        self.progress_at = now;
    }

    /// Plans for the answer that is complete first, at the rate of now.
    pub(super) fn plan_next_end(&mut self, speed: f64, settings: &RunPodSettings, plan: &mut Plan<'_>) {
        self.version += 1;
        let Some(next) = self.decoding.iter().map(|decoding| decoding.complete_at).reduce(f64::min) else { return };
        let left = (next - self.progress).max(0.0) / self.rate(speed, settings);
        let version = self.version;
        plan.step(plan.now + from_seconds(left), Step::Decoded { worker: self.id, version });
    }

    /// Takes a job away, if it is here. A prompt that is being read is read to its end.
    pub(super) fn cancel(
        &mut self,
        attempt: AttemptId,
        speed: f64,
        settings: &RunPodSettings,
        plan: &mut Plan<'_>,
    ) -> Option<Consumed> {
        if let Some(at) = self.decoding.iter().position(|decoding| decoding.job.attempt == attempt) {
            self.advance(plan.now, speed, settings);
            let decoding = self.decoding.swap_remove(at);
            self.plan_next_end(speed, settings, plan);
            return Some(decoding.consumed(self.progress));
        }
        if let Some(prefilling) = self.prefilling.as_mut().filter(|prefilling| prefilling.job.attempt == attempt) {
            prefilling.cancelled = true;
            return Some(Consumed { prompt_tokens: prefilling.job.prompt_tokens, completion_tokens: 0 });
        }
        let at = self.waiting.iter().position(|job| job.attempt == attempt)?;
        self.waiting.remove(at);
        Some(Consumed::default())
    }

    /// Takes all its jobs away, with what they have used. A prompt that is being read is read to its end.
    pub(super) fn drain(&mut self, now: Nanos, speed: f64, settings: &RunPodSettings) -> Vec<(AttemptId, Consumed)> {
        self.advance(now, speed, settings);
        self.version += 1;
        self.idle_version += 1;
        let waiting = self.waiting.drain(..).map(|job| (job.attempt, Consumed::default()));
        let mut jobs: Vec<_> = waiting.collect();
        if let Some(prefilling) = self.prefilling.as_mut().filter(|prefilling| !prefilling.cancelled) {
            prefilling.cancelled = true;
            let Job { attempt, prompt_tokens, .. } = prefilling.job;
            jobs.push((attempt, Consumed { prompt_tokens, completion_tokens: 0 }));
        }
        let progress = self.progress;
        jobs.extend(self.decoding.drain(..).map(|decoding| (decoding.job.attempt, decoding.consumed(progress))));
        jobs
    }

    /// When a prompt that came now would begin to be read, counted from now.
    pub(super) fn reading_for(&self, now: Nanos, speed: f64, settings: &RunPodSettings) -> Nanos {
        let waiting: u64 = self.waiting.iter().map(|job| u64::from(job.prompt_tokens)).sum();
        let reading = self.prefilling.as_ref().map_or(0, |prefilling| prefilling.until.saturating_sub(now));
        reading + from_seconds(crate::trace::as_f64(waiting) / (settings.prefill_per_second * speed))
    }

    /// When each running answer ends at the rate of now, counted from now.
    pub(super) fn ends(&self, now: Nanos, speed: f64, settings: &RunPodSettings) -> impl Iterator<Item = Nanos> {
        let rate = self.rate(speed, settings);
        let progress = self.progress + seconds(now - self.progress_at) * rate;
        self.decoding.iter().map(move |decoding| from_seconds((decoding.complete_at - progress).max(0.0) / rate))
    }
}

impl Decoding {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by the answer's length")]
    fn consumed(&self, progress: f64) -> Consumed {
        let left = (self.complete_at - progress).max(0.0) as u32;
        Consumed {
            prompt_tokens: self.job.prompt_tokens,
            completion_tokens: self.job.completion_tokens.saturating_sub(left),
        }
    }
}

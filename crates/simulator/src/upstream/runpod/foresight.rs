//! Foresight for the clairvoyant baseline: when a job that was sent now would give its first token.

use super::RunPod;
use crate::time::{NEVER, Nanos, from_seconds};

impl RunPod {
    /// The time to the first token of a prompt of this length, if nothing else came and no worker were started.
    pub(crate) fn first_token_in(&self, prompt_tokens: u32, now: Nanos) -> Nanos {
        let Self { settings, speed, .. } = self;
        let reading = f64::from(prompt_tokens) / (settings.prefill_per_second * speed);
        let own = from_seconds(settings.overhead.median / speed + reading);
        if self.outage || self.throttled {
            return NEVER;
        }
        let slots = settings.slots as usize;
        let free = self.workers.iter().filter(|worker| worker.up && worker.load() < slots);
        if self.queue.is_empty()
            && let Some(worker) = free.min_by_key(|worker| worker.load())
        {
            return own + worker.reading_for(now, *speed, settings);
        }
        // One slot comes free with each answer that ends and with each worker that starts: the queue takes the first of them.
        let mut free_in: Vec<Nanos> = Vec::new();
        for worker in &self.workers {
            if worker.up {
                free_in.extend(worker.ends(now, *speed, settings));
            } else {
                free_in.extend(std::iter::repeat_n(worker.ready.saturating_sub(now), slots));
            }
        }
        if free_in.len() <= self.queue.len() {
            return NEVER;
        }
        let (_, free_in, _) = free_in.select_nth_unstable(self.queue.len());
        own + *free_in
    }

    /// How long an answer of this length takes at most: a second for the ways, and half as long again as on a full worker.
    pub(crate) fn longest(&self, prompt_tokens: u32, completion_tokens: u32) -> Nanos {
        let Self { settings, .. } = self;
        let others = f64::from(settings.slots.saturating_sub(1));
        let rate = settings.decode_per_second / (1.0 + settings.decode_slowdown * others);
        let reading = f64::from(prompt_tokens) / settings.prefill_per_second;
        from_seconds(1.0 + reading + 1.5 * f64::from(completion_tokens) / rate)
    }
}

//! Cerebras: answers at once, fast, and refuses what exceeds its limits for requests and tokens.
//!
//! Both limits are token buckets of a minute, debited when a call comes with the tokens that it will really use. The real
//! service debits prompt and output limit, and corrects that afterwards.

use super::{Consumed, Job, Plan, Refusal, bucket::Bucket};
use crate::{
    chance::{Chance, Purpose},
    policy::{AttemptId, Quota},
    providers::CerebrasSettings,
    scenario::UpstreamChange,
    time::{MILLISECOND, Nanos, from_seconds, seconds},
    trace::as_f64,
};

/// How long a call is on its way; it is part of the time to the first token.
pub(super) const TRAVEL: Nanos = 50 * MILLISECOND;

/// The shortest wait that a 429 names.
const SHORTEST_WAIT: Nanos = 50 * MILLISECOND;

#[derive(Debug)]
pub(crate) struct Cerebras {
    settings: CerebrasSettings,
    chance: Chance,
    requests: Bucket,
    tokens: Bucket,
    speed: f64,
    outage: bool,
    running: Vec<Running>,
}

/// An answer that is being written.
#[derive(Debug)]
struct Running {
    job: Job,
    first_token: Nanos,
    /// Tokens a second.
    rate: f64,
}

impl Cerebras {
    pub(super) fn new(settings: CerebrasSettings, chance: Chance) -> Self {
        let (requests, tokens) = settings.per_minute();
        Self {
            settings,
            chance,
            requests: Bucket::new(requests),
            tokens: Bucket::new(tokens),
            speed: 1.0,
            outage: false,
            running: Vec::new(),
        }
    }

    pub(super) fn reach(&mut self, job: Job, plan: &mut Plan<'_>) -> Result<(), Refusal> {
        if self.outage {
            return Err(Refusal::Unavailable);
        }
        let needed = as_f64(job.tokens().tokens());
        if !self.has_room(needed, plan.now) {
            let wait = self.requests.wait_for(1.0).max(self.tokens.wait_for(needed));
            return Err(Refusal::RateLimited { retry_after: wait.max(SHORTEST_WAIT) });
        }
        self.requests.take(1.0);
        self.tokens.take(needed);
        let Lag { first_token, rate } = self.lag(&job);
        let first_token = plan.now + first_token;
        plan.first_token(first_token, job.attempt);
        plan.end(first_token + from_seconds(f64::from(job.completion_tokens) / rate), job.attempt);
        self.running.push(Running { job, first_token, rate });
        Ok(())
    }

    fn lag(&self, job: &Job) -> Lag {
        let Self { settings, speed, .. } = self;
        let first_token = (settings.first_token.median, settings.first_token.sigma);
        let draw =
            self.chance.lognormal(first_token, Purpose::FirstToken, u64::from(job.request), u64::from(job.ordinal));
        let prompt = f64::from(job.prompt_tokens) / settings.prefill_per_second;
        let first_token = from_seconds((draw + prompt) / speed).saturating_sub(TRAVEL);
        Lag { first_token, rate: settings.decode_per_second * speed }
    }

    /// Whether a call of so many tokens would be taken.
    pub(crate) fn has_room(&mut self, tokens: f64, now: Nanos) -> bool {
        self.requests.level(now) >= 1.0 && self.tokens.level(now) >= tokens
    }

    pub(super) fn cancel(&mut self, attempt: AttemptId, now: Nanos) -> Option<Consumed> {
        self.take(attempt).map(|running| running.consumed(now))
    }

    pub(super) fn ended(&mut self, attempt: AttemptId) {
        self.take(attempt);
    }

    fn take(&mut self, attempt: AttemptId) -> Option<Running> {
        let at = self.running.iter().position(|running| running.job.attempt == attempt)?;
        Some(self.running.swap_remove(at))
    }

    pub(super) fn apply(&mut self, change: UpstreamChange, now: Nanos) -> Vec<(AttemptId, Consumed)> {
        match change {
            UpstreamChange::Outage(on) => {
                self.outage = on;
                if on {
                    let running = self.running.drain(..);
                    return running.map(|running| (running.job.attempt, running.consumed(now))).collect();
                }
            }
            // What is being written keeps its speed.
            UpstreamChange::Speed(speed) => self.speed = speed,
            UpstreamChange::Limits(factor) => {
                self.requests.grant(factor, now);
                self.tokens.grant(factor, now);
            }
            UpstreamChange::Throttle(_) | UpstreamChange::Errors(_) | UpstreamChange::Refusals(_) => {}
        }
        Vec::new()
    }

    /// How full the emptier bucket is, from 0 to 1.
    pub(crate) fn fullness(&mut self, now: Nanos) -> f64 {
        self.requests.fullness(now).min(self.tokens.fullness(now))
    }

    pub(crate) fn quota(&mut self, now: Nanos) -> Quota {
        Quota { requests: self.requests.level(now), tokens: self.tokens.level(now) }
    }
}

/// When an answer begins, and how fast it is written.
struct Lag {
    first_token: Nanos,
    rate: f64,
}

impl Running {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by the answer's length")]
    fn consumed(&self, now: Nanos) -> Consumed {
        let written = match now.checked_sub(self.first_token) {
            Some(since) => (seconds(since) * self.rate) as u32 + 1,
            None => 0,
        };
        Consumed { prompt_tokens: self.job.prompt_tokens, completion_tokens: written.min(self.job.completion_tokens) }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::SimEvent, *};
    use crate::{
        providers::{Limit, Lognormal},
        time::SECOND,
        timeline::Timeline,
    };

    fn cerebras(requests: f64, tokens: f64) -> Cerebras {
        let settings = CerebrasSettings {
            first_token: Lognormal { median: 0.8, sigma: 0.0 },
            prefill_per_second: 1000.0,
            decode_per_second: 100.0,
            requests: Limit::PerMinute(requests),
            tokens: Limit::PerMinute(tokens),
        };
        Cerebras::new(settings, Chance::new(1, 0))
    }

    fn job(attempt: u32, prompt_tokens: u32, completion_tokens: u32) -> Job {
        Job { attempt: AttemptId(attempt), request: attempt, ordinal: 0, prompt_tokens, completion_tokens }
    }

    /// Passes a call in. Returns when its first token and its end are seen.
    fn reach(cerebras: &mut Cerebras, now: Nanos, job: Job) -> Result<(Nanos, Nanos), Refusal> {
        let mut timeline = Timeline::new();
        cerebras.reach(job, &mut Plan { upstream: 0, now, timeline: &mut timeline })?;
        let (first, what) = timeline.next().unwrap();
        assert_eq!(what, SimEvent::First(job.attempt));
        let (end, what) = timeline.next().unwrap();
        assert_eq!(what, SimEvent::End(job.attempt));
        Ok((first, end))
    }

    #[test]
    fn the_prompt_and_the_answer_take_their_time() {
        let mut cerebras = cerebras(60.0, 60_000.0);
        // 0.8 s, of which 0.05 s are behind it, and half a second for the prompt; then 200 tokens at 100 a second.
        let (first, end) = reach(&mut cerebras, SECOND, job(0, 500, 200)).unwrap();
        assert_eq!((first, end), (2_250 * MILLISECOND, 4_250 * MILLISECOND));
        cerebras.apply(UpstreamChange::Speed(0.5), SECOND);
        let (first, _) = reach(&mut cerebras, SECOND, job(1, 500, 200)).unwrap();
        assert_eq!(first, 3_550 * MILLISECOND);
    }

    #[test]
    fn what_exceeds_a_limit_is_refused_with_the_time_to_wait() {
        let mut cerebras = cerebras(2.0, 6_000.0);
        reach(&mut cerebras, 0, job(0, 5_000, 1)).unwrap();
        // 1,000 of 2,000 tokens are there, and 100 come in a second.
        let refused = reach(&mut cerebras, 0, job(1, 1_899, 100)).unwrap_err();
        assert_eq!(refused, Refusal::RateLimited { retry_after: 10 * SECOND });
        reach(&mut cerebras, 0, job(2, 1, 1)).unwrap();
        let refused = reach(&mut cerebras, 0, job(3, 1, 1)).unwrap_err();
        assert_eq!(refused, Refusal::RateLimited { retry_after: 30 * SECOND }, "two requests a minute");
        assert!(reach(&mut cerebras, 31 * SECOND, job(4, 1, 1)).is_ok());
    }

    #[test]
    fn a_cancelled_answer_is_paid_as_far_as_it_was_written() {
        let mut cerebras = cerebras(60.0, 60_000.0);
        let (first, _) = reach(&mut cerebras, 0, job(0, 500, 200)).unwrap();
        reach(&mut cerebras, 0, job(1, 500, 200)).unwrap();
        let unread = cerebras.cancel(AttemptId(1), first - 1).unwrap();
        assert_eq!((unread.prompt_tokens, unread.completion_tokens), (500, 0));
        let half = cerebras.cancel(AttemptId(0), first + SECOND).unwrap();
        assert_eq!(half.completion_tokens, 101);
        assert_eq!(cerebras.cancel(AttemptId(0), first + SECOND), None);
    }

    #[test]
    fn an_outage_ends_what_is_running_and_refuses_what_comes() {
        let mut cerebras = cerebras(60.0, 60_000.0);
        reach(&mut cerebras, 0, job(0, 500, 200)).unwrap();
        let failed = cerebras.apply(UpstreamChange::Outage(true), SECOND / 2);
        assert_eq!(failed, [(AttemptId(0), Consumed { prompt_tokens: 500, completion_tokens: 0 })]);
        assert_eq!(reach(&mut cerebras, SECOND, job(1, 1, 1)), Err(Refusal::Unavailable));
        assert!(cerebras.apply(UpstreamChange::Outage(false), 2 * SECOND).is_empty());
        assert!(reach(&mut cerebras, 2 * SECOND, job(2, 1, 1)).is_ok());
    }
}

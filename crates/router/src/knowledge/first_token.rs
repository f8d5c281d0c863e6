//! When an upstream would answer: its time to the first token, predicted from the work that waits there.
//!
//! `time = slot wait + lognormal(base + own · (prompt tokens) + ahead · (prompt tokens that wait) / (ready workers))`
//!
//! The three coefficients are learned online ([`super::regression`]); the spread is that of the logarithm of what was
//! seen over what was predicted. A moving average of past times, as Peak-EWMA keeps (Finagle, tower), describes
//! the past and ignores this request's prompt; this predicts the wait in the queue that our own calls have made. The
//! request's own prompt has a coefficient of its own because one worker reads it, however many there are.
//!
//! The slot wait is the backlog over the rate of completions: `(in flight + 1 − ready · slots) / μ`. Answers that
//! waited long for a slot, or for a cold start, are no samples: their wait would be learned as the upstream's speed.
//!
//! **Silence.** A model of past answers cannot show that an upstream has stopped to answer. A call that waits longer
//! than was predicted for it, and that no later call has overtaken, is evidence; where capacity is unknown, or nothing
//! has answered for max(4 s, 3 · base), no prediction is lower than its age. This does not fade while a call waits.
//! Once no call waits, it fades within seconds, so that one call is sent. While that call waits, the prediction is as
//! high as before, so that no others follow until there is an answer.

use std::time::Duration;

use provider::Time;

use crate::knowledge::{
    duration, normal,
    rate::Rate,
    real,
    regression::Regression,
    waiting::{CallHandle, Waiting},
};

/// What the coefficients start from: seconds, and seconds per thousand prompt tokens.
const PRIOR: [f64; 3] = [0.3, 0.1, 0.1];
const PRIOR_VARIANCE: f64 = 1.0;
const BOUNDS: [(f64, f64); 3] = [(0.02, 60.0), (0.0, 10.0), (0.0, 10.0)];
/// The weight that samples keep with each further one, and with time: at a request a minute a hundred samples would
/// reach back over an hour and a half.
const FORGETTING: f64 = 0.99;
const MEMORY_S: f64 = 300.0;
const LEAST_FORGETTING: f64 = 0.5;
/// The variance of the logarithm before anything was seen.
const VARIANCE: f64 = 0.09;
/// How fast the spread follows, and its bounds.
const SPREAD_STEP: f64 = 0.03;
const SPREAD: (f64, f64) = (0.12, 0.8);
/// Beyond this many times faster or slower (e^2.4 = 11) a sample counts no more: one outlier is no spread.
const MOST_RESIDUAL: f64 = 2.4;
/// Fewest completions per second that a backlog is worked off with.
const LEAST_COMPLETIONS: f64 = 0.2;
/// An answer that waited longer than this for a slot is no sample. What waited less is: where all slots are always
/// taken, no other sample would show that the upstream has become slower.
const MOST_SLOT_WAIT_S: f64 = 1.0;
/// The shortest silence that is evidence.
const LEAST_SILENCE_S: f64 = 4.0;
const SILENCE_BASES: f64 = 3.0;
/// What is remembered of a silence when nothing waits any more, and how fast it fades.
const MOST_MEMORY_S: f64 = 20.0;
const FADING_S: f64 = 5.0;

/// What an upstream has to do at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// Calls of ours in flight, to the end of their answers, those of other replicas included.
    pub(crate) in_flight: u32,
    /// How many of them are of other replicas.
    pub(crate) elsewhere: u32,
    /// Workers that can take a call now; `None` if unknown.
    pub(crate) ready: Option<u32>,
    /// Calls that a worker serves at a time; `None` if unknown.
    pub(crate) slots: Option<u32>,
    /// Jobs in its own queue, those of others included; `None` if unknown.
    pub(crate) queued: Option<u32>,
}

/// A call that has no first token yet.
#[derive(Debug)]
#[must_use = "a call that is never ended counts as waiting for ever"]
pub(crate) struct Pending {
    handle: CallHandle,
    /// Ready workers when it began, at least one.
    workers: f64,
    /// Whether it found a ready worker and would soon have a slot.
    is_sample: bool,
}

/// A time to the first token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Prediction {
    /// The median without waiting for a slot, in seconds.
    pub(crate) median_s: f64,
    /// The standard deviation of its logarithm.
    pub(crate) spread: f64,
    /// What it takes so seldom that nothing needs to be calculated, in seconds: 4.5 standard deviations.
    pub(crate) longest_s: f64,
    /// What comes before it for certain: the wait for a slot, or a silence; in seconds.
    pub(crate) wait_s: f64,
    /// Whether the upstream seems to have stopped to answer. It still gets one call at a time, to see if it is back.
    pub(crate) is_silent: bool,
}

impl Prediction {
    /// The probability that the first token comes later than `limit`.
    pub(crate) fn late(&self, limit: Duration) -> f64 {
        let left = limit.as_secs_f64() - self.wait_s;
        if left <= 0.0 {
            return 1.0;
        }
        if left >= self.longest_s {
            return 0.0;
        }
        normal::tail((left / self.median_s).ln() / self.spread)
    }

    /// The median, waiting included.
    pub(crate) fn median(&self) -> Duration {
        duration(self.wait_s + self.median_s)
    }

    /// The time at `z` standard deviations of the logarithm: 1.28 is the 90th percentile.
    pub(crate) fn at(&self, z: f64) -> Duration {
        duration(self.wait_s + self.median_s * (z * self.spread).exp())
    }

    /// The same after a further wait that comes first, such as what remains of a cold start.
    #[must_use]
    pub(crate) fn after(self, wait: Duration) -> Self {
        Self { wait_s: self.wait_s.max(wait.as_secs_f64()), ..self }
    }
}

/// Calls that waited too long and ended without an answer.
#[derive(Debug, Clone, Copy)]
struct Silence {
    /// When the first of them began.
    since: Time,
    /// When the last of them ended.
    until: Time,
}

/// What is known of an upstream's time to the first token.
#[derive(Debug, Clone)]
pub(crate) struct FirstToken {
    regression: Regression,
    variance: f64,
    /// The standard deviation, the root of the variance: a prediction is made for each target of each request.
    spread: f64,
    /// How many times the median the longest first tokens take.
    longest: f64,
    waiting: Waiting,
    completions: Rate,
    learned_at: Option<Time>,
    answered_at: Option<Time>,
    /// When no worker was ready, last.
    cold_at: Option<Time>,
    silence: Option<Silence>,
}

impl Default for FirstToken {
    fn default() -> Self {
        Self {
            regression: Regression::new(PRIOR, PRIOR_VARIANCE, BOUNDS),
            variance: VARIANCE,
            spread: VARIANCE.sqrt(),
            longest: longest(VARIANCE.sqrt()),
            waiting: Waiting::default(),
            completions: Rate::default(),
            learned_at: None,
            answered_at: None,
            cold_at: None,
            silence: None,
        }
    }
}

impl FirstToken {
    /// A call with a prompt of so many tokens begins. `load` is without it.
    pub(crate) fn begin(&mut self, tokens: u64, load: Load, now: Time) -> Pending {
        let is_cold = load.ready == Some(0);
        let slot_wait_s = self.slot_wait(load, now);
        // How long a cold start takes is not known here, so that nothing that waits for one is late.
        let expected_s = if is_cold { f64::INFINITY } else { self.median_s(tokens, load) + slot_wait_s };
        Pending {
            handle: self.waiting.begin(tokens, expected_s, now),
            workers: workers(load),
            is_sample: !is_cold && slot_wait_s <= MOST_SLOT_WAIT_S,
        }
    }

    /// The first token of a call came. Returns how long it took.
    pub(crate) fn answered(&mut self, pending: Pending, now: Time) -> Option<Duration> {
        let Pending { handle, workers, is_sample } = pending;
        let call = self.waiting.answer(handle)?;
        (self.answered_at, self.silence) = (Some(now), None);
        let took = now - call.began;
        if is_sample && self.cold_at.is_none_or(|cold| cold < call.began) {
            self.learn([1.0, kilo(call.tokens), kilo(call.ahead) / workers], took.as_secs_f64(), now);
        }
        Some(took)
    }

    /// A whole answer came. When its first token was written, it does not say.
    pub(crate) fn answered_whole(&mut self, pending: Pending, now: Time) {
        if self.waiting.answer(pending.handle).is_some() {
            (self.answered_at, self.silence) = (Some(now), None);
        }
    }

    /// Whether no call waits for its first token.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A call ended without a first token: it failed, timed out or was cancelled.
    pub(crate) fn gave_up(&mut self, pending: Pending, now: Time) {
        let is_overtaken = self.waiting.is_overtaken(&pending.handle);
        let Some(call) = self.waiting.end(pending.handle) else { return };
        if is_overtaken || (now - call.began).as_secs_f64() <= call.expected_s {
            return;
        }
        let since = self.silence.map_or(call.began, |silence| silence.since.min(call.began));
        self.silence = Some(Silence { since, until: now });
    }

    /// An answer is complete: its slot is free.
    pub(crate) fn completed(&mut self, now: Time) {
        self.completions.record(1.0, now);
    }

    /// No worker is ready at this moment, so that what waits now is no sample of speed.
    pub(crate) fn record_cold(&mut self, now: Time) {
        self.cold_at = Some(now);
    }

    /// When something was last learned from an answer. A target without calls would stay slow in the prediction, so one
    /// without new samples for long must be tried now and then.
    #[cfg(test)]
    pub(crate) fn learned_at(&self) -> Option<Time> {
        self.learned_at
    }

    /// So many prompt tokens of other replicas wait for their first token, and so many of their answers ended.
    pub(crate) fn learn_elsewhere(&mut self, pending_tokens: u64, completed: f64, now: Time) {
        self.waiting.learn(pending_tokens);
        if completed > 0.0 {
            self.completions.record(completed, now);
        }
    }

    /// Prompt tokens that wait for their first token, those of other replicas excepted.
    pub(crate) fn pending_tokens(&self) -> u64 {
        self.waiting.tokens()
    }

    /// The time to the first token of a call that would begin now. Where no worker is ready it is the time once one is.
    pub(crate) fn predict(&self, tokens: u64, load: Load, now: Time) -> Prediction {
        let median_s = self.median_s(tokens, load);
        let silence_s = self.silence_s(load.ready.is_none(), now);
        let slot_wait = self.slot_wait(load, now);
        let wait_s = slot_wait.max(silence_s - median_s);
        Prediction {
            median_s,
            spread: self.spread,
            longest_s: median_s * self.longest,
            wait_s,
            is_silent: silence_s >= self.least_silence_s(),
        }
    }

    /// The median time to the first token in seconds of a call that would begin now and need not wait for a slot.
    fn median_s(&self, tokens: u64, load: Load) -> f64 {
        self.regression.predict([1.0, kilo(tokens), kilo(self.waiting.all_tokens()) / workers(load)])
    }

    /// The median time to the first token in seconds of a call without a prompt that nothing waits before.
    pub(crate) fn base_s(&self) -> f64 {
        let [base, ..] = self.regression.coefficients();
        base
    }

    /// The same of a call with a prompt of so many tokens.
    pub(crate) fn alone_s(&self, tokens: u64) -> f64 {
        self.regression.predict([1.0, kilo(tokens), 0.0])
    }

    /// How long a call waits for one before it to end.
    fn slot_wait(&self, load: Load, now: Time) -> f64 {
        // Jobs in the upstream's queue that are not ours.
        let foreign = load.queued.map_or(0, |queued| queued.saturating_sub(load.in_flight));
        let foreign = if foreign > 0 { foreign + 1 } else { 0 };
        let own = match (load.ready, load.slots) {
            (Some(ready), Some(slots)) if ready > 0 => (load.in_flight + 1).saturating_sub(ready.saturating_mul(slots)),
            _ => 0,
        };
        let before = own.max(foreign);
        if before == 0 {
            return 0.0;
        }
        f64::from(before) / self.completions.per_second(now).max(LEAST_COMPLETIONS)
    }

    /// For how long the upstream has not answered what it should have; zero if it does answer.
    fn silence_s(&self, is_unknown: bool, now: Time) -> f64 {
        let oldest = self.waiting.oldest();
        let remembered = match (self.silence, oldest) {
            (None, _) => 0.0,
            (Some(silence), Some(_)) => (now - silence.since).as_secs_f64(),
            (Some(Silence { since, until }), None) => {
                (until - since).as_secs_f64().min(MOST_MEMORY_S) * (-(now - until).as_secs_f64() / FADING_S).exp()
            }
        };
        let Some(oldest) = oldest else { return remembered };
        let age = (now - oldest.began).as_secs_f64();
        let quiet = self.answered_at.map_or(age, |at| (now - at).as_secs_f64().min(age));
        let is_quiet = is_unknown || quiet >= self.least_silence_s();
        if is_quiet && age > oldest.expected_s { remembered.max(age) } else { remembered }
    }

    /// How long there must be no answer before that is evidence.
    fn least_silence_s(&self) -> f64 {
        LEAST_SILENCE_S.max(SILENCE_BASES * self.base_s())
    }

    fn learn(&mut self, features: [f64; 3], took: f64, now: Time) {
        const LEAST_S: f64 = 0.02;
        let took = took.max(LEAST_S);
        let residual = (took / self.regression.predict(features).max(LEAST_S)).ln();
        let residual = residual.clamp(-MOST_RESIDUAL, MOST_RESIDUAL);
        let (least, most) = SPREAD;
        self.variance += SPREAD_STEP * (residual * residual - self.variance);
        self.variance = self.variance.clamp(least * least, most * most);
        self.spread = self.variance.sqrt();
        self.longest = longest(self.spread);
        let elapsed = self.learned_at.map_or(0.0, |at| (now - at).as_secs_f64());
        self.learned_at = Some(now);
        let forgetting = (FORGETTING * (-elapsed / MEMORY_S).exp()).max(LEAST_FORGETTING);
        self.regression.learn(features, took, forgetting);
    }
}

/// How many times the median 4.5 standard deviations of the logarithm are.
fn longest(spread: f64) -> f64 {
    (4.5 * spread).exp()
}

/// Thousands, in which the coefficients are all of one order.
fn kilo(tokens: u64) -> f64 {
    real(tokens) / 1e3
}

/// Among how many workers what waits is divided. If that is unknown, the coefficient takes the number in.
fn workers(load: Load) -> f64 {
    f64::from(load.ready.unwrap_or(1).max(1))
}

#[cfg(test)]
mod tests;

//! What is left of our allowance at a provider: requests and tokens per minute.
//!
//! A call is debited when it starts, by its prompt and the limit on its answer that is sent with it, because that is
//! what Cerebras checks it against. So it is known before a request is sent whether it fits, and when it would: no 429
//! is needed to learn that. The reason of a call decides how much it must leave: the last part of an allowance is
//! reserved for requests that have failed elsewhere.
//!
//! Limits are configured, or taken from headers that name the minute; a limit per day only parks, once it is used up.
//! What no header reports (Cerebras' requests per minute) is mirrored from the configuration alone.

use std::time::Duration;

use provider::{Quota, Time, Window};

use crate::{
    knowledge::{
        bucket::{Bucket, Fit},
        real,
    },
    peers::{Elsewhere, PeerUpstream},
};

const MINUTE: Duration = Duration::from_mins(1);

/// Why a call comes to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// To keep its share or to save money, while others could serve it in time.
    Share,
    /// It has waited too long already to be served within the SLO.
    Stale,
    /// The others would miss the SLO.
    Spill,
    /// Others have failed it.
    Failover,
}

impl Claim {
    /// The part of a minute's limit that it leaves for others.
    const fn reserve(self) -> f64 {
        match self {
            Self::Share => 0.40,
            Self::Stale => 0.25,
            Self::Spill => 0.03,
            Self::Failover => 0.0,
        }
    }
}

/// What is configured of a provider's limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests a minute.
    pub requests_per_minute: Option<u64>,
    /// Tokens a minute.
    pub tokens_per_minute: Option<u64>,
}

/// A call that was debited. Given back once, by how the provider answered.
#[derive(Debug)]
#[must_use = "a debit that is never given back counts as under way for ever"]
pub(crate) struct Debit {
    tokens: f64,
    began: Time,
}

/// What is left of our allowance.
#[derive(Debug, Clone)]
pub(crate) struct Allowance {
    /// What is configured.
    limits: Limits,
    requests: Bucket,
    tokens: Bucket,
    /// Calls that the provider has not answered, and their tokens.
    calls: f64,
    outstanding: f64,
    /// When the call began that was answered and began last.
    latest: Option<Time>,
    /// What calls were debited since the start, less what was given back, and what the provider took.
    debited: Amounts,
    taken: Amounts,
    /// Calls of other replicas that the provider has not answered, and their tokens.
    elsewhere: Amounts,
}

/// Calls and tokens.
#[derive(Debug, Clone, Copy, Default)]
struct Amounts {
    calls: f64,
    tokens: f64,
}

impl Amounts {
    fn add(&mut self, calls: f64, tokens: f64) {
        self.calls += calls;
        self.tokens += tokens;
    }
}

impl Allowance {
    /// Everything is left.
    pub(crate) fn new(limits: Limits, now: Time) -> Self {
        let bucket = |limit: Option<u64>| Bucket::new(MINUTE, limit.map(real), now);
        Self {
            limits,
            requests: bucket(limits.requests_per_minute),
            tokens: bucket(limits.tokens_per_minute),
            calls: 0.0,
            outstanding: 0.0,
            latest: None,
            debited: Amounts::default(),
            taken: Amounts::default(),
            elsewhere: Amounts::default(),
        }
    }

    /// Changes the limits that are configured. What is left stays, as far as the new limit has room for it.
    pub(crate) fn configure(&mut self, limits: Limits, now: Time) {
        let old = std::mem::replace(&mut self.limits, limits);
        for (bucket, old, new) in [
            (&mut self.requests, old.requests_per_minute, limits.requests_per_minute),
            (&mut self.tokens, old.tokens_per_minute, limits.tokens_per_minute),
        ] {
            if old != new {
                bucket.set_limit(new.map(real), now);
            }
        }
    }

    /// When a call of so many tokens, prompt and limit together, has room.
    pub(crate) fn fits(&self, tokens: u64, claim: Claim, now: Time) -> Fit {
        let (tokens, reserve) = (real(tokens), claim.reserve());
        self.requests.fits(1.0, reserve, now).max(self.tokens.fits(tokens, reserve, now))
    }

    /// The part that is left of the tighter minute's limit.
    #[cfg(test)]
    pub(crate) fn part(&self, now: Time) -> f64 {
        self.requests.part(now).min(self.tokens.part(now))
    }

    /// A call of so many tokens, prompt and limit together, starts.
    pub(crate) fn debit(&mut self, tokens: u64, now: Time) -> Debit {
        let tokens = real(tokens);
        self.requests.debit(1.0, now);
        self.tokens.debit(tokens, now);
        (self.calls, self.outstanding) = (self.calls + 1.0, self.outstanding + tokens);
        self.debited.add(1.0, tokens);
        Debit { tokens, began: now }
    }

    /// The provider took the call, and reported what is left.
    #[expect(clippy::needless_pass_by_value, reason = "a debit is given back once")]
    pub(crate) fn taken(&mut self, debit: Debit, said: Quota, now: Time) {
        let is_latest = self.answered(&debit);
        self.requests.succeeded(1.0, now);
        self.tokens.succeeded(debit.tokens, now);
        self.taken.add(1.0, debit.tokens);
        self.correct(said, is_latest, now);
    }

    /// The call was given up before the provider said what is left. It may have counted it, so it is not given back.
    pub(crate) fn abandoned(&mut self, debit: &Debit) {
        self.answered(debit);
    }

    /// The call never reached the provider, or was of no account to it.
    #[expect(clippy::needless_pass_by_value, reason = "a debit is given back once")]
    pub(crate) fn failed(&mut self, debit: Debit, now: Time) {
        self.answered(&debit);
        self.credit(&debit, now);
    }

    /// The provider refused the call because the allowance is used up. Returns how long to stay away, as far as the
    /// buckets show: until the same call would fit.
    #[expect(clippy::needless_pass_by_value, reason = "a debit is given back once")]
    pub(crate) fn refused(&mut self, debit: Debit, said: Quota, now: Time) -> Option<Duration> {
        let is_latest = self.answered(&debit);
        self.credit(&debit, now);
        self.correct(said, is_latest, now);
        let Debit { tokens, began } = debit;
        let left = |window: Option<Window>| window.map(|window| real(window.left));
        let (requests_left, tokens_left) = (left(said.minute_requests), left(said.minute_tokens));
        let is_said = requests_left.is_some_and(|left| left < 1.0) || tokens_left.is_some_and(|left| left < tokens);
        let is_short_of_tokens = if is_said {
            tokens_left.is_some_and(|left| left < tokens)
        } else {
            self.tokens.part(now) < self.requests.part(now)
        };
        let is_known = self.tokens.limit(now).is_some() || self.requests.limit(now).is_some();
        if is_short_of_tokens || !is_known {
            self.tokens.refused(tokens, tokens_left.filter(|_| is_said), began, now);
        }
        if !is_short_of_tokens || !is_known {
            self.requests.refused(1.0, requests_left.filter(|_| is_said), began, now);
        }
        let then = self.requests.fits(1.0, 0.0, now).max(self.tokens.fits(tokens, 0.0, now));
        match then {
            Fit::At(then) => Some(then - now),
            Fit::Now | Fit::Never => None,
        }
    }

    /// A call is no longer under way. Returns whether none that began later was answered before.
    fn answered(&mut self, debit: &Debit) -> bool {
        self.calls = (self.calls - 1.0).max(0.0);
        self.outstanding = (self.outstanding - debit.tokens).max(0.0);
        let is_latest = self.latest.is_none_or(|latest| debit.began >= latest);
        self.latest = self.latest.max(Some(debit.began));
        is_latest
    }

    fn credit(&mut self, debit: &Debit, now: Time) {
        self.requests.credit(1.0, now);
        self.tokens.credit(debit.tokens, now);
        self.debited.add(-1.0, -debit.tokens);
    }

    /// Puts what this replica's calls came to into its state for the others.
    pub(crate) fn report(&self, state: &mut PeerUpstream, now: Time) {
        (state.totals.debited_calls, state.totals.debited_tokens) = (self.debited.calls, self.debited.tokens);
        (state.totals.taken_calls, state.totals.taken_tokens) = (self.taken.calls, self.taken.tokens);
        (state.load.unanswered_calls, state.load.unanswered_tokens) = (self.calls, self.outstanding);
        (state.requests_left, state.tokens_left) = (self.requests.level(now), self.tokens.level(now));
    }

    /// Other replicas called: that is debited here as well.
    pub(crate) fn learn(&mut self, elsewhere: &Elsewhere, now: Time) {
        let Elsewhere { added, load, requests_left, tokens_left, .. } = elsewhere;
        self.requests.learn(added.debited_calls, added.taken_calls, now);
        self.tokens.learn(added.debited_tokens, added.taken_tokens, now);
        for (bucket, left) in [(&mut self.requests, requests_left), (&mut self.tokens, tokens_left)] {
            if let Some(left) = left {
                bucket.lower(*left, now);
            }
        }
        self.elsewhere = Amounts { calls: load.unanswered_calls, tokens: load.unanswered_tokens };
    }

    fn correct(&mut self, said: Quota, is_latest: bool, now: Time) {
        let Self { limits, requests, tokens, calls, outstanding, elsewhere, .. } = self;
        for (bucket, configured, window, outstanding) in [
            (requests, limits.requests_per_minute, said.minute_requests, *calls + elsewhere.calls),
            (tokens, limits.tokens_per_minute, said.minute_tokens, *outstanding + elsewhere.tokens),
        ] {
            let Some(Window { left, limit }) = window else { continue };
            let reported = limit.map(real).filter(|_| configured.is_none());
            if reported.is_some() && bucket.limit(now) != reported {
                bucket.set_limit(reported, now);
            }
            bucket.correct(real(left), outstanding, is_latest, now);
        }
    }
}

#[cfg(test)]
mod tests;

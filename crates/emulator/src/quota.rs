//! Buckets that refill continuously: the quota of the Cerebras face.

use tokio::time::Instant;

use crate::{fault::Limit, settings};

/// One limit over one window.
#[derive(Debug)]
struct Bucket {
    limit: f64,
    per_second: f64,
    level: f64,
    filled: Instant,
}

impl Bucket {
    fn new(limit: f64, window_s: f64, now: Instant) -> Self {
        Self { limit, per_second: limit / window_s, level: limit, filled: now }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.level = (self.level + passed * self.per_second).min(self.limit);
        self.filled = now;
    }

    /// Seconds until the bucket holds `amount`, or is full if it can never hold that much.
    fn wait_for(&self, amount: f64) -> f64 {
        ((amount.min(self.limit) - self.level) / self.per_second).max(0.0)
    }
}

/// The three limits of an account.
#[derive(Debug)]
pub(crate) struct Quota {
    requests_minute: Bucket,
    tokens_minute: Bucket,
    requests_day: Bucket,
}

impl Quota {
    pub(crate) fn new(settings: settings::Quota, now: Instant) -> Self {
        Self {
            requests_minute: Bucket::new(settings.requests_per_minute, 60.0, now),
            tokens_minute: Bucket::new(settings.tokens_per_minute, 60.0, now),
            requests_day: Bucket::new(settings.requests_per_day, 86_400.0, now),
        }
    }

    /// Takes one request of `tokens` from every bucket, or from none and names the limit in the way.
    pub(crate) fn take(&mut self, tokens: f64, now: Instant) -> Result<(), Limit> {
        self.refill(now);
        if self.requests_minute.level < 1.0 || self.requests_day.level < 1.0 {
            return Err(Limit::Requests);
        }
        if self.tokens_minute.level < tokens {
            return Err(Limit::Tokens);
        }
        self.requests_minute.level -= 1.0;
        self.requests_day.level -= 1.0;
        self.tokens_minute.level -= tokens;
        Ok(())
    }

    /// The header values of the state now. `wanted` is what a refused request asked for; otherwise the resets count to
    /// full buckets.
    pub(crate) fn headers(&mut self, wanted: Option<f64>, now: Instant) -> Vec<(&'static str, String)> {
        self.refill(now);
        let (one, tokens) = wanted.map_or((f64::MAX, f64::MAX), |tokens| (1.0, tokens));
        let Self { requests_minute, tokens_minute, requests_day } = self;
        vec![
            ("x-ratelimit-limit-requests-day", format!("{:.0}", requests_day.limit)),
            ("x-ratelimit-limit-requests-minute", format!("{:.0}", requests_minute.limit)),
            ("x-ratelimit-limit-tokens-minute", format!("{:.0}", tokens_minute.limit)),
            ("x-ratelimit-remaining-requests-day", format!("{:.0}", requests_day.level.floor())),
            ("x-ratelimit-remaining-requests-minute", format!("{:.0}", requests_minute.level.floor())),
            ("x-ratelimit-remaining-tokens-minute", format!("{:.0}", tokens_minute.level.floor())),
            ("x-ratelimit-reset-requests-day", format!("{:.6}", requests_day.wait_for(one))),
            ("x-ratelimit-reset-requests-minute", format!("{:.6}", requests_minute.wait_for(one))),
            ("x-ratelimit-reset-tokens-minute", format!("{:.6}", tokens_minute.wait_for(tokens))),
        ]
    }

    fn refill(&mut self, now: Instant) {
        self.requests_minute.refill(now);
        self.tokens_minute.refill(now);
        self.requests_day.refill(now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn quota(now: Instant) -> Quota {
        Quota::new(settings::Quota { requests_per_minute: 2.0, tokens_per_minute: 600.0, requests_per_day: 100.0 }, now)
    }

    fn header(headers: &[(&'static str, String)], name: &str) -> String {
        headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone()).unwrap()
    }

    #[test]
    fn requests_run_out_and_refill() {
        let now = Instant::now();
        let mut quota = quota(now);
        assert_eq!(quota.take(1.0, now), Ok(()));
        assert_eq!(quota.take(1.0, now), Ok(()));
        assert_eq!(quota.take(1.0, now), Err(Limit::Requests));
        assert_eq!(header(&quota.headers(Some(1.0), now), "x-ratelimit-reset-requests-minute"), "30.000000");
        assert_eq!(quota.take(1.0, now + Duration::from_secs(31)), Ok(()));
    }

    #[test]
    fn a_refused_request_takes_nothing() {
        let now = Instant::now();
        let mut quota = quota(now);
        assert_eq!(quota.take(601.0, now), Err(Limit::Tokens));
        let headers = quota.headers(None, now);
        assert_eq!(header(&headers, "x-ratelimit-remaining-tokens-minute"), "600");
        assert_eq!(header(&headers, "x-ratelimit-remaining-requests-minute"), "2");
        assert_eq!(header(&headers, "x-ratelimit-limit-requests-day"), "100");
    }
}

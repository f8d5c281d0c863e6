//! Conversions between the types of the simulator and those of the engine.

use std::time::Duration;

use provider::{Capacity, Error, ErrorKind, Features, Operation, Quota, Window};
use router::{Facts, Wishes};

use crate::{policy, policy::Failure};

/// Bytes of a token of a prompt, as the estimate of real requests has it.
const BYTES_PER_TOKEN: u64 = 4;

/// The simulated upstream of a target.
#[derive(Debug, Clone, Copy)]
pub(super) struct TargetUpstream {
    pub(super) upstream: usize,
    /// Whether the router asks for its capacity.
    pub(super) reports_capacity: bool,
}

/// A streamed chat whose prompt is so long.
pub(super) fn facts(prompt_tokens: u32) -> Facts {
    let prompt_tokens = u64::from(prompt_tokens);
    Facts {
        operation: Operation::Chat,
        stream: true,
        features: Features::default(),
        body_bytes: prompt_tokens * BYTES_PER_TOKEN,
        prompt_tokens,
        audio_ms: 0,
        max_tokens: None,
        choices: 1,
        in_batch: false,
        team: None,
        conversation: None,
        wishes: Wishes::NONE,
    }
}

/// A report of a health endpoint. RunPod counts a worker as running from the moment it is billed, while its model still
/// loads.
pub(super) fn capacity(reported: policy::Capacity) -> Capacity {
    Capacity {
        running: Some(reported.ready + reported.initializing),
        idle: None,
        initializing: Some(0),
        throttled: Some(reported.throttled),
        unhealthy: Some(0),
        queued: Some(reported.queued),
    }
}

/// The rate-limit status in an answer's headers.
pub(super) fn quota(reported: Option<policy::Quota>) -> Quota {
    let Some(reported) = reported else { return Quota::default() };
    let (requests, tokens) = (whole(reported.requests), whole(reported.tokens));
    let minute = |left: u64| Some(Window { left, limit: None });
    Quota {
        requests: Some(requests),
        tokens: Some(tokens),
        minute_requests: minute(requests),
        minute_tokens: minute(tokens),
        exhausted_for: None,
    }
}

/// How a call failed, as an adapter reports it.
pub(super) fn error(failure: Failure, committed: bool) -> Error {
    match failure {
        Failure::Unavailable if committed => Error::new(ErrorKind::Interrupted, "the stream broke off"),
        Failure::Unavailable => Error { status: Some(503), ..Error::new(ErrorKind::Unavailable, "unavailable") },
        Failure::RateLimited { retry_after, .. } => Error {
            status: Some(429),
            retry_after: Some(Duration::from_nanos(retry_after)),
            ..Error::new(ErrorKind::RateLimited, "the limit of this minute is used up")
        },
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what is left is never below zero")]
fn whole(left: f64) -> u64 {
    left.max(0.0) as u64
}

//! Why a policy asks for a wake-up, encoded as the token of [`Event::Wake`](crate::policy::Event::Wake).

use crate::policy::{AttemptId, RequestId};

/// Why a policy asked for a wake-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WakeReason {
    /// A request may try again.
    Again(RequestId),
    /// An attempt must have given its first token by now.
    FirstToken(AttemptId),
}

impl WakeReason {
    pub(crate) fn token(self) -> u64 {
        match self {
            Self::Again(request) => u64::from(request.0) << 1,
            Self::FirstToken(attempt) => (u64::from(attempt.0) << 1) | 1,
        }
    }
}

impl From<u64> for WakeReason {
    fn from(token: u64) -> Self {
        let number = u32::try_from(token >> 1).unwrap_or(u32::MAX);
        if token & 1 == 0 { Self::Again(RequestId(number)) } else { Self::FirstToken(AttemptId(number)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_decodes_to_its_reason() {
        for number in [0, 7, u32::MAX] {
            for reason in [WakeReason::Again(RequestId(number)), WakeReason::FirstToken(AttemptId(number))] {
                assert_eq!(WakeReason::from(reason.token()), reason);
            }
        }
    }
}

//! Calls that fail now and then, whatever the upstream's state is.

use super::{Job, Refusal};
use crate::{
    chance::{Chance, Purpose},
    scenario::UpstreamChange,
    time::SECOND,
};

/// Which parts of the calls fail and are refused, from 0 to 1.
#[derive(Debug, Default)]
pub(super) struct Failing {
    errors: f64,
    refusals: f64,
}

impl Failing {
    pub(super) const fn apply(&mut self, change: UpstreamChange) {
        match change {
            UpstreamChange::Errors(part) => self.errors = part,
            UpstreamChange::Refusals(part) => self.refusals = part,
            UpstreamChange::Outage(_)
            | UpstreamChange::Throttle(_)
            | UpstreamChange::Speed(_)
            | UpstreamChange::Limits(_) => {}
        }
    }

    /// Fails if the call is one of those that fail or are refused.
    pub(super) fn check(&self, job: &Job, chance: Chance) -> Result<(), Refusal> {
        let is_drawn = |purpose, part: f64| {
            part > 0.0 && chance.unit(purpose, u64::from(job.request), u64::from(job.ordinal)) < part
        };
        if is_drawn(Purpose::Failure, self.errors) {
            return Err(Refusal::Unavailable);
        }
        if is_drawn(Purpose::Refusal, self.refusals) {
            return Err(Refusal::RateLimited { retry_after: SECOND });
        }
        Ok(())
    }
}

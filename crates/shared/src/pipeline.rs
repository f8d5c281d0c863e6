//! The names of keys on the server, and the arguments of the scripts.

use std::{num::NonZeroU32, time::Duration};

use redis::Pipeline;

use crate::{
    budgets::Hold,
    client::Settings,
    connection::{Connected, Script},
    limits::Demand,
    settlement::Settlement,
};

/// Microseconds after which a silent replica is dead.
const DEAD_AFTER_US: u64 = 10_000_000;
/// How long the replica that leads does so without a word.
pub const LEASE: Duration = Duration::from_secs(3);

/// Milliseconds that a budget is kept beyond its window: a replica whose clock is late may still report.
const KEPT_MS: i64 = 2 * 86_400_000;

/// The keys of one deployment.
pub(crate) struct Keys {
    prefix: String,
    /// The name of this replica.
    replica: String,
    replicas: NonZeroU32,
    validity: Duration,
}

impl Keys {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            prefix: format!("{}:", settings.prefix),
            replica: format!("{:x}", settings.replica),
            replicas: settings.replicas,
            validity: settings.validity,
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn used(&self, owner: &str) -> String {
        format!("{}limit:{owner}", self.prefix)
    }

    fn under_way(&self, owner: &str) -> String {
        format!("{}under-way:{owner}", self.prefix)
    }

    fn budget(&self, name: &str) -> String {
        format!("{}budget:{name}", self.prefix)
    }

    /// The name of this replica.
    pub(crate) fn replica(&self) -> &str {
        &self.replica
    }

    pub(crate) fn count(&self, to: &Connected, pipeline: &mut Pipeline, demands: &[Demand]) {
        let mut keys = vec![self.key("replicas")];
        keys.extend(demands.iter().flat_map(|demand| [self.used(&demand.owner), self.under_way(&demand.owner)]));
        to.add(pipeline, Script::Count, &keys).arg(&self.replica).arg(DEAD_AFTER_US);
        for demand in demands {
            pipeline.arg(demand.calls).arg(demand.begins).arg(demand.tokens).arg(&demand.limits.numbers());
        }
    }

    pub(crate) fn settle(&self, to: &Connected, pipeline: &mut Pipeline, settlement: &Settlement) {
        let lines = &settlement.lines;
        let mut keys = vec![self.key("settled")];
        keys.extend(lines.iter().flat_map(|line| [self.used(&line.owner), self.under_way(&line.owner)]));
        to.add(pipeline, Script::Settle, &keys).arg(&self.replica).arg(settlement.number);
        for line in lines {
            let [rate, burst] = line.rate.map_or([0, 0], |rate| [rate.per_minute, rate.burst]);
            pipeline.arg(line.tokens).arg(rate).arg(burst).arg(line.under_way);
        }
    }

    pub(crate) fn exchange(&self, to: &Connected, pipeline: &mut Pipeline, state: &[u8]) {
        let keys = ["epoch", "replicas", "states", "leader", "settled"].map(|name| self.key(name));
        to.add(pipeline, Script::Exchange, &keys)
            .arg(&self.replica)
            .arg(state)
            .arg(micros(LEASE) / 1_000)
            .arg(DEAD_AFTER_US);
    }

    pub(crate) fn leave(&self, to: &Connected, pipeline: &mut Pipeline) {
        let keys = ["replicas", "states", "leader", "settled"].map(|name| self.key(name));
        to.add(pipeline, Script::Leave, &keys).arg(&self.replica);
    }

    pub(crate) fn hold(&self, to: &Connected, pipeline: &mut Pipeline, holds: &[Hold], epoch: u64) {
        let mut keys = vec![self.key("epoch")];
        keys.extend(holds.iter().map(|hold| self.budget(&hold.name)));
        to.add(pipeline, Script::Hold, &keys).arg(&self.replica).arg(micros(self.validity)).arg(self.replicas.get());
        pipeline.arg(epoch);
        for hold in holds {
            let Hold { number, spent, keeps, more, needs, limit, .. } = hold;
            let known = hold.known.map_or(-1, |known| i64::try_from(known).unwrap_or(i64::MAX));
            pipeline.arg(&[*number, *spent, *keeps, *more, *needs, *limit]).arg(known);
            pipeline.arg(hold.until_ms.saturating_add(KEPT_MS));
        }
    }

    /// Asks what is spent of budgets.
    pub(crate) fn spent(&self, pipeline: &mut Pipeline, names: &[impl AsRef<str>]) {
        for name in names {
            pipeline.cmd("HGET").arg(self.budget(name.as_ref())).arg("spent");
        }
    }

    pub(crate) fn correct(&self, to: &Connected, pipeline: &mut Pipeline, corrections: &[(impl AsRef<str>, u64, u64)]) {
        let keys: Vec<String> = corrections.iter().map(|(name, ..)| self.budget(name.as_ref())).collect();
        to.add(pipeline, Script::Correct, &keys);
        for (_, by_then, recorded) in corrections {
            pipeline.arg(*by_then).arg(*recorded);
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

//! Decision records: kept in memory for operators, and written to files for later replay.

mod files;
mod log;
pub(crate) mod query;
mod record;
mod ring;
mod view;

#[cfg(test)]
mod tests;

use std::{io, sync::Arc};

use dispatch::{Record, Recorder, Spare};
use settings::Decisions;

use crate::clock;
pub(crate) use log::LogCounters;
pub(crate) use view::DecisionView;

use log::Log;
use ring::{Kept, Ring};

/// Where records go.
pub(crate) struct DecisionRecords {
    ring: Ring,
    log: Option<Log>,
}

impl DecisionRecords {
    /// Opens what is configured; `None` if that is nothing.
    pub(crate) fn open(
        settings: &Decisions,
        config_version: &str,
        counters: LogCounters,
    ) -> io::Result<Option<Arc<Self>>> {
        let log = settings.log.clone().map(|log| Log::open(log, config_version, counters)).transpose()?;
        if settings.ring == 0 && log.is_none() {
            return Ok(None);
        }
        Ok(Some(Arc::new(Self { ring: Ring::new(settings.ring), log })))
    }

    /// The service ends: what is still to be written is written.
    pub(crate) fn close(&self) {
        if let Some(log) = &self.log {
            log.close();
        }
    }
}

impl Recorder for DecisionRecords {
    fn keep(&self, record: Arc<Record>, spare: &Spare) {
        let ended_at = clock::unix_seconds();
        if let Some(log) = &self.log {
            log.push(&record, ended_at);
        }
        if let Some(record) = self.ring.push(Kept { record, ended_at }) {
            spare.put(record);
        }
    }
}

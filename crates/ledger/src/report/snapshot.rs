//! A ledger that is asked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use super::{Baseline, Query, Spend};
use crate::{
    gpu::{self, GpuReport, Tariffs},
    store::{self, Location, Reports, StoreError},
};

/// How often a question is stopped that is asked after the time is over.
const AGAIN: Duration = Duration::from_millis(50);

/// What is in a ledger at one moment: answers to several questions agree. It can be asked while a router writes the ledger.
pub struct Snapshot {
    reports: Box<dyn Reports>,
    limit: Option<Limit>,
}

/// How long all questions may take together.
struct Limit {
    longest: Duration,
    is_over: Arc<AtomicBool>,
    /// The thread that waits for the time to be over ends with it.
    _end: Sender<()>,
}

impl Snapshot {
    /// Opens a ledger for questions, which may take so long together, or without a limit.
    ///
    /// # Errors
    /// If there is no ledger of this version or an earlier one, or it cannot be reached.
    pub fn open(location: &Location, longest: Option<Duration>) -> Result<Self, StoreError> {
        let reports = store::reports(location, longest)?;
        let limit = longest.map(|longest| {
            let (end, ended) = channel();
            let is_over = Arc::<AtomicBool>::default();
            let (interrupt, over) = (reports.interrupt(), is_over.clone());
            // Without a thread there is no limit, which is better than no answer.
            drop(thread::Builder::new().name("limit".into()).spawn(move || watch(longest, &ended, &over, &*interrupt)));
            Limit { longest, is_over, _end: end }
        });
        Ok(Self { reports, limit })
    }

    /// What was spent, the most expensive first.
    ///
    /// # Errors
    /// If the database fails or the time is over, or if the query begins or ends amid what is kept as one sum.
    pub fn spend(&mut self, query: &Query) -> Result<Vec<Spend>, StoreError> {
        self.ask(|reports| reports.spend(query))
    }

    /// What the answers would have cost under other policies, at the prices of their moments. Upstreams and roles are those of
    /// calls, not of answers: they cannot be told apart here.
    ///
    /// # Errors
    /// As [`Self::spend`].
    pub fn baselines(&mut self, query: &Query) -> Result<Vec<Baseline>, StoreError> {
        self.ask(|reports| reports.baselines(query))
    }

    /// What workers that are billed by the second did and cost in the hours of a query, and how the cost of those that are closed is
    /// shared out to their calls. `tariffs` tell which calls these are.
    ///
    /// # Errors
    /// If the database fails or the time is over.
    pub fn gpu(&mut self, query: &Query, tariffs: &Tariffs, now_ms: i64) -> Result<GpuReport, StoreError> {
        self.ask(|reports| gpu::report(reports, query, tariffs, now_ms))
    }

    pub(crate) fn ask<T>(
        &mut self,
        question: impl FnOnce(&mut dyn Reports) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.check()?;
        let answer = question(&mut *self.reports);
        if answer.is_err() {
            self.check()?;
        }
        answer
    }

    fn check(&self) -> Result<(), StoreError> {
        match &self.limit {
            Some(limit) if limit.is_over.load(Ordering::Acquire) => Err(StoreError::TooSlow(limit.longest)),
            _ => Ok(()),
        }
    }
}

fn watch(longest: Duration, ended: &Receiver<()>, is_over: &AtomicBool, interrupt: &dyn Fn()) {
    let mut pause = longest;
    while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        is_over.store(true, Ordering::Release);
        interrupt();
        pause = AGAIN;
    }
}

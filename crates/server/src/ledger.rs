//! Puts calls and requests on record: events become entries of the ledger.
//!
//! A call begins when its intent is written, and the end of a complete answer is released when its rows are. If the journal
//! cannot be written, `storage.on_journal_failure` decides: refuse, or go on without a record. Requests that never reached
//! the router, such as those without a valid key, are not on record.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dispatch::{
    AttemptBegins, AttemptEnded, Event, Observer, Outcome, Recording, RequestEnded, RequestInfo, RequestOutcome,
};
use ledger::{
    Attempt, AttemptKey, Budgets, Durability, Entry, FILE_BYTES, Intent, JournalSettings, Labels, Ledger,
    LedgerSettings, Location, OverBudget, PostgresUrlError, Progress, Request, RequestKey, Retention, Tokens,
    UsageSource, Written,
};
use prometheus::{Gauge, IntCounter};
use provider::{Error, ErrorKind, ModelId, UpstreamId, Usage};
use router::{Reason, StrategyName};
use secrecy::ExposeSecret;
use settings::{OnJournalFailure, Storage, StorageLocation};
use shared::Shared;
use tokio::time::timeout;

use crate::{
    budgets::{self, Refresher},
    clock,
    gpu::GpuRecorder,
    replica::Recorded,
    running::StartError,
};

/// The longest that a request waits for the journal. It takes less than a millisecond while its disk works.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// The same for the store, where answers wait for that.
const LONGEST_WAIT_FOR_STORE: Duration = Duration::from_secs(5);

/// How often a call asks for more of its budgets while others are faster.
const MOST_QUESTIONS: u32 = 3;

/// Bytes of an upstream's own id that are kept. It may send one of any length.
const MOST_ID: usize = 256;

/// What becomes of entries.
#[derive(Clone)]
pub(crate) struct LedgerCounters {
    /// Rows that are in the store.
    pub(crate) stored: IntCounter,
    /// Entries that the journal did not take.
    pub(crate) not_written: IntCounter,
    /// Times that the store failed.
    pub(crate) store_failures: IntCounter,
    /// Calls and answers that went on without a record.
    pub(crate) released: IntCounter,
    /// Bytes of the journal that are not in the store yet.
    pub(crate) backlog_bytes: Gauge,
    /// Whether the store failed and has taken nothing since.
    pub(crate) is_store_failing: Arc<AtomicBool>,
}

impl LedgerCounters {
    /// Whether the store failed and has taken nothing since.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_store_failing.load(Ordering::Acquire)
    }
}

impl Progress for LedgerCounters {
    fn stored(&self, rows: u64) {
        self.stored.inc_by(rows);
        self.is_store_failing.store(false, Ordering::Release);
    }

    fn not_written(&self, entries: u64) {
        self.not_written.inc_by(entries);
    }

    fn store_failed(&self) {
        self.store_failures.inc();
        self.is_store_failing.store(true, Ordering::Release);
    }

    #[expect(clippy::cast_precision_loss, reason = "a journal is far below 2^53 bytes")]
    fn waiting(&self, bytes: u64) {
        self.backlog_bytes.set(bytes as f64);
    }
}

/// Puts events on record.
pub(crate) struct LedgerObserver {
    ledger: Arc<Ledger>,
    budgets: Arc<Budgets>,
    /// The server through which replicas share budgets, if there is one.
    replicas: Option<Arc<Shared>>,
    recorded: Arc<Recorded>,
    _refresher: Refresher,
    /// Identifies this process in the ledger.
    writer: u64,
    on_failure: OnJournalFailure,
    longest_wait: Duration,
    waits_for_store: bool,
    counters: LedgerCounters,
}

impl LedgerObserver {
    /// Opens the ledger, and learns from it what was spent of `budgets`. `seed` differs from start to start.
    pub(crate) fn open(
        storage: &Storage,
        seed: u64,
        counters: LedgerCounters,
        budgets: Arc<Budgets>,
        replicas: Option<Arc<Shared>>,
    ) -> Result<Self, StartError> {
        let durability = match storage.durability {
            settings::Durability::Process => Durability::Process,
            settings::Durability::Disk => Durability::Disk,
            settings::Durability::Store => Durability::Store,
        };
        let journal = JournalSettings {
            folder: storage.journal_folder.clone(),
            durability,
            max_bytes: storage.max_journal_bytes,
            file_bytes: FILE_BYTES,
        };
        let location = location(&storage.location)?;
        let retention = Retention { rows_days: storage.keep_rows_days, hours_days: storage.keep_hours_days };
        let settings = LedgerSettings { location: location.clone(), journal, retention, clock: clock::now_ms };
        let writer = seed >> 1;
        let ledger = Arc::new(Ledger::open(&settings, writer, Arc::new(counters.clone()))?);
        let journals = storage.journal_folder.display();
        tracing::info!(database = %location, %journals, "what calls cost is recorded in the ledger");
        let recorded = Arc::new(Recorded::new(ledger.clone()));
        let shared = replicas.clone().map(|shared| (shared, recorded.clone()));
        let refresher = Refresher::start(ledger.clone(), budgets.clone(), shared)?;
        let longest_wait = match durability {
            Durability::Process | Durability::Disk => LONGEST_WAIT,
            Durability::Store => LONGEST_WAIT_FOR_STORE,
        };
        let waits_for_store = durability == Durability::Store;
        let on_failure = storage.on_journal_failure;
        Ok(Self {
            ledger,
            budgets,
            replicas,
            recorded,
            _refresher: refresher,
            writer,
            on_failure,
            longest_wait,
            waits_for_store,
            counters,
        })
    }

    /// How far what is settled is in the store.
    pub(crate) fn recorded(&self) -> Arc<Recorded> {
        self.recorded.clone()
    }

    /// Puts worker time on record beside calls.
    pub(crate) fn gpu_recorder(&self) -> GpuRecorder {
        GpuRecorder::new(self.ledger.clone(), self.writer)
    }

    /// Replaces what was reserved for a call by what it cost.
    fn settle_budgets(&self, ended: &AttemptEnded) {
        let cost = ended.booked().and_then(|booked| booked.cost).map(|cost| cost.0);
        let key = AttemptKey { request: self.request_key(&ended.info), attempt: ended.number };
        budgets::report(self.budgets.settle(key, budgets::spender(&ended.info), cost, clock::now_ms()));
    }

    /// Waits until entries are written.
    fn recording(&self, written: Written) -> Recording {
        self.on_written()(written)
    }

    /// What waits until entries are written.
    fn on_written(&self) -> impl FnOnce(Written) -> Recording + use<> {
        let (on_failure, longest, released) = (self.on_failure, self.longest_wait, self.counters.released.clone());
        move |written| {
            Box::pin(async move {
                if let Ok(Ok(())) = timeout(longest, written).await {
                    return Ok(());
                }
                match on_failure {
                    OnJournalFailure::Release => {
                        released.inc();
                        Ok(())
                    }
                    OnJournalFailure::Refuse => Err(unrecorded()),
                }
            })
        }
    }

    /// Reserves what a call may cost when its budgets have more for this replica, and records its intent.
    fn reserve_more(
        &self,
        replicas: Arc<Shared>,
        mut needs: Vec<(u64, u64)>,
        intent: &Intent<'_>,
        info: RequestInfo,
    ) -> Recording {
        let (key, reserved) = (intent.key, intent.reserved_nano_usd);
        let (ledger, budgets, release) = (self.ledger.clone(), self.budgets.clone(), self.on_written());
        let prepared = ledger.prepare(intent);
        Box::pin(async move {
            let mut is_answered = false;
            for _ in 0..MOST_QUESTIONS {
                is_answered = replicas.need(needs).await;
                if !is_answered {
                    break;
                }
                match budgets.reserve(key, budgets::spender(&info), reserved, clock::now_ms()) {
                    Ok(()) => return release(ledger.append_prepared(&prepared)).await,
                    // Others were faster.
                    Err(OverBudget::Short(more)) => needs = more,
                    Err(over) => return Err(budgets::error(&over)),
                }
            }
            let room = budgets.reserve_of_held(key, budgets::spender(&info), reserved, is_answered, clock::now_ms());
            room.map_err(|over| budgets::error(&over))?;
            release(ledger.append_prepared(&prepared)).await
        })
    }

    fn request_key(&self, info: &RequestInfo) -> RequestKey {
        RequestKey { writer: self.writer, number: info.number }
    }

    fn attempt<'a>(&self, ended: &'a AttemptEnded) -> Attempt<'a> {
        let booked = ended.booked();
        let source = |is_estimate| if is_estimate { UsageSource::Estimated } else { UsageSource::Reported };
        Attempt {
            key: AttemptKey { request: self.request_key(&ended.info), attempt: ended.number },
            ended_at_ms: clock::now_ms(),
            labels: labels(&ended.info),
            upstream: ended.upstream.as_str(),
            role: ended.role.as_str(),
            reason: ended.reason.as_str(),
            outcome: ended.outcome.as_str(),
            usage_source: booked.map(|booked| source(booked.is_estimate)),
            tokens: booked.and_then(|booked| booked.usage).map(|usage| tokens(&usage)),
            cost_nano_usd: booked.and_then(|booked| booked.cost).map(|cost| cost.0),
            price_version: ended.price_version.as_deref(),
            upstream_call: ended.ids.request().map(|id| &id[..id.floor_char_boundary(MOST_ID)]),
            first_token_us: ended.first_token.map(micros),
            duration_us: micros(ended.duration),
        }
    }

    fn request<'a>(&self, ended: &'a RequestEnded) -> Request<'a> {
        let used = ended.usage.or(ended.estimate.map(|estimate| estimate.usage));
        // What it would have cost is compared with what it did: where that is unknown, there is nothing to compare.
        let is_priced = ended.booked().is_some_and(|booked| booked.cost.is_some());
        let served = used.filter(|_| is_priced && ended.outcome == RequestOutcome::Served);
        let baselines = served.map(|usage| {
            // What a policy has no price for is not on record: unknown is not zero.
            let cost = |policy: &'a router::Policy| Some((&*policy.name, policy.price.cost_of_counted(&usage)?.0));
            ended.policies.iter().filter_map(cost).collect()
        });
        Request {
            key: self.request_key(&ended.info),
            ended_at_ms: clock::now_ms(),
            labels: labels(&ended.info),
            is_stream: ended.info.stream,
            strategy: ended.strategy.map(StrategyName::as_str),
            reason: ended.reason.map(Reason::as_str),
            outcome: ended.outcome.as_str(),
            error: ended.outcome.detail(),
            attempts: ended.attempts,
            upstream: ended.upstream.as_ref().map(UpstreamId::as_str),
            first_token_us: ended.first_token.map(micros),
            duration_us: micros(ended.duration),
            baselines: baselines.unwrap_or_default(),
            config_version: &ended.config_version,
        }
    }
}

impl Observer for LedgerObserver {
    /// What served is left to [`Self::settle`], which puts both rows on record together. A call that could not be put on record,
    /// or that a budget had no room for, was not made.
    fn on(&self, event: &Event<'_>) {
        if let Event::AttemptEnded(ended) = event {
            self.settle_budgets(ended);
        }
        let is_unmade = |outcome| matches!(outcome, Outcome::Failed(ErrorKind::Unrecorded | ErrorKind::OverBudget));
        let entry = match event {
            Event::AttemptEnded(ended) if !ended.has_served() && !is_unmade(ended.outcome) => {
                Entry::Attempt(self.attempt(ended))
            }
            Event::RequestEnded(ended) if ended.outcome != RequestOutcome::Served && ended.info.number > 0 => {
                Entry::Request(self.request(ended))
            }
            Event::AttemptEnded(_) | Event::RequestEnded(_) => return,
        };
        drop(self.ledger.append(&[entry]));
    }

    fn begin(&self, begins: &AttemptBegins<'_>) -> Option<Recording> {
        if self.waits_for_store && self.on_failure == OnJournalFailure::Refuse && self.counters.is_behind() {
            // Its answer could not be released: better no call that costs.
            return Some(Box::pin(ready(Err(unrecorded()))));
        }
        let key = AttemptKey { request: self.request_key(begins.info), attempt: begins.number };
        let reserved = begins.reserved_cost.map(|cost| cost.0);
        let room = self.budgets.reserve(key, budgets::spender(begins.info), reserved, clock::now_ms());
        let intent = Intent {
            key,
            begins_at_ms: clock::now_ms(),
            labels: labels(begins.info),
            upstream: begins.upstream.as_str(),
            role: begins.role.as_str(),
            reason: begins.reason.as_str(),
            reserved: tokens(&begins.reserved),
            reserved_nano_usd: reserved,
            price_version: begins.price_version,
        };
        match (room, &self.replicas) {
            (Ok(()), _) => Some(self.recording(self.ledger.append(&[Entry::Intent(intent)]))),
            (Err(OverBudget::Short(needs)), Some(replicas)) => {
                Some(self.reserve_more(replicas.clone(), needs, &intent, begins.info.clone()))
            }
            (Err(over), _) => Some(Box::pin(ready(Err(budgets::error(&over))))),
        }
    }

    fn settle(&self, served: &AttemptEnded, ended: &RequestEnded) -> Option<Recording> {
        let entries = [Entry::Attempt(self.attempt(served)), Entry::Request(self.request(ended))];
        Some(self.recording(self.ledger.append(&entries)))
    }

    fn close(&self) {
        self.ledger.close();
    }
}

fn unrecorded() -> Error {
    let message = "the router cannot record what the request costs: whoever runs it must look at its ledger";
    Error::new(ErrorKind::Unrecorded, message)
}

/// The database that a configuration names.
pub(crate) fn location(location: &StorageLocation) -> Result<Location, PostgresUrlError> {
    Ok(match location {
        StorageLocation::Sqlite(path) => Location::Sqlite(path.clone()),
        StorageLocation::Postgres(url) => Location::Postgres(url.expose_secret().parse()?),
    })
}

fn labels(info: &RequestInfo) -> Labels<'_> {
    Labels {
        request_id: info.request_id.as_str(),
        team: info.team.as_deref(),
        key: info.key.as_deref(),
        model: info.model.as_ref().map(ModelId::as_str),
        route: info.route.as_str(),
        tags: info.tags.as_deref(),
        requested: info.requested.as_deref(),
    }
}

fn tokens(usage: &Usage) -> Tokens {
    Tokens {
        prompt: usage.prompt_tokens,
        cached: usage.cached_tokens,
        completion: usage.completion_tokens,
        reasoning: usage.reasoning_tokens,
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

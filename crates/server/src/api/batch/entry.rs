//! Answers one entry of a batch: it waits for its permits, passes through the router, and becomes a line of the result.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use dispatch::{Caller, RequestInfo, Route};
use ledger::{Room, Spender};
use offload::long_work;
use provider::{Head, MemoryBudget, Request, RequestId, Reservation};
use serde::Serialize;
use serde_json::Value;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};
use utoipa::ToSchema;

use super::parsed::{Defaults, Entry};
use crate::{
    api::{
        admission::{Admitted, RequestContext},
        answer::ask,
        generated::{self, Generated},
        prompt::Prompt,
    },
    app::{App, Live},
    auth::ClientKey,
    budgets, clock,
    error::{ApiError, ErrorBody},
    limits::{Demand, Grant, Limiter},
    names::{Requested, Resolved},
    permits::Permit,
    tags,
};

/// What all entries of a batch have in common.
pub(super) struct Batch {
    app: Arc<App>,
    admitted: Admitted,
    defaults: Arc<Defaults>,
    /// The permits that the batch itself holds, under which one entry at a time may be answered.
    own: Arc<Semaphore>,
    /// Whether the allowance that the batch itself used up has gone to an entry.
    has_begun: AtomicBool,
    deadline: Instant,
}

/// An answer or an error, with the number of its entry.
#[derive(Serialize, ToSchema)]
#[schema(as = BatchLine)]
pub(super) struct Line {
    pub(super) index: usize,
    #[serde(flatten)]
    result: Outcome,
    /// Enough memory for the answer and for writing it out.
    #[serde(skip)]
    pub(super) reservation: Option<Reservation>,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = BatchOutcome)]
enum Outcome {
    Generated(Box<Generated>),
    Failed {
        #[schema(value_type = ErrorBody)]
        error: Value,
        request_id: String,
    },
}

impl Line {
    /// The answer, if it is one.
    pub(super) fn generated(&self) -> Option<&Generated> {
        match &self.result {
            Outcome::Generated(generated) => Some(generated),
            Outcome::Failed { .. } => None,
        }
    }
}

/// An entry that may be answered now.
struct Begun {
    live: Arc<Live>,
    key: Arc<ClientKey>,
    request: Request,
    resolved: Resolved,
    /// What it is for.
    tags: Option<Arc<str>>,
    /// What the model is called that is to answer.
    model: String,
}

impl Batch {
    pub(super) fn new(context: &RequestContext, admitted: Admitted, defaults: Defaults) -> Self {
        let deadline = admitted.at + context.live.server.batch_deadline;
        Self {
            app: context.app.clone(),
            admitted,
            defaults: Arc::new(defaults),
            own: Arc::new(Semaphore::new(1)),
            has_begun: AtomicBool::new(false),
            deadline,
        }
    }

    /// Answers one entry.
    pub(super) async fn line(&self, index: usize, entry: Entry) -> Line {
        let started = Instant::now();
        let id = RequestId::from(format!("{}.{index}", self.admitted.id.as_str()).as_str());
        let answered = match self.begin(entry).await {
            Ok(begun) => self.answer(begun, &id).await,
            Err(error) => {
                self.app.rejected(self.info(&id), &error, started);
                Err(error)
            }
        };
        let (result, reservation) = match answered {
            Ok((generated, reservation)) => (Outcome::Generated(Box::new(generated)), Some(reservation)),
            Err(error) => {
                let (error, request_id) = (error.to_value(), id.as_str().to_owned());
                (Outcome::Failed { error, request_id }, None)
            }
        };
        Line { index, result, reservation }
    }

    fn info(&self, id: &RequestId) -> RequestInfo {
        let (key, team) = (self.admitted.key.id.clone(), self.admitted.key.team.clone());
        RequestInfo {
            request_id: id.clone(),
            number: 0,
            route: Route::Batch,
            stream: false,
            model: None,
            key,
            team,
            tags: None,
            requested: None,
        }
    }

    /// Waits until the entry may be answered, and makes a chat of it. No entry begins once the router stops, the
    /// batch's deadline is over, or its key was removed or may no longer wish what the batch's headers want.
    async fn begin(&self, entry: Entry) -> Result<Begun, ApiError> {
        let demand = self.demand(&entry).await?;
        let permits = tokio::select! {
            biased;
            () = self.app.cut.cancelled() => return Err(ApiError::shutting_down()),
            () = sleep_until(self.deadline) => return Err(self.too_long()),
            () = self.key_gone() => return Err(ApiError::wrong_key()),
            permits = self.permits(demand) => permits?,
        };
        if self.app.is_draining.load(Ordering::Acquire) {
            return Err(ApiError::shutting_down());
        }
        let live = self.app.live();
        let key = live.keyring.current(&self.admitted.key).ok_or_else(ApiError::wrong_key)?;
        let bytes = self.defaults.bytes() + entry.bytes();
        // The chat that its fields are made into.
        let mut reservation = self.memory().reserve(bytes)?;
        let (defaults, task) = (self.defaults.clone(), self.admitted.task.clone());
        let (of_header, wishes) = (self.admitted.tags.clone(), self.admitted.wishes);
        let made = long_work(bytes, move || {
            let (request, resolved, model) = chat(&defaults, &entry, task.as_deref(), &live, &key)?;
            wishes.check_allowed(&key)?;
            wishes.check(&resolved, &model, &live.table)?;
            let tags = tags::of_request(&request, &of_header, &key, &live.tags)?;
            reservation.resize(request.body_bytes())?;
            let request = request.holding((reservation, permits));
            Ok(Begun { live, key, request, resolved, tags, model })
        });
        made.await
    }

    /// What an entry needs, and the model that counts it, if that has limits. Only an ensemble makes more than one call, which the
    /// short form asks for by name alone.
    async fn demand(&self, entry: &Entry) -> Result<(Demand, Option<Arc<Limiter>>), ApiError> {
        let live = self.app.live();
        let bytes = self.defaults.bytes() + entry.bytes();
        if !live.names.has_ensembles() && !live.limiters.has_models() {
            return Ok((Demand::of_text(bytes, 1), None));
        }
        let (defaults, entry, key) = (self.defaults.clone(), entry.clone(), self.admitted.key.clone());
        let task = self.admitted.task.clone();
        let resolved = long_work(bytes, move || {
            let (resolved, name) = resolve(&mut defaults.complete(&entry)?, task.as_deref(), &live, &key)?;
            let model = resolved.ensemble().is_none().then(|| live.table.choose(&name)).flatten();
            let of_model = model.and_then(|model| live.limiters.of_model(model.model().as_str())).cloned();
            Ok::<_, ApiError>((resolved, of_model))
        });
        let (resolved, of_model) = resolved.await?;
        let calls = resolved.calls(&Head { n: 1, best_of: 1, prompts: 1, ..Head::default() });
        Ok((Demand::of_text(bytes, calls), of_model))
    }

    async fn answer(&self, begun: Begun, id: &RequestId) -> Result<(Generated, Reservation), ApiError> {
        let Begun { live, key, request, resolved, tags, model } = begun;
        // By its public name, also where an upstream is named.
        let choice = live.table.choose(&model);
        let public = choice.as_ref().map(|choice| choice.model().as_str());
        let spender = Spender { key: key.id.as_deref(), team: key.team.as_deref(), model: public };
        let cheapest = match self.app.budgets.look(spender, clock::now_ms()) {
            Ok(Room::Cheapest) => public.and_then(|model| budgets::cheapest(&live.table, model)),
            // What is over its budget is refused when it is called.
            Ok(Room::Any) | Err(_) => None,
        };
        let wishes = self.admitted.wishes;
        let caller = Caller {
            request_id: id.clone(),
            key: key.id.clone(),
            team: key.team.clone(),
            tags,
            requested: resolved.requested.clone(),
            table: live.table.clone(),
            arrived: Instant::now(),
            route: Route::Batch,
            wishes: wishes.routing,
            falls_back: wishes.falls_back && cheapest.is_none(),
            model: cheapest,
            session: self.admitted.session.clone(),
            deadline: Some(self.deadline),
            memory: self.memory().clone(),
        };
        let served = tokio::select! {
            biased;
            served = ask(&self.app.router, resolved.ensemble(), &request, caller) => served,
            () = self.app.cut.cancelled() => return Err(ApiError::shutting_down()),
        };
        let served = served.map_err(|error| ApiError::from(&error))?;
        generated::read(served, &model, id, self.memory()).await.map_err(|error| ApiError::from(&error))
    }

    /// Waits for what the limits of key, team and model grant, and then for the router's permit: the batch's own or a further
    /// one, whichever is there first. The router's comes last, so that no two entries wait for each other.
    async fn permits(&self, (demand, model): (Demand, Option<Arc<Limiter>>)) -> Result<EntryPermits, ApiError> {
        // A reload may have changed its limits.
        let current = self.app.live().keyring.current(&self.admitted.key);
        let key = current.as_ref().unwrap_or(&self.admitted.key);
        let counted = u32::from(!self.has_begun.swap(true, Ordering::AcqRel));
        let grant = Grant::wait(&key.limiters, model.as_ref(), demand, counted).await?;
        let further = async {
            let of_batches = self.app.batch_entries.take(1).await;
            RouterPermit::Further { _permits: [of_batches, self.app.in_flight.take(1).await] }
        };
        let of_router = tokio::select! {
            biased;
            own = self.own.clone().acquire_owned() => RouterPermit::Own { _turn: own.ok() },
            further = further => further,
        };
        Ok(EntryPermits { _grant: grant, _of_router: of_router })
    }

    /// Waits until the batch's key is not in force any more.
    async fn key_gone(&self) {
        let mut reloads = self.app.reloads.subscribe();
        while self.app.live().keyring.current(&self.admitted.key).is_some() {
            if reloads.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn too_long(&self) -> ApiError {
        ApiError::batch_too_long(self.deadline.duration_since(self.admitted.at))
    }

    fn memory(&self) -> &MemoryBudget {
        &self.admitted.key.memory
    }
}

/// What an entry is answered under.
struct EntryPermits {
    _grant: Grant,
    _of_router: RouterPermit,
}

/// The router's permit that an entry is answered under.
enum RouterPermit {
    /// The permit that its batch holds.
    Own { _turn: Option<OwnedSemaphorePermit> },
    /// One of its own, and one of those that all batches together may have.
    Further { _permits: [Permit; 2] },
}

/// The chat that an entry stands for, what is to serve it, and what that is called. `task` is the one that a header names.
fn chat(
    defaults: &Defaults,
    entry: &Entry,
    task: Option<&str>,
    live: &Live,
    key: &ClientKey,
) -> Result<(Request, Resolved, String), ApiError> {
    let mut prompt = defaults.complete(entry)?;
    let (resolved, name) = resolve(&mut prompt, task, live, key)?;
    let request = prompt.into_chat(&name, false, live.server.limits)?;
    Ok((request, resolved, name))
}

/// What is to serve an entry, and what that is called.
fn resolve(
    prompt: &mut Prompt<'_>,
    task: Option<&str>,
    live: &Live,
    key: &ClientKey,
) -> Result<(Resolved, String), ApiError> {
    let (model, own_task) = (prompt.take_text("model")?, prompt.take_text("task")?);
    let requested = Requested { model: model.as_deref(), task: task.or(own_task.as_deref()) };
    let resolved = live.names.resolve(requested, &live.table, key)?;
    let name = resolved.name(model.as_deref()).to_owned();
    Ok((resolved, name))
}

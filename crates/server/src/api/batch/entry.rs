//! One entry of a batch on its way: waits for its permit, passes through the router, becomes a line.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use provider::{Request, RequestId};
use router::{Caller, Route, Subject};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};
use utoipa::ToSchema;

use crate::{
    api::{
        admission::{Admitted, RequestContext},
        answer::ask,
        generated::{self, Generated},
        prompt::Prompt,
    },
    app::{App, Live},
    error::{ApiError, ErrorBody},
    limits::{Permit, Refused},
    names::{Requested, Resolved},
    sse::Permits,
};

/// How long to wait for a permit among those that may be under way.
const PERMIT_PAUSE: Duration = Duration::from_millis(50);

/// What all entries of a batch have in common.
pub(super) struct Batch {
    app: Arc<App>,
    live: Arc<Live>,
    admitted: Admitted,
    defaults: Map<String, Value>,
    /// The permits that the batch itself came in with, for the first entry that wants them.
    permits: Mutex<Option<Permits>>,
}

/// An answer or an error, with the number of its entry.
#[derive(Serialize, ToSchema)]
#[schema(as = BatchLine)]
pub(super) struct Line {
    pub(super) index: usize,
    #[serde(flatten)]
    result: Outcome,
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

impl Batch {
    pub(super) fn new(context: &RequestContext, mut admitted: Admitted, defaults: Map<String, Value>) -> Self {
        let permits = Mutex::new(Some(std::mem::take(&mut admitted.permits)));
        Self { app: context.app.clone(), live: context.live.clone(), admitted, defaults, permits }
    }

    /// Answers one entry.
    pub(super) async fn line(&self, index: usize, entry: Map<String, Value>) -> Line {
        let started = Instant::now();
        let id = RequestId::from(format!("{}.{index}", self.admitted.id.as_str()).as_str());
        let answered = match self.prepare(entry) {
            Ok((request, resolved, model)) => self.answer(&request, &resolved, &model, &id).await,
            Err(error) => {
                self.app.rejected(self.subject(&id), &error, started);
                Err(error)
            }
        };
        let result = match answered {
            Ok(generated) => Outcome::Generated(Box::new(generated)),
            Err(error) => Outcome::Failed { error: error.to_value(), request_id: id.as_str().to_owned() },
        };
        Line { index, result }
    }

    fn subject(&self, id: &RequestId) -> Subject {
        let (key, team) = (self.admitted.key.id.clone(), self.admitted.key.team.clone());
        Subject { request_id: id.clone(), route: Route::Batch, stream: false, model: None, key, team }
    }

    /// The chat that an entry stands for, what is to serve it, and what that is called.
    fn prepare(&self, entry: Map<String, Value>) -> Result<(Request, Resolved, String), ApiError> {
        let names_model = entry.contains_key("model") && !entry.contains_key("task");
        let mut fields = self.defaults.clone();
        if names_model {
            fields.remove("task");
        }
        fields.extend(entry);
        let mut prompt = Prompt::new(fields);
        let (model, task) = (prompt.take_text("model")?, prompt.take_text("task")?);
        let requested = Requested { model: model.as_deref(), task: self.admitted.task.as_deref().or(task.as_deref()) };
        let resolved = self.live.names.resolve(requested, &self.live.table, &self.admitted.key)?;
        let name = resolved.name(model.as_deref()).to_owned();
        let request = prompt.into_chat(&name, false, self.live.server.limits)?;
        Ok((request, resolved, name))
    }

    async fn answer(
        &self,
        request: &Request,
        resolved: &Resolved,
        model: &str,
        id: &RequestId,
    ) -> Result<Generated, ApiError> {
        let _permits = self.permits(resolved.calls(&request.head)).await?;
        let caller = Caller {
            request_id: id.clone(),
            key: self.admitted.key.id.clone(),
            team: self.admitted.key.team.clone(),
            table: self.live.table.clone(),
            arrived: Instant::now(),
            route: Route::Batch,
            model: None,
            falls_back: self.admitted.falls_back,
            deadline: None,
        };
        let served = tokio::select! {
            biased;
            served = ask(&self.app.router, resolved.ensemble(), request, caller) => served,
            () = self.app.cut.cancelled() => return Err(ApiError::shutting_down()),
        };
        let served = served.map_err(|error| ApiError::from(&error))?;
        generated::read(served, model, id).await.map_err(|error| ApiError::from(&error))
    }

    /// Waits for a permit and for the key's allowance of this many calls. Nothing begins once the router stops.
    async fn permits(&self, calls: u32) -> Result<Permits, ApiError> {
        loop {
            if self.app.is_draining.load(Ordering::Acquire) {
                return Err(ApiError::shutting_down());
            }
            // A key that was taken out of the configuration meanwhile is refused, and other limits hold at once.
            let live = self.app.live();
            let key = live.keyring.get(&self.admitted.key).ok_or_else(ApiError::wrong_key)?;
            // The batch came in as one call. An entry of more gives that up, or it would wait for its own permit.
            if let Some(permits) = self.permits.lock().take().filter(|_| calls == 1) {
                return Ok(permits);
            }
            // The router's permit first: the key's allowance is used up by asking.
            let pause = match Permit::take(&self.app.in_flight, self.live.server.max_in_flight) {
                Some(own) => match key.limiter.try_admit(calls) {
                    Ok(permit) => return Ok([permit, Some(own)]),
                    Err(Refused::Rate { wait, .. }) => wait,
                    Err(Refused::Concurrency { .. }) => PERMIT_PAUSE,
                    Err(never @ Refused::Never { .. }) => return Err(never.into()),
                },
                None => PERMIT_PAUSE,
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.app.cut.cancelled() => return Err(ApiError::shutting_down()),
            }
        }
    }
}

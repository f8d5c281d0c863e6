//! One entry of a batch on its way: waits for its place, passes through the router, becomes a line.

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
        answer::ask,
        arrival::{Arrival, Visit},
        generated::{self, Generated},
        prompt::Prompt,
    },
    app::{App, Live},
    error::{ApiError, ErrorBody},
    limits::{Place, Refused},
    names::{Asked, Meant},
    sse::Places,
};

/// How long to wait for a place among those that may be under way.
const PLACE_PAUSE: Duration = Duration::from_millis(50);

/// What all entries of a batch have in common.
pub(super) struct Batch {
    app: Arc<App>,
    live: Arc<Live>,
    arrival: Arrival,
    defaults: Map<String, Value>,
    /// The places that the batch itself came in with, for the first entry that wants them.
    places: Mutex<Option<Places>>,
}

/// An answer or an error, at its place.
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
    pub(super) fn new(visit: &Visit, mut arrival: Arrival, defaults: Map<String, Value>) -> Self {
        let places = Mutex::new(Some(std::mem::take(&mut arrival.places)));
        Self { app: visit.app.clone(), live: visit.live.clone(), arrival, defaults, places }
    }

    /// Answers one entry.
    pub(super) async fn line(&self, index: usize, entry: Map<String, Value>) -> Line {
        let started = Instant::now();
        let id = RequestId::from(format!("{}.{index}", self.arrival.id.as_str()).as_str());
        let answered = match self.understand(entry) {
            Ok((request, meant, model)) => self.answer(&request, &meant, &model, &id).await,
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
        let (key, team) = (self.arrival.key.id.clone(), self.arrival.key.team.clone());
        Subject { request_id: id.clone(), route: Route::Batch, stream: false, model: None, key, team }
    }

    /// The chat that an entry stands for, what is to serve it, and what that is called.
    fn understand(&self, entry: Map<String, Value>) -> Result<(Request, Meant, String), ApiError> {
        let names_model = entry.contains_key("model") && !entry.contains_key("task");
        let mut fields = self.defaults.clone();
        if names_model {
            fields.remove("task");
        }
        fields.extend(entry);
        let mut prompt = Prompt::new(fields);
        let (model, task) = (prompt.take_text("model")?, prompt.take_text("task")?);
        let asked = Asked { model: model.as_deref(), task: self.arrival.task.as_deref().or(task.as_deref()) };
        let meant = self.live.names.resolve(asked, &self.live.table, &self.arrival.key)?;
        let name = meant.name(model.as_deref()).to_owned();
        let request = prompt.into_chat(&name, false, self.live.server.limits)?;
        Ok((request, meant, name))
    }

    async fn answer(
        &self,
        request: &Request,
        meant: &Meant,
        model: &str,
        id: &RequestId,
    ) -> Result<Generated, ApiError> {
        let _places = self.places().await?;
        let caller = Caller {
            request_id: id.clone(),
            key: self.arrival.key.id.clone(),
            team: self.arrival.key.team.clone(),
            table: self.live.table.clone(),
            arrived: Instant::now(),
            route: Route::Batch,
            model: None,
            falls_back: self.arrival.falls_back,
            deadline: None,
        };
        let served = tokio::select! {
            biased;
            served = ask(&self.app.router, meant.ensemble(), request, caller) => served,
            () = self.app.cut.cancelled() => return Err(ApiError::shutting_down()),
        };
        let served = served.map_err(|error| ApiError::from(&error))?;
        generated::read(served, model, id).await.map_err(|error| ApiError::from(&error))
    }

    /// Waits for a place and for the key's allowance. Nothing begins once the router stops.
    async fn places(&self) -> Result<Places, ApiError> {
        loop {
            if self.app.is_draining.load(Ordering::Acquire) {
                return Err(ApiError::shutting_down());
            }
            if let Some(places) = self.places.lock().take() {
                return Ok(places);
            }
            // The router's place first: the key's allowance is used up by asking.
            let pause = match Place::take(&self.app.in_flight, self.live.server.max_in_flight) {
                Some(own) => match self.arrival.key.limiter.try_admit() {
                    Ok((place, _)) => return Ok([place, Some(own)]),
                    Err(Refused::Rate { wait, .. }) => wait,
                    Err(Refused::Concurrency { .. }) => PLACE_PAUSE,
                },
                None => PLACE_PAUSE,
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.app.cut.cancelled() => return Err(ApiError::shutting_down()),
            }
        }
    }
}

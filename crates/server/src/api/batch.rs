//! `POST /v1/generate/batch`: many prompts in one call, each answered or refused on its own.
//!
//! Every prompt passes through the router like a request of its own: it waits for a place and for the key's allowance, so that
//! a batch is slowed down where single requests would be refused. Results come in order as one JSON document, or each as soon
//! as it is there, a line each. When the client leaves, what has not started never does.

use std::{sync::Arc, time::Duration};

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use provider::{InvalidRequest, RequestId};
use router::{Caller, Route};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};

use super::{
    arrival::{Arrival, Visit},
    generated::{self, Generated},
    prompt::Prompt,
};
use crate::{
    app::{App, Live},
    error::ApiError,
    limits::{Place, Refused},
    names::Asked,
};

/// Most prompts that are answered at a time, where the client does not say.
const CONCURRENCY: u64 = 16;
const MOST_CONCURRENT: u64 = 256;
/// How long to wait for a place among those that may be under way.
const PLACE_PAUSE: Duration = Duration::from_millis(50);

/// Answers every prompt.
pub(crate) async fn serve(request: HttpRequest, payload: web::Payload, app: web::Data<Arc<App>>) -> HttpResponse {
    let mut visit = Visit::new(Route::Batch, &request, &app);
    let understood = match visit.receive(&request, payload).await {
        Ok(arrival) => Batch::understand(arrival, &visit),
        Err(error) => Err(error),
    };
    let batch = match understood {
        Ok(batch) => batch,
        Err(error) => return visit.refuse(&error),
    };
    let lines = request
        .headers()
        .get(header::ACCEPT)
        .is_some_and(|accept| accept.to_str().is_ok_and(|accept| accept.contains("application/x-ndjson")));
    if lines { batch.stream(visit) } else { batch.collect(visit).await }
}

/// A batch that is understood.
struct Batch {
    prompts: Vec<Map<String, Value>>,
    concurrency: usize,
    shared: Arc<Shared>,
}

/// What all prompts of a batch have in common.
struct Shared {
    app: Arc<App>,
    live: Arc<Live>,
    arrival: Arrival,
}

/// One line: an answer or an error, at its place.
#[derive(Serialize)]
struct Line {
    index: usize,
    #[serde(flatten)]
    result: Outcome,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Generated(Box<Generated>),
    Failed { error: Value },
}

impl Batch {
    fn understand(arrival: Arrival, visit: &Visit) -> Result<Self, ApiError> {
        let mut body = Prompt::parse(&arrival.body)?;
        let concurrency = concurrency(body.take("concurrency"))?;
        let given = (body.take("prompts"), body.take("requests"));
        let defaults = body.into_fields();
        let with_defaults = |own: Map<String, Value>| {
            let mut fields = defaults.clone();
            fields.extend(own);
            fields
        };
        let (field, prompts): (_, Vec<_>) = match given {
            (Some(Value::Array(prompts)), None) => {
                let prompt = |prompt| with_defaults(Map::from_iter([("prompt".to_owned(), prompt)]));
                ("prompts", prompts.into_iter().map(prompt).collect())
            }
            (None, Some(Value::Array(requests))) => (
                "requests",
                requests
                    .into_iter()
                    .map(|own| match own {
                        Value::Object(own) => Ok(with_defaults(own)),
                        _ => Err(InvalidRequest::field(
                            "requests",
                            "'requests' must hold objects such as {\"prompt\": \"…\"}",
                        )),
                    })
                    .collect::<Result<_, _>>()?,
            ),
            (Some(_), Some(_)) => {
                return Err(
                    InvalidRequest::field("prompts", "'prompts' and 'requests' exclude each other: send one").into()
                );
            }
            (Some(_), None) => {
                return Err(InvalidRequest::field("prompts", "'prompts' must be an array of strings").into());
            }
            (None, Some(_)) => {
                return Err(InvalidRequest::field("requests", "'requests' must be an array of objects").into());
            }
            (None, None) => {
                return Err(InvalidRequest::field("prompts", "'prompts' is required: an array of strings").into());
            }
        };
        let most = visit.live.server.max_batch;
        if prompts.is_empty() {
            return Err(InvalidRequest::field(field, format!("'{field}' is empty: send at least one")).into());
        }
        if prompts.len() > most {
            let message = format!("'{field}' has {} entries, but {most} are the most here: split it", prompts.len());
            return Err(InvalidRequest::field(field, message).into());
        }
        let shared = Shared { app: visit.app.clone(), live: visit.live.clone(), arrival };
        Ok(Self { prompts, concurrency, shared: Arc::new(shared) })
    }

    /// Every result, as soon as it is there.
    fn stream(self, visit: Visit) -> HttpResponse {
        let Visit { mut response, .. } = visit;
        let Self { prompts, concurrency, shared } = self;
        let lines = prompts.into_iter().enumerate().map(move |(index, fields)| {
            let shared = shared.clone();
            async move { shared.line(index, fields).await }
        });
        let lines = stream::iter(lines).buffer_unordered(concurrency).map(|line| {
            let mut json = serde_json::to_vec(&line).unwrap_or_default();
            json.push(b'\n');
            Ok::<_, actix_web::Error>(Bytes::from(json))
        });
        response.content_type("application/x-ndjson").streaming(lines)
    }

    /// Every result, in order.
    async fn collect(self, visit: Visit) -> HttpResponse {
        #[derive(Serialize)]
        struct Body {
            results: Vec<Line>,
            succeeded: usize,
            failed: usize,
            /// The sum of the list prices that are known, in US dollars.
            cost_usd: f64,
        }
        let Visit { mut response, .. } = visit;
        let shared = &self.shared;
        let lines = self.prompts.into_iter().enumerate().map(|(index, fields)| shared.line(index, fields));
        let results: Vec<Line> = stream::iter(lines).buffered(self.concurrency).collect().await;
        let costs = results.iter().filter_map(|line| match &line.result {
            Outcome::Generated(generated) => Some(generated.cost_usd().unwrap_or_default()),
            Outcome::Failed { .. } => None,
        });
        let costs: Vec<f64> = costs.collect();
        let succeeded = costs.len();
        let failed = results.len() - succeeded;
        response.json(Body { results, succeeded, failed, cost_usd: costs.iter().sum() })
    }
}

fn concurrency(given: Option<Value>) -> Result<usize, InvalidRequest> {
    let number = match given {
        None | Some(Value::Null) => Some(CONCURRENCY),
        Some(given) => given.as_u64().filter(|number| (1..=MOST_CONCURRENT).contains(number)),
    };
    number.and_then(|number| usize::try_from(number).ok()).ok_or_else(|| {
        InvalidRequest::field(
            "concurrency",
            format!("'concurrency' must be a whole number from 1 to {MOST_CONCURRENT}"),
        )
    })
}

impl Shared {
    async fn line(&self, index: usize, fields: Map<String, Value>) -> Line {
        let result = match self.answer(index, fields).await {
            Ok(generated) => Outcome::Generated(Box::new(generated)),
            Err(error) => Outcome::Failed { error: error.to_value() },
        };
        Line { index, result }
    }

    async fn answer(&self, index: usize, fields: Map<String, Value>) -> Result<Generated, ApiError> {
        let mut prompt = Prompt::new(fields);
        let (model, task) = (prompt.take_text("model")?, prompt.take_text("task")?);
        let arrival = &self.arrival;
        let asked = Asked { model: model.as_deref(), task: arrival.task.as_deref().or(task.as_deref()) };
        let resolved = self.live.names.resolve(asked, &self.app.router.table(), &arrival.key)?;
        let name = resolved.or(model).unwrap_or_default();
        let request = prompt.into_chat(&name, false, self.live.server.limits)?;
        // The first one came in with the batch itself.
        let _places = if index == 0 { None } else { Some(self.places().await?) };
        let id = RequestId::from(format!("{}.{index}", arrival.id.as_str()).as_str());
        let caller = Caller {
            request_id: id.clone(),
            key: arrival.key.id.clone(),
            team: arrival.key.team.clone(),
            arrived: Instant::now(),
            route: Route::Batch,
            model: None,
            falls_back: arrival.falls_back,
        };
        let served = tokio::select! {
            biased;
            served = self.app.router.call(&request, caller) => served,
            () = self.app.cut.cancelled() => return Err(ApiError::shutting_down()),
        };
        let served = served.map_err(|error| ApiError::from(&error))?;
        generated::read(served, &name, &id).await.map_err(|error| ApiError::from(&error))
    }

    /// Waits for a place and for the key's allowance.
    async fn places(&self) -> Result<(Option<Place>, Place), ApiError> {
        loop {
            let pause = match self.arrival.key.limiter.try_admit() {
                Ok((place, _)) => match Place::take(&self.app.in_flight, self.live.server.max_in_flight) {
                    Some(own) => return Ok((place, own)),
                    None => PLACE_PAUSE,
                },
                Err(Refused::Rate { wait, .. }) => wait,
                Err(Refused::Concurrency { .. }) => PLACE_PAUSE,
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.app.cut.cancelled() => return Err(ApiError::shutting_down()),
            }
        }
    }
}

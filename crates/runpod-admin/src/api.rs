//! The calls themselves.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::Method;
use openai::{BuildError, Client};
use provider::{ErrorKind, NanoUsd, Phase};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::{Action, Error, Target, problem::ProblemDialect};

/// Where the management API lives: another host than the endpoints themselves.
pub const BASE_URL: &str = "https://api.runpod.io/v2";
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Something that exists. Only what every object has is read at once: others' endpoints may have shapes of their own.
#[derive(Clone, PartialEq, Deserialize)]
pub struct Existing {
    /// RunPod's id.
    pub id: String,
    /// The name that was given to it; not necessarily unique.
    pub name: String,
    /// All its other fields.
    #[serde(flatten)]
    pub settings: Value,
}

impl Existing {
    /// Where the OpenAI paths of an endpoint live, as RunPod says.
    pub fn base_url(&self) -> Option<String> {
        let urls = &self.settings["requestUrls"];
        if let Some(base) = urls["base"].as_str() {
            return Some(format!("{}/v1", base.trim_end_matches('/')));
        }
        urls["run"].as_str()?.strip_suffix("/run").map(|queue| format!("{queue}/openai/v1"))
    }
}

/// Leaves variables out, because they may hold secrets.
impl fmt::Debug for Existing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Existing").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// What exists in the account.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Network volumes.
    pub volumes: Vec<Existing>,
    /// Serverless endpoints.
    pub endpoints: Vec<Existing>,
}

impl Found {
    pub(super) fn all(&self, target: Target) -> &[Existing] {
        match target {
            Target::Volume => &self.volumes,
            Target::Endpoint => &self.endpoints,
        }
    }

    /// Puts in what was just made or changed.
    pub(super) fn put(&mut self, target: Target, new: Existing) {
        let all = match target {
            Target::Volume => &mut self.volumes,
            Target::Endpoint => &mut self.endpoints,
        };
        all.retain(|old| old.id != new.id);
        all.push(new);
    }
}

/// What one GPU of a pool costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolPrice {
    /// The pool's id, as in `gpu.pools`.
    pub pool: String,
    /// For an hour; `None` if the catalogue does not say.
    pub usd_per_hour: Option<NanoUsd>,
}

/// The management API.
pub struct Api {
    client: Client,
    base: String,
}

impl Api {
    /// The API at `base`, reached through `client`, which has the key.
    ///
    /// # Errors
    /// If `base` is not a URL.
    pub fn new(client: Client, base: &str) -> Result<Self, BuildError> {
        let base = base.trim_end_matches('/').to_owned();
        Url::parse(&base).map_err(|_| BuildError::Url(base.clone()))?;
        Ok(Self { client, base })
    }

    /// What exists.
    pub async fn found(&self) -> Result<Found, Error> {
        Ok(Found { volumes: self.list(Target::Volume).await?, endpoints: self.list(Target::Endpoint).await? })
    }

    /// The serverless price of every pool.
    pub async fn prices(&self) -> Result<Vec<PoolPrice>, Error> {
        let doing = "read RunPod's prices";
        let answer = self.send(doing, Method::GET, "catalog/gpus", &Value::Null).await?;
        let gpus = items(doing, answer, "gpus")?;
        let mut prices: Vec<PoolPrice> = Vec::new();
        for gpu in &gpus {
            // A card that is not in a pool cannot be had by an endpoint.
            let Some(pool) = gpu["pool"].as_str() else { continue };
            let price = gpu["price"]["serverless"].as_number();
            let usd_per_hour = price.and_then(|price| NanoUsd::from_usd(&price.to_string()).ok());
            match prices.iter_mut().find(|known| known.pool == pool) {
                Some(known) => known.usd_per_hour = known.usd_per_hour.max(usd_per_hour),
                None => prices.push(PoolPrice { pool: pool.to_owned(), usd_per_hour }),
            }
        }
        Ok(prices)
    }

    /// What was billed for serverless endpoints from a time until another, both in the form of RFC 3339, by endpoint and day: RunPod's
    /// answer as it is.
    pub async fn billing(&self, since: &str, until: &str) -> Result<Value, Error> {
        let path = format!("billing/serverless?startTime={since}&endTime={until}&bucketSize=day");
        self.send("read RunPod's bill", Method::GET, &path, &Value::Null).await
    }

    /// Makes or changes what `action` says.
    pub(super) async fn carry_out(&self, action: &Action) -> Result<Existing, Error> {
        let collection = path(action.target);
        let (method, path, verb) = match &action.id {
            None => (Method::POST, collection.to_owned(), "create"),
            Some(id) => (Method::PATCH, format!("{collection}/{id}"), "change"),
        };
        let doing = format!("{verb} the {} {}", action.target, action.name);
        let answer = self.send(&doing, method, &path, &action.body).await?;
        serde_json::from_value(answer).map_err(|_| unexpected_answer(&doing))
    }

    async fn list(&self, target: Target) -> Result<Vec<Existing>, Error> {
        let doing = format!("list the {target}s");
        let answer = self.send(&doing, Method::GET, path(target), &Value::Null).await?;
        let field = match target {
            Target::Volume => "networkVolumes",
            Target::Endpoint => "endpoints",
        };
        let items = items(&doing, answer, field)?;
        items.into_iter().map(|item| serde_json::from_value(item).map_err(|_| unexpected_answer(&doing))).collect()
    }

    async fn send(&self, doing: &str, method: Method, path: &str, body: &Value) -> Result<Value, Error> {
        let failed = |cause| Error::Api { doing: doing.to_owned(), cause };
        let url = format!("{}/{path}", self.base);
        let url = Url::parse(&url).map_err(|_| unexpected_answer(doing))?;
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let answer = tokio::time::timeout(PATIENCE, self.client.json(method, url, body, &ProblemDialect)).await;
        answer
            .map_err(|_| {
                failed(provider::Error::new(ErrorKind::Timeout(Phase::Deadline), "RunPod did not answer in time"))
            })?
            .map_err(failed)
    }
}

const fn path(target: Target) -> &'static str {
    match target {
        Target::Volume => "network-volumes",
        Target::Endpoint => "serverless",
    }
}

/// The list that an answer wraps.
fn items(doing: &str, mut answer: Value, field: &str) -> Result<Vec<Value>, Error> {
    match answer.get_mut(field).map(Value::take) {
        Some(Value::Array(items)) => Ok(items),
        _ => Err(unexpected_answer(doing)),
    }
}

fn unexpected_answer(doing: &str) -> Error {
    let cause = provider::Error::new(ErrorKind::Protocol, "RunPod's answer has another form than expected");
    Error::Api { doing: doing.to_owned(), cause }
}

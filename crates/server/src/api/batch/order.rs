//! What a batch asks for.

use bytes::Bytes;
use provider::InvalidRequest;
use serde_json::{Map, Value};

use crate::{api::prompt::Prompt, error::ApiError};

/// Most prompts that are answered at a time, where the client does not say.
const CONCURRENCY: u64 = 16;
const MOST_CONCURRENT: u64 = 256;

/// A batch as it was sent, as far as it can be checked as a whole.
pub(super) struct Order {
    /// What each entry says itself.
    pub(super) entries: Vec<Map<String, Value>>,
    /// What holds where an entry says nothing.
    pub(super) defaults: Map<String, Value>,
    /// How many entries to answer at a time.
    pub(super) concurrency: usize,
}

impl Order {
    pub(super) fn parse(body: &Bytes, most: usize) -> Result<Self, ApiError> {
        let mut body = Prompt::parse(body)?;
        let concurrency = concurrency(body.take("concurrency"))?;
        let (field, entries) = match (body.take("prompts"), body.take("requests")) {
            (Some(Value::Array(prompts)), None) => ("prompts", prompts.into_iter().map(prompt).collect()),
            (None, Some(Value::Array(requests))) => {
                ("requests", requests.into_iter().map(request).collect::<Result<Vec<_>, _>>()?)
            }
            (Some(_), Some(_)) => return wrong("prompts", "'prompts' and 'requests' exclude each other: send one"),
            (Some(_), None) => return wrong("prompts", "'prompts' must be an array of strings"),
            (None, Some(_)) => return wrong("requests", "'requests' must be an array of objects"),
            (None, None) => return wrong("prompts", "'prompts' is required: an array of strings"),
        };
        if entries.is_empty() {
            return wrong(field, &format!("'{field}' is empty: send at least one"));
        }
        if entries.len() > most {
            let count = entries.len();
            return wrong(field, &format!("'{field}' has {count} entries, but {most} are the most here: split it"));
        }
        Ok(Self { entries, defaults: body.into_fields(), concurrency })
    }
}

fn wrong(field: &'static str, message: &str) -> Result<Order, ApiError> {
    Err(InvalidRequest::field(field, message).into())
}

fn prompt(prompt: Value) -> Map<String, Value> {
    Map::from_iter([("prompt".to_owned(), prompt)])
}

fn request(request: Value) -> Result<Map<String, Value>, InvalidRequest> {
    match request {
        Value::Object(own) => Ok(Prompt::new(own).into_fields()),
        _ => Err(InvalidRequest::field("requests", "'requests' must hold objects such as {\"prompt\": \"…\"}")),
    }
}

fn concurrency(given: Option<Value>) -> Result<usize, InvalidRequest> {
    let number = match given {
        None => Some(CONCURRENCY),
        Some(given) => given.as_u64().filter(|number| (1..=MOST_CONCURRENT).contains(number)),
    };
    number.and_then(|number| usize::try_from(number).ok()).ok_or_else(|| {
        let message = format!("'concurrency' must be a whole number from 1 to {MOST_CONCURRENT}");
        InvalidRequest::field("concurrency", message)
    })
}

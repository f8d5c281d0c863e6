//! Parses a batch.
//!
//! Entries are counted while they are read and kept as they are written, as pieces of the one body.

use std::collections::HashSet;

use bytes::Bytes;
use provider::{InvalidRequest, RequestBody, Value};

use crate::api::prompt::Prompt;

/// Most prompts that are answered at a time, where the client does not say.
const CONCURRENCY: u64 = 16;
const MOST_CONCURRENT: u64 = 256;

/// A batch as it was sent, as far as it can be checked as a whole.
pub(crate) struct ParsedBatch {
    /// What each entry says itself.
    pub(crate) entries: Vec<Entry>,
    /// What holds where an entry says nothing.
    pub(crate) defaults: Defaults,
    /// How many entries to answer at a time.
    pub(crate) concurrency: usize,
}

/// One entry as it was written.
#[derive(Clone)]
pub(crate) enum Entry {
    /// A text, unless the client is mistaken.
    Prompt(Bytes),
    /// An object.
    Request(Bytes),
}

/// Fields that hold for all entries: names, and values as they are written.
#[derive(Default)]
pub(crate) struct Defaults(Vec<(String, Bytes)>);

impl ParsedBatch {
    /// Reads a batch of at most so many entries.
    pub(crate) fn parse(body: &Bytes, most: usize) -> Result<Self, InvalidRequest> {
        let mut reading = RequestBody::parse(body)?;
        let mut concurrency = Ok(CONCURRENCY);
        let (mut prompts, mut requests, mut defaults) = (None, None, Defaults::default());
        while reading.next_field()?.is_some() {
            match &*reading.field.decoded() {
                "concurrency" => concurrency = self::concurrency(reading.value()?),
                "prompts" => prompts = entries(&mut reading, body, most, Entry::Prompt)?,
                "requests" => requests = entries(&mut reading, body, most, Entry::Request)?,
                name => {
                    let name = name.to_owned();
                    let raw = reading.raw()?;
                    if raw != "null" {
                        defaults.0.push((name, body.slice_ref(raw.as_bytes())));
                    }
                }
            }
        }
        let concurrency = concurrency?;
        let (field, entries) = match (prompts, requests) {
            (Some(prompts), None) => ("prompts", prompts),
            (None, Some(requests)) => ("requests", requests),
            (Some(_), Some(_)) => {
                return Err(wrong("prompts", "'prompts' and 'requests' exclude each other: send one"));
            }
            (None, None) => return Err(wrong("prompts", "'prompts' is required: an array of strings")),
        };
        if entries.is_empty() {
            return Err(wrong(field, format!("'{field}' is empty: send at least one")));
        }
        Ok(Self { entries, defaults, concurrency: usize::try_from(concurrency).unwrap_or(1) })
    }
}

impl Entry {
    /// How long it is as it was written.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Prompt(raw) | Self::Request(raw) => raw.len(),
        }
    }
}

impl Defaults {
    /// How long they are as they were written.
    pub(crate) fn bytes(&self) -> usize {
        self.0.iter().map(|(name, raw)| name.len() + raw.len()).sum()
    }

    /// What `entry` asks for, with the defaults where it says nothing. One that names a model wants no other task's.
    pub(crate) fn complete<'a>(&'a self, entry: &'a Entry) -> Result<Prompt<'a>, InvalidRequest> {
        let mut prompt = match entry {
            Entry::Prompt(raw) => {
                let mut prompt = Prompt::default();
                prompt.add("prompt", text(raw));
                prompt
            }
            Entry::Request(raw) => Prompt::parse(raw)?,
        };
        let mut own: HashSet<String> = prompt.names().map(str::to_owned).collect();
        if matches!(entry, Entry::Prompt(_)) {
            own.insert("prompt".to_owned());
        }
        if own.contains("model") {
            own.insert("task".to_owned());
        }
        for (name, raw) in self.0.iter().filter(|(name, _)| !own.contains(name)) {
            prompt.add(name.as_str(), text(raw));
        }
        Ok(prompt)
    }
}

/// A piece of a body that was read, and so is text.
fn text(raw: &Bytes) -> &str {
    str::from_utf8(raw).unwrap_or_default()
}

/// The entries that come next; `None` if there is null in their place.
fn entries(
    reading: &mut RequestBody<'_>,
    body: &Bytes,
    most: usize,
    entry: fn(Bytes) -> Entry,
) -> Result<Option<Vec<Entry>>, InvalidRequest> {
    let (field, of, is_request) = match &*reading.field.decoded() {
        "requests" => ("requests", "objects", true),
        _ => ("prompts", "strings", false),
    };
    if reading.reader.peek() != Some(b'[') {
        return match reading.value()? {
            Value::Null => Ok(None),
            _ => Err(wrong(field, format!("'{field}' must be an array of {of}"))),
        };
    }
    let mut entries = Vec::new();
    reading.enter()?;
    while reading.element()? {
        if entries.len() == most {
            return Err(wrong(field, format!("'{field}' has more than {most} entries: split it")));
        }
        if is_request && reading.reader.peek() != Some(b'{') {
            return Err(wrong(field, "'requests' must hold objects such as {\"prompt\": \"…\"}"));
        }
        entries.push(entry(body.slice_ref(reading.raw()?.as_bytes())));
    }
    Ok(Some(entries))
}

fn concurrency(given: Value<'_>) -> Result<u64, InvalidRequest> {
    if given == Value::Null {
        return Ok(CONCURRENCY);
    }
    given.count().filter(|number| (1..=MOST_CONCURRENT).contains(number)).ok_or_else(|| {
        wrong("concurrency", format!("'concurrency' must be a whole number from 1 to {MOST_CONCURRENT}"))
    })
}

fn wrong(field: &'static str, message: impl Into<String>) -> InvalidRequest {
    InvalidRequest::field(field, message)
}

#[cfg(test)]
mod tests;

//! The head of a request: what routing reads of the body, found and checked in one pass.
//!
//! A typed schema of the whole API would need a release for every field that OpenAI adds, and would re-serialise what it
//! read. So only the fields below are looked at; everything else is skipped and forwarded as it came. What a real vLLM
//! accepts without a word (an unknown role) or answers with 500 is checked here, where the client can be told what to change.

mod messages;
mod scalar;

use std::{borrow::Cow, fmt, ops::Range};

use messages::Messages;
use scalar::Scalar;

use serde::{
    Deserialize,
    de::{self, Deserializer as _, MapAccess, Visitor},
};

use crate::{
    Object, Operation,
    json::{Text, borrowed, range_of},
};

/// Bounds on what a request may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most messages in one chat.
    pub max_messages: usize,
}

/// A request that is wrong whatever upstream it goes to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidRequest {
    /// What is wrong and what to change.
    pub message: String,
    /// The field to blame, if one is.
    pub param: Option<String>,
}

impl InvalidRequest {
    /// The body as a whole is wrong.
    pub fn body(message: impl Into<String>) -> Self {
        Self { message: message.into(), param: None }
    }

    /// One field is wrong.
    pub fn field(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { message: message.into(), param: Some(param.into()) }
    }
}

/// What an upstream must be able to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features {
    /// Tool calls.
    pub tools: bool,
    /// Image parts.
    pub images: bool,
    /// A JSON schema for the answer.
    pub json_schema: bool,
}

impl Features {
    /// Whether an upstream with these features can do all that `needed` asks for.
    pub const fn cover(self, needed: Self) -> bool {
        (self.tools || !needed.tools) && (self.images || !needed.images) && (self.json_schema || !needed.json_schema)
    }
}

/// A place inside the messages that some upstream wants written differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nested {
    /// The key `reasoning_content` of a message, quotes excluded.
    ReasoningContentKey(Range<usize>),
    /// The role `developer` of a message, quotes excluded.
    DeveloperRole(Range<usize>),
    /// A message of the role `function`, which some upstreams know no more.
    FunctionRole,
}

/// What routing reads of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// The model that the client asks for.
    pub model: String,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether the client wants usage at the end of the stream.
    pub include_usage: bool,
    /// The client's limit on tokens of the answer, if it names one.
    pub max_tokens: Option<u64>,
    /// How many answers are asked for.
    pub choices: u64,
    /// What the request needs of an upstream.
    pub features: Features,
    /// Places inside the messages that an adapter may have to change.
    pub nested: Vec<Nested>,
}

const ROLES: [&str; 6] = ["system", "developer", "user", "assistant", "tool", "function"];

/// Reads and checks the head of `text`.
pub(crate) fn parse(operation: Operation, text: &str, limits: Limits) -> Result<(Head, Object), InvalidRequest> {
    if text.trim_ascii().is_empty() {
        return Err(InvalidRequest::body("the body is empty: send a JSON object"));
    }
    let mut state = State {
        operation,
        text,
        limits,
        invalid: None,
        field: "",
        seen: 0,
        keys: Vec::with_capacity(16),
        head: Head { choices: 1, ..Head::default() },
        has_input: false,
    };
    // From bytes: it skips a text quicker than from a string, and what it borrows is the same memory.
    let mut deserializer = serde_json::Deserializer::from_slice(text.as_bytes());
    let parsed = deserializer.deserialize_any(&mut state).and_then(|()| deserializer.end());
    if let Err(error) = parsed {
        return Err(state.explain(&error));
    }
    state.check()?;
    let object = Object::from_keys(text, state.keys);
    Ok((state.head, object))
}

struct State<'a> {
    operation: Operation,
    text: &'a str,
    limits: Limits,
    /// The precise complaint behind a parse error.
    invalid: Option<InvalidRequest>,
    /// The field being read, for complaints that come from `serde_json`.
    field: &'a str,
    seen: u32,
    keys: Vec<Range<usize>>,
    head: Head,
    has_input: bool,
}

impl State<'_> {
    /// Turns a parse error into something that the client can act on.
    fn explain(&mut self, error: &serde_json::Error) -> InvalidRequest {
        if let Some(invalid) = self.invalid.take() {
            return invalid;
        }
        let text = error.to_string();
        if text.contains("recursion limit") {
            return InvalidRequest::body(
                "the body is nested too deeply: at most 128 levels of arrays and objects are accepted",
            );
        }
        if !error.is_data() {
            return InvalidRequest::body(format!("the body is not valid JSON: {text}"));
        }
        let text = without_contents(&text);
        if self.field.is_empty() {
            return InvalidRequest::body(text);
        }
        InvalidRequest::field(self.field, format!("invalid value for '{}': {text}", self.field))
    }

    /// What can only be said once the whole object was read.
    fn check(&self) -> Result<(), InvalidRequest> {
        if self.head.model.is_empty() {
            return Err(InvalidRequest::field(
                "model",
                "'model' is required: name one of the models listed by GET /v1/models",
            ));
        }
        if !self.has_input {
            let field = input_field(self.operation);
            return Err(InvalidRequest::field(field, format!("'{field}' is required")));
        }
        if !self.head.stream && self.head.include_usage {
            return Err(InvalidRequest::field(
                "stream_options",
                "'stream_options' is only allowed together with \"stream\": true",
            ));
        }
        Ok(())
    }

    fn fail<E: de::Error>(&mut self, message: impl Into<String>) -> E {
        self.invalid = Some(InvalidRequest::field(self.field, message));
        E::custom("invalid request")
    }

    fn once<E: de::Error>(&mut self, bit: u32) -> Result<(), E> {
        if self.seen & (1 << bit) != 0 {
            return Err(self.fail(format!("'{}' appears twice: send it once", self.field)));
        }
        self.seen |= 1 << bit;
        Ok(())
    }
}

/// A complaint of `serde_json` without the text it found: that may be a whole prompt.
fn without_contents(complaint: &str) -> Cow<'_, str> {
    let found = complaint.split_once("string \"").zip(complaint.rsplit_once("\", expected "));
    match found {
        Some(((before, _), (_, expected))) => format!("{before}string, expected {expected}").into(),
        None => complaint.into(),
    }
}

/// As much of a client's own text as an error repeats.
pub(crate) fn shown(text: &str) -> &str {
    text.char_indices().nth(64).map_or(text, |(end, _)| &text[..end])
}

const fn input_field(operation: Operation) -> &'static str {
    match operation {
        Operation::Chat => "messages",
        Operation::Completions => "prompt",
        Operation::Embeddings => "input",
    }
}

impl<'de> Visitor<'de> for &mut State<'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body to be a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Text<'de>>()? {
            let key = borrowed(key)?;
            self.keys.push(range_of(self.text, key));
            self.field = key;
            self.member(key, &mut map)?;
        }
        self.field = "";
        Ok(())
    }
}

impl<'de> State<'de> {
    fn member<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "model" => {
                self.once(0)?;
                match map.next_value::<Scalar<'de>>()? {
                    Scalar::Text(model) if !model.is_empty() => self.head.model = model.into_owned(),
                    _ => {
                        return Err(self.fail(
                            "'model' must be a non-empty string: name one of the models listed by GET /v1/models",
                        ));
                    }
                }
            }
            "messages" if self.operation == Operation::Chat => {
                self.once(1)?;
                map.next_value_seed(Messages(self))?;
                self.has_input = true;
            }
            "prompt" | "input" if key == input_field(self.operation) => {
                self.once(1)?;
                match map.next_value::<Scalar<'de>>()? {
                    Scalar::Text(_) => {}
                    Scalar::Array(length) if length > 0 => {}
                    _ => return Err(self.fail(format!("'{key}' must be a string or a non-empty array"))),
                }
                self.has_input = true;
            }
            "stream" => {
                self.once(2)?;
                match map.next_value::<Scalar<'de>>()? {
                    Scalar::Bool(stream) => self.head.stream = stream,
                    Scalar::Null => {}
                    _ => return Err(self.fail("'stream' must be true or false")),
                }
            }
            "stream_options" => {
                self.once(3)?;
                self.head.include_usage = map
                    .next_value::<Option<StreamOptions>>()?
                    .is_some_and(|options| options.include_usage.unwrap_or(false));
            }
            "max_tokens" | "max_completion_tokens" => {
                self.once(if key == "max_tokens" { 4 } else { 5 })?;
                let limit = self.integer(&map.next_value()?, 1, u64::from(u32::MAX))?;
                // The newer name wins, whichever comes first.
                if key == "max_completion_tokens" || self.head.max_tokens.is_none() {
                    self.head.max_tokens = limit.or(self.head.max_tokens);
                }
            }
            "n" => {
                self.once(6)?;
                self.head.choices = self.integer(&map.next_value()?, 1, 128)?.unwrap_or(1);
            }
            "best_of" => drop(self.integer(&map.next_value()?, 1, 20)?),
            "top_logprobs" => drop(self.integer(&map.next_value()?, 0, 20)?),
            "temperature" => self.number(&map.next_value()?, 0.0, 2.0)?,
            "top_p" => self.number(&map.next_value()?, 0.0, 1.0)?,
            "presence_penalty" | "frequency_penalty" => self.number(&map.next_value()?, -2.0, 2.0)?,
            "tools" => {
                self.once(7)?;
                match map.next_value::<Scalar<'de>>()? {
                    Scalar::Null => {}
                    Scalar::Array(length) if length > 0 => self.head.features.tools = true,
                    _ => return Err(self.fail("'tools' must be a non-empty array: leave it out if there are none")),
                }
            }
            "response_format" => {
                self.once(8)?;
                let format = map.next_value::<Option<ResponseFormat<'de>>>()?;
                self.head.features.json_schema = format.is_some_and(|format| format.kind == "json_schema");
            }
            _ => drop(map.next_value::<Scalar<'de>>()?),
        }
        Ok(())
    }

    fn integer<E: de::Error>(&mut self, value: &Scalar<'_>, min: u64, max: u64) -> Result<Option<u64>, E> {
        match value {
            Scalar::Null => Ok(None),
            Scalar::Unsigned(number) if (min..=max).contains(number) => Ok(Some(*number)),
            _ => Err(self.fail(format!("'{}' must be a whole number from {min} to {max}", self.field))),
        }
    }

    fn number<E: de::Error>(&mut self, value: &Scalar<'_>, min: f64, max: f64) -> Result<(), E> {
        let number = match value {
            Scalar::Null => return Ok(()),
            #[expect(clippy::cast_precision_loss, reason = "only compared with small bounds")]
            Scalar::Unsigned(number) => *number as f64,
            Scalar::Number(number) => *number,
            Scalar::Bool(_) | Scalar::Text(_) | Scalar::Array(_) | Scalar::Object => f64::NAN,
        };
        if (min..=max).contains(&number) {
            return Ok(());
        }
        Err(self.fail(format!("'{}' must be a number from {min} to {max}", self.field)))
    }
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct ResponseFormat<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

#[cfg(test)]
mod tests;

//! The events of a streamed message: a state machine that takes them in the order in which Anthropic sends them and in no other,
//! and puts the message together as its SDKs do. Shared by the tests of several crates.
//!
//! Source: <https://docs.anthropic.com/en/docs/build-with-claude/streaming>.

use serde_json::{Value, json};

/// Where the stream stands.
#[derive(Debug, PartialEq)]
enum State {
    /// Nothing has come.
    New,
    /// Between two blocks, or before the first, or behind the last.
    Between,
    /// Within the last block, whose type this is.
    Within { kind: String, has_signature: bool },
    /// The reason of the end has come.
    Ending,
    /// Nothing may come.
    Over,
}

/// Takes the events of one message.
#[derive(Debug)]
pub(crate) struct Events {
    state: State,
    message: Value,
    /// The blocks of its content.
    blocks: Vec<Value>,
    /// The input of the call that is open, as far as it has come.
    input: String,
    /// The in-band error, if the stream broke.
    pub(crate) error: Option<Value>,
}

impl Events {
    /// None has come.
    pub(crate) fn new() -> Self {
        Self { state: State::New, message: Value::Null, blocks: Vec::new(), input: String::new(), error: None }
    }

    /// Takes the bytes of whole events.
    ///
    /// # Errors
    /// If one may not stand there, or is not written as Anthropic writes it.
    pub(crate) fn take(&mut self, events: &str) -> Result<(), String> {
        for event in events.split_inclusive("\n\n") {
            let parts =
                event.strip_prefix("event: ").and_then(|rest| rest.strip_suffix("\n\n")?.split_once("\ndata: "));
            let (name, data) = parts.ok_or_else(|| format!("not one event: {event:?}"))?;
            let data: Value = serde_json::from_str(data).map_err(|error| format!("{error}: {event}"))?;
            if data["type"] != name {
                return Err(format!("an event called {name} of another type: {data}"));
            }
            self.event(name, &data).map_err(|why| format!("{why}, in {:?}: {event}", self.state))?;
        }
        Ok(())
    }

    /// The message, or as much of it as came before an error.
    ///
    /// # Errors
    /// If it is not complete.
    pub(crate) fn finish(mut self) -> Result<Value, String> {
        if self.state != State::Over {
            return Err(format!("it ends in {:?}", self.state));
        }
        self.message["content"] = self.blocks.into();
        Ok(self.message)
    }

    fn event(&mut self, name: &str, data: &Value) -> Result<(), &'static str> {
        match (name, &mut self.state) {
            (_, State::Over) => return Err("something follows the end"),
            ("ping", _) => {}
            ("error", state) => {
                check(data["error"]["type"].is_string() && data["error"]["message"].is_string(), "no error")?;
                self.error = Some(data["error"].clone());
                *state = State::Over;
            }
            ("message_start", state @ State::New) => {
                self.message = data["message"].clone();
                let message = &self.message;
                check(message["id"].as_str().is_some_and(|id| id.starts_with("msg_")), "no id")?;
                check(message["content"] == json!([]) && message["stop_reason"].is_null(), "not empty")?;
                check(message["type"] == "message" && message["role"] == "assistant", "no message")?;
                check(message["usage"]["input_tokens"].is_u64(), "no usage")?;
                check(message["usage"]["output_tokens"].is_u64(), "no usage")?;
                *state = State::Between;
            }
            ("content_block_start", State::Between) => self.start_block(data)?,
            ("content_block_delta", State::Within { .. }) => self.delta(data)?,
            ("content_block_stop", State::Within { .. }) => self.stop_block(data)?,
            ("message_delta", state @ State::Between) => {
                check(data["delta"]["stop_reason"].is_string(), "no reason")?;
                check(data["usage"]["output_tokens"].is_u64(), "no usage")?;
                for name in ["stop_reason", "stop_sequence"] {
                    self.message[name] = data["delta"][name].clone();
                }
                for (name, count) in data["usage"].as_object().into_iter().flatten() {
                    self.message["usage"][name] = count.clone();
                }
                *state = State::Ending;
            }
            ("message_stop", state @ State::Ending) => *state = State::Over,
            _ => return Err("an event that may not come here"),
        }
        Ok(())
    }

    fn start_block(&mut self, data: &Value) -> Result<(), &'static str> {
        let block = &data["content_block"];
        check(data["index"] == self.blocks.len(), "a number that is not the next")?;
        let kind = block["type"].as_str().ok_or("no type")?;
        let is_empty = match kind {
            "text" => *block == json!({"type": "text", "text": ""}),
            "thinking" => *block == json!({"type": "thinking", "thinking": "", "signature": ""}),
            "tool_use" => {
                let has_id = block["id"].as_str().is_some_and(|id| !id.is_empty());
                has_id && block["name"].is_string() && block["input"] == json!({})
            }
            _ => return Err("a type that is not known"),
        };
        check(is_empty, "a block that is not empty, or lacks something")?;
        self.blocks.push(block.clone());
        self.input.clear();
        self.state = State::Within { kind: kind.to_owned(), has_signature: false };
        Ok(())
    }

    fn delta(&mut self, data: &Value) -> Result<(), &'static str> {
        let State::Within { kind, has_signature } = &mut self.state else { return Err("no block is open") };
        check(!*has_signature, "something follows the signature")?;
        let delta = &data["delta"];
        let (expected, member) = match (kind.as_str(), delta["type"].as_str().unwrap_or_default()) {
            ("text", kind @ "text_delta") => (kind, "text"),
            ("thinking", kind @ "thinking_delta") => (kind, "thinking"),
            ("thinking", kind @ "signature_delta") => {
                *has_signature = true;
                (kind, "signature")
            }
            ("tool_use", kind @ "input_json_delta") => (kind, "partial_json"),
            _ => return Err("a delta of another block"),
        };
        let piece = delta[member].as_str().filter(|piece| !piece.is_empty()).ok_or("an empty delta")?;
        check(*delta == json!({"type": expected, member: piece}), "a delta with more in it")?;
        let count = self.blocks.len();
        check(data["index"] == count - 1, "a delta of another number")?;
        if member == "partial_json" {
            self.input.push_str(piece);
        } else {
            let block = &mut self.blocks[count - 1][member];
            *block = format!("{}{piece}", block.as_str().unwrap_or_default()).into();
        }
        Ok(())
    }

    fn stop_block(&mut self, data: &Value) -> Result<(), &'static str> {
        let count = self.blocks.len();
        check(data["index"] == count - 1, "the end of another number")?;
        match &self.state {
            State::Within { kind, has_signature } => {
                check(kind != "thinking" || *has_signature, "thinking without a signature")?;
            }
            _ => return Err("no block is open"),
        }
        let input = std::mem::take(&mut self.input);
        if !input.is_empty() {
            self.blocks[count - 1]["input"] = serde_json::from_str(&input).unwrap_or(Value::String(input));
        }
        self.state = State::Between;
        Ok(())
    }
}

fn check(holds: bool, otherwise: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(otherwise) }
}

//! The top-level fields that are looked at, and their bounds.

use super::{InvalidRequest, State, input_field};
use crate::{Operation, Value};

impl State<'_> {
    /// Reads the value of the field whose key was read.
    pub(super) fn member(&mut self) -> Result<(), InvalidRequest> {
        let field = self.field.clone();
        match &*field {
            "model" => {
                self.once(0)?;
                let model = self.reader.value()?.text().filter(|model| !model.raw.is_empty());
                let model = model.ok_or_else(|| {
                    self.wrong("'model' must be a non-empty string: name one of the models listed by GET /v1/models")
                })?;
                self.head.model = model.decoded().into_owned();
            }
            "messages" if self.operation == Operation::Chat => {
                self.once(1)?;
                self.messages()?;
                self.has_input = true;
            }
            "prompt" | "input" if *field == *input_field(self.operation) => {
                self.once(1)?;
                self.inputs()?;
                self.has_input = true;
            }
            "stream" => {
                self.once(2)?;
                // Embeddings come whole, whatever is asked for.
                self.head.stream = self.flag()? && self.operation != Operation::Embeddings;
            }
            "stream_options" => {
                self.once(3)?;
                self.stream_options()?;
            }
            "max_tokens" | "max_completion_tokens" => self.limit(&field)?,
            "n" => {
                self.once(6)?;
                self.head.n = self.integer(1, 128)?.unwrap_or(1);
            }
            "best_of" | "top_logprobs" => drop(self.integer(0, 20)?),
            "temperature" => self.number(0.0, 2.0)?,
            "top_p" => self.number(0.0, 1.0)?,
            "presence_penalty" | "frequency_penalty" => self.number(-2.0, 2.0)?,
            "tools" => {
                self.once(7)?;
                match self.reader.value()? {
                    Value::Null => {}
                    Value::Array(length) if length > 0 => self.head.features.tools = true,
                    _ => return Err(self.wrong("'tools' must be a non-empty array: leave it out if there are none")),
                }
            }
            "response_format" => {
                self.once(8)?;
                self.response_format()?;
            }
            _ => drop(self.reader.value()?),
        }
        Ok(())
    }

    fn once(&mut self, bit: u32) -> Result<(), InvalidRequest> {
        if self.seen & (1 << bit) != 0 {
            return Err(self.wrong(format!("'{}' appears twice: send it once", self.field)));
        }
        self.seen |= 1 << bit;
        Ok(())
    }

    /// One prompt, or several: texts, or texts as lists of token numbers. A list of numbers is one prompt.
    fn inputs(&mut self) -> Result<(), InvalidRequest> {
        if self.reader.peek() == Some(b'[') {
            self.reader.enter()?;
            let mut count = 0;
            let mut are_numbers = false;
            while self.reader.element()? {
                are_numbers |= count == 0 && matches!(self.reader.peek(), Some(b'-' | b'0'..=b'9'));
                self.reader.value()?;
                count += 1;
            }
            if count > 0 {
                let is_one = are_numbers || self.operation == Operation::Embeddings;
                self.head.prompts = if is_one { 1 } else { count };
                return Ok(());
            }
        } else if self.reader.value()?.text().is_some() {
            return Ok(());
        }
        Err(self.wrong(format!("'{}' must be a string or a non-empty array", self.field)))
    }

    fn limit(&mut self, field: &str) -> Result<(), InvalidRequest> {
        self.once(if field == "max_tokens" { 4 } else { 5 })?;
        // 0 is legal with an echoed prompt, and the upstream's to refuse without.
        let limit = self.integer(0, u64::from(u32::MAX))?;
        // The newer name wins, whichever comes first.
        if field == "max_completion_tokens" || self.head.max_tokens.is_none() {
            self.head.max_tokens = limit.or(self.head.max_tokens);
        }
        Ok(())
    }

    fn stream_options(&mut self) -> Result<(), InvalidRequest> {
        if self.reader.peek() != Some(b'{') {
            return match self.reader.value()? {
                Value::Null => Ok(()),
                _ => Err(self.wrong("'stream_options' must be an object such as {\"include_usage\": true}")),
            };
        }
        self.reader.enter()?;
        while let Some(key) = self.reader.key()? {
            match self.reader.value()? {
                Value::Bool(wanted) if key.says("include_usage") => self.head.include_usage = wanted,
                Value::Null => {}
                _ if key.says("include_usage") => {
                    return Err(self.wrong("'stream_options.include_usage' must be true or false"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn response_format(&mut self) -> Result<(), InvalidRequest> {
        let mut kind = None;
        if self.reader.peek() == Some(b'{') {
            self.reader.enter()?;
            while let Some(key) = self.reader.key()? {
                let value = self.reader.value()?;
                if key.says("type") {
                    kind = value.text();
                }
            }
        } else if self.reader.value()? == Value::Null {
            return Ok(());
        }
        let Some(kind) = kind else {
            return Err(self.wrong("'response_format' must be an object with a 'type' such as \"json_object\""));
        };
        self.head.features.json_schema = kind.says("json_schema");
        Ok(())
    }

    fn flag(&mut self) -> Result<bool, InvalidRequest> {
        match self.reader.value()? {
            Value::Bool(flag) => Ok(flag),
            Value::Null => Ok(false),
            _ => Err(self.wrong(format!("'{}' must be true or false", self.field))),
        }
    }

    /// A whole number; null is as if the field were left out.
    fn integer(&mut self, min: u64, max: u64) -> Result<Option<u64>, InvalidRequest> {
        let value = self.reader.value()?;
        if value == Value::Null {
            return Ok(None);
        }
        let number = value.count().filter(|number| (min..=max).contains(number));
        number
            .map(Some)
            .ok_or_else(|| self.wrong(format!("'{}' must be a whole number from {min} to {max}", self.field)))
    }

    fn number(&mut self, min: f64, max: f64) -> Result<(), InvalidRequest> {
        let value = self.reader.value()?;
        if value == Value::Null || value.number().is_some_and(|number| (min..=max).contains(&number)) {
            return Ok(());
        }
        Err(self.wrong(format!("'{}' must be a number from {min} to {max}", self.field)))
    }
}

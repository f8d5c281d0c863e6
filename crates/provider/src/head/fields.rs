//! The top-level fields that are looked at, and their bounds.

use super::{MAX_INPUTS, MAX_STOPS, MAX_TOKENS, Refused, State, input_field};
use crate::{Operation, Value};

impl State<'_> {
    /// Reads the value of the field whose key was read.
    pub(super) fn member(&mut self) -> Result<(), Refused> {
        let field = self.body.field.decoded();
        match &*field {
            "model" => {
                let model = self.body.reader.value()?.text().filter(|model| !model.raw.is_empty());
                let model = model.ok_or_else(|| {
                    self.wrong("'model' must be a non-empty string: name one of the models listed by GET /v1/models")
                })?;
                self.head.model = model.decoded().into_owned();
            }
            _ if self.operation.is_passthrough() => self.passed_through(&field)?,
            "messages" if self.operation == Operation::Chat => {
                self.messages()?;
                self.has_input = true;
            }
            "prompt" | "input" if input_field(self.operation) == Some(&*field) => {
                self.inputs()?;
                self.has_input = true;
            }
            "stream" => {
                // Embeddings come whole, whatever is asked for.
                self.head.stream = self.flag()? && self.operation != Operation::Embeddings;
            }
            "stream_options" => {
                self.stream_options()?;
            }
            "max_tokens" | "max_completion_tokens" => self.limit(&field)?,
            "n" => {
                self.head.n = self.integer(1, 128)?.unwrap_or(1);
            }
            "best_of" => self.head.best_of = self.integer(0, 20)?.unwrap_or(1).max(1),
            "top_logprobs" => drop(self.integer(0, 20)?),
            "logprobs" => self.flag_or_integer(20)?,
            "stop" => self.stop()?,
            "temperature" => self.number(0.0, 2.0)?,
            "top_p" => self.number(0.0, 1.0)?,
            "presence_penalty" | "frequency_penalty" => self.number(-2.0, 2.0)?,
            "tools" => match self.body.reader.value()? {
                Value::Null => {}
                Value::Array(length) if length > 0 => self.head.features.tools = true,
                _ => return Err(self.wrong("'tools' must be a non-empty array: leave it out if there are none")),
            },
            "response_format" => {
                self.response_format()?;
            }
            _ => drop(self.body.reader.value()?),
        }
        Ok(())
    }

    /// One prompt, or several: texts, or texts as lists of token numbers. A list of numbers is one prompt.
    fn inputs(&mut self) -> Result<(), Refused> {
        if self.body.reader.peek() != Some(b'[') {
            return match self.body.reader.value()?.text() {
                Some(_) => Ok(()),
                None => Err(self.no_input()),
            };
        }
        self.body.reader.enter()?;
        let (mut count, mut tokens, mut are_numbers) = (0, 0, false);
        while self.body.reader.element()? {
            let first = self.body.reader.peek();
            are_numbers |= count == 0 && is_number(first);
            count += 1;
            if count > MAX_INPUTS && !are_numbers {
                let message =
                    format!("'{}' has more than {MAX_INPUTS} entries: split the request", self.body.field.decoded());
                return Err(self.wrong(message));
            }
            if first == Some(b'[') {
                self.tokens(&mut tokens)?;
            } else {
                self.body.reader.value()?;
                tokens += u64::from(are_numbers);
                self.check_tokens(tokens)?;
            }
        }
        if count == 0 {
            return Err(self.no_input());
        }
        let is_one = are_numbers || self.operation == Operation::Embeddings;
        self.head.prompts = if is_one { 1 } else { count };
        Ok(())
    }

    /// A list of token numbers, which are added to the `count` of all.
    fn tokens(&mut self, count: &mut u64) -> Result<(), Refused> {
        self.body.reader.enter()?;
        while self.body.reader.element()? {
            self.body.reader.value()?;
            *count += 1;
            self.check_tokens(*count)?;
        }
        Ok(())
    }

    fn check_tokens(&self, count: u64) -> Result<(), Refused> {
        if count <= MAX_TOKENS {
            return Ok(());
        }
        Err(self.wrong(format!("'{}' has more than {MAX_TOKENS} tokens: shorten it", self.body.field.decoded())))
    }

    fn no_input(&self) -> Refused {
        self.wrong(format!("'{}' must be a string or a non-empty array", self.body.field.decoded()))
    }

    fn limit(&mut self, field: &str) -> Result<(), Refused> {
        // 0 is legal with an echoed prompt, and the upstream's to refuse without.
        let limit = self.integer(0, u64::from(u32::MAX))?;
        // The newer name wins, whichever comes first.
        if field == "max_completion_tokens" || self.head.max_tokens.is_none() {
            self.head.max_tokens = limit.or(self.head.max_tokens);
        }
        Ok(())
    }

    fn stream_options(&mut self) -> Result<(), Refused> {
        if self.body.reader.peek() != Some(b'{') {
            return match self.body.reader.value()? {
                Value::Null => Ok(()),
                _ => Err(self.wrong("'stream_options' must be an object such as {\"include_usage\": true}")),
            };
        }
        self.body.reader.enter()?;
        while let Some(key) = self.body.reader.key()? {
            match self.body.reader.value()? {
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

    fn response_format(&mut self) -> Result<(), Refused> {
        let mut kind = None;
        if self.body.reader.peek() == Some(b'{') {
            self.body.reader.enter()?;
            while let Some(key) = self.body.reader.key()? {
                let value = self.body.reader.value()?;
                if key.says("type") {
                    kind = value.text();
                }
            }
        } else if self.body.reader.value()? == Value::Null {
            return Ok(());
        }
        let Some(kind) = kind else {
            return Err(self.wrong("'response_format' must be an object with a 'type' such as \"json_object\""));
        };
        self.head.features.json_schema = kind.says("json_schema");
        Ok(())
    }

    fn flag(&mut self) -> Result<bool, Refused> {
        match self.body.reader.value()? {
            Value::Bool(flag) => Ok(flag),
            Value::Null => Ok(false),
            _ => Err(self.wrong(format!("'{}' must be true or false", self.body.field.decoded()))),
        }
    }

    /// A flag in a chat, a number in a text completion; servers take either in both.
    fn flag_or_integer(&mut self, max: u64) -> Result<(), Refused> {
        let value = self.body.reader.value()?;
        if matches!(value, Value::Null | Value::Bool(_)) || value.count().is_some_and(|number| number <= max) {
            return Ok(());
        }
        let field = self.body.field.decoded();
        Err(self.wrong(format!("'{field}' must be true, false or a whole number from 0 to {max}")))
    }

    /// A text, or several.
    fn stop(&mut self) -> Result<(), Refused> {
        if self.body.reader.peek() != Some(b'[') {
            let value = self.body.reader.value()?;
            let is_right = value == Value::Null || value.text().is_some();
            return if is_right { Ok(()) } else { Err(self.no_stop()) };
        }
        self.body.reader.enter()?;
        let mut count = 0;
        while self.body.reader.element()? {
            count += 1;
            if self.body.reader.value()?.text().is_none() || count > MAX_STOPS {
                return Err(self.no_stop());
            }
        }
        Ok(())
    }

    fn no_stop(&self) -> Refused {
        self.wrong(format!("'stop' must be a string or an array of at most {MAX_STOPS} strings"))
    }

    /// A whole number; null is as if the field were left out.
    fn integer(&mut self, min: u64, max: u64) -> Result<Option<u64>, Refused> {
        let value = self.body.reader.value()?;
        if value == Value::Null {
            return Ok(None);
        }
        let number = value.count().filter(|number| (min..=max).contains(number));
        number.map(Some).ok_or_else(|| {
            self.wrong(format!("'{}' must be a whole number from {min} to {max}", self.body.field.decoded()))
        })
    }

    fn number(&mut self, min: f64, max: f64) -> Result<(), Refused> {
        let value = self.body.reader.value()?;
        if value == Value::Null || value.number().is_some_and(|number| (min..=max).contains(&number)) {
            return Ok(());
        }
        Err(self.wrong(format!("'{}' must be a number from {min} to {max}", self.body.field.decoded())))
    }
}

fn is_number(first: Option<u8>) -> bool {
    matches!(first, Some(b'-' | b'0'..=b'9'))
}

#[cfg(test)]
mod tests;

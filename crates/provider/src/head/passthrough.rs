//! The fields of calls that are passed through: what must be there, and of which kind, so that an error can say what to change.
//! All else is their upstream's to judge.

use super::{InvalidRequest, MAX_INPUTS, MAX_TOKENS, Refused, State};
use crate::{Object, Operation, Value};

/// The largest number of a token: vocabularies are far smaller, and servers read 32 bits.
const MAX_TOKEN_NUMBER: u64 = 0x7fff_ffff;

/// What a call needs: of each group one field at least, of which the first is what an error names.
///
/// vLLM's names (<https://docs.vllm.ai/en/stable/serving/openai_compatible_server/>); those of rerank are Cohere's and Jina's too.
const fn required(operation: Operation) -> &'static [&'static [&'static str]] {
    match operation {
        Operation::Rerank => &[&["query"], &["documents"]],
        Operation::Score => &[&["text_1", "queries", "data_1"], &["text_2", "documents", "items", "data_2"]],
        Operation::Tokenize => &[&["prompt", "messages"]],
        Operation::Detokenize => &[&["tokens"]],
        // A transcription is a form, which is read elsewhere.
        Operation::Transcriptions | Operation::Chat | Operation::Completions | Operation::Embeddings => &[],
    }
}

/// Fails unless the body, which is `text`, has what its call needs.
pub(super) fn check_required(operation: Operation, text: &str, object: &Object) -> Result<(), InvalidRequest> {
    let is_given = |field: &&str| object.get(text.as_bytes(), field).is_some_and(|value| value != "null");
    let missing = required(operation).iter().find(|group| !group.iter().any(is_given));
    let Some(group) = missing else { return Ok(()) };
    Err(InvalidRequest::field(group[0], format!("'{}' is required", group.join("' or '"))))
}

impl State<'_> {
    /// Reads the value of the field `name`.
    pub(super) fn passed_through(&mut self, name: &str) -> Result<(), Refused> {
        match (self.operation, name) {
            (Operation::Rerank, "query") => self.text_or_object(),
            (Operation::Rerank, "documents") => self.texts("an array of texts"),
            (Operation::Score, "text_1" | "text_2" | "queries" | "documents" | "items" | "data_1" | "data_2") => {
                self.texts("a text, or an array of texts")
            }
            (Operation::Tokenize, "prompt") => match self.body.reader.value()? {
                Value::Text(_) | Value::Null => Ok(()),
                _ => Err(self.wrong("'prompt' must be a string")),
            },
            (Operation::Tokenize, "messages") => match self.body.reader.value()? {
                Value::Array(1..) | Value::Null => Ok(()),
                _ => Err(self.wrong("'messages' must be a non-empty array of messages")),
            },
            (Operation::Detokenize, "tokens") => self.token_numbers(),
            _ => {
                self.body.reader.value()?;
                Ok(())
            }
        }
    }

    fn text_or_object(&mut self) -> Result<(), Refused> {
        match self.body.reader.value()? {
            Value::Text(text) if !text.raw.is_empty() => Ok(()),
            Value::Object(_) | Value::Null => Ok(()),
            _ => Err(self.wrong(format!("'{}' must be a non-empty string", self.body.field.decoded()))),
        }
    }

    /// One text or several, as `expected` says it. vLLM takes an object for one that holds images.
    fn texts(&mut self, expected: &str) -> Result<(), Refused> {
        let name = self.body.field.decoded();
        match self.body.reader.value()? {
            Value::Array(count) if count as u64 > MAX_INPUTS => {
                Err(self.wrong(format!("'{name}' has more than {MAX_INPUTS} entries: split the request")))
            }
            Value::Text(_) if self.operation == Operation::Rerank => {
                Err(self.wrong(format!("'{name}' must be {expected}")))
            }
            Value::Array(1..) | Value::Object(_) | Value::Text(_) | Value::Null => Ok(()),
            _ => Err(self.wrong(format!("'{name}' must be {expected}, and not empty"))),
        }
    }

    fn token_numbers(&mut self) -> Result<(), Refused> {
        let expected = "'tokens' must be an array of token numbers";
        if self.body.reader.peek() != Some(b'[') {
            return match self.body.reader.value()? {
                Value::Null => Ok(()),
                _ => Err(self.wrong(expected)),
            };
        }
        self.body.reader.enter()?;
        let mut count = 0;
        while self.body.reader.element()? {
            count += 1;
            if self.body.reader.value()?.count().is_none_or(|number| number > MAX_TOKEN_NUMBER) {
                return Err(self.wrong(expected));
            }
            if count > MAX_TOKENS {
                return Err(self.wrong(format!("'tokens' has more than {MAX_TOKENS} tokens: split the request")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, head::parse};

    fn read(operation: Operation, fields: &str) -> Result<String, InvalidRequest> {
        let text = format!(r#"{{"model":"m"{fields}}}"#);
        parse(operation, &text, Limits { max_messages: 9 }).map(|(head, _)| head.model)
    }

    #[test]
    fn what_a_call_needs_is_there_whatever_else_is() {
        for (operation, fields) in [
            (Operation::Rerank, r#","query":"q","documents":["a",{"text":"b"}],"top_n":1,"stream":7,"temperature":99"#),
            (Operation::Rerank, r#","query":{"content":[]},"documents":{"content":[]}"#),
            (Operation::Score, r#","text_1":"a","text_2":["b","c"]"#),
            (Operation::Score, r#","queries":["a"],"documents":["b"],"text_1":null"#),
            (Operation::Score, r#","data_1":["a"],"data_2":"b""#),
            (Operation::Tokenize, r#","prompt":"","return_token_strs":true"#),
            (Operation::Tokenize, r#","messages":[{"role":"user","content":"x"}],"tools":[]"#),
            (Operation::Detokenize, r#","tokens":[1,2,2147483647]"#),
            (Operation::Detokenize, r#","tokens":[]"#),
        ] {
            assert_eq!(read(operation, fields).as_deref(), Ok("m"), "{operation:?} {fields}");
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let many = format!(r#","query":"q","documents":[{}"x"]"#, r#""x","#.repeat(2_048));
        let numbers = format!(r#","tokens":[{}1]"#, "1,".repeat(1 << 20));
        for (operation, fields, field, says) in [
            (Operation::Rerank, r#","documents":["a"]"#, "query", "'query' is required"),
            (Operation::Rerank, r#","query":"q","documents":null"#, "documents", "'documents' is required"),
            (Operation::Rerank, r#","query":"","documents":["a"]"#, "query", "must be a non-empty string"),
            (Operation::Rerank, r#","query":["q"],"documents":["a"]"#, "query", "must be a non-empty string"),
            (
                Operation::Rerank,
                r#","query":"q","documents":[]"#,
                "documents",
                "must be an array of texts, and not empty",
            ),
            (Operation::Rerank, r#","query":"q","documents":"a""#, "documents", "must be an array of texts"),
            (Operation::Rerank, &many, "documents", "more than 2048 entries"),
            (
                Operation::Score,
                r#","text_1":"a""#,
                "text_2",
                "'text_2' or 'documents' or 'items' or 'data_2' is required",
            ),
            (Operation::Score, r#","text_1":7,"text_2":"b""#, "text_1", "must be a text, or an array of texts"),
            (Operation::Tokenize, "", "prompt", "'prompt' or 'messages' is required"),
            (Operation::Tokenize, r#","prompt":["a"]"#, "prompt", "must be a string"),
            (Operation::Tokenize, r#","messages":[]"#, "messages", "must be a non-empty array"),
            (Operation::Detokenize, "", "tokens", "'tokens' is required"),
            (Operation::Detokenize, r#","tokens":"1""#, "tokens", "must be an array of token numbers"),
            (Operation::Detokenize, r#","tokens":[1,-1]"#, "tokens", "must be an array of token numbers"),
            (Operation::Detokenize, r#","tokens":[1.5]"#, "tokens", "must be an array of token numbers"),
            (Operation::Detokenize, r#","tokens":[2147483648]"#, "tokens", "must be an array of token numbers"),
            (Operation::Detokenize, &numbers, "tokens", "more than 1048576 tokens"),
        ] {
            let error = read(operation, fields).expect_err(says);
            assert_eq!(error.param.as_deref(), Some(field), "{error}");
            assert!(error.message.contains(says), "{error}");
        }
        let nameless = parse(Operation::Rerank, r#"{"query":"q","documents":["a"]}"#, Limits { max_messages: 9 });
        assert_eq!(nameless.expect_err("no model").param.as_deref(), Some("model"));
    }
}

//! Calls of vLLM's that write no tokens: rerank, score, transcriptions and the tokenizer. Shapes follow vLLM's own protocol classes.
//!
//! Answers can be computed by tests: a document is relevant as far as it has the query's words, a token is a byte of the text, and a
//! second of a recording has 32,000 bytes.

use serde_json::{Value, json};

use crate::{inference::InferenceRequest, reply::Reply};

/// Bytes of a second: 16,000 samples of two bytes.
const BYTES_PER_SECOND: u64 = 32_000;

/// One of these calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Passed {
    Rerank,
    Score,
    Transcriptions,
    Tokenize,
    Detokenize,
}

impl Passed {
    /// Below `/v1`.
    pub(crate) fn parse(segments: &[&str]) -> Option<Self> {
        match segments {
            ["rerank"] => Some(Self::Rerank),
            ["score"] => Some(Self::Score),
            ["audio", "transcriptions"] => Some(Self::Transcriptions),
            _ => None,
        }
    }

    /// Beside `/v1`, where vLLM has its tokenizer.
    pub(crate) fn of_tokenizer(segments: &[&str]) -> Option<Self> {
        match segments {
            ["tokenize"] => Some(Self::Tokenize),
            ["detokenize"] => Some(Self::Detokenize),
            _ => None,
        }
    }

    /// A field that must be there.
    pub(crate) fn field(self) -> &'static str {
        match self {
            Self::Rerank => "documents",
            Self::Score => "text_1",
            Self::Transcriptions => "file",
            Self::Tokenize => "prompt",
            Self::Detokenize => "tokens",
        }
    }

    /// The answer to `request`, whose number is `id`.
    pub(crate) fn answer(self, request: &InferenceRequest, id: u64) -> Reply {
        let (body, tokens) = (&request.passed, request.prompt_tokens);
        let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
        match self {
            Self::Rerank => {
                let results = results(body);
                Reply::json(
                    200,
                    &json!({"id": format!("rerank-{id:x}"), "model": request.model, "usage": usage, "results": results}),
                )
            }
            Self::Score => {
                let (first, others) = (text(&body["text_1"]), list(&body["text_2"]));
                let scores = others.iter().map(|other| likeness(&first, &text(other)));
                let data =
                    scores.enumerate().map(|(index, score)| json!({"index": index, "object": "score", "score": score}));
                let data = data.collect::<Vec<_>>();
                Reply::json(
                    200,
                    &json!({"id": format!("score-{id:x}"), "object": "list", "created": 0, "model": request.model, "data": data, "usage": usage}),
                )
            }
            Self::Transcriptions => transcript(body),
            Self::Tokenize => {
                let tokens: Vec<u8> = text(&body["prompt"]).into_bytes();
                Reply::json(
                    200,
                    &json!({"count": tokens.len(), "max_model_len": 8192, "tokens": tokens, "token_strs": null}),
                )
            }
            Self::Detokenize => {
                let bytes: Vec<u8> =
                    list(&body["tokens"]).iter().filter_map(|token| u8::try_from(token.as_u64()?).ok()).collect();
                Reply::json(200, &json!({"prompt": String::from_utf8_lossy(&bytes)}))
            }
        }
    }
}

/// What a model reads of a request.
pub(crate) fn inputs(passed: Passed, body: &Value) -> Vec<&Value> {
    match passed {
        Passed::Rerank => vec![&body["query"], &body["documents"]],
        Passed::Score => vec![&body["text_1"], &body["text_2"]],
        Passed::Transcriptions | Passed::Tokenize | Passed::Detokenize => Vec::new(),
    }
}

/// The fields of a form that the emulator looks at, and the size of its file.
pub(crate) fn form(body: &[u8]) -> Value {
    let line = body.windows(2).position(|pair| pair == b"\r\n").unwrap_or(body.len());
    let delimiter = String::from_utf8_lossy(&body[..line]).into_owned();
    let mut fields = json!({});
    // Every byte becomes one character, so that a recording keeps its size.
    let text: String = body.iter().copied().map(char::from).collect();
    for part in text.split(&delimiter) {
        let Some((head, value)) = part.split_once("\r\n\r\n") else { continue };
        let name = head.split("name=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        let value = value.strip_suffix("\r\n").unwrap_or(value);
        fields[name] = if name == "file" { value.chars().count().into() } else { value.into() };
    }
    fields
}

fn transcript(body: &Value) -> Reply {
    let seconds = body["file"].as_u64().unwrap_or_default().div_ceil(BYTES_PER_SECOND);
    let said = format!("A recording of {seconds} seconds.");
    match body["response_format"].as_str() {
        Some("text") => Reply::new(200, "text/plain; charset=utf-8", format!("{said}\n")),
        Some("vtt") => Reply::new(200, "text/vtt", format!("WEBVTT\n\n00:00.000 --> 00:01.000\n{said}\n")),
        Some("verbose_json") => Reply::json(
            200,
            &json!({"duration": seconds.to_string(), "language": "en", "text": said, "segments": [], "words": null}),
        ),
        _ => Reply::json(200, &json!({"text": said, "usage": {"type": "duration", "seconds": seconds}})),
    }
}

/// The documents, the most relevant first.
fn results(body: &Value) -> Vec<Value> {
    let query = text(&body["query"]);
    let documents = list(&body["documents"]).iter().map(text).enumerate();
    let mut scored: Vec<_> =
        documents.map(|(index, document)| (likeness(&query, &document), index, document)).collect();
    scored.sort_by(|one, other| other.0.total_cmp(&one.0));
    let most = body["top_n"].as_u64().filter(|most| *most > 0).and_then(|most| usize::try_from(most).ok());
    scored.truncate(most.unwrap_or(usize::MAX));
    let result = |(score, index, document): (f64, usize, String)| json!({"index": index, "document": {"text": document}, "relevance_score": score});
    scored.into_iter().map(result).collect()
}

/// The part of one text's words that the other has.
fn likeness(one: &str, other: &str) -> f64 {
    let words = one.split_whitespace().count().max(1);
    let shared =
        one.split_whitespace().filter(|word| other.split_whitespace().any(|in_other| in_other == *word)).count();
    #[expect(clippy::cast_precision_loss, reason = "a count of words")]
    let likeness = shared as f64 / words as f64;
    likeness
}

fn text(value: &Value) -> String {
    value.as_str().or_else(|| value["text"].as_str()).unwrap_or_default().to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_as_its_fields_and_the_size_of_its_file() {
        let part = |name: &str, value: &str| {
            format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let mut body = format!("{}{}", part("model", "m"), part("file", "12345")).into_bytes();
        body.extend(b"--x--\r\n");
        assert_eq!(form(&body), json!({"model": "m", "file": 5}));
    }

    #[test]
    fn documents_are_ordered_by_the_words_that_they_share() {
        let body =
            json!({"query": "red cat", "documents": ["a dog", "the red cat", {"text": "a red dog"}], "top_n": 2});
        let order: Vec<_> = results(&body).iter().map(|result| result["index"].clone()).collect();
        assert_eq!(order, [1, 2]);
    }
}

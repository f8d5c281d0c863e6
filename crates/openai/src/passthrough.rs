//! Answers to calls that are passed through: that they are answers, and what they count.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap};
use provider::{Error, Frame, FrameKind, Malformed, Operation, Reader, Usage, Value};

use crate::{
    classify::Dialect,
    peek::Peek,
    whole::{Asked, no_json},
};

/// The media types of transcripts that are no JSON: text, and subtitles as servers name them.
const TEXTS: [&str; 4] = ["text/plain", "text/vtt", "text/srt", "application/x-subrip"];

/// The media type of an answer that is a transcript in text. A page of HTML is none, nor is a stream of events.
pub(crate) fn text_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let kind = value.split(';').next().unwrap_or_default().trim();
    TEXTS.iter().any(|text| kind.eq_ignore_ascii_case(text)).then(|| value.to_owned())
}

/// The whole answer, if `body` is one, which says `text`.
pub(crate) fn whole(body: &Bytes, text: &str, asked: Asked, dialect: &dyn Dialect) -> Result<Frame, Error> {
    let frame = |usage| Frame { bytes: body.clone(), kind: FrameKind::Whole, usage };
    if asked.is_text && !text.trim_start().starts_with(['{', '<']) {
        return Ok(frame(None));
    }
    let Ok(peek) = Peek::at(text, dialect) else { return Err(no_json(body, text, asked, dialect)) };
    match Answer::read(text, asked.operation) {
        Ok(answer) if answer.is_there && !peek.is_error => Ok(frame(answer.usage(asked.operation))),
        Ok(_) | Err(_) => Err(dialect.in_band(body, Some(asked.operation))),
    }
}

/// What is read of an answer.
#[derive(Debug, Default)]
struct Answer {
    /// Whether it has what was asked for.
    is_there: bool,
    counts: Counts,
    /// In milliseconds, where the answer says how long the recording is.
    duration_ms: Option<u64>,
}

/// The members of a `usage`, by whichever names they go.
#[derive(Debug, Default)]
struct Counts {
    input: Option<u64>,
    output: Option<u64>,
    total: Option<u64>,
    audio_ms: Option<u64>,
}

impl Answer {
    fn read(text: &str, operation: Operation) -> Result<Self, Malformed> {
        let mut reader = Reader::of_answer(text);
        let mut answer = Self::default();
        if reader.peek() != Some(b'{') {
            return Ok(answer);
        }
        reader.enter()?;
        while let Some(key) = reader.key()? {
            let name = key.decoded();
            if name == "usage" && reader.peek() == Some(b'{') {
                answer.counts = Counts::read(&mut reader)?;
                continue;
            }
            let value = reader.value()?;
            answer.is_there |= is_answer(operation, &name, value);
            if name == "duration" {
                answer.duration_ms = milliseconds(value);
            }
        }
        Ok(answer)
    }

    fn usage(&self, operation: Operation) -> Option<Usage> {
        let Counts { input, output, total, audio_ms } = self.counts;
        let audio_ms = audio_ms.or(self.duration_ms);
        match operation {
            // No model reads or writes anything.
            Operation::Tokenize | Operation::Detokenize => Some(Usage::default()),
            Operation::Transcriptions if input.is_none() => audio_ms.map(|_| Usage { audio_ms, ..Usage::default() }),
            Operation::Chat
            | Operation::Completions
            | Operation::Embeddings
            | Operation::Rerank
            | Operation::Score
            | Operation::Transcriptions => {
                // Some count the total alone: all of it was read.
                let prompt_tokens = input.or(total)?;
                Some(Usage { prompt_tokens, completion_tokens: output.unwrap_or(0), audio_ms, ..Usage::default() })
            }
        }
    }
}

impl Counts {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut counts = Self::default();
        reader.enter()?;
        while let Some(key) = reader.key()? {
            let value = reader.value()?;
            match &*key.decoded() {
                "prompt_tokens" | "input_tokens" => counts.input = value.count(),
                "completion_tokens" | "output_tokens" => counts.output = value.count(),
                "total_tokens" => counts.total = value.count(),
                "seconds" => counts.audio_ms = milliseconds(value),
                _ => {}
            }
        }
        Ok(counts)
    }
}

/// Whether a member is what was asked for.
fn is_answer(operation: Operation, name: &str, value: Value<'_>) -> bool {
    match operation {
        Operation::Rerank => matches!((name, value), ("results" | "data", Value::Array(1..))),
        Operation::Score => matches!((name, value), ("data", Value::Array(1..))),
        Operation::Transcriptions => matches!((name, value), ("text", Value::Text(_))),
        Operation::Tokenize => matches!((name, value), ("tokens", Value::Array(_))),
        Operation::Detokenize => matches!((name, value), ("prompt", Value::Text(_))),
        Operation::Chat | Operation::Completions | Operation::Embeddings => false,
    }
}

/// Of a number of seconds, or its text, as some servers write it.
fn milliseconds(value: Value<'_>) -> Option<u64> {
    let seconds = value.number().or_else(|| value.text()?.raw.parse().ok())?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "years at most, and not negative")]
    (0.0..1e9).contains(&seconds).then(|| (seconds * 1e3).round() as u64)
}

#[cfg(test)]
mod tests {
    use provider::ErrorKind;

    use super::*;
    use crate::OpenAiDialect;

    fn read(operation: Operation, is_text: bool, body: &str) -> Result<Option<Usage>, ErrorKind> {
        let asked = Asked {
            operation,
            include_usage: false,
            choices: 1,
            reasoning: provider::ReasoningField::Upstream,
            is_text,
        };
        let frame = crate::whole::whole(&Bytes::from(body.to_owned()), asked, &OpenAiDialect);
        frame
            .map(|frame| {
                assert_eq!((frame.bytes, frame.kind), (Bytes::from(body.to_owned()), FrameKind::Whole));
                frame.usage
            })
            .map_err(|error| error.kind)
    }

    #[test]
    fn what_answers_count_is_read_by_any_name() {
        let tokens =
            |prompt_tokens, completion_tokens| Some(Usage { prompt_tokens, completion_tokens, ..Usage::default() });
        let audio = |ms| Some(Usage { audio_ms: Some(ms), ..Usage::default() });
        for (operation, body, expected) in [
            (Operation::Rerank, r#"{"results":[{"index":0}],"usage":{"total_tokens":7}}"#, tokens(7, 0)),
            (Operation::Rerank, r#"{"results":[{}],"usage":{"prompt_tokens":6,"total_tokens":7}}"#, tokens(6, 0)),
            (Operation::Rerank, r#"{"results":[{}],"meta":{"billed_units":{"search_units":1}}}"#, None),
            (Operation::Score, r#"{"object":"list","data":[{"score":0.1}],"usage":{"prompt_tokens":4}}"#, tokens(4, 0)),
            (Operation::Tokenize, r#"{"count":0,"max_model_len":99,"tokens":[]}"#, tokens(0, 0)),
            (Operation::Detokenize, r#"{"prompt":""}"#, tokens(0, 0)),
            (Operation::Transcriptions, r#"{"text":"a"}"#, None),
            (Operation::Transcriptions, r#"{"text":"","usage":{"type":"duration","seconds":3}}"#, audio(3_000)),
            (Operation::Transcriptions, r#"{"text":"a","duration":2.5,"segments":[]}"#, audio(2_500)),
            (Operation::Transcriptions, r#"{"text":"a","duration":"2.5"}"#, audio(2_500)),
            (Operation::Transcriptions, r#"{"text":"a","duration":-1}"#, None),
            (
                Operation::Transcriptions,
                r#"{"text":"a","usage":{"type":"tokens","input_tokens":14,"output_tokens":45,"total_tokens":59}}"#,
                tokens(14, 45),
            ),
        ] {
            assert_eq!(read(operation, false, body), Ok(expected), "{body}");
        }
        let subtitles = "1\n00:00:00,000 --> 00:00:01,000\nHello\n";
        assert_eq!(read(Operation::Transcriptions, true, subtitles), Ok(None));
        assert_eq!(read(Operation::Transcriptions, true, ""), Ok(None), "a recording of silence");
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for (operation, is_text, body) in [
            (Operation::Rerank, false, r#"{"results":[]}"#),
            (Operation::Rerank, false, r#"{"choices":[]}"#),
            (Operation::Rerank, false, r#"{"results":[{}],"error":{"message":"no"}}"#),
            (Operation::Score, false, r#"{"results":[{}]}"#),
            (Operation::Tokenize, false, r#"{"detail":"Not Found"}"#),
            (Operation::Detokenize, false, r#"{"prompt":null}"#),
            (Operation::Detokenize, false, "[]"),
            (Operation::Transcriptions, false, "Hello"),
            (Operation::Transcriptions, false, ""),
            (Operation::Transcriptions, true, "<html><body>It works!</body></html>"),
            (Operation::Transcriptions, true, r#"{"error":{"message":"no"}}"#),
        ] {
            assert!(read(operation, is_text, body).is_err(), "{body}");
        }
    }

    #[test]
    fn text_is_known_by_its_type() {
        let kind = |value: &str| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, value.parse().expect("a value"))]);
            text_type(&headers)
        };
        assert_eq!(kind("text/plain; charset=utf-8").as_deref(), Some("text/plain; charset=utf-8"));
        for text in ["text/vtt", "Text/SRT", "application/x-subrip"] {
            assert_eq!(kind(text).as_deref(), Some(text));
        }
        for other in ["application/json", "Text/HTML", "text/event-stream", "text/event-stream; charset=utf-8", "text/"]
        {
            assert_eq!(kind(other), None, "{other}");
        }
        assert_eq!(text_type(&HeaderMap::new()), None);
    }
}

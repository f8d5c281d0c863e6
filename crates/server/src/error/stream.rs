//! Errors in the events of a stream: the answer has begun, or its headers were sent before that.

use bytes::Bytes;
use dialects::{Blocks, messages, responses};
use provider::{Error, ErrorKind};

use super::{ApiError, ErrorBody, to_json};

/// The codes of ours that OpenAI's Responses API has as well. Clients decide by the code whether to try again.
const CODES_OF_RESPONSES: [&str; 3] = ["context_length_exceeded", "insufficient_quota", "rate_limit_exceeded"];

impl ApiError {
    /// A stream that broke after it had begun.
    pub(crate) fn broken(error: &Error) -> Self {
        let mut broken = Self { kind: "upstream_error", ..Self::failed(error, None) };
        // The same upstream would not be asked again after a timeout, but the client may.
        let may_pass = error.kind.repeats_here() || matches!(error.kind, ErrorKind::Timeout(_));
        if may_pass {
            // Agents decide by the words whether to ask again: opencode knows these.
            broken.message.push_str(": retry your request");
        }
        broken
    }

    /// The event of a chat. There is no `[DONE]` after it: that would read as success.
    pub(crate) fn event(&self, request_id: &str) -> Bytes {
        let (message, kind, code) = (self.message.as_str(), self.kind, Some(&*self.code));
        let error = to_json(ErrorBody { message, kind, param: None, code, request_id: Some(request_id) });
        Bytes::from(format!("data: {error}\n\n"))
    }

    /// Appends the event of a message.
    pub(crate) fn end_message(&self, stream: &mut messages::Stream, request_id: &str, out: &mut Blocks) {
        stream.broken(&self.problem(&self.anthropic_message(), request_id), out);
    }

    /// Appends the event of a response. The message has our own code where OpenAI has none for it.
    pub(crate) fn end_response(&self, stream: &mut responses::Stream, out: &mut Blocks) {
        let known = CODES_OF_RESPONSES.into_iter().find(|code| *code == self.code);
        let message = match known {
            Some(_) => self.message.clone(),
            None => format!("{} ({})", self.message, self.code),
        };
        let otherwise = if self.status.is_server_error() { "server_error" } else { "invalid_prompt" };
        stream.broken(&responses::Problem { code: known.unwrap_or(otherwise), message: &message }, out);
    }
}

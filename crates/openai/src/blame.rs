//! Whose fault a failure is: the one table that decides what an upstream's refusal, or its silence, means.
//!
//! The first row that fits decides. A row gives the kind of the error, and the kind alone decides whether another upstream is
//! asked, whether the same one may be asked again, and whether its health suffers ([`ErrorKind`]). Two rules shape the table:
//! an upstream's health moves only by what the upstream does, never by what a client sends; and a status that would break an
//! upstream for everyone counts as such only in the provider's own error format. `docs/generated/blame.md` and a test for each row are made from it.

mod page;
mod rows;

use provider::{Error, ErrorKind, Operation};

pub use page::page;
pub use rows::ROWS;

use crate::body::{ErrorBody, Shape};

/// The provider whose error format a response has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorFormat {
    /// That of any OpenAI-compatible server, vLLM among them.
    OpenAi,
    /// That of RunPod, which may quote one of vLLM.
    RunPod,
    /// That of Cerebras.
    Cerebras,
}

/// How a call failed.
#[derive(Debug, Clone, Copy)]
pub enum Signal<'a> {
    /// A response that reports a failure.
    Answer(Answer<'a>),
    /// There was no connection.
    Connect,
    /// A connection that was kept from an earlier call was closed as the request came, without a byte of an answer.
    Stale,
    /// The connection broke, or the stream ended, after the request was sent and before the answer was complete.
    Broke,
    /// An event or a body that clients cannot read: no JSON, no UTF-8, longer than 64 MiB.
    Unreadable,
    /// The other kind of answer came: whole for streamed, or the reverse, and could not be turned into what was asked for.
    OtherKind,
}

/// A response that reports a failure: a status from 300 on, or an error within a 200.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// The format of its error.
    pub format: ErrorFormat,
    /// What was asked for, if that is known.
    pub operation: Option<Operation>,
    /// The status as it was sent.
    pub sent: u16,
    /// The status that decides: the one in the body, if a 200 has a body that names one.
    pub status: u16,
    /// What the body says.
    pub said: &'a ErrorBody,
    /// Whether the headers say that tokens are left in this minute.
    pub has_tokens_left: bool,
}

impl Answer<'_> {
    fn is(&self, statuses: &[u16]) -> bool {
        statuses.contains(&self.status)
    }

    /// Whether the status is one of these, or an error within a 200 has none: then its words alone say what it is.
    fn may_be(&self, statuses: &[u16]) -> bool {
        self.is(statuses) || (self.sent < 300 && self.said.status.is_none())
    }

    fn is_bad_request(&self) -> bool {
        self.may_be(&[400, 413, 422])
    }

    fn overflows(&self) -> bool {
        const FIELDS: [&str; 6] =
            ["messages", "prompt", "input", "input_tokens", "max_tokens", "max_completion_tokens"];
        // A message about another field may quote what the client sent.
        let is_about_it = self.said.param.as_deref().is_none_or(|param| FIELDS.contains(&param));
        self.said.code.as_deref() == Some("context_length_exceeded")
            || (is_about_it && self.said.mentions("maximum context length"))
            || (is_about_it && self.said.mentions("cannot be greater than max_model_len"))
    }

    /// RunPod's own message for an endpoint without workers, and nothing around it: a vLLM may quote the same words
    /// from a client's request. An endpoint may also be configured as any OpenAI-compatible server.
    fn has_no_workers(&self) -> bool {
        let is_own = match self.format {
            ErrorFormat::RunPod => matches!(self.said.shape, Shape::Bare | Shape::Wrapped) && self.said.param.is_none(),
            ErrorFormat::OpenAi => self.said.shape == Shape::Bare,
            ErrorFormat::Cerebras => false,
        };
        is_own && self.is(&[400, 429, 500, 502, 503, 504]) && self.said.says("no workers available")
    }

    fn is_moderated(&self) -> bool {
        const NAMES: [&str; 6] = [
            "content_filter",
            "content_policy_violation",
            "content_moderation",
            "moderation",
            "moderation_blocked",
            "safety_error",
        ];
        self.may_be(&[400, 403, 422, 451])
            && (self.said.is_called(&NAMES)
                || self.said.mentions("flagged by moderation")
                || self.said.mentions("content management policy"))
    }

    fn is_too_large_for_the_minute(&self) -> bool {
        let says_so = self.said.mentions("Request too large for") || self.said.mentions("request is too large");
        let by_tokens = self.format == ErrorFormat::Cerebras && self.said.is_called(&["token_quota_exceeded"]);
        (self.is(&[413, 429]) && says_so)
            || (self.status == 429 && by_tokens && self.has_tokens_left && self.said.mentions("minute"))
    }

    /// Whether our key was refused, in the provider's own words.
    fn refuses_the_key(&self) -> bool {
        let said = self.said;
        let is_unauthorized = said.shape == Shape::Bare && said.says("unauthorized");
        match self.format {
            ErrorFormat::Cerebras => {
                (self.status == 401 && said.is_called(&["wrong_api_key"]))
                    || (self.status == 403 && said.shape == Shape::Detail && said.says("not authenticated"))
                    || (self.status == 402 && said.is_called(&["payment_required", "payment_required_error"]))
            }
            // The management API, where workers are counted, sends problem documents.
            ErrorFormat::RunPod if said.shape == Shape::Detail => self.status == 401 && said.status == Some(401),
            ErrorFormat::RunPod => self.is(&[401, 403]) && (is_unauthorized || said.is_called(&["invalid_api_key"])),
            ErrorFormat::OpenAi => {
                let names =
                    ["invalid_api_key", "authentication_error", "invalid_authentication", "account_deactivated"];
                self.is(&[401, 403]) && (is_unauthorized || said.is_called(&names))
            }
        }
    }

    /// Whether the model is missing there, in the provider's own words.
    fn misses_the_model(&self) -> bool {
        let said = self.said;
        let in_vllms_words = said.is_called(&["NotFoundError"]) && said.mentions("does not exist");
        self.status == 404 && (in_vllms_words || said.is_called(&["model_not_found"]))
    }

    /// Whether the path is missing there: a router in front of a server would have said more.
    fn misses_the_path(&self) -> bool {
        match self.status {
            404 => self.said.shape == Shape::Empty || self.said.says("not found"),
            405 => true,
            _ => false,
        }
    }

    fn is_beyond_the_deployment(&self) -> bool {
        (self.is_bad_request()
            && (self.said.mentions("--tool-call-parser") || self.said.mentions("is not a multimodal model")))
            || (self.status == 404 && self.said.mentions("No endpoints found"))
    }
}

/// An example of a row, as it is sent.
#[derive(Debug, Clone, Copy)]
pub enum Example {
    /// No answer came.
    Silent(Signal<'static>),
    /// A response that reports a failure.
    Answer {
        /// The format of its error.
        format: ErrorFormat,
        /// What was asked for.
        operation: Operation,
        /// The status.
        status: u16,
        /// The body.
        body: &'static str,
    },
}

const fn chat_answer(format: ErrorFormat, status: u16, body: &'static str) -> Example {
    Example::Answer { format, operation: Operation::Chat, status, body }
}

/// One row of the table.
pub struct Row {
    /// A short name.
    pub name: &'static str,
    /// What came, in words.
    pub came: &'static str,
    /// What it means.
    pub kind: ErrorKind,
    /// What it is like.
    pub example: Example,
    /// Why.
    pub why: &'static str,
    fits: fn(&Signal<'_>) -> bool,
}

/// The row that decides about `signal`.
pub fn row(signal: &Signal<'_>) -> &'static Row {
    // The last row fits everything.
    ROWS.iter().find(|row| (row.fits)(signal)).unwrap_or(&ROWS[ROWS.len() - 1])
}

/// The error that `signal` is by the table. The message may reach the client: it names no address.
pub(crate) fn error(signal: &Signal<'_>, message: impl Into<String>) -> Error {
    Error::new(row(signal).kind, message)
}

/// The error that an event or a body is which clients cannot read.
pub(crate) fn protocol(message: impl Into<String>) -> Error {
    error(&Signal::Unreadable, message)
}

fn answer(signal: &Signal<'_>, fits: impl FnOnce(&Answer<'_>) -> bool) -> bool {
    match signal {
        Signal::Answer(answer) => fits(answer),
        Signal::Connect | Signal::Stale | Signal::Broke | Signal::Unreadable | Signal::OtherKind => false,
    }
}

/// The name of the row about a job that waits; an error of it has this for its code and the job's id among its ids.
pub const JOB_WAITS: &str = "job waits";

#[cfg(test)]
mod tests;

//! What each recorded answer must come to.

use provider::ErrorKind::{self, ContextOverflow, InvalidRequest, NotFound, Refused, Unavailable, Unsupported};

/// One recording and what it must come to.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) ask: Ask,
    pub(crate) expect: Expect,
}

/// The request that gets the recorded answer.
pub(crate) enum Ask {
    /// The recorded one.
    Recorded,
    /// The router itself refuses the recorded request and names this field; a valid request gets the recorded answer.
    Refused(Option<&'static str>),
    /// The router never sends the recorded request; a valid request gets the recorded answer.
    Other { stream: bool },
}

/// What the answer comes to.
pub(crate) enum Expect {
    /// Frames that relay the recorded bytes.
    Frames {
        /// A letter for each frame: opening, content, finish, usage, done; whole.
        kinds: &'static str,
        /// Prompt and completion tokens.
        tokens: Option<(u64, u64)>,
    },
    /// An error.
    Failure {
        kind: ErrorKind,
        status: Option<u16>,
        param: Option<&'static str>,
        code: Option<&'static str>,
        /// How the message starts.
        message: &'static str,
    },
}

const fn whole(name: &'static str, prompt: u64, completion: u64) -> Row {
    stream(name, "W", Some((prompt, completion)))
}

const fn stream(name: &'static str, kinds: &'static str, tokens: Option<(u64, u64)>) -> Row {
    Row { name, ask: Ask::Recorded, expect: Expect::Frames { kinds, tokens } }
}

const fn failure(
    name: &'static str,
    kind: ErrorKind,
    status: u16,
    param: Option<&'static str>,
    message: &'static str,
) -> Row {
    let code = if matches!(kind, ContextOverflow) { Some("context_length_exceeded") } else { None };
    Row { name, ask: Ask::Recorded, expect: Expect::Failure { kind, status: Some(status), param, code, message } }
}

/// vLLM's 400 to a request that the router itself refuses. The router names the first field; vLLM names the second.
const fn refused(
    name: &'static str,
    ours: Option<&'static str>,
    theirs: Option<&'static str>,
    message: &'static str,
) -> Row {
    Row { ask: Ask::Refused(ours), ..failure(name, InvalidRequest, 400, theirs, message) }
}

/// A 200 that answers something else than a chat.
const fn no_chat(name: &'static str, message: &'static str) -> Row {
    let expect = Expect::Failure { kind: Unavailable, status: None, param: None, code: None, message };
    Row { name, ask: Ask::Other { stream: false }, expect }
}

const SILENT: &str = "the upstream answered 500 without saying why";
const TOO_LONG: &str = "This model's maximum context length is 2048 tokens.";

pub(crate) const ROWS: &[Row] = &[
    whole("assistant-reasoning-content", 55, 8),
    whole("both-limits", 40, 4),
    whole("chat", 40, 8),
    whole("chat-guided-choice-ignored", 40, 8),
    whole("chat-json-schema", 40, 15),
    whole("chat-length", 40, 2),
    whole("chat-logprobs", 40, 2),
    whole("chat-n2", 40, 22),
    whole("chat-no-limit", 40, 8),
    whole("chat-stop", 40, 6),
    whole("chat-structured-outputs", 40, 2),
    whole("completion", 5, 4),
    whole("completion-echo-list", 2, 4),
    whole("completion-no-limit", 5, 16),
    whole("developer-role", 27, 8),
    whole("text-parts", 32, 12),
    whole("unknown-field", 40, 8),
    stream("stream", "OCCCCCCCFD", None),
    stream("stream-usage", "OCCCCCCCFUD", Some((40, 8))),
    stream("stream-continuous-usage", "OCCCFUD", Some((40, 4))),
    stream("stream-logprobs", "OCFD", None),
    stream("completion-stream-usage", "CCCFUD", Some((5, 4))),
    // vLLM accepts it silently; the router refuses it.
    Row { ask: Ask::Refused(Some("messages[0].role")), ..whole("err-unknown-role", 31, 12) },
    Row { ask: Ask::Refused(Some("model")), ..whole("ok-no-model", 40, 8) },
    // A larger context may do.
    failure("err-context-overflow", ContextOverflow, 400, Some("input_tokens"), TOO_LONG),
    Row {
        ask: Ask::Other { stream: true },
        ..failure("err-context-overflow-stream", ContextOverflow, 400, Some("input_tokens"), TOO_LONG)
    },
    failure("err-max-tokens-over-context", ContextOverflow, 400, Some("max_tokens"), "max_tokens=5000 cannot be"),
    // Another deployment may do.
    failure("err-embeddings-on-chat-model", Unsupported, 404, None, "Not Found"),
    failure("err-image-part", Unsupported, 400, None, "meta-llama/Llama-3.1-8B-Instruct is not a multimodal model"),
    failure("err-tools-no-parser", Unsupported, 400, None, "\"auto\" tool choice requires"),
    failure("err-tools-required", Unsupported, 400, None, "tool_choice=\"required\" requires"),
    // Asked for as a chat, which every upstream has: the address may be wrong, or a proxy.
    Row { ask: Ask::Other { stream: false }, ..failure("err-get-chat", Refused, 405, None, "Method Not Allowed") },
    Row { ask: Ask::Other { stream: false }, ..failure("err-unknown-path", Refused, 404, None, "Not Found") },
    failure("err-unknown-model", NotFound, 404, Some("model"), "The model `nope` does not exist."),
    // The client's mistake, answered as if the server were broken.
    failure("err-bad-schema", Unavailable, 500, None, SILENT),
    Row {
        ask: Ask::Refused(None),
        ..failure("err-json-array", Unavailable, 500, None, "'list' object has no attribute 'get'")
    },
    // The client's mistake, and vLLM says so.
    failure("err-form-content-type", InvalidRequest, 400, None, "1 validation error:\n  Unsupported Media Type"),
    failure("err-response-format", InvalidRequest, 400, Some("response_format.type"), "6 validation errors:\n"),
    failure("err-tool-choice-alone", InvalidRequest, 400, Some("tool_choice"), "When using `tool_choice`"),
    failure("err-stream-options-alone", InvalidRequest, 400, Some("stream_options"), "Stream options can only"),
    failure("err-zero-max-tokens", InvalidRequest, 400, Some("max_tokens"), "max_tokens must be at least 1"),
    failure("stream-n2", InvalidRequest, 400, None, "n must be 1 when using greedy sampling"),
    // The client's mistake: the router refuses it before vLLM gets it.
    refused("err-deep-nesting", Some("messages"), None, "There was an error parsing the body"),
    refused("err-empty-body", None, None, "1 validation error:\n"),
    refused("err-empty-messages", Some("messages"), None, "Cannot apply chat template"),
    refused("err-messages-string", Some("messages"), Some("messages"), "1 validation error:\n"),
    refused("err-model-number", Some("model"), Some("model"), "1 validation error:\n"),
    refused("err-n-million", Some("n"), None, "n must be at most 16384"),
    refused("err-negative-max-tokens", Some("max_tokens"), Some("max_tokens"), "max_tokens must be at least 1"),
    refused("err-no-messages", Some("messages"), Some("messages"), "1 validation error:\n"),
    refused("err-not-json", None, None, "1 validation error:\n"),
    refused("err-string-max-tokens", Some("max_tokens"), Some("max_tokens"), "1 validation error:\n"),
    refused("err-temperature-99", Some("temperature"), Some("temperature"), "temperature must be in [0, 2]"),
    refused("err-temperature-negative", Some("temperature"), Some("temperature"), "temperature must be non-negative"),
    refused("err-tools-empty", Some("tools"), Some("tools"), "`tools` must not be an empty array"),
    refused("err-top-logprobs-99", Some("top_logprobs"), Some("logprobs"), "Requested sample logprobs of 99"),
    refused("err-top-p-2", Some("top_p"), Some("top_p"), "top_p must be in (0, 1]"),
    // None of ours: a success is the presence of choices.
    no_chat("health", "the upstream sent an empty answer"),
    no_chat("ping", "the upstream sent an empty answer"),
    no_chat("models", SILENT),
    no_chat("responses", SILENT),
    no_chat("version", SILENT),
];

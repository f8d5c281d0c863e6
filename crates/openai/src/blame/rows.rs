//! The rows themselves.

use provider::{ErrorKind, Operation};

use super::{ErrorFormat, Example, JOB_WAITS, Row, Signal, answer, chat_answer};
use crate::body::Shape;

/// A row about answers.
macro_rules! row {
    ($name:expr, $came:literal, $kind:expr, $example:expr, $why:literal, $answer:ident => $fits:expr) => {
        Row {
            name: $name,
            came: $came,
            kind: $kind,
            example: $example,
            why: $why,
            fits: |signal| answer(signal, |$answer| $fits),
        }
    };
}

/// A row about calls without an answer.
macro_rules! silent {
    ($name:literal, $came:literal, $kind:expr, $example:expr, $why:literal, $signal:pat) => {
        Row {
            name: $name,
            came: $came,
            kind: $kind,
            example: $example,
            why: $why,
            fits: |signal| matches!(signal, $signal),
        }
    };
}

/// The table, from the most to the least specific row.
pub const ROWS: &[Row] = &[
    silent!(
        "unreachable",
        "no connection: refused, no such host, TLS failed, too slow",
        ErrorKind::Connect,
        Example::Silent(Signal::Connect),
        "nothing was sent, so the request cannot be the reason",
        Signal::Connect
    ),
    silent!(
        "stale connection",
        "a kept connection closed before any byte of an answer",
        ErrorKind::Interrupted,
        Example::Silent(Signal::Stale),
        "servers close idle connections, and a request may cross the close: it is repeated once on a fresh connection, booked \
         as perhaps billed",
        Signal::Stale
    ),
    silent!(
        "broken connection",
        "the connection broke, or the stream ended, after the request was sent and before the answer was complete",
        ErrorKind::Interrupted,
        Example::Silent(Signal::Broke),
        "the upstream, or the way to it, gave up amid its work",
        Signal::Broke
    ),
    silent!(
        "unreadable answer",
        "an event or a body that is no JSON, no UTF-8, or longer than 64 MiB",
        ErrorKind::Protocol,
        Example::Silent(Signal::Unreadable),
        "no client could read it; as some input may be the reason, it counts like a 500",
        Signal::Unreadable
    ),
    silent!(
        "other kind of answer",
        "a whole answer to a streamed request that cannot be turned into a stream, or a stream where a whole answer was asked for",
        ErrorKind::Unsupported,
        Example::Silent(Signal::OtherKind),
        "the upstream cannot do what was asked, and works otherwise",
        Signal::OtherKind
    ),
    row!(
        "redirect",
        "any 3xx",
        ErrorKind::Refused,
        chat_answer(ErrorFormat::OpenAi, 301, ""),
        "not followed, because the key would go along: base_url may lead elsewhere, or an edge sends this one request away; it \
         is counted and logged, and the breaker stays as it is",
        answer => (300..400).contains(&answer.sent)
    ),
    row!(
        JOB_WAITS,
        "RunPod: a job that is still IN_QUEUE or IN_PROGRESS",
        ErrorKind::Overloaded,
        chat_answer(ErrorFormat::RunPod, 200, r#"{"id":"sync-1-u1","status":"IN_QUEUE"}"#),
        "no worker had room while the endpoint waited; the job is cancelled",
        answer => answer.format == ErrorFormat::RunPod
            && answer.said.job.as_deref().is_some_and(|job| matches!(job, "IN_QUEUE" | "IN_PROGRESS"))
    ),
    row!(
        "no workers",
        "RunPod: \"no workers available\" as the whole message of a 400, 429, 500, 502, 503 or 504",
        ErrorKind::Overloaded,
        chat_answer(ErrorFormat::RunPod, 503, r#"{"error":"no workers available"}"#),
        "the endpoint has no worker at the moment; a longer message only quotes these words",
        answer => answer.has_no_workers()
    ),
    row!(
        "context",
        "400, 413, 422: the prompt, or the prompt with its limit, is longer than the context",
        ErrorKind::ContextOverflow,
        chat_answer(
            ErrorFormat::OpenAi,
            400,
            r#"{"error":{"message":"This model's maximum context length is 2048 tokens.","type":"BadRequestError","code":400}}"#
        ),
        "an upstream with a larger context may take it",
        answer => answer.is_bad_request() && answer.overflows()
    ),
    row!(
        "too large for the minute",
        "429, 413: this request alone is beyond what the account has left in the minute",
        ErrorKind::Refused,
        chat_answer(
            ErrorFormat::OpenAi,
            429,
            r#"{"error":{"message":"Request too large for m on tokens per min (TPM): Limit 10000, Requested 12000.","type":"tokens"}}"#
        ),
        "smaller requests still fit: the upstream is not parked",
        answer => answer.is_too_large_for_the_minute()
    ),
    row!(
        "queue full",
        "Cerebras: 429 with queue_exceeded",
        ErrorKind::Overloaded,
        chat_answer(ErrorFormat::Cerebras, 429, r#"{"message":"high traffic","param":"queue","code":"queue_exceeded"}"#),
        "the provider itself is full, not our quota: it often clears within a second",
        answer => answer.format == ErrorFormat::Cerebras
            && answer.status == 429
            && (answer.said.is_called(&["queue_exceeded"]) || answer.said.param.as_deref() == Some("queue"))
    ),
    row!(
        "quota",
        "429",
        ErrorKind::RateLimited,
        chat_answer(ErrorFormat::OpenAi, 429, r#"{"error":{"message":"Rate limit reached","code":"rate_limit_exceeded"}}"#),
        "our allowance is used up until it resets",
        answer => answer.status == 429
    ),
    row!(
        "moderation",
        "400, 403, 422, 451: the content was refused",
        ErrorKind::Refused,
        chat_answer(ErrorFormat::OpenAi, 403, r#"{"error":{"message":"The content was refused.","code":"content_filter"}}"#),
        "this prompt is the reason, and another upstream may judge otherwise",
        answer => answer.is_moderated()
    ),
    row!(
        "firewall page",
        "400 to 499 with a web page",
        ErrorKind::Refused,
        chat_answer(ErrorFormat::RunPod, 403, "<html><title>Attention Required! | Cloudflare</title></html>"),
        "an edge in front of the upstream took offence at this request; the upstream never saw it",
        answer => (400..500).contains(&answer.status) && answer.said.shape == Shape::Page
    ),
    row!(
        "key refused",
        "401, 402, 403 in the provider's own form: wrong key, no balance",
        ErrorKind::Auth,
        chat_answer(
            ErrorFormat::Cerebras,
            401,
            r#"{"message":"Wrong API Key","type":"invalid_request_error","param":"api_key","code":"wrong_api_key"}"#
        ),
        "every call would be refused: the breaker opens at once, and the operator must act",
        answer => answer.refuses_the_key()
    ),
    row!(
        "refused in a foreign form",
        "401, 402, 403 in any other form",
        ErrorKind::Refused,
        chat_answer(ErrorFormat::Cerebras, 401, r#"{"error":"Unauthorized"}"#),
        "it may be about this one request: it is counted and logged, and the breaker stays as it is",
        answer => answer.is(&[401, 402, 403])
    ),
    row!(
        "model missing",
        "404 in the provider's own form: the model does not exist",
        ErrorKind::NotFound,
        chat_answer(
            ErrorFormat::OpenAi,
            404,
            r#"{"error":{"message":"The model `m` does not exist.","type":"NotFoundError","param":"model","code":404}}"#
        ),
        "every call would miss it: the breaker opens at once, and the operator must act",
        answer => answer.misses_the_model()
    ),
    row!(
        "beyond the deployment",
        "400, 413, 422: no tool parser, no images; 404: no endpoint for what the request needs",
        ErrorKind::Unsupported,
        chat_answer(
            ErrorFormat::OpenAi,
            400,
            r#"{"error":{"message":"\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set"}}"#
        ),
        "the request is fine, but not for this deployment",
        answer => answer.is_beyond_the_deployment()
    ),
    row!(
        "operation missing",
        "404 without a reason, or 405, for any call but a chat; 501",
        ErrorKind::Unsupported,
        Example::Answer {
            format: ErrorFormat::OpenAi,
            operation: Operation::Embeddings,
            status: 404,
            body: r#"{"detail":"Not Found"}"#,
        },
        "the upstream lacks this operation and may have the others",
        answer => answer.status == 501
            || (answer.misses_the_path()
                && answer.operation.is_some_and(|operation| operation != Operation::Chat))
    ),
    row!(
        "not found",
        "any other 404 or 405",
        ErrorKind::Refused,
        chat_answer(ErrorFormat::OpenAi, 404, r#"{"detail":"Not Found"}"#),
        "base_url may be wrong, or a proxy lost its way: it is counted and logged, and the breaker stays as it is",
        answer => answer.is(&[404, 405])
    ),
    row!(
        "body too large",
        "413",
        ErrorKind::Unsupported,
        chat_answer(ErrorFormat::OpenAi, 413, ""),
        "limits on bodies differ widely",
        answer => answer.status == 413
    ),
    row!(
        "not this one",
        "407, 409, 424, 498, 499",
        ErrorKind::Refused,
        chat_answer(ErrorFormat::OpenAi, 409, r#"{"error":{"message":"conflict"}}"#),
        "a proxy or a dependency failed this request, which is no mistake of the client's",
        answer => answer.is(&[407, 409, 424, 498, 499])
    ),
    row!(
        "too slow for the server",
        "408, 425",
        ErrorKind::Unavailable,
        chat_answer(ErrorFormat::OpenAi, 408, ""),
        "the whole request was sent at once: the server gave up by itself",
        answer => answer.is(&[408, 425])
    ),
    row!(
        "client's mistake",
        "any other 4xx",
        ErrorKind::InvalidRequest,
        chat_answer(
            ErrorFormat::OpenAi,
            400,
            r#"{"error":{"message":"temperature must be in [0, 2]","param":"temperature","code":400}}"#
        ),
        "the upstream says what to change, and no upstream would do better",
        answer => (400..500).contains(&answer.status)
    ),
    row!(
        "overloaded",
        "529",
        ErrorKind::Overloaded,
        chat_answer(ErrorFormat::OpenAi, 529, r#"{"error":{"message":"Overloaded","type":"overloaded_error"}}"#),
        "the upstream says that it is full",
        answer => answer.status == 529
    ),
    row!(
        "broken, or a poisonous request",
        "500, a failed job, or an error without a status",
        ErrorKind::Unavailable,
        chat_answer(ErrorFormat::RunPod, 200, r#"{"err":"api","traceback":"Traceback (most recent call last): …"}"#),
        "some bad input is answered so: it counts once a different request has failed there as well, and is forgotten once one \
         has gone well",
        answer => answer.status == 500
    ),
    row!(
        "broken",
        "any other 5xx",
        ErrorKind::Unavailable,
        chat_answer(ErrorFormat::OpenAi, 503, ""),
        "the upstream, or what stands in front of it, does not work",
        answer => (501..600).contains(&answer.status)
    ),
    Row {
        name: "no answer at all",
        came: "any other status",
        kind: ErrorKind::Protocol,
        example: chat_answer(ErrorFormat::OpenAi, 600, ""),
        why: "HTTP has no such answer to a call",
        fits: |_| true,
    },
];

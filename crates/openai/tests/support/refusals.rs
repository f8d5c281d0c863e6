//! Refusals of one request, as any provider and whatever stands in front of it may word them: all that a client can bring about
//! by what it sends. Shared by the tests of the adapters.
//!
//! Left out is what an upstream does by itself, because its health is to move by that: its own form for a wrong key, an empty
//! account or a missing model (401, 402, 403, 404), its own quota (429) and its own troubles (408, 425, 5xx, a job that waits, a
//! status in the body that says so). No client can bring those about: texts of a client's are quoted, with something around
//! them.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use openai::{
    Dialect, Failure,
    blame::{ErrorFormat, Example, ROWS},
};
use proptest::{
    collection::{hash_map, vec},
    option,
    prelude::*,
    sample::{Index, select},
};
use provider::{ErrorKind, Operation};
use serde_json::{Value, json};

/// A refusal as it came.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    operation: Operation,
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    body: Bytes,
}

/// Whether a refusal is about its request alone.
pub(crate) fn leaves_health_alone(refusal: &Refusal, dialect: &dyn Dialect) -> Result<(), TestCaseError> {
    let headers: HeaderMap = refusal
        .headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    let Refusal { operation, status, body, .. } = refusal;
    let failure = Failure { operation: Some(*operation), status: *status, headers: &headers, body };
    let error = dialect.classify(&failure);
    let is_about_the_request = is_refusal(error.kind);
    prop_assert!(is_about_the_request, "{error}");
    Ok(())
}

/// Whether the router attributes an error of this kind to the request: no upstream's health changes at once, and none
/// is parked.
fn is_refusal(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::InvalidRequest | ErrorKind::ContextOverflow | ErrorKind::Unsupported | ErrorKind::Refused => true,
        ErrorKind::Auth
        | ErrorKind::NotFound
        | ErrorKind::RateLimited
        | ErrorKind::Overloaded
        | ErrorKind::Connect
        | ErrorKind::Timeout(_)
        | ErrorKind::Unavailable
        | ErrorKind::Interrupted
        | ErrorKind::Protocol
        | ErrorKind::NoMemory
        | ErrorKind::Unrecorded
        | ErrorKind::OverBudget => false,
    }
}

/// Texts that decide in a provider's own message, and must not in a quotation from a client's request.
const TEXTS: [&str; 28] = [
    "no workers available",
    "No Workers Available ",
    "Unauthorized",
    "Not authenticated",
    "not found",
    "invalid_api_key",
    "wrong_api_key",
    "payment_required",
    "The model `m` does not exist",
    "model_not_found",
    "NotFoundError",
    "Rate limit reached",
    "rate_limit_exceeded",
    "Tokens per minute limit exceeded",
    "queue_exceeded",
    "token_quota_exceeded",
    "Internal Server Error",
    "Service Unavailable",
    "Overloaded",
    "IN_QUEUE",
    "the upstream's worker failed",
    "vLLM returned HTTP 503: {\"error\":{\"message\":\"no workers available\"}}",
    "HTTP 401: {\"error\":{\"message\":\"m\",\"code\":\"invalid_api_key\"}}",
    "HTTP 500",
    "{'message': 'm', 'code': 500}",
    "\",\"code\":500,\"status\":\"IN_QUEUE\",\"x\":\"",
    "</html>",
    "\u{feff}😀\u{0}",
];

/// What servers put around the text of a client's that they quote.
const AROUND: [(&str, &str); 6] = [
    ("1 validation error for ChatCompletionRequest\nseed\n  Input should be a valid integer, input_value='", "'"),
    ("Invalid value for 'user': ", " is not allowed"),
    ("Input should be 'user' or 'system', got \"", "\""),
    ("'", "' was flagged by moderation"),
    ("Failed to fetch the image: ", "."),
    ("temperature must be in [0, 2]: ", " (see the documentation)"),
];

/// Types and codes that are no provider's own for a wrong key, a missing model or a quota.
const NAMES: [Option<&str>; 12] = [
    None,
    Some("BadRequestError"),
    Some("invalid_request_error"),
    Some("ValidationError"),
    Some("UnprocessableEntityError"),
    Some("invalid_value"),
    Some("unsupported_parameter"),
    Some("content_filter"),
    Some("moderation_blocked"),
    Some("wrong_api_format"),
    Some("context_length_exceeded"),
    Some(""),
];

const PARAMS: [Option<&str>; 6] =
    [None, Some("seed"), Some("messages.0.content"), Some("body.user"), Some("12"), Some("api_key")];

const PAGES: [&str; 4] = [
    "<!DOCTYPE html><html><title>Attention Required! | Cloudflare</title></html>",
    "\n  <html><body>403 Forbidden</body></html>",
    "<h1>Bad Request</h1>no workers available",
    "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>",
];

/// Headers that come with refusals. None of them parks an upstream.
const HEADERS: [(&str, &str); 7] = [
    ("retry-after", "30"),
    ("retry-after-ms", "1500"),
    ("x-ratelimit-remaining-requests-minute", "0"),
    ("x-ratelimit-reset-requests-minute", "59"),
    ("x-ratelimit-remaining-tokens", "many"),
    ("content-type", "text/html"),
    ("x-should-retry", "true"),
];

/// All refusals that the table of blame has for `whose` by its examples.
fn examples(format: ErrorFormat) -> Vec<Refusal> {
    let rows = ROWS.iter().filter(|row| is_refusal(row.kind));
    rows.filter_map(|row| match row.example {
        Example::Answer { format: by, operation, status, body } if by == format || by == ErrorFormat::OpenAi => {
            Some(Refusal { operation, status, headers: Vec::new(), body: body.into() })
        }
        Example::Answer { .. } | Example::Silent(_) => None,
    })
    .collect()
}

/// A text of a client's: any at all, one that a provider might say, or a provider's whole answer.
fn text() -> BoxedStrategy<String> {
    let bodies = ROWS.iter().filter_map(|row| match row.example {
        Example::Answer { body, .. } => Some(body),
        Example::Silent(_) => None,
    });
    prop_oneof![
        4 => select(&TEXTS[..]).prop_map(str::to_owned),
        2 => select(bodies.collect::<Vec<_>>()).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
    .boxed()
}

fn quoted() -> BoxedStrategy<String> {
    (select(&AROUND[..]), text()).prop_map(|((before, after), text)| format!("{before}{text}{after}")).boxed()
}

/// A status that is about the request, and the code that may repeat it.
fn status() -> impl Strategy<Value = u16> {
    (400..500_u16).prop_filter("the upstream's own", |status| ![408, 425, 429].contains(status))
}

/// The members of an error.
fn members() -> BoxedStrategy<Value> {
    (quoted(), select(&NAMES[..]), select(&NAMES[..]), select(&PARAMS[..]))
        .prop_map(
            |(message, kind, code, param)| json!({"message": message, "type": kind, "param": param, "code": code}),
        )
        .boxed()
}

/// JSON of any form. Its texts are quoted ones, and its numbers no status that an upstream might mean for itself.
fn any_json() -> BoxedStrategy<Value> {
    const KEYS: [&str; 12] =
        ["error", "message", "detail", "type", "param", "code", "status", "id", "err", "errors", "choices", "seed"];
    let leaf = prop_oneof![
        3 => quoted().prop_map(Value::from),
        1 => select(&[0_i64, -1, 7, 400, 422, i64::MAX][..]).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            hash_map(select(&KEYS[..]), inner, 0..5).prop_map(|members| {
                members
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            }),
        ]
    })
    .boxed()
}

/// An error in any of the known forms; `code` is its numeric one.
fn known_form() -> BoxedStrategy<Value> {
    prop_oneof![
        3 => members().prop_map(|members| json!({"error": members})),
        1 => quoted().prop_map(|message| json!({"error": message})),
        1 => members(),
        1 => quoted().prop_map(|detail| json!({"detail": detail})),
        1 => (quoted(), text()).prop_map(|(message, input)| {
            json!({"detail": [{"loc": ["body", "seed"], "msg": message, "input": input, "type": "int_parsing"}]})
        }),
        // What a server makes of a request that it quotes as it is.
        1 => text().prop_map(|seed| json!({"detail": [{"input": {"seed": seed, "status": "IN_QUEUE", "code": 500}}]})),
        1 => text().prop_map(|seed| json!({"seed": seed})),
    ]
    .boxed()
}

fn body() -> BoxedStrategy<Vec<u8>> {
    let json = prop_oneof![4 => known_form(), 1 => any_json()].prop_map(|json| json.to_string().into_bytes()).boxed();
    let other = prop_oneof![
        3 => select(&PAGES[..]).prop_map(str::to_owned),
        1 => Just(String::new()),
        2 => quoted(),
    ];
    prop_oneof![
        6 => json.clone(),
        2 => other.prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..64),
        // Cut, or no UTF-8.
        1 => (json.clone(), any::<Index>()).prop_map(|(mut body, at)| { body.truncate(at.index(body.len())); body }),
        1 => (json, any::<Index>()).prop_map(|(mut body, at)| { let at = at.index(body.len()); body.insert(at, 0xff); body }),
    ]
    .boxed()
}

/// An answer with the status of a refusal.
fn answer() -> BoxedStrategy<(u16, Vec<u8>)> {
    let too_large = quoted().prop_map(|text| {
        let message = format!("Request too large for m on tokens per min (TPM): Limit 10000, Requested 12000: {text}");
        json!({"error": {"message": message, "type": "tokens"}}).to_string().into_bytes()
    });
    prop_oneof![
        12 => (status(), body()),
        1 => (select(&[413, 429][..]), too_large),
        // Not this operation.
        1 => (Just(501), body()),
    ]
    .boxed()
}

/// A refusal within a 200: its status is in the body.
fn in_band() -> BoxedStrategy<(u16, Vec<u8>)> {
    (status(), members(), any::<bool>(), any::<bool>())
        .prop_map(|(status, mut members, is_text, is_flat)| {
            members["code"] = if is_text { status.to_string().into() } else { status.into() };
            let body = if is_flat { members } else { json!({"error": members}) };
            (200, body.to_string().into_bytes())
        })
        .boxed()
}

/// A refusal within a 200 that names no status and is called what it is.
fn in_band_by_name() -> BoxedStrategy<(u16, Vec<u8>)> {
    const SAID: [&str; 3] = ["content_filter", "moderation", "context_length_exceeded"];
    (members(), select(&SAID[..]))
        .prop_map(|(mut members, name)| {
            members["code"] = name.into();
            (200, json!({"error": members}).to_string().into_bytes())
        })
        .boxed()
}

/// What a queue of RunPod's makes of vLLM's refusal.
fn of_a_queue() -> BoxedStrategy<(u16, Vec<u8>)> {
    (status(), known_form(), select(&[200, 500][..]), any::<bool>())
        .prop_map(|(status, body, sent, is_job)| {
            // A text of JSON is one of Python, too.
            let quoted = Value::from(format!("vLLM returned HTTP {status}: {body}"));
            let error = format!("{{'message': {quoted}, 'type': 'worker_error', 'code': None}}");
            let mut answer = json!({"error": error});
            if is_job {
                (answer["id"], answer["status"]) = ("sync-1-u1".into(), "FAILED".into());
            }
            (sent, answer.to_string().into_bytes())
        })
        .boxed()
}

/// Refusals of one request in the words of `whose`.
pub(crate) fn refusals(format: ErrorFormat) -> impl Strategy<Value = Refusal> {
    let answers = match format {
        ErrorFormat::RunPod => {
            prop_oneof![4 => answer(), 2 => of_a_queue(), 1 => in_band(), 1 => in_band_by_name()].boxed()
        }
        ErrorFormat::OpenAi | ErrorFormat::Cerebras => {
            prop_oneof![6 => answer(), 1 => in_band(), 1 => in_band_by_name()].boxed()
        }
    };
    let headers = option::of(vec(select(&HEADERS[..]), 1..3)).prop_map(Option::unwrap_or_default);
    let made = (select(&Operation::ALL[..]), answers, headers)
        .prop_map(|(operation, (status, body), headers)| Refusal { operation, status, headers, body: body.into() });
    prop_oneof![15 => made, 1 => select(examples(format))]
}

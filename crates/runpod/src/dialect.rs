//! What RunPod's errors mean: the refusal that a failed job contains, and the states of a job that no worker took.
//!
//! The worker turns what vLLM refused into a failed job whose error is a Python dictionary as text. The endpoint
//! answers it with HTTP 500 or with HTTP 200, depending on its age. Newer workers quote vLLM's reply (`vLLM returned
//! HTTP 404: {…}`); older ones put vLLM's own error there. Either way the refusal is read as if vLLM had sent it, so
//! that both kinds of endpoint classify alike.

use openai::{Dialect, ErrorBody, Failure, Finish, blame::ErrorFormat, classify, finish};
use provider::Error;
use serde_json::Value;

use crate::literal::dictionary;

/// How RunPod writes its errors.
pub(crate) struct RunPodDialect;

impl Dialect for RunPodDialect {
    fn error_format(&self) -> ErrorFormat {
        ErrorFormat::RunPod
    }

    fn classify(&self, failure: &Failure<'_>) -> Error {
        let said = ErrorBody::parse(failure.body);
        let stated = said.message.as_deref().and_then(dictionary).map(|stated| Value::Object(stated).to_string());
        let said = stated.map_or(said, |stated| ErrorBody::parse(stated.as_bytes()));
        if let Some(status) = said.status {
            // The status that vLLM answered with, whatever status the endpoint sent.
            return classify(ErrorFormat::RunPod, &Failure { status, ..*failure }, &said);
        }
        let Some((status, quoted)) = said.message.as_deref().and_then(quoted) else {
            return classify(ErrorFormat::RunPod, failure, &said);
        };
        classify(ErrorFormat::RunPod, &Failure { status, body: quoted.as_bytes(), ..*failure }, &read_quoted(quoted))
    }

    fn finish(&self, reason: &str) -> Finish {
        match reason {
            // vLLM's finish reason for an answer that it ended because it repeated itself.
            "repetition" => Finish::Renamed("stop"),
            other => finish(other),
        }
    }
}

/// The status and the body in `vLLM returned HTTP 404: {…}`. Further inside the message the same words may be a
/// quotation from a client's request.
fn quoted(message: &str) -> Option<(u16, &str)> {
    let rest = message.strip_prefix("vLLM returned HTTP ")?;
    let (digits, rest) = rest.split_at_checked(3)?;
    let status = digits.parse().ok().filter(|status| (400..600).contains(status))?;
    let body = rest.strip_prefix(':').unwrap_or(rest).trim_ascii();
    Some((status, body))
}

/// Reads a quoted body; one that is not JSON, or was cut, is its own message.
fn read_quoted(quoted: &str) -> ErrorBody {
    let start = quoted.find('{').unwrap_or(quoted.len());
    let json = serde_json::Deserializer::from_str(&quoted[start..]).into_iter::<Value>().next();
    match json {
        Some(Ok(json)) => ErrorBody::parse(json.to_string().as_bytes()),
        Some(Err(_)) | None => {
            ErrorBody { message: (!quoted.is_empty()).then(|| quoted.to_owned()), ..ErrorBody::default() }
        }
    }
}

#[cfg(test)]
#[path = "../../provider/tests/support/property.rs"]
mod property;
#[cfg(test)]
#[path = "../../openai/tests/support/refusals.rs"]
mod refusals;

#[cfg(test)]
mod tests {
    use http::header::HeaderMap;
    use openai::OpenAiDialect;
    use provider::ErrorKind::{Auth, InvalidRequest, Overloaded, RateLimited, Refused, Unavailable};

    use super::*;

    fn failure<'a>(status: u16, body: &'a str, headers: &'a HeaderMap) -> Failure<'a> {
        Failure { operation: None, status, headers, body: body.as_bytes() }
    }

    fn read(status: u16, body: &str) -> Error {
        RunPodDialect.classify(&failure(status, body, &HeaderMap::new()))
    }

    #[test]
    fn a_job_without_an_answer_says_why() {
        let cases = [
            (200, r#"{"id":"j","status":"IN_QUEUE"}"#, Overloaded, "the upstream's job did not finish in time"),
            (200, r#"{"id":"j","status":"IN_PROGRESS"}"#, Overloaded, "the upstream's job did not finish in time"),
            (200, r#"{"id":"j","status":"FAILED"}"#, Unavailable, "the upstream's job ended as failed"),
            (200, r#"{"id":"j","status":"CANCELLED"}"#, Unavailable, "the upstream's job ended as cancelled"),
            (200, r#"{"id":"j","status":"TIMED_OUT"}"#, Unavailable, "the upstream's job ended as timed out"),
            (200, r#"{"id":"j","status":"FAILED","error":"out of memory"}"#, Unavailable, "out of memory"),
        ];
        for (status, body, kind, message) in cases {
            let error = read(status, body);
            assert_eq!((error.kind, error.message.as_str(), error.status), (kind, message, None), "{body}");
        }
    }

    #[test]
    fn the_endpoints_own_failures_are_not_taken_for_vllms() {
        let cases = [
            (400, r#"{"error":"no workers available"}"#, Overloaded),
            (500, r#"{"error":"no workers available"}"#, Overloaded),
            (401, r#"{"error":"Unauthorized"}"#, Auth),
            (404, "", Refused),
            (429, "", RateLimited),
            (524, "<html>A timeout occurred</html>", Unavailable),
            (
                500,
                r#"{"error":"{'message': 'vLLM is not running', 'type': 'worker_error', 'code': None}"}"#,
                Unavailable,
            ),
        ];
        for (status, body, kind) in cases {
            let error = read(status, body);
            assert_eq!((error.kind, error.status), (kind, Some(status)), "{body}");
        }
    }

    #[test]
    fn a_traceback_in_a_200_is_a_failure_of_the_worker() {
        let error = read(200, r#"{"err":"api","traceback":"Traceback (most recent call last): secret"}"#);
        assert_eq!((error.kind, error.message.as_str()), (Unavailable, "the upstream's worker failed: api"));
    }

    #[test]
    fn vllms_own_finish_reasons_are_read() {
        let read = |reason| RunPodDialect.finish(reason);
        assert_eq!((read("stop"), read("abort"), read("error")), (Finish::Known, Finish::Failed, Finish::Failed));
        assert_eq!((read("repetition"), read("other")), (Finish::Renamed("stop"), Finish::Unknown));
    }

    #[test]
    fn a_quoted_body_that_was_cut_is_still_classified() {
        let error = read(500, r#"{"error":"vLLM returned HTTP 400: {\"error\":{\"message\":\"too h"}"#);
        assert_eq!((error.kind, error.status), (InvalidRequest, Some(400)));
        assert_eq!(error.message, r#"{"error":{"message":"too h"#);
        let error = read(500, r#"{"error":"vLLM returned HTTP 503"}"#);
        assert_eq!((error.kind, error.status), (Unavailable, Some(503)));
    }

    #[test]
    fn vllms_own_words_are_not_searched_for_a_status() {
        let body = r#"{"error":{"message":"Failed to fetch the image: HTTP 404: {}","param":null,"code":400}}"#;
        let direct = OpenAiDialect.classify(&failure(400, body, &HeaderMap::new()));
        let error = read(400, body);
        assert_eq!((error.kind, error.message, error.status), (direct.kind, direct.message, direct.status));
    }

    #[test]
    fn a_clients_words_are_not_searched_for_a_status() {
        for words in [
            "vLLM returned HTTP 503: {'error':'no workers available'}",
            "HTTP 401: {'error':{'code':'invalid_api_key'}}",
        ] {
            let body = format!(r#"{{"error":{{"message":"seed is no number: {words}"}}}}"#);
            let error = read(400, &body);
            assert_eq!((error.kind, error.status), (InvalidRequest, Some(400)), "{body}");
        }
    }

    #[test]
    fn no_refusal_of_a_request_is_taken_for_the_upstreams_fault() {
        property::hold(2_000, &refusals::refusals(ErrorFormat::RunPod), |refusal| {
            refusals::leaves_health_alone(&refusal, &RunPodDialect)
        });
    }
}

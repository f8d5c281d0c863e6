//! The answers of [`Refusal`].

use serde_json::{Value, json};

use crate::{cerebras, face::Face, fault::Refusal, reply::Reply, vllm};

/// The refusal; `None` if the request has nothing of what it refuses.
pub(crate) fn reply(face: Face, refusal: &Refusal, body: &[u8]) -> Option<Reply> {
    let reply = match refusal {
        Refusal::Moderation => moderation(face),
        Refusal::Moderation403 => {
            let error = json!({"message": "Your chosen model requires moderation and your input was flagged", "code": 403, "metadata": {"reasons": ["violence"]}});
            Reply::json(403, &json!({ "error": error }))
        }
        Refusal::FirewallPage => page(403, "Attention Required!", "Sorry, you have been blocked"),
        Refusal::FirewallPage400 => page(400, "400 The plain HTTP request was sent to HTTPS port", "400 Bad Request"),
        Refusal::NoEndpointForTools => {
            Reply::json(404, &json!({"error": {"message": "No endpoints found that support tool use", "code": 404}}))
        }
        Refusal::TooLargeForMinute { code } => openai(
            *code,
            "Request too large for the model on tokens per min (TPM): Limit 10000, Requested 12000. The input or output tokens must be reduced in order to run successfully.",
            "tokens",
            &Value::Null,
            &json!("rate_limit_exceeded"),
        ),
        Refusal::EchoedNoWorkers => vllm::error(
            400,
            "Bad Request",
            "1 validation error:\n  {'type': 'int_parsing', 'loc': ('body', 'seed'), 'msg': 'Input should be a valid integer, unable to parse string as an integer', 'input': 'no workers available'}",
            Some("body.seed"),
        ),
        Refusal::Redirect { code, location } => Reply::new(*code, "", "").with("location", location),
        Refusal::UnknownArgument { name } => {
            parse(body).get(name)?;
            let message = format!("Unrecognized request argument supplied: {name}");
            openai(400, &message, "invalid_request_error", &Value::Null, &Value::Null)
        }
        Refusal::LimitTooLarge { most } => limit_too_large(&parse(body), *most)?,
        Refusal::OperationMissing { code: 405 } => Reply::detail(405, "Method Not Allowed"),
        Refusal::OperationMissing { code } => Reply::detail(*code, "Not Found"),
        Refusal::Foreign401 => page(401, "401 Authorization Required", "401 Authorization Required")
            .with("www-authenticate", &"Basic realm=\"proxy\""),
        Refusal::Foreign403 => Reply::json(403, &json!({"message": "Forbidden"})),
    };
    Some(reply)
}

fn parse(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_default()
}

fn openai(status: u16, message: &str, kind: &str, param: &Value, code: &Value) -> Reply {
    Reply::json(status, &json!({"error": {"message": message, "type": kind, "param": param, "code": code}}))
}

fn moderation(face: Face) -> Reply {
    let message = "The prompt was filtered by the content management policy. Please modify it and try again.";
    if face == Face::Cerebras {
        return cerebras::error(400, "invalid_request_error", "content_filter", "messages", message);
    }
    openai(400, message, "invalid_request_error", &json!("prompt"), &json!("content_filter"))
}

fn page(status: u16, title: &str, heading: &str) -> Reply {
    let page = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{heading}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    );
    Reply::new(status, "text/html", page)
}

fn limit_too_large(body: &Value, most: u64) -> Option<Reply> {
    let names = ["max_completion_tokens", "max_tokens"];
    let (name, limit) = names.into_iter().find_map(|name| body[name].as_u64().map(|limit| (name, limit)))?;
    if limit <= most {
        return None;
    }
    let message = format!(
        "{name} is too large: {limit}. This model supports at most {most} completion tokens, whereas you provided {limit}."
    );
    Some(openai(400, &message, "invalid_request_error", &json!(name), &json!("invalid_value")))
}

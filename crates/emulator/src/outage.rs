//! The answers of faults that replace a whole answer, in the words of each face.

use serde_json::{Value, json};

use crate::{
    cerebras,
    face::Face,
    fault::{ErrorShape, Fault, Limit},
    jobs,
    reply::Reply,
    state::State,
    vllm,
};

/// The answer of a fault, if the fault is one that answers.
pub(crate) fn reply(state: &State, face: Face, fault: &Fault) -> Option<Reply> {
    let reply = match fault {
        Fault::Status { code, retry_after } => with_retry_after(status(face, *code), *retry_after),
        Fault::RateLimited { which, retry_after_s, reset_s } => {
            with_retry_after(rate_limited(face, *which, *reset_s), *retry_after_s)
        }
        Fault::OkWithErrorBody { shape } => Reply::json(200, &error_body(state, *shape)),
        Fault::FailedJob { inner_status } => {
            let inner = vllm::error(*inner_status, vllm_kind(*inner_status), "injected fault", None);
            jobs::failed(state, face, &inner)
        }
        Fault::IntegerCode { code } => integer_code(face, *code),
        Fault::Empty200 => Reply::ok(""),
        _ => return None,
    };
    Some(reply)
}

fn with_retry_after(reply: Reply, seconds: Option<u64>) -> Reply {
    match seconds {
        Some(seconds) => reply.with("retry-after", &seconds),
        None => reply,
    }
}

fn status(face: Face, code: u16) -> Reply {
    match (face, code) {
        (_, 520..=527) | (Face::Cerebras, 502 | 504) => cloudflare(code),
        (Face::RunpodLb, 502..=504) => Reply::json(code, &json!({"error": "no workers available"})),
        (Face::RunpodQueue, 502..=504) => Reply::json(code, &json!({"error": "upstream unavailable"})),
        (Face::RunpodLb | Face::RunpodQueue, 401) => Reply::json(code, &json!({"error": "Unauthorized"})),
        (Face::RunpodLb | Face::RunpodQueue, _) => vllm::error(code, vllm_kind(code), "injected fault", None),
        (Face::Cerebras, _) => {
            let (kind, name) = cerebras_kind(code);
            cerebras::error(code, kind, name, "", "injected fault")
        }
    }
}

fn vllm_kind(code: u16) -> &'static str {
    match code {
        404 => "NotFoundError",
        422 => "UnprocessableEntityError",
        501 => "NotImplementedError",
        500.. => "InternalServerError",
        _ => "BadRequestError",
    }
}

fn cerebras_kind(code: u16) -> (&'static str, &'static str) {
    match code {
        401 => ("invalid_request_error", "wrong_api_key"),
        402 => ("payment_required_error", "payment_required"),
        404 => ("not_found_error", "model_not_found"),
        429 => ("too_many_requests_error", "queue_exceeded"),
        500.. => ("server_error", "server_error"),
        _ => ("invalid_request_error", "wrong_api_format"),
    }
}

fn cloudflare(code: u16) -> Reply {
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en-US\"><head><title>api | {code}: A timeout occurred</title></head><body><div id=\"cf-wrapper\"><h1>Error code {code}</h1>\
         <p>The origin web server did not answer in time.</p></div></body></html>\n"
    );
    Reply::new(code, "text/html; charset=UTF-8", page).with("server", &"cloudflare")
}

fn rate_limited(face: Face, which: Limit, reset_s: Option<f64>) -> Reply {
    if face != Face::Cerebras {
        return Reply::json(429, &json!({"error": "rate limit exceeded"}));
    }
    let reply = cerebras::rate_limited(which);
    let Some(reset) = reset_s else { return reply };
    match which {
        Limit::Requests => {
            reply.with("x-ratelimit-remaining-requests-minute", &0).with("x-ratelimit-reset-requests-minute", &reset)
        }
        Limit::Tokens => {
            reply.with("x-ratelimit-remaining-tokens-minute", &0).with("x-ratelimit-reset-tokens-minute", &reset)
        }
        Limit::Queue => reply,
    }
}

fn error_body(state: &State, shape: ErrorShape) -> Value {
    match shape {
        ErrorShape::Flat => {
            json!({"object": "error", "message": "injected fault", "type": "NotFoundError", "param": null, "code": 404})
        }
        ErrorShape::Wrapped => {
            json!({"error": {"message": "injected fault", "type": "InternalServerError", "param": null, "code": 500}})
        }
        ErrorShape::FailedJob => jobs::failure(state, &vllm::error(500, "InternalServerError", "injected fault", None)),
        ErrorShape::InQueue => json!({"id": format!("sync-{:08x}-u1", state.id()), "status": "IN_QUEUE"}),
    }
}

fn integer_code(face: Face, code: u16) -> Reply {
    let fields = json!({"message": "injected fault", "type": "server_error", "param": null, "code": code});
    match face {
        Face::Cerebras => Reply::json(code, &fields),
        Face::RunpodLb | Face::RunpodQueue => Reply::json(code, &json!({ "error": fields })),
    }
}

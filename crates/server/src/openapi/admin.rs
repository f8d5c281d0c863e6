//! The document of the admin listener.

use std::time::Duration;

use serde_json::json;
use utoipa::openapi::{HttpMethod, OpenApi};

use super::{
    call::{Call, Document, content, example, response, text},
    keys, public, reports,
};
use crate::{
    admin::ReloadReply,
    decisions::query::{DecisionList, MOST},
    error::ApiError,
};

const ABOUT: &str = "For those who run the router. Metrics and probes are for everyone who reaches this listener, the \
                     rest is for those who have the admin token. `HEAD` is answered wherever `GET` is.";

const METRICS: &str =
    "# HELP llmrouter_requests_total Requests, by how they ended.\n# TYPE llmrouter_requests_total counter\n";

pub(super) fn document() -> OpenApi {
    let mut document = Document::new("token");
    let metrics = response("all metrics at this moment", &[]).content("text/plain", text(METRICS));
    let call = Call::new("metrics", "Metrics for Prometheus", "In Prometheus' text format.").open();
    document.add(HttpMethod::Get, "/metrics", call.answer(200, metrics));
    public::add_probes(&mut document);
    let reply = document.schema::<ReloadReply>();
    let sample = json!({
        "version": "5f0c2a91",
        "changes": ["models[llama-3.1-8b].strategy: \"balanced\" -> \"latency\""],
        "waiting": ["log.level"],
    });
    let done = response("the configuration in force now, and what changed", &[])
        .content("application/json", content(reply, vec![example("changed", sample)]));
    let errors = [
        ApiError::no_admin_token(),
        ApiError::too_many_wrong_keys(Duration::from_mins(1)),
        ApiError::admin_is_off(),
        ApiError::duplicate_header("Authorization"),
        ApiError::panicked(),
        ApiError::nothing_to_reload(),
        ApiError::bad_configuration("1. models[0].strategy: …"),
    ];
    let about =
        "A configuration with problems changes nothing: all of them are listed, and the old one stays in force.";
    let call = Call::new("reload", "Read the configuration again", about);
    document.add(HttpMethod::Post, "/admin/reload", call.answer(200, done).errors(errors, &[]));
    add_decisions(&mut document);
    keys::add(&mut document);
    reports::add(&mut document);
    document.finish(
        "llm-router, admin API",
        ABOUT,
        "The token in `LLM_ROUTER_ADMIN_TOKEN` or `server.admin_token_file`.",
    )
}

fn add_decisions(document: &mut Document) {
    let reply = document.schema::<DecisionList<'_>>();
    let sample = json!({"decisions": [{
        "ts": 1_795_522_700.388, "request_id": "req-1882b261cc0a4c6a00000000", "team": "growth", "key": "growth-web",
        "route": "chat", "model": "llama-3.1-8b", "stream": true, "outcome": "served", "first_token_ms": 632.777,
        "wait_ms": 0.0, "duration_ms": 900.1, "decision": public::decision(),
        "attempts": [{
            "upstream": "runpod-8b", "role": "primary", "reason": "share", "start_ms": 0.2, "outcome": "served",
            "first_token_ms": 632.5, "duration_ms": 899.9, "usage_source": "reported", "prompt_tokens": 24,
            "completion_tokens": 98, "cost_nano_usd": 2440,
        }],
    }]});
    let found = response("the newest records that match, the newest first", &[])
        .content("application/json", content(reply, vec![example("one", sample)]));
    let errors = [
        ApiError::no_admin_token(),
        ApiError::too_many_wrong_keys(Duration::from_mins(1)),
        ApiError::admin_is_off(),
        ApiError::duplicate_header("Authorization"),
        ApiError::panicked(),
        ApiError::bad_query("limit is not a number from 1 to 1000"),
        ApiError::no_decisions(),
    ];
    let about = "For the latest `decisions.ring` requests that an upstream was looked for: candidates, predictions, scores \
                 and prices, why one was chosen, and what then happened. No prompts, answers or keys.";
    let call = Call::new("decisions", "What was decided, and what came of it", about)
        .query("request_id", "the id that the response named", "req-1882b261cc0a4c6a00000000")
        .query("model", "a public name", "llama-3.1-8b")
        .query("team", "a team of `[[keys]]`", "growth")
        .query_number("limit", "most records; 100 by default", MOST, 10);
    document.add(HttpMethod::Get, "/admin/decisions", call.answer(200, found).errors(errors, &[]));
}

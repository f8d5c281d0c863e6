//! The document of the admin listener.

use std::time::Duration;

use serde_json::json;
use utoipa::openapi::{HttpMethod, OpenApi};

use super::{
    call::{Call, Document, content, example, response, text},
    public,
};
use crate::{admin::ReloadReply, error::ApiError};

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
    document.finish(
        "llm-router, admin API",
        ABOUT,
        "The token in `LLM_ROUTER_ADMIN_TOKEN` or `server.admin_token_file`.",
    )
}

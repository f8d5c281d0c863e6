//! Keys, teams and budgets, in the document of the admin listener.

use std::time::Duration;

use ledger::KeyError;
use serde_json::{Value, json};
use utoipa::{ToSchema, openapi::HttpMethod};

use super::call::{Call, Document, content, example, response};
use crate::{
    admin::{
        BudgetsReply,
        keys::{
            AuditReply, ChangedReply, KeyName, KeyRequest, KeysReply, Rotation, SecretReply, TeamsReply, TermsRequest,
        },
    },
    error::ApiError,
    stored_keys::actions::ActionError,
};

pub(super) fn add(document: &mut Document) {
    add_budgets(document);
    let keys = json!({"keys": [{
        "id": "search-web", "team": "search", "terms": terms(), "created_at_ms": 1_795_522_700_388_i64,
        "expires_at_ms": null, "disabled_at_ms": null, "secrets": 1,
    }]});
    let call = Call::new(
        "keys",
        "The keys in the database",
        "Not those of the configuration file. Secrets are not kept, only their SHA-256.",
    );
    ask::<KeysReply>(document, "/admin/keys", call, keys);
    let teams = json!({"teams": [{"id": "search", "terms": {"limits": {"tokens_per_minute": 200_000}}}]});
    let call = Call::new("teams", "The teams in the database", "What the keys of a team may use together.");
    ask::<TeamsReply>(document, "/admin/teams", call, teams);
    let audit = json!({"changes": [{
        "number": 1, "at_ms": 1_795_522_700_388_i64, "actor": "admin API", "action": "key_created", "subject": "search-web",
        "detail": terms(),
    }]});
    let call = Call::new("audit", "Who changed which key or team", "The latest thousand changes, the newest first.");
    ask::<AuditReply>(document, "/admin/audit", call, audit);

    let secret = json!({"id": "search-web", "key": "sk-lr-…"});
    let changed = json!({"id": "search-web"});
    let new = json!({"id": "search-web", "team": "search", "expires_in_hours": 2_160, "terms": terms()});
    let about =
        "It is in force within a second on every replica. The answer is the only place where its secret is ever shown.";
    let call = Call::new("createKey", "Make a key", about);
    change::<KeyRequest, SecretReply>(document, "/admin/keys/create", call, (new, secret.clone()));
    let about = "The old secret is let in for `overlap_hours` as well, 24 by default.";
    let call = Call::new("rotateKey", "Give a key another secret", about);
    let body = json!({"id": "search-web", "overlap_hours": 48});
    change::<Rotation, SecretReply>(document, "/admin/keys/rotate", call, (body, secret));
    let call = Call::new("disableKey", "Refuse a key", "Within a second, on every replica, in running batches too.");
    change::<KeyName, ChangedReply>(document, "/admin/keys/disable", call, (changed.clone(), changed.clone()));
    let call = Call::new("enableKey", "Let a disabled key in again", "Its secrets are the ones that it had.");
    change::<KeyName, ChangedReply>(document, "/admin/keys/enable", call, (changed.clone(), changed.clone()));
    let call = Call::new("setKeyTerms", "Change what a key may use", "What is left out holds no more.");
    let body = json!({"id": "search-web", "terms": terms()});
    change::<TermsRequest, ChangedReply>(document, "/admin/keys/terms", call, (body, changed));
    let call =
        Call::new("setTeamTerms", "Change what the keys of a team may use together", "What is left out holds no more.");
    let body = json!({"id": "search", "terms": {"budgets": [{"usd": "500", "per": "month"}]}});
    change::<TermsRequest, ChangedReply>(document, "/admin/teams/terms", call, (body, json!({"id": "search"})));
}

fn terms() -> Value {
    json!({"models": ["llama-3.1-8b"], "limits": {"requests_per_minute": 60}})
}

fn add_budgets(document: &mut Document) {
    let reply = document.schema::<BudgetsReply>();
    let sample = json!({"budgets": [{
        "scope": "team", "name": "search", "per": "month", "limit_usd": "500.000000000", "spent_usd": "12.345678901",
        "reserved_usd": "0.000400000", "begins_anew": "2026-12-01T00:00:00Z",
    }]});
    let found = response("each budget", &[]).content("application/json", content(reply, vec![example("one", sample)]));
    let call =
        Call::new("budgets", "How far budgets are used", "As this process knows it; amounts are exact, and text.");
    document.add(HttpMethod::Get, "/admin/budgets", call.answer(200, found).errors(operators(), &[]));
}

fn ask<T: ToSchema>(document: &mut Document, path: &str, call: Call, sample: Value) {
    let reply = document.schema::<T>();
    let found =
        response("what there is", &[]).content("application/json", content(reply, vec![example("one", sample)]));
    document.add(HttpMethod::Get, path, call.answer(200, found).errors(refusals(), &[]));
}

fn change<B: ToSchema, T: ToSchema>(document: &mut Document, path: &str, call: Call, (body, sample): (Value, Value)) {
    let (asks, reply) = (document.schema::<B>(), document.schema::<T>());
    let done =
        response("what was done", &[]).content("application/json", content(reply, vec![example("done", sample)]));
    let more = [
        ApiError::bad_admin_body("missing field `id`"),
        ApiError::body_broken(),
        ApiError::body_too_large(64 << 10),
        ActionError::Keys(KeyError::Exists("search-web".to_owned())).into(),
        ActionError::Keys(KeyError::Unknown("key \"search-web\"".to_owned())).into(),
        ActionError::Name("a b".to_owned()).into(),
    ];
    let errors = refusals().into_iter().chain(more);
    let call = call.body(asks, vec![example("one", body)]).answer(200, done).errors(errors, &[]);
    document.add(HttpMethod::Post, path, call);
}

pub(super) fn operators() -> Vec<ApiError> {
    vec![
        ApiError::no_admin_token(),
        ApiError::too_many_wrong_keys(Duration::from_mins(1)),
        ApiError::admin_is_off(),
        ApiError::duplicate_header("Authorization"),
        ApiError::panicked(),
    ]
}

fn refusals() -> Vec<ApiError> {
    let mut errors = operators();
    errors.extend([ApiError::no_stored_keys(), ApiError::keys_unknown()]);
    errors
}

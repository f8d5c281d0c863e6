//! Reports on spend and savings, in the document of the admin listener.

use serde_json::{Value, json};
use utoipa::openapi::HttpMethod;

use super::{
    call::{Call, Document, content, example, response, text},
    keys::operators,
};
use crate::{
    admin::reports::{LONGEST, ReportReply},
    error::ApiError,
};

pub(super) fn add(document: &mut Document) {
    let spend = json!({
        "team": "search", "calls": 12, "answers": 11, "prompt_tokens": 4_100, "cached_tokens": 0, "completion_tokens": 900,
        "reasoning_tokens": 0, "cost_usd": "0.000100000", "wasted_usd": "0.000008000", "estimated_usd": "0.000000000",
        "unknown_usd": "0.000000000", "unpriced_calls": 0,
    });
    let about = "What calls used and cost, as `llm-router spend` says it, to the nano-dollar.";
    let call = Call::new("spend", "What was spent", about);
    report(document, "/admin/spend", call.query("by", "a row for each combination of these", "team,model"), &spend);
    let savings = json!({
        "team": "search", "policy": "all:cerebras-8b", "answers": 11, "answers_without_baseline": 0, "unpriced_calls": 0,
        "baseline_usd": "0.000500000", "cost_usd": "0.000100000", "saved_usd": "0.000400000", "saved_percent": 80.0,
    });
    let about = "What the same answers would have cost under other policies, as `llm-router savings` says it.";
    let call = Call::new("savings", "What was saved", about);
    report(document, "/admin/savings", call.query("by", "rows for each combination of these", "team,day"), &savings);
}

fn report(document: &mut Document, path: &str, call: Call, row: &Value) {
    let reply = document.schema::<ReportReply>();
    let csv = row.as_object().map(|row| row.keys().cloned().collect::<Vec<_>>().join(",")).unwrap_or_default();
    let sample = json!({"since": "2026-11-01", "until": "2026-11-30", "rows": [row], "notes": []});
    let made = response("the report", &[])
        .content("application/json", content(reply, vec![example("one", sample)]))
        .content("text/csv", text(&csv))
        .content("text/plain", text("no rows"));
    let reports = [
        ApiError::bad_report("until must be a day, such as 2026-10-31"),
        ApiError::no_ledger(),
        ApiError::too_many_reports(),
        ApiError::ledger_silent(),
        ApiError::report_too_slow(LONGEST),
    ];
    let call = call
        .query("month", "a month in UTC, or `last`; without since and until", "2026-11")
        .query("since", "the first day, in UTC; the first of the month, if it is left out", "2026-11-01")
        .query("until", "the last day; today, if it is left out", "2026-11-30")
        .query("team", "of this team alone", "search")
        .query("tag", "of calls with this tag alone; may come several times", "env=prod")
        .query("format", "`json`, `csv` or `table`", "json");
    let errors = operators().into_iter().chain(reports);
    document.add(HttpMethod::Get, path, call.answer(200, made).errors(errors, &[]));
}

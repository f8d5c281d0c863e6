//! Reports on spend and savings, in the document of the admin listener.

use serde_json::Value;
use utoipa::openapi::HttpMethod;

use super::{
    call::{Call, Document, content, example, response, text},
    keys::operators,
};
use crate::{
    admin::reports::{LONGEST, ReportReply},
    cli::Report,
    error::ApiError,
};

pub(super) fn add(document: &mut Document) {
    let about = "What calls used and cost, as `llm-router spend` says it, to the nano-dollar.";
    let call = Call::new("spend", "What was spent", about);
    let call = call.query("by", "a row for each combination of these", "team,model");
    report(document, "/admin/spend", call, Report::Spend);
    let about = "What the same answers would have cost under other policies, as `llm-router savings` says it.";
    let call = Call::new("savings", "What was saved", about);
    let call = call.query("by", "rows for each combination of these", "team,day");
    report(document, "/admin/savings", call, Report::Savings);
}

fn report(document: &mut Document, path: &str, call: Call, report: Report) {
    let reply = document.schema::<ReportReply>();
    let [json, csv] = report.example();
    let sample: Value = serde_json::from_str(&json).unwrap_or_default();
    let made = response("the report", &[])
        .content("application/json", content(reply, vec![example("one", sample)]))
        .content("text/csv", text(&csv))
        .content("text/plain", text("no rows"));
    let reports = [
        ApiError::bad_report("until must be a day, such as 2026-10-31"),
        ApiError::no_ledger(),
        ApiError::foreign_ledger("this ledger was written by a newer version of llm-router"),
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

//! Spend and savings over HTTP: the figures of the ledger.

use e2e::{Answer, BALANCED, CEREBRAS, Launch, RUNPOD_LB, Rig, chat, eventually};
use emulator::Settings;
use ledger::Dimension;
use serde_json::Value;

use crate::on_record::{Folder, on_record};

const TOKEN: &str = "an-admin-token-of-the-tests";

fn launch(storage: &str) -> Launch {
    let cost = "cost = { kind = \"tokens\", input_usd_per_million = \"0.02\", output_usd_per_million = \"0.1\" }\n";
    let config = format!("{RUNPOD_LB}{cost}{CEREBRAS}{cost}{BALANCED}{storage}");
    Launch::new(Settings::instant(), &config).env("LLM_ROUTER_ADMIN_TOKEN", TOKEN)
}

async fn ask(rig: &Rig, path: &str) -> Answer {
    Answer::of(rig.admin.with_key(TOKEN).request(reqwest::Method::GET, path)).await
}

fn usd(row: &Value, column: &str) -> u64 {
    let text = row[column].as_str().unwrap_or_else(|| panic!("{column}: {row}"));
    text.replace('.', "").parse().expect(column)
}

#[tokio::test]
async fn spend_and_savings_over_http_are_those_of_the_ledger() {
    let folder = Folder::new("reports");
    let rig = launch(&folder.storage("")).start();
    rig.client.chats(30, 5, |_| chat("hello")).await;
    let recorded = eventually("all calls are on record", async || {
        let rows = on_record(&folder.ledger(), &[Dimension::Team, Dimension::Upstream]);
        (rows.iter().map(|row| row.answers).sum::<u64>() == 30).then_some(rows)
    })
    .await;
    let answer = ask(&rig, "/admin/spend?by=team,upstream").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{}", answer.text);
    let report = answer.json();
    let rows = report["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), recorded.len());
    for (row, recorded) in rows.iter().zip(&recorded) {
        assert_eq!(row["team"].as_str(), recorded.labels[0].as_deref());
        assert_eq!(row["upstream"].as_str(), recorded.labels[1].as_deref());
        assert_eq!(row["calls"].as_u64(), Some(recorded.calls));
        assert_eq!(usd(row, "cost_usd"), recorded.cost_nano_usd);
    }
    let total: u64 = recorded.iter().map(|row| row.cost_nano_usd).sum();
    assert!(total > 0);
    let of_nobody = ask(&rig, "/admin/spend?team=nobody").await.json();
    assert_eq!(of_nobody["rows"], Value::Array(Vec::new()));
    let before = ask(&rig, "/admin/spend?by=day&since=2020-01-01&until=2020-01-31").await.json();
    assert_eq!((&before["since"], &before["rows"]), (&"2020-01-01".into(), &Value::Array(Vec::new())));

    let csv = ask(&rig, "/admin/spend?by=day,upstream&format=csv").await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert!(csv.text.starts_with("day,upstream,calls,answers,"), "{}", csv.text);
    assert_eq!(csv.text.lines().count(), 1 + recorded.len(), "{}", csv.text);

    let savings = ask(&rig, "/admin/savings?by=team").await.json();
    for row in savings["rows"].as_array().expect("rows") {
        assert_eq!(usd(row, "cost_usd"), total);
        assert_eq!(row["answers"].as_u64(), Some(30));
    }
    assert!(savings["rows"][0]["policy"].is_string(), "{savings}");
}

#[tokio::test]
async fn a_report_needs_the_token_a_ledger_and_a_query_that_can_be_read() {
    let folder = Folder::new("reports-refused");
    let rig = launch(&folder.storage("")).start();
    for path in ["/admin/spend", "/admin/savings"] {
        let answer = Answer::of(rig.admin.bare(reqwest::Method::GET, path)).await;
        assert_eq!((answer.status, answer.error_code().as_str()), (401, "invalid_admin_token"), "{path}");
        for query in
            ["by=color", "since=yesterday", "month=2026-13", "x=1", "by=team&by=day", "format=focus", "%ff=%fe"]
        {
            let answer = ask(&rig, &format!("{path}?{query}")).await;
            assert_eq!((answer.status, answer.error_code().as_str()), (400, "invalid_query"), "{path}?{query}");
        }
    }
    let rig = launch("").start();
    let answer = ask(&rig, "/admin/spend").await;
    assert_eq!((answer.status, answer.error_code().as_str()), (409, "no_ledger"));
}

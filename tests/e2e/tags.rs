//! Tags on record: each call and each request has what its client, or its key, says that it is for.

use std::fs;

use e2e::{BALANCED, CEREBRAS, Launch, RUNPOD_LB, Rig, chat, eventually, with};
use emulator::{Face, Fault, Rule, Settings};
use ledger::Dimension;
use reqwest::Method;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::on_record::{Folder, on_record};

const CONFIG: &str = r#"
[[tags]]
name = "feature"

[[tags]]
name = "env"
values = ["prod", "test"]

[[models]]
name = "other"
strategy = "weighted"
targets = [{ upstream = "cerebras" }]

[[ensembles]]
name = "ensemble/two"
members = ["llama", "other"]
pick = { kind = "judge", model = "other" }

[[keys]]
id = "test"
team = "test"
env = "CLIENT_KEY"
limits = { concurrent = 1000 }
tags = { env = "test" }
"#;

async fn send(rig: &Rig, path: &str, tags: &str, body: &Value) {
    let request = rig.client.request(Method::POST, path).header("content-type", "application/json");
    let request = request.header("x-llm-router-tags", tags).body(body.to_string());
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap_or_default());
    drop(answer.bytes().await);
}

/// Calls by what their tags and these are.
fn calls(folder: &Folder, by: &[Dimension]) -> Vec<(Vec<String>, u64)> {
    let by: Vec<_> = [Dimension::Tags].into_iter().chain(by.iter().cloned()).collect();
    let rows = on_record(&folder.ledger(), &by).into_iter();
    let mut rows: Vec<_> = rows
        .map(|row| (row.labels.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>(), row.calls))
        .collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn every_call_and_every_request_is_on_record_with_its_tags() {
    let folder = Folder::new("tags");
    let log = std::env::temp_dir().join(format!("llm-router-tags-{}.log", std::process::id()));
    let config = format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}{CONFIG}{}", folder.storage(""));
    let launch = Launch::new(Settings::instant(), &config);
    let mut rig = launch.env("LLM_ROUTER__LOG__ACCESS", log.to_str().expect("UTF-8")).start();
    let chats = "/v1/chat/completions";
    // The header wins over metadata, and both over the key.
    let metadata = json!({"metadata": {"feature": "none", "env": "prod", "trace": "17"}});
    send(&rig, chats, "feature=header", &with(chat("x"), metadata.clone())).await;
    rig.client.chat(&with(chat("x"), metadata)).await;
    rig.client.chat(&chat("x")).await;
    let ensemble = with(chat("x"), json!({"model": "ensemble/two"}));
    send(&rig, chats, "feature=ensemble", &ensemble).await;
    send(&rig, "/v1/generate/batch", "feature=batch", &json!({"prompts": ["a", "b", "c"], "model": "llama"})).await;
    send(&rig, "/v1/generate", "feature=short", &json!({"prompt": "a", "model": "llama"})).await;
    // The call that failed has them too.
    rig.emulator.set_rules(Face::Cerebras, vec![Rule::from(Fault::Status { code: 500, retry_after: None })]);
    let fails = with(chat("x"), json!({"model": "other"}));
    rig.client.chat(&with(fails, json!({"metadata": {"feature": "failed"}}))).await;
    rig.take_running().stop_without_grace();

    let rows = eventually("all calls are on record", async || {
        let rows = calls(&folder, &[Dimension::Route]);
        rows.iter().any(|(labels, _)| labels[0].contains("failed")).then_some(rows)
    })
    .await;
    let count = |tags: &str, route: &str| {
        rows.iter().find(|(labels, _)| labels[0] == tags && labels[1] == route).map_or(0, |(_, calls)| *calls)
    };
    assert_eq!(count("env=prod,feature=header", "chat"), 1, "{rows:?}");
    assert_eq!(count("env=prod,feature=none", "chat"), 1, "{rows:?}");
    assert_eq!(count("env=test", "chat"), 1, "{rows:?}");
    assert_eq!(count("env=test,feature=ensemble", "ensemble"), 4, "two members, and the judge for each: {rows:?}");
    assert_eq!(count("env=test,feature=batch", "batch"), 3, "{rows:?}");
    assert_eq!(count("env=test,feature=short", "generate"), 1, "{rows:?}");
    assert!(count("env=test,feature=failed", "chat") >= 1, "{rows:?}");
    assert_eq!(rows.iter().filter(|(labels, _)| labels[0].is_empty()).count(), 0, "{rows:?}");

    // Requests have them as well, and the access log.
    let ledger = Connection::open(folder.ledger()).expect("a ledger");
    let requests = |tags: &str| -> i64 {
        ledger.query_row("SELECT count(*) FROM requests WHERE tags = ?1", [tags], |row| row.get(0)).expect("a count")
    };
    assert_eq!((requests("env=test,feature=batch"), requests("env=prod,feature=header")), (3, 1));
    let lines = fs::read_to_string(&log).expect("an access log");
    drop(fs::remove_file(&log));
    assert!(lines.contains(r#""tags":"env=prod,feature=header""#), "{lines}");
}

/// A key in the database has tags of its own. Where the file does not declare one of them any more, its requests go on without it.
#[tokio::test]
async fn a_key_in_the_database_has_tags_as_far_as_they_are_declared() {
    let folder = Folder::new("tags-stored");
    let token = "an-admin-token-of-the-tests";
    let config =
        |config: &str| format!("# No [[keys]].\n{RUNPOD_LB}{CEREBRAS}{BALANCED}{config}{}", folder.storage(""));
    let feature = "\n[[tags]]\nname = \"feature\"\n";
    let both = config(&format!("{feature}\n[[tags]]\nname = \"env\"\n"));
    let mut rig = Launch::new(Settings::instant(), &both).env("LLM_ROUTER_ADMIN_TOKEN", token).start();
    let terms = json!({"tags": {"env": "prod", "feature": "stored"}});
    let body = json!({"id": "web", "team": "search", "terms": terms});
    let made = rig.admin.with_key(token).post("/admin/keys/create", &body).await;
    let key = made.json()["key"].as_str().expect("a key").to_owned();
    assert_eq!(rig.client.with_key(&key).chat(&chat("x")).await.status, 200);
    rig.take_running().stop_without_grace();
    let mut rig = Launch::new(Settings::instant(), &config(feature)).start();
    let served = eventually("the key is known", async || {
        let answer = rig.client.with_key(&key).chat(&chat("x")).await;
        (answer.status == 200).then_some(answer)
    });
    served.await;
    rig.take_running().stop_without_grace();
    let rows = eventually("both calls are on record", async || {
        let rows = calls(&folder, &[]);
        (rows.len() == 2).then_some(rows)
    })
    .await;
    let row = |tags: &str| (vec![tags.to_owned()], 1);
    assert_eq!(rows, [row("env=prod,feature=stored"), row("feature=stored")]);
}

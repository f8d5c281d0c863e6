//! The ledger of a running server: what it says is what the providers, the metrics and the clients say.

use std::{
    fs,
    path::{Path, PathBuf},
};

use e2e::{BALANCED, CEREBRAS, Launch, RUNPOD_LB, chat, eventually, streamed, with};
use emulator::{Face, Fault, Rule, Settings};
use ledger::{Dimension, Location, Query, Spend};
use serde_json::json;

/// A folder that is gone after the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("llm-router-e2e-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.0.join("ledger.db")
    }

    /// The section of the configuration.
    pub(crate) fn storage(&self, more: &str) -> String {
        format!("\n[storage]\nurl = \"sqlite:{}\"\n{more}\n", self.ledger().display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// All that is on record, by these.
pub(crate) fn on_record(ledger: &Path, by: &[Dimension]) -> Vec<Spend> {
    let query = Query { by: by.to_vec(), since_ms: 0, until_ms: i64::MAX / 2, of: Vec::new() };
    ledger::spend(&Location::Sqlite(ledger.to_owned()), &query).expect("a ledger")
}

fn config(folder: &Folder, more: &str) -> String {
    format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}{}", folder.storage(more))
}

#[tokio::test]
async fn a_call_that_failed_and_the_one_after_it_have_a_row_each() {
    let folder = Folder::new("fallback");
    let mut rig = Launch::new(Settings::instant(), &config(&folder, "")).start();
    rig.emulator.set_rules(Face::RunpodLb, vec![Rule::from(Fault::Status { code: 500, retry_after: None })]);
    while rig.client.chat(&chat("hello")).await.header("x-llm-router-attempts") != "2" {}
    let answered = rig.emulator.call_logs();
    rig.take_running().stop_without_grace();
    let rows = eventually("all calls are on record", async || {
        let rows = on_record(&folder.ledger(), &[Dimension::Upstream, Dimension::Role, Dimension::Team]);
        let calls = rows.iter().map(|row| row.calls).sum::<u64>();
        (calls == answered.runpod_lb.received + answered.cerebras.received).then_some(rows)
    })
    .await;
    let of = |upstream: &str, role: &str| {
        let labels = [upstream, role, "test"].map(|label| Some(label.to_owned()));
        rows.iter().find(|row| row.labels == labels).unwrap_or_else(|| panic!("{upstream} {role}: {rows:?}"))
    };
    assert_eq!((of("runpod", "primary").answers, of("cerebras", "fallback").answers), (0, 1));
    assert!(of("cerebras", "fallback").completion_tokens > 0);
}

/// The journal's folder stands for a disk that fails: a file is in its way.
#[tokio::test]
async fn a_router_whose_journal_cannot_be_made_says_so_and_does_not_start() {
    let folder = Folder::new("no-journal");
    fs::write(folder.0.join("ledger.db-journals"), "a file").expect("written");
    let launch = Launch::new(Settings::instant(), &config(&folder, ""));
    let error = server::Running::start(&launch.config("http://127.0.0.1:1"), None).err().expect("refused").to_string();
    assert!(error.contains("the ledger cannot be opened") && error.contains("ledger.db-journals"), "{error}");
}

#[tokio::test]
async fn while_the_journal_is_full_requests_are_refused_or_go_on_as_configured() {
    for (reaction, status) in [("refuse", 503), ("release", 200)] {
        let folder = Folder::new(&format!("full-{reaction}"));
        let more = format!("max_journal_bytes = 1048576\non_journal_failure = \"{reaction}\"");
        let rig = Launch::new(Settings::instant(), &config(&folder, &more)).start();
        // While another process holds the database, the journal fills.
        let holder = rusqlite::Connection::open(folder.ledger()).expect("a ledger");
        holder.execute_batch("BEGIN EXCLUSIVE").expect("locked");
        let text = "word ".repeat(20);
        eventually("the journal is full", async || {
            rig.client.chats(200, 20, |_| chat(&text)).await;
            (rig.metrics().await.value("llmrouter_ledger_not_written_total", &[]) > 0.0).then_some(())
        })
        .await;
        let answer = rig.client.chat(&chat("hello")).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        let metrics = rig.metrics().await;
        if reaction == "refuse" {
            assert_eq!(answer.error_code(), "ledger_unavailable");
            assert!(metrics.value("llmrouter_breaker_state", &[]) < 0.5, "no upstream is blamed");
        } else {
            assert!(metrics.value("llmrouter_ledger_released_total", &[]) > 0.0);
        }
        holder.execute_batch("COMMIT").expect("unlocked");
        eventually("the journal takes entries again", async || {
            let before = rig.metrics().await.value("llmrouter_ledger_not_written_total", &[]);
            let answer = rig.client.chat(&streamed(with(chat("hello"), json!({"max_tokens": 3})))).await;
            let after = rig.metrics().await.value("llmrouter_ledger_not_written_total", &[]);
            (answer.status == 200 && after <= before).then_some(())
        })
        .await;
    }
}

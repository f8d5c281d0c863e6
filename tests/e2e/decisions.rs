//! The decision log: every request that was decided on is a line of a file, for replay and for calibration.

use std::{
    fs,
    path::{Path, PathBuf},
};

use e2e::{BALANCED, CEREBRAS, CLIENT_KEY, Launch, RUNPOD_LB, UPSTREAM_KEY, chat, streamed};
use emulator::{Emulator, Settings};
use serde_json::Value;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("decisions-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        Self(path)
    }

    fn launch(&self) -> Launch {
        let log = format!("[decisions]\nring = 0\nlog_folder = {:?}\n", self.0.to_str().unwrap());
        Launch::new(Settings::instant(), &format!("{log}{RUNPOD_LB}{CEREBRAS}{BALANCED}"))
    }

    fn lines(&self) -> Vec<Value> {
        let mut paths: Vec<_> = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let texts = paths.iter().map(|path| fs::read_to_string(path).unwrap());
        texts
            .flat_map(|text| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>())
            .collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[tokio::test]
async fn a_stop_leaves_a_line_for_every_request_and_none_says_what_was_asked() {
    let folder = Folder::new("lines");
    let mut rig = folder.launch().start();
    for answer in rig.client.chats(30, 3, |_| chat("a secret of ours")).await {
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    for transcript in rig.client.streams(30, 3, |_| streamed(chat("a secret of ours"))).await {
        assert!(transcript.is_done());
    }
    let running = rig.take_running();
    running.stop();
    tokio::task::spawn_blocking(move || running.join()).await.unwrap().unwrap();
    let lines = folder.lines();
    let (head, records) = lines.split_first().unwrap();
    assert_eq!(head["format"], 1);
    assert_eq!(records.len(), 60);
    for record in records {
        assert_eq!((record["outcome"].as_str(), &record["team"]), (Some("served"), &"test".into()), "{record}");
        assert_eq!(record["decision"]["config_version"], head["config_version"], "{record}");
        assert!(record["attempts"][0]["completion_tokens"].as_u64() > Some(0), "{record}");
    }
    let text = lines.iter().map(Value::to_string).collect::<String>();
    for secret in ["a secret of ours", CLIENT_KEY, UPSTREAM_KEY] {
        assert!(!text.contains(secret));
    }
}

#[tokio::test]
async fn what_is_written_is_counted() {
    let folder = Folder::new("counted");
    let rig = folder.launch().start();
    rig.client.chats(7, 1, |_| chat("hello")).await;
    e2e::eventually("all are written", async || {
        let written = rig.metrics().await.value("llmrouter_decision_log_records_total", &[("result", "written")]);
        ((written - 7.0).abs() < 0.1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_to_is_reported_at_the_start() {
    let folder = Folder::new("file");
    fs::write(&folder.0, "a file").unwrap();
    let emulator = Emulator::start(Settings::instant()).unwrap();
    let config = folder.launch().config(&emulator.url());
    let error = server::Running::start(&config, None).err().expect("it does not start").to_string();
    fs::remove_file(&folder.0).unwrap();
    for part in ["the decision log cannot be opened", "decisions-file", "decisions.log_folder"] {
        assert!(error.contains(part), "{error}");
    }
}

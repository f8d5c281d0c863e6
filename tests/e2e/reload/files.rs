//! What a reload reads, and what it leaves alone.

use std::fs;

use e2e::{Launch, chat, eventually};
use emulator::{Emulator, Face, Fault, Settings};
use serde_json::json;

use super::{CEREBRAS, Files, OTHER, change, model, until_reloads};

fn only_cerebras() -> String {
    format!("{CEREBRAS}{}", model("weighted", "{ upstream = \"cerebras\" }"))
}

fn only_other() -> String {
    format!("{OTHER}{}", model("weighted", "{ upstream = \"other\" }"))
}

/// An orchestrator may write the file between its reading and the start of the watch.
#[tokio::test]
async fn a_file_that_changed_while_the_server_started_is_noticed() {
    let emulator = Emulator::start(Settings::instant()).unwrap();
    let files = Files::new("while-starting", &emulator);
    files.write("config.toml", &only_other());
    let was_read = files.text(&only_cerebras(), super::KEY);
    let rig = Launch::new(Settings::default(), &was_read).watched(files.path("config.toml")).start_with(emulator);
    until_reloads(&rig, "success", 0.5).await;
    assert_eq!(rig.client.chat(&chat("hello")).await.provider(), "openai");
}

#[tokio::test]
async fn a_rotated_key_is_taken_in_without_a_change_of_the_file() {
    let mut settings = Settings::instant();
    settings.cerebras.api_key = Some("the-next-key".to_owned());
    let emulator = Emulator::start(settings).unwrap();
    let files = Files::new("rotated", &emulator);
    files.write("config.toml", &only_cerebras());
    let text = files.text(&only_cerebras(), super::KEY);
    let rig = Launch::new(Settings::default(), &text).watched(files.path("config.toml")).start_with(emulator);
    assert_eq!(rig.client.chat(&chat("hello")).await.error_code(), "upstream_auth");
    change(&rig, "success", || fs::write(files.path("key"), "the-next-key\n").unwrap()).await;
    eventually("the new key is sent", async || (rig.client.chat(&chat("hello")).await.status == 200).then_some(()))
        .await;
    // A secret that is wrong changes nothing, and is looked at again when it is mended.
    change(&rig, "failure", || fs::write(files.path("key"), "no \u{1} key").unwrap()).await;
    assert_eq!(rig.client.chat(&chat("hello")).await.status, 200);
    change(&rig, "success", || fs::write(files.path("key"), "the-next-key").unwrap()).await;
}

/// The upstream closes a kept connection when a second request comes on it, and the router repeats that one: two attempts say
/// that the connection was kept.
#[tokio::test]
async fn connections_to_an_upstream_outlive_a_reload() {
    let emulator = Emulator::start(Settings::instant()).unwrap();
    let files = Files::new("connections", &emulator);
    files.write("config.toml", &only_cerebras());
    let text = files.text(&only_cerebras(), super::KEY);
    let rig = Launch::new(Settings::default(), &text).watched(files.path("config.toml")).start_with(emulator);
    rig.emulator.control(Face::Cerebras, Fault::StaleConnection);
    let first = rig.client.chat(&chat("hello")).await;
    assert_eq!((first.status, first.header("x-llm-router-attempts")), (200, "1"));
    change(&rig, "success", || {
        files.write("config.toml", &format!("{}\n[tasks]\nchat = \"llama\"\n", only_cerebras()));
    })
    .await;
    let second = rig.client.chat(&chat("hello")).await;
    assert_eq!((second.status, second.header("x-llm-router-attempts")), (200, "2"), "{}", second.text);
}

#[tokio::test]
async fn aliases_change_with_the_file_and_one_that_leads_nowhere_changes_nothing() {
    let emulator = Emulator::start(Settings::instant()).unwrap();
    let files = Files::new("aliases", &emulator);
    let with = |aliases: &str| format!("{}\n[aliases]\n{aliases}", only_cerebras());
    files.write("config.toml", &with("\"gpt-4o\" = \"llama\"\n"));
    let text = files.text(&with("\"gpt-4o\" = \"llama\"\n"), super::KEY);
    let rig = Launch::new(Settings::default(), &text).watched(files.path("config.toml")).start_with(emulator);
    let statuses = async || {
        let status = async |name: &str| rig.client.chat(&e2e::with(chat("x"), json!({"model": name}))).await.status;
        [status("gpt-4o").await, status("claude-3").await]
    };
    assert_eq!(statuses().await, [200, 404]);
    change(&rig, "success", || files.write("config.toml", &with("\"claude-*\" = \"llama\"\n"))).await;
    assert_eq!(statuses().await, [404, 200]);
    change(&rig, "failure", || files.write("config.toml", &with("\"*\" = \"lama\"\n"))).await;
    assert_eq!(statuses().await, [404, 200]);
}

//! Another configuration comes into force while requests are under way: none of them fails, and one that is wrong changes
//! nothing.

mod files;
mod shares;
mod storm;

use std::{
    cell::Cell,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use e2e::{CLIENT_KEY, Launch, MODEL, Rig, UPSTREAM_KEY, chat, eventually, streamed, with};
use emulator::{Emulator, Face, Fault, Settings};
use futures_util::future::{join, join_all};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

const RUNPOD: &str = r#"
[[upstreams]]
id = "runpod"
provider = "runpod"
endpoint_type = "load_balancer"
base_url = "${EMULATOR}/lb/v1"
api_key_file = "${FOLDER}/key"
model = "meta-llama/Llama-3.1-8B-Instruct"
"#;

const CEREBRAS: &str = r#"
[[upstreams]]
id = "cerebras"
provider = "cerebras"
base_url = "${EMULATOR}/cerebras/v1"
api_key_file = "${FOLDER}/key"
model = "llama3.1-8b"
"#;

/// Slow enough to be under way for the whole of a test.
const LONG: &str = r#"
[[upstreams]]
id = "long"
provider = "runpod"
base_url = "${EMULATOR}/v2/long/openai/v1"
api_key_file = "${FOLDER}/key"
model = "meta-llama/Llama-3.1-8B-Instruct"

[[models]]
name = "long"
strategy = "weighted"
targets = [{ upstream = "long" }]
"#;

const OTHER: &str = r#"
[[upstreams]]
id = "other"
provider = "openai"
base_url = "${EMULATOR}/lb/v1"
api_key_file = "${FOLDER}/key"
model = "meta-llama/Llama-3.1-8B-Instruct"
"#;

/// The SHA-256 of [`CLIENT_KEY`]: the file is read with the environment of this process, which has no keys in it.
const KEY: &str = "35772f339cb7aef33bbae0be438a14b46d56bda32da71269412103048367fa05";
const OTHER_CLIENT_KEY: &str = "sk-test-other";
const OTHER_KEY: &str = "a2702a64e6ba677c16d0d10ecaaf5cac603158ea18941d26ca9dd3b97a8cb8e2";

fn model(strategy: &str, targets: &str) -> String {
    format!("\n[[models]]\nname = {MODEL:?}\nstrategy = {strategy:?}\ntargets = [{targets}]\n")
}

fn shares(strategy: &str, runpod: f64) -> String {
    let cerebras = 1.0 - runpod;
    let targets =
        format!("{{ upstream = \"runpod\", share = {runpod} }}, {{ upstream = \"cerebras\", share = {cerebras} }}");
    model(strategy, &targets)
}

/// A folder with a configuration in it, and what reads it.
struct Files {
    folder: PathBuf,
    emulator: String,
}

impl Files {
    fn new(name: &str, emulator: &Emulator) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("reload-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("key"), UPSTREAM_KEY).unwrap();
        Self { folder, emulator: emulator.url() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn text(&self, sections: &str, key: &str) -> String {
        let common = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\ngrace_s = 0\nworkers = 2\n\
             [log]\nlevel = \"off\"\naccess = \"off\"\n[[keys]]\nid = \"test\"\nteam = \"test\"\nsha256 = {key:?}\n"
        );
        let folder = self.folder.to_str().unwrap();
        format!("{common}{}", sections.replace("${EMULATOR}", &self.emulator).replace("${FOLDER}", folder))
    }

    fn write(&self, name: &str, sections: &str) {
        fs::write(self.path(name), self.text(sections, KEY)).unwrap();
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // What is left lies in the build folder.
        drop(fs::remove_dir_all(&self.folder));
    }
}

fn launch(name: &str, sections: &str) -> (Rig, Files) {
    let mut settings = Settings { speed: 20.0, ..Settings::default() };
    settings.runpod_queue.latency.tokens_per_s = 0.1;
    let emulator = Emulator::start(settings).unwrap();
    let files = Files::new(name, &emulator);
    files.write("config.toml", sections);
    let launch = Launch::new(Settings::default(), &files.text(sections, KEY)).watched(files.path("config.toml"));
    (launch.start_with(emulator), files)
}

/// Makes changes while eight clients ask without a pause; every one of them is answered, whole or streamed.
async fn under_load(rig: &Rig, changes: impl Future<Output = ()>) {
    let over = Cell::new(false);
    let ask = async |number: usize| {
        while !over.get() {
            if number.is_multiple_of(2) {
                let answer = rig.client.chat(&chat("hello")).await;
                assert_eq!(answer.status, 200, "{}", answer.text);
            } else {
                let stream = rig.client.stream(&streamed(chat("hello"))).await;
                assert!(stream.status == 200 && stream.is_done(), "{:?}", stream.events);
            }
        }
    };
    let changes = async {
        changes.await;
        over.set(true);
    };
    join(join_all((0..8).map(ask)), changes).await;
}

async fn reloads(rig: &Rig, result: &str) -> f64 {
    rig.metrics().await.value("llmrouter_config_reloads_total", &[("result", result)])
}

async fn until_reloads(rig: &Rig, result: &str, more_than: f64) {
    eventually(&format!("a reload with {result}"), async || (reloads(rig, result).await > more_than).then_some(()))
        .await;
}

/// Does something to the file and waits until it has been read.
async fn change(rig: &Rig, result: &str, act: impl FnOnce()) {
    let before = reloads(rig, result).await;
    act();
    until_reloads(rig, result, before).await;
}

/// The part of 100 requests that RunPod serves, beside the load: two more or less are the load's.
async fn assert_runpod_serves(rig: &Rig, expected: std::ops::RangeInclusive<usize>) {
    let answers = rig.client.chats(100, 4, |_| chat("hello")).await;
    let runpod = answers.iter().filter(|answer| answer.provider() == "runpod").count();
    assert!(expected.contains(&runpod), "{runpod} of 100 from RunPod, not {expected:?}");
}

#[tokio::test]
async fn changes_come_into_force_without_a_failed_request() {
    let upstreams = format!("{RUNPOD}{CEREBRAS}");
    let (rig, files) = launch("changes", &format!("{upstreams}{LONG}{}", shares("weighted", 1.0)));
    let mut long = rig.client.open(&streamed(with(chat("hello"), json!({"model": "long"})))).await;
    long.first_token().await;
    under_load(&rig, async {
        assert_runpod_serves(&rig, 100..=100).await;
        let write = |sections: &str| files.write("config.toml", sections);

        // Another share; the upstream and the model of the stream that is under way are gone.
        change(&rig, "success", || write(&format!("{upstreams}{}", shares("weighted", 0.0)))).await;
        assert_runpod_serves(&rig, 0..=0).await;
        let gone = rig.client.chat(&with(chat("hello"), json!({"model": "long"}))).await;
        assert_eq!((gone.status, gone.error_code()), (404, "model_not_found".to_owned()));

        // Another strategy.
        change(&rig, "success", || write(&format!("{upstreams}{}", shares("latency", 0.5)))).await;
        assert_eq!(rig.client.chat(&chat("hello")).await.reason(), "fastest");

        // Garbage, and sense that does not hold together: nothing changes.
        change(&rig, "failure", || fs::write(files.path("config.toml"), "[[models]\nthis is no TOML").unwrap()).await;
        assert_eq!(rig.client.chat(&chat("hello")).await.reason(), "fastest");
        change(&rig, "failure", || write(&format!("{CEREBRAS}{}", shares("weighted", 1.0)))).await;
        assert_eq!(rig.client.chat(&chat("hello")).await.reason(), "fastest");

        // A new upstream.
        let other = format!("{OTHER}{}", model("weighted", "{ upstream = \"other\" }"));
        change(&rig, "success", || write(&other)).await;
        assert_eq!(rig.client.chat(&chat("hello")).await.provider(), "openai");
    })
    .await;
    let long = long.rest().await;
    assert!(long.is_done() && long.errors().is_empty(), "the old table serves it to its end: {:?}", long.events);
    let metrics = rig.metrics().await;
    for name in ["llmrouter_upstream_attempts_total", "llmrouter_requests_total"] {
        let counted = metrics.value(name, &[("model", "long"), ("outcome", "ok")]);
        assert!((counted - 1.0).abs() < 0.1, "it is not lost on {name}: {counted}");
    }
}

/// Editors replace a file by another one of the same name; Kubernetes swaps the symbolic link to the folder it is in.
#[tokio::test]
async fn a_file_that_is_replaced_is_noticed() {
    let upstreams = format!("{RUNPOD}{CEREBRAS}");
    let (rig, files) = launch("replaced", &format!("{upstreams}{}", shares("weighted", 1.0)));
    let rename = |from: &str, to: &str| fs::rename(files.path(from), files.path(to)).unwrap();
    under_load(&rig, async {
        change(&rig, "success", || {
            files.write("config.toml.new", &format!("{upstreams}{}", shares("weighted", 0.0)));
            rename("config.toml.new", "config.toml");
        })
        .await;
        assert_runpod_serves(&rig, 0..=0).await;

        change(&rig, "success", || {
            fs::create_dir(files.path("first")).unwrap();
            files.write("first/config.toml", &format!("{upstreams}{}", shares("weighted", 1.0)));
            symlink("first", files.path("data")).unwrap();
            symlink("data/config.toml", files.path("link")).unwrap();
            rename("link", "config.toml");
        })
        .await;
        assert_runpod_serves(&rig, 100..=100).await;

        change(&rig, "success", || {
            fs::create_dir(files.path("second")).unwrap();
            files.write("second/config.toml", &format!("{upstreams}{}", shares("weighted", 0.0)));
            symlink("second", files.path("data.new")).unwrap();
            rename("data.new", "data");
        })
        .await;
        assert_runpod_serves(&rig, 0..=0).await;
    })
    .await;
}

/// A file that has not changed is only read again when someone asks for it.
#[tokio::test]
async fn sighup_reads_the_file_again() {
    // The process' own handler: without any, the signal would end the tests.
    let _handler = signal(SignalKind::hangup()).unwrap();
    let (rig, files) = launch("sighup", &format!("{CEREBRAS}{}", model("weighted", "{ upstream = \"cerebras\" }")));
    // A change that was noticed says that the file is being followed.
    let other = format!("{OTHER}{}", model("weighted", "{ upstream = \"other\" }"));
    change(&rig, "success", || fs::write(files.path("config.toml"), files.text(&other, OTHER_KEY)).unwrap()).await;
    assert_eq!(rig.client.chat(&chat("hello")).await.status, 401, "{CLIENT_KEY} is gone");
    let client = rig.client.with_key(OTHER_CLIENT_KEY);
    assert_eq!(client.chat(&chat("hello")).await.provider(), "openai");
    change(&rig, "success", || {
        let kill = format!("kill -HUP {}", std::process::id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    })
    .await;
    assert_eq!(client.chat(&chat("hello")).await.provider(), "openai");
}

/// A batch may run for an hour; its key may be taken away meanwhile.
#[tokio::test]
async fn a_key_that_is_removed_stops_its_running_batch() {
    let sections = format!("{CEREBRAS}{}", model("weighted", "{ upstream = \"cerebras\" }"));
    let (emulator, limits) = (Emulator::start(Settings::instant()).unwrap(), "limits = { concurrent = 2 }");
    let files = Files::new("batch", &emulator);
    let text = |key: &str| files.text(&sections, key).replace("team = \"test\"", &format!("team = \"test\"\n{limits}"));
    fs::write(files.path("config.toml"), text(KEY)).unwrap();
    let rig = Launch::new(Settings::default(), &text(KEY)).watched(files.path("config.toml")).start_with(emulator);
    rig.emulator.control(Face::Cerebras, Fault::HangBefore);
    let body = json!({"prompts": vec!["hello"; 20], "model": MODEL, "concurrency": 8});
    let request = rig.client.json("/v1/generate/batch", &body).header("accept", "application/x-ndjson");
    let mut lines = request.send().await.unwrap();
    eventually("two entries are under way", async || (rig.call_log(Face::Cerebras).received == 2).then_some(())).await;
    // The same key under other limits is still the same.
    change(&rig, "success", || {
        fs::write(files.path("config.toml"), text(KEY).replace("concurrent = 2", "concurrent = 3")).unwrap();
    })
    .await;
    assert_eq!(rig.client.get("/v1/models").await.status, 200);
    change(&rig, "success", || fs::write(files.path("config.toml"), text(OTHER_KEY)).unwrap()).await;
    // All but those that are under way.
    let mut rest = String::new();
    while rest.matches("\"invalid_api_key\"").count() < 18 {
        rest += &String::from_utf8_lossy(&lines.chunk().await.unwrap().expect("a line"));
    }
    assert_eq!(rig.call_log(Face::Cerebras).received, 2);
}

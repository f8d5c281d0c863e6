//! Where answers carry reasoning: as the upstream has it, or under both of its names.

use e2e::{CEREBRAS, Rig, chat, streamed, with};
use emulator::Settings;
use serde_json::{Value, json};

const MODELS: &str = r#"
[[models]]
name = "as-it-comes"
strategy = "weighted"
targets = [{ upstream = "cerebras" }]

[[models]]
name = "both"
strategy = "weighted"
reasoning_field = "both"
targets = [{ upstream = "cerebras" }]
"#;

fn named(name: &str) -> Value {
    with(chat("hello"), json!({"model": name}))
}

/// What a whole answer and a stream say under the two names.
async fn told(rig: &Rig, name: &str) -> [[String; 2]; 2] {
    const NAMES: [&str; 2] = ["reasoning", "reasoning_content"];
    let whole = rig.client.chat(&named(name)).await.json();
    let stream = rig.client.stream(&streamed(named(name))).await;
    assert!(stream.is_done(), "{:?}", stream.events);
    let of_whole = NAMES.map(|field| whole["choices"][0]["message"][field].as_str().unwrap_or_default().to_owned());
    let of_stream = NAMES.map(|field| {
        let delta = |chunk: Value| chunk["choices"][0]["delta"][field].as_str().unwrap_or_default().to_owned();
        stream.parsed().map(delta).collect::<String>()
    });
    [of_whole, of_stream]
}

#[tokio::test]
async fn reasoning_is_where_the_upstream_has_it_or_under_both_names() {
    let upstream = CEREBRAS.replace("llama3.1-8b", "gpt-oss-120b");
    let rig = Rig::start(Settings::instant(), &format!("{upstream}{MODELS}"));
    for [new, old] in told(&rig, "as-it-comes").await {
        assert!(!new.is_empty() && old.is_empty(), "{new:?} {old:?}");
    }
    for [new, old] in told(&rig, "both").await {
        assert!(!new.is_empty() && new == old, "{new:?} {old:?}");
    }
}

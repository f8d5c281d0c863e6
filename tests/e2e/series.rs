//! How many series there are depends on the configuration, never on what clients send.

use std::fmt::Write;

use e2e::{Launch, Rig, chat, streamed, with};
use emulator::Settings;
use futures_util::{StreamExt, stream};
use serde_json::json;

/// Four upstreams of two providers, ten models over all of them, thirty teams with a key each.
fn large() -> String {
    let mut text = String::new();
    for (id, provider, path, model) in [
        ("runpod-a", "runpod", "lb/v1", "meta-llama/Llama-3.1-8B-Instruct"),
        ("runpod-b", "runpod", "v2/b/openai/v1", "meta-llama/Llama-3.1-8B-Instruct"),
        ("cerebras-a", "cerebras", "cerebras/v1", "llama3.1-8b"),
        ("cerebras-b", "cerebras", "cerebras/v1", "gpt-oss-120b"),
    ] {
        let cost = "{ kind = \"tokens\", input_usd_per_million = \"0.1\", output_usd_per_million = \"0.2\" }";
        writeln!(
            text,
            "[[upstreams]]\nid = \"{id}\"\nprovider = \"{provider}\"\nbase_url = \"${{EMULATOR}}/{path}\"\n\
             api_key_env = \"UPSTREAM_KEY\"\nmodel = \"{model}\"\ncost = {cost}"
        )
        .unwrap();
    }
    for model in 0..10 {
        let targets =
            ["runpod-a", "runpod-b", "cerebras-a", "cerebras-b"].map(|id| format!("{{ upstream = \"{id}\" }}"));
        let strategy = ["balanced", "weighted", "cost", "latency"][model % 4];
        writeln!(
            text,
            "[[models]]\nname = \"model-{model}\"\nstrategy = \"{strategy}\"\nbaseline = \"cerebras-a\"\ntargets = [{}]",
            targets.join(", ")
        )
        .unwrap();
    }
    for team in 0..30 {
        writeln!(text, "[[keys]]\nid = \"key-{team}\"\nteam = \"team-{team}\"\nenv = \"KEY_{team}\"").unwrap();
    }
    text
}

fn key(team: usize) -> String {
    format!("sk-team-{team}")
}

fn launch() -> Rig {
    let launch = Launch::new(Settings::instant(), &large());
    let launch = (0..30).fold(launch, |launch, team| launch.env(&format!("KEY_{team}"), &key(team)));
    launch.start()
}

/// Asks every model under every key.
async fn use_everything(rig: &Rig) {
    for team in 0..30 {
        let client = rig.client.with_key(&key(team));
        let answers = client.chats(10, 10, |number| {
            let body = with(chat("hello"), json!({"model": format!("model-{number}")}));
            if team % 2 == 0 { streamed(body) } else { body }
        });
        assert!(answers.await.iter().all(|answer| answer.status == 200));
    }
}

#[tokio::test]
async fn a_large_configuration_has_fewer_than_five_thousand() {
    let rig = launch();
    let before = rig.metrics().await.series();
    use_everything(&rig).await;
    rig.until_idle().await;
    let metrics = rig.metrics().await;
    let (all, teams) = (metrics.series(), 30 * 4);
    assert!(all < 5_000, "{all} series");
    assert!(all <= before + teams + 50, "what is configured has its series from the start: {before}, then {all}");
}

#[tokio::test]
async fn ten_thousand_unknown_names_and_keys_add_none() {
    let rig = launch();
    let unknown = |number: usize| with(chat("hello"), json!({"model": format!("no-such-model-{number}")}));
    // The first of each kind makes the series that all of them share, and those of its team.
    for team in 0..30 {
        rig.client.with_key(&key(team)).chat(&unknown(0)).await;
    }
    // After thirty, wrong keys from one address are refused in another way.
    for _ in 0..31 {
        rig.client.with_key("sk-no-such-key").chat(&unknown(0)).await;
    }
    let before = rig.metrics().await.series();
    let asked = stream::iter(0..10_000_usize).map(|number| {
        let key = if number % 2 == 0 { key(number % 30) } else { format!("sk-{number}") };
        let client = rig.client.with_key(&key);
        async move { client.chat(&unknown(number)).await.status }
    });
    let statuses: Vec<u16> = asked.buffer_unordered(32).collect().await;
    assert_eq!(statuses.iter().filter(|status| **status == 404).count(), 5_000);
    assert_eq!(statuses.iter().filter(|status| matches!(status, 401 | 429)).count(), 5_000);
    assert_eq!(rig.metrics().await.series(), before);
}

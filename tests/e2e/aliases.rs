//! Aliases: other names for models, tasks and ensembles, in every call.

use std::fs;

use e2e::{Answer, BALANCED, CEREBRAS, CLIENT_KEY, Launch, RUNPOD_LB, Rig, chat, eventually, streamed, with};
use emulator::{Face, Settings};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::on_record::Folder;

const ALIASES: &str = r#"
[[models]]
name = "small"
strategy = "weighted"
targets = [{ upstream = "cerebras" }]

[[ensembles]]
name = "ensemble/two"
members = ["llama", "small"]
pick = { kind = "longest" }

[tasks]
code = "small"

[aliases]
"gpt-4o" = "llama"
"gpt-4o*" = "small"
"coder" = "task/code"
"claude-*" = "llama"
"claude-haiku-*" = "small"
"claude-opus-*" = "ensemble/two"
"#;

/// The keys beside the one that may use everything.
const KEYS: &str = r#"
[[keys]]
id = "test"
team = "test"
env = "CLIENT_KEY"
direct = true
limits = { concurrent = 1000 }

[[keys]]
id = "small"
team = "few"
env = "SMALL"
models = ["small"]

[[keys]]
id = "alias"
team = "few"
env = "ALIAS"
models = ["gpt-4o", "claude-haiku-*"]
"#;

fn launch(more: &str) -> Launch {
    let config = format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}{ALIASES}{more}{KEYS}");
    Launch::new(Settings::instant(), &config).env("SMALL", "sk-small").env("ALIAS", "sk-alias")
}

fn named(name: &str) -> Value {
    with(chat("hello"), json!({"model": name}))
}

async fn explained(rig: &Rig, name: &str) -> Value {
    let answer = rig.client.post("/v1/route/explain", &named(name)).await;
    assert_eq!(answer.status, 200, "{name}: {}", answer.text);
    answer.json()
}

#[tokio::test]
async fn every_call_takes_an_alias_and_is_the_models() {
    let embeds = RUNPOD_LB
        .replace("id = \"runpod\"", "id = \"embeds\"")
        .replace("meta-llama/Llama-3.1-8B-Instruct", "BAAI/bge-small");
    let more = format!(
        "\"text-embedding-*\" = \"bge\"\n{embeds}supports = [\"embeddings\"]\n[[models]]\nname = \"bge\"\nstrategy = \"weighted\"\n\
         targets = [{{ upstream = \"embeds\" }}]\n"
    );
    let rig = launch(&more).start();
    let name = "claude-sonnet-4-5";
    assert_eq!(rig.client.chat(&named(name)).await.status, 200);
    assert!(rig.client.stream(&streamed(named(name))).await.is_done());
    let prompt = json!({"prompt": "hello", "model": name});
    for (path, body) in [
        ("/v1/completions", prompt.clone()),
        ("/v1/generate", prompt.clone()),
        ("/v1/generate/stream", prompt),
        ("/v1/chat/stream", named(name)),
        ("/v1/embeddings", json!({"input": "hello", "model": "text-embedding-3-small"})),
    ] {
        let answer = rig.client.post(path, &body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    }
    let entries = json!({"requests": [{"prompt": "a"}, {"prompt": "b", "model": "gpt-4o-mini"}], "model": name});
    let batch = rig.client.post("/v1/generate/batch", &entries).await.json();
    assert_eq!(
        (&batch["succeeded"], &batch["results"][0]["model"], &batch["results"][1]["model"]),
        (&json!(2), &json!("llama"), &json!("small")),
        "{batch}"
    );

    rig.until_idle().await;
    let metrics = rig.admin.get("/metrics").await.text;
    assert!(metrics.contains("model=\"llama\"") && metrics.contains("model=\"bge\""), "{metrics}");
    for told in ["claude", "text-embedding", "gpt-4o"] {
        assert!(!metrics.contains(told), "a client's text is no label: {told}");
    }
}

#[tokio::test]
async fn a_models_own_name_wins_then_the_alias_of_this_name_then_the_longest_pattern_then_the_default() {
    let rig = launch("\"*\" = \"small\"\n\"llama*\" = \"small\"\n").start();
    for (name, model) in [
        ("llama", "llama"),
        ("llama-2", "small"),
        ("gpt-4o", "llama"),
        ("gpt-4o-mini", "small"),
        ("coder", "small"),
        ("claude-3", "llama"),
        ("claude-haiku-4-5", "small"),
        ("whatever", "small"),
        ("vendor/whatever", "small"),
    ] {
        let decision = explained(&rig, name).await;
        assert_eq!(decision["model"], model, "{name}");
        assert_eq!(decision["requested"].as_str(), (name != model).then_some(name), "{name}");
    }
    // Names of tasks, ensembles and upstreams mean these, and so does the header.
    for (name, code) in [
        ("task/poetry", "task_not_found"),
        ("ensemble/three", "ensemble_not_found"),
        ("cerebras/nothing", "model_not_found"),
    ] {
        let answer = rig.client.chat(&named(name)).await;
        assert_eq!((answer.status, answer.error_code().as_str()), (404, code), "{name}: {}", answer.text);
    }
    let task = rig.client.json("/v1/chat/completions", &named("gpt-4o")).header("x-llm-router-task", "poetry");
    assert_eq!(Answer::of(task).await.error_code(), "task_not_found");
    let direct = rig.client.chat(&named("cerebras/llama")).await;
    assert_eq!((direct.status, direct.reason()), (200, "direct"));
    for odd in ["two words", &"m".repeat(129), "gpt-4ö"] {
        assert_eq!(rig.client.chat(&named(odd)).await.error_code(), "model_not_found", "{odd}");
    }
}

#[tokio::test]
async fn without_a_default_a_misspelt_name_is_refused() {
    let rig = launch("").start();
    for name in ["lama", "claude", "gpt-4", "GPT-4o", "*", "claude"] {
        let answer = rig.client.chat(&named(name)).await;
        assert_eq!((answer.status, answer.error_code().as_str()), (404, "model_not_found"), "{name}");
    }
    assert_eq!(rig.call_log(Face::Cerebras).received + rig.call_log(Face::RunpodLb).received, 0);
}

#[tokio::test]
async fn an_ensemble_answers_chats_by_its_alias_and_nothing_else() {
    let rig = launch("").start();
    let name = "claude-opus-4-5";
    let answer = rig.client.chat(&named(name)).await;
    assert_eq!((answer.status, &answer.json()["ensemble"]["name"]), (200, &json!("ensemble/two")), "{}", answer.text);
    for (path, body) in [
        ("/v1/completions", json!({"model": name, "prompt": "x"})),
        ("/v1/embeddings", json!({"model": name, "input": "x"})),
        ("/v1/route/explain", named(name)),
    ] {
        let refused = rig.client.post(path, &body).await;
        assert_eq!((refused.status, refused.error_code().as_str()), (400, "unsupported"), "{path}: {}", refused.text);
        assert!(refused.error_message().contains("ensemble/two"), "{}", refused.text);
    }
}

/// A key may use the aliases of what it may use, and those that it is given by name.
#[tokio::test]
async fn what_a_key_may_not_use_does_not_exist_for_it() {
    let rig = launch("").start();
    let (small, alias) = (rig.client.with_key("sk-small"), rig.client.with_key("sk-alias"));
    for (client, name, status) in [
        (&small, "claude-haiku-4-5", 200),
        (&small, "gpt-4o-mini", 200),
        (&small, "coder", 200),
        (&small, "claude-sonnet-4-5", 404),
        (&small, "claude-opus-4-5", 404),
        // The alias of this name is not there for it, and the pattern is.
        (&small, "gpt-4o", 200),
        (&alias, "gpt-4o", 200),
        (&alias, "claude-haiku-4-5", 200),
        (&alias, "gpt-4o-mini", 404),
        (&alias, "llama", 404),
        (&alias, "small", 404),
        (&alias, "coder", 404),
    ] {
        let answer = client.chat(&named(name)).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text);
        let batch = client.post("/v1/generate/batch", &json!({"prompts": ["a"], "model": name})).await.json();
        assert_eq!(batch["succeeded"] == 1, status == 200, "{name}: {batch}");
        let shown = client.get(&format!("/v1/models/{name}")).await;
        assert_eq!(shown.status, status, "{name}: {}", shown.text);
    }
    // With a default, a model that a key may not use is like any other name to it.
    let rig = launch("\"*\" = \"small\"\n").start();
    let small = rig.client.with_key("sk-small");
    for name in ["llama", "nothing", "runpod/llama"] {
        let answer = small.chat(&named(name)).await;
        assert_eq!((answer.status, answer.provider()), (200, "cerebras"), "{name}: {}", answer.text);
    }
    let alias = rig.client.with_key("sk-alias").chat(&named("llama")).await;
    assert_eq!(alias.status, 404, "{}", alias.text);
}

#[tokio::test]
async fn models_are_listed_with_their_aliases_and_patterns_answer_for_single_names() {
    let rig = launch("").start();
    let list = |answer: Answer| -> Vec<(String, Option<String>)> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let list = answer.json()["data"].as_array().cloned().unwrap_or_default();
        list.iter().map(|model| (text(&model["id"]).unwrap_or_default(), text(&model["alias_of"]))).collect()
    };
    let plain = |name: &str| (name.to_owned(), None);
    let alias = |name: &str, of: &str| (name.to_owned(), Some(of.to_owned()));
    let all = list(rig.client.get("/v1/models").await);
    let aliases = [alias("coder", "task/code"), alias("gpt-4o", "llama")];
    assert_eq!(
        all,
        [vec![plain("llama"), plain("small"), plain("task/code"), plain("ensemble/two")], aliases.to_vec()].concat()
    );
    let few = list(rig.client.with_key("sk-small").get("/v1/models").await);
    assert_eq!(few, [plain("small"), plain("task/code"), alias("coder", "task/code")]);
    // What it stands for is not told to a key that may use the alias alone.
    let given = list(rig.client.with_key("sk-alias").get("/v1/models").await);
    assert_eq!(given, [plain("gpt-4o")]);

    let shown = rig.client.get("/v1/models/claude-sonnet-4-5-20250929").await;
    let entry = json!({
        "id": "claude-sonnet-4-5-20250929", "object": "model", "created": 0, "owned_by": "llm-router", "alias_of": "llama",
    });
    assert_eq!((shown.status, shown.json()), (200, entry));
    for nothing in ["gpt-5", "claude", "task/poetry", "cerebras/nothing"] {
        assert_eq!(rig.client.get(&format!("/v1/models/{nothing}")).await.status, 404, "{nothing}");
    }
}

/// The limit of a model counts what comes by its aliases; the refusal names the model in metrics.
#[tokio::test]
async fn limits_are_those_of_the_model() {
    let limited = BALANCED.replace("strategy =", "limits = { requests_per_minute = 2, burst = 2 }\nstrategy =");
    let config = format!("{RUNPOD_LB}{CEREBRAS}{limited}{ALIASES}{KEYS}");
    let rig = Launch::new(Settings::instant(), &config).env("SMALL", "sk-small").env("ALIAS", "sk-alias").start();
    let mut statuses = Vec::new();
    for name in ["gpt-4o", "claude-3", "claude-3", "gpt-4o", "llama"] {
        statuses.push(rig.client.chat(&named(name)).await.status);
    }
    assert_eq!(statuses, [200, 200, 429, 429, 429]);
    assert_eq!(rig.client.chat(&named("gpt-4o-mini")).await.status, 200, "another model");
}

#[tokio::test]
async fn both_names_are_on_record_in_the_access_log_and_in_decisions() {
    let folder = Folder::new("aliases");
    let log = std::env::temp_dir().join(format!("llm-router-aliases-{}.log", std::process::id()));
    let token = "an-admin-token-of-the-tests";
    let launch = launch(&folder.storage("")).env("LLM_ROUTER__LOG__ACCESS", log.to_str().expect("UTF-8"));
    let mut rig = launch.env("LLM_ROUTER_ADMIN_TOKEN", token).start();
    for name in ["claude-sonnet-4-5", "llama", "coder", "task/code", "cerebras/small", "claude-opus-4-5"] {
        assert_eq!(rig.client.with_key(CLIENT_KEY).chat(&named(name)).await.status, 200, "{name}");
    }
    let batch = json!({"prompts": ["a"], "model": "gpt-4o"});
    assert_eq!(rig.client.post("/v1/generate/batch", &batch).await.json()["succeeded"], 1);
    let decisions = eventually("all decisions are noted", async || {
        let answer = rig.admin.with_key(token).get("/admin/decisions").await.json();
        let list = answer["decisions"].as_array().cloned().unwrap_or_default();
        (list.len() == 8).then_some(list)
    })
    .await;
    let names = |requested: &str| decisions.iter().filter(|it| it["requested"] == requested).count();
    assert_eq!((names("claude-sonnet-4-5"), names("claude-opus-4-5"), names("task/code")), (1, 2, 1), "{decisions:?}");
    rig.take_running().stop_without_grace();

    let rows = |ledger: &Connection, table: &str| -> Option<Vec<(String, Option<String>)>> {
        let sql = format!("SELECT model, requested FROM {table} ORDER BY requested, model");
        let mut statement = ledger.prepare(&sql).ok()?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).ok()?;
        rows.collect::<Result<_, _>>().ok()
    };
    let row = |model: &str, requested: Option<&str>| (model.to_owned(), requested.map(str::to_owned));
    let expected = [
        row("llama", None),
        row("small", Some("cerebras/small")),
        row("llama", Some("claude-opus-4-5")),
        row("small", Some("claude-opus-4-5")),
        row("llama", Some("claude-sonnet-4-5")),
        row("small", Some("coder")),
        row("llama", Some("gpt-4o")),
        row("small", Some("task/code")),
    ];
    let ledger = Connection::open(folder.ledger()).expect("a ledger");
    for table in ["attempts", "requests"] {
        eventually(&format!("{table} have both names"), async || rows(&ledger, table).filter(|rows| *rows == expected))
            .await;
    }
    // A thread writes it.
    let lines = eventually("all lines are written", async || {
        let lines = fs::read_to_string(&log).unwrap_or_default();
        (lines.lines().count() == expected.len()).then_some(lines)
    })
    .await;
    drop(fs::remove_file(&log));
    assert!(lines.contains(r#""model":"llama","requested":"claude-sonnet-4-5""#), "{lines}");
    assert_eq!(
        lines.lines().filter(|line| !line.contains("\"requested\"")).count(),
        1,
        "the model's own name once: {lines}"
    );
}

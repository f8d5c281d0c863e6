//! Keys in the database: made, rotated and disabled while the router runs, and never shown.

use std::collections::HashMap;

use e2e::{Answer, BALANCED, CEREBRAS, CLIENT_KEY, Launch, RUNPOD_LB, Rig, chat, eventually, only, with};
use emulator::{Face, Fault, Settings};
use futures_util::future::join;
use serde_json::{Value, json};

use crate::on_record::Folder;

const TOKEN: &str = "an-admin-token-of-the-tests";
/// Without a key in the file.
fn launch(folder: &Folder) -> Launch {
    let config = format!("# No [[keys]].\n{RUNPOD_LB}{CEREBRAS}{BALANCED}{}", folder.storage(""));
    Launch::new(Settings::instant(), &config).env("LLM_ROUTER_ADMIN_TOKEN", TOKEN)
}

async fn admin(rig: &Rig, path: &str, body: Value) -> Answer {
    rig.admin.with_key(TOKEN).post(path, &body).await
}

async fn create(rig: &Rig, body: Value) -> String {
    let answer = admin(rig, "/admin/keys/create", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let key = answer.json()["key"].as_str().expect("a secret").to_owned();
    assert!(key.starts_with("sk-lr-") && key.len() == 70, "256 bits: {key}");
    key
}

/// The status that a key gets. A change is in force once its maker is answered.
async fn status(rig: &Rig, key: &str) -> u16 {
    let answer = rig.client.with_key(key).chat(&chat("hello")).await;
    // Who sends many wrong keys is slowed.
    if answer.error_code() == "too_many_wrong_keys" { 401 } else { answer.status }
}

#[tokio::test]
async fn a_key_is_made_used_rotated_and_disabled_while_the_router_runs() {
    let folder = Folder::new("keys");
    let mut rig = launch(&folder).start();
    assert_eq!(rig.client.with_key(CLIENT_KEY).chat(&chat("x")).await.status, 401, "there is no key yet");
    let key = create(&rig, json!({"id": "web", "team": "search", "terms": {"models": ["llama"]}})).await;
    assert_eq!(status(&rig, &key).await, 200);
    let direct = rig.client.with_key(&key).chat(&with(chat("x"), json!({"model": "runpod/llama"}))).await;
    assert_eq!(direct.error_code(), "direct_not_allowed");
    let by_strategy = async || {
        let request = rig.client.with_key(&key).json("/v1/chat/completions", &chat("x"));
        Answer::of(request.header("x-llm-router-strategy", "cost")).await
    };
    assert_eq!(by_strategy().await.error_code(), "wish_not_allowed");
    let terms = json!({"models": ["llama"], "may_wish": ["strategy"]});
    assert_eq!(admin(&rig, "/admin/keys/terms", json!({"id": "web", "terms": terms})).await.status, 200);
    assert_eq!(by_strategy().await.status, 200);

    let rotated = admin(&rig, "/admin/keys/rotate", json!({"id": "web", "overlap_hours": 1})).await;
    let second = rotated.json()["key"].as_str().expect("a secret").to_owned();
    assert_eq!(status(&rig, &second).await, 200);
    assert_eq!(rig.client.with_key(&key).chat(&chat("x")).await.status, 200, "for an hour");
    assert_eq!(admin(&rig, "/admin/keys/rotate", json!({"id": "web", "overlap_hours": 0})).await.status, 200);
    assert_eq!(status(&rig, &second).await, 401);
    let third = create(&rig, json!({"id": "app", "team": "search"})).await;
    assert_eq!(status(&rig, &third).await, 200);
    assert_eq!(admin(&rig, "/admin/keys/disable", json!({"id": "app"})).await.status, 200);
    assert_eq!(status(&rig, &third).await, 401);
    assert_eq!(admin(&rig, "/admin/keys/enable", json!({"id": "app"})).await.status, 200);
    assert_eq!(status(&rig, &third).await, 200);
    let nothing = json!({"id": "app", "terms": {"models": ["nothing"]}});
    assert_eq!(admin(&rig, "/admin/keys/terms", nothing).await.status, 422, "there is no such name");
    let direct = json!({"id": "app", "terms": {"direct": true}});
    assert_eq!(admin(&rig, "/admin/keys/terms", direct).await.status, 200);
    let named = with(chat("x"), json!({"model": "runpod/llama"}));
    assert_eq!(rig.client.with_key(&third).chat(&named).await.status, 200);

    let listed = rig.admin.with_key(TOKEN).get("/admin/keys").await.json();
    assert_eq!(listed["keys"][1]["id"], "web", "{listed}");
    let audit = rig.admin.with_key(TOKEN).get("/admin/audit").await.text;
    for (secret, what) in [(&key, "the first"), (&second, "the second"), (&third, "the third")] {
        let bare = secret.trim_start_matches("sk-lr-");
        assert!(!audit.contains(bare) && !listed.to_string().contains(bare), "{what} is shown");
        let file = std::fs::read(folder.ledger()).expect("a database");
        assert!(!file.windows(bare.len()).any(|window| window == bare.as_bytes()), "{what} is in the database");
    }
    // The next process knows them from the start.
    rig.take_running().stop_without_grace();
    let rig = launch(&folder).start();
    assert_eq!(rig.client.with_key(&third).chat(&named).await.status, 200);
}

#[tokio::test]
async fn a_key_that_is_disabled_stops_its_running_batch() {
    let folder = Folder::new("keys-batch");
    let rig = launch(&folder).start();
    let key = create(&rig, json!({"id": "web", "team": "search", "terms": {"limits": {"concurrent": 1}}})).await;
    assert_eq!(status(&rig, &key).await, 200);
    for face in [Face::RunpodLb, Face::Cerebras] {
        rig.emulator.control(face, Fault::HangBefore);
    }
    let body = json!({"model": "llama", "prompts": vec!["hello"; 20], "concurrency": 8});
    let request = rig.client.with_key(&key).json("/v1/generate/batch", &body);
    let mut lines = request.header("accept", "application/x-ndjson").send().await.expect("a head");
    let received = || rig.call_log(Face::RunpodLb).received + rig.call_log(Face::Cerebras).received;
    let before = eventually("an entry is under way", async || Some(received()).filter(|received| *received > 1)).await;
    assert_eq!(admin(&rig, "/admin/keys/disable", json!({"id": "web"})).await.status, 200);
    // All but the one that is under way.
    let mut rest = String::new();
    while rest.matches("\"invalid_api_key\"").count() < 19 {
        rest += &String::from_utf8_lossy(&lines.chunk().await.expect("no error").expect("a line"));
    }
    assert!(received() <= before + 1, "the call under way may have moved on, and no other was made");
}

/// A batch's headers hold for entries that begin long after it was let in.
#[tokio::test]
async fn a_running_batch_loses_what_its_key_may_no_longer_wish() {
    let folder = Folder::new("keys-batch-wishes");
    let tags = "\n[[tags]]\nname = \"feature\"\n";
    let config = format!("# No [[keys]].\n{RUNPOD_LB}{}{tags}{}", only("runpod"), folder.storage(""));
    let mut settings = Settings::default();
    settings.runpod_lb.latency.first_token_ms = 1_000.0;
    let rig = Launch::new(settings, &config).env("LLM_ROUTER_ADMIN_TOKEN", TOKEN).start();
    let terms = |wishes: Value| json!({"limits": {"concurrent": 1}, "may_wish": wishes});
    let all = json!(["strategy", "deadline", "max_cost", "no_fallback", "tags"]);
    let key = create(&rig, json!({"id": "web", "team": "search", "terms": terms(all.clone())})).await;
    for (header, value) in [("x-llm-router-strategy", "cost"), ("x-llm-router-tags", "feature=a")] {
        assert_eq!(
            admin(&rig, "/admin/keys/terms", json!({"id": "web", "terms": terms(all.clone())})).await.status,
            200
        );
        let before = rig.call_log(Face::RunpodLb).received;
        let body = json!({"model": "llama", "prompts": ["a", "b", "c"]});
        let request = rig.client.with_key(&key).json("/v1/generate/batch", &body).header(header, value);
        let withdraws = async {
            eventually("the first has begun", async || (rig.call_log(Face::RunpodLb).received > before).then_some(()))
                .await;
            let changed = json!({"id": "web", "terms": terms(json!(["deadline"]))});
            assert_eq!(admin(&rig, "/admin/keys/terms", changed).await.status, 200);
        };
        let (answer, ()) = join(Answer::of(request), withdraws).await;
        let answer = answer.json();
        let results = answer["results"].as_array().expect("results");
        assert_eq!((&answer["succeeded"], results.len()), (&json!(1), 3), "{header}: {answer}");
        for error in results.iter().map(|result| &result["error"]).filter(|error| !error.is_null()) {
            assert_eq!((&error["code"], &error["param"]), (&json!("wish_not_allowed"), &json!(header)), "{answer}");
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_key_is_said() {
    let folder = Folder::new("keys-wrong");
    let rig = launch(&folder).start();
    create(&rig, json!({"id": "web", "team": "search"})).await;
    let cases = [
        ("/admin/keys/create", json!({"id": "web", "team": "search"}), 409, "take another name"),
        ("/admin/keys/create", json!({"id": "a b", "team": "search"}), 422, "is no name"),
        (
            "/admin/keys/create",
            json!({"id": "b", "team": "s", "terms": {"limit": {}}}),
            422,
            "did you mean \\\"limits\\\"",
        ),
        ("/admin/keys/create", json!({"id": "b"}), 400, "missing field `team`"),
        ("/admin/keys/create", json!({"id": "b", "team": "s", "key": "x"}), 400, "unknown field `key`"),
        (
            "/admin/keys/create",
            json!({"id": "b", "team": "s", "terms": {"budgets": [{"usd": "1", "per": "day"}]}}),
            422,
            "needs the price of every upstream",
        ),
        (
            "/admin/keys/create",
            json!({"id": "b", "team": "s", "terms": {"tags": {"env": "prod"}}}),
            422,
            "the tag \\\"env\\\" is not declared: no tags are",
        ),
        ("/admin/keys/rotate", json!({"id": "nobody"}), 404, "there is no key \\\"nobody\\\" here"),
        ("/admin/teams/terms", json!({"id": "s", "terms": {"direct": true}}), 422, "unknown key"),
    ];
    for (path, body, status, says) in cases {
        let answer = admin(&rig, path, body.clone()).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text);
        assert!(answer.text.contains(says), "{path} {body}: {}", answer.text);
    }
    let without = Launch::new(Settings::instant(), &format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}"));
    let rig = without.env("LLM_ROUTER_ADMIN_TOKEN", TOKEN).start();
    let answer = rig.admin.with_key(TOKEN).get("/admin/keys").await;
    assert_eq!((answer.status, answer.error_code().as_str()), (409, "no_stored_keys"));
}

/// The limits of a team in the database hold for keys of the file as well, and its budget is known at once.
#[tokio::test]
async fn a_team_gets_its_limits_while_the_router_runs() {
    let folder = Folder::new("teams");
    let priced = |text: &str| {
        format!("{text}cost = {{ kind = \"tokens\", input_usd_per_million = \"1\", output_usd_per_million = \"1\" }}\n")
    };
    let config = format!("{}{}{BALANCED}{}", priced(RUNPOD_LB), priced(CEREBRAS), folder.storage(""));
    let rig = Launch::new(Settings::instant(), &config).env("LLM_ROUTER_ADMIN_TOKEN", TOKEN).start();
    assert_eq!(rig.client.chat(&chat("x")).await.status, 200);
    let terms = json!({"budgets": [{"usd": "0.000001", "per": "day"}]});
    assert_eq!(admin(&rig, "/admin/teams/terms", json!({"id": "test", "terms": terms})).await.status, 200);
    // What was spent before is asked of the ledger meanwhile.
    eventually("the budget is used up", async || (status(&rig, CLIENT_KEY).await == 429).then_some(())).await;
    let budgets = rig.admin.with_key(TOKEN).get("/admin/budgets").await.json();
    let budget: HashMap<String, Value> = serde_json::from_value(budgets["budgets"][0].clone()).expect("a budget");
    assert_eq!((budget["scope"].as_str(), budget["limit_usd"].as_str()), (Some("team"), Some("0.000001000")));
    assert_ne!(budget["spent_usd"], "0.000000000", "what was spent before the budget counts: {budget:?}");

    let in_file = admin(&rig, "/admin/keys/create", json!({"id": "test", "team": "other"})).await;
    assert_eq!((in_file.status, in_file.error_code().as_str()), (409, "key_exists"), "the file has one of that name");
    // A budget that both secrets of a key share is no reason to refuse either.
    let terms = json!({"budgets": [{"usd": "1", "per": "day"}]});
    let first = create(&rig, json!({"id": "web", "team": "other", "terms": terms})).await;
    eventually("what it spent is known", async || (status(&rig, &first).await == 200).then_some(())).await;
    let rotated = admin(&rig, "/admin/keys/rotate", json!({"id": "web"})).await.json();
    let second = rotated["key"].as_str().expect("a secret");
    assert_eq!((status(&rig, &first).await, status(&rig, second).await), (200, 200));
}

//! `GET /v1/models`.

use e2e::{CEREBRAS, Launch, RUNPOD_LB};
use emulator::Settings;
use serde_json::json;

use crate::common::Refusal;

#[tokio::test]
async fn models_are_listed_and_shown_by_their_public_names() {
    let names = ["llama", "meta-llama/Llama-3.1-8B", "a/b/c", "odd%name+x?y#z"];
    let model = |name: &str| {
        format!("\n[[models]]\nname = {name:?}\nstrategy = \"weighted\"\ntargets = [{{ upstream = \"runpod\" }}]\n")
    };
    let models = names.map(model).concat();
    let rig = Launch::new(Settings::instant(), &format!("{RUNPOD_LB}{CEREBRAS}{models}")).start();
    let list = rig.client.get("/v1/models").await;
    assert_eq!(list.status, 200);
    assert_eq!(list.json()["object"], "list");
    let entry = |name: &str| json!({"id": name, "object": "model", "created": 0, "owned_by": "llm-router"});
    let mut listed: Vec<_> = list.json()["data"].as_array().cloned().unwrap();
    listed.sort_by_key(|model| names.iter().position(|name| model["id"] == *name));
    assert_eq!(listed, names.map(entry));
    let paths = [
        ("llama", "llama"),
        ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
        ("meta-llama%2FLlama-3.1-8B", "meta-llama/Llama-3.1-8B"),
        ("meta-llama%2fLlama-3.1-8B", "meta-llama/Llama-3.1-8B"),
        ("a/b%2Fc", "a/b/c"),
        ("odd%25name%2Bx%3Fy%23z", "odd%name+x?y#z"),
    ];
    for (path, name) in paths {
        let shown = rig.client.get(&format!("/v1/models/{path}")).await;
        assert_eq!((shown.status, shown.json()), (200, entry(name)), "{path}");
    }
    let says = "GET /v1/models lists those that do";
    let refusal = Refusal { status: 404, code: "model_not_found", param: Some("model"), says };
    for path in ["gpt-5", "meta-llama", "gpt-5/", "//gpt-5", "%F0%9F%98%80", "%ff", "a%252Fb", &"m".repeat(10_000)] {
        refusal.check(path, &rig.client.get(&format!("/v1/models/{path}")).await);
    }
    let misspelt = [
        ("", "'/v1/models/' is not a path here: '/v1/models' is; leave out the slash at the end"),
        ("llama/", "'/v1/models/llama/' is not a path here: '/v1/models/llama' is; leave out the slash"),
        ("a//b/c", "'/v1/models/a//b/c' is not a path here: '/v1/models/a/b/c' is"),
    ];
    for (path, says) in misspelt {
        let refusal = Refusal { status: 404, code: "not_found", param: None, says };
        refusal.check(path, &rig.client.get(&format!("/v1/models/{path}")).await);
    }
}

//! Reading without secrets, for using a configuration without calling anyone.

use std::cell::RefCell;

use super::*;

/// Reads `text` without secrets, where no variable is set.
fn bare(text: &str) -> Result<Config, Problems> {
    parse_with(text, "x.toml", &|_| None, Secrets::Ignored)
}

#[test]
fn no_secret_is_looked_for_where_secrets_are_ignored() {
    let text = VALID
        .replace("workers = 2", "admin_token_file = \"/nonexistent/token\"")
        .replace("id = \"fast\"", "id = \"fast\"\napi_key_file = \"/nonexistent/key\"")
        .replace("\n[[models]]", "\n[[upstreams]]\nid = \"third\"\nprovider = \"openai\"\nmodel = \"m\"\n[[models]]")
        .replace("endpoint_id =", "api_key_env = \"POD_KEY\"\nendpoint_id =");
    let asked = RefCell::new(Vec::new());
    // No key of this kind would do.
    let env = |name: &str| {
        asked.borrow_mut().push(name.to_owned());
        (!name.starts_with("LLM_ROUTER__"))
            .then(|| "two words".to_owned())
            .filter(|_| name != "RUNPOD_VLLM_ENDPOINT_ID")
    };
    let config = parse_with(&text, "x.toml", &env, Secrets::Ignored).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(config.upstreams.iter().all(|upstream| upstream.api_key.is_none()));
    assert_eq!(config.keys.iter().map(|key| key.id.as_str()).collect::<Vec<_>>(), ["web"], "its hash is in the file");
    assert!(config.server.admin_token.is_none());
    assert_eq!(config.sources, Sources::new(&text, BTreeMap::new()), "no file with a secret was read");

    // What a variable must not hold was not even read.
    let asked = asked.into_inner();
    let asked: Vec<_> = asked.iter().filter(|name| !name.starts_with("LLM_ROUTER__")).collect();
    assert_eq!(
        asked,
        ["RUNPOD_VLLM_ENDPOINT_ID"],
        "the keys of the upstreams, BATCH_KEY and the token are not among these"
    );

    let token = |secrets| {
        let token =
            |name: &str| (name == "LLM_ROUTER_ADMIN_TOKEN").then(|| "t".repeat(32)).or_else(|| super::env(name));
        parse_with(VALID, "x.toml", &token, secrets).expect("valid").server.admin_token
    };
    assert!(token(Secrets::Optional).is_some() && token(Secrets::Ignored).is_none());
}

#[test]
fn where_an_upstream_is_may_be_unknown_where_secrets_are_ignored() {
    let upstream = |lines: &str| {
        let text =
            VALID.replace("endpoint_id = \"${RUNPOD_VLLM_ENDPOINT_ID}\"\nendpoint_type = \"load_balancer\"", lines);
        let pod = bare(&text).unwrap_or_else(|problems| panic!("{lines}: {problems}")).upstreams.swap_remove(0);
        let ProviderSettings::Runpod { endpoint_id, capacity_url, .. } = pod.provider else { panic!("{pod:?}") };
        (pod.base_url, capacity_url, endpoint_id)
    };
    let own = |id: &str| {
        let there = |rest: &str| format!("https://api.runpod.ai/v2/{id}/{rest}");
        (there("openai/v1"), Some(there("health")), Some(id.to_owned()))
    };
    assert_eq!(upstream("endpoint_id = \"${ENDPOINT}\""), own("ENDPOINT"));
    assert_eq!(upstream(""), own("RUNPOD_VLLM_ENDPOINT_ID"), "the variable that is read where there is no key");
    let (url, capacity, id) = upstream("base_url = \"${HERE}/v2/x/openai/v1/\"");
    // That its workers are counted stays known.
    assert_eq!((url.as_str(), capacity.as_deref(), id), ("HERE/v2/x/openai/v1", Some("HERE/v2/x/health"), None));
    let (_, capacity, _) = upstream("base_url = \"http://10.0.0.1/v1\"\ncapacity_url = \"${HERE}/workers\"");
    assert_eq!(capacity.as_deref(), Some("HERE/workers"));

    let model = |line: &str| {
        let text = VALID.replace("model = \"meta-llama/Llama-3.1-8B-Instruct\"", line);
        bare(&text).unwrap_or_else(|problems| panic!("{line}: {problems}")).upstreams.swap_remove(0).model
    };
    assert_eq!(model("model = \"org/${SIZE}\""), "org/SIZE");
    assert_eq!(model(""), "RUNPOD_DEFAULT_MODEL");
}

#[test]
fn where_a_secret_is_may_be_unknown_where_secrets_are_ignored() {
    for (from, to) in [
        ("id = \"fast\"", "id = \"fast\"\napi_key_file = \"${CREDENTIALS_DIRECTORY}/key\""),
        ("id = \"fast\"", "id = \"fast\"\napi_key_env = \"${NAME_OF_KEY}\""),
        ("workers = 2", "admin_token_file = \"${CREDENTIALS_DIRECTORY}/token\""),
        ("env = \"BATCH_KEY\"", "env = \"${NAME_OF_KEY}\""),
    ] {
        bare(&VALID.replace(from, to)).unwrap_or_else(|problems| panic!("{to}: {problems}"));
    }
}

#[test]
fn variables_that_are_set_count_where_secrets_are_ignored() {
    let config = parse_with(VALID, "x.toml", &env, Secrets::Ignored).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.upstreams[0].base_url, "https://abc123.api.runpod.ai/v1");
}

#[test]
fn mistakes_are_reported_where_secrets_are_ignored() {
    // What is replaced, by what, and where the problem is.
    for (from, to, path) in [
        ("strategy = \"balanced\"", "strategy = \"${UNSET}\"", "models[0].strategy"),
        ("\"0.20\"", "\"${UNSET}\"", "upstreams[1].cost.output_usd_per_million"),
        ("id = \"fast\"", "id = \"${UNSET}\"", "upstreams[1].id"),
        ("id = \"fast\"", "id = \"fast\"\napi_key_env = \"sk-hunter2\"", "upstreams[1].api_key_env"),
        ("id = \"fast\"", "id = \"fast\"\nbase_url = \"no-address\"", "upstreams[1].base_url"),
        ("id = \"fast\"", "id = \"fast\"\nbase_url = \"${}/v1\"", "upstreams[1].base_url"),
        ("env = \"BATCH_KEY\"", "env = \"sk-hunter2\"", "keys[1].env"),
    ] {
        assert_eq!(VALID.matches(from).count(), 1, "{from:?} does not name one place");
        let problems = bare(&VALID.replace(from, to)).expect_err(to).list;
        assert_eq!(problems[0].path, path, "{to}: {problems:?}");
    }
}

#[test]
fn a_variable_that_is_not_set_is_a_problem_unless_secrets_are_ignored() {
    for secrets in [Secrets::Required, Secrets::Optional] {
        for (from, to) in [
            ("\"${RUNPOD_VLLM_ENDPOINT_ID}\"", "\"${UNSET}\""),
            ("id = \"fast\"", "id = \"fast\"\nbase_url = \"${UNSET}/v1\""),
            ("model = \"llama3.1-8b\"", "model = \"${UNSET}\""),
        ] {
            let problems = parse_with(&VALID.replace(from, to), "x.toml", &env, secrets).expect_err(to).list;
            assert_eq!(problems[0].fault, "names the environment variable UNSET, which is not set");
        }
    }
}

#[test]
fn every_shipped_file_can_be_read_without_any_variable() {
    for path in shipped() {
        let config = load_with(&path, &|_| None, Secrets::Ignored).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(!config.models.is_empty());
    }
}

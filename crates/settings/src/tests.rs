//! What a valid file means, and what is said of files that are not.

mod ignored;
mod mistakes;
mod own_file;
mod prices;

use std::{fs, path::PathBuf, time::Duration};

use provider::{NanoUsd, Operation, PicoUsd, Price, Tariff};
use router::{Extract, Hedge, Judge, Pick};
use secrecy::ExposeSecret;

use super::*;

const VALID: &str = r#"
[server]
listen = "127.0.0.1:8080"
workers = 2
drain_s = 30

[log]
level = "info,router=debug"

[auth]
mode = "keys"

[[keys]]
id = "web"
team = "growth"
sha256 = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
limits = { requests_per_minute = 600, concurrent = 50 }

[[keys]]
id = "batch"
team = "growth"
env = "BATCH_KEY"

[[upstreams]]
id = "pod"
provider = "runpod"
endpoint_id = "${RUNPOD_VLLM_ENDPOINT_ID}"
endpoint_type = "load_balancer"
model = "meta-llama/Llama-3.1-8B-Instruct"
supports = ["chat"]
features = { tools = true }
timeouts = { connect_ms = 500 }
cost = { kind = "gpu_seconds", usd_per_second = "0.00019", kept_workers = 1, list_usd_per_million = "0.02" }

[[upstreams]]
id = "fast"
provider = "cerebras"
model = "llama3.1-8b"
cost = { kind = "tokens", input_usd_per_million = "0.10", cached_input_usd_per_million = "0.05", output_usd_per_million = "0.20", reasoning_usd_per_million = "0.30" }

[[models]]
name = "llama-3.1-8b"
strategy = "balanced"
slo = { ttft_ms = 2000 }
baseline = "fast"
targets = [ { upstream = "pod", share = 0.8 }, { upstream = "fast", share = 0.2 } ]
"#;

/// Every variable is set; the two that are read as addresses or keys have values worth checking.
fn env(name: &str) -> Option<String> {
    match name {
        "RUNPOD_VLLM_ENDPOINT_ID" => Some("abc123".to_owned()),
        "EMULATOR_URL" => Some("http://127.0.0.1:9100".to_owned()),
        "RUNPOD_API_KEY" => Some("rpa_secret\n".to_owned()),
        "EMPTY" => Some(String::new()),
        "LONG" => Some("k".repeat(Key::MAX_BYTES + 1)),
        "USER_INFO" => Some("https://user:hunter2@host".to_owned()),
        "UNSET" => None,
        name if name.starts_with("LLM_ROUTER__") => None,
        name => Some(format!("value-of-{name}")),
    }
}

fn valid() -> Config {
    parse(VALID, "valid.toml", &env).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn hedges_are_read() {
    let hedged = |hedge: &str| {
        let text = VALID.replace("baseline = \"fast\"", &format!("baseline = \"fast\"\n{hedge}"));
        let config = parse(&text, "x.toml", &env).unwrap_or_else(|problems| panic!("{problems}"));
        config.models[0].spec().hedge
    };
    assert_eq!(hedged(""), None);
    let learned = Hedge { most_extra_cost: 0.025, after: None };
    assert_eq!(hedged("hedge = { max_extra_cost_percent = 2.5 }"), Some(learned));
    let fixed = Hedge { most_extra_cost: 1.0, after: Some(Duration::from_millis(800)) };
    assert_eq!(hedged("hedge = { max_extra_cost_percent = 100, after_ms = 800 }"), Some(fixed));
}

#[test]
fn ensembles_are_read_and_tasks_may_name_them() {
    let text = VALID.replace(
        "[auth]",
        r#"
[[ensembles]]
name = "ensemble/plain"
members = ["llama-3.1-8b", "llama-3.1-8b"]
pick = { kind = "longest" }

[[ensembles]]
name = "ensemble/votes"
members = ["llama-3.1-8b", "llama-3.1-8b", "llama-3.1-8b"]
pick = { kind = "majority", extract = "number" }
deadline_ms = 5000

[[ensembles]]
name = "ensemble/judged"
members = ["llama-3.1-8b", "llama-3.1-8b"]
pick = { kind = "judge", model = "llama-3.1-8b", rubric = "Brevity." }

[tasks]
hard = "ensemble/judged"

[auth]"#,
    );
    let config = parse(&text, "x.toml", &env).unwrap_or_else(|problems| panic!("{problems}"));
    let [plain, votes, judged] = config.ensembles.as_slice() else { panic!("{:?}", config.ensembles) };
    assert_eq!((plain.name.as_str(), plain.members.len()), ("ensemble/plain", 2));
    assert_eq!((&plain.pick, plain.deadline), (&Pick::Longest, Duration::from_mins(1)));
    assert_eq!((&votes.pick, votes.deadline), (&Pick::Majority(Extract::Number), Duration::from_secs(5)));
    let judge = Judge { model: "llama-3.1-8b".to_owned(), rubric: "Brevity.".to_owned() };
    assert_eq!(judged.pick, Pick::Judge(judge));
    assert_eq!(config.tasks["hard"], "ensemble/judged");

    let with_rubric = |end: &str| {
        let rubric = format!("{}{end}", "Brevity. ".repeat(20));
        parse(&text.replace("Brevity.", &rubric), "x.toml", &env).unwrap_or_else(|problems| panic!("{problems}"))
    };
    let (old, new) = (with_rubric("Wit."), with_rubric("Joy."));
    assert_ne!(old.version, new.version);
    assert_eq!(old.listing.changes(&new.listing).len(), 1, "a change at the end of a long text is one");
}

#[test]
fn a_valid_file_says_what_it_says() {
    let config = valid();
    assert_eq!((config.server.workers, config.server.max_body_bytes), (2, 8 << 20));
    assert_eq!(config.server.admin_listen, ([127, 0, 0, 1], 8081).into());
    assert_eq!((config.server.limits.max_messages, config.server.connections.most), (2048, 25_000));
    assert_eq!((config.server.memory_budget, config.server.max_open_batches), (None, 64));
    assert_eq!(config.auth, AuthMode::Keys);
    assert_eq!((config.log.access, config.log.format), (AccessLog::Stdout, LogFormat::Json));
    // The first hash is that of this text.
    assert_eq!(<[u8; 32]>::from(<sha2::Sha256 as sha2::Digest>::digest("secret")), config.keys[0].sha256);
    assert_eq!(config.keys[0].limits.concurrent.map(u32::from), Some(50));
    assert_eq!(config.keys[1].limits.concurrent.map(u32::from), Some(1024), "a quarter of the router's room");
    assert_eq!(config.keys[1].models, None);

    let [pod, fast] = config.upstreams.as_slice() else { panic!("two upstreams") };
    let capacity_url = Some("https://api.runpod.io/v2/serverless/abc123/workers".to_owned());
    let (endpoint_id, endpoint_type) = (Some("abc123".to_owned()), EndpointType::LoadBalancer);
    assert_eq!(pod.provider, ProviderSettings::Runpod { endpoint_id, endpoint_type, capacity_url });
    assert_eq!(pod.base_url, "https://abc123.api.runpod.ai/v1");
    assert_eq!(pod.api_key.as_ref().map(ExposeSecret::expose_secret), Some("rpa_secret"));
    assert_eq!(pod.operations, [Operation::Chat]);
    assert!(pod.features.tools && pod.features.json_schema && !pod.features.images);
    assert_eq!((pod.max_in_flight, pod.default_max_tokens), (1000, Some(4096)));
    assert_eq!([pod, fast].map(|upstream| upstream.warm_up_usd_per_hour), [NanoUsd(500_000_000), NanoUsd(0)]);
    assert_eq!((pod.timeouts.connect, pod.timeouts.gap), (Duration::from_millis(500), Duration::from_secs(30)));
    let Some(Tariff::GpuSeconds { per_second, idle_timeout, kept_workers: 1, list: Some(list) }) = &pod.tariff else {
        panic!("tariff")
    };
    assert_eq!((*per_second, *idle_timeout), (PicoUsd(190_000_000), Duration::from_secs(5)));
    assert_eq!(*list, Price::new(PicoUsd(20_000), PicoUsd(20_000)));
    let price = Price {
        cached_input: PicoUsd(50_000),
        reasoning: PicoUsd(300_000),
        ..Price::new(PicoUsd(100_000), PicoUsd(200_000))
    };
    assert_eq!(fast.tariff, Some(Tariff::Tokens(price)));
    assert_eq!(fast.base_url, "https://api.cerebras.ai/v1");
    assert_eq!(fast.operations, [Operation::Chat, Operation::Completions]);

    let model = &config.models[0];
    assert_eq!((model.strategy, model.slo_ttft), (router::StrategyName::Balanced, Some(Duration::from_secs(2))));
    assert_eq!(model.deadline, Duration::from_mins(1));
    assert_eq!(model.baseline.as_ref().map(provider::UpstreamId::as_str), Some("fast"));
    assert_eq!(model.targets.iter().map(|target| target.share).collect::<Vec<_>>(), [0.8, 0.2]);
}

#[test]
fn a_key_has_a_burst_a_quarter_of_the_room_and_the_models_that_it_lists() {
    let with = |limits: &str, room: u32| {
        let text = VALID.replace("limits = { requests_per_minute = 600, concurrent = 50 }", limits);
        let text = text.replace("drain_s = 30", &format!("drain_s = 30\nmax_in_flight = {room}"));
        let text = text.replace("[auth]", "[tasks]\nchat = \"llama-3.1-8b\"\n[auth]");
        let config = parse(&text, "x.toml", &env).unwrap_or_else(|problems| panic!("{problems}"));
        config.keys.into_iter().next().expect("a key")
    };
    let burst = |limits: &str| {
        let limits = with(limits, 100).limits;
        limits.requests_per_minute.map(|limit| limits.burst_of(limit).get())
    };
    assert_eq!(burst("limits = { requests_per_minute = 600 }"), Some(60));
    assert_eq!(burst("limits = { requests_per_minute = 19 }"), Some(1));
    assert_eq!(burst("limits = { requests_per_minute = 9 }"), Some(1), "one at least");
    assert_eq!(burst("limits = { requests_per_minute = 9, burst = 9 }"), Some(9));
    assert_eq!(burst(""), None);
    for (room, part) in [(100, 25), (7, 1), (3, 1), (1, 1)] {
        assert_eq!(with("", room).limits.concurrent.map(u32::from), Some(part));
        assert_eq!(with("limits = { requests_per_minute = 1 }", room).limits.concurrent.map(u32::from), Some(part));
    }
    let listed = with("models = [\"llama-3.1-8b\", \"task/chat\"]", 100).models;
    assert_eq!(listed, Some(vec!["llama-3.1-8b".to_owned(), "task/chat".to_owned()]));
}

#[test]
fn limits_of_connections_follow_from_each_other() {
    let server = |keys: &str| {
        let text = VALID.replace("drain_s = 30", keys);
        parse(&text, "x.toml", &env).unwrap_or_else(|problems| panic!("{problems}")).server
    };
    assert_eq!(server("").connections.per_peer, 6_250);
    assert_eq!(server("max_connections = 5").connections.per_peer, 2);
    let trusting = server("trusted_proxies = [\"10.0.0.0/8\", \"::1\"]").connections.trusted_proxies;
    let shown: Vec<_> = trusting.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.0.0.0/8", "::1/128"]);
    for (keys, grace) in [("", 5), ("drain_s = 12", 2), ("drain_s = 12\ngrace_s = 12", 12), ("drain_s = 0", 0)] {
        assert_eq!(server(keys).grace, Duration::from_secs(grace), "{keys}");
    }
}

#[test]
fn names_with_slashes_and_equal_shares_are_fine() {
    let text = VALID.replace("name = \"llama-3.1-8b\"", "name = \"meta/llama-3.1-8b\"");
    let config = parse(&text.replace(", share = 0.8", "").replace(", share = 0.2", ""), "x.toml", &env).expect("valid");
    assert_eq!(config.models[0].targets.iter().map(|target| target.share).collect::<Vec<_>>(), [0.5, 0.5]);
}

#[test]
fn all_problems_are_reported_together_like_a_compiler_does() {
    let text = VALID
        .replace("drain_s", "drane_s")
        .replace("kind = \"tokens\"", "kind = \"token\"")
        .replace("upstream = \"pod\"", "upstream = \"pot\"");
    let report = parse(&text, "config/x.toml", &env).expect_err("three mistakes").to_string();
    let expected = "\
config/x.toml: server.drane_s: unknown key
  expected: a key of server: listen, admin_listen, workers, drain_s, grace_s, admin_token_file, max_body_bytes, max_messages, max_batch, max_in_flight, \
memory_budget_bytes, max_open_batches, batch_deadline_s, keep_alive_comment_s, body_read_s, max_connections, max_connections_per_peer, \
head_read_s, write_stall_s, trusted_proxies, cors
  hint: did you mean \"drain_s\"?

config/x.toml: upstreams[1].cost.kind: \"token\" is not a kind of cost
  expected: tokens, gpu_seconds, requests or audio_seconds
  hint: did you mean \"tokens\"?

config/x.toml: models[0].targets[0].upstream: \"pot\" is not the id of an upstream
  expected: the id of one of [[upstreams]]
  hint: did you mean \"pod\"?";
    assert_eq!(report, expected);
}

#[test]
fn an_empty_file_lists_what_is_needed() {
    let problems = parse("", "x.toml", &env).expect_err("nothing there").list;
    assert_eq!(
        problems.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(),
        ["keys", "upstreams", "models"]
    );
}

#[test]
fn a_file_that_is_not_toml_is_located_but_not_quoted() {
    for text in ["a = 1\napi_key = csk-hunter2\n", "api_key = \"csk-hunter2\n", "a = 1\na = \"hunter2\"", "hunter2"] {
        let report = parse(text, "x.toml", &env).expect_err("not TOML").to_string();
        assert!(report.contains("at line "), "{report}");
        assert!(!report.contains("hunter2"), "{report}");
    }
}

#[test]
fn secrets_are_never_shown() {
    let text = VALID
        .replace(
            "team = \"growth\"\nenv = \"BATCH_KEY\"",
            "team = \"growth\"\nsha256 = \"hunter2\"\ntoken = \"hunter2\"",
        )
        .replace(
            "id = \"fast\"",
            "id = \"fast\"\napi_key = \"hunter2\"\napi_key_env = \"sk-hunter2\"\nbase_url = \"${USER_INFO}\"",
        );
    let report = parse(&text, "x.toml", &env).expect_err("secrets in clear").to_string();
    assert!(!report.contains("hunter2"), "{report}");
    assert!(!format!("{:?}", valid()).contains("rpa_secret"));
}

#[test]
fn the_environment_overrides_scalars_and_is_blamed_for_its_mistakes() {
    let set = |name: &str| match name {
        "LLM_ROUTER__SERVER__LISTEN" => Some("127.0.0.1:9999".to_owned()),
        "LLM_ROUTER__SERVER__WORKERS" => Some("7".to_owned()),
        "LLM_ROUTER__LOG__FORMAT" => Some("pretty".to_owned()),
        "LLM_ROUTER__AUTH__MODE" => Some("none".to_owned()),
        name => env(name),
    };
    let config = parse(VALID, "x.toml", &set).expect("valid");
    assert_eq!((config.server.listen.port(), config.server.workers), (9999, 7));
    assert_eq!((config.log.format, config.auth), (LogFormat::Pretty, AuthMode::None));

    let set = |name: &str| if name == "LLM_ROUTER__SERVER__DRAIN_S" { Some("soon".to_owned()) } else { env(name) };
    let problems = parse(VALID, "x.toml", &set).expect_err("soon is not a number").list;
    assert_eq!(problems[0].path, "LLM_ROUTER__SERVER__DRAIN_S");

    let names = ["LLM_ROUTER__SERVER__LISTN", "LLM_ROUTER__SERVER__LISTEN", "PATH", "LLM_ROUTER_KEY_WEB"];
    let unknown = unknown_overrides(names.map(str::to_owned));
    assert_eq!(unknown.len(), 1);
    assert_eq!(unknown[0].hint.as_deref(), Some("did you mean \"LLM_ROUTER__SERVER__LISTEN\"?"));
}

#[test]
fn every_key_that_can_be_overridden_is_read() {
    for (section, keys) in scalars::KEYS {
        for key in keys {
            // A list of lists is wrong for every key: a key that nobody reads would be unknown instead.
            let problems = parse(&format!("[{section}]\n{key} = [[]]"), "x.toml", &env).expect_err("wrong type").list;
            let problem = problems.iter().find(|problem| problem.path.starts_with(&format!("{section}.{key}")));
            assert!(problem.is_some_and(|problem| problem.fault != "unknown key"), "{section}.{key}: {problems:?}");
        }
    }
}

#[test]
fn missing_secrets_pass_only_where_they_may() {
    let bare = |name: &str| env(name).filter(|_| name == "RUNPOD_VLLM_ENDPOINT_ID");
    let problems = parse(VALID, "x.toml", &bare).expect_err("no keys in the environment").list;
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["keys[1].env", "upstreams[0].api_key_env", "upstreams[1].api_key_env"]);
    assert!(problems[2].to_string().contains("CEREBRAS_API_KEY is not set"), "{}", problems[2]);
    let config = parse_with(VALID, "x.toml", &bare, Secrets::Optional).expect("secrets are optional");
    assert!(config.upstreams.iter().all(|upstream| upstream.api_key.is_none()));
    assert_eq!(config.keys.len(), 1);
}

#[test]
fn an_upstream_of_ones_own_may_go_without_a_key() {
    let with = |key: &str| {
        let line = format!("id = \"fast\"\nbase_url = \"http://localhost:8000/v1/\"{key}");
        let bare = |name: &str| env(name).filter(|_| name != "CEREBRAS_API_KEY");
        parse(&VALID.replace("id = \"fast\"", &line), "x.toml", &bare)
    };
    let config = with("\napi_key_env = \"none\"").expect("no key needed");
    assert!(config.upstreams[1].api_key.is_none());
    assert_eq!(config.upstreams[1].base_url, "http://localhost:8000/v1");
    let problems = with("").expect_err("no key found").list;
    assert!(problems[0].hint.as_deref().is_some_and(|hint| hint.contains("api_key_env = \"none\"")), "{problems:?}");
}

#[test]
fn addresses_beyond_the_safe_ones_take_a_word() {
    let with = |lines: &str| parse(&VALID.replace("id = \"fast\"", &format!("id = \"fast\"\n{lines}")), "x.toml", &env);
    for lines in [
        "base_url = \"http://api.example.com/v1\"\nallow_insecure = true",
        "base_url = \"http://169.254.169.254/v1\"\nallow_metadata = true",
        "base_url = \"http://10.1.2.3/v1\"",
        "base_url = \"https://api.example.com/v1\"",
    ] {
        with(lines).unwrap_or_else(|problems| panic!("{problems}"));
    }
    let both = VALID.replace("id = \"fast\"", "id = \"fast\"\nbase_url = \"http://api.example.com/v1\"").replace(
        "id = \"pod\"",
        "id = \"pod\"\nbase_url = \"http://[fe80::1]/v1\"\ncapacity_url = \"http://example.com/\"",
    );
    let report = parse(&both, "config/x.toml", &env).expect_err("three addresses").to_string();
    let expected = "\
config/x.toml: upstreams[0].base_url: \"http://[fe80::1]/v1\" leads to link-local addresses or a metadata service
  expected: an upstream's address
  hint: allow_metadata = true permits it

config/x.toml: upstreams[0].capacity_url: \"http://example.com/\" sends key and prompts in clear
  expected: https:// outside one's own network
  hint: write https://, or permit it with allow_insecure = true

config/x.toml: upstreams[1].base_url: \"http://api.example.com/v1\" sends key and prompts in clear
  expected: https:// outside one's own network
  hint: write https://, or permit it with allow_insecure = true";
    assert_eq!(report, expected);
}

#[test]
fn runpod_addresses_follow_from_the_endpoint() {
    let settings = |lines: &str| {
        let line = "endpoint_id = \"${RUNPOD_VLLM_ENDPOINT_ID}\"\nendpoint_type = \"load_balancer\"";
        let config = parse(&VALID.replace(line, lines), "x.toml", &env).unwrap_or_else(|problems| panic!("{problems}"));
        let pod = config.upstreams[0].clone();
        let ProviderSettings::Runpod { capacity_url, .. } = pod.provider else { panic!("{:?}", pod.provider) };
        (pod.base_url, capacity_url, pod.max_in_flight)
    };
    let own = |capacity: Option<&str>| {
        ("https://api.runpod.ai/v2/abc123/openai/v1".to_owned(), capacity.map(str::to_owned), 400)
    };
    let health = Some("https://api.runpod.ai/v2/abc123/health");
    assert_eq!(settings(""), own(health), "all from the environment");
    assert_eq!(settings("endpoint_id = \"abc123\"\nendpoint_type = \"queue\""), own(health));
    assert_eq!(settings("capacity_url = \"none\""), own(None));
    let there = |base: &str, capacity: Option<&str>, most: u32| (base.to_owned(), capacity.map(str::to_owned), most);
    assert_eq!(
        settings("base_url = \"http://h/v2/x/openai/v1/\""),
        there("http://h/v2/x/openai/v1", Some("http://h/v2/x/health"), 400)
    );
    assert_eq!(settings("base_url = \"http://h/v1\""), there("http://h/v1", None, 400));
    assert_eq!(
        settings("base_url = \"http://h/v1\"\nendpoint_type = \"load_balancer\""),
        there("http://h/v1", None, 1000)
    );
}

/// The configurations that ship with the project; beside them is what the simulator reads.
fn shipped() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config");
    let paths = fs::read_dir(folder).expect("config/ exists").map(|entry| entry.expect("readable").path());
    let is_configuration = |path: &PathBuf| {
        let is_for_the_simulator =
            path.file_stem().is_some_and(|stem| stem.as_encoded_bytes().starts_with(b"simulated-"));
        path.extension().is_some_and(|extension| extension == "toml") && !is_for_the_simulator
    };
    let paths: Vec<_> = paths.filter(is_configuration).collect();
    assert!(paths.len() >= 2, "demo.toml and single-provider.toml at least");
    paths
}

#[test]
fn every_shipped_file_is_valid() {
    for path in shipped() {
        let config = load(&path, &env).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(!config.models.is_empty());
    }
}

#[test]
fn a_file_that_is_not_there_is_a_problem() {
    let problems = load(Path::new("/nonexistent.toml"), &env).expect_err("no such file");
    assert!(problems.to_string().starts_with("/nonexistent.toml: cannot be read: "), "{problems}");
}

/// What warm-up calls may cost in an hour, of an upstream of RunPod with these lines.
#[track_caller]
fn warm_up(lines: &str) -> NanoUsd {
    let text = VALID.replace("id = \"pod\"", &format!("id = \"pod\"\n{lines}"));
    let config = parse(&text, "x.toml", &env).expect("valid");
    config.upstreams[0].warm_up_usd_per_hour
}

#[test]
fn warm_up_calls_cost_what_they_may_and_nothing_where_workers_are_not_counted() {
    assert_eq!(warm_up("warm_up = { usd_per_hour = \"0.07\" }"), NanoUsd(70_000_000));
    assert_eq!(warm_up("warm_up = { usd_per_hour = \"0\" }"), NanoUsd(0));
    assert_eq!(warm_up("capacity_url = \"none\"\nwarm_up = { usd_per_hour = \"0.07\" }"), NanoUsd(0));
}

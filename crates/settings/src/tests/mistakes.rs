//! One valid file, broken in one place at a time: each mistake is reported once, at its place, with its hint.

mod aliases;
mod cors;
mod hedge;
mod keys;
mod limits;
mod shared;
mod storage;
mod tags;

use super::*;

/// The problems of the valid file after replacing `from`, which must be there once, with `to`.
fn broken(from: &str, to: &str) -> Vec<Problem> {
    assert_eq!(VALID.matches(from).count(), 1, "{from:?} does not name one place");
    match parse(&VALID.replace(from, to), "x.toml", &env) {
        Ok(_) => panic!("{to:?} instead of {from:?} is not noticed"),
        Err(problems) => problems.list,
    }
}

/// What is replaced, by what; where the problem is, what is said of it, and a part of the hint ("" for none).
type Case<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str);

#[track_caller]
fn check(cases: &[Case<'_>]) {
    for (from, to, path, said, hint) in cases {
        let problems = broken(from, to);
        let [problem] = problems.as_slice() else { panic!("{to:?}: not one problem but {problems:#?}") };
        assert_eq!(problem.path, *path, "{to:?}: {problem}");
        let line = format!("{} {}", problem.value.as_deref().unwrap_or_default(), problem.fault);
        assert_eq!(line.trim_start(), *said, "{to:?}: {problem}");
        assert!(!problem.message.is_empty(), "{to:?}: {problem}");
        let found = problem.hint.as_deref().unwrap_or_default();
        assert!(found.contains(hint) && hint.is_empty() == found.is_empty(), "{to:?}: {problem}");
    }
}

#[test]
fn mistakes_in_the_shape_are_reported() {
    check(&[
        ("drain_s = 30", "drane_s = 30", "server.drane_s", "unknown key", "did you mean \"drain_s\"?"),
        ("drain_s = 30", "max-in-flight = 3", "server.max-in-flight", "unknown key", "\"max_in_flight\""),
        ("drain_s = 30", "purple = 30", "server.purple", "unknown key", ""),
        ("[log]", "[logs]", "logs", "unknown key", "did you mean \"log\"?"),
        ("workers = 2", "workers = \"2\"", "server.workers", "\"2\" is not a whole number", "no quotes"),
        ("workers = 2", "workers = 2.5", "server.workers", "2.5 is not a whole number", ""),
        ("workers = 2", "workers = -1", "server.workers", "-1 is out of range", ""),
        ("workers = 2", "grace_s = 31", "server.grace_s", "31 is longer than drain_s", ""),
        ("workers = 2", "grace_s = -1", "server.grace_s", "-1 is out of range", ""),
        (
            "workers = 2",
            "trusted_proxies = [\"10.0.0.0/8\", \"10.0.0.0/33\"]",
            "server.trusted_proxies[1]",
            "\"10.0.0.0/33\" is neither an address nor a network",
            "",
        ),
        ("workers = 2", "trusted_proxies = 10", "server.trusted_proxies", "10 is not an array", ""),
        ("workers = 2", "max_in_flight = 0", "server.max_in_flight", "0 is out of range", ""),
        ("level = \"info,router=debug\"", "level = 3", "log.level", "3 is not a string", ""),
        ("tools = true", "tools = \"yes\"", "upstreams[0].features.tools", "\"yes\" is neither true nor false", ""),
        ("timeouts = { connect_ms = 500 }", "timeouts = 500", "upstreams[0].timeouts", "500 is not a table", ""),
        ("[\"chat\"]", "\"chat\"", "upstreams[0].supports", "\"chat\" is not an array", ""),
        (
            "[auth]",
            "[tasks]\ncode = \"llama-3.1-8\"\n[auth]",
            "tasks.code",
            "\"llama-3.1-8\" is not the name of a model",
            "did you mean \"llama-3.1-8b\"?",
        ),
        ("[auth]", "[tasks]\n\"a b\" = \"llama-3.1-8b\"\n[auth]", "tasks.a b", "is not a task's name", ""),
    ]);
}

/// What is wrong with the valid file and this ensemble: its name, its members, its pick, and further keys.
fn of_ensemble(keys: &str) -> Vec<Problem> {
    broken("[auth]", &format!("[[ensembles]]\n{keys}\n[auth]"))
}

#[test]
fn mistakes_in_ensembles_are_reported() {
    const NAME: &str = "name = \"ensemble/two\"";
    const MEMBERS: &str = "members = [\"llama-3.1-8b\", \"llama-3.1-8b\"]";
    const PICK: &str = "pick = { kind = \"first\" }";
    let seventeen = format!("members = [{}]", "\"llama-3.1-8b\", ".repeat(17));
    let is_no_name = "is not an ensemble's name";
    let long = format!("name = \"ensemble/{}\"", "x".repeat(120));
    for (keys, path, said, hint) in [
        ([MEMBERS, PICK, ""], "name", "missing", ""),
        (["name = \"two\"", MEMBERS, PICK], "name", "\"two\" is not an ensemble's name", "\"ensemble/two\""),
        (["name = \"ensemble/\"", MEMBERS, PICK], "name", "\"ensemble/\" is not an ensemble's name", ""),
        (["name = \"ensemble/a b\"", MEMBERS, PICK], "name", "\"ensemble/a b\" is not an ensemble's name", ""),
        ([&long, MEMBERS, PICK], "name", is_no_name, ""),
        ([NAME, PICK, ""], "members", "missing", ""),
        ([NAME, PICK, "members = \"llama-3.1-8b\""], "members", "\"llama-3.1-8b\" is not an array", ""),
        ([NAME, PICK, "members = [\"llama-3.1-8b\"]"], "members", "has 1 of them", ""),
        ([NAME, PICK, "members = []"], "members", "has 0 of them", ""),
        ([NAME, PICK, &seventeen], "members", "has 17 of them", ""),
        (
            [NAME, PICK, "members = [\"llama-3.1-8b\", \"llama-3.1-8\"]"],
            "members[1]",
            "\"llama-3.1-8\" is not the name of a model",
            "did you mean \"llama-3.1-8b\"?",
        ),
        ([NAME, PICK, "members = [\"llama-3.1-8b\", 7]"], "members[1]", "7 is not a string", ""),
        ([NAME, MEMBERS, ""], "pick", "missing", ""),
        ([NAME, MEMBERS, "pick = \"first\""], "pick", "\"first\" is not a table", ""),
        ([NAME, MEMBERS, "pick = {}"], "pick.kind", "missing", ""),
        (
            [NAME, MEMBERS, "pick = { kind = \"longst\" }"],
            "pick.kind",
            "\"longst\" is not a way to pick",
            "\"longest\"",
        ),
        ([NAME, MEMBERS, "pick = { kind = \"first\", model = \"x\" }"], "pick.model", "unknown key", ""),
        (
            [NAME, MEMBERS, "pick = { kind = \"majority\", extract = \"numbers\" }"],
            "pick.extract",
            "\"numbers\" is not a part of an answer",
            "\"number\"",
        ),
        ([NAME, MEMBERS, "pick = { kind = \"judge\" }"], "pick.model", "missing", ""),
        (
            [NAME, MEMBERS, "pick = { kind = \"judge\", model = \"llama-3.1-8c\" }"],
            "pick.model",
            "\"llama-3.1-8c\" is not the name of a model",
            "\"llama-3.1-8b\"",
        ),
        (
            [NAME, MEMBERS, "pick = { kind = \"judge\", model = \"llama-3.1-8b\", rubric = \" \" }"],
            "pick.rubric",
            "\" \" is no rubric",
            "",
        ),
        ([NAME, MEMBERS, "pick = { kind = \"first\" }\ndeadline_ms = 0"], "deadline_ms", "0 is out of range", ""),
        ([NAME, MEMBERS, "pick = { kind = \"first\" }\nmember = 1"], "member", "unknown key", "\"members\""),
    ] {
        let problems = of_ensemble(&keys.join("\n"));
        let [problem] = problems.as_slice() else { panic!("{keys:?}: not one problem but {problems:#?}") };
        assert_eq!(problem.path, format!("ensembles[0].{path}"), "{problem}");
        let line = format!("{} {}", problem.value.as_deref().unwrap_or_default(), problem.fault);
        assert!(line.trim_start() == said || line.ends_with(is_no_name) && said == is_no_name, "{problem}");
        let found = problem.hint.as_deref().unwrap_or_default();
        assert!(found.contains(hint) && hint.is_empty() == found.is_empty(), "{problem}");
    }
    let all = of_ensemble("name = \"x\"\nmembers = [\"y\"]\npick = { kind = \"z\" }");
    let paths: Vec<_> = all.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["name", "members", "members[0]", "pick.kind"].map(|path| format!("ensembles[0].{path}")));
    let twice = [NAME, MEMBERS, PICK, "[[ensembles]]", NAME, MEMBERS, PICK].join("\n");
    let twins = of_ensemble(&twice);
    assert_eq!((twins.len(), twins[0].path.as_str()), (1, "ensembles[1].name"));
    assert_eq!(twins[0].fault, "is the name of another ensemble too");
    let problems = broken("[auth]", "[tasks]\ncode = \"ensemble/two\"\n[auth]");
    assert_eq!((problems.len(), problems[0].path.as_str()), (1, "tasks.code"));
    assert!(problems[0].message.contains("[[ensembles]]"), "{}", problems[0]);
}

/// What names it is right, and stays unreported.
#[test]
fn what_has_problems_of_its_own_is_not_reported_as_missing() {
    const REST: &str = r#"
[[keys]]
id = "app"
team = "growth"
env = "APP_KEY"
models = ["llama-3.1-8b", "ensemble/two", "task/chat", "task/hard"]

[[ensembles]]
name = "ensemble/two"
members = ["llama-3.1-8b", "llama-3.1-8b"]
pick = { kind = "judge", model = "llama-3.1-8b" }

[tasks]
chat = "llama-3.1-8b"
hard = "ensemble/two"
"#;
    let text = VALID.to_owned() + REST;
    for (right, wrong, paths) in [
        ("\"balanced\"", "\"balance\"", &["models[0].strategy"][..]),
        ("strategy = \"balanced\"", "", &["models[0].strategy"]),
        ("\"judge\"", "\"judges\"", &["ensembles[0].pick.kind"]),
        ("chat = \"llama-3.1-8b\"", "chat = 7", &["tasks.chat"]),
        ("chat = \"llama-3.1-8b\"", "chat = \"llama\"", &["tasks.chat"]),
        // In all places.
        ("\"llama-3.1-8b\"", "\"llama 8b\"", &["models[0].name"]),
        ("\"ensemble/two\"", "\"two\"", &["ensembles[0].name"]),
    ] {
        let problems = parse(&text.replace(right, wrong), "x.toml", &env).expect_err("it is noticed").list;
        assert_eq!(problems.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(), paths, "{problems:#?}");
    }
}

#[test]
fn mistakes_in_the_sections_of_single_values_are_reported() {
    let listen = "listen = \"127.0.0.1:8080\"";
    let level = "\"info,router=debug\"";
    check(&[
        (
            listen,
            "listen = \"localhost:80\"",
            "server.listen",
            "\"localhost:80\" is not an address to listen on",
            "\"127.0.0.1:80\"",
        ),
        (listen, "listen = \":80\"", "server.listen", "\":80\" is not an address to listen on", "\"0.0.0.0:80\""),
        (
            listen,
            "listen = \"10.0.0.1\"",
            "server.listen",
            "\"10.0.0.1\" is not an address to listen on",
            "\"10.0.0.1:8080\"",
        ),
        (
            listen,
            "listen = \"127.0.0.1:8081\"\nadmin_listen = \"127.0.0.1:8081\"",
            "server.admin_listen",
            "\"127.0.0.1:8081\" is the address of listen",
            "",
        ),
        (level, "\"verbose\"", "log.level", "\"verbose\" is not a log filter", ""),
        (level, "\"wran\"", "log.level", "\"wran\" is not a log filter", "\"warn\""),
        (level, "\"info\"\nformat = \"jsn\"", "log.format", "\"jsn\" is not a log format", "\"json\""),
        (level, "\"info\"\naccess = \"stdot\"", "log.access", "\"stdot\" is no place for the access log", "\"stdout\""),
        (
            "[auth]",
            "[decisions]\nlog_folder = \"on\"\n[auth]",
            "decisions.log_folder",
            "\"on\" is no folder for decisions",
            "without the key",
        ),
        ("[auth]", "[decisions]\nring = 100001\n[auth]", "decisions.ring", "100001 is out of range", ""),
        ("[auth]", "[decisions]\nkeep_files = 0\n[auth]", "decisions.keep_files", "0 is out of range", ""),
        ("[auth]", "[decisions]\nmax_file_bytes = 10\n[auth]", "decisions.max_file_bytes", "10 is out of range", ""),
        ("[auth]", "[decisions]\nrings = 1\n[auth]", "decisions.rings", "unknown key", "did you mean \"ring\"?"),
        ("mode = \"keys\"", "mode = \"key\"", "auth.mode", "\"key\" is not a way to authenticate", "\"keys\""),
    ]);
    let open = VALID.replace("mode = \"keys\"", "mode = \"none\"");
    assert!(parse(&open, "x.toml", &env).is_ok());
    let problems = parse(&open.replace("127.0.0.1", "0.0.0.0"), "x.toml", &env).expect_err("open to the network").list;
    assert_eq!(problems[0].path, "auth.mode");
    assert_eq!(problems[0].fault, "leaves 0.0.0.0:8080 open to the network");
}

#[test]
fn mistakes_in_upstreams_are_reported() {
    let fast = "id = \"fast\"";
    let id = "endpoint_id = \"${RUNPOD_VLLM_ENDPOINT_ID}\"";
    let model = "model = \"llama3.1-8b\"";
    check(&[
        (
            "provider = \"cerebras\"",
            "provider = \"cerebra\"",
            "upstreams[1].provider",
            "\"cerebra\" is not a provider",
            "\"cerebras\"",
        ),
        (
            "\"load_balancer\"",
            "\"loadbalancer\"",
            "upstreams[0].endpoint_type",
            "\"loadbalancer\" is not an endpoint type",
            "\"load_balancer\"",
        ),
        (
            fast,
            "id = \"fast\"\nendpoint_id = \"x\"",
            "upstreams[1].endpoint_id",
            "\"x\" is set for provider = \"cerebras\"",
            "remove",
        ),
        (fast, "id = \"fast\"\nsupports = []", "upstreams[1].supports", "is empty", ""),
        (
            "cost = { kind = \"gpu_seconds\", usd_per_second = \"0.00019\", kept_workers = 1, list_usd_per_million = \"0.02\" }",
            "cost = { kind = \"audio_seconds\", usd_per_second = \"0.0001\" }",
            "upstreams[0].supports",
            "holds more than what has a price by the second of a recording",
            "an upstream of its own",
        ),
        ("[\"chat\"]", "[\"chats\"]", "upstreams[0].supports[0]", "\"chats\" is not an operation", "\"chat\""),
        ("[\"chat\"]", "[\"chat\", \"chat\"]", "upstreams[0].supports[1]", "\"chat\" is listed twice", ""),
        ("connect_ms = 500", "connect_ms = 0", "upstreams[0].timeouts.connect_ms", "0 is out of range", ""),
        (fast, "id = \"fast\"\nworker_slots = 0", "upstreams[1].worker_slots", "0 is out of range", ""),
        (
            "id = \"pod\"",
            "id = \"pod\"\nwarm_up = { usd_per_hour = 0.5 }",
            "upstreams[0].warm_up.usd_per_hour",
            "0.5 is a number",
            "quotes",
        ),
        (
            "id = \"pod\"",
            "id = \"pod\"\nwarm_up = { usd_a_day = \"1\" }",
            "upstreams[0].warm_up.usd_a_day",
            "unknown key",
            "",
        ),
        (fast, "id = \"fast\"\nwarm_up = 5", "upstreams[1].warm_up", "5 is set for provider = \"cerebras\"", "remove"),
        (fast, "id = \"fast\"\nlimits = 5", "upstreams[1].limits", "5 is not a table", ""),
        (
            fast,
            "id = \"fast\"\nlimits = { tokens_per_minute = \"many\" }",
            "upstreams[1].limits.tokens_per_minute",
            "\"many\" is not a whole number",
            "no quotes",
        ),
        (
            fast,
            "id = \"fast\"\nlimits = { requests_per_minut = 5 }",
            "upstreams[1].limits.requests_per_minut",
            "unknown key",
            "requests_per_minute",
        ),
        (model, "", "upstreams[1].model", "missing", ""),
        (model, "model = \"\"", "upstreams[1].model", "\"\" is empty", ""),
        (id, "endpoint_id = \"a/b\"", "upstreams[0].endpoint_id", "\"a/b\" is not a plain name", ""),
    ]);
}

#[test]
fn mistakes_in_costs_are_reported() {
    let kind = "kind = \"tokens\"";
    let input = "input_usd_per_million = \"0.10\"";
    let second = "usd_per_second = \"0.00019\"";
    check(&[
        (
            kind,
            "kind = \"token\"",
            "upstreams[1].cost.kind",
            "\"token\" is not a kind of cost",
            "did you mean \"tokens\"?",
        ),
        (
            input,
            "input_usd_per_million = 0.10",
            "upstreams[1].cost.input_usd_per_million",
            "0.1 is a number",
            "put it in quotes",
        ),
        (
            input,
            "input_usd_per_million = \"ten\"",
            "upstreams[1].cost.input_usd_per_million",
            "\"ten\" is not a price",
            "",
        ),
        (
            input,
            "input_usd_per_million = \"0.0000001\"",
            "upstreams[1].cost.input_usd_per_million",
            "\"0.0000001\" is finer than a pico-dollar",
            "",
        ),
        (second, "usd_per_second = \"0\"", "upstreams[0].cost.usd_per_second", "\"0\" is zero", "leave out"),
        ("output_usd_per_million = \"0.20\", ", "", "upstreams[1].cost.output_usd_per_million", "missing", "leave out"),
    ]);
}

#[test]
fn mistakes_in_dated_prices_are_reported() {
    let fast = "model = \"llama3.1-8b\"\n";
    let cost = "cost = { kind = \"tokens\", input_usd_per_million = \"0.1\", output_usd_per_million = \"0.1\" }";
    let entry = |from: &str| format!("{{ from = \"{from}\", {cost} }}");
    let with = |prices: &str| format!("{fast}prices = [{prices}]\n");
    let texts = [
        with(&entry("2026-12-32")),
        with(&entry("2026-12-01T00")),
        with("{ from = \"2026-12-01\" }"),
        with(&format!("{{ {cost} }}")),
        with(&format!("{}, {}", entry("2026-12-01"), entry("2026-12-01"))),
    ];
    let [no_day, a_moment, no_cost, no_from, twice] = texts.each_ref().map(String::as_str);
    let (of_first, of_second) = ("upstreams[1].prices[0].from", "upstreams[1].prices[1].from");
    check(&[
        (fast, no_day, of_first, "\"2026-12-32\" is not a day", ""),
        (fast, a_moment, of_first, "\"2026-12-01T00\" is not a day", ""),
        (fast, no_cost, "upstreams[1].prices[0].cost", "missing", ""),
        (fast, no_from, of_first, "missing", ""),
        (fast, twice, of_second, "\"2026-12-01\" is the day of another price", ""),
    ]);
    let by_time = "prices = [{ from = \"2026-12-01\", cost = { kind = \"gpu_seconds\", usd_per_second = \"0.1\" } }]\n";
    let by_time = format!("{fast}{by_time}");
    check(&[(fast, &by_time, "models[0].baseline", "\"fast\" has no list price", "list_usd_per_million")]);
    let undated = VALID.find("cost = { kind = \"tokens\"").expect("a cost");
    let end = VALID[undated..].find('\n').expect("a line") + undated;
    let text = format!("{}prices = [{}]{}", &VALID[..undated], entry("2026-12-01"), &VALID[end..]);
    let problems = parse(&text, "x.toml", &env).expect_err("without cost").list;
    assert_eq!((problems[0].path.as_str(), &*problems[0].fault), ("upstreams[1].prices", "stands without cost"));
}

#[test]
fn mistakes_in_models_are_reported() {
    let name = "name = \"llama-3.1-8b\"";
    let second = "{ upstream = \"fast\", share = 0.2 }";
    let baseline = "baseline = \"fast\"";
    let list = ", list_usd_per_million = \"0.02\" }";
    check(&[
        ("\"balanced\"", "\"balance\"", "models[0].strategy", "\"balance\" is not a strategy", "\"balanced\""),
        (
            baseline,
            "reasoning_field = \"boht\"",
            "models[0].reasoning_field",
            "\"boht\" is not where reasoning may stand",
            "\"both\"",
        ),
        (
            second,
            "{ upstream = \"fsat\", share = 0.2 }",
            "models[0].targets[1].upstream",
            "\"fsat\" is not the id of an upstream",
            "\"fast\"",
        ),
        (
            second,
            "{ upstream = \"pod\", share = 0.2 }",
            "models[0].targets[1].upstream",
            "\"pod\" is a target twice",
            "",
        ),
        (second, "{ upstream = \"fast\", share = 0.3 }", "models[0].targets", "shares sum to 1.1", "0.7273, 0.2727"),
        (second, "{ upstream = \"fast\" }", "models[0].targets", "some targets have a share and some have not", ""),
        (second, "{ upstream = \"fast\", share = 1.2 }", "models[0].targets[1].share", "1.2 is not a share", ""),
        (
            second,
            "{ upstream = \"fast\", share = 20 }",
            "models[0].targets[1].share",
            "20 is not a share",
            "20 % is 0.2",
        ),
        (baseline, "baseline = \"quick\"", "models[0].baseline", "\"quick\" is not the id of an upstream", ""),
        ("ttft_ms = 2000", "ttft_ms = 0", "models[0].slo.ttft_ms", "0 is out of range", ""),
        (name, "name = \"task/chat\"", "models[0].name", "\"task/chat\" is reserved", ""),
        (name, "name = \"ensemble/a\"", "models[0].name", "\"ensemble/a\" is reserved", ""),
        (name, "name = \"pod/llama\"", "models[0].name", "\"pod/llama\" already means the upstream of that id", ""),
        (name, "name = \"a b\"", "models[0].name", "\"a b\" is not a model's name", ""),
        (
            "targets = [ { upstream = \"pod\", share = 0.8 }, { upstream = \"fast\", share = 0.2 } ]",
            "",
            "models[0].targets",
            "no target",
            "",
        ),
    ]);
    let unpriced = VALID.replace(baseline, "baseline = \"pod\"").replace(list, " }");
    let problems = parse(&unpriced, "x.toml", &env).expect_err("the baseline has no price").list;
    assert_eq!((problems[0].path.as_str(), problems[0].fault.as_str()), ("models[0].baseline", "has no list price"));
    let twice = format!(
        "{VALID}[[models]]\nname = \"llama-3.1-8b\"\nstrategy = \"cost\"\ntargets = [{{ upstream = \"pod\" }}]"
    );
    let problems = parse(&twice, "x.toml", &env).expect_err("the name is taken").list;
    assert_eq!((problems[0].path.as_str(), problems.len()), ("models[1].name", 1));
}

#[test]
fn what_is_no_table_is_reported_once() {
    let set = |name: &str| if name == "LLM_ROUTER__SERVER__WORKERS" { Some("3".to_owned()) } else { env(name) };
    let rest = VALID.replace("[server]\nlisten = \"127.0.0.1:8080\"\nworkers = 2\ndrain_s = 30", "");
    for (line, path) in [
        ("server = 3", "server"),
        ("server = []", "server"),
        ("models = 3\n", "models"),
        ("models = [3]\n", "models[0]"),
        ("\"server.listen\" = 3", "server.listen"),
        ("\"a[99999999]\" = 3", "a[99999999]"),
    ] {
        let rest = if line.starts_with("models") { rest.split("[[models]]").next().unwrap_or_default() } else { &rest };
        let problems = parse(&format!("{line}\n{rest}"), "x.toml", &set).expect_err(line).list;
        assert_eq!(problems.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(), [path], "{line}");
    }
}

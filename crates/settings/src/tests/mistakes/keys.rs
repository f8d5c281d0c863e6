//! Mistakes in the keys of clients, and in the addresses and keys of upstreams.

use super::*;

#[test]
fn mistakes_in_keys_are_reported() {
    let hash = "sha256 = \"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\"";
    let batch = "env = \"BATCH_KEY\"";
    check(&[
        ("\"batch\"", "\"web\"", "keys[1].id", "\"web\" is the id of another key too", ""),
        (batch, hash, "keys[1]", "the same key as \"web\"", ""),
        (hash, "sha256 = \"hunter2\"", "keys[0].sha256", "the value is not a SHA-256 hash", "sha256sum"),
        (hash, "", "keys[0].sha256", "missing", "sha256sum"),
        (hash, "key = \"hunter2\"\nenv = \"X\"", "keys[0].key", "a secret does not belong in this file", "env = "),
        (batch, "env = \"BATCH_KEY\"\nsha256 = \"0\"", "keys[1].env", "\"BATCH_KEY\" stands beside sha256", "keep one"),
        (batch, "env = \"LONG\"", "keys[1].env", "\"LONG\" holds a key that is too long", ""),
        (batch, "env = \"UNSET\"", "keys[1].env", "\"UNSET\" is not set in the environment", "export UNSET="),
        (batch, "env = \"sk-hunter2\"", "keys[1].env", "the value is not the name of a variable", "not the key"),
        ("concurrent = 50", "concurrent = 0", "keys[0].limits.concurrent", "0 is out of range", ""),
        ("concurrent = 50", "burst = 0", "keys[0].limits.burst", "0 is out of range", ""),
        (
            "requests_per_minute = 600, ",
            "burst = 3, ",
            "keys[0].limits.burst",
            "stands without requests_per_minute",
            "",
        ),
        (batch, "env = \"BATCH_KEY\"\nmodels = []", "keys[1].models", "is empty", ""),
        (
            batch,
            "env = \"BATCH_KEY\"\nmodels = \"llama-3.1-8b\"",
            "keys[1].models",
            "\"llama-3.1-8b\" is not an array",
            "",
        ),
        (batch, "env = \"BATCH_KEY\"\nmodels = [3]", "keys[1].models[0]", "3 is not a string", ""),
        (
            batch,
            "env = \"BATCH_KEY\"\nmodels = [\"llama-3.1-8b\", \"llama-3.1-8\"]",
            "keys[1].models[1]",
            "\"llama-3.1-8\" is no name to ask for",
            "did you mean \"llama-3.1-8b\"?",
        ),
        (
            batch,
            "env = \"BATCH_KEY\"\nmodels = [\"pod/llama-3.1-8b\"]",
            "keys[1].models[0]",
            "\"pod/llama-3.1-8b\" is no name to ask for",
            "did you mean \"llama-3.1-8b\"?",
        ),
        (
            batch,
            "env = \"BATCH_KEY\"\nmodels = [\"task/poetry\"]",
            "keys[1].models[0]",
            "\"task/poetry\" is no name to ask for",
            "",
        ),
        (batch, "env = \"BATCH_KEY\"\nmay_wish = \"tags\"", "keys[1].may_wish", "\"tags\" is not an array", ""),
        (
            batch,
            "env = \"BATCH_KEY\"\nmay_wish = [\"tags\", \"max-cost\"]",
            "keys[1].may_wish[1]",
            "\"max-cost\" is not a wish",
            "did you mean \"max_cost\"?",
        ),
        ("concurrent = 50", "parallel = 1", "keys[0].limits.parallel", "unknown key", ""),
        ("id = \"web\"", "id = \"a b\"", "keys[0].id", "\"a b\" is not a plain name", ""),
        ("id = \"web\"", "", "keys[0].id", "missing", ""),
    ]);
    let none = "[[upstreams]]\nid = \"a\"\nprovider = \"cerebras\"\nmodel = \"m\"\n[[models]]\nname = \"m\"\n\
                strategy = \"cost\"\ntargets = [{ upstream = \"a\" }]";
    let problems = parse(none, "x.toml", &env).expect_err("no keys").list;
    assert_eq!((problems.len(), problems[0].path.as_str()), (1, "keys"));
}

#[test]
fn mistakes_in_addresses_of_upstreams_are_reported() {
    let fast = "id = \"fast\"";
    check(&[
        (
            fast,
            "id = \"fast\"\nbase_url = \"ftp://x\"",
            "upstreams[1].base_url",
            "\"ftp://x\" is neither http nor https",
            "",
        ),
        (
            fast,
            "id = \"fast\"\nbase_url = \"https://x/v1/chat/completions\"",
            "upstreams[1].base_url",
            "\"https://x/v1/chat/completions\" is the address of one call",
            "leave out /chat/completions: it is appended",
        ),
        (
            fast,
            "id = \"fast\"\nbase_url = \"host/v1\"",
            "upstreams[1].base_url",
            "\"host/v1\" has no http:// or https:// in front",
            "\"https://host/v1\"",
        ),
        (
            fast,
            "id = \"fast\"\nbase_url = \"http://api.example.com/v1\"",
            "upstreams[1].base_url",
            "\"http://api.example.com/v1\" sends key and prompts in clear",
            "allow_insecure = true",
        ),
        (
            fast,
            "id = \"fast\"\nbase_url = \"http://api.example.com/v1\"\nallow_metadata = true",
            "upstreams[1].base_url",
            "\"http://api.example.com/v1\" sends key and prompts in clear",
            "allow_insecure = true",
        ),
        (
            fast,
            "id = \"fast\"\nbase_url = \"http://169.254.169.254/v1\"\nallow_insecure = true",
            "upstreams[1].base_url",
            "\"http://169.254.169.254/v1\" leads to link-local addresses or a metadata service",
            "allow_metadata = true",
        ),
        (
            fast,
            "id = \"fast\"\nbase_url = \"https://0xa9fea9fe/v1\"",
            "upstreams[1].base_url",
            "\"https://0xa9fea9fe/v1\" leads to link-local addresses or a metadata service",
            "allow_metadata = true",
        ),
        (
            "endpoint_type = \"load_balancer\"",
            "endpoint_type = \"load_balancer\"\ncapacity_url = \"http://metadata.google.internal/x\"",
            "upstreams[0].capacity_url",
            "\"http://metadata.google.internal/x\" leads to link-local addresses or a metadata service",
            "allow_metadata = true",
        ),
        (
            fast,
            "id = \"fast\"\nbase_url = \"http:///v1\"",
            "upstreams[1].base_url",
            "\"http:///v1\" is not an address",
            "",
        ),
        (fast, "id = \"fast\"\nallow_insecure = 1", "upstreams[1].allow_insecure", "1 is neither true nor false", ""),
        (fast, "id = \"fast\"\nbase_url = \"http://h?a=1\"", "upstreams[1].base_url", "the value has a query", "path"),
        (
            fast,
            "id = \"fast\"\nbase_url = \"${USER_INFO}\"",
            "upstreams[1].base_url",
            "the value has credentials in it",
            "api_key_env",
        ),
        (
            fast,
            "id = \"fast\"\nbase_url = \"${UNSET}/v1\"",
            "upstreams[1].base_url",
            "\"${UNSET}/v1\" names the environment variable UNSET, which is not set",
            "export UNSET",
        ),
        (
            fast,
            "id = \"fast\"\nbase_url = \"${EMPTY}/v1\"",
            "upstreams[1].base_url",
            "\"${EMPTY}/v1\" names the environment variable EMPTY, which is not set",
            "export EMPTY",
        ),
        (
            fast,
            "id = \"fast\"\nbase_url = \"${oops/v1\"",
            "upstreams[1].base_url",
            "\"${oops/v1\" has a malformed ${VAR}",
            "$${",
        ),
    ]);
}

#[test]
fn mistakes_in_keys_of_upstreams_are_reported() {
    let fast = "id = \"fast\"";
    check(&[
        (
            fast,
            "id = \"fast\"\napi_key = \"csk-hunter2\"",
            "upstreams[1].api_key",
            "a secret does not belong in this file",
            "api_key_env",
        ),
        (
            fast,
            "id = \"fast\"\napi_key_env = \"csk-hunter2\"",
            "upstreams[1].api_key_env",
            "the value is not the name of a variable",
            "not the key",
        ),
        (
            fast,
            "id = \"fast\"\napi_key_env = \"UNSET\"",
            "upstreams[1].api_key_env",
            "\"UNSET\" is not set in the environment",
            "export UNSET",
        ),
        (
            fast,
            "id = \"fast\"\napi_key_env = \"none\"",
            "upstreams[1].api_key_env",
            "\"none\" leaves a public API without a key",
            "base_url",
        ),
        (
            fast,
            "id = \"fast\"\napi_key_env = \"A\"\napi_key_file = \"b\"",
            "upstreams[1].api_key_file",
            "\"b\" stands beside api_key_env",
            "keep one",
        ),
        (
            fast,
            "id = \"fast\"\napi_key_file = \"/nonexistent\"",
            "upstreams[1].api_key_file",
            "\"/nonexistent\" cannot be read: No such file or directory (os error 2)",
            "",
        ),
        (fast, "id = \"fast\"\napi_key_env = 3", "upstreams[1].api_key_env", "3 is not a string", ""),
    ]);
}

#[test]
fn an_address_with_other_than_ascii_is_reported() {
    check(&[(
        "id = \"fast\"",
        "id = \"fast\"\nbase_url = \"https://host/é\"",
        "upstreams[1].base_url",
        "\"https://host/é\" is not an address",
        "",
    )]);
}

#[test]
fn a_key_may_wish_all_but_another_strategy_unless_it_says_what() {
    let key = |more: &str| {
        let text = VALID.replace("env = \"BATCH_KEY\"", &format!("env = \"BATCH_KEY\"\n{more}"));
        let config = parse(&text, "x.toml", &env).unwrap_or_else(|problems| panic!("{problems}"));
        Wish::ALL.into_iter().filter(|wish| config.keys[1].may_wish.contains(*wish)).collect::<Vec<_>>()
    };
    assert_eq!(key(""), [Wish::Deadline, Wish::MaxCost, Wish::NoFallback, Wish::Tags]);
    assert_eq!(key("may_wish = [\"tags\", \"strategy\"]"), [Wish::Strategy, Wish::Tags]);
    assert_eq!(key("may_wish = []"), []);
}

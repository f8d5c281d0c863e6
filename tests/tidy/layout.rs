//! The layout of the repository: dependencies between crates, sizes of files, and what files may contain.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

use crate::repository::{files, names, root, shown, text};

/// Most lines of a source file, its tests aside.
const MAX_LINES: usize = 500;

fn crates_by_dependency() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&metadata.stdout).expect("metadata");
    let packages = metadata["packages"].as_array().unwrap();
    let name = |of: &Value| of["name"].as_str().unwrap().to_owned();
    let ours: BTreeSet<String> = packages.iter().map(name).collect();
    let edges = |package: &Value| {
        let names = package["dependencies"].as_array().unwrap().iter().map(name);
        (name(package), names.filter(|name| ours.contains(name)).collect())
    };
    packages.iter().map(edges).collect()
}

#[test]
fn crates_depend_on_each_other_as_the_architecture_says() {
    let expected = [
        ("provider", &[][..]),
        ("offload", &["provider"]),
        ("openai", &["offload", "provider"]),
        ("runpod", &["openai", "provider"]),
        ("runpod-admin", &["openai", "provider", "runpod"]),
        ("cerebras", &["openai", "provider"]),
        ("router", &["provider"]),
        ("dispatch", &["offload", "provider", "router"]),
        ("settings", &["provider", "router"]),
        ("simulator", &["provider", "router", "settings"]),
        ("dialects", &["provider"]),
        ("ledger", &[]),
        ("shared", &[]),
        ("emulator", &[]),
        (
            "server",
            &[
                "cerebras",
                "dialects",
                "dispatch",
                "emulator",
                "ledger",
                "offload",
                "openai",
                "provider",
                "router",
                "runpod",
                "runpod-admin",
                "settings",
                "shared",
                "simulator",
            ],
        ),
        ("e2e", &["emulator", "ledger", "server", "settings"]),
    ];
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let expected = expected.map(|(name, on)| (name.to_owned(), set(on))).into();
    assert_eq!(crates_by_dependency(), expected);
}

/// The words that name a package in a manifest of ours.
fn packages_of(manifest: &str) -> BTreeSet<String> {
    let manifest = text(manifest);
    let lines = manifest.lines().filter(|line| line.contains(".workspace = true") || line.contains(" = "));
    lines.filter_map(|line| line.split(['.', ' ']).next()).map(str::to_owned).collect()
}

#[test]
fn crates_do_not_know_what_they_must_not() {
    // Packages that the engine, and the simulator that drives it in virtual time, must not use.
    const RUNS: &[&str] =
        &["actix-web", "config", "futures-util", "parking_lot", "prometheus", "hyper-util", "reqwest", "tokio"];
    let forbidden = [
        ("provider", &["actix-web", "hyper-util", "reqwest", "prometheus", "config", "tokio", "tokio-util"][..]),
        ("router", &["arc-swap", "async-trait"]),
        ("router", RUNS),
        ("dispatch", &["actix-web", "hyper-util", "reqwest", "prometheus", "config"]),
        ("openai", &["actix-web", "prometheus", "config"]),
        ("runpod", &["actix-web", "prometheus", "config"]),
        ("runpod-admin", &["actix-web", "prometheus", "config"]),
        ("cerebras", &["actix-web", "prometheus", "config"]),
        ("ledger", &["actix-web", "hyper-util", "reqwest", "prometheus", "config"]),
        ("shared", &["actix-web", "hyper-util", "reqwest", "prometheus", "config"]),
        ("dialects", &["actix-web", "futures-util", "http", "hyper-util", "reqwest", "prometheus", "config", "tokio"]),
        ("settings", &["actix-web", "clap", "futures-util", "prometheus", "hyper-util", "reqwest", "tokio"]),
        ("simulator", &["clap"]),
        ("simulator", RUNS),
        ("server", &["config", "hyper-util", "reqwest"]),
    ];
    for (name, forbidden) in forbidden {
        let packages = packages_of(&format!("crates/{name}/Cargo.toml"));
        for package in forbidden {
            assert!(!packages.contains(*package), "{name} must not know {package}");
        }
    }
}

/// The engine is driven by a simulator in virtual time as well: no package that it is built with may bring a runtime.
#[test]
fn the_engine_is_built_without_a_runtime() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--package", "router", "--edges", "normal", "--prefix", "none"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let tree = String::from_utf8(tree.stdout).expect("text");
    let packages: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(packages.contains("provider"), "{packages:?}");
    for runtime in ["tokio", "mio", "parking_lot", "futures-executor"] {
        assert!(!packages.contains(runtime), "router is built with {runtime}");
    }
}

/// The lines before the tests, which come last.
fn lines_without_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod tests"));
    tests.unwrap_or(lines.len())
}

#[test]
fn source_files_stay_short() {
    for path in files("crates", &[".rs"]).into_iter().chain(files("tests", &[".rs"])) {
        let name = shown(&path);
        let lines = lines_without_tests(&text(&path));
        assert!(lines <= MAX_LINES, "{name} has {lines} lines of at most {MAX_LINES}: split it");
    }
}

#[test]
fn the_top_level_holds_what_it_may() {
    let expected = [
        "CHANGELOG.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "config",
        "crates",
        "deploy",
        "docs",
        "rust-toolchain.toml",
        "tests",
    ];
    let found: Vec<String> =
        names(&root()).into_iter().filter(|name| !name.starts_with('.') && name != "target").collect();
    assert_eq!(found, expected);
}

#[test]
fn nothing_unfinished_and_nothing_local_is_left_behind() {
    // Joined at run time, because otherwise this file would contain them.
    let words =
        [["TO", "DO"], ["FIX", "ME"], ["XX", "X:"], ["/ro", "ot/"], ["/ho", "me/"], ["/wo", "rk/"]].map(|w| w.concat());
    let endings = [".rs", ".toml", ".md", ".py", ".mjs", "run", ".service", "Dockerfile"];
    for path in ["crates", "tests", "docs", "config", "deploy"].into_iter().flat_map(|folder| files(folder, &endings)) {
        let text = text(&path);
        for (at, line) in text.lines().enumerate() {
            let word = words.iter().find(|word| line.contains(word.as_str()));
            assert_eq!(word, None, "{}:{}", shown(&path), at + 1);
        }
    }
}

/// A client that accepts any certificate sends the key to anyone who intercepts the connection.
#[test]
fn every_certificate_is_checked() {
    let words = [["dan", "ger_"], ["dan", "gerous("], ["accept_inv", "alid"], ["NoCertificateVer", "ification"]];
    for path in files("crates", &[".rs"]) {
        let text = text(&path);
        for word in words.map(|word| word.concat()) {
            assert!(!text.contains(&word), "{}: {word}", shown(&path));
        }
    }
}

/// A wall clock may jump: it is read for logs and seeds alone. Clippy bans the call, with an exception for one file.
#[test]
fn the_wall_clock_is_read_in_one_place() {
    assert!(text(".clippy.toml").contains("path = \"std::time::SystemTime::now\""));
    let reads = |path: &std::path::PathBuf| text(path).contains("SystemTime::now()");
    let ours = files("crates", &[".rs"]).into_iter().filter(|path| !shown(path).starts_with("crates/emulator/"));
    let readers: Vec<String> = ours.filter(reads).map(|path| shown(&path)).collect();
    assert_eq!(readers, ["crates/server/src/clock.rs"]);
}

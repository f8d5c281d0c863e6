//! What a router has written of its decisions can be replayed and learned from.

use std::{fs, path::PathBuf, process::Command};

use crate::router::{KEY, Router, eventually, exchange, folder, request};

const REQUESTS: usize = 12;

/// The log of a router that has served some streams for one model, and one request for another.
fn log() -> (PathBuf, PathBuf) {
    let folder = folder();
    let decisions = folder.join("decisions");
    let settings = [("LLM_ROUTER__DECISIONS__LOG_FOLDER", decisions.to_str().unwrap())];
    // Nobody listens there: the second upstream serves.
    let router = Router::start("http://127.0.0.1:9/v1", &settings, "");
    for number in 0..REQUESTS {
        let body =
            format!(r#"{{"model":"llama","stream":true,"messages":[{{"role":"user","content":"request {number}"}}]}}"#);
        let answer = exchange(&router.public, &request("POST /v1/chat/completions", KEY, &body));
        assert!(answer.contains("[DONE]"), "{answer}");
    }
    router.chat_with_the_first();
    let file = eventually("every request is written", || {
        let file = fs::read_dir(&decisions).ok()?.next()?.ok()?.path();
        let lines = fs::read_to_string(&file).ok()?.lines().count();
        (lines == 1 + REQUESTS + 1).then_some(file)
    });
    (folder, file)
}

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_llm-router")).args(arguments).env_clear().output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn the_log_of_a_router_is_a_trace_and_calibrates_the_simulator() {
    let (folder, file) = log();
    let file = file.to_str().unwrap();
    let (code, text) = run(&["simulate", "--trace", file, "--model", "llama", "--baselines", "--seeds", "1"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&format!("{REQUESTS} requests")), "those for the other model are left out: {text}");
    let (code, text) = run(&["simulate", "--trace", file, "--model", "lama", "--baselines"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("they ask for llama, only-first"), "{text}");
    let second = folder.join("second.jsonl");
    fs::copy(file, &second).unwrap();
    let both = [file, second.to_str().unwrap()];
    let (code, text) =
        run(&["simulate", "--trace", both[0], both[1], "--model", "llama", "--baselines", "--seeds", "1"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&format!("{} requests", 2 * REQUESTS)), "several logs are one: {text}");
    let out = folder.join("providers.toml");
    let (code, text) = run(&["calibrate", "--decisions", file, "--model", "llama", "--out", out.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&format!("second: {REQUESTS} streams that began")), "{text}");
    assert!(text.contains("of 60 streams found no call waiting)"), "the times are kept: {text}");
    let (code, text) = run(&[
        "simulate",
        "--trace",
        file,
        "--model",
        "llama",
        "--baselines",
        "--seeds",
        "1",
        "--providers",
        out.to_str().unwrap(),
    ]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = run(&["calibrate", "--decisions", "no-such-file.jsonl"]);
    assert_eq!((code, text.contains("cannot read no-such-file.jsonl")), (Some(1), true), "{text}");
    let (code, text) = run(&["calibrate", "--decisions", out.to_str().unwrap()]);
    assert_eq!((code, text.contains("providers.toml: this is no decision log")), (Some(1), true), "{text}");
    let (code, text) = run(&["calibrate", "--decisions", folder.to_str().unwrap()]);
    assert_eq!((code, text.contains("is a folder: give the files in it")), (Some(1), true), "{text}");
    fs::remove_dir_all(folder).unwrap();
}

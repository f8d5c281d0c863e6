//! The access log: a line for each request, whatever is in it.

use std::fs;

use crate::router::{KEY, Router, eventually, exchange, folder, request};

/// A program that reads the log line by line, or a terminal that shows it, must not see requests that never came.
#[test]
fn a_request_makes_one_line_of_log_whatever_it_holds() {
    let folder = folder();
    let file = folder.join("access.log");
    let environment = [("LLM_ROUTER__LOG__ACCESS", file.to_str().unwrap()), ("LLM_ROUTER__LOG__FORMAT", "json")];
    let refusing = emulator::Emulator::refusing_base().unwrap();
    let router = Router::start(&refusing, &environment, "");
    let names =
        ["a\\nb", "a\\r\\n{\\\"status\\\":200}", "\\u2028\\u2029\\u0085", "\\u001b[2J\\u001b]0;x\\u0007", "llama\\n"];
    for name in names {
        let body = format!(r#"{{"model":"{name}","messages":[{{"role":"user","content":"{name}"}}],"user":"{name}"}}"#);
        // A key that is not known makes a line of the process log, which is limited, and none here.
        for key in [KEY, name] {
            let answer = exchange(&router.public, &request("POST /v1/chat/completions", key, &body));
            assert!(answer.starts_with("HTTP/1.1 4"), "{name}: {answer}");
        }
    }
    let lines = eventually("every request has its line", || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        (text.matches('\n').count() >= names.len()).then_some(text)
    });
    assert_eq!(lines.lines().count(), names.len(), "{lines}");
    for line in lines.lines() {
        let read: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(read.is_object() && !line.contains(|c: char| c.is_control()), "{line}");
    }
    drop(router);
    drop(fs::remove_dir_all(folder));
}

//! Every route, read from the tables that register them, against every way to have no key.

use std::{collections::BTreeSet, fs, path::Path};

use e2e::{BALANCED, CEREBRAS, CLIENT_KEY, Launch, RUNPOD_LB, Rig};
use emulator::Settings;

use crate::raw::{answer, body, statuses};

const TOKEN: &str = "token-of-the-operators";

/// What answers without a key; `/metrics` is on the admin listener alone.
const OPEN: [&str; 5] = ["/", "/livez", "/readyz", "/openapi.json", "/metrics"];

fn rig() -> Rig {
    let config = format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}");
    Launch::new(Settings::instant(), &config).env("LLM_ROUTER_ADMIN_TOKEN", TOKEN).start()
}

/// The method and path of each endpoint of a table.
fn routes(file: &str) -> Vec<(&'static str, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/server/src").join(file);
    let source = fs::read_to_string(path).unwrap();
    let mut found = Vec::new();
    for endpoint in source.split("Endpoint::").skip(1) {
        let method = if endpoint.starts_with("get") { "GET" } else { "POST" };
        let path = endpoint.split('"').nth(1).unwrap();
        found.push((method, path.replace("{name:.*}", "llama")));
    }
    assert!(found.len() >= 5, "{file}: {found:?}");
    found
}

fn request(method: &str, path: &str, authorization: &str) -> Vec<u8> {
    // The body is announced and never sent: the refusal must come without it.
    let length = if method == "POST" { "content-type: application/json\r\ncontent-length: 1000\r\n" } else { "" };
    format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{authorization}{length}\r\n").into_bytes()
}

/// A header for each way to send no key, and for each way to send one that is not known.
fn strangers() -> [Vec<String>; 2] {
    let none =
        ["", "authorization: \r\n", "authorization: Bearer\r\n", "authorization: Bearer \r\n", "x-api-key: \r\n"];
    let other_schemes = [
        format!("authorization: {CLIENT_KEY}\r\n"),
        format!("authorization: Basic {CLIENT_KEY}\r\n"),
        format!("authorization: Token {TOKEN}\r\n"),
    ];
    let unknown = [
        "k".to_owned(),
        "k".repeat(10 << 10),
        CLIENT_KEY[..CLIENT_KEY.len() - 1].to_owned(),
        format!("{CLIENT_KEY}x"),
        "' OR 1=1 --".to_owned(),
        "%s%n{0}${jndi:ldap://x}".to_owned(),
        "\u{e9}\u{1f600}".to_owned(),
    ];
    let headers = |key| [format!("authorization: Bearer {key}\r\n"), format!("x-api-key: {key}\r\n")];
    let unknown = unknown.into_iter().flat_map(headers).collect();
    [none.map(str::to_owned).into_iter().chain(other_schemes).collect(), unknown]
}

/// Without a key: refused before the body is read, with the scheme to use, and in the same words for all keys that are not known.
#[tokio::test]
async fn every_route_but_the_probes_wants_a_key() {
    let rig = rig();
    let listeners = [(rig.running().addr(), "api.rs"), (rig.running().admin_addr(), "admin.rs")];
    let mut open = BTreeSet::new();
    for (addr, file) in listeners {
        for (method, path) in routes(file) {
            for group in strangers() {
                let mut bodies = BTreeSet::new();
                for header in group {
                    let answer = answer(addr, &request(method, &path, &header)).await;
                    let what = format!("{method} {path} {header:?}: {answer}");
                    if OPEN.contains(&path.as_str()) {
                        assert_eq!(statuses(&answer), [200], "{what}");
                        open.insert(path.clone());
                        continue;
                    }
                    assert_eq!(statuses(&answer), [401], "{what}");
                    assert!(answer.to_ascii_lowercase().contains("\r\nwww-authenticate: bearer\r\n"), "{what}");
                    // In Anthropic's shape the id of the request stands behind the words.
                    let words = body(&answer).split(",\"request_id\"").next().unwrap_or_default();
                    bodies.insert(words.to_owned());
                }
                assert!(bodies.len() <= 1, "{method} {path}: {bodies:?}");
            }
        }
    }
    assert_eq!(open.len(), OPEN.len(), "{open:?}");
    let logs = rig.emulator.call_logs();
    assert_eq!(logs.runpod_lb.received + logs.cerebras.received, 0);
}

/// Each key is valid on one listener.
#[tokio::test]
async fn a_clients_key_opens_no_admin_route_and_the_admin_token_no_other() {
    let rig = rig();
    let (public, admin) = (rig.running().addr(), rig.running().admin_addr());
    let closed = |(_, path): &(&str, String)| !OPEN.contains(&path.as_str());
    let cases = [(public, "api.rs", TOKEN), (admin, "admin.rs", CLIENT_KEY)];
    for (addr, file, key) in cases {
        for (method, path) in routes(file).into_iter().filter(closed) {
            let header = format!("authorization: Bearer {key}\r\n");
            let answer = answer(addr, &request(method, &path, &header)).await;
            assert_eq!(statuses(&answer), [401], "{method} {path}: {answer}");
        }
    }
    // What one listener serves with its key is not to be found on the other, whatever the key.
    for (addr, other) in [(public, "admin.rs"), (admin, "api.rs")] {
        for (method, path) in routes(other).into_iter().filter(|route| closed(route) || route.1 == "/metrics") {
            for key in [CLIENT_KEY, TOKEN] {
                let answer = answer(addr, &request(method, &path, &format!("authorization: Bearer {key}\r\n"))).await;
                let is_own = addr == admin && path == "/metrics";
                assert!(is_own || statuses(&answer) == [404], "{method} {path} with {key}: {answer}");
            }
        }
    }
}

/// A route that is added shows up here, to be looked at.
#[test]
fn the_routes_are_those_that_were_looked_at() {
    let shown = |file| routes(file).into_iter().map(|(method, path)| format!("{method} {path}")).collect::<Vec<_>>();
    assert_eq!(
        shown("api.rs"),
        [
            "POST /v1/chat/completions",
            "POST /v1/completions",
            "POST /v1/embeddings",
            "POST /v1/rerank",
            "POST /v1/score",
            "POST /v1/audio/transcriptions",
            "POST /v1/tokenize",
            "POST /v1/detokenize",
            "POST /v1/messages",
            "POST /v1/messages/count_tokens",
            "POST /v1/responses",
            "POST /v1/generate",
            "POST /v1/generate/stream",
            "POST /v1/chat/stream",
            "POST /v1/generate/batch",
            "POST /v1/route/explain",
            "GET /v1/models",
            "GET /v1/models/llama",
            "GET /",
            "GET /livez",
            "GET /readyz",
            "GET /openapi.json",
        ]
    );
    assert_eq!(
        shown("admin.rs"),
        [
            "GET /metrics",
            "GET /livez",
            "GET /readyz",
            "GET /openapi.json",
            "POST /admin/reload",
            "GET /admin/decisions",
            "GET /admin/budgets",
            "GET /admin/spend",
            "GET /admin/savings",
            "GET /admin/keys",
            "POST /admin/keys/create",
            "POST /admin/keys/rotate",
            "POST /admin/keys/disable",
            "POST /admin/keys/enable",
            "POST /admin/keys/terms",
            "GET /admin/teams",
            "POST /admin/teams/terms",
            "GET /admin/audit",
        ]
    );
}

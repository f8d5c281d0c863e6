//! Requests that two readers might cut differently: refused, the connection closed, and what follows is never taken for a
//! request of its own.

use e2e::{BALANCED, CEREBRAS, CLIENT_KEY, Launch, RUNPOD_LB, Rig, chat};
use emulator::Settings;

use crate::raw::{statuses, until_closed};

fn rig() -> Rig {
    Launch::new(Settings::instant(), &format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}")).start()
}

fn received(rig: &Rig) -> u64 {
    let logs = rig.emulator.call_logs();
    logs.runpod_lb.received + logs.cerebras.received
}

/// A head with the key; `rest` is its further lines.
fn head(rest: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CLIENT_KEY}\r\n\
         content-type: application/json\r\n{rest}\r\n"
    )
}

/// A request that would be served if it were taken for one.
fn second() -> String {
    let body = chat("smuggled").to_string();
    head(&format!("connection: close\r\ncontent-length: {}\r\n", body.len())) + &body
}

fn length(of: &str) -> String {
    format!("content-length: {}\r\n", of.len())
}

fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

/// Every one of these is served by some server somewhere.
fn ambiguous() -> Vec<(&'static str, String)> {
    let body = chat("x").to_string();
    let chunks = chunked(&body);
    let te = "transfer-encoding: chunked\r\n";
    let with_te = |te: &str| head(te) + &chunks;
    let raw = |lines: &str| {
        format!("POST /v1/chat/completions HTTP/1.1\r\nauthorization: Bearer {CLIENT_KEY}\r\n{lines}\r\n")
    };
    vec![
        ("length and coding", head(&format!("{}{te}", length(&body))) + &chunks),
        ("coding and length", head(&format!("{te}content-length: 4\r\n")) + &chunks),
        ("two lengths", head(&format!("{}content-length: 1\r\n", length(&body))) + &body),
        ("two equal lengths", head(&length(&body).repeat(2)) + &body),
        ("a list of lengths", head(&format!("content-length: {0}, {0}\r\n", body.len())) + &body),
        ("a length with a sign", head(&format!("content-length: +{}\r\n", body.len())) + &body),
        ("a negative length", head("content-length: -1\r\n") + &body),
        ("a length in hexadecimal", head(&format!("content-length: 0x{:x}\r\n", body.len())) + &body),
        ("a length of two words", head("content-length: 1 2\r\n") + &body),
        ("an empty length", head("content-length: \r\n") + &body),
        ("a length that overflows", head("content-length: 18446744073709551617\r\n") + &body),
        ("xchunked", with_te("transfer-encoding: xchunked\r\n")),
        ("chunked, identity", with_te("transfer-encoding: chunked, identity\r\n")),
        ("identity, chunked", with_te("transfer-encoding: identity, chunked\r\n")),
        ("chunked twice", with_te(&te.repeat(2))),
        ("a vertical tab", with_te("transfer-encoding: \u{b}chunked\r\n")),
        ("quotes", with_te("transfer-encoding: \"chunked\"\r\n")),
        ("gzip, chunked", with_te("transfer-encoding: gzip, chunked\r\n")),
        ("a blank before the colon", with_te("transfer-encoding : chunked\r\n")),
        ("a blank before a length's colon", head(&format!("content-length : {}\r\n", body.len())) + &body),
        ("a folded line", with_te("transfer-encoding:\r\n chunked\r\n")),
        ("a folded header", head(&format!("x-a: b\r\n c: d\r\n{}", length(&body))) + &body),
        ("a chunk size that overflows", head(te) + "fffffffffffffffff\r\n" + &body),
        ("a negative chunk size", head(te) + "-1\r\n" + &body),
        ("a chunk size with a prefix", head(te) + &format!("0x{chunks}")),
        ("a chunk longer than it says", head(te) + "1\r\n{\"\r\n0\r\n\r\n"),
        ("no host", raw(&format!("content-type: application/json\r\n{}", length(&body))) + &body),
        (
            "two hosts",
            raw(&format!("host: a\r\nhost: b\r\ncontent-type: application/json\r\n{}", length(&body))) + &body,
        ),
        ("a NUL in a value", head(&format!("x-a: b\0c\r\n{}", length(&body))) + &body),
        ("a NUL in a name", head(&format!("x\0a: b\r\n{}", length(&body))) + &body),
        ("a bare CR in a value", head(&format!("x-a: b\rcontent-length: 0\r\n{}", length(&body))) + &body),
        ("an empty name", head(&format!(": b\r\n{}", length(&body))) + &body),
        ("no colon", head(&format!("x-a\r\n{}", length(&body))) + &body),
        ("a version of the future", second().replace("HTTP/1.1", "HTTP/1.9")),
        ("HTTP/2.0 as text", second().replace("HTTP/1.1", "HTTP/2.0")),
        ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        ("a version in lower case", second().replace("HTTP/1.1", "http/1.1")),
        ("a blank before the method", format!(" {}", second())),
        ("a third word", second().replace("completions HTTP", "completions x HTTP")),
        ("a bare LF and two framings", head(&format!("x-a: b\n{}{te}", length(&body))) + &chunks),
    ]
}

#[tokio::test]
async fn an_ambiguous_request_ends_its_connection_and_nothing_behind_it_is_served() {
    let rig = rig();
    let addr = rig.running().addr();
    for (what, bytes) in ambiguous() {
        let answer = until_closed(addr, format!("{bytes}{}", second()).as_bytes()).await;
        let statuses = statuses(&answer);
        assert!(statuses.len() <= 1 && statuses.iter().all(|status| *status == 400), "{what}: {statuses:?} {answer}");
        assert_eq!(received(&rig), 0, "{what}: nothing is served");
    }
    assert_eq!(rig.client.chat(&chat("still there?")).await.status, 200);
}

/// The body of a refused request is not read, and must not be taken for a request.
#[tokio::test]
async fn the_body_of_a_refused_request_is_never_taken_for_the_next_one() {
    let rig = rig();
    let addr = rig.running().addr();
    let inner = second();
    let without_key = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{}\r\n{inner}", length(&inner));
    let wrong_type = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CLIENT_KEY}\r\n{}\r\n{inner}",
        length(&inner)
    );
    let nowhere = format!("POST /nowhere HTTP/1.1\r\nhost: x\r\n{}\r\n{inner}", length(&inner));
    let probe = format!("GET /livez HTTP/1.1\r\nhost: x\r\n{}\r\n{inner}", length(&inner));
    let no_json = head(&length(&inner)) + &inner;
    let chunks = head("transfer-encoding: chunked\r\n") + &chunked(&inner);
    let last = "GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    for bytes in [without_key, wrong_type, nowhere, probe, no_json, chunks] {
        let answer = until_closed(addr, format!("{bytes}{last}").as_bytes()).await;
        let statuses = statuses(&answer);
        let is_own = |status: &u16| matches!(status, 200 | 400 | 401 | 404 | 415);
        assert!((1..=2).contains(&statuses.len()) && statuses.iter().all(is_own), "{bytes}: {answer}");
        assert!(!answer.contains("smuggled") && received(&rig) == 0, "{bytes}: {answer}");
    }
}

#[tokio::test]
async fn no_connection_is_upgraded_and_trailers_are_ignored() {
    let rig = rig();
    let addr = rig.running().addr();
    let body = chat("x").to_string();
    let upgrades = [
        "connection: upgrade, close\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: eA==\r\n",
        "connection: upgrade, http2-settings, close\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n",
    ];
    let mut served = 0;
    for upgrade in upgrades {
        let answer = until_closed(addr, (head(&format!("{upgrade}{}", length(&body))) + &body).as_bytes()).await;
        let statuses = statuses(&answer);
        assert!(statuses == [200] || statuses == [400], "{upgrade}: {answer}");
        served += u64::from(statuses == [200]);
        assert_eq!(received(&rig), served, "{upgrade}");
    }
    // A key in a trailer, behind the body, authenticates no request.
    let late = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n\
         trailer: authorization\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\nauthorization: Bearer {CLIENT_KEY}\r\n\r\n",
        body.len()
    );
    assert_eq!(statuses(&until_closed(addr, late.as_bytes()).await), [401]);
    assert_eq!(received(&rig), served);
}

/// Methods that make a server a tunnel or an echo.
#[tokio::test]
async fn connect_and_trace_are_refused() {
    let rig = rig();
    let canary = "x-canary: canary\r\n";
    for addr in [rig.running().addr(), rig.running().admin_addr()] {
        for target in ["/v1/chat/completions", "/livez", "/", "x:443", "upstream.invalid:443", "http://x/livez", "*"] {
            for method in ["CONNECT", "TRACE", "TRACK", "DEBUG", "PROPFIND"] {
                let request = format!("{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{canary}\r\n");
                let answer = until_closed(addr, request.as_bytes()).await;
                let is_refused = |status: &u16| matches!(status, 400 | 404 | 405);
                let statuses = statuses(&answer);
                assert!(statuses.len() == 1 && statuses.iter().all(is_refused), "{method} {target}: {answer}");
                assert!(!answer.contains("canary"), "{method} {target}: {answer}");
            }
        }
    }
}

/// Heads at the edge of what HTTP allows.
#[tokio::test]
async fn odd_headers_are_refused_or_harmless() {
    let rig = rig();
    let addr = rig.running().addr();
    let body = chat("x").to_string();
    let ask = |lines: &str| (head(&format!("connection: close\r\n{lines}{}", length(&body))) + &body).into_bytes();
    let cases = [
        ("200 headers", "x-a: b\r\n".repeat(200), false),
        ("a value of 64 KiB", format!("x-a: {}\r\n", "v".repeat(64 << 10)), true),
        ("a value of 1 MiB", format!("x-a: {}\r\n", "v".repeat(1 << 20)), false),
        ("a value that is not ASCII", "x-a: \u{e9}\u{1f600}\r\n".to_owned(), true),
        ("an id of 10 KiB", format!("x-request-id: {}\r\n", "i".repeat(10 << 10)), true),
        ("an id with a bare CR", "x-request-id: a\rb\r\n".to_owned(), false),
        ("two ids", "x-request-id: a\r\nx-request-id: b\r\n".to_owned(), true),
    ];
    for (what, lines, is_served) in cases {
        let before = received(&rig);
        let answer = until_closed(addr, &ask(&lines)).await;
        let status = statuses(&answer);
        if is_served {
            assert_eq!(status, [200], "{what}: {answer}");
        } else {
            assert!(status.len() <= 1 && status.iter().all(|status| matches!(status, 400 | 431)), "{what}: {answer}");
        }
        assert_eq!(received(&rig) - before, u64::from(is_served), "{what}");
        assert!(!answer.contains(&"i".repeat(65)), "{what}: {answer}");
    }
}

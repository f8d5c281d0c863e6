//! Answers that an HTTP client must not swallow: packed ones, endless heads, interim answers without end, redirects.

use e2e::{Rig, UPSTREAM_KEY, chat, eventually, streamed};

use crate::wire::{ANSWER, Reply, Wire, before, launch_with};

/// The other upstream serves, whole and as a stream; the first one was asked before.
async fn assert_passed_over(rig: &Rig, wire: &Wire, what: &str) {
    let whole = rig.client.chat(&chat("hello")).await;
    assert_eq!((whole.status, whole.provider()), (200, "cerebras"), "{what}: {}", whole.text);
    let stream = rig.client.stream(&streamed(chat("hello"))).await;
    assert!(stream.is_done() && stream.provider() == "cerebras", "{what}: {:?}", stream.events);
    assert!(!wire.requests().is_empty(), "{what}: it was asked first");
}

/// A compressed body, a thousand times larger when it is decompressed.
fn packed() -> Vec<u8> {
    let mut body = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    body.extend([0xed, 0xc1, 0x01, 0x0d, 0, 0, 0, 0xc2].iter().cycle().take(1024));
    body
}

/// The router asks for no content coding and decodes none, so that a decompression bomb stays small.
#[tokio::test]
async fn a_packed_answer_is_not_unpacked_and_falls_back() {
    for coding in ["gzip", "br", "deflate", "zstd"] {
        let body = packed();
        let mut reply = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: {coding}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        reply.extend(body);
        let wire = Wire::start(Reply::bytes(reply)).await;
        let rig = before(&wire);
        assert_passed_over(&rig, &wire, coding).await;
        let asked = wire.requests()[0].to_ascii_lowercase();
        assert!(asked.contains("\r\naccept-encoding: identity\r\n"), "{asked}");
    }
}

#[tokio::test]
async fn a_head_without_measure_falls_back() {
    let huge = format!("x-huge: {}\r\n", "h".repeat(1 << 20));
    let many = "x-many: m\r\n".repeat(1_000);
    for (what, headers) in [("one header of 1 MiB", huge), ("a thousand headers", many)] {
        let wire = Wire::start(Reply::whole("200 OK", &headers, ANSWER)).await;
        assert_passed_over(&before(&wire), &wire, what).await;
    }
}

/// The connection to the upstream is closed after a bounded number of bytes.
#[tokio::test]
async fn a_head_without_end_is_hung_up_on() {
    let line = format!("x-endless: {}\r\n", "e".repeat(1_000));
    let wire = Wire::start(Reply::flood("HTTP/1.1 200 OK\r\n", line)).await;
    assert_passed_over(&before(&wire), &wire, "a head without end").await;
    assert!(wire.sent() < 64 << 20, "{} bytes were taken", wire.sent());
}

#[tokio::test]
async fn an_interim_answer_is_skipped() {
    for interim in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"] {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
        let answer = format!("{}{head}content-length: {}\r\n\r\n{ANSWER}", interim.repeat(3), ANSWER.len());
        let wire = Wire::start(Reply::bytes(answer)).await;
        let whole = before(&wire).client.chat(&chat("hello")).await;
        assert_eq!((whole.status, whole.content().as_str()), (200, "wire"), "{}", whole.text);
    }
}

/// They count as silence: the limits for the first token end the call.
#[tokio::test]
async fn interim_answers_without_end_are_cut_off() {
    let wire = Wire::start(Reply::flood("", "HTTP/1.1 102 Processing\r\n\r\n".repeat(50))).await;
    let rig = launch_with(&format!("http://{}/v1", wire.addr), "first_token_ms = 500").start();
    assert_passed_over(&rig, &wire, "interim answers without end").await;
    eventually("nothing is read any more", async || {
        let taken = wire.sent();
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        (wire.sent() == taken).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_target_of_a_redirect_gets_neither_the_request_nor_the_key() {
    for status in
        ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"]
    {
        let other = Wire::start(Reply::whole("200 OK", "", ANSWER)).await;
        let location = format!("location: http://{}/v1/chat/completions\r\n", other.addr);
        let wire = Wire::start(Reply::whole(status, &location, "{}")).await;
        assert_passed_over(&before(&wire), &wire, status).await;
        assert_eq!(other.requests(), Vec::<String>::new(), "{status}");
        assert!(wire.requests()[0].contains(UPSTREAM_KEY), "the first one has the key");
    }
}

/// One that is too long is a connection that broke, one that is too short leaves half an answer.
#[tokio::test]
async fn a_length_that_lies_falls_back() {
    for length in [ANSWER.len() + 100, ANSWER.len() - 20] {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
        let wire = Wire::start(Reply::bytes(format!("{head}content-length: {length}\r\n\r\n{ANSWER}"))).await;
        assert_passed_over(&before(&wire), &wire, &format!("{length} of {} bytes", ANSWER.len())).await;
    }
}

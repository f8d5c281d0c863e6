//! A stream is a stream by its first bytes, and has an end of its own.

use provider::{
    ErrorKind,
    FrameKind::{self, Content, Done, Finish},
    Operation,
};
use serde_json::json;

use crate::{
    raw::Turn,
    stage::{CONTENT, DONE, FINISH, Stage, kept, kinds, text, until_closed},
};

#[tokio::test]
async fn a_stream_is_read_whatever_its_label() {
    for label in ["text/event-stream", "text/plain", "application/json", "application/octet-stream", ""] {
        let header = if label.is_empty() { String::new() } else { format!("content-type: {label}\r\n") };
        for start in ["", "\u{feff}", "\n\n", ": hello\n\n", "event: message\n", "retry: 10\n\n"] {
            let body = format!("{start}{CONTENT}{FINISH}{DONE}");
            let stage = Stage::set(vec![vec![until_closed(&header, &body)]]).await;
            let frames = stage.stream().await.unwrap_or_else(|error| panic!("{label} {start:?}: {error}"));
            assert_eq!(kinds(&frames).last(), Some(&FrameKind::Done), "{label} {start:?}");
            assert!(text(&frames).ends_with(&format!("{CONTENT}{FINISH}{DONE}")), "{label} {start:?}");
        }
    }
}

#[tokio::test]
async fn a_field_that_is_cut_anywhere_makes_a_stream_without_a_label() {
    for cut in 1..8 {
        let (start, rest) = CONTENT.split_at(cut);
        let pieces = [&"HTTP/1.1 200 OK\r\n\r\n".to_owned(), &start.to_owned(), &format!("{rest}{FINISH}{DONE}")];
        let stage = Stage::set(vec![vec![Turn::Last(pieces.map(String::clone).to_vec())]]).await;
        assert_eq!(text(&stage.stream().await.expect("a stream")), format!("{CONTENT}{FINISH}{DONE}"), "cut at {cut}");
    }
}

#[tokio::test]
async fn what_is_asked_for_is_said() {
    let stage = Stage::set(vec![vec![until_closed("", &format!("{CONTENT}{FINISH}{DONE}"))]]).await;
    stage.stream().await.expect("a stream");
    assert!(stage.server.asked()[0].to_ascii_lowercase().contains("accept: text/event-stream"));
}

#[tokio::test]
async fn embeddings_are_not_streamed_whatever_is_asked_for() {
    let body = r#"{"data":[{"embedding":[0.5]}],"usage":{"prompt_tokens":1,"total_tokens":1}}"#;
    let stage = Stage::of(Operation::Embeddings, vec![vec![kept(body)]]).await;
    let frames = stage.call(json!({"stream": true}), None).await.expect("an answer");
    assert_eq!((kinds(&frames), text(&frames).as_str()), (vec![FrameKind::Whole], body));
    let asked = &stage.server.asked()[0];
    assert!(asked.contains("accept: application/json") && !asked.contains("stream_options"), "{asked}");
}

#[tokio::test]
async fn a_whole_answer_becomes_the_stream_that_was_asked_for() {
    let whole = json!({"id": "c", "object": "chat.completion", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}]});
    for label in ["application/json", "text/event-stream"] {
        let answer = until_closed(&format!("content-type: {label}\r\n"), &whole.to_string());
        let stage = Stage::set(vec![vec![answer]]).await;
        let frames = stage.stream().await.expect("a stream");
        let expected = [FrameKind::Content, FrameKind::Finish, FrameKind::Usage, FrameKind::Done];
        assert_eq!(kinds(&frames), expected, "{label}");
        assert!(text(&frames).contains("\"content\":\"hello\""), "{}", text(&frames));
    }
}

#[tokio::test]
async fn an_event_may_be_large() {
    for megabytes in [1, 5] {
        let large = CONTENT.replace("hello", &"x".repeat(megabytes * 1_100_000));
        let body = format!("{large}{FINISH}{DONE}");
        let stage = Stage::set(vec![vec![until_closed("content-type: text/event-stream\r\n", &body)]]).await;
        assert!(text(&stage.stream().await.expect("a stream")) == body, "{megabytes} MB");
    }
}

#[tokio::test]
async fn an_end_without_done_is_well_if_every_choice_has_ended() {
    let first = FINISH.to_owned();
    let second = FINISH.replace("\"index\":0", "\"index\":1");
    let unknown = FINISH.replace("\"stop\"", "\"eos_found\"");
    let empty = FINISH.replace("\"stop\"", "\"\"");
    let cases = [
        (1, first.clone(), true),
        (1, unknown.clone(), true),
        (1, empty, false),
        (1, String::new(), false),
        (2, first.clone(), false),
        (2, format!("{first}{first}"), false),
        (2, format!("{first}{second}"), true),
        (2, format!("{second}{unknown}"), true),
    ];
    for (n, ends, is_well) in cases {
        let answer = until_closed("content-type: text/event-stream\r\n", &format!("{CONTENT}{ends}"));
        let stage = Stage::set(vec![vec![answer]]).await;
        let result = stage.call(json!({"stream": true, "n": n}), None).await;
        match result {
            Ok(frames) => {
                assert!(is_well, "{n} choices: {ends}");
                assert!(text(&frames).ends_with(DONE));
            }
            Err(error) => {
                assert!(!is_well, "{n} choices: {ends}: {error}");
                assert_eq!(error.kind, ErrorKind::Interrupted);
            }
        }
    }
}

#[tokio::test]
async fn only_the_last_end_completes_the_answer() {
    let second = FINISH.replace("\"index\":0", "\"index\":1");
    let body = format!("{CONTENT}{FINISH}{CONTENT}{second}{CONTENT}{DONE}");
    let stage = Stage::set(vec![vec![until_closed("content-type: text/event-stream\r\n", &body)]]).await;
    let frames = stage.call(json!({"stream": true, "n": 2}), None).await.expect("a stream");
    assert_eq!(kinds(&frames), [Content, Content, Content, Finish, Content, Done]);
    assert_eq!(text(&frames), body);
}

#[tokio::test]
async fn an_unknown_end_is_not_believed_where_the_connection_is_cut() {
    let unknown = FINISH.replace("\"stop\"", "\"eos_found\"");
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let body = format!("{CONTENT}{unknown}");
    let chunk = format!("{:x}\r\n{body}\r\n", body.len());
    let stage = Stage::set(vec![vec![Turn::Last(vec![head.to_owned(), chunk])]]).await;
    assert_eq!(stage.stream().await.expect_err("cut").kind, ErrorKind::Interrupted);
}

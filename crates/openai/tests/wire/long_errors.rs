//! The body of a failed call may be longer than what is read of it.

use provider::{Error, ErrorKind, Operation};
use serde_json::json;

use crate::{raw::Turn, stage::Stage};

const LENGTH: usize = 70 << 10;

async fn error(status: &str, body: &str) -> Error {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
    let stage = Stage::set(vec![vec![Turn::Answer(vec![head, body.to_owned()])]]).await;
    stage.call(json!({}), None).await.expect_err(status)
}

#[tokio::test]
async fn a_long_page_in_a_400_is_a_page() {
    let page = format!("<html><style>{}</style>Attention Required!</html>", "x".repeat(LENGTH));
    let error = error("400 Bad Request", &page).await;
    assert_eq!(error.kind, ErrorKind::Refused);
    assert_eq!(error.message, "the upstream answered 400 with a web page");
}

#[tokio::test]
async fn a_long_message_is_cut_at_its_end() {
    let prompt = "x".repeat(LENGTH);
    for body in [
        json!({"error": {"code": 400, "message": format!("temperature must be in [0, 2]: {prompt}")}}),
        json!({"code": 400, "message": format!("temperature must be in [0, 2]: {prompt}")}),
        json!({"error": {"message": "temperature must be in [0, 2]: that is all", "input": prompt}}),
    ] {
        let error = error("400 Bad Request", &body.to_string()).await;
        assert_eq!(error.kind, ErrorKind::InvalidRequest);
        assert!(error.message.starts_with("temperature must be in [0, 2]: "), "{}", &error.message[..60]);
    }
}

#[tokio::test]
async fn what_means_something_where_there_is_no_body_means_nothing_where_one_was_cut() {
    for body in [format!("[\"{}\"]", "x".repeat(LENGTH)), "x".repeat(LENGTH)] {
        let head = format!("HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\n\r\n", body.len());
        let stage = Stage::of(Operation::Completions, vec![vec![Turn::Answer(vec![head, body])]]).await;
        assert_eq!(stage.call(json!({}), None).await.expect_err("a 404").kind, ErrorKind::Refused);
    }
}

//! Calls without an answer mean what the table of blame says of them.

use openai::blame::{Example, ROWS};
use provider::Error;
use serde_json::json;

use crate::{
    raw::Turn,
    stage::{CONTENT, FINISH, Stage, kept, until_closed},
};

const ANSWER: &str = r#"{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}"#;

async fn error(turns: Vec<Turn>, stream: bool) -> Error {
    let stage = Stage::set(vec![turns]).await;
    stage.call(json!({"stream": stream}), None).await.expect_err("no answer")
}

async fn stream_error(body: &str) -> Error {
    error(vec![until_closed("content-type: text/event-stream\r\n", body)], true).await
}

async fn whole_error(body: &str) -> Error {
    error(vec![kept(body)], false).await
}

/// Every way to the row of that name.
async fn errors(row: &str) -> Vec<Error> {
    match row {
        "unreachable" => vec![Stage::unreachable().await.stream().await.expect_err("nobody listens")],
        "stale connection" => {
            let stage = Stage::set(vec![vec![kept(ANSWER), Turn::Close]]).await;
            stage.call(json!({}), None).await.expect("the first of its connection");
            vec![stage.call(json!({}), None).await.expect_err("closed")]
        }
        "broken connection" => {
            let cut = Turn::Last(vec!["HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"choices\"".to_owned()]);
            vec![
                error(vec![Turn::Close], true).await,
                error(vec![cut.clone()], false).await,
                error(vec![cut], true).await,
                stream_error(CONTENT).await,
            ]
        }
        "unreadable answer" => vec![
            whole_error("{\"choices\":").await,
            stream_error("data: nonsense\n\n").await,
            stream_error(&format!("{CONTENT}data: {}", "x".repeat(65 << 20))).await,
            whole_error(&"x".repeat(65 << 20)).await,
        ],
        "other kind of answer" => vec![
            whole_error(&format!("{CONTENT}{FINISH}")).await,
            error(vec![kept(r#"{"choices":[{"index":0}]}"#)], true).await,
        ],
        unknown => panic!("{unknown}: how does it come about?"),
    }
}

#[tokio::test]
async fn every_row_without_an_answer_decides_what_its_errors_are() {
    for row in ROWS.iter().filter(|row| matches!(row.example, Example::Silent(_))) {
        for error in errors(row.name).await {
            assert_eq!(error.kind, row.kind, "{}: {error}", row.name);
        }
    }
}

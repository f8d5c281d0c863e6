//! A kept connection that the server closes as the next request comes.

use provider::{Adjustment, ErrorKind};
use serde_json::json;

use crate::{
    raw::Turn,
    stage::{Stage, kept},
};

const ANSWER: &str = r#"{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}"#;

#[tokio::test]
async fn a_kept_connection_that_closes_is_worth_a_fresh_one() {
    let stage = Stage::set(vec![vec![kept(ANSWER), Turn::Close]]).await;
    for _ in 0..12 {
        stage.call(json!({}), None).await.expect("the first of its connection");
        let error = stage.call(json!({}), None).await.expect_err("closed");
        assert_eq!((error.kind, error.again), (ErrorKind::Interrupted, Some(Adjustment::FreshConnection)));
        stage.call(json!({}), Some(Adjustment::FreshConnection)).await.expect("a connection of its own");
    }
}

#[tokio::test]
async fn a_connection_of_the_calls_own_that_closes_is_the_upstreams_doing() {
    let stage = Stage::set(vec![vec![Turn::Close]]).await;
    for _ in 0..3 {
        let error = stage.call(json!({}), None).await.expect_err("closed");
        assert_eq!((error.kind, error.again), (ErrorKind::Interrupted, None));
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_repeated() {
    let cut = Turn::Last(vec!["HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"choices\"".to_owned()]);
    let stage = Stage::set(vec![vec![kept(ANSWER), cut]]).await;
    stage.call(json!({}), None).await.expect("the first of its connection");
    let error = stage.call(json!({}), None).await.expect_err("cut");
    assert_eq!((error.kind, error.again), (ErrorKind::Interrupted, None));
}

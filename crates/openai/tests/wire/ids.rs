//! What an upstream calls a call is kept, wherever it says so.

use provider::UpstreamIds;
use serde_json::json;

use crate::{raw::Turn, stage::Stage};

const HEADERS: &str = "x-request-id: r1\r\nx-runpod-worker-id: w1\r\ncf-ray: 8f-FRA\r\n";

async fn ids(headers: &str, body: &str) -> UpstreamIds {
    let head = format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\n\r\n", body.len());
    let stage = Stage::set(vec![vec![Turn::Answer(vec![head, body.to_owned()])]]).await;
    stage.call(json!({}), None).await.expect_err("no answer").ids
}

fn expected(request: &str) -> UpstreamIds {
    UpstreamIds::new(Some(request.to_owned()), Some("w1".to_owned()), Some("8f-FRA".to_owned()))
}

#[tokio::test]
async fn the_ids_of_a_request_its_worker_and_its_edge_are_kept_side_by_side() {
    let broken = r#"{"error":{"message":"m"}}"#;
    assert_eq!(ids(HEADERS, broken).await, expected("r1"));
    assert_eq!(ids(&format!("inference-id: i1\r\n{HEADERS}"), broken).await, expected("i1"));
    let by_the_edge_alone = UpstreamIds::new(Some("8f-FRA".to_owned()), None, Some("8f-FRA".to_owned()));
    assert_eq!(ids("cf-ray: 8f-FRA\r\n", broken).await, by_the_edge_alone);
}

#[tokio::test]
async fn a_jobs_id_leaves_the_workers() {
    assert_eq!(ids(HEADERS, r#"{"id":"sync-1-u1","status":"IN_QUEUE"}"#).await, expected("sync-1-u1"));
}

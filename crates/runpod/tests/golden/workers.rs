//! Workers are counted where the configuration says, with the same key as calls.

use std::time::Duration;

use openai::{BuildError, Client};
use provider::{Capacity, Error, ErrorKind, Provider};
use runpod::{RunPod, Settings};

use crate::server::{Answer, Asked, Server};

fn endpoint(base_url: String, capacity_url: Option<String>) -> Result<RunPod, BuildError> {
    let connect_timeout = Duration::from_secs(5);
    let settings = openai::Settings { base_url, api_key: Some("rpa_key".into()), connect_timeout, headers: Vec::new() };
    let client = Client::new(&settings).expect("a client");
    let settings = Settings {
        model: "m".to_owned(),
        default_max_tokens: None,
        context_tokens: None,
        capacity_url,
        jobs_url: None,
    };
    RunPod::new(client, settings)
}

async fn ask(answer: Answer) -> (Result<Capacity, Error>, Asked) {
    let server = Server::start().await;
    let endpoint = endpoint(server.url("/v1"), Some(server.url("/v2/e/health"))).expect("a URL");
    tokio::join!(endpoint.capacity(), server.answer(&answer))
}

#[tokio::test]
async fn workers_are_counted() {
    let health = r#"{"jobs":{"inQueue":2},"workers":{"idle":0,"running":1}}"#;
    let (capacity, asked) = ask(Answer::json(200, health)).await;
    let expected = Capacity { running: Some(1), idle: Some(0), queued: Some(2), ..Capacity::default() };
    assert_eq!(capacity.expect("a capacity"), expected);
    assert_eq!(asked.path, "/v2/e/health");
    assert!(asked.head.contains("authorization: bearer rpa_key"), "{}", asked.head);
}

#[tokio::test]
async fn an_error_is_no_capacity() {
    let (refused, _) = ask(Answer::json(401, r#"{"title":"Unauthorized","status":401,"detail":"no key"}"#)).await;
    assert_eq!(refused.expect_err("an error").kind, ErrorKind::Auth);
    let (strange, _) = ask(Answer::json(200, r#"{"error":"not found"}"#)).await;
    assert_eq!(strange.expect_err("an error").kind, ErrorKind::Protocol);
}

#[tokio::test]
async fn an_endpoint_that_is_not_counted_is_unknown() {
    let endpoint = endpoint("http://127.0.0.1:9".to_owned(), None).expect("a provider");
    assert_eq!(endpoint.capacity().await.expect("a capacity"), Capacity::default());
}

#[test]
fn a_bad_capacity_url_is_refused() {
    let refused = endpoint("http://127.0.0.1:9".to_owned(), Some("not a url".to_owned())).err();
    assert!(matches!(refused, Some(BuildError::Url(url)) if url == "not a url"));
}

//! Methods and paths that are not served: each answer says what is.

use e2e::Answer;
use reqwest::Method;

use crate::common::{Raw, Refusal, launch, received, status, still_serves};

#[tokio::test]
async fn a_wrong_method_is_told_the_right_one() {
    let rig = launch().start();
    let posts = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"];
    let gets = ["/v1/models", "/v1/models/llama"];
    let wrong = |allowed: Method, paths: &[&'static str]| {
        let methods = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS];
        let all = methods.into_iter().filter(|method| *method != allowed);
        all.flat_map(|method| paths.iter().map(move |path| (method.clone(), *path))).collect::<Vec<_>>()
    };
    for (allowed, paths) in [(Method::POST, &posts[..]), (Method::GET, &gets[..])] {
        for (method, path) in wrong(allowed.clone(), paths) {
            let answer = Answer::of(rig.client.request(method.clone(), path)).await;
            let says = &format!("this path takes {allowed} only");
            let refusal = Refusal { status: 405, code: "method_not_allowed", param: None, says };
            refusal.check(&format!("{method} {path}"), &answer);
            assert_eq!(answer.header("allow"), allowed.as_str());
        }
    }
    still_serves(&rig, 1).await;
}

#[tokio::test]
async fn a_path_that_is_not_served_names_those_that_are() {
    let rig = launch().start();
    let here = "there are POST /v1/chat/completions, /v1/completions and /v1/embeddings, and GET /v1/models";
    let base = "a client's base URL must end in /v1";
    let cases = [
        ("/v1/responses", "use POST /v1/chat/completions"),
        ("/v1/messages", "use POST /v1/chat/completions"),
        ("/v1/images/generations", here),
        ("/v1/chat/completions/", here),
        ("/v1/", here),
        ("/v1", base),
        ("/chat/completions", base),
        ("/", base),
        ("/admin", base),
        ("/metrics", base),
    ];
    for (path, says) in cases {
        for method in [Method::GET, Method::POST] {
            let answer = Answer::of(rig.client.request(method, path)).await;
            Refusal { status: 404, code: "not_found", param: None, says }.check(path, &answer);
        }
    }
    still_serves(&rig, 1).await;
}

#[tokio::test]
async fn a_path_is_taken_as_it_is_written() {
    let rig = launch().start();
    // A client library would tidy these up before it sends them.
    let tricks = [
        "/v1/../admin",
        "/v1/../metrics",
        "//v1/models",
        "/v1//models",
        "/v1/./models",
        "/%2e%2e/metrics",
        "/v1/%2e%2e/metrics",
        "/v1/..%2fmetrics",
        "/v1/..;/metrics",
        "/V1/models",
        "/v1\\models",
        "/v1/models%00",
        "/metrics?/v1/models",
    ];
    for path in tricks {
        let answer = Raw::exchange(&rig, format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        assert!(matches!(status(&answer), 400 | 401 | 404), "{path}: {answer}");
        assert!(!answer.contains("llmrouter_") && !answer.contains("\"data\""), "{path}: {answer}");
    }
    assert_eq!(received(&rig), 0);
    still_serves(&rig, 1).await;
}

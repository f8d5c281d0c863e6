//! Methods and paths that are not served: each answer says what is.

use std::collections::BTreeMap;

use e2e::{Answer, CLIENT_KEY, Client};
use reqwest::Method;

use crate::common::{Raw, Refusal, launch, received, status, still_serves};

#[tokio::test]
async fn a_wrong_method_is_a_405_that_names_the_right_ones() {
    let rig = launch().start();
    let posts = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/generate", "/v1/generate/batch"];
    let gets = ["/", "/v1/models", "/v1/models/llama", "/livez", "/readyz", "/openapi.json"];
    let operators = ["/metrics", "/livez", "/readyz", "/openapi.json", "/admin/decisions"];
    let cases = [
        (&rig.client, &posts[..], "POST", "this path takes POST only"),
        (&rig.client, &gets[..], "GET, HEAD", "this path takes GET and HEAD only"),
        (&rig.admin, &operators[..], "GET, HEAD", "this path takes GET and HEAD only"),
        (&rig.admin, &["/admin/reload"][..], "POST", "this path takes POST only"),
    ];
    for (listener, paths, allowed, says) in cases {
        let methods = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS];
        for method in methods.into_iter().filter(|method| !allowed.contains(method.as_str())) {
            for path in paths {
                let answer = Answer::of(listener.request(method.clone(), path)).await;
                let refusal = Refusal { status: 405, code: "method_not_allowed", param: None, says };
                refusal.check(&format!("{method} {path}"), &answer);
                assert_eq!(answer.header("allow"), allowed);
                assert!(answer.header("x-request-id").starts_with("req-"), "{method} {path}");
            }
        }
    }
    // There is no body to say it in.
    for path in posts {
        let answer = Answer::of(rig.client.request(Method::HEAD, path)).await;
        assert_eq!((answer.status, answer.header("allow"), answer.text.as_str()), (405, "POST", ""), "{path}");
        assert_ne!(answer.header("content-length"), "0", "{path}");
    }
    still_serves(&rig, 1).await;
}

/// A client that looks at headers alone gets those of `GET`, and the connection is in order after it.
#[tokio::test]
async fn head_is_answered_where_get_is() {
    let rig = launch().start();
    let (public, admin) = (rig.running().addr(), rig.running().admin_addr());
    let gets =
        ["/", "/livez", "/readyz", "/v1/models", "/v1/models/llama", "/v1/models/no-such", "/openapi.json", "/nowhere"];
    let operators = ["/livez", "/readyz", "/openapi.json", "/metrics", "/nowhere"];
    let all = gets.map(|path| (public, path)).into_iter().chain(operators.map(|path| (admin, path)));
    for (addr, path) in all {
        let ask = |method: &str| {
            let headers = format!("authorization: Bearer {CLIENT_KEY}\r\nx-request-id: mine");
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n\r\n")
        };
        let mut connection = Raw::connect_to(addr).await;
        connection.send(ask("GET")).await;
        let get = connection.answer().await;
        // Two at once: a body after the first head would be read as the second answer.
        let last = ask("HEAD").replace("x-request-id", "connection: close\r\nx-request-id");
        connection.send(ask("HEAD") + &last).await;
        let both = connection.rest().await;
        let heads: Vec<_> = both.split_terminator("\r\n\r\n").map(headers).collect();
        let (get_head, get_body) = get.split_once("\r\n\r\n").expect("a head");
        assert!(!get_body.is_empty(), "{path}");
        assert_eq!(heads.len(), 2, "{path}: {both}");
        // The metrics count the requests to them.
        let is_same =
            |name: &str| name != "date" && name != "connection" && !(path == "/metrics" && name == "content-length");
        let comparable = |head: BTreeMap<String, String>| -> BTreeMap<_, _> {
            head.into_iter().filter(|(name, _)| is_same(name)).collect()
        };
        let expected = comparable(headers(get_head));
        for head in heads {
            assert!(head.contains_key("content-length"), "{path}: {both}");
            assert_eq!(comparable(head), expected, "{path}");
        }
    }
    let denied = Answer::of(rig.client.bare(Method::HEAD, "/v1/models")).await;
    assert_eq!((denied.status, denied.header("www-authenticate")), (401, "Bearer"), "a key is needed as for GET");
    still_serves(&rig, 1).await;
}

/// The status line under no name, and each header.
fn headers(head: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap_or(("", line));
        (name.to_ascii_lowercase(), value.to_owned())
    };
    head.lines().map(line).collect()
}

#[tokio::test]
async fn a_browser_s_preflight_is_a_405_that_says_why() {
    let rig = launch().start();
    let preflight = async |listener: &Client, path: &str| {
        let request = listener
            .bare(Method::OPTIONS, path)
            .header("origin", "https://app.example")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type");
        Answer::of(request).await
    };
    let says = "browsers' preflights (CORS) are not answered here, because a key does not belong in a browser; \
                'Browsers' in docs/api.md says";
    let public = ["/v1/chat/completions", "/v1/generate/stream", "/v1/models", "/v1/models/llama", "/livez"];
    let operators = ["/metrics", "/livez", "/readyz", "/openapi.json", "/admin/reload"];
    let all = public.map(|path| (&rig.client, path)).into_iter().chain(operators.map(|path| (&rig.admin, path)));
    for (listener, path) in all {
        let answer = preflight(listener, path).await;
        Refusal { status: 405, code: "method_not_allowed", param: None, says }.check(path, &answer);
        assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control-")), "{path}");
    }
    // What is wrong with the path comes first.
    for listener in [&rig.client, &rig.admin] {
        let answer = preflight(listener, "//livez").await;
        let says = "'//livez' is not a path here: '/livez' is";
        Refusal { status: 404, code: "not_found", param: None, says }.check("//livez", &answer);
        assert_eq!(preflight(listener, "/nowhere").await.status, 404);
    }
    let whole_server = Raw::exchange(&rig, "OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!((400..500).contains(&status(&whole_server)), "{whole_server}");
    let documentation = include_str!("../../docs/api.md");
    assert!(documentation.contains("\n## Browsers\n"), "the message names a section");
    still_serves(&rig, 1).await;
}

#[tokio::test]
async fn a_path_that_is_not_served_names_those_that_are() {
    let rig = launch().start();
    let here = "there are POST /v1/chat/completions, /v1/responses, /v1/completions, /v1/embeddings and /v1/audio/transcriptions, and GET /v1/models";
    let base = "a client's base URL must end in /v1";
    let cases = [
        ("/v1/images/generations", here),
        ("/v1//images/generations", here),
        ("/v1/responses/resp_1", "send the whole conversation to POST /v1/responses"),
        ("/v1/", here),
        ("/v1", here),
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
async fn a_misspelt_path_is_a_404_that_names_the_right_one() {
    let rig = launch().start();
    let (slash, end, before) = ("ends in a slash too many", "leave out the slash at the end", "a part too many");
    let (base, twice) = ("a client's base URL must end in /v1", "has /v1 twice");
    let chat = "/v1/chat/completions";
    let public = [
        ("/v1//chat/completions", chat, slash),
        ("//v1/chat/completions", chat, slash),
        ("/v1///chat//completions", chat, slash),
        ("/v1/chat/completions/", chat, end),
        ("/v1/chat/completions//", chat, end),
        ("/v1/v1/chat/completions", chat, twice),
        ("/v1//v1/chat/completions/", chat, twice),
        ("/chat/completions", chat, base),
        ("/chat/completions/", chat, base),
        ("//chat/completions", chat, base),
        ("/v1/chat/completions/chat/completions", chat, base),
        ("/openai/v1/chat/completions", chat, before),
        ("/V1/Chat/Completions", chat, "write it in lower case"),
        ("/v1//completions", "/v1/completions", slash),
        ("/v1/embeddings/", "/v1/embeddings", end),
        ("/v1/generate/batch/", "/v1/generate/batch", end),
        ("/v1//models", "/v1/models", slash),
        ("/v1//models/a/b", "/v1/models/a/b", slash),
        ("/models", "/v1/models", base),
        ("/v1/responses/", "/v1/responses", end),
        ("//v1/responses", "/v1/responses", slash),
        ("/responses", "/v1/responses", base),
        ("/openai/v1/messages", "/v1/messages", before),
        ("/v1/v1/messages", "/v1/messages", twice),
        ("/v1/messages/count_tokens/", "/v1/messages/count_tokens", end),
        ("/livez/", "/livez", end),
        ("/v1/livez", "/livez", "leave out what stands before it"),
    ];
    let operators = [
        ("/metrics/", "/metrics", end),
        ("//metrics", "/metrics", slash),
        ("/v1/metrics", "/metrics", "leave out what stands before it"),
        ("/admin//reload", "/admin/reload", slash),
        ("/admin/reload/", "/admin/reload", end),
        ("/readyz/", "/readyz", end),
    ];
    for (addr, cases) in [(rig.running().addr(), &public[..]), (rig.running().admin_addr(), &operators[..])] {
        for (path, meant, advice) in cases {
            for (method, query) in [("GET", ""), ("POST", ""), ("POST", "?x=/v1/models")] {
                let mut connection = Raw::connect_to(addr).await;
                // A client library might tidy these up before it sends them.
                connection.send(format!("{method} {path}{query} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
                let answer = connection.answer().await;
                assert_eq!(status(&answer), 404, "{path}: {answer}");
                let says = format!("'{path}' is not a path here: '{meant}' is; ");
                assert!(answer.contains(&says) && answer.contains(advice), "{path}: {answer}");
                assert!(answer.contains("\r\nx-request-id: req-"), "{path}: {answer}");
            }
        }
    }
    // A query is no part of the path.
    let answer = rig.client.post("/v1/chat/completions?x=1", &e2e::chat("x")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    still_serves(&rig, 2).await;
}

#[tokio::test]
async fn a_path_that_others_might_decode_or_resolve_is_not_repeated() {
    let rig = launch().start();
    let long = format!("/{}/v1/models", "x".repeat(300));
    let paths = [
        "/v1/../metrics",
        "/v1/./models",
        "//evil.example/..//v1/models",
        "/v1%2fmodels",
        "/%2e%2e/v1/models",
        "/v1//models%2f..%2f",
        "/v1//models/;x",
        "/v1//models/<script>",
        &long,
    ];
    for addr in [rig.running().addr(), rig.running().admin_addr()] {
        for path in paths {
            let mut connection = Raw::connect_to(addr).await;
            connection.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
            let answer = connection.answer().await;
            assert!(matches!(status(&answer), 400 | 404), "{path}: {answer}");
            assert!(!answer.contains("is not a path here") && !answer.contains(path), "{path}: {answer}");
            assert!(answer.len() < 1_000, "{path}: {} bytes", answer.len());
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

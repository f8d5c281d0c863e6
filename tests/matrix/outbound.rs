//! What goes to an upstream: these bytes and no others, whatever the client sends along.

use e2e::{CLIENT_KEY, UPSTREAM_KEY};
use reqwest::Method;

use crate::wire::{ANSWER, Reply, Wire, before};

const BODY: &str = r#"{"model":"llama","messages":[{"role":"user","content":"hi"}],"max_tokens":5}"#;
const REWRITTEN: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":5}"#;

/// The request line and headers in the order of their names, then the body.
fn ordered(request: &str) -> String {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let first = lines.next().unwrap();
    let mut headers: Vec<_> = lines.collect();
    headers.sort_unstable();
    format!("{first}\n{}\n\n{body}", headers.join("\n"))
}

fn golden(wire: &Wire, accept: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /v1/chat/completions HTTP/1.1\naccept-encoding: identity\naccept: {accept}\n\
         authorization: Bearer {UPSTREAM_KEY}\ncontent-length: {length}\ncontent-type: application/json\nhost: {}\n\n{body}",
        wire.addr
    )
}

/// Headers that some proxy somewhere passes on.
const HEADERS: [(&str, &str); 16] = [
    ("host", "evil.example"),
    ("cookie", "session=canary"),
    ("x-forwarded-for", "203.0.113.7"),
    ("x-forwarded-host", "evil.example"),
    ("x-forwarded-proto", "gopher"),
    ("forwarded", "for=203.0.113.7;host=evil.example"),
    ("x-real-ip", "203.0.113.7"),
    ("x-api-key", "canary"),
    ("api-key", "canary"),
    ("openai-organization", "canary"),
    ("openai-project", "canary"),
    ("user-agent", "canary/1.0"),
    ("accept", "text/html"),
    ("referer", "http://evil.example/"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("x-original-url", "/admin/reload"),
];

#[tokio::test]
async fn no_header_of_a_client_reaches_an_upstream() {
    let wire = Wire::start(Reply::whole("200 OK", "", ANSWER)).await;
    let rig = before(&wire);
    for headers in [&[][..], &HEADERS[..]] {
        let mut request =
            rig.client.request(Method::POST, "/v1/chat/completions").header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = e2e::Answer::of(request.body(BODY)).await;
        assert_eq!((answer.status, answer.content().as_str()), (200, "wire"), "{}", answer.text);
        let sent = wire.requests().pop().unwrap();
        assert_eq!(ordered(&sent), golden(&wire, "application/json", REWRITTEN));
        assert!(!sent.contains(CLIENT_KEY), "{sent}");
    }
}

/// The configuration alone decides where a request goes and with which key. These fields are passed on to the
/// configured upstream, as unknown fields are.
#[tokio::test]
async fn no_field_of_a_body_chooses_where_a_request_goes_or_with_which_key() {
    let other = Wire::start(Reply::whole("200 OK", "", ANSWER)).await;
    let wire = Wire::start(Reply::whole("200 OK", "", ANSWER)).await;
    let rig = before(&wire);
    let url = format!("http://{}/v1", other.addr);
    let fields = [
        format!(r#""api_base":"{url}""#),
        format!(r#""base_url":"{url}""#),
        format!(r#""api_key":"canary","url":"{url}""#),
        r#""custom_llm_provider":"azure""#.to_owned(),
        format!(r#""headers":{{"host":"{}","authorization":"Bearer canary"}}"#, other.addr),
        format!(r#""extra_headers":{{"authorization":"Bearer canary"}},"extra_body":{{"api_base":"{url}"}}"#),
        format!(r#""litellm_params":{{"api_base":"{url}"}},"proxy":"{url}""#),
    ];
    for field in fields {
        let body = format!("{},{field}}}", BODY.trim_end_matches('}'));
        let body = if body.contains("\"max_tokens\":5,") { body } else { panic!("{body}") };
        let path = "/v1/chat/completions";
        let request = rig.client.request(Method::POST, path).header("content-type", "application/json").body(body);
        let answer = e2e::Answer::of(request).await;
        assert_eq!((answer.status, answer.content().as_str()), (200, "wire"), "{field}: {}", answer.text);
        let sent = wire.requests().pop().unwrap();
        let rewritten = format!("{},{field}}}", REWRITTEN.trim_end_matches('}'));
        assert_eq!(ordered(&sent), golden(&wire, "application/json", &rewritten));
    }
    assert_eq!(other.requests(), Vec::<String>::new());
}

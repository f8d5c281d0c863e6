//! What the doors for Messages and Responses have in common: every bad input of the chat door is refused there as well, in the
//! shape of that API, and nothing is sent on.

use e2e::{Answer, BALANCED, CEREBRAS, CLIENT_KEY, Launch, RUNPOD_LB, Rig, eventually, message, response, with};
use emulator::{Face, Fault, Settings};
use reqwest::Method;
use serde_json::{Value, json};

use crate::common::{Raw, Refusal, launch, received, status, still_serves};

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Messages,
    Responses,
}

impl Door {
    pub(crate) const ALL: [Self; 2] = [Self::Messages, Self::Responses];

    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Messages => "/v1/messages",
            Self::Responses => "/v1/responses",
        }
    }

    /// An ordinary request.
    pub(crate) fn body(self, text: &str) -> Value {
        match self {
            Self::Messages => message(text),
            Self::Responses => response(text),
        }
    }

    /// The field with the conversation.
    const fn conversation(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Responses => "input",
        }
    }

    /// Fails unless `answer` is this refusal, in the shape of this API.
    pub(crate) fn check(self, refusal: &Refused<'_>, what: &str, answer: &Answer) {
        let Refused { status, code, kind, param, says } = *refusal;
        match self {
            Self::Messages => {
                check_anthropic(what, answer, status, kind);
                let message = answer.error_message();
                assert!(message.contains(says), "{what}: {message:?} does not say {says:?}");
                assert!(
                    param.is_none_or(|param| message.contains(param)),
                    "{what}: {message:?} does not name {param:?}"
                );
            }
            Self::Responses => Refusal { status, code, param, says }.check(what, answer),
        }
    }
}

/// A refusal at either door.
#[derive(Clone, Copy)]
pub(crate) struct Refused<'a> {
    pub(crate) status: u16,
    /// OpenAI's code.
    pub(crate) code: &'a str,
    /// Anthropic's type.
    pub(crate) kind: &'a str,
    pub(crate) param: Option<&'a str>,
    pub(crate) says: &'a str,
}

/// An invalid request.
pub(crate) const fn invalid<'a>(param: Option<&'a str>, says: &'a str) -> Refused<'a> {
    Refused { status: 400, code: "invalid_request", kind: "invalid_request_error", param, says }
}

/// Fails unless `answer` is an error in Anthropic's shape and nothing else.
pub(crate) fn check_anthropic(what: &str, answer: &Answer, status: u16, kind: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text);
    assert_eq!(answer.header("content-type"), "application/json", "{what}");
    let id = answer.header("request-id");
    assert!(!id.is_empty() && id == answer.header("x-request-id"), "{what}: {:?}", answer.headers);
    let message = answer.error_message();
    assert!(!message.is_empty() && message.len() < 400, "{what}: {message:?}");
    let expected = json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": id});
    assert_eq!(answer.json(), expected, "{what}");
}

pub(crate) async fn post(rig: &Rig, path: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = rig.client.request(Method::POST, path).header("content-type", "application/json").body(body);
    Answer::of(request).await
}

/// Bodies that are wrong whatever the API, with what is said of them.
fn wrong_bodies(door: Door) -> Vec<(Vec<u8>, Option<&'static str>, &'static str)> {
    let good = door.body("x").to_string();
    let inside = |value: &str| format!(r#"{{"x":{value},{}"#, &good[1..]).into_bytes();
    let twice = |first: &str| format!("{{{first},{}", &good[1..]).into_bytes();
    let fields = (0..300).map(|at| format!(r#","x{at}":0"#)).collect::<Vec<_>>().concat();
    vec![
        (b"".to_vec(), None, "is empty: send a JSON object"),
        (b"hello".to_vec(), None, "not valid JSON"),
        (b"{".to_vec(), None, "not valid JSON"),
        (b"{\"model\":\"\xff\"}".to_vec(), None, "not valid UTF-8"),
        (b"null".to_vec(), None, "to be a JSON object"),
        (format!("[{good}]").into_bytes(), None, "to be a JSON object"),
        (format!("{good} {good}").into_bytes(), None, "not valid JSON"),
        (inside(&"[".repeat(100_000)), None, "nested too deeply: at most 128 levels"),
        (format!("{{{},{}", &fields[1..], &good[1..]).into_bytes(), None, "has more than 256 fields"),
        (twice(r#""model":"llama""#), Some("model"), "appears twice: send it once"),
        (twice(r#""x":{"a":1,"a":2}"#), Some("x"), "appears twice: send it once"),
    ]
}

#[tokio::test]
async fn a_body_that_is_wrong_is_refused_by_name_and_not_sent_on() {
    for door in Door::ALL {
        let rig = launch().start();
        for (body, param, says) in wrong_bodies(door) {
            let shown = format!("{door:?} {}", String::from_utf8_lossy(&body[..body.len().min(120)]));
            door.check(&invalid(param, says), &shown, &post(&rig, door.path(), body).await);
        }
        assert_eq!(received(&rig), 0, "{door:?}");
        still_serves(&rig, 1).await;
    }
}

#[tokio::test]
async fn a_field_that_is_wrong_is_refused_by_name_and_not_sent_on() {
    let flag = "must be true or false";
    let cases = [
        (json!({"model": 7}), "model", "must be a"),
        (json!({"model": ""}), "model", "'model'"),
        (json!({"stream": "yes"}), "stream", flag),
        (json!({"temperature": 99}), "temperature", "must be a number from 0 to 2"),
        (json!({"temperature": "hot"}), "temperature", "must be a number from 0 to 2"),
        (json!({"top_p": 2}), "top_p", "must be a number from 0 to 1"),
        (json!({"tools": "x"}), "tools", "must be an array"),
        (json!({"tool_choice": 7}), "tool_choice", "must be"),
    ];
    for door in Door::ALL {
        let rig = launch().start();
        let limit = if door == Door::Messages { "max_tokens" } else { "max_output_tokens" };
        let whole = "must be a whole number from 1 to";
        let own = [
            (json!({limit: -1}), limit, whole),
            (json!({limit: "12"}), limit, whole),
            (json!({limit: 0}), limit, whole),
            (json!({door.conversation(): 7}), door.conversation(), "must be a"),
            (json!({door.conversation(): []}), door.conversation(), "send at least one"),
            (json!({door.conversation(): [7]}), door.conversation(), "must be an object"),
            (json!({door.conversation(): [{"role": "wizard", "content": "x"}]}), "role", "wizard"),
            (json!({door.conversation(): [{"role": "user", "content": 7}]}), "content", "must be a string or an array"),
        ];
        for (more, param, says) in cases.iter().chain(&own) {
            let what = format!("{door:?} {more}");
            let answer = rig.client.post(door.path(), &with(door.body("x"), more.clone())).await;
            // Responses name the whole path, as in `input[0].role`.
            let path = answer.json()["error"]["param"].as_str().unwrap_or(param).to_owned();
            assert!(path.contains(param), "{what}: {path}");
            door.check(&invalid(Some(&path), says), &what, &answer);
        }
        for required in ["model", door.conversation()] {
            let mut body = door.body("x");
            body.as_object_mut().unwrap().remove(required);
            let answer = rig.client.post(door.path(), &body).await;
            door.check(&invalid(Some(required), "required"), required, &answer);
        }
        assert_eq!(received(&rig), 0, "{door:?}");
    }
}

/// Each is refused before its body is read, or at least before it is translated.
#[tokio::test]
async fn what_is_refused_before_the_body_is_read_has_the_shape_of_the_door() {
    let rig = launch().env("LLM_ROUTER__SERVER__MAX_BODY_BYTES", "4096").start();
    for door in Door::ALL {
        let path = door.path();
        let unauthorized = Refused {
            status: 401,
            code: "invalid_api_key",
            kind: "authentication_error",
            param: None,
            says: "no API key",
        };
        door.check(&unauthorized, path, &Answer::of(rig.client.bare(Method::POST, path)).await);
        let wrong = Refused { says: "not known here", ..unauthorized };
        door.check(&wrong, path, &rig.client.with_key("wrong").post(path, &door.body("x")).await);

        let refuse = |status, code, kind, says| Refused { status, code, kind, param: None, says };
        let too_large = refuse(413, "body_too_large", "request_too_large", "larger than 4096 bytes");
        door.check(&too_large, path, &rig.client.post(path, &door.body(&"x".repeat(5_000))).await);
        let no_json = refuse(415, "unsupported_media_type", "invalid_request_error", "Content-Type: application/json");
        door.check(&no_json, path, &Answer::of(rig.client.request(Method::POST, path).body("{}")).await);
        let encoded = rig.client.json(path, &door.body("x")).header("content-encoding", "gzip");
        let no_encoding = refuse(415, "unsupported_encoding", "invalid_request_error", "compressed bodies");
        door.check(&no_encoding, path, &Answer::of(encoded).await);
        let wrong_method = refuse(405, "method_not_allowed", "invalid_request_error", "this path takes POST only");
        let answer = rig.client.get(path).await;
        door.check(&wrong_method, path, &answer);
        assert_eq!(answer.header("allow"), "POST");

        let not_found =
            Refused { param: Some("model"), ..refuse(404, "model_not_found", "not_found_error", "does not exist") };
        door.check(&not_found, path, &rig.client.post(path, &with(door.body("x"), json!({"model": "gpt-9"}))).await);
        let forbidden = Refused {
            param: Some("model"),
            ..refuse(403, "direct_not_allowed", "permission_error", "may not name an upstream")
        };
        door.check(
            &forbidden,
            path,
            &rig.client.post(path, &with(door.body("x"), json!({"model": "runpod/llama"}))).await,
        );
        for name in ["authorization", "x-api-key"] {
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: x\r\n{name}: Bearer {CLIENT_KEY}\r\n{name}: x\r\ncontent-length: 0\r\n\r\n"
            );
            let answer = Raw::exchange(&rig, head).await;
            assert_eq!(status(&answer), 400, "{answer}");
            let is_anthropic = answer.contains(r#""type":"error""#);
            assert!(answer.contains("send the header") && is_anthropic == (door == Door::Messages), "{answer}");
        }
    }
    assert_eq!(received(&rig), 0);
    still_serves(&rig, 1).await;
}

/// How an upstream fails, and what becomes of it.
#[tokio::test]
async fn what_upstreams_do_has_the_shape_of_the_door() {
    let fails = |code| Fault::Status { code, retry_after: None };
    let cases = [
        (fails(500), 502, "upstream_unavailable", "api_error"),
        (fails(401), 502, "upstream_auth", "api_error"),
        (fails(503), 503, "upstream_overloaded", "overloaded_error"),
        (fails(422), 422, "invalid_request", "invalid_request_error"),
        (Fault::HangBefore, 504, "upstream_timeout", "timeout_error"),
    ];
    for (fault, status, code, kind) in cases {
        for door in Door::ALL {
            // Of its own: the breakers open.
            let config = format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}deadline_ms = 1200\n");
            let rig = Launch::new(Settings::instant(), &config).start();
            for face in [Face::RunpodLb, Face::Cerebras] {
                rig.emulator.control(face, fault.clone());
            }
            let answer = rig.client.post(door.path(), &door.body("x")).await;
            let status = if (door, status) == (Door::Messages, 503) { 529 } else { status };
            let what = format!("{door:?} {fault:?}: {}", answer.text);
            assert_eq!(answer.status, status, "{what}");
            match door {
                Door::Messages => check_anthropic(&what, &answer, status, kind),
                Door::Responses => assert_eq!(answer.error_code(), code, "{what}"),
            }
            assert_eq!(answer.header("x-should-retry"), "false", "{what}");
            assert!(answer.header("x-llm-router-attempts").parse::<u32>().is_ok_and(|made| made > 0), "{what}");
        }
    }
}

/// One a minute comes back, so that none does while the test runs.
#[tokio::test]
async fn limits_count_and_refuse_as_they_do_for_chats() {
    for door in Door::ALL {
        let key = "\n[[keys]]\nid = \"k\"\nteam = \"t\"\nenv = \"CLIENT_KEY\"\nlimits = { requests_per_minute = 1, burst = 3, tokens_per_minute = 1000000 }\n";
        let rig = Launch::new(Settings::instant(), &format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}{key}")).start();
        for left in [2, 1] {
            let answer = rig.client.post(door.path(), &door.body("x")).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            assert_eq!(answer.header("x-ratelimit-remaining-requests"), left.to_string());
            check_anthropic_limits(door, &answer, &left.to_string());
        }
        // A bad request counts as one.
        assert_eq!(post(&rig, door.path(), "{}").await.status, 400);
        let answer = rig.client.post(door.path(), &door.body("x")).await;
        let refused = Refused {
            status: 429,
            code: "rate_limit_exceeded",
            kind: "rate_limit_error",
            param: None,
            says: "this key may make 1 requests per minute: slow down",
        };
        door.check(&refused, "over the limit", &answer);
        assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds <= 120));
        assert_eq!(answer.header("x-ratelimit-remaining-requests"), "0");
        check_anthropic_limits(door, &answer, "0");
    }
}

fn check_anthropic_limits(door: Door, answer: &Answer, left: &str) {
    let header = |part: &str| answer.header(&format!("anthropic-ratelimit-requests-{part}")).to_owned();
    if door == Door::Responses {
        assert_eq!((header("limit"), header("reset")), (String::new(), String::new()), "they are not OpenAI's");
        return;
    }
    assert_eq!((header("limit").as_str(), header("remaining").as_str()), ("1", left));
    let reset = header("reset");
    assert!(reset.len() == 20 && reset.starts_with("20") && reset.ends_with('Z'), "{reset}: whole seconds in UTC");
}

#[tokio::test]
async fn a_router_without_room_answers_503_and_to_anthropic_s_clients_529() {
    let rig = launch().env("LLM_ROUTER__SERVER__MAX_IN_FLIGHT", "1").start();
    rig.emulator.control(Face::RunpodLb, Fault::HangBefore);
    rig.emulator.control(Face::Cerebras, Fault::HangBefore);
    let body = message("x").to_string();
    let mut waiting = Raw::connect(&rig).await;
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {CLIENT_KEY}\r\ncontent-type: application/json\r\n"
    );
    waiting.send(format!("{head}content-length: {}\r\n\r\n{body}", body.len())).await;
    eventually("the call is under way", async || (received(&rig) == 1).then_some(())).await;
    for door in Door::ALL {
        let answer = rig.client.post(door.path(), &door.body("x")).await;
        let status = if door == Door::Messages { 529 } else { 503 };
        let says = "the router has as many requests under way as it may";
        let refused = Refused { status, code: "overloaded", kind: "overloaded_error", param: None, says };
        door.check(&refused, "no room", &answer);
        assert_eq!(answer.header("retry-after"), "1");
    }
    drop(waiting);
}

#[tokio::test]
async fn a_key_is_taken_from_either_header() {
    let rig = launch().start();
    let bearer = format!("Bearer {CLIENT_KEY}");
    let cases: [(&[(&str, &str)], u16); 8] = [
        (&[("x-api-key", CLIENT_KEY)], 200),
        (&[("x-api-key", "wrong")], 401),
        (&[("x-api-key", "")], 401),
        (&[("authorization", &bearer), ("x-api-key", CLIENT_KEY)], 200),
        // The bearer's token decides: a client that is set up for both has a key of Anthropic's own in the other header.
        (&[("authorization", &bearer), ("x-api-key", "sk-ant-own")], 200),
        (&[("authorization", "Bearer wrong"), ("x-api-key", CLIENT_KEY)], 401),
        // What is no bearer's token is none.
        (&[("authorization", "Basic eDp5"), ("x-api-key", CLIENT_KEY)], 200),
        (&[("x-api-key", &bearer)], 401),
    ];
    let doors = Door::ALL.map(|door| (Method::POST, door.path(), Some(door.body("x"))));
    let others = [(Method::GET, "/v1/models", None), (Method::POST, "/v1/chat/completions", Some(e2e::chat("x")))];
    for (method, path, body) in doors.into_iter().chain(others) {
        for (headers, status) in cases {
            let mut request = rig.client.bare(method.clone(), path).header("content-type", "application/json");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let answer = Answer::of(request.body(body.as_ref().map(Value::to_string).unwrap_or_default())).await;
            assert_eq!(answer.status, status, "{path} {headers:?}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn what_was_left_out_is_named_with_what_the_upstream_does_not_take() {
    let only_cerebras = BALANCED.replace("share = 0.8", "share = 0.0").replace("share = 0.2", "share = 1.0");
    let rig = Launch::new(Settings::instant(), &format!("{RUNPOD_LB}{CEREBRAS}{only_cerebras}")).start();
    let hosted = json!({"type": "web_search_20250305", "name": "web_search"});
    let body = with(message("x"), json!({"top_k": 5, "container": "c", "tools": [hosted]}));
    let answer = rig.client.post("/v1/messages", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let dropped = answer.header("x-llm-router-dropped-params").to_owned();
    assert!(dropped.contains("container") && dropped.contains("web_search") && dropped.ends_with("top_k"), "{dropped}");

    let body = with(response("x"), json!({"top_k": 5, "truncation": "auto", "tools": [{"type": "web_search"}]}));
    let answer = rig.client.post("/v1/responses", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let dropped = answer.header("x-llm-router-dropped-params").to_owned();
    assert!(
        dropped.contains("truncation") && dropped.contains("web_search") && dropped.ends_with("top_k"),
        "{dropped}"
    );
}

/// An alias, and wishes by headers, mean through either door what they mean for a chat.
#[tokio::test]
async fn aliases_and_wishes_work_as_they_do_for_chats() {
    let cost = |usd| {
        format!(
            "cost = {{ kind = \"tokens\", input_usd_per_million = \"{usd}\", output_usd_per_million = \"{usd}\" }}\n"
        )
    };
    let model = "[[models]]\nname = \"llama\"\nstrategy = \"weighted\"\n\
                 targets = [{ upstream = \"runpod\", share = 1.0 }, { upstream = \"cerebras\", share = 0.0 }]\n";
    let more = "[aliases]\n\"claude-*\" = \"llama\"\ngpt-5 = \"llama\"\n\n\
                [[keys]]\nid = \"k\"\nteam = \"t\"\nenv = \"CLIENT_KEY\"\nmay_wish = [\"strategy\", \"max_cost\", \"no_fallback\"]\n";
    let (cheap, dear) = (cost("0.02"), cost("1"));
    // The one that the shares name is the dear one.
    let config = format!("{RUNPOD_LB}{dear}{CEREBRAS}{cheap}{model}{more}");
    for door in Door::ALL {
        // Of its own: a breaker opens.
        let rig = Launch::new(Settings::instant(), &config).start();
        let send = async |name: &str, headers: &[(&str, &str)]| {
            let request = rig.client.json(door.path(), &with(door.body("x"), json!({"model": name})));
            Answer::of(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
        };
        let strategy = "x-llm-router-strategy";
        for name in ["claude-opus-4", "gpt-5", "llama"] {
            let answer = send(name, &[]).await;
            assert_eq!(
                (answer.status, answer.provider(), answer.reason()),
                (200, "runpod", "share"),
                "{}",
                answer.text
            );
            assert_eq!(answer.json()["model"], name, "{door:?}");
            let answer = send(name, &[(strategy, "cost")]).await;
            assert_eq!((answer.provider(), answer.reason()), ("cerebras", "cheapest"), "{door:?}: {}", answer.text);
            let answer = send(name, &[("x-llm-router-max-cost-usd", "0.00001")]).await;
            assert_eq!(answer.provider(), "cerebras", "{door:?}: {}", answer.text);
        }
        let bad = Refused {
            status: 400,
            code: "invalid_header",
            kind: "invalid_request_error",
            param: Some(strategy),
            says: "must be weighted, balanced, cost or latency",
        };
        door.check(&bad, "a value that is none", &send("llama", &[(strategy, "fastest")]).await);
        let deadline = "x-llm-router-deadline-ms";
        let forbidden = Refused {
            status: 403,
            code: "wish_not_allowed",
            kind: "permission_error",
            param: Some(deadline),
            says: "have \"deadline\" added to the key's may_wish",
        };
        door.check(&forbidden, "what the key may not", &send("llama", &[(deadline, "5000")]).await);
        let cost = "x-llm-router-max-cost-usd";
        let too_dear = Refused {
            status: 400,
            code: "max_cost_exceeded",
            kind: "invalid_request_error",
            param: Some(cost),
            says: "lower max_tokens, or allow more",
        };
        door.check(&too_dear, "a price that nobody meets", &send("claude-opus-4", &[(cost, "0.000000001")]).await);
        rig.emulator.control(Face::RunpodLb, Fault::Status { code: 404, retry_after: None });
        let answer = send("gpt-5", &[("x-llm-router-fallback", "false")]).await;
        assert_eq!((answer.status, answer.header("x-llm-router-attempts")), (502, "1"), "{door:?}: {}", answer.text);
        assert_eq!(send("gpt-5", &[]).await.provider(), "cerebras", "{door:?}");
    }
}

//! If an upstream refuses a field that the router added, the call is repeated without it, and the client gets no error
//! about it.

use e2e::{Rig, chat, with};
use emulator::{Fault, Refusal, Rule};
use serde_json::{Value, json};

use super::setup::{A, B, JSON, a, answer, assert_unharmed, pair, pair_of, post, say_hello, whole};

/// Two requests of a client that sent nothing of it: the first pays one repeat, the second none.
async fn assert_taken_back(rig: &Rig, body: &Value, what: &str) {
    for attempts in ["2", "1"] {
        let answered = rig.client.chat(body).await;
        let by = (answered.status, answered.header("x-llm-router-upstream"), answered.header("x-llm-router-attempts"));
        assert_eq!(by, (200, "a", attempts), "{what}: {}", answered.text);
    }
    assert_eq!(rig.call_log(B).received, 0, "{what}");
    assert_unharmed(rig).await;
}

#[tokio::test]
async fn c14_stream_options_that_are_refused_are_taken_back() {
    let refusals = [
        (
            400,
            r#"{"error":{"message":"Unrecognized request argument supplied: stream_options","type":"invalid_request_error","param":null,"code":null}}"#,
        ),
        (
            400,
            r#"{"error":{"message":"Unknown parameter: 'stream_options.include_usage'.","type":"invalid_request_error","param":"stream_options.include_usage","code":"unknown_parameter"}}"#,
        ),
        (
            422,
            r#"{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}"#,
        ),
        (
            400,
            r#"{"object":"error","message":"[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': 'Extra inputs are not permitted'}]","type":"BadRequestError","param":null,"code":400}"#,
        ),
    ];
    for (status, body) in refusals {
        let rig = pair();
        let refusal = answer(status, JSON, body, emulator::End::Complete);
        let rule = Rule { fault: refusal.clone(), containing: Some("stream_options".to_owned()), ..Rule::default() };
        rig.emulator.set_rules(A, vec![rule.clone()]);
        assert_taken_back(&rig, &say_hello(), body).await;
        // The client's own is the client's to mend.
        rig.emulator.set_rules(A, vec![rule]);
        let own = with(say_hello(), json!({"stream_options": {"include_usage": true}}));
        let refused = rig.client.chat(&own).await;
        assert_eq!((refused.status, rig.call_log(B).received), (status, 0), "{body}: {}", refused.text);
    }
}

#[tokio::test]
async fn an_added_limit_that_is_refused_is_made_to_fit() {
    let refusals = [
        Refusal::UnknownArgument { name: "max_tokens".to_owned() },
        Refusal::LimitTooLarge { most: 4_096 },
        Refusal::LimitTooLarge { most: 100 },
    ];
    for refusal in refusals {
        let rig = pair_of(&format!("{}default_max_tokens = 8192\n", a("openai")));
        rig.emulator.control(A, Fault::Refusal(refusal.clone()));
        assert_taken_back(&rig, &chat("hello"), &format!("{refusal:?}")).await;
        rig.emulator.control(A, Fault::Refusal(refusal.clone()));
        let refused = rig.client.chat(&with(chat("hello"), json!({"max_tokens": 9_000}))).await;
        assert_eq!(
            refused.status, 400,
            "the client's own limit is the client's to mend: {refusal:?}: {}",
            refused.text
        );
    }
}

/// A refusal that quotes what one client sent is that client's to read, and changes nothing for the next one.
#[tokio::test]
async fn what_one_client_wrote_changes_nothing_for_the_next() {
    let rig = pair_of(&format!("{}default_max_tokens = 4096\n", a("openai")));
    for quoted in ["max_tokens", "stream_options", "maximum context length is 1000 tokens 4096"] {
        let message = format!("1 validation error:\\n {{'loc': ('body', 'seed'), 'input': '{quoted}'}}");
        let refusal =
            format!(r#"{{"error":{{"message":"{message}","type":"BadRequestError","param":"seed","code":400}}}}"#);
        rig.emulator.control(A, answer(400, JSON, refusal, emulator::End::Complete));
        let refused = rig.client.chat(&with(say_hello(), json!({"seed": quoted}))).await;
        let told = (refused.status, refused.header("x-llm-router-attempts"), refused.error_message());
        assert_eq!((told.0, told.1), (400, "1"), "{quoted}: {}", refused.text);
        assert!(told.2.contains(quoted), "{quoted}: {}", refused.text);
        rig.emulator.reset();
        rig.client.chat(&say_hello()).await;
        let sent: Value =
            serde_json::from_str(&rig.call_log(A).requests.last().expect("a request").body).expect("JSON");
        let added = (&sent["max_tokens"], &sent["stream_options"]["include_usage"]);
        assert_eq!(added, (&json!(4096), &json!(true)), "{quoted}: {sent}");
    }
    assert_unharmed(&rig).await;
}

/// What `a` got of a text completion.
async fn completion(rig: &Rig, body: &str) -> Value {
    let text = whole("{}").replace("\"message\":{}", "\"text\":\"x\"");
    rig.emulator.control(A, answer(200, JSON, text, emulator::End::Complete));
    let answered = post(rig, "/v1/completions", body).await;
    assert_eq!(answered.status, 200, "{body}: {}", answered.text);
    let requests = rig.call_log(A).requests;
    serde_json::from_str(&requests.last().expect("a request").body).expect("JSON")
}

#[tokio::test]
async fn c18_completions_take_no_tokens_and_the_newer_limit() {
    let rig = pair();
    let sent = completion(&rig, r#"{"model":"llama","prompt":"x","max_tokens":0,"echo":true,"logprobs":1}"#).await;
    assert_eq!((&sent["max_tokens"], &sent["echo"], &sent["logprobs"]), (&json!(0), &json!(true), &json!(1)));
    let sent = completion(&rig, r#"{"model":"llama","prompt":"x","best_of":0}"#).await;
    assert_eq!(sent["best_of"], 0, "{sent}");
    let sent = completion(&rig, r#"{"model":"llama","prompt":"x","max_completion_tokens":7}"#).await;
    assert_eq!((&sent["max_tokens"], sent.get("max_completion_tokens")), (&json!(7), None), "{sent}");
    let sent = completion(&rig, r#"{"model":"llama","prompt":"x","max_completion_tokens":0,"echo":true}"#).await;
    assert_eq!(sent["max_tokens"], 0, "{sent}");
}

#[tokio::test]
async fn null_means_the_default() {
    let rig = pair();
    for field in [
        "max_tokens",
        "max_completion_tokens",
        "n",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "stop",
        "seed",
        "user",
        "tools",
        "tool_choice",
        "response_format",
        "logprobs",
        "top_logprobs",
        "presence_penalty",
        "frequency_penalty",
    ] {
        let answered = rig.client.chat(&with(chat("hello"), json!({field: null}))).await;
        let by = (answered.status, answered.header("x-llm-router-upstream"));
        assert_eq!(by, (200, "a"), "{field}: {}", answered.text);
    }
    for field in ["max_tokens", "max_completion_tokens", "n", "best_of", "echo", "suffix", "logprobs", "stream"] {
        completion(&rig, &with(json!({"model": "llama", "prompt": "x"}), json!({field: null})).to_string()).await;
    }
    rig.emulator.reset();
    for field in ["model", "task", "max_tokens", "temperature", "messages", "stop", "stream", "top_p", "n"] {
        for path in ["/v1/generate", "/v1/generate/stream"] {
            let answered = rig.client.post(path, &with(json!({"prompt": "x"}), json!({field: null}))).await;
            assert_eq!(answered.status, 200, "{path} {field}: {}", answered.text);
        }
    }
    let nulls = r#"{"model":"llama","stream":true,"stream_options":{"include_usage":null},"messages":[{"role":"user","content":"x","name":null},{"role":"assistant","content":"y","tool_calls":null,"refusal":null},{"role":"user","content":"z"}]}"#;
    let answered = post(&rig, "/v1/chat/completions", nulls).await;
    assert_eq!(answered.status, 200, "{}", answered.text);
}

/// The configured limit is sent in its place, once.
#[tokio::test]
async fn a_limit_of_null_is_the_configured_one() {
    let rig = pair_of(&format!("{}default_max_tokens = 77\n", a("openai")));
    let nulls = [
        r#""max_tokens":null"#,
        r#""max_completion_tokens":null"#,
        r#""max_tokens":null,"max_completion_tokens":null"#,
    ];
    for limits in nulls {
        let body = format!(r#"{{"model":"llama",{limits},"messages":[{{"role":"user","content":"x"}}]}}"#);
        let answered = post(&rig, "/v1/chat/completions", &body).await;
        assert_eq!(answered.status, 200, "{limits}: {}", answered.text);
        let sent = rig.call_log(A).requests.last().expect("a request").body.clone();
        assert!(sent.contains(r#""max_tokens":77"#) && !sent.contains("null"), "{limits}: {sent}");
        let sent = completion(&rig, &format!(r#"{{"model":"llama","prompt":"x",{limits}}}"#)).await;
        assert_eq!((&sent["max_tokens"], sent.get("max_completion_tokens")), (&json!(77), None), "{limits}: {sent}");
        rig.emulator.reset();
    }
}

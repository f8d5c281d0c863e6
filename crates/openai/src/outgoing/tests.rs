use provider::{Limits, MemoryBudget};
use serde_json::{Value, json};

use super::*;

fn call(adjustment: Option<Adjustment>) -> Call {
    Call {
        request_id: "r".into(),
        adjustment,
        reasoning: provider::ReasoningField::default(),
        memory: MemoryBudget::default(),
    }
}

fn sent(operation: Operation, served: &Served, adjustment: Option<Adjustment>, body: &Value) -> (Value, ReplyHead) {
    let request = Request::parse(operation, Bytes::from(body.to_string()), Limits { max_messages: 9 });
    let request = request.expect("a valid request");
    let Finished { body, head, .. } = Outgoing::new(&request, served, &call(adjustment)).finish();
    (serde_json::from_slice(&body).expect("JSON"), head)
}

fn served() -> Served {
    Served::new("served \"name\"", Some(64), "max_tokens")
}

fn prepared(body: &Value) -> (Value, ReplyHead) {
    sent(Operation::Chat, &served(), None, body)
}

#[test]
fn the_model_is_renamed_and_a_limit_said() {
    for limits in [json!({}), json!({"max_tokens": null, "max_completion_tokens": null})] {
        let mut asked = json!({"model": "m", "messages": [{"role": "user"}], "seed": 1});
        asked.as_object_mut().expect("an object").extend(limits.as_object().expect("an object").clone());
        let (body, head) = prepared(&asked);
        assert_eq!(
            body,
            json!({"model": "served \"name\"", "messages": [{"role": "user"}], "seed": 1, "max_tokens": 64})
        );
        assert_eq!(head.injected_params, ["max_tokens=64"]);
    }
}

#[test]
fn a_clients_own_limit_stands() {
    let (body, head) = prepared(&json!({"model": "m", "messages": [{"role": "user"}], "max_completion_tokens": 3}));
    assert_eq!((body.get("max_tokens"), body["max_completion_tokens"].as_u64()), (None, Some(3)));
    assert!(head.injected_params.is_empty());
}

#[test]
fn a_text_completion_has_one_name_for_its_limit() {
    let completion = |body: &Value| sent(Operation::Completions, &served(), None, body).0;
    let newer = completion(&json!({"model": "m", "prompt": "x", "max_completion_tokens": 3, "max_tokens": null}));
    assert_eq!(newer, json!({"model": "served \"name\"", "prompt": "x", "max_tokens": 3}));
    let echo = json!({"model": "m", "prompt": "x", "max_tokens": 0, "echo": true, "logprobs": 1, "best_of": 0});
    assert_eq!(completion(&echo)["max_tokens"], 0);
    assert_eq!(completion(&json!({"model": "m", "prompt": "x"}))["max_tokens"], 64);
}

#[test]
fn usage_is_forced_on_in_streams_and_other_options_kept() {
    let (body, _) = prepared(&json!({"model": "m", "messages": [{"role": "user"}], "stream": true}));
    assert_eq!(body["stream_options"], json!({"include_usage": true}));
    let options = json!({"include_usage": false, "continuous_usage_stats": true});
    let (body, _) =
        prepared(&json!({"model": "m", "messages": [{"role": "user"}], "stream": true, "stream_options": options}));
    assert_eq!(body["stream_options"], json!({"include_usage": true, "continuous_usage_stats": true}));
}

#[test]
fn metadata_goes_where_it_is_taken() {
    let strict = served().with_metadata_of_stored_chats();
    let chat = |store: Value| json!({"model": "m", "messages": [{"role": "user"}], "metadata": {"feature": "search"}, "store": store});
    for (served, store, arrives) in [
        (&strict, json!(true), true),
        (&strict, json!(false), false),
        (&strict, json!(null), false),
        (&served(), json!(false), true),
    ] {
        let (body, _) = sent(Operation::Chat, served, None, &chat(store.clone()));
        assert_eq!(body.get("metadata").is_some(), arrives, "{store}");
    }
}

#[test]
fn stream_options_without_a_stream_are_left_out() {
    let (body, _) = prepared(&json!({"model": "m", "messages": [{"role": "user"}], "stream_options": {}}));
    assert_eq!(body.get("stream_options"), None);
}

#[test]
fn a_repeat_is_sent_as_the_adjustment_says() {
    let stream = json!({"model": "m", "messages": [{"role": "user"}], "stream": true});
    let without = Adjustment::Without("stream_options".to_owned());
    let (body, _) = sent(Operation::Chat, &served(), Some(without), &stream);
    assert_eq!((body.get("stream_options"), body["max_tokens"].as_u64()), (None, Some(64)));
    let (body, head) = sent(Operation::Chat, &served(), Some(Adjustment::Limit(Some(7))), &stream);
    assert_eq!((body["max_tokens"].as_u64(), head.injected_params), (Some(7), vec!["max_tokens=7".to_owned()]));
    let (body, head) = sent(Operation::Chat, &served(), Some(Adjustment::Limit(None)), &stream);
    assert_eq!((body.get("max_tokens"), head.injected_params), (None, vec![]));
}

#[test]
fn a_limit_leaves_room_for_the_prompt_where_the_context_is_known() {
    let served = Served::new("m", Some(4096), "max_tokens").with_context(Some(2048));
    let asked = |words: usize| json!({"model": "m", "messages": [{"role": "user", "content": "w ".repeat(words)}]});
    let limit = |words| sent(Operation::Chat, &served, None, &asked(words)).0["max_tokens"].as_u64();
    assert!(limit(1).is_some_and(|limit| (1700..1792).contains(&limit)), "{:?}", limit(1));
    assert_eq!(limit(10_000), Some(4096), "an estimate that leaves no room is ignored");
}

#[tokio::test]
async fn a_long_request_is_rewritten_on_another_thread_and_counted_until_it_is_sent() {
    for length in [10, LONG_BODY] {
        let asked = json!({"model": "m", "messages": [{"role": "user", "content": "x".repeat(length)}]});
        let request = Request::parse(Operation::Chat, asked.to_string().into(), Limits { max_messages: 9 });
        let request = request.expect("valid");
        let call = Call { memory: MemoryBudget::new(2 * LONG_BODY), ..call(None) };
        let (sender, receiver) = std::sync::mpsc::channel();
        let rewrite = move |request: &Request, call: &Call| {
            sender.send(std::thread::current().id()).expect("the test waits");
            Ok(Outgoing::new(request, &Served::new("served", None, "max_tokens"), call).finish())
        };
        let finished = rewritten(&request, &call, rewrite).await.expect("there is room");
        let was_here = receiver.recv() == Ok(std::thread::current().id());
        assert_eq!(was_here, length < LONG_BODY);
        assert_eq!(call.memory.used(), finished.body.len());
        drop(finished);
        assert_eq!(call.memory.used(), 0);
    }
}

#[tokio::test]
async fn a_request_without_room_is_not_rewritten() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#;
    let request = Request::parse(Operation::Chat, body.into(), Limits { max_messages: 9 }).expect("valid");
    let call = Call { memory: MemoryBudget::new(body.len() - 1), ..call(None) };
    let refused = rewritten(&request, &call, |_, _| panic!("it was rewritten")).await.err().expect("no room");
    assert_eq!(refused.kind, provider::ErrorKind::NoMemory);
}

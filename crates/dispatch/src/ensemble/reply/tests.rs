use super::*;

const WHOLE: &str = r#"{"id":"c1","object":"chat.completion","created":7,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#;

fn report() -> Report<'static> {
    Report { name: "ensemble/e", pick: "longest", winner: 0, why: "so".to_owned(), cost_usd: None, members: Vec::new() }
}

fn of_choice<T>(choice: &Value, read: fn(Choice<'_>) -> T) -> T {
    let completion = Completion::read(&json!({"choices": [choice]}).to_string()).expect("JSON");
    read(completion.choices().next().expect("a choice"))
}

fn parsed(frame: &Frame) -> Value {
    let text = std::str::from_utf8(&frame.bytes).expect("text");
    let json = text.strip_prefix("data: ").and_then(|rest| rest.strip_suffix("\n\n")).expect("an event");
    serde_json::from_str(json).expect("JSON")
}

#[test]
fn a_whole_answer_keeps_its_bytes() {
    let whole = with_member(WHOLE.as_bytes(), Report::KEY, &report().to_json()).expect("an object");
    let whole = std::str::from_utf8(&whole).expect("text");
    let (kept, added) = whole.split_once(r#","ensemble":"#).expect("a further member");
    assert_eq!(kept, WHOLE.strip_suffix('}').expect("an object"));
    assert_eq!(added, r#"{"name":"ensemble/e","pick":"longest","winner":0,"why":"so","cost_usd":null,"members":[]}}"#);
}

#[test]
fn an_answer_becomes_a_stream() {
    let kinds = |frames: &[Frame]| frames.iter().map(|frame| frame.kind).collect::<Vec<_>>();
    let frames = events(WHOLE.as_bytes(), &report().to_json(), true).expect("events");
    let all = [FrameKind::Opening, FrameKind::Content, FrameKind::Finish, FrameKind::Usage, FrameKind::Done];
    assert_eq!(kinds(&frames), all);
    let [opening, content, finish, usage, done] = frames.as_slice() else { panic!("{frames:?}") };
    for frame in [opening, content, finish, usage] {
        let event = parsed(frame);
        assert_eq!((&event["id"], &event["created"], &event["model"]), (&json!("c1"), &json!(7), &json!("m")));
        assert_eq!(event["object"], "chat.completion.chunk");
    }
    assert_eq!(parsed(opening)["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    assert_eq!(parsed(content)["choices"][0]["delta"], json!({"content": "hi"}));
    assert_eq!(parsed(finish)["choices"][0]["finish_reason"], "stop");
    assert_eq!(parsed(finish)["ensemble"]["name"], "ensemble/e");
    assert_eq!((&parsed(usage)["choices"], &parsed(usage)["usage"]["total_tokens"]), (&json!([]), &json!(3)));
    assert_eq!(done.bytes, "data: [DONE]\n\n");
    assert!(!kinds(&events(WHOLE.as_bytes(), &report().to_json(), false).expect("events")).contains(&FrameKind::Usage));
}

#[test]
fn every_choice_and_every_tool_call_is_in_the_events() {
    let whole = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"},{"index":1,"message":{"content":"b"},"finish_reason":"stop"}]}"#;
    let frames = events(whole.as_bytes(), &report().to_json(), false).expect("events");
    let events: Vec<Value> = frames[..6].iter().map(parsed).collect();
    assert_eq!(events[1]["choices"][0]["delta"]["tool_calls"][0]["index"], 0);
    assert_eq!(events[1]["choices"][0]["delta"]["tool_calls"][0]["function"]["name"], "f");
    assert_eq!(
        events[4]["choices"][0],
        json!({"index": 1, "delta": {"content": "b"}, "logprobs": null, "finish_reason": null})
    );
    let ensembles = events.iter().filter(|event| event.get("ensemble").is_some()).count();
    assert_eq!(ensembles, 1, "the report is there once");
}

#[test]
fn the_calls_of_tools_are_the_text_where_there_is_no_other() {
    let said = |message: Value| of_choice(&json!({"message": message}), text);
    assert_eq!(said(json!({"content": "x", "tool_calls": [{"function": {"name": "f"}}]})), "x");
    let call = |id: &str| said(json!({"content": null, "tool_calls": [{"id": id, "function": {"name": "f"}}]}));
    assert_eq!((call("1").as_str(), call("1") == call("2")), (r#"[{"name":"f"}]"#, true));
    assert_eq!(said(json!({"content": null})), "");
    assert_eq!(said(json!({"content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": "a"}]})), "a");
    assert_eq!(said(json!([])), "", "a message of another type");
}

#[test]
fn an_odd_answer_becomes_a_stream_too() {
    let whole = r#"{"id":"\ud83d","usage":{},"usage":{"total_tokens":3},"choices":[{"index":0,"message":{"content":[{"type":"text","text":"a"}],"tool_calls":[7]},"finish_reason":"stop"}]}"#;
    let frames = events(whole.as_bytes(), &report().to_json(), true).expect("events");
    assert_eq!(parsed(&frames[1])["choices"][0]["delta"]["content"], json!([{"type": "text", "text": "a"}]));
    assert_eq!(
        (&parsed(&frames[3])["id"], &parsed(&frames[3])["usage"]),
        (&json!("\u{fffd}"), &json!({"total_tokens": 3}))
    );
}

#[test]
fn a_mean_needs_figures() {
    let mean = |tokens: Value| of_choice(&json!({"logprobs": {"content": tokens}}), mean_logprob);
    assert_eq!(mean(json!([{"logprob": -1.0}, {"logprob": null}, {"logprob": -2.0}, 7])), Some(-1.5));
    assert_eq!((mean(json!([])), mean(json!([{}])), mean(json!(null))), (None, None, None));
}

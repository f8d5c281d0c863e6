use super::*;
use crate::{OpenAiDialect, Splitter, classify::Finish};

fn try_read(text: &str, usage_for: UsageFor) -> Result<Read, Error> {
    let mut splitter = Splitter::new(1 << 20);
    splitter.push(Bytes::from(format!("{text}\n\n"))).expect("short");
    read(splitter.next_event().expect("an event"), (usage_for, ReasoningField::Upstream), &OpenAiDialect)
}

fn frame(text: &str, wants_usage: bool) -> Frame {
    let usage_for = if wants_usage { UsageFor::Client } else { UsageFor::Hidden };
    try_read(text, usage_for).unwrap_or_else(|error| panic!("{text}: {error}")).frame
}

fn kind(text: &str) -> FrameKind {
    frame(text, true).kind
}

fn relayed(text: &str, wants_usage: bool) -> String {
    String::from_utf8(frame(text, wants_usage).bytes.to_vec()).expect("text")
}

#[test]
fn only_real_content_commits() {
    let delta =
        |delta: &str| kind(&format!(r#"data: {{"choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#));
    assert_eq!(delta(r#"{"role":"assistant","content":""}"#), FrameKind::Opening);
    assert_eq!(delta(r#"{"role":"assistant","content":null,"tool_calls":[]}"#), FrameKind::Opening);
    assert_eq!(delta(r#"{"content":"a"}"#), FrameKind::Content);
    assert_eq!(delta(r#"{"reasoning":"hm"}"#), FrameKind::Content);
    assert_eq!(delta(r#"{"tool_calls":[{"index":0}]}"#), FrameKind::Content);
    assert_eq!(kind(r#"data: {"choices":[{"text":"x"}]}"#), FrameKind::Content);
    assert_eq!(kind(r#"data: {"choices":[{"delta":{},"finish_reason":"stop"}]}"#), FrameKind::Finish);
    assert_eq!(kind("data: [DONE]"), FrameKind::Done);
    assert_eq!(kind(": keep-alive"), FrameKind::Opening);
    assert_eq!(kind(r#"data: {"type":"ping"}"#), FrameKind::Opening);
}

#[test]
fn what_is_odd_is_relayed_as_it_came() {
    for text in [
        r#"data: {"type":"ping","cost":"0"}"#,
        r#"data: {"choices":null}"#,
        "data: {}",
        "data: [1]",
        r#"data: {"choices":[{"delta":{"content":"x"}}],"error":""}"#,
        r#"data: {"choices":[{"delta":[],"finish_reason":"stop"}]}"#,
        r#"data: {"choices":[{"delta":{"content":"\ud83d"},"delta":{"content":"y"}}]}"#,
        "event: message\nid: 7\ndata: {\"choices\":[]}",
        r#"data:{"choices":[{"delta":{"content":"x"}}]}"#,
    ] {
        for wants_usage in [true, false] {
            assert_eq!(relayed(text, wants_usage), format!("{text}\n\n"));
        }
    }
}

#[test]
fn the_end_may_have_blanks_around_it() {
    for done in ["data: [DONE]", "data:[DONE]", "data: [DONE] ", "data:  [DONE]", "data:\t[DONE]\t"] {
        let frame = frame(done, false);
        assert_eq!(frame.kind, FrameKind::Done, "{done}");
        assert!(frame.bytes.starts_with(b"data:") && frame.bytes.ends_with(b"[DONE]\n\n"), "{done}");
    }
    for blank in ["data:", "data: ", "data:    "] {
        let frame = frame(blank, true);
        assert_eq!((frame.bytes.len(), frame.kind), (0, FrameKind::Opening), "{blank:?}");
    }
}

#[test]
fn usage_is_hidden_from_a_client_that_did_not_ask() {
    let alone = r#"data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
    for alone in [alone, &alone.replace("\"choices\":[],", "")] {
        let frame = frame(alone, false);
        assert_eq!((frame.bytes.len(), frame.kind), (0, FrameKind::Usage));
        assert_eq!(frame.usage.map(|usage| usage.total()), Some(5));
    }
    let riding = r#"data: {"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":3},"id":"c"}"#;
    assert_eq!(
        relayed(riding, false),
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"id\":\"c\"}\n\n"
    );
    let odd = r#"data: {"choices":[{"delta":{"content":"x"}}],"usage":{"prompt_tokens":11.0}}"#;
    assert_eq!(relayed(odd, false), "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n");
    assert_eq!(relayed(odd, true), format!("{odd}\n\n"));
}

#[test]
fn a_chunk_of_several_lines_stays_one_event_with_its_fields() {
    let text =
        "id: 4\ndata: {\"choices\":[\ndata: {\"delta\":{}}],\"usage\":{\"prompt_tokens\":1},\ndata: \"id\":1}\n: note";
    assert_eq!(relayed(text, false), "id: 4\ndata: {\"choices\":[\ndata: {\"delta\":{}}],\"id\":1}\n: note\n\n");
}

#[test]
fn a_field_that_only_starts_like_data_stays() {
    let text = "database: 1\ndata: {\"choices\":[{\"delta\":{}}],\"usage\":{\"prompt_tokens\":1}}\ndata-x: y";
    assert_eq!(relayed(text, false), "database: 1\ndata: {\"choices\":[{\"delta\":{}}]}\ndata-x: y\n\n");
}

#[test]
fn a_large_event_takes_no_more_room_than_its_text() {
    let content = "x".repeat(1 << 20);
    let usage = r#""usage":{"prompt_tokens":3}"#;
    for (text, wants_usage, copies) in [
        (format!(r#"data:{{"choices":[{{"delta":{{"content":"{content}"}}}}],{usage}}}"#), false, 1),
        (format!("data:{{\"choices\":[{{\"delta\":\ndata:{{\"content\":\"{content}\"}}}}],\ndata:{usage}}}"), false, 1),
        (format!(r#"data:{{"choices":[{{"delta":{{}},"finish_reason":"stop"}}],"x":"{content}",{usage}}}"#), true, 2),
    ] {
        let rewritten = frame(&text, wants_usage).bytes.try_into_mut().expect("the only handle");
        assert!(rewritten.capacity() < copies * content.len() + 1000, "{} bytes", rewritten.capacity());
    }
}

#[test]
fn usage_that_rides_on_the_finish_gets_a_chunk_of_its_own() {
    let riding = r#"data: {"id":"c","choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":3}}"#;
    let expected = concat!(
        r#"data: {"id":"c","choices":[{"delta":{},"finish_reason":"stop"}]}"#,
        "\n\n",
        r#"data: {"id":"c","choices":[],"usage":{"prompt_tokens":3}}"#,
        "\n\n"
    );
    assert_eq!(relayed(riding, true), expected);
}

#[test]
fn finish_reasons_are_written_in_openais_words() {
    struct Renaming;
    impl Dialect for Renaming {
        fn finish(&self, reason: &str) -> Finish {
            if reason == "eos" { Finish::Renamed("stop") } else { crate::finish(reason) }
        }
    }
    let text = r#"data: {"choices":[{"delta":{},"finish_reason":"eos"},{"index":1,"finish_reason":"length"}]}"#;
    let mut splitter = Splitter::new(1 << 20);
    splitter.push(Bytes::from(format!("{text}\n\n"))).expect("short");
    let read = read(splitter.next_event().expect("an event"), (UsageFor::Hidden, ReasoningField::Upstream), &Renaming)
        .expect("a chunk");
    assert_eq!(read.frame.bytes, format!("{}\n\n", text.replace("\"eos\"", "\"stop\"")));
}

#[test]
fn what_no_client_could_read_or_what_says_so_is_an_error() {
    for text in [
        "data: nonsense",
        r#"data: {"error":{"message":"m"}}"#,
        r#"data: {"message":"flat","code":"c","type":"server_error"}"#,
        "event: error\ndata: {\"message\":\"flat\"}",
        "{\"status\":\"FAILED\"}",
        r#"data: {"choices":[{"delta":{},"finish_reason":"error"}]}"#,
    ] {
        assert!(try_read(text, UsageFor::Client).is_err(), "{text}");
    }
    let invalid = Bytes::from_static(b"data: {\"choices\":[{\"delta\":{\"content\":\"\xff\"}}]}\n\n");
    let mut splitter = Splitter::new(64);
    splitter.push(invalid).expect("short");
    let hidden = (UsageFor::Hidden, ReasoningField::Upstream);
    assert!(read(splitter.next_event().expect("an event"), hidden, &OpenAiDialect).is_err());
    assert_eq!(frame("{\"status\":\"loading\"}", true).kind, FrameKind::Opening, "clients pass such lines over");
}

#[test]
fn reasoning_stands_under_both_names_where_that_is_wanted_and_all_else_as_it_came() {
    let both = |data: &str, usage_for: UsageFor| {
        let mut splitter = Splitter::new(1 << 20);
        splitter.push(Bytes::from(format!("id: 7\ndata: {data}\n\n"))).expect("short");
        let wanted = (usage_for, ReasoningField::Both);
        let frame = read(splitter.next_event().expect("an event"), wanted, &OpenAiDialect).expect("a chunk").frame;
        String::from_utf8(frame.bytes.to_vec()).expect("text")
    };
    let event = |data: &str| format!("id: 7\ndata: {data}\n\n");
    let chunk = |delta: &str| format!(r#"{{"choices":[{{"index":0,"delta":{{{delta}}},"finish_reason":null}}]}}"#);
    for (came, goes) in [
        (r#""reasoning":"hm""#, r#""reasoning":"hm","reasoning_content":"hm""#),
        (
            r#""reasoning_content" : "a\"\u00e9\ud83d","content":null"#,
            r#""reasoning_content" : "a\"\u00e9\ud83d","reasoning":"a\"\u00e9\ud83d","content":null"#,
        ),
        (r#""reasoning":"hm","reasoning_content":null"#, r#""reasoning":"hm","reasoning_content":"hm""#),
        (r#""reasoning_content":"hm","reasoning": """#, r#""reasoning_content":"hm","reasoning": "hm""#),
    ] {
        assert_eq!(both(&chunk(came), UsageFor::Client), event(&chunk(goes)), "{came}");
    }
    for same in [
        r#""content":"hi""#,
        r#""reasoning":"a","reasoning_content":"b""#,
        r#""reasoning":null"#,
        r#""reasoning":"""#,
        r#""reasoning":["hm"]"#,
        r#""reasoning":"hm","reasoning_content":["x"]"#,
        r#""Reasoning":"hm""#,
    ] {
        assert_eq!(both(&chunk(same), UsageFor::Client), event(&chunk(same)), "{same}");
    }
    // Two choices, and usage that the client did not ask for.
    let came = r#"{"choices":[{"index":0,"delta":{"reasoning":"a"}},{"index":1,"delta":{"reasoning":"b"}}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;
    let goes = r#"{"choices":[{"index":0,"delta":{"reasoning":"a","reasoning_content":"a"}},{"index":1,"delta":{"reasoning":"b","reasoning_content":"b"}}]}"#;
    assert_eq!(both(came, UsageFor::Hidden), event(goes));
    // A last chunk, whose usage goes apart: the reasoning is in the first of the two.
    let came = r#"{"choices":[{"index":0,"delta":{"reasoning":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;
    let goes = both(came, UsageFor::Client);
    assert_eq!(goes.matches(r#""reasoning":"a","reasoning_content":"a""#).count(), 1, "{goes}");
    assert!(goes.contains(r#"{"choices":[],"usage""#), "{goes}");
}

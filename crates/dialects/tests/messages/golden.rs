//! Recorded answers of a real vLLM, and streams whose events are known to the letter.

use std::{fs, path::Path};

use dialects::{
    Blocks,
    messages::{Problem, ProblemKind, Stream, error_body, model, models, whole},
};
use serde_json::{Value, json};

use crate::{
    message_events::Events,
    translated::{ESTIMATE, asked, events, folded, message, shown},
};

/// A recorded call.
fn recorded(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openai/tests/fixtures/vllm-0.27.1");
    let text = fs::read_to_string(folder.join(format!("{name}.json"))).expect("a fixture");
    serde_json::from_str(&text).expect("JSON")
}

fn recorded_message(name: &str) -> Value {
    message(recorded(name)["body"].as_str().expect("a body"), true)
}

fn recorded_stream(name: &str) -> Vec<String> {
    let recorded = recorded(name);
    let reads = recorded["reads"].as_array().expect("reads").iter();
    reads.map(|read| read.as_str().expect("text").to_owned()).collect()
}

fn plain(text: &str, stop_reason: &str, output_tokens: u64) -> Value {
    json!({
        "id": "msg_r-1", "type": "message", "role": "assistant", "model": "claude \"x\"",
        "content": [{"type": "text", "text": text}], "stop_reason": stop_reason, "stop_sequence": null,
        "usage": {"input_tokens": 40, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
            "output_tokens": output_tokens},
    })
}

#[test]
fn recorded_answers_become_messages() {
    assert_eq!(recorded_message("chat"), plain("The capital of France is Paris.", "end_turn", 8));
    assert_eq!(recorded_message("chat-length"), plain("The capital", "max_tokens", 2));
    assert_eq!(recorded_message("chat-n2"), plain("The capital of France is Paris, France.", "end_turn", 22));
    let mut stopped = plain("The capital of France is ", "stop_sequence", 6);
    stopped["stop_sequence"] = "Paris".into();
    assert_eq!(recorded_message("chat-stop"), stopped);
}

#[test]
fn recorded_streams_become_the_same_messages() {
    let expected = plain("The capital of France is Paris.", "end_turn", 8);
    assert_eq!(folded(&recorded_stream("stream-usage"), true), Ok(expected.clone()));
    let counted = plain("The capital of France", "max_tokens", 4);
    assert_eq!(folded(&recorded_stream("stream-continuous-usage"), true), Ok(counted), "the last count is the one");
    let mut unknown = expected;
    unknown["usage"]["input_tokens"] = ESTIMATE.into();
    assert_eq!(folded(&recorded_stream("stream"), true), Ok(unknown), "31 bytes are estimated at 8 tokens");
}

#[test]
fn the_events_of_a_recorded_stream_are_these() {
    let delta = |text: &str| {
        format!(
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}\n\n"
        )
    };
    let start = "event: message_start\n\
        data: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_r-1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude \\\"x\\\"\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":33,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":0}}}\n\n\
        event: content_block_start\n\
        data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";
    let end = "event: content_block_stop\n\
        data: {\"type\":\"content_block_stop\",\"index\":0}\n\n\
        event: message_delta\n\
        data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"input_tokens\":40,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":8}}\n\n\
        event: message_stop\n\
        data: {\"type\":\"message_stop\"}\n\n";
    let texts = ["The", " capital", " of", " France", " is", " Paris", "."].map(delta).concat();
    assert_eq!(events(&recorded_stream("stream-usage"), true), format!("{start}{texts}{end}"));
}

/// The events of these deltas, by the names of the events and what they say.
fn outline(deltas: &[Value], shows_thinking: bool) -> Vec<String> {
    let chunks: Vec<String> = deltas
        .iter()
        .map(|delta| format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": delta}]})))
        .chain([
            "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n".to_owned(),
            "data: [DONE]\n\n".to_owned(),
        ])
        .collect();
    folded(&chunks, shows_thinking).expect("in order");
    let events = events(&chunks, shows_thinking);
    let datas = events.lines().filter_map(|line| line.strip_prefix("data: "));
    let mut outline = Vec::new();
    for data in datas {
        let data: Value = serde_json::from_str(data).expect("JSON");
        let said = |of: &Value| {
            let members = of.as_object().expect("an object").iter();
            members.filter_map(|(_, value)| value.as_str().map(str::to_owned)).collect::<Vec<_>>().join(" ")
        };
        match data["type"].as_str().expect("a type") {
            "content_block_start" => outline.push(format!("{} {}", data["index"], said(&data["content_block"]).trim())),
            "content_block_delta" => outline.push(format!("{} + {}", data["index"], said(&data["delta"]))),
            "content_block_stop" => outline.push(format!("{} -", data["index"])),
            "message_delta" => outline.push(said(&data["delta"])),
            _ => {}
        }
    }
    outline
}

fn call(index: u64, id: &str, name: &str, arguments: &str) -> Value {
    json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}}]})
}

fn more(index: u64, arguments: &str) -> Value {
    json!({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]})
}

#[test]
fn thinking_text_and_calls_are_blocks_in_their_order() {
    let deltas = [
        json!({"role": "assistant", "reasoning": "h"}),
        json!({"reasoning_content": "m"}),
        json!({"content": "I "}),
        json!({"content": "look."}),
        call(0, "t1", "f", ""),
        more(0, "{\"a\":"),
        more(0, "1}"),
    ];
    let thinking =
        ["0 thinking", "0 + thinking_delta h", "0 + thinking_delta m", "0 + signature_delta llm-router", "0 -"];
    let rest = |first: usize| {
        let (text, call) = (first, first + 1);
        [
            format!("{text} text"),
            format!("{text} + text_delta I "),
            format!("{text} + text_delta look."),
            format!("{text} -"),
            format!("{call} tool_use t1 f"),
            format!("{call} + input_json_delta {{\"a\":"),
            format!("{call} + input_json_delta 1}}"),
            format!("{call} -"),
            "tool_use".to_owned(),
        ]
    };
    assert_eq!(outline(&deltas, true), [&thinking.map(str::to_owned)[..], &rest(1)[..]].concat());
    assert_eq!(outline(&deltas, false), rest(0), "thinking that was not asked for is not shown");
}

#[test]
fn calls_that_come_mixed_become_one_block_after_another() {
    let deltas = [
        call(0, "t1", "f", ""),
        call(1, "t2", "g", "{\"b\""),
        more(0, "{\"a\""),
        json!({"content": "Wait."}),
        more(1, ":2}"),
        more(0, ":1}"),
        call(2, "t3", "h", ""),
    ];
    assert_eq!(
        outline(&deltas, true),
        [
            "0 tool_use t1 f",
            "0 + input_json_delta {\"a\"",
            "0 + input_json_delta :1}",
            "0 -",
            "1 tool_use t2 g",
            "1 + input_json_delta {\"b\":2}",
            "1 -",
            "2 text",
            "2 + text_delta Wait.",
            "2 -",
            "3 tool_use t3 h",
            "3 -",
            "tool_use",
        ]
    );
}

#[test]
fn odd_calls_are_understood() {
    // A new id in every piece, as some versions of vLLM make them up.
    let repeated = [call(0, "t1", "f", "{"), call(0, "t2", "f", "}")];
    let one = ["0 tool_use t1 f", "0 + input_json_delta {", "0 + input_json_delta }", "0 -", "tool_use"];
    assert_eq!(outline(&repeated, true), one);
    // All of number 0, with ids of their own.
    let same_number = [call(0, "t1", "f", "{\"a\":1}"), call(0, "t2", "f", "{}"), call(0, "t3", "g", "{}")];
    let ids = outline(&same_number, true).into_iter().filter(|line| line.contains("tool_use t")).collect::<Vec<_>>();
    assert_eq!(ids, ["0 tool_use t1 f", "1 tool_use t2 f", "2 tool_use t3 g"]);
    // Without numbers.
    let unnumbered = [
        json!({"tool_calls": [{"id": "t1", "function": {"name": "f", "arguments": "{"}}]}),
        json!({"tool_calls": [{"function": {"arguments": "}"}}]}),
        json!({"tool_calls": [{"id": "t2", "function": {"name": "g", "arguments": {"a": "\"b\""}}}]}),
    ];
    let two =
        [&one[..4], &["1 tool_use t2 g", "1 + input_json_delta {\"a\":\"\\\"b\\\"\"}", "1 -", "tool_use"]].concat();
    assert_eq!(outline(&unnumbered, true), two);
    // Without an id, and with a name that comes late.
    let late = [
        json!({"tool_calls": [{"index": 7, "function": {"arguments": "{"}}]}),
        json!({"tool_calls": [{"index": 7, "function": {"name": "f", "arguments": "}"}}]}),
    ];
    assert_eq!(outline(&late, true), ["0 tool_use toolu_r-1_0 f", "0 + input_json_delta {}", "0 -", "tool_use"]);
}

#[test]
fn nothing_is_said_before_there_is_something_to_say() {
    let mut stream = Stream::new(asked(false), "r-1", ESTIMATE);
    for silent in [
        "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
        ": ping\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n",
        "data: nonsense\n\n",
        "\n\n",
    ] {
        assert_eq!(shown(&mut stream, silent), "", "{silent}");
    }
    let out = shown(&mut stream, "data: {\"choices\":[{\"delta\":{\"reasoning\":\"hm\"}}]}\n\n");
    let mut taken = Events::new();
    taken.take(&out).expect("message_start");
    assert!(out.starts_with("event: message_start\n"), "the model is at work, although nothing is shown of it");
    assert!(!out.contains("block"));
    taken.take(str::from_utf8(stream.ping()).expect("text")).expect("a ping may come any time");
}

#[test]
fn an_answer_that_breaks_ends_with_an_error() {
    let mut stream = Stream::new(asked(false), "r-1", ESTIMATE);
    let problem = Problem { kind: ProblemKind::Overloaded, message: "no \"room\"", request_id: "r-1" };
    let mut events = shown(&mut stream, "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n");
    let mut out = Blocks::default();
    stream.broken(&problem, &mut out);
    events += str::from_utf8(&out.into_vec()).expect("text");
    for late in ["data: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n", "data: [DONE]\n\n"] {
        assert_eq!(shown(&mut stream, late), "", "nothing follows");
    }
    let mut out = Blocks::default();
    stream.broken(&problem, &mut out);
    assert!(out.is_empty());

    let mut taken = Events::new();
    taken.take(&events).expect("in order");
    assert_eq!(taken.error, Some(json!({"type": "overloaded_error", "message": "no \"room\""})));
}

#[test]
fn what_is_nested_too_deeply_is_not_passed_over() {
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let mut stream = Stream::new(asked(true), "r-1", ESTIMATE);
    let event = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"a\"}},\"logprobs\":{deep}}}]}}\n\n");
    assert!(stream.frame(event.as_bytes(), &mut Blocks::default()).is_err(), "its text would be lost");
}

#[test]
fn calls_one_after_another_come_as_they_are_made() {
    let mut stream = Stream::new(asked(true), "r-1", ESTIMATE);
    let mut show = |delta: Value| {
        let events = shown(&mut stream, &format!("data: {}\n\n", json!({"choices": [{"delta": delta}]})));
        (
            events.matches("content_block_start\n").count(),
            events.matches("input_json_delta").count(),
            stream.held_bytes(),
        )
    };
    assert_eq!(show(json!({"content": "I look."})).0, 1);
    let begun = |(starts, deltas, _): (usize, usize, usize)| (starts, deltas);
    assert_eq!(begun(show(call(0, "t1", "f", ""))), (1, 0));
    assert_eq!(begun(show(more(0, "{\"a\":"))), (0, 1));
    assert_eq!(begun(show(more(0, "{}}"))), (0, 1));
    assert_eq!(begun(show(call(1, "t2", "g", ""))), (1, 0), "the one before is complete");
    assert_eq!(begun(show(more(1, "{}"))), (0, 1));
    assert_eq!(begun(show(json!({"content": "And now."}))), (1, 0), "text follows a call that is complete");
    // Two that come in turns: the second waits until the first is complete, and comes then.
    let (starts, deltas, before) = show(call(2, "t3", "h", "{"));
    assert_eq!((starts, deltas), (1, 1));
    let (starts, deltas, held) = show(call(3, "t4", "i", "{\"long\":\"text\"}"));
    assert_eq!((starts, deltas), (0, 0));
    assert!(held > before, "what waits is counted");
    let (starts, deltas, after) = show(more(2, "}"));
    assert_eq!((starts, deltas), (1, 2));
    assert!(after < held, "and no longer, once it is passed on");
}

#[test]
fn an_empty_answer_has_no_blocks() {
    let done = ["data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n", "data: [DONE]\n\n"];
    for stream in [&done[..], &done[1..]] {
        let message = folded(stream, true).expect("a message");
        assert_eq!((&message["content"], &message["stop_reason"]), (&json!([]), &json!("end_turn")));
        assert_eq!(message["usage"]["output_tokens"], 0);
    }
    for odd in
        ["{}", "[]", "{\"choices\":[]}", "{\"choices\":[{\"message\":{\"content\":\"\"},\"finish_reason\":\"stop\"}]}"]
    {
        assert_eq!(message(odd, true)["content"], json!([]), "{odd}");
    }
    assert!(whole(&asked(true), "r", 1, "{").is_err());
}

#[test]
fn arguments_that_are_no_object_are_shown_and_not_run() {
    let input = |arguments: &str| {
        let call = json!({"function": {"name": "f", "arguments": arguments}});
        message(&json!({"choices": [{"message": {"tool_calls": [call]}}]}).to_string(), true)["content"][0]["input"]
            .take()
    };
    assert_eq!(input(" {\"a\":[1.50]}\n"), json!({"a": [1.5]}));
    assert_eq!(input(""), json!({}));
    assert_eq!(input("null"), json!({}));
    assert_eq!(input("{\"a\":\"\\ud83d\"}"), json!({"a": "\u{fffd}"}), "half a character is no text to some clients");
    for odd in ["{\"city\": \"Par", "[1]", "{} {}", "{\"a\":NaN}", "Paris"] {
        assert_eq!(input(odd), json!({"invalid_json": odd}));
    }
    let raw =
        r#"{"choices":[{"message":{"tool_calls":[{"id":"t","function":{"name":"f","arguments":{"a":{"b":2}}}}]}}]}"#;
    assert_eq!(message(raw, true)["content"][0]["input"], json!({"a": {"b": 2}}));
}

#[test]
fn reasoning_tokens_are_counted_as_thinking() {
    let completion = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":99},"completion_tokens_details":{"reasoning_tokens":5}}}"#;
    assert_eq!(
        message(completion, true)["usage"],
        json!({"input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 9, "output_tokens": 7,
            "output_tokens_details": {"thinking_tokens": 5}})
    );
}

#[test]
fn errors_and_models_have_anthropics_shape() {
    let read = |json: Vec<u8>| serde_json::from_slice::<Value>(&json).expect("JSON");
    let kinds = ProblemKind::ALL.map(|kind| {
        let error = read(error_body(&Problem { kind, message: "a \"b\"\n", request_id: "r" }));
        assert_eq!(error["error"]["message"], "a \"b\"\n");
        assert_eq!((&error["type"], &error["request_id"]), (&json!("error"), &json!("r")));
        error["error"]["type"].as_str().expect("a type").to_owned()
    });
    let known = [
        "invalid_request_error",
        "authentication_error",
        "billing_error",
        "permission_error",
        "not_found_error",
        "request_too_large",
        "rate_limit_error",
        "timeout_error",
        "api_error",
        "overloaded_error",
    ];
    assert_eq!(kinds, known);

    let one = json!({"type": "model", "id": "a/b", "display_name": "a/b", "created_at": "1970-01-01T00:00:00Z",
        "lifecycle": "active"});
    assert_eq!(read(model("a/b")), one);
    let list = read(models(["a/b", "c"]));
    assert_eq!(list["data"][0], one);
    assert_eq!(
        (&list["first_id"], &list["last_id"], &list["has_more"], list["data"].as_array().map(Vec::len)),
        (&json!("a/b"), &json!("c"), &json!(false), Some(2))
    );
    assert_eq!(read(models([])), json!({"data": [], "has_more": false, "first_id": null, "last_id": null}));
}

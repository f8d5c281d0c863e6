//! What becomes of answers, streamed and whole: those of a real vLLM, and any other.

mod held;

use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::responses::{to_chat, whole};

#[path = "../../../tests/support/responses_events.rs"]
mod order;

const ID: &str = "1a2b";

fn asked(request: &Value) -> Asked {
    to_chat(&request.to_string()).expect("a chat").asked
}

fn plain() -> Asked {
    asked(&json!({"model": "m", "input": "Hi"}))
}

/// The stream of the answer to `asked` that comes in `chunks`, and `[DONE]`.
fn streamed(asked: Asked, chunks: &[Value]) -> String {
    let mut stream = Stream::new(asked, ID, 1_700_000_000);
    let chunks = chunks.iter().map(|chunk| format!("data: {chunk}\n\n"));
    chunks.chain(["data: [DONE]\n\n".to_owned()]).map(|event| shown(&mut stream, &event)).collect()
}

/// What `event` of a chat's stream becomes.
fn shown(stream: &mut Stream, event: &str) -> String {
    written(|out| stream.frame(event.as_bytes(), out).expect("JSON that is not too deep"))
}

/// What `write` writes.
fn written(write: impl FnOnce(&mut Blocks)) -> String {
    let mut out = Blocks::default();
    write(&mut out);
    String::from_utf8(out.into_vec()).expect("text")
}

/// A chunk with `delta`.
#[expect(clippy::needless_pass_by_value, reason = "what is passed is made for the call")]
fn chunk(delta: Value) -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

fn finish(reason: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

/// The types of the events, the common prefix left out.
fn types(stream: &str) -> Vec<String> {
    let short = |event: &Value| event["type"].as_str().map(|kind| kind.trim_start_matches("response.").to_owned());
    order::events(stream).iter().filter_map(short).collect()
}

/// A stream of a real vLLM 0.27.1, as it came.
fn recorded(capture: &str) -> Vec<String> {
    let capture: Value = serde_json::from_str(capture).expect("JSON");
    let reads = capture["reads"].as_array().expect("reads").iter();
    reads.map(|read| read.as_str().expect("text").to_owned()).collect()
}

#[test]
fn a_stream_of_vllm_is_as_expected_to_the_byte() {
    let mut stream = Stream::new(
        asked(
            &json!({"model": "llama", "input": "What is the capital of France?", "stream": true, "max_output_tokens": 12}),
        ),
        ID,
        1_700_000_000,
    );
    let events = recorded(include_str!("../../../tests/fixtures/responses/stream-usage.json"));
    let out: String = events.iter().map(|event| shown(&mut stream, event)).collect();
    assert_eq!(out, include_str!("../../../tests/fixtures/responses/stream-usage.sse"));
    let response = order::check(&out);
    assert_eq!(response["output"][0]["content"][0]["text"], "The capital of France is Paris.");
    assert_eq!(response["usage"]["total_tokens"], 48);
}

#[test]
fn log_probabilities_come_where_they_are_asked_for() {
    let streamed = |request: &Value| {
        let mut stream = Stream::new(asked(request), ID, 1);
        let events = recorded(include_str!("../../../tests/fixtures/responses/stream-logprobs.json"));
        events.iter().map(|event| shown(&mut stream, event)).collect::<String>()
    };
    let out = streamed(&json!({"model": "m", "input": "Hi", "include": ["message.output_text.logprobs"]}));
    let response = order::check(&out);
    let part = &response["output"][0]["content"][0];
    assert_eq!((&part["text"], part["logprobs"].as_array().map(Vec::len)), (&json!("The capital"), Some(2)));
    assert_eq!(part["logprobs"][1]["token"], " capital");
    assert_eq!(
        (&response["status"], &response["incomplete_details"]["reason"]),
        (&json!("incomplete"), &json!("max_output_tokens"))
    );
    assert_eq!(response["output"][0]["status"], "incomplete");
    assert_eq!(response["usage"], Value::Null, "nothing was counted");

    let out = streamed(&json!({"model": "m", "input": "Hi"}));
    assert_eq!(order::check(&out)["output"][0]["content"][0]["logprobs"], json!([]));
}

#[test]
fn reasoning_text_and_calls_are_items_of_their_own() {
    let out = streamed(
        plain(),
        &[
            chunk(json!({"role": "assistant", "content": ""})),
            chunk(json!({"reasoning_content": "Look"})),
            chunk(json!({"reasoning": " up.", "reasoning_content": " up."})),
            chunk(json!({"content": "I look."})),
            chunk(
                json!({"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
            ),
            chunk(json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"a\":"}}]})),
            chunk(json!({"tool_calls": [{"index": 1, "id": "c2", "function": {"name": "g", "arguments": "{"}}]})),
            chunk(
                json!({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}, {"index": 1, "function": {"arguments": "}"}}]}),
            ),
            finish("tool_calls"),
            json!({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14,
                "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2}}}),
            // What was counted stays, whatever comes behind it.
            chunk(json!({})),
        ],
    );
    let response = order::check(&out);
    assert_eq!(
        response["output"],
        json!([
            {"id": "rs_1a2b_0", "type": "reasoning", "status": "completed", "summary": [], "encrypted_content": null,
             "content": [{"type": "reasoning_text", "text": "Look up."}]},
            {"id": "msg_1a2b_1", "type": "message", "status": "completed", "role": "assistant",
             "content": [{"type": "output_text", "annotations": [], "logprobs": [], "text": "I look."}]},
            {"id": "fc_1a2b_2", "type": "function_call", "status": "completed", "call_id": "c1", "name": "f", "arguments": "{\"a\":1}"},
            {"id": "fc_1a2b_3", "type": "function_call", "status": "completed", "call_id": "c2", "name": "g", "arguments": "{}"},
        ])
    );
    assert_eq!(
        response["usage"],
        json!({"input_tokens": 9, "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": 4}, "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 14})
    );
    assert_eq!(response["status"], "completed");
}

#[test]
fn the_request_is_repeated_in_every_response_on_one_line() {
    let request = "{\"model\":\"a/b\",\"input\":\"Hi\",\"instructions\":\"Be\\nbrief.\",\"tools\":[{\n\"type\":\"function\",\r\n\"name\":\"f\"},{\"type\":\"web_search\"}],\"temperature\":0.5,\"store\":true,\"service_tier\":\"priority\"}";
    let asked = to_chat(request).expect("a chat").asked;
    let out = streamed(asked, &[chunk(json!({"content": "a"})), finish("stop")]);
    let events = order::events(&out);
    for response in [&events[0]["response"], &order::check(&out)] {
        assert_eq!((&response["model"], &response["instructions"]), (&json!("a/b"), &json!("Be\nbrief.")));
        assert_eq!(response["tools"], json!([{"type": "function", "name": "f"}]), "without what was left out");
        assert_eq!((&response["temperature"], &response["top_p"]), (&json!(0.5), &Value::Null));
        assert_eq!((&response["store"], &response["service_tier"]), (&json!(false), &Value::Null));
        assert_eq!(response["created_at"], 1_700_000_000);
    }
}

#[test]
fn what_is_long_in_a_request_is_not_repeated() {
    let long = "word ".repeat(20_000);
    let tool = json!({"type": "function", "name": "f", "description": long, "parameters": {}});
    let asked = asked(
        &json!({"model": "m", "input": "Hi", "instructions": long, "metadata": {"a": long}, "tools": [tool], "user": "u"}),
    );
    let out = streamed(asked, &[chunk(json!({"content": "a"})), finish("stop")]);
    let response = order::check(&out);
    assert_eq!((&response["instructions"], &response["metadata"]), (&Value::Null, &json!({})));
    assert_eq!((&response["tools"], &response["user"]), (&json!([]), &json!("u")));
    assert!(out.len() < 20_000, "{} bytes", out.len());
}

/// The answer to a request with tools of every kind that calls `name` with `arguments`.
fn called(name: &str, arguments: &str) -> (Vec<String>, Value) {
    let asked = asked(&json!({"model": "m", "input": "Hi", "tools": [
        {"type": "custom", "name": "exec"},
        {"type": "namespace", "name": "mcp__demo__", "description": "", "tools": [
            {"type": "function", "name": "look", "parameters": {}}, {"type": "custom", "name": "patch"}]},
        {"type": "namespace", "name": "functions", "description": "", "tools": [{"type": "function", "name": "wait", "parameters": {}}]},
        {"type": "tool_search", "execution": "client", "description": "Search"},
    ]}));
    let (first, last) = arguments.split_at(arguments.floor_char_boundary(arguments.len() / 2));
    let piece = |piece: Value| chunk(json!({"tool_calls": [piece]}));
    let out = streamed(
        asked,
        &[
            piece(json!({"index": 0, "id": "c1", "function": {"name": name, "arguments": first}})),
            piece(json!({"index": 0, "function": {"arguments": last}})),
            finish("tool_calls"),
        ],
    );
    let mut call = order::check(&out)["output"][0].clone();
    let members = call.as_object_mut().expect("a call");
    assert_eq!((members.remove("status"), members.remove("call_id")), (Some(json!("completed")), Some(json!("c1"))));
    members.remove("id");
    (types(&out), call)
}

#[test]
fn calls_come_back_as_the_tools_of_the_client() {
    let (types, call) = called("exec", "{\"input\": \"say \\\"a\\\"\\n\"}");
    assert_eq!(call, json!({"type": "custom_tool_call", "name": "exec", "input": "say \"a\"\n"}));
    assert_eq!(
        types[2..6],
        ["output_item.added", "custom_tool_call_input.delta", "custom_tool_call_input.done", "output_item.done"]
    );
    let cases = [
        (
            "mcp__demo__look",
            "{\"a\":1}",
            json!({"type": "function_call", "name": "look", "namespace": "mcp__demo__", "arguments": "{\"a\":1}"}),
        ),
        (
            "mcp__demo__patch",
            "{\"input\":\"x\"}",
            json!({"type": "custom_tool_call", "name": "patch", "namespace": "mcp__demo__", "input": "x"}),
        ),
        ("wait", "{}", json!({"type": "function_call", "name": "wait", "arguments": "{}"})),
        ("unknown", "{}", json!({"type": "function_call", "name": "unknown", "arguments": "{}"})),
        (
            "tool_search",
            "{\"query\":\n\"calendar\"}",
            json!({"type": "tool_search_call", "execution": "client", "arguments": {"query": "calendar"}}),
        ),
        // Models do not always keep to a schema: then what they wrote is what the tool is called with.
        (
            "tool_search",
            "calendar",
            json!({"type": "tool_search_call", "execution": "client", "arguments": {"query": "calendar"}}),
        ),
        ("exec", "ls -l \"é\"", json!({"type": "custom_tool_call", "name": "exec", "input": "ls -l \"é\""})),
        ("exec", "{\"cmd\":1}", json!({"type": "custom_tool_call", "name": "exec", "input": "{\"cmd\":1}"})),
        ("exec", "", json!({"type": "custom_tool_call", "name": "exec", "input": ""})),
    ];
    for (name, arguments, expected) in cases {
        assert_eq!(called(name, arguments).1, expected);
    }
}

#[test]
fn calls_are_told_apart_however_servers_number_them() {
    let call = |index: Value, id: &str, name: &str| {
        let mut call = json!({"function": {"name": name, "arguments": "{}"}});
        call["index"] = index;
        if !id.is_empty() {
            call["id"] = id.into();
        }
        chunk(json!({"tool_calls": [call]}))
    };
    let names = |chunks: &[Value]| {
        let response = order::check(&streamed(plain(), chunks));
        let output = response["output"].as_array().expect("items").iter();
        output
            .map(|call| format!("{} {}", call["name"].as_str().expect("a name"), call["arguments"]))
            .collect::<Vec<_>>()
    };
    let two = ["f \"{}\"", "g \"{}\""];
    assert_eq!(names(&[call(json!(0), "a", "f"), call(json!(1), "b", "g"), finish("tool_calls")]), two);
    assert_eq!(names(&[call(json!(0), "a", "f"), call(json!(0), "b", "g"), finish("tool_calls")]), two);
    assert_eq!(names(&[call(Value::Null, "a", "f"), call(Value::Null, "b", "g"), finish("tool_calls")]), two);
    assert_eq!(names(&[call(Value::Null, "", "f"), call(Value::Null, "", "g"), finish("tool_calls")]), two);
    // The id and the name may be repeated in each piece.
    assert_eq!(names(&[call(json!(0), "a", "f"), call(json!(0), "a", "f"), finish("tool_calls")]), ["f \"{}{}\""]);
    // Arguments that come before the name are kept.
    let early = chunk(json!({"tool_calls": [{"index": 0, "id": "a", "function": {"arguments": "{"}}]}));
    let late = chunk(json!({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "}"}}]}));
    assert_eq!(names(&[early, late, finish("tool_calls")]), ["f \"{}\""]);
}

#[test]
fn calls_of_a_whole_answer_are_each_one_of_their_own() {
    let call = json!({"id": "c", "index": 0, "type": "function", "function": {"name": "f", "arguments": ""}});
    let completion = json!({"choices": [{"message": {"tool_calls": [call, call]}, "finish_reason": "tool_calls"}]});
    let response = whole(&plain(), ID, 1, &completion.to_string()).expect("JSON");
    let response: Value = serde_json::from_slice(&response).expect("JSON");
    assert_eq!(response["output"].as_array().map(Vec::len), Some(2), "{response}");
}

#[test]
fn a_call_without_an_id_gets_one() {
    let out = streamed(
        plain(),
        &[chunk(json!({"tool_calls": [{"index": 0, "function": {"name": "f"}}]})), finish("tool_calls")],
    );
    assert_eq!(order::check(&out)["output"][0]["call_id"], "call_1a2b_0");
}

#[test]
fn a_refusal_is_a_part_of_the_message() {
    let out = streamed(
        plain(),
        &[
            chunk(json!({"content": "Well."})),
            chunk(json!({"refusal": "No"})),
            chunk(json!({"refusal": "."})),
            finish("stop"),
        ],
    );
    let content = &order::check(&out)["output"][0]["content"];
    assert_eq!((&content[0]["text"], &content[1]), (&json!("Well."), &json!({"type": "refusal", "refusal": "No."})));
}

#[test]
fn an_answer_that_is_cut_is_incomplete() {
    for (reason, told) in [("length", "max_output_tokens"), ("content_filter", "content_filter")] {
        let out = streamed(plain(), &[chunk(json!({"content": "a"})), finish(reason)]);
        let response = order::check(&out);
        assert_eq!(response["incomplete_details"], json!({"reason": told}));
        assert_eq!(types(&out).last().map(String::as_str), Some("incomplete"));
    }
}

#[test]
fn an_answer_that_breaks_has_failed_and_nothing_follows() {
    let problem = Problem { code: "server_error", message: "the \"upstream\" broke" };
    let mut stream = Stream::new(plain(), ID, 1);
    let mut out = shown(&mut stream, &format!("data: {}\n\n", chunk(json!({"content": "Half"}))));
    out += &written(|out| stream.broken(&problem, out));
    assert_eq!(written(|out| stream.broken(&problem, out)), "");
    assert_eq!(shown(&mut stream, "data: [DONE]\n\n"), "");
    assert_eq!(written(|out| stream.keep_alive(out)), "");
    let response = order::check(&out);
    assert_eq!(response["error"], json!({"code": "server_error", "message": "the \"upstream\" broke"}));
    assert_eq!(
        (&response["output"][0]["status"], &response["output"][0]["content"][0]["text"]),
        (&json!("incomplete"), &json!("Half"))
    );

    let mut stream = Stream::new(plain(), ID, 1);
    assert_eq!(types(&written(|out| stream.broken(&problem, out))), ["created", "in_progress", "failed"]);
}

#[test]
fn what_is_no_chunk_is_passed_over_and_what_is_too_deep_is_not() {
    let mut stream = Stream::new(plain(), ID, 1);
    for silent in ["", "\n\n", ": ping\n\n", "data: nonsense\n\n", "event: x\n\n"] {
        assert_eq!(shown(&mut stream, silent), "", "nothing has begun");
    }
    let out = shown(&mut stream, "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\r\n\r\n");
    assert_eq!(types(&out), ["created", "in_progress"]);
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let event = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"a\"}},\"x\":{deep}}}]}}\n\n");
    assert!(stream.frame(event.as_bytes(), &mut Blocks::default()).is_err(), "its text would be lost");
}

/// An answer, as it is meant.
#[derive(Debug, Clone)]
struct Meant {
    reasoning: String,
    content: String,
    refusal: String,
    calls: Vec<(String, String)>,
    finish: &'static str,
    usage: Option<(u32, u32)>,
}

fn meant() -> impl Strategy<Value = Meant> {
    let text = || prop_oneof![Just(String::new()), any::<String>(), "[a-z \"\\\\\n\u{e9}\u{1f600}]{1,20}"];
    let calls = proptest::collection::vec(("[a-z]{1,8}", any::<String>()), 0..4);
    let finish = prop_oneof![Just("stop"), Just("length"), Just("tool_calls"), Just("content_filter")];
    (text(), text(), text(), calls, finish, any::<Option<(u32, u32)>>()).prop_map(
        |(reasoning, content, refusal, calls, finish, usage)| Meant {
            reasoning,
            content,
            refusal,
            calls,
            finish,
            usage,
        },
    )
}

impl Meant {
    fn usage(&self) -> Value {
        self.usage.map_or(
            Value::Null,
            |(prompt, completion)| json!({"prompt_tokens": prompt, "completion_tokens": completion}),
        )
    }

    fn whole(&self) -> String {
        let call = |(at, (name, arguments)): (usize, &(String, String))| json!({"id": format!("c{at}"), "type": "function", "function": {"name": name, "arguments": arguments}});
        let calls: Vec<_> = self.calls.iter().enumerate().map(call).collect();
        let message = json!({"role": "assistant", "reasoning": self.reasoning, "content": self.content, "refusal": self.refusal, "tool_calls": calls});
        json!({"choices": [{"index": 0, "message": message, "finish_reason": self.finish}], "usage": self.usage()})
            .to_string()
    }

    /// The same in chunks: every text is cut where `cuts` says, and the pieces of the calls come in turns.
    fn chunks(&self, cuts: &[usize]) -> Vec<Value> {
        let mut cuts = cuts.iter().copied().cycle();
        let mut pieces = |text: &str| {
            let (mut rest, mut pieces) = (text, Vec::new());
            while !rest.is_empty() {
                let at = rest.ceil_char_boundary((cuts.next().unwrap_or(1) % 7 + 1).min(rest.len()));
                pieces.push(rest[..at].to_owned());
                rest = &rest[at..];
            }
            pieces
        };
        let mut chunks = vec![chunk(json!({"role": "assistant", "content": ""}))];
        for (name, text) in [("reasoning", &self.reasoning), ("content", &self.content), ("refusal", &self.refusal)] {
            chunks.extend(pieces(text).into_iter().map(|piece| chunk(json!({name: piece}))));
        }
        let mut arguments: Vec<_> = self.calls.iter().map(|(_, arguments)| pieces(arguments).into_iter()).collect();
        for (at, (name, _)) in self.calls.iter().enumerate() {
            let call = json!({"index": at, "id": format!("c{at}"), "function": {"name": name, "arguments": ""}});
            chunks.push(chunk(json!({"tool_calls": [call]})));
        }
        while arguments.iter().any(|rest| rest.len() > 0) {
            for (at, rest) in arguments.iter_mut().enumerate() {
                chunks.extend(
                    rest.next()
                        .map(|piece| chunk(json!({"tool_calls": [{"index": at, "function": {"arguments": piece}}]}))),
                );
            }
        }
        chunks.push(finish(self.finish));
        chunks.push(json!({"choices": [], "usage": self.usage()}));
        chunks
    }

    /// What a response says, on one line each.
    fn said(response: &Value) -> String {
        let mut said = String::new();
        for item in response["output"].as_array().expect("items") {
            for part in item["content"].as_array().into_iter().flatten() {
                let text = part.get("text").or_else(|| part.get("refusal"));
                writeln!(said, "{} {text:?}", part["type"]).expect("text");
            }
            if item["type"] == "function_call" {
                writeln!(said, "call {} {} {}", item["call_id"], item["name"], item["arguments"]).expect("text");
            }
        }
        let usage = &response["usage"];
        write!(said, "{} {} {}", response["status"], usage["input_tokens"], usage["output_tokens"]).expect("text");
        said
    }

    /// What it should say.
    fn expected(&self) -> String {
        let mut said = String::new();
        for (kind, text) in
            [("reasoning_text", &self.reasoning), ("output_text", &self.content), ("refusal", &self.refusal)]
        {
            if !text.is_empty() {
                writeln!(said, "\"{kind}\" {:?}", Some(&json!(text))).expect("text");
            }
        }
        for (at, (name, arguments)) in self.calls.iter().enumerate() {
            writeln!(said, "call \"c{at}\" {} {}", json!(name), json!(arguments)).expect("text");
        }
        let status = if matches!(self.finish, "length" | "content_filter") { "incomplete" } else { "completed" };
        let usage = self.usage.map_or("null null".to_owned(), |(prompt, completion)| format!("{prompt} {completion}"));
        write!(said, "\"{status}\" {usage}").expect("text");
        said
    }
}

proptest! {
    #[test]
    fn any_answer_says_the_same_whole_and_streamed(meant in meant(), cuts in proptest::collection::vec(0_usize..7, 1..9)) {
        let out = streamed(plain(), &meant.chunks(&cuts));
        let last = order::check(&out);
        prop_assert_eq!(Meant::said(&last), meant.expected());
        let whole = whole(&plain(), ID, 1_700_000_000, &meant.whole()).expect("JSON");
        let whole: Value = serde_json::from_slice(&whole).expect("JSON");
        prop_assert_eq!(whole, last);
    }

    #[test]
    fn no_bytes_break_a_stream(frames in proptest::collection::vec(any::<Vec<u8>>(), 0..6), event in "[{}\\[\\]\":,a-z0-9\\\\ ]{0,40}") {
        let mut stream = Stream::new(plain(), ID, 1);
        let mut out = Blocks::default();
        let event = format!("data: {event}\n\n").into_bytes();
        for frame in frames.iter().chain([&event, &b"data: [DONE]\n\n".to_vec()]) {
            stream.frame(frame, &mut out).expect("nothing deep");
        }
        order::check(str::from_utf8(&out.into_vec()).expect("text"));
    }
}
